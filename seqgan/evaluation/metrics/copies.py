"""Finds samples, and long spans of samples, that were copied word for word from training data.

Training data are read in chunks, so they may be of any size. Hashes of 64 bits preselect the
training texts and spans; an exact comparison with the samples follows.
"""

from collections.abc import Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice

import numpy as np
from jaxtyping import Bool, Int, UInt64

from seqgan.data.sequences import Sequences
from seqgan.rewards.shipped.ngram_table import words_of
from seqgan.system.errors import DataError
from seqgan.tasks.base import Task

Text = Sequence[Hashable]

CHUNK = 2**16  # number of training texts in memory at a time
SPAN = 8  # number of words of the shortest span
MULTIPLIER = 0x9E3779B97F4A7C15  # multiplier of the hashes; any large odd number
FILTER_BITS = 20  # hash bits that index a table, which excludes most spans that no sample has


@dataclass(frozen=True, eq=False)
class Copies:
    """The copied part of each sample.

    Args:
        whole: True if the whole sample equals a training text.
        in_spans: number of its words in spans of at least `SPAN` words that a training text
            contains.
        lengths: number of its words.
    """

    whole: Bool[np.ndarray, " sample"]
    in_spans: Int[np.ndarray, " sample"]
    lengths: Int[np.ndarray, " sample"]


def copies_from_training(samples: Sequences, task: Task, chunk_size: int = CHUNK) -> Copies:
    """Finds the copied parts of the samples in the task's training split.

    Raises:
        DataError: `samples` is empty.
    """
    chunks = (_Packed.of_sequences(chunk) for chunk in task.chunks("train", chunk_size))
    return _find_copies(_Packed.of_sequences(samples), chunks)


def copies_from_texts(
    samples: Sequence[Text], train_texts: Iterable[Text], chunk_size: int = CHUNK
) -> Copies:
    """Finds the copied parts of the samples in training texts, which are read once.

    Raises:
        DataError: `samples` is empty.
    """
    words = dict.fromkeys(chain.from_iterable(samples))
    ids = {word: index for index, word in enumerate(words)}
    return _find_copies(_Packed.of_texts(samples, ids), _pack(train_texts, ids, chunk_size))


def _pack(texts: Iterable[Text], ids: dict[Hashable, int], chunk_size: int) -> Iterator["_Packed"]:
    remaining = iter(texts)
    while chunk := list(islice(remaining, chunk_size)):
        yield _Packed.of_texts(chunk, ids)


@dataclass(frozen=True, eq=False)
class _Packed:
    """Texts as numbers, end to end: all words, and the number of words of each text."""

    words: Int[np.ndarray, " word"]
    lengths: Int[np.ndarray, " text"]

    @classmethod
    def of_sequences(cls, sequences: Sequences) -> "_Packed":
        words, lengths = words_of(sequences)
        return cls(words.cpu().numpy(), lengths.cpu().numpy())

    @classmethod
    def of_texts(cls, texts: Sequence[Text], ids: dict[Hashable, int]) -> "_Packed":
        """Packs texts. All words without an id get one further id, which no sample has."""
        other = len(ids)
        words = (ids.get(word, other) for word in chain.from_iterable(texts))
        lengths = np.array([len(text) for text in texts], np.int64)
        return cls(np.fromiter(words, np.int64, int(lengths.sum())), lengths)

    @cached_property
    def ends(self) -> Int[np.ndarray, " text"]:
        return np.cumsum(self.lengths)

    def text(self, index: int) -> bytes:
        end = self.ends[index]
        return self.words[end - self.lengths[index] : end].tobytes()

    def text_sums(self) -> UInt64[np.ndarray, " text"]:
        """For each text, the sum of (word + 1) times the multiplier to the power of its place."""
        places = np.arange(len(self.words)) - np.repeat(self.ends - self.lengths, self.lengths)
        longest = int(self.lengths.max(initial=0))
        powers = np.cumprod(np.full(longest, MULTIPLIER, np.uint64))
        terms = (self.words + 1).astype(np.uint64) * powers[places]
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(terms)])
        return sums[self.ends] - sums[self.ends - self.lengths]

    def span_starts(self) -> Int[np.ndarray, " span"]:
        """The index of the first word of each span of `SPAN` words inside one text."""
        remaining = np.repeat(self.ends, self.lengths) - np.arange(len(self.words))
        return np.flatnonzero(remaining >= SPAN)

    def span_sums(self, starts: Int[np.ndarray, " span"]) -> UInt64[np.ndarray, " span"]:
        """A hash of 64 bits of each span: a polynomial of its words."""
        if not len(starts):
            return np.zeros(0, np.uint64)
        terms = self.words.astype(np.uint64) + 1
        num_places = len(terms) - SPAN + 1
        sums = np.zeros(num_places, np.uint64)
        for offset in range(SPAN):
            sums *= np.uint64(MULTIPLIER)
            sums += terms[offset : offset + num_places]
        return sums[starts]

    def spans(self, starts: Int[np.ndarray, " span"]) -> Int[np.ndarray, "span word"]:
        return self.words[starts[:, None] + np.arange(SPAN)]


