"""Sphinx's configuration for `make docs`: the repository's own Markdown files as a site.

The source folder is the repository, so that links hold here as they hold there. Before it reads,
the pages of docs/site/made are written: the settings, from the dataclasses, and the reference,
from the docstrings. Nothing is fetched.
"""

import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1]), str(HERE.parents[1] / "envs")]

import pages  # noqa: E402

import seqgan  # noqa: E402

project = "seqgan"
author = copyright = "seqgan contributors"
version = release = seqgan.__version__
root_doc = "docs/site/index"
include_patterns = [
    "*.md",
    "docs/*.md",
    "docs/site/*.md",
    "docs/site/made/*.md",
    "envs/README.md",
    "experiments/README.md",
    "benchmarks/README.md",
]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
html_theme = "furo"
html_title = f"seqgan {release}"
html_copy_source = html_show_sourcelink = False
html_static_path = ["static"]
html_css_files = ["wide.css"]
templates_path: list[str] = []
myst_heading_anchors = 4
copybutton_prompt_text = "$ "
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
# Extras, which the site does without: what two or three modules take from them is made up.
autodoc_mock_imports = ["stable_baselines3", "tensorboard", "transformers"]
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True}
napoleon_use_ivar = True
napoleon_numpy_docstring = False
default_role = "code"  # docstrings are written with single backticks


of_properties: dict[str, list[str]] = {}


def as_restructured_text(app, what, name, obj, options, lines):
    """Escapes what means something in reStructuredText and nothing in a docstring here."""
    made = []
    for line in lines:
        pieces = re.split(r"(`[^`]*`)", line)  # every second one is code
        pieces[::2] = [re.sub(r"[|*]|(?<=\w)_(?!\w)", r"\\\g<0>", piece) for piece in pieces[::2]]
        for place in range(2, len(pieces), 2):  # a letter behind code, as in `END`s
            if pieces[place][:1].isalnum():
                pieces[place] = "\\ " + pieces[place]
        if line.lstrip().startswith("- ") and made and begins_list(made[-1], line):
            made.append("")
        made.append("".join(pieces))
    lines[:] = made
    if what == "property":
        of_properties[name] = made


def without_a_type(app, what, name, obj, options, lines):
    """Undoes what napoleon makes of a property: the words before a colon are no type here."""
    if what == "property":
        lines[:] = of_properties.pop(name)


def readable_signature(app, what, name, obj, options, signature, returned):
    """Puts an ellipsis for defaults that are no Python: Sphinx reads no signature with one."""
    return signature and re.sub(r"<[^<>]*>", "...", signature), returned


def begins_list(before, item):
    """True if an item follows a line of a paragraph, with the same indentation."""
    words = before.lstrip()
    return bool(words) and not words.startswith("- ") and indentation(before) == indentation(item)


def indentation(line):
    return len(line) - len(line.lstrip())


def setup(app):
    app.connect("autodoc-process-docstring", as_restructured_text, priority=400)
    app.connect("autodoc-process-docstring", without_a_type, priority=600)
    app.connect("autodoc-process-signature", readable_signature)


pages.write(HERE / "made")
