"""Copies among numbered texts, a random split for each text, and ids for the numbers.

Splits are drawn over texts with distinct digests. Should two different texts ever share a digest,
they count as one text and land in one split.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from seqgan.data.vocabulary import Vocabulary
from seqgan.system.errors import DataError
from seqgan.tasks.base import Split
from seqgan.tasks.files.text_numbering import END, NumberedTexts

SPLITS: tuple[Split, ...] = ("train", "dev", "test")

Labels = NDArray[np.uint8]  # the place in SPLITS of each text's split


def check_fractions(dev_fraction: float, test_fraction: float) -> None:
    """Raises DataError where nothing is left for training."""
    if not dev_fraction + test_fraction < 1:
        raise DataError(
            f"task.dev_fraction is {dev_fraction} and task.test_fraction is"
            f" {test_fraction}, but their sum must be below 1"
        )


def first_copies(digests: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The number of the first equal text, for each text."""
    order = np.argsort(digests, kind="stable")  # copies side by side, in file order
    ordered = digests[order]
    is_first = np.ones(len(order), bool)
    is_first[1:] = ordered[1:] != ordered[:-1]
    del ordered
    firsts = np.empty(len(order), np.int64)
    firsts[order] = order[is_first][np.cumsum(is_first) - 1]
    return firsts


def draw_splits(
    firsts: NDArray[np.int64], dev_fraction: float, test_fraction: float, most: int, seed: int
) -> Labels:
    """Splits at least 3 distinct texts, at least one in each split, and keeps copies together.

    Args:
        firsts: the number of the first equal text, for each text.
        most: the largest number of distinct texts in dev, and in test.
    """
    distinct = np.flatnonzero(firsts == np.arange(len(firsts)))
    size = len(distinct)
    num_dev = min(max(round(dev_fraction * size), 1), size - 2, most)
    num_test = min(max(round(test_fraction * size), 1), size - num_dev - 1, most)
    rng = torch.Generator().manual_seed(seed)
    order = torch.randperm(size, generator=rng)[: num_dev + num_test].numpy()
    labels = np.zeros(len(firsts), np.uint8)
    labels[distinct[order[:num_dev]]] = SPLITS.index("dev")
    labels[distinct[order[num_dev:]]] = SPLITS.index("test")
    return labels[firsts]


def split_chunks(texts: NumberedTexts, labels: Labels) -> Iterator[tuple[NDArray[np.uint32], ...]]:
    """Yields, chunk by chunk, the numbers of each split's texts in file order, with `END`s."""
    first = 0  # number of a chunk's first text
    for chunk in texts.chunks():
        ends = np.flatnonzero(chunk == END)
        lengths = np.diff(ends, prepend=-1)
        split_of = np.repeat(labels[first : first + len(ends)], lengths)
        yield tuple(chunk[split_of == place] for place in range(len(SPLITS)))
        first += len(ends)


def count_words(texts: NumberedTexts, labels: Labels) -> NDArray[np.int64]:
    """Counts of each number's word (a column) in each split (a row); `END` counts 0."""
    counts = np.zeros((len(SPLITS), len(texts.words)), np.int64)
    for chunk in split_chunks(texts, labels):
        for row, numbers in zip(counts, chunk, strict=True):
            row += np.bincount(numbers, minlength=len(row))
    counts[:, END] = 0
    return counts


def rank_words(words: Sequence[str], counts: NDArray[np.int64], min_count: int) -> list[int]:
    """Numbers of the words that occur often enough, by falling count, equal ones by code points."""
    often = np.flatnonzero(counts >= min_count).tolist()
    return sorted(often, key=lambda number: (-counts[number], words[number]))


def subword_ids(vocabulary: Vocabulary) -> NDArray[np.int64]:
    """The id of every number that `number_texts` gives to subwords: one less, eos for `END`."""
    assert vocabulary.eos_id is not None
    ids = np.arange(vocabulary.size) - END - 1
    ids[END] = vocabulary.eos_id
    return ids


def new_ids(ranked: Sequence[int], num_words: int, unk_id: int, eos_id: int) -> NDArray[np.int64]:
    """The id of every number: `eos_id` for `END`, 1, 2, ... for the ranked, else `unk_id`."""
    ids = np.full(num_words, unk_id, np.int64)
    ids[END] = eos_id
    ids[np.array(ranked)] = np.arange(1, len(ranked) + 1)
    return ids
