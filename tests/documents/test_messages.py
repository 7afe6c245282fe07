"""Messages of errors say the fault, with its value and place, before the rule or what mends it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

# Functions beside the errors' own classes to which the code hands a message.
HELPERS = {"wrong", "_must"}

# "RULE, got VALUE": whoever reads it has to know the rule already.
VALUE_LAST = re.compile(r"\bgot\b")
# "a text file can be read ...": said of every such thing, and not of the one that is at fault.
OF_ALL = re.compile(
    r"(an?|each|every|only|at least|at most|one of)\b[^{:;]*?"
    r"\b(is|are|has|have|holds?|can be|must|takes?|needs?|gives?|goes|ends|begins|fits?|names?"
    r"|stays?|gets|comes?|lies|belongs)\b"
)
# "evaluate takes a run, ...": a rule is all that stands before the first comma, colon or value.
RULE_ALONE = re.compile(
    r"[^,:;{]*\b(must|takes?(?! (is|\(?\{))|needs?|goes? with|is for)\b[^,:;{]*"
)
FAULT = re.compile(
    r"\b(no|not|none|nothing|neither|never|cannot|without|missing|unknown|empty|already|together"
    r"|twice|more than|given|but)\b"
)


def template(node: ast.AST) -> str | None:
    """The text of a string, `{}` for its values; None for another expression."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(template(part) or "{}" for part in node.values)
    return None


def messages(source: str) -> Iterator[tuple[int, str]]:
    """The messages of errors in a module, with their lines.

    They stand in a call that is raised or that makes an error, or in a variable that it is given.
    """
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        assigned = {
            target.id: node.value
            for node in ast.walk(function)
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        raised = {id(node.exc) for node in ast.walk(function) if isinstance(node, ast.Raise)}
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and (id(node) in raised or is_error(node.func)):
                for argument in node.args:
                    given = assigned.get(argument.id) if isinstance(argument, ast.Name) else None
                    if text := template(given or argument):
                        yield (given or argument).lineno, text


def is_error(function: ast.expr) -> bool:
    """True for what makes an error of a message, by its name."""
    name = getattr(function, "attr", getattr(function, "id", ""))
    return name.endswith("Error") or name == "ResetNeeded" or name in HELPERS


def begins_with_the_rule(message: str) -> bool:
    alone = RULE_ALONE.match(message)
    return bool(
        VALUE_LAST.search(message)
        or OF_ALL.match(message)
        or (alone and not FAULT.search(alone.group()))
    )


def source_files() -> list[Path]:
    paths = [path for part in ("seqgan", "envs") for path in sorted((ROOT / part).rglob("*.py"))]
    return [path.relative_to(ROOT) for path in paths]


@pytest.mark.parametrize("path", source_files(), ids=str)
def test_no_message_begins_with_the_rule(path: Path) -> None:
    source = (ROOT / path).read_text("utf-8")
    assert [(line, said) for line, said in messages(source) if begins_with_the_rule(said)] == []


def test_the_walk_meets_the_messages() -> None:
    found = [
        said for path in source_files() for _, said in messages((ROOT / path).read_text("utf-8"))
    ]
    assert len(found) > 400
    assert "{} is {}, but must be {}" in found


PLANTED = '''
def check(path, size):
    """A text file can be read, got none: no message, but a docstring."""
    if not path:
        raise ValueError(f"a text file can be read, got {path}")
    rule = f"a run is a folder with a config.yaml: {path}"
    if size < 0:
        raise DataError(rule)
    _must(size, f"size is at least 1, got {size}")
    if size > 3:
        return SeqganError("evaluate takes a run, " "or both of these files")
    raise errors.DataError(f"cannot read {path}: no such file")
'''


def test_rules_in_front_are_found_wherever_a_message_stands() -> None:
    told = [(line, begins_with_the_rule(said)) for line, said in messages(PLANTED)]
    assert sorted(told) == [(5, True), (6, True), (9, True), (11, True), (12, False)]


@pytest.mark.parametrize(
    "message",
    [
        "pretrain.epochs is at least 0, got {}",
        "a metric is a float or an int: {}",
        "each run is given once",
        "only what can be called takes arguments",
        "--profile is for one process",
        "num_rollouts must be at least 0",
    ],
)
def test_a_rule_in_front_is_refused(message: str) -> None:
    assert begins_with_the_rule(message)


@pytest.mark.parametrize(
    "message",
    [
        "cannot read {}: {}",
        "{} is {}, but must be {}",
        "{} has {} words, more than --task.max-length {}",
        "unknown preset {}; did you mean captions?",
        "nothing to evaluate: give a run, or both --samples and --references",
        "--output FILE is missing, which a report of several runs needs",
        "the package {} is missing, which sweep needs: pip install {}",
    ],
)
def test_a_fault_in_front_is_let_through(message: str) -> None:
    assert not begins_with_the_rule(message)
