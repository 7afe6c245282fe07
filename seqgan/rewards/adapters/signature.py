"""What a plain function takes, read from the names of its parameters."""

import functools
import inspect
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal, get_args

from seqgan.system.errors import ConfigurationError

Takes = Literal["text", "texts", "token_ids", "tokens", "completions"]

FORMS = (
    "(text), (texts), (token_ids), (sequences), (tokens, mask) or any of (prompts, completions,"
    " completion_ids)"
)

# What can be passed about a single row, and about a batch. A column of the data may have any
# other name.
OF_A_ROW = ("text", "token_ids", "prompt")
OF_A_BATCH = ("texts", "prompts", "completions", "completion_ids", "tokens", "mask", "sequences")
REPORTING = ("trainer_state", "log_metric", "log_extra")

# A function with a parameter of the first kind is called once for each row; one with a parameter
# of the second kind, once for a batch.
_ROW_MARKS = {"text", "token_ids"}
_BATCH_MARKS = {"texts", "tokens", "prompts", "completions", "completion_ids", "sequences"}


@dataclass(frozen=True)
class Signature:
    """How a function is called.

    Args:
        by_row: once for each row, not once for a batch.
        places: what is passed by place.
        names: what is passed by name, where it is there.
        required: those of `names` that have no default.
        everything: it declares `**kwargs`, so whatever is there is passed by name.
    """

    by_row: bool
    places: tuple[str, ...]
    names: tuple[str, ...]
    required: tuple[str, ...]
    everything: bool

    @property
    def offered(self) -> tuple[str, ...]:
        """What there is besides the columns of the data."""
        return OF_A_ROW if self.by_row else (*OF_A_BATCH, *REPORTING)

    def passed(self, columns: Collection[str]) -> tuple[str, ...]:
        """What is passed by name, where the data has these columns.

        Raises:
            ConfigurationError: nothing fills a required parameter.
        """
        own = self.offered
        for name in (*self.places, *self.required):
            if name not in own and name not in columns:
                known = ", ".join(columns) or "none"
                raise ConfigurationError(
                    f"a parameter is one of {', '.join(own)} or a column of the data (here {known})"
                    f", got {name!r}"
                )
        if not self.everything:
            return tuple(name for name in self.names if name in own or name in columns)
        spare = ("texts", "tokens", "mask", "sequences")  # of no use beside completions
        implied = (name for name in (*own, *columns) if self.by_row or name not in spare)
        return tuple(dict.fromkeys(n for n in (*self.names, *implied) if n not in self.places))


def read_signature(function: Callable[..., Any], takes: Takes | None = None) -> Signature:
    """How the function is called.

    Args:
        takes: what its first parameter gets, whatever its name; its first two, for `tokens`.

    Raises:
        ConfigurationError: neither the names of its parameters nor `takes` say what it takes.
    """
    if takes is not None and takes not in get_args(Takes):
        raise ConfigurationError(f"takes is one of {', '.join(get_args(Takes))}, got {takes!r}")
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (ValueError, TypeError) as error:
        if takes is None:
            raise ConfigurationError(
                f"a reward function takes {FORMS}, got one without a readable signature"
                " (say what its first parameter is: takes='text')"
            ) from error
        parameters = []
    everything = any(p.kind is p.VAR_KEYWORD for p in parameters)
    parameters = [p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    places: list[str] = []
    if takes is not None:
        places = ["tokens", "mask"] if takes == "tokens" else [takes]
        parameters = parameters[len(places) :]
    if isinstance(function, functools.partial):  # what it binds by name stays bound
        parameters = [p for p in parameters if p.name not in function.keywords]
    places += [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY and p.default is p.empty]
    parameters = [p for p in parameters if p.kind is not p.POSITIONAL_ONLY]
    names = tuple(p.name for p in parameters)
    required = tuple(p.name for p in parameters if p.default is p.empty)
    rows, batches = ({*places, *names} & marks for marks in (_ROW_MARKS, _BATCH_MARKS))
    if rows and batches:
        raise ConfigurationError(
            "a reward function takes one row or a batch of them, got"
            f" {', '.join(sorted(rows))} and {', '.join(sorted(batches))}"
        )
    if not rows and not batches and (required or places or not everything):
        got = ", ".join((*places, *names))
        raise ConfigurationError(f"a reward function takes {FORMS}, got ({got})")
    return Signature(bool(rows), tuple(places), names, required, everything)
