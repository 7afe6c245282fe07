"""Counts and finds n-grams of token ids exactly, in thousands of texts at a time.

An n-gram is a pair: the number of its first n-1 words, and its last word. Sorting the pairs numbers
the n-grams. So equal numbers mean equal n-grams, without the collisions of a hash. Texts are given
as one long row of words, text after text, and the number of words of each; the eos is no word.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from seqgan.data.sequences import Sequences

LAST = 2**63 - 1  # larger than every pair, so that a search never runs past the end


def word_mask(sequences: Sequences) -> Bool[Tensor, "batch time"]:
    """True on words: real tokens other than eos."""
    vocabulary = sequences.vocabulary
    if vocabulary is None or vocabulary.eos_id is None:
        return sequences.mask
    return sequences.mask & (sequences.tokens != vocabulary.eos_id)


def words_of(sequences: Sequences) -> tuple[Int[Tensor, " word"], Int[Tensor, " text"]]:
    """The words of all rows, row after row, and the number of words of each row."""
    mask = word_mask(sequences)
    return sequences.tokens[mask], mask.sum(dim=1)


def count_ngrams(
    words: Int[Tensor, " word"], lengths: Int[Tensor, " text"], num_ids: int, max_order: int
) -> Iterator[
    tuple[Int[Tensor, " distinct"], Int[Tensor, " occurrence"], Int[Tensor, " occurrence"]]
]:
    """Counts the n-grams of each order from 1 to `max_order`.

    Args:
        num_ids: one more than the largest word.

    Yields:
        The distinct pairs, sorted; and for every occurrence the number of its text and the index
        of its pair.
    """
    texts, remaining = _places(lengths)
    starts = torch.arange(len(words), device=words.device)
    numbers = torch.zeros_like(starts)  # numbers of the 0-grams, which are all equal
    for order in range(1, max_order + 1):
        fits = remaining[starts] >= order
        starts = starts[fits]
        pairs = numbers[fits] * num_ids + words[starts + order - 1]
        distinct, numbers = torch.unique(pairs, return_inverse=True)
        yield distinct, texts[starts], numbers


@dataclass(frozen=True, eq=False)
class NgramTable:
    """The n-grams of a set of texts, for each order from 1 up.

    Args:
        pairs: for each order its sorted pairs, then `LAST`.
        most: for each order and n-gram, the largest number of its occurrences in one text.
        num_ids: one more than the largest word.
    """

    pairs: tuple[Int[Tensor, "_"], ...]
    most: tuple[Int[Tensor, "_"], ...]
    num_ids: int

    @classmethod
    def of(
        cls,
        words: Int[Tensor, " word"],
        lengths: Int[Tensor, " text"],
        num_ids: int,
        max_order: int,
    ) -> "NgramTable":
        tables, most = [], []
        num_texts = len(lengths)
        for pairs, texts, numbers in count_ngrams(words, lengths, num_ids, max_order):
            in_text, counts = torch.unique(numbers * num_texts + texts, return_counts=True)
            largest = torch.zeros_like(pairs)
            most.append(largest.scatter_reduce_(0, in_text // num_texts, counts, "amax"))
            tables.append(torch.cat([pairs, pairs.new_tensor([LAST])]))
        return cls(tuple(tables), tuple(most), num_ids)

    @classmethod
    def of_sequences(cls, parts: Iterable[Sequences], num_ids: int, max_order: int) -> "NgramTable":
        """The table of all rows of all parts."""
        words, lengths = zip(*map(words_of, parts), strict=True)
        return cls.of(torch.cat(words), torch.cat(lengths), num_ids, max_order)

    @property
    def max_order(self) -> int:
        return len(self.pairs)

    def to(self, device: torch.device) -> "NgramTable":
        return replace(
            self,
            pairs=tuple(pairs.to(device) for pairs in self.pairs),
            most=tuple(most.to(device) for most in self.most),
        )

    def find(
        self, words: Int[Tensor, " word"], lengths: Int[Tensor, " text"]
    ) -> Iterator[tuple[Int[Tensor, " occurrence"], Int[Tensor, " occurrence"]]]:
        """Finds the n-grams that are in this table.

        Yields:
            For each order, the number of the text and the number of the n-gram of every occurrence.
        """
        texts, remaining = _places(lengths)
        starts = torch.arange(len(words), device=words.device)
        numbers = torch.zeros_like(starts)
        for order, pairs in enumerate(self.pairs, start=1):
            fits = remaining[starts] >= order
            starts = starts[fits]
            queries = numbers[fits] * self.num_ids + words[starts + order - 1]
            places = torch.searchsorted(pairs, queries)
            is_here = pairs[places] == queries
            # An n-gram can be in the table only if its first n-1 words are, so the next order
            # continues with the occurrences of this one.
            starts, numbers = starts[is_here], places[is_here]
            yield texts[starts], numbers

    def matches(
        self, words: Int[Tensor, " word"], lengths: Int[Tensor, " text"]
    ) -> Iterator[Int[Tensor, " text"]]:
        """Counts each text's n-grams that are in this table; each counts at most its `most` times.

        Yields:
            For each order, the count of every text.
        """
        num_texts = len(lengths)
        for (texts, numbers), most in zip(self.find(words, lengths), self.most, strict=True):
            of_text, counts = torch.unique(numbers * num_texts + texts, return_counts=True)
            clipped = torch.minimum(counts, most[of_text // num_texts])
            yield torch.zeros_like(lengths).index_add_(0, of_text % num_texts, clipped)


def _places(
    lengths: Int[Tensor, " text"],
) -> tuple[Int[Tensor, " word"], Int[Tensor, " word"]]:
    """For each word, the number of its text and the number of words from it to the text's end."""
    texts = torch.repeat_interleave(torch.arange(len(lengths), device=lengths.device), lengths)
    ends = lengths.cumsum(dim=0)[texts]
    return texts, ends - torch.arange(len(texts), device=lengths.device)
