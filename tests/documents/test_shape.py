"""The shape of the package: what its parts may know, and how large they may grow."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted([*(ROOT / "seqgan").rglob("*.py"), *(ROOT / "envs").rglob("*.py")])


def test_the_root_holds_three_modules() -> None:
    names = {path.name for path in (ROOT / "seqgan").glob("*.py")}
    assert names == {"__init__.py", "__main__.py", "cli.py"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_class_has_more_than_25_methods(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef):
            methods = [m for m in node.body if isinstance(m, ast.FunctionDef)]
            assert len(methods) <= 25, node.name


def test_the_trainer_is_the_loop_and_knows_nothing_else() -> None:
    source = (ROOT / "seqgan" / "training" / "trainer.py").read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 200
    words = "reinforce|rollout|policy|gradient|likelihood|discriminator|generator|adversar|kl_"
    # A generator of random numbers is another thing.
    named = re.findall(words, source.replace("torch.Generator", "").lower())
    assert not named


def test_no_settings_class_is_asked_for_its_type() -> None:
    for path in MODULES:
        source = path.read_text(encoding="utf-8")
        # `TrainConfig` is no kind of a slot: it is all settings, which `seqgan.train` takes.
        assert not re.search(r"isinstance\([^)]*(?<!Train)Config\b", source), path.name
