"""Rows of token ids end to end in one array, in memory or on a disk: a split of any size."""

from io import BufferedIOBase

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary

IdType = type[np.uint16] | type[np.uint32]


class PackedRows:
    """Rows of ids (eos included), which `select` makes into `Sequences`.

    Args:
        ids: the ids of all rows, end to end.
        starts: the place of each row's first id, and the place after the last row.
        vocabulary: decodes the ids.
        max_length: tokens that every row is padded to.
    """

    def __init__(
        self,
        ids: NDArray[np.unsignedinteger],
        starts: NDArray[np.int64],
        vocabulary: Vocabulary,
        max_length: int,
    ) -> None:
        self.ids, self.starts = ids, starts
        self.vocabulary, self.max_length = vocabulary, max_length

    def __len__(self) -> int:
        return len(self.starts) - 1

    def select(self, rows: Int[Tensor, " rows"]) -> Sequences:
        """The given rows, in the given order; a row may repeat."""
        ids, lengths = unpacked(self.ids, self.starts, rows.numpy())
        mask = np.arange(self.max_length) < lengths[:, None]
        tokens = np.full(mask.shape, self.vocabulary.pad_id, np.int64)
        tokens[mask] = ids
        return Sequences(
            torch.from_numpy(tokens), torch.from_numpy(mask), vocabulary=self.vocabulary
        )


def unpacked(
    ids: NDArray[np.unsignedinteger], starts: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.unsignedinteger], NDArray[np.int64]]:
    """The ids of the given rows end to end, and the number of each row's ids."""
    firsts = starts[rows]
    lengths = starts[rows + 1] - firsts
    # The place of every token: its row's start plus its position in the row.
    before = np.cumsum(lengths) - lengths
    places = np.repeat(firsts - before, lengths) + np.arange(lengths.sum())
    return ids[places], lengths


def id_type(vocabulary: Vocabulary) -> IdType:
    """The smaller of two types that hold every id."""
    return np.uint16 if vocabulary.size <= 2**16 else np.uint32


class PackedFile:
    """Writes packed rows chunk by chunk, as two arrays in NumPy's own format.

    Args:
        ids: an empty file for the ids.
        starts: an empty file for the places of the rows' first ids.
        end: the id that ends every row, and stands nowhere else.
    """

    def __init__(
        self, ids: BufferedIOBase, starts: BufferedIOBase, dtype: IdType, end: int
    ) -> None:
        self.ids, self.starts, self.dtype, self.end = ids, starts, np.dtype(dtype), end
        self.num_ids, self.num_rows = 0, 0
        self._write_headers()
        self.starts.write(np.zeros(1, np.int64).data)

    def append(self, chunk: NDArray[np.integer]) -> None:
        """Adds whole rows."""
        row_ends = np.flatnonzero(chunk == self.end) + 1
        self.ids.write(chunk.astype(self.dtype).data)
        self.starts.write((row_ends + self.num_ids).data)
        self.num_ids += len(chunk)
        self.num_rows += len(row_ends)

    def finish(self) -> None:
        """Writes the headers again, in equal room, with the sizes that are known only now."""
        self._write_headers()

    def _write_headers(self) -> None:
        for file, dtype, size in (
            (self.ids, self.dtype, self.num_ids),
            (self.starts, np.dtype(np.int64), self.num_rows + 1),
        ):
            file.seek(0)
            header = {"descr": dtype.str, "fortran_order": False, "shape": (size,)}
            np.lib.format.write_array_header_1_0(file, header)
