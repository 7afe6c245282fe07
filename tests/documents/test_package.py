"""A distribution holds its files and says the truth of itself."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_a_source_distribution_holds_every_page_and_folder() -> None:
    included = PROJECT["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]
    for name in included:
        assert (ROOT / name).exists(), name
    pages = {path.name for path in ROOT.iterdir() if path.suffix in (".md", ".cff", ".txt")}
    assert {"CITATION.cff", "CONTRIBUTING.md", "README.md", "CHANGELOG.md"} <= pages
    assert pages <= set(included)
    with_code = {path.relative_to(ROOT).parts[0] for path in ROOT.glob("[a-z]*/**/*.py")}
    assert with_code - {"runs", "dist", "results", "wandb", "site"} <= set(included)


def test_the_metadata_names_versions_of_python_and_an_address() -> None:
    project = PROJECT["project"]
    versions = [
        c.removeprefix("Programming Language :: Python :: ") for c in project["classifiers"]
    ]
    assert {"3.11", "3.13"} <= set(versions)
    assert project["requires-python"] == ">=3.11"
    assert all(address.startswith("https://") for address in project["urls"].values())


def test_the_citation_has_the_versions_number() -> None:
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"version: {PROJECT['project']['version']}\n" in citation
