"""Parsing of arguments, the same for every command: one line for each error."""

import argparse
import difflib
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn, get_args

from seqgan.system.checks import broken_rule
from seqgan.system.errors import SeqganError

# Likeness of two names of which one may be meant for the other: anywhere, and in the same section.
ALIKE, ALIKE_THERE = 0.8, 0.7
EXAMPLES = "examples:"
NUM_NEAR = 4  # known flags that an error lists


class InputError(SeqganError):
    """Arguments of a command that do not go together, or of which it knows nothing."""


class Parser(argparse.ArgumentParser):
    """argparse, with one line per error, known flags like an unknown one, and examples.

    Args:
        examples: command lines, at the end of the help.
    """

    def __init__(self, *, examples: Sequence[str] = (), epilog: str = "", **settings: Any) -> None:
        listed = "\n".join([EXAMPLES, *(f"  {line}" for line in examples)])
        super().__init__(
            allow_abbrev=False, formatter_class=_Help, epilog=epilog + listed, **settings
        )

    def error(self, message: str) -> NoReturn:
        message = re.sub(r"^argument (\S+): is ", r"\1 is ", message)
        message = re.sub(
            r"^argument (\S+): expected one ar.*", r"\1 needs a value after it", message
        )
        raise InputError(message)

    def parse_all(self, arguments: Sequence[str]) -> argparse.Namespace:
        parsed, unknown = self.parse_known_args(arguments)
        if unknown:
            raise InputError(unknown_flag(unknown[0], list(self._option_string_actions)))
        return parsed


class _Help(argparse.HelpFormatter):
    """argparse's help, which leaves the lines of examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        said, mark, examples = text.partition(EXAMPLES)
        filled = super()._fill_text(said, width, indent)
        return "\n\n".join(filter(None, [filled, mark + examples]))


def add_device(parser: argparse.ArgumentParser) -> None:
    """Adds the flag of commands that compute with a run's networks."""
    parser.add_argument(
        "--device",
        help="where the networks compute, as PyTorch names it (the run's device, or what is here)",
    )


def unknown_flag(flag: str, known: Sequence[str]) -> str:
    """The error about a flag that is none, with the known ones that it may stand for.

    A setting is known by its last name alone: one that moved, or whose section was left out.
    """
    if not flag.startswith("-"):
        return f"unexpected argument {flag!r}"
    section, _, wanted = flag.partition("=")[0].replace("_", "-").lstrip("-").rpartition(".")
    there = [each for each in known if section and each.startswith(f"--{section}.")]
    near = _alike(wanted, there, ALIKE_THERE)[:1] or _alike(wanted, known, ALIKE)
    if not near and len(wanted) > 2:  # a part of its words
        near = [each for each in known if f"-{wanted}" in f"-{_last_name(each)}"]
    if not near:
        return f"unknown flag {flag}"
    *several, last = near[:NUM_NEAR]
    if not several:
        return f"unknown flag {flag}; did you mean {last}?"
    return f"unknown flag {flag}; did you mean {', '.join(several)} or {last}?"


def _alike(wanted: str, known: Sequence[str], likeness: float) -> list[str]:
    """The flags whose last names are most like a name, if any is so much like it.

    The shortest come first, and those of deeper parts are left out: a person rarely means them.
    """
    lasts = [_last_name(each) for each in known]
    nearest = difflib.get_close_matches(wanted, lasts, n=1, cutoff=likeness)
    found = [each for each, last in zip(known, lasts, strict=True) if last in nearest]
    deepest = min((each.count(".") for each in found), default=0) + 1
    found = [each for each in found if each.count(".") <= deepest]
    return sorted(found, key=lambda each: each.count("."))


def _last_name(flag: str) -> str:
    """A flag's name without its section and its dashes."""
    return flag.lstrip("-").rpartition(".")[2]


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Adds `--trust-run-code` to a command that opens runs."""
    parser.add_argument(
        "--trust-run-code",
        action="store_true",
        help="run the files and modules of Python that a run's settings name",
    )


def given_path(text: str) -> Path:
    """A path as a person gives it; a shell leaves the `~` of `--output=~/x` alone."""
    return Path(os.path.expanduser(text))


def take(flags: list[str], name: str) -> tuple[str | None, list[str]]:
    """The value of a flag, or None where it is not given, and the other flags."""
    for index, flag in enumerate(flags):
        if flag.startswith(f"{name}="):
            return _given(name, [flag.partition("=")[2]]), flags[:index] + flags[index + 1 :]
        if flag == name:
            value = _given(name, flags[index + 1 : index + 2])
            return value, flags[:index] + flags[index + 2 :]
    return None, flags


def _given(name: str, values: Sequence[str]) -> str:
    if not values or not values[0]:
        raise InputError(f"{name} needs a value after it")
    return values[0]


def number(annotation: Any) -> Callable[[str], Any]:
    """The reader of a flag's value: a number in the range that its type states.

    `parser.add_argument("-n", type=number(Size))`
    """
    base = get_args(annotation)[0]

    def read(text: str) -> Any:
        shown, value = text, text
        try:
            value = base(text)
        except ValueError:
            shown = repr(text)
        if rule := broken_rule(value, annotation):
            raise argparse.ArgumentTypeError(f"is {shown}, but must be {rule}")
        return value

    return read
