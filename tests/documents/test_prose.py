"""Docstrings begin with a subject or a verb: a newcomer then understands them on first reading."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# A question word at the start makes a clause without a subject: "What ...", "Whether ...".
QUESTION = re.compile(r"(How|That|What|When|Where|Whether|Which|Who|Whose|Why)\b")
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def riddles(source: str) -> list[str]:
    """First lines of the docstrings that begin with a question word, in order."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, DOCUMENTED)]
    docstrings = [ast.get_docstring(node) or "" for node in nodes]
    return [text.splitlines()[0] for text in docstrings if QUESTION.match(text)]


def source_files() -> list[Path]:
    paths = [path for part in ("seqgan", "envs") for path in sorted((ROOT / part).rglob("*.py"))]
    return [path.relative_to(ROOT) for path in paths]


@pytest.mark.parametrize("path", source_files(), ids=str)
def test_no_docstring_begins_with_a_question_word(path: Path) -> None:
    assert riddles((ROOT / path).read_text("utf-8")) == []


def test_riddles_are_found_at_every_level() -> None:
    source = '''"""What a module is."""
class Kept:
    """Whatever is kept."""
    def told(self):
        """Whether it was told.

        And more.
        """
    async def asked(self):
        """That it was asked."""
'''
    assert riddles(source) == ["What a module is.", "Whether it was told.", "That it was asked."]