def _find_copies(samples: _Packed, chunks: Iterable[_Packed]) -> Copies:
    if not len(samples.lengths):
        raise DataError("there are no samples to look for copies in, but at least one is needed")
    texts, spans = _TextSearch(samples), _SpanSearch(samples)
    for chunk in chunks:
        texts.look_in(chunk)
        spans.look_in(chunk)
    return Copies(texts.is_copy, spans.copied_words(), samples.lengths)


class _TextSearch:
    """Searches training texts for whole samples."""

    def __init__(self, samples: _Packed) -> None:
        self.samples, self.sums = samples, samples.text_sums()
        self.is_copy = np.zeros(len(self.sums), bool)

    def look_in(self, chunk: _Packed) -> None:
        candidates = np.flatnonzero(np.isin(chunk.text_sums(), self.sums[~self.is_copy]))
        texts = {chunk.text(index) for index in candidates.tolist()}
        if texts:
            self.is_copy |= [self.samples.text(i) in texts for i in range(len(self.sums))]


class _SpanSearch:
    """Searches training texts for the samples' spans.

    If two different spans have one hash, which has probability 2**-64, only one is searched for.
    """

    def __init__(self, samples: _Packed) -> None:
        self.samples, self.starts = samples, samples.span_starts()
        sums = samples.span_sums(self.starts)
        self.sums, first, self.number = np.unique(sums, return_index=True, return_inverse=True)
        self.spans = samples.spans(self.starts[first])
        self.is_found = np.zeros(len(self.sums), bool)
        self.filter = np.zeros(2**FILTER_BITS, bool)
        self.filter[_low_bits(self.sums)] = True

    def look_in(self, chunk: _Packed) -> None:
        starts = chunk.span_starts()
        sums = chunk.span_sums(starts)
        # The table of low bits first, because a lookup is much cheaper than a binary search.
        candidates = np.flatnonzero(self.filter[_low_bits(sums)])
        places = np.searchsorted(self.sums, sums[candidates]).clip(max=len(self.sums) - 1)
        equal = self.sums[places] == sums[candidates]
        places, starts = places[equal], starts[candidates[equal]]
        same = (self.spans[places] == chunk.spans(starts)).all(axis=1)
        self.is_found[places[same]] = True

    def copied_words(self) -> Int[np.ndarray, " sample"]:
        """The number of words of each sample that lie in copied spans."""
        starts = self.starts[self.is_found[self.number]]
        covered = np.zeros(len(self.samples.words) + 1, np.int64)
        np.add.at(covered, starts, 1)
        np.add.at(covered, starts + SPAN, -1)
        total = np.concatenate([[0], np.cumsum(np.cumsum(covered[:-1]) > 0)])
        return total[self.samples.ends] - total[self.samples.ends - self.samples.lengths]


def _low_bits(sums: UInt64[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    return (sums & np.uint64(2**FILTER_BITS - 1)).astype(np.int64)
