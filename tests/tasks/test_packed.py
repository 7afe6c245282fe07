"""Packed rows against the same rows as `Sequences`."""

from io import BytesIO

import numpy as np
import pytest
import torch
from toys import ENDING, every_sequence

from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.tasks.base import Rows
from seqgan.tasks.files.packed import PackedFile, PackedRows, id_type

EOS = ENDING.eos_id
EVERY = [
    row[:n]
    for row, n in zip(
        every_sequence(ENDING).tokens.tolist(),
        every_sequence(ENDING).lengths.tolist(),
        strict=True,
    )
    if row[n - 1] == EOS
]


def arrays(rows, chunk_sizes, dtype=np.uint16):
    """The two arrays of rows that were appended in chunks of so many rows."""
    ids, starts = BytesIO(), BytesIO()
    file = PackedFile(ids, starts, dtype, EOS)
    for size in chunk_sizes:
        chunk, rows = rows[:size], rows[size:]
        file.append(np.array([index for row in chunk for index in row], np.int64))
    assert not rows
    file.finish()
    for written in (ids, starts):
        written.seek(0)
    return np.load(ids), np.load(starts)


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32])
def test_select_equals_sequences(dtype):
    ids, starts = arrays(EVERY, [3, 0, 1, len(EVERY) - 4], dtype)
    assert ids.dtype == dtype
    packed = PackedRows(ids, starts, ENDING, 6)
    plain = Sequences.from_rows(EVERY, ENDING, 6)
    assert isinstance(packed, Rows)
    assert len(packed) == len(plain)
    rng = torch.Generator().manual_seed(0)
    last = len(plain) - 1
    for rows in (
        torch.arange(len(plain)),
        torch.tensor([last, 0, last, last]),
        torch.arange(0),
        torch.randint(len(plain), (50,), generator=rng),
    ):
        found, expected = packed.select(rows), plain.select(rows)
        assert found.tokens.dtype == torch.long
        assert torch.equal(found.tokens, expected.tokens)
        assert torch.equal(found.mask, expected.mask)
        assert found.texts == expected.texts


def test_a_full_row_has_no_padding():
    packed = PackedRows(*arrays([[0, 1, EOS], [EOS]], [2]), ENDING, 3)
    assert packed.select(torch.tensor([0])).tokens.tolist() == [[0, 1, EOS]]
    assert packed.select(torch.tensor([0])).mask.all()


def test_the_headers_have_room_for_large_sizes():
    """What is written first is not moved by the sizes that are known last."""
    ids, starts = arrays([[0, EOS]] * 12_345, [12_345])
    assert ids.shape == (24_690,)
    assert starts.tolist() == list(range(0, 24_691, 2))


def test_the_smallest_type_that_holds_every_id():
    words = tuple(map(str, range(2**16 - 3)))
    assert Vocabulary(words).size == 2**16
    assert id_type(Vocabulary(words)) is np.uint16
    assert id_type(Vocabulary((*words, "more"))) is np.uint32
