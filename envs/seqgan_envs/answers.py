"""Reads a user function's answers about a batch: numbers, several heads, tokens, and failures."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

RULE = "a value must be a finite number, or None where the reward does not apply"
LARGEST = float(np.finfo(np.float32).max)  # rewards are float32
UNASKED = object()  # the answer of a row that was not asked about, since one before it failed


class AnswerError(ValueError):
    """A function's answer about a batch cannot be split into one for each row."""


@dataclass(frozen=True)
class Answers:
    """The values of a batch: one for each text, for each head, or for each token.

    Args:
        values: (batch,); (batch, head) where there are heads; (batch, time) where they are those of
            tokens. NaN where the reward does not apply, and in rows without an answer.
        heads: names of several rewards in one; empty for a single one.
        per_token: True where the values are those of tokens.
        failures: what went wrong, by row: an exception, or a line.
        unasked: rows that were not asked about.
    """

    values: NDArray[np.float32]
    heads: tuple[str, ...]
    per_token: bool
    failures: Mapping[int, BaseException | str]
    unasked: tuple[int, ...]


def split_answer(answer: Any, size: int) -> list[Any]:
    """Splits a function's answer about a batch into one entry for each row.

    The answer is a sequence, an array or a tensor with an entry for each row, or a mapping with one
    of these for each of several heads.

    Raises:
        AnswerError: there are more or fewer entries than rows.
    """
    if isinstance(answer, Mapping):
        columns = {head: _listed(values) for head, values in answer.items()}
        if columns and all(c is not None and len(c) == size for c in columns.values()):
            return [{head: c[row] for head, c in columns.items() if c} for row in range(size)]
    values = _listed(answer)
    if values is None:
        scalar = getattr(answer, "ndim", None) == 0 and not isinstance(answer, np.generic)
        shape = " of shape ()" if scalar else ""
        given = f"a {type(answer).__name__}{shape}"
        raise AnswerError(f"it gave {given}, but must give one value per text, {size}")
    if len(values) != size:
        raise AnswerError(f"it gave {len(values)} values, but must give one per text, {size}")
    return values


def read_answers(
    entries: Sequence[Any],
    lengths: Sequence[int],
    width: int,
    heads: tuple[str, ...] = (),
    per_token: bool = False,
) -> Answers:
    """Reads each row's entry.

    - A number is the text's reward. None says that the reward does not apply.
    - A mapping gives the numbers of several heads. A head that it lacks does not apply.
    - A list gives a number for each token, or for each but the eos. A list of one number is that
      number. A number among lists is paid with the last token.
    - An exception says that the row failed, and so does anything else.

    Args:
        lengths: the number of each row's tokens, eos included.
        width: the number of columns of the padded batch.
        heads: those of earlier answers; other heads are a failure then.
        per_token: True where earlier answers were those of tokens.
    """
    failures: dict[int, BaseException | str] = {}
    rows: dict[int, Any] = {}
    for row, entry in enumerate(entries):
        if isinstance(entry, BaseException):
            failures[row] = entry
        elif entry is not UNASKED and entry is not None:
            rows[row] = _plain(entry)
    lists = [value for value in rows.values() if isinstance(value, list)]
    per_token = per_token or any(len(value) != 1 for value in lists)
    if not heads:
        named = [value for value in rows.values() if isinstance(value, dict)]
        heads = tuple(dict.fromkeys(head for value in named for head in value))
    shape = (len(heads),) if heads else (width,) if per_token else ()
    values = np.full((len(entries), *shape), math.nan, dtype=np.float32)
    for row, value in rows.items():
        read: list[float] | float | str
        if heads:
            read = _of_heads(value, heads)
        elif per_token:
            read = _of_tokens(value, lengths[row], width)
        else:
            read = _number(value)
        if isinstance(read, str):
            failures[row] = read
        else:
            values[row] = read
    return Answers(
        values,
        heads,
        per_token and not heads,
        dict(sorted(failures.items())),
        tuple(row for row, entry in enumerate(entries) if entry is UNASKED),
    )


def _of_heads(value: Any, heads: Sequence[str]) -> list[float] | str:
    """The values of the heads, NaN where one does not apply; or what is wrong."""
    listed = ", ".join(map(str, heads))
    if not isinstance(value, dict) or not {*value} <= {*heads}:
        return f"it gave {value!r}, but must give the same heads for each text, {listed}"
    for head in value:
        if not isinstance(head, str) or not head or "/" in head:
            return (
                f"it gave the head {head!r}, but a head's name must be a string that is not"
                " empty and has no /"
            )
    numbers = {head: _number(one) for head, one in value.items() if one is not None}
    for head, number in numbers.items():
        if isinstance(number, str):
            return f"{number} (head {head!r})"
    return [float(numbers.get(head, math.nan)) for head in heads]


def _of_tokens(value: Any, length: int, width: int) -> list[float] | str:
    """The values of a row's tokens, 0 on padding; or what is wrong."""
    if not isinstance(value, list):
        number = _number(value)
        value = [*[0.0] * (length - 1), number]
    # A function of texts does not see the eos; one of padded tensors sees the padding.
    if len(value) not in (length, length - 1, width):
        return f"it gave {len(value)} values, but must give one for each token, {length}"
    numbers = [_number(one) for one in value[:length]]
    for number in numbers:
        if isinstance(number, str):
            return number
    return [*map(float, numbers), *[0.0] * (width - len(numbers))]


def _plain(entry: Any) -> Any:
    """A mapping as a dict, a sequence or an array as a list, and anything else as it is."""
    if isinstance(entry, Mapping):
        return dict(entry)
    if hasattr(entry, "__float__") and getattr(entry, "ndim", 0) == 0:
        return entry
    listed = _listed(entry)
    return entry if listed is None else listed


def _number(value: Any) -> float | str:
    """The value as a float, or what is wrong with it."""
    given = value
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    try:
        number = math.nan if isinstance(value, str | bytes) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    return number if abs(number) <= LARGEST else f"it gave {given!r}, but {RULE}"


def _listed(answer: Any) -> list[Any] | None:
    """The entries of a sequence, an array or a tensor; None for anything else."""
    if isinstance(answer, str | bytes | Mapping):
        return None
    try:
        listed = answer.tolist() if hasattr(answer, "tolist") else list(answer)
    except TypeError:
        return None
    return listed if isinstance(listed, list) else None
