"""Rows of a prompt, its continuation and other columns: as lists to fill, and packed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Int
from numpy.typing import NDArray
from torch import Tensor

from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.tasks.files.packed import PackedRows, id_type, unpacked

Numbers = NDArray[np.uint32]


class PromptRows:
    """Continuations with their prompts and columns, which `select` makes into `Sequences`.

    Args:
        continuations: the rows.
        ids: the ids of all prompts, end to end.
        starts: the place of each prompt's first id, and the place after the last prompt.
        texts: the prompts as the data spell them.
        columns: the data's other columns, by name.
    """

    def __init__(
        self,
        continuations: PackedRows,
        ids: NDArray[np.unsignedinteger],
        starts: NDArray[np.int64],
        texts: Sequence[str],
        columns: Mapping[str, Sequence[Any]],
    ) -> None:
        self.continuations, self.ids, self.starts = continuations, ids, starts
        self.texts, self.columns = texts, columns

    def __len__(self) -> int:
        return len(self.continuations)

    def select(self, rows: Int[Tensor, " rows"]) -> Sequences:
        """The given rows, in the given order; prompts are as wide as the longest of them."""
        ids, lengths = unpacked(self.ids, self.starts, rows.numpy())
        prompts, mask = left_padded(ids, lengths, self.continuations.vocabulary.pad_id)
        numbers = rows.tolist()
        return replace(
            self.continuations.select(rows),
            prompts=prompts,
            prompt_mask=mask,
            columns={name: [values[i] for i in numbers] for name, values in self.columns.items()},
            given_prompt_texts=[self.texts[i] for i in numbers],
        )


def left_padded(
    ids: NDArray[np.integer[Any]], lengths: NDArray[np.int64], pad_id: int
) -> tuple[Int[Tensor, "row width"], Bool[Tensor, "row width"]]:
    """Pads rows that lie end to end on the left, to the longest of them; with their mask."""
    width = int(lengths.max(initial=1))
    mask = np.arange(width) >= width - lengths[:, None]
    tokens = np.full(mask.shape, pad_id, np.int64)
    tokens[mask] = ids
    return torch.from_numpy(tokens), torch.from_numpy(mask)


@dataclass
class ReadRows:
    """The rows that were read so far: one for each record that is kept."""

    texts: list[str] = field(default_factory=list)  # the prompts' texts
    prompts: list[Numbers] = field(default_factory=list)
    continuations: list[Numbers] = field(default_factory=list)  # each with an END behind it
    columns: dict[str, list[Any]] = field(default_factory=dict)
    firsts: list[int] = field(default_factory=list)  # each row's first row with the same prompt
    first_rows: dict[bytes, int] = field(default_factory=dict)  # each prompt's first row
    num_records: int = 0
    num_blank: int = 0
    num_long: int = 0
    num_spaced: int = 0  # rows with a space between prompt and continuation

    @property
    def num_distinct(self) -> int:
        return len(self.first_rows)

    def add(
        self, text: str, prompt: Numbers, continuation: Numbers, more: Mapping[str, Any]
    ) -> None:
        """Adds a row. A column that only some rows have is None in the others."""
        row = len(self.texts)
        self.firsts.append(self.first_rows.setdefault(prompt.tobytes(), row))
        self.texts.append(text)
        self.prompts.append(prompt)
        self.continuations.append(continuation)
        for name in more:
            self.columns.setdefault(name, [None] * row)
        for name, values in self.columns.items():
            values.append(more.get(name))

    def rows(
        self, rows: NDArray[np.int64], ids: NDArray[np.int64], vocabulary: Vocabulary, length: int
    ) -> PromptRows:
        """Packs the chosen rows, with ids in place of numbers."""
        numbers = rows.tolist()
        packed = [
            pack([part[row] for row in numbers], ids, vocabulary)
            for part in (self.continuations, self.prompts)
        ]
        columns = {name: [values[i] for i in numbers] for name, values in self.columns.items()}
        texts = [self.texts[row] for row in numbers]
        return PromptRows(PackedRows(*packed[0], vocabulary, length), *packed[1], texts, columns)


def pack(
    rows: Sequence[Numbers], ids: NDArray[np.int64], vocabulary: Vocabulary
) -> tuple[NDArray[np.unsignedinteger], NDArray[np.int64]]:
    """The ids of the rows end to end, and the places of the rows' first ids."""
    starts = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
    return ids[np.concatenate(rows)].astype(id_type(vocabulary)), starts
