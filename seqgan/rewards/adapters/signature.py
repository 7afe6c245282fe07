"""Reads from the names of a function's parameters which arguments a reward function takes."""

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

# Arguments about a single row, and about a batch. Columns of the data may have any other name.
OF_A_ROW = ("text", "token_ids", "prompt")
OF_A_BATCH = ("texts", "prompts", "completions", "completion_ids", "tokens", "mask", "sequences")
REPORTING = ("trainer_state", "log_metric", "log_extra")

# A function with a parameter in _ROW_MARKS is called once per row, a function with a parameter in
# _BATCH_MARKS once per batch.
_ROW_MARKS = {"text", "token_ids"}
_BATCH_MARKS = {"texts", "tokens", "prompts", "completions", "completion_ids", "sequences"}


@dataclass(frozen=True)
class Signature:
    """The way to call a reward function.

    Args:
        by_row: True calls it once per row, False once per batch.
        places: arguments passed by place.
        names: arguments passed by name, if they exist.
        required: those of `names` without a default.
        everything: True if the function has `**kwargs`, and so gets all arguments by name.
    """

    by_row: bool
    places: tuple[str, ...]
    names: tuple[str, ...]
    required: tuple[str, ...]
    everything: bool

    @property
    def offered(self) -> tuple[str, ...]:
        """Names of the arguments that exist besides the columns of the data."""
        return OF_A_ROW if self.by_row else (*OF_A_BATCH, *REPORTING)

    def passed(self, columns: Collection[str]) -> tuple[str, ...]:
        """Names of the arguments passed by name if the data has these columns.

        Raises:
            ConfigurationError: a required parameter gets no argument.
        """
        own = self.offered
        for name in (*self.places, *self.required):
            if name not in own and name not in columns:
                existing = ", ".join(columns) or "none"
                raise ConfigurationError(
                    f"a parameter is one of {', '.join(own)} or a column of the data"
                    f" (here {existing}), got {name!r}"
                )
        if not self.everything:
            return tuple(name for name in self.names if name in own or name in columns)
        # These repeat the completions.
        spare = () if self.by_row else ("texts", "tokens", "mask", "sequences")
        implied = (name for name in (*own, *columns) if name not in spare)
        return tuple(dict.fromkeys(n for n in (*self.names, *implied) if n not in self.places))


def read_signature(function: Callable[..., Any], takes: Takes | None = None) -> Signature:
    """Reads from a function's parameters how to call it.

    Args:
        takes: the argument for its first parameter, whatever that parameter's name; `tokens` gives
            its first two parameters tokens and mask.

    Raises:
        ConfigurationError: neither the parameters' names nor `takes` identify the arguments.
    """
    if takes is not None and takes not in get_args(Takes):
        raise ConfigurationError(f"takes is one of {', '.join(get_args(Takes))}, got {takes!r}")
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (ValueError, TypeError) as error:
        if takes is None:
            raise ConfigurationError(
                f"a function of texts takes {FORMS}, got one without a readable signature"
                " (say what its first parameter is: takes='text')"
            ) from error
        parameters = []
    everything = any(p.kind is p.VAR_KEYWORD for p in parameters)
    parameters = [p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    places: list[str] = []
    if takes is not None:
        places = ["tokens", "mask"] if takes == "tokens" else [takes]
        parameters = parameters[len(places) :]
    if isinstance(function, functools.partial):  # arguments that it binds by name stay bound
        parameters = [p for p in parameters if p.name not in function.keywords]
    places += [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY and p.default is p.empty]
    parameters = [p for p in parameters if p.kind is not p.POSITIONAL_ONLY]
    names = tuple(p.name for p in parameters)
    required = tuple(p.name for p in parameters if p.default is p.empty)
    rows, batches = ({*places, *names} & marks for marks in (_ROW_MARKS, _BATCH_MARKS))
    if rows and batches:
        raise ConfigurationError(
            "a function of texts takes one row or a batch of them, got"
            f" {', '.join(sorted(rows))} and {', '.join(sorted(batches))}"
        )
    if not rows and not batches and (required or places or not everything):
        got = ", ".join((*places, *names))
        raise ConfigurationError(f"a function of texts takes {FORMS}, got ({got})")
    return Signature(bool(rows), tuple(places), names, required, everything)
