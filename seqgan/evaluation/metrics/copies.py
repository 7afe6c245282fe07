"""Which samples, and which long spans of them, stand word for word in the training data.

Training data of any size, in little memory: they go by in chunks. 64-bit sums of texts and of
spans tell what to compare with the samples; the comparison itself is exact.
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

CHUNK = 2**16  # training texts in memory at a time
SPAN = 8  # words that a span has at least
MULTIPLIER = 0x9E3779B97F4A7C15  # of the sums; any large odd number
FILTER_BITS = 20  # a table of so many bits says most of what no sample has


@dataclass(frozen=True, eq=False)
class Copies:
    """What of each sample stands in the training data.

    Args:
        whole: whether all of it is a training text.
        in_spans: how many of its words lie in a span of at least `SPAN` words that stands in a
            training text.
        lengths: how many words it has.
    """

    whole: Bool[np.ndarray, " sample"]
    in_spans: Int[np.ndarray, " sample"]
    lengths: Int[np.ndarray, " sample"]


def copies_from_training(samples: Sequences, task: Task, chunk_size: int = CHUNK) -> Copies:
    """What of the samples stands in the task's training split.

    Raises:
        DataError: no sample.
    """
    chunks = (_Packed.of_sequences(chunk) for chunk in task.chunks("train", chunk_size))
    return _find_copies(_Packed.of_sequences(samples), chunks)


def copies_from_texts(
    samples: Sequence[Text], train_texts: Iterable[Text], chunk_size: int = CHUNK
) -> Copies:
    """What of the samples stands in the training texts, which are gone through once.

    Raises:
        DataError: no sample.
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
    """Texts as numbers, end to end: all words, and how many each text has."""

    words: Int[np.ndarray, " word"]
    lengths: Int[np.ndarray, " text"]

    @classmethod
    def of_sequences(cls, sequences: Sequences) -> "_Packed":
        words, lengths = words_of(sequences)
        return cls(words.cpu().numpy(), lengths.cpu().numpy())

    @classmethod
    def of_texts(cls, texts: Sequence[Text], ids: dict[Hashable, int]) -> "_Packed":
        """Words without an id all get the same further one, which no sample has."""
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
        """Where each span of `SPAN` words inside one text starts."""
        left = np.repeat(self.ends, self.lengths) - np.arange(len(self.words))
        return np.flatnonzero(left >= SPAN)

    def span_sums(self, starts: Int[np.ndarray, " span"]) -> UInt64[np.ndarray, " span"]:
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
        raise DataError("copies are looked for in at least one sample, got none")
    texts, spans = _SoughtTexts(samples), _SoughtSpans(samples)
    for chunk in chunks:
        texts.look_in(chunk)
        spans.look_in(chunk)
    return Copies(texts.is_copy, spans.copied_words(), samples.lengths)


class _SoughtTexts:
    """Samples that are looked for among training texts."""

    def __init__(self, samples: _Packed) -> None:
        self.samples, self.sums = samples, samples.text_sums()
        self.is_copy = np.zeros(len(self.sums), bool)

    def look_in(self, chunk: _Packed) -> None:
        alike = np.flatnonzero(np.isin(chunk.text_sums(), self.sums[~self.is_copy]))
        texts = {chunk.text(index) for index in alike.tolist()}
        if texts:
            self.is_copy |= [self.samples.text(i) in texts for i in range(len(self.sums))]


class _SoughtSpans:
    """Spans of samples that are looked for anywhere in training texts.

    Of two different spans with one sum, which is as likely as 2**-64, only one is looked for.
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
        likely = np.flatnonzero(self.filter[_low_bits(sums)])
        places = np.searchsorted(self.sums, sums[likely]).clip(max=len(self.sums) - 1)
        equal = self.sums[places] == sums[likely]
        places, starts = places[equal], starts[likely[equal]]
        same = (self.spans[places] == chunk.spans(starts)).all(axis=1)
        self.is_found[places[same]] = True

    def copied_words(self) -> Int[np.ndarray, " sample"]:
        """How many words of each sample lie in a span that was found."""
        starts = self.starts[self.is_found[self.number]]
        covered = np.zeros(len(self.samples.words) + 1, np.int64)
        np.add.at(covered, starts, 1)
        np.add.at(covered, starts + SPAN, -1)
        total = np.concatenate([[0], np.cumsum(np.cumsum(covered[:-1]) > 0)])
        return total[self.samples.ends] - total[self.samples.ends - self.samples.lengths]


def _low_bits(sums: UInt64[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    return (sums & np.uint64(2**FILTER_BITS - 1)).astype(np.int64)
