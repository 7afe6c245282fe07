"""Reads from the names of a function's parameters which arguments a reward function takes."""

import functools
import inspect
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Literal, get_args

Takes = Literal["text", "texts", "token_ids", "tokens", "completions"]

FORMS = (
    "(text), (texts), (token_ids), (tokens, lengths, prompts), (tokens, mask), (sequences) or any"
    " of (prompts, completions, completion_ids)"
)

# Arguments about a single row, and about a batch. Columns of the data may have any other name.
OF_A_ROW = ("text", "token_ids", "prompt")
OF_A_BATCH = ("texts", "prompts", "completions", "completion_ids", "tokens", "mask", "sequences")
# Beside `lengths`, tokens, mask and prompts are NumPy arrays of ids.
OF_ARRAYS = ("tokens", "lengths", "mask", "prompts", "texts", "completions", "completion_ids")
# Nobody can give these who has only texts.
OF_IDS = ("token_ids", "completion_ids", "tokens", "mask", "lengths", "sequences")
# Tensors, or things of them, without `lengths`.
OF_TENSORS = ("tokens", "mask", "sequences")
REPORTING = ("trainer_state", "log_metric", "log_extra")

# Names that other libraries give these arguments (verifiers, verl, trlx, RL4LMs). A column of the
# data goes before them.
ALIASES_OF_A_ROW = ("completion", "response", "solution_str")
# `samples` is each prompt with its completion.
ALIASES_OF_A_BATCH = ("outputs", "responses", "gen_texts", "prompt_texts", "samples")

# A function with a parameter in _ROW_MARKS is called once per row, a function with a parameter in
# _BATCH_MARKS once per batch.
_ROW_MARKS = {"text", "token_ids"}
_BATCH_MARKS = {
    *("texts", "tokens", "lengths", "prompts", "completions", "completion_ids", "sequences")
}


class SignatureError(ValueError):
    """The names of a function's parameters do not say what it gets."""


@dataclass(frozen=True)
class Signature:
    """The way to call a reward function.

    Args:
        by_row: True calls it once per row, False once per batch.
        places: arguments passed by place.
        names: arguments passed by name, if they exist.
        required: those of `names` without a default.
        everything: True if the function has `**kwargs`, and so gets all arguments by name.
        bound: arguments that have a value already, and are never passed.
        messages: True if its annotations say that a text is a list of chat messages, False if they
            say that it is a string, None if they say nothing.
    """

    by_row: bool
    places: tuple[str, ...]
    names: tuple[str, ...]
    required: tuple[str, ...]
    everything: bool
    bound: tuple[str, ...] = ()
    messages: bool | None = None

    @property
    def arrays(self) -> bool:
        """True for a function of NumPy arrays: one with a parameter `lengths`."""
        return not self.by_row and "lengths" in (*self.places, *self.names)

    @property
    def tensors(self) -> bool:
        """True for a function that takes tensors, which exist where PyTorch does."""
        return not self.arrays and any(name in OF_TENSORS for name in (*self.places, *self.names))

    @property
    def ids(self) -> bool:
        """True for a function that takes token ids, or that may take them by `**kwargs`."""
        return self.everything or any(name in OF_IDS for name in (*self.places, *self.names))

    @property
    def offered(self) -> tuple[str, ...]:
        """Names of the arguments that exist besides the columns of the data."""
        if self.by_row:
            return OF_A_ROW
        return (*(OF_ARRAYS if self.arrays else OF_A_BATCH), *REPORTING)

    @property
    def aliases(self) -> tuple[str, ...]:
        """Other names of these arguments."""
        return ALIASES_OF_A_ROW if self.by_row else ALIASES_OF_A_BATCH

    def passed(self, columns: Collection[str]) -> tuple[str, ...]:
        """Names of the arguments passed by name if the data has these columns.

        Raises:
            SignatureError: a required parameter gets no argument.
        """
        own = self.offered
        known = {*own, *columns, *self.aliases}
        for name in (*self.places, *self.required):
            if name not in known:
                existing = ", ".join(columns) or "none"
                raise SignatureError(
                    f"the function takes {name!r}, but a parameter must be one of"
                    f" {', '.join(own)} or a column of the data (here {existing})"
                )
        named = tuple(name for name in self.names if name in known)
        if not self.everything:
            return named
        # These repeat the completions.
        spare = () if self.by_row else ("texts", "tokens", "lengths", "mask", "sequences")
        implied = (name for name in (*own, *columns) if name not in (*spare, *self.bound))
        return tuple(dict.fromkeys(n for n in (*named, *implied) if n not in self.places))


