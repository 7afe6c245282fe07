"""Docstrings begin with a subject or a verb: a newcomer then understands them on first reading."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Files that a later pass still has to rewrite, as patterns of paths. Empty means all are finished.
UNFINISHED = (
    "seqgan/commands/*.py",
    "seqgan/evaluation/game/trajectories.py",
    "seqgan/evaluation/measure.py",
    "seqgan/evaluation/metrics/rouge.py",
    "seqgan/evaluation/planes/*.py",
    "seqgan/evaluation/texts.py",
    "seqgan/exporting/card.py",
    "seqgan/learning/collection.py",
    "seqgan/learning/environments.py",
    "seqgan/report/*.py",
    "seqgan/rewards/adapters/environment.py",
    "seqgan/rewards/adapters/finding.py",
    "seqgan/rewards/adapters/trl.py",
    "seqgan/rewards/base.py",
    "seqgan/rewards/discriminator.py",
    "seqgan/rewards/guard.py",
    "seqgan/rewards/weighted.py",
    "seqgan/sweeps/*.py",
    "seqgan/tasks/base.py",
    "seqgan/tasks/files/*.py",
    "seqgan/tracking/*.py",
    "seqgan/training/*.py",
)
# A question word at the start makes a clause without a subject: "What ...", "Whether ...".
QUESTION = re.compile(r"(How|That|What|When|Where|Whether|Which|Who|Whose|Why)\b")
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def riddles(source: str) -> list[str]:
    """First lines of the docstrings that begin with a question word, in order."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, DOCUMENTED)]
    docstrings = [ast.get_docstring(node) or "" for node in nodes]
    return [text.splitlines()[0] for text in docstrings if QUESTION.match(text)]


def finished() -> list[Path]:
    paths = [path for part in ("seqgan", "envs") for path in sorted((ROOT / part).rglob("*.py"))]
    places = [path.relative_to(ROOT) for path in paths]
    return [place for place in places if not any(place.match(pattern) for pattern in UNFINISHED)]


@pytest.mark.parametrize("path", finished(), ids=str)
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


def test_patterns_of_unfinished_files_fit_some_file() -> None:
    for pattern in UNFINISHED:
        assert list(ROOT.glob(pattern)), pattern
