"""The range of each number in the settings, stated by the type of its field.

`epochs: Count = 60` is a whole number from 0 on. `check_settings` compares a dataclass with the
ranges that its fields state, when it is made: nothing has been trained or written by then.
"""

import math
import numbers
import os
from dataclasses import dataclass, fields
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from seqgan.system.errors import ConfigurationError, SeqganError

MOST = 2**31 - 1  # the largest size: products of two fit into 64 bits
TINY, HUGE = 1e-12, 1e12  # bounds of other numbers: their squares fit into 32-bit floats
BELOW_ONE = 1 - 2**-24  # the largest 32-bit float below 1


@dataclass(frozen=True)
class Range:
    """The numbers between two bounds, both of them among these numbers.

    Args:
        rule: the range in words, after `must be`.
        bounds: the bounds in words, where the rule leaves them out because few numbers meet them.
    """

    rule: str
    least: int | float
    most: int | float
    bounds: str = ""

    def __contains__(self, value: int | float) -> bool:
        return self.least <= value <= self.most

    def broken_by(self, value: int | float) -> str:
        """The rule that a number breaks, in words."""
        extreme = 0 < value < self.least < 1 or value > self.most
        return f"{self.rule}{self.bounds if extreme else ''}"


def at_least(least: int) -> Range:
    """The range of a whole number from `least` on."""
    return Range(f"at least {least}", least, MOST, f" and at most {MOST}")


Count = Annotated[int, at_least(0)]
Size = Annotated[int, at_least(1)]
Several = Annotated[int, at_least(2)]
Samples = Annotated[int, at_least(20)]  # fewer say nothing about a distribution
Seed = Annotated[int, Range("from 0 to 2**63 - 1", 0, 2**63 - 1)]
Positive = Annotated[float, Range("above 0 and finite", TINY, HUGE, f" ({TINY:g} to {HUGE:g})")]
# A large rate makes numbers overflow, which ends a run with a message.
Rate = Annotated[float, Range("above 0 and finite", TINY, 1e38, f" ({TINY:g} to 1e+38)")]
Bound = Annotated[float, Range("above 0", TINY, math.inf, f" (at least {TINY:g})")]
Weight = Annotated[float, Range("at least 0", 0, HUGE, f" and at most {HUGE:g}")]
Signed = Annotated[float, Range(f"from -{HUGE:g} to {HUGE:g}", -HUGE, HUGE)]
Temperature = Annotated[float, Range("above 0 and finite", 1e-6, 1e6, " (1e-06 to 1e+06)")]
Share = Annotated[float, Range("at least 0 and below 1", 0, BELOW_ONE)]
Portion = Annotated[float, Range("above 0 and below 1", TINY, BELOW_ONE)]
WholeShare = Annotated[float, Range("from 0 to 1", 0, 1)]
Penalty = Annotated[float, Range("at most 0", -HUGE, 0)]
TopP = Annotated[float, Range("above 0 and at most 1", TINY, 1)]


def check_settings(
    where: str, settings: object, kind: type[SeqganError] = ConfigurationError
) -> None:
    """Checks each field whose type states a range, or is a `Literal`.

    Args:
        where: the part of the settings, as messages name it; empty for the whole.
        kind: of the error.

    Raises:
        SeqganError: of that kind; a field is no number, outside its range, or none of the choices.
    """
    hints = get_type_hints(type(settings), include_extras=True)
    for item in fields(settings):  # type: ignore[arg-type]
        name = f"{where}.{item.name}" if where else item.name
        _check(name, getattr(settings, item.name), hints[item.name], kind)


def _check(name: str, value: Any, annotation: Any, kind: type[SeqganError]) -> None:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal and value not in arguments:
        known = ", ".join(str(argument) for argument in arguments)
        raise kind(f"{name} is {value!r}, but must be one of {known}")
    if origin is tuple and isinstance(value, tuple | list):
        for index, each in enumerate(value):
            _check(f"{name}[{index}]", each, arguments[0], kind)
    if rule := broken_rule(value, annotation):
        shown = repr(value) if isinstance(value, str) else value
        raise kind(f"{name} is {shown}, but must be {rule}")


def checked(name: str, value: Any, annotation: Any) -> Any:
    """The value of an argument, if it lies in the range that a type states.

    Raises:
        ConfigurationError: it does not.
    """
    _check(name, value, annotation, ConfigurationError)
    return value


def broken_rule(value: Any, annotation: Any) -> str:
    """The rule that a value breaks, as `at least 1`; empty where its type states none."""
    if get_origin(annotation) is not Annotated:
        return ""
    base, *stated = get_args(annotation)
    kind: Any = numbers.Integral if base is int else numbers.Real
    if not isinstance(value, kind) or isinstance(value, bool):
        return "a whole number" if base is int else "a number"
    ranges = [each for each in stated if isinstance(each, Range)]
    return next((each.broken_by(value) for each in ranges if value not in each), "")


def expand_home(config: object, *names: str) -> None:
    """Puts the home folder in the place of a `~` with which the path in a field begins.

    A shell does so for `--output ~/x` and not for `--output=~/x`; nobody does in a file. The
    dataclass may be frozen: this is for its `__post_init__`.
    """
    for name in names:
        path = getattr(config, name)
        if isinstance(path, str):
            object.__setattr__(config, name, os.path.expanduser(path))
