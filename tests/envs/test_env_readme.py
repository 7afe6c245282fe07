"""Every code block of envs/README.md runs; those that need another library, where it is there."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "envs" / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
LIBRARIES = ("sb3_contrib", "stable_baselines3", "torchrl", "tianshou")


def library_of(block):
    """The library that a block imports beside Gymnasium and this project, or None."""
    found = [name for name in LIBRARIES if f"from {name}." in block or f"from {name} " in block]
    return found[0] if found else None


@pytest.mark.parametrize(
    "block",
    [
        pytest.param(block, marks=pytest.mark.integration) if library_of(block) else block
        for block in BLOCKS
    ],
)
def test_readme_code_runs(block):
    if library_of(block):
        pytest.importorskip(library_of(block))
    exec(compile(block, str(README), "exec"), {"__name__": "readme"})


def test_every_library_has_a_block():
    assert {library_of(block) for block in BLOCKS} == {None, *LIBRARIES}


def test_headings_are_gymnasiums():
    headings = re.findall(r"^## (.*)$", README.read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[:9] == [
        *("Description", "Action Space", "Observation Space", "Starting State", "Reward"),
        *("Episode End", "Information", "Arguments", "Version History"),
    ]


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", README.read_text(encoding="utf-8")):
        assert (README.parent / target).exists(), target
