"""Which samples stand word for word in the training data, of any size, in little memory."""

import numpy as np
from numpy.typing import NDArray

from seqgan.sequences import Sequences
from seqgan.tasks.base import Task

CHUNK = 2**16  # training sequences in memory at a time


def copied_from_training(samples: Sequences, task: Task, chunk_size: int = CHUNK) -> float:
    """Share of samples that occur verbatim in the training split, repeated ones each time.

    The training split goes by in chunks. A 64-bit sum of each row tells which ones to compare
    with the samples; the comparison itself is exact.

    Raises:
        ValueError: no sample.
    """
    if not len(samples):
        raise ValueError("the copied rate needs at least one sample, got none")
    width = max(samples.tokens.shape[1], task.max_length)
    # Odd, so that one token changed always shows.
    weights = np.random.default_rng(0).integers(-(2**62), 2**62, width) * 2 + 1
    rows = _word_matrix(samples, width)
    sums = rows @ weights
    is_copy = np.zeros(len(rows), bool)
    sought = np.unique(sums)
    for chunk in task.chunks("train", chunk_size):
        real = _word_matrix(chunk, width)
        real_sums = real @ weights
        nearest = np.searchsorted(sought, real_sums).clip(max=len(sought) - 1)
        alike = real[sought[nearest] == real_sums]
        if not len(alike):
            continue
        texts = set(map(bytes, alike))
        is_copy |= np.array([bytes(row) in texts for row in rows])
        sought = np.unique(sums[~is_copy])
        if not len(sought):
            break
    return float(is_copy.mean())


def _word_matrix(sequences: Sequences, width: int) -> NDArray[np.int64]:
    """Ids of the words of each row (no eos) plus 1, and 0 after the last."""
    tokens, mask = sequences.tokens.cpu().numpy(), sequences.mask.cpu().numpy()
    eos = None if sequences.vocabulary is None else sequences.vocabulary.eos_id
    if eos is not None:
        mask = mask & (tokens != eos)
    words = np.zeros((len(tokens), width), np.int64)
    words[:, : tokens.shape[1]] = np.where(mask, tokens + 1, 0)
    return words
