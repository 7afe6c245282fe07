"""The site's made pages, without Sphinx."""

import re
import runpy
from pathlib import Path

import seqgan

PAGES = runpy.run_path(str(Path(__file__).parents[2] / "docs" / "site" / "pages.py"))


def test_the_public_page_begins_with_what_is_called_and_ends_with_modules() -> None:
    page = PAGES["public_page"]()
    heads = re.findall("^## (.*)$", page, flags=re.M)
    assert heads[:3] == ["make_env", "dense_reward", "train"]
    assert heads[-1] == "Modules"
    listed = re.findall(r"^- `seqgan\.(\w+)`: the module", page.partition("## Modules")[2], re.M)
    assert sorted([*heads[:-1], *listed]) == sorted(seqgan.__all__)
    assert "losses" in listed