def read_signature(function: Callable[..., Any], takes: Takes | None = None) -> Signature:
    """Reads from a function's parameters how to call it.

    Args:
        takes: the argument for its first parameter, whatever that parameter's name; `tokens` gives
            its first two parameters tokens and mask.

    Raises:
        SignatureError: neither the parameters' names nor `takes` identify the arguments.
    """
    if takes is not None and takes not in get_args(Takes):
        known = ", ".join(get_args(Takes))
        raise SignatureError(f"takes is {takes!r}, but must be one of {known}")
    try:
        parameters = _parameters(function)
    except (ValueError, TypeError) as error:
        if takes is None:
            raise SignatureError(
                f"the function has no readable signature, but must take {FORMS} (say what its first"
                " parameter is: takes='text')"
            ) from error
        parameters = []
    everything = any(p.kind is p.VAR_KEYWORD for p in parameters)
    parameters = [p for p in parameters if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    messages = _takes_messages(parameters)
    places: list[str] = []
    if takes is not None:
        places = ["tokens", "mask"] if takes == "tokens" else [takes]
        parameters = parameters[len(places) :]
    bound: tuple[str, ...] = ()
    if isinstance(function, functools.partial):  # arguments that it binds by name stay bound
        bound = tuple(function.keywords)
        parameters = [p for p in parameters if p.name not in bound]
    places += [p.name for p in parameters if p.kind is p.POSITIONAL_ONLY and p.default is p.empty]
    parameters = [p for p in parameters if p.kind is not p.POSITIONAL_ONLY]
    names = tuple(p.name for p in parameters)
    required = tuple(p.name for p in parameters if p.default is p.empty)
    rows, batches = ({*places, *names} & marks for marks in (_ROW_MARKS, _BATCH_MARKS))
    if not rows and not batches:
        rows = {*places, *required} & {*ALIASES_OF_A_ROW}
        batches = {*places, *required} & {*ALIASES_OF_A_BATCH}
    batches -= {"lengths"} if rows else set()  # there it is a column of the data
    if rows and batches:
        raise SignatureError(
            f"the function takes {', '.join(sorted(rows))} and"
            f" {', '.join(sorted(batches))}, but must take one row or a batch of them"
        )
    if not rows and not batches and (required or places or not everything):
        got = ", ".join((*places, *names))
        raise SignatureError(f"the function takes ({got}), but must take {FORMS}")
    return Signature(bool(rows), tuple(places), names, required, everything, bound, messages)


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """The function's parameters, with annotations that are written as text read where they can be.

    Raises:
        ValueError, TypeError: the function has no readable signature.
    """
    plain = inspect.signature(function)
    try:
        return list(inspect.signature(function, eval_str=True).parameters.values())
    except Exception:  # whatever the text of an annotation raises
        return list(plain.parameters.values())


_GENERIC = re.compile(r"([\w.]+)\[([^\[\]]*)\]")
_MESSAGE = re.compile(r"dict|mapping|message", re.IGNORECASE)


def _takes_messages(parameters: Collection[inspect.Parameter]) -> bool | None:
    """Reads from the completions' annotation if each is a string or a list of chat messages.

    `list[str]` and `list[list[dict[str, str]]]` say it, and so do their aliases. An annotation that
    allows both gets strings.
    """
    for parameter in parameters:
        annotation = parameter.annotation
        if parameter.name in ("completions", "completion") and annotation is not parameter.empty:
            text = inspect.formatannotation(annotation)
            while found := _GENERIC.search(text):  # from the innermost brackets outwards
                name, inside = found.groups()
                whole = "message" if _MESSAGE.search(name) else f"{name}({inside})"
                text = text[: found.start()] + whole + text[found.end() :]
            if re.search(r"\bstr\b", text):
                return False
            if _MESSAGE.search(text) or re.search(r"list\((typing\.)?list\b", text, re.IGNORECASE):
                return True
    return None
