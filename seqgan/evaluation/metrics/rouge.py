"""ROUGE of texts without prompts: how much of a text stands in the real text most like it.

ROUGE-1 and ROUGE-2 count shared words and pairs of words, ROUGE-L the longest common subsequence
(Lin, 2004). All are F1. Without pairs a text's score is its best over all references, so it rises
with their number, like BLEU: references are never sub-sampled here.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from itertools import chain

import numpy as np
from jaxtyping import Float, Int

from seqgan.system.errors import DataError

Text = Sequence[Hashable]

METRICS = ("rouge_1", "rouge_2", "rouge_l")
NO_WORD = -1  # right of the last word of a shorter text
FIRST_BLOCK = 64  # references whose common subsequence is looked at first


def rouge_pairs(
    hypotheses: Sequence[Text], references: Sequence[Text]
) -> dict[str, Float[np.ndarray, " pair"]]:
    """ROUGE-1, 2 and L of each hypothesis against the reference at its own place.

    Raises:
        DataError: not one reference for each hypothesis, or none at all.
    """
    if len(hypotheses) != len(references) or not len(hypotheses):
        raise DataError(
            f"paired ROUGE needs one reference for each of at least one hypothesis,"
            f" got {len(references)} for {len(hypotheses)}"
        )
    pairs = list(zip(hypotheses, references, strict=True))
    best = [RougeReferences([real]).best([text]) for text, real in pairs]
    return {name: np.concatenate([scores[name] for scores in best]) for name in METRICS}


class RougeReferences:
    """References that many hypotheses are compared with: an index from n-grams to references.

    Raises:
        DataError: no reference.
    """

    def __init__(self, references: Sequence[Text]) -> None:
        if not len(references):
            raise DataError("ROUGE needs at least one reference, got none")
        self._numbers: dict[Hashable, int] = {}
        for word in chain.from_iterable(references):
            self._numbers.setdefault(word, len(self._numbers))
        rows = [[self._numbers[word] for word in text] for text in references]
        self._lengths = np.array([len(row) for row in rows])
        self._ends = np.cumsum(self._lengths)
        self._words = np.fromiter(chain.from_iterable(rows), np.int32)
        self._indices = [_index(rows, order) for order in (1, 2)]

    def best(self, hypotheses: Sequence[Text]) -> dict[str, Float[np.ndarray, " hypothesis"]]:
        """ROUGE-1, 2 and L of each hypothesis, each with the reference that gives the most."""
        scores = np.array([self._best(text) for text in hypotheses]).reshape(-1, len(METRICS))
        return dict(zip(METRICS, scores.T, strict=True))

    def _best(self, text: Text) -> tuple[float, float, float]:
        # A word that no reference has matches nothing, not even NO_WORD.
        row = [self._numbers.get(word, NO_WORD - 1) for word in text]
        by_word, by_pair = (
            self._f1(self._overlaps(row, order), len(row), order) for order in (1, 2)
        )
        return float(by_word.max()), float(by_pair.max()), self._best_l(row, by_word)

    def _overlaps(self, row: list[int], order: int) -> Int[np.ndarray, " reference"]:
        """Number of n-grams shared with each reference, one counted up to its smaller count."""
        index = self._indices[order - 1]
        found = [index[ngram] for ngram in _numbered_ngrams(row, order) if ngram in index]
        places = np.concatenate(found) if found else np.zeros(0, np.int64)
        return np.bincount(places, minlength=len(self._lengths))

    def _f1(
        self, shared: Int[np.ndarray, " n"], length: int, order: int
    ) -> Float[np.ndarray, " n"]:
        """2 shared / (n-grams of the hypothesis + n-grams of the reference): the F1."""
        sizes = np.maximum(self._lengths - order + 1, 0) + max(length - order + 1, 0)
        return 2 * shared / np.maximum(sizes, 1)

    def _best_l(self, row: list[int], by_word: Float[np.ndarray, " reference"]) -> float:
        """A subsequence has no more words than are shared, so ROUGE-1 bounds ROUGE-L.

        First the references of the highest bounds, then those whose bound is above the best score.
        """
        size = min(FIRST_BLOCK, len(by_word))
        first = np.argpartition(by_word, -size)[-size:]
        best = self._largest_l(row, first)
        left = np.flatnonzero(by_word > best)
        left = left[np.argsort(-by_word[left], kind="stable")]
        start = 0
        while start < len(left) and by_word[left[start]] > best:
            best = max(best, self._largest_l(row, left[start : start + size]))
            start, size = start + size, 2 * size
        return best

    def _largest_l(self, row: list[int], places: Int[np.ndarray, " place"]) -> float:
        lengths = self._lengths[places]
        columns = np.arange(max(int(lengths.max()), 1))
        fits = columns < lengths[:, None]
        starts = self._ends[places] - lengths
        words = np.full(fits.shape, NO_WORD, np.int32)
        words[fits] = self._words[(starts[:, None] + columns)[fits]]
        common = longest_common_subsequences(row, words)
        return float((2 * common / np.maximum(len(row) + lengths, 1)).max())


def longest_common_subsequences(
    row: Sequence[int], others: Int[np.ndarray, "other time"]
) -> Int[np.ndarray, " other"]:
    """Length of the longest subsequence that a row of numbers has in common with each other row.

    The usual recursion over both lengths, L[i, j] = L[i-1, j-1] + 1 where the words are equal and
    max(L[i-1, j], L[i, j-1]) elsewhere. Along j it is a running maximum, for all rows at once.
    """
    lengths = np.zeros((len(others), others.shape[1] + 1), np.int32)
    for word in row:
        longer = np.where(others == word, lengths[:, :-1] + 1, lengths[:, 1:])
        np.maximum.accumulate(longer, axis=1, out=lengths[:, 1:])
    return lengths[:, -1].astype(np.int64)


def _index(rows: Sequence[list[int]], order: int) -> dict[tuple[int, ...], Int[np.ndarray, "_"]]:
    """The rows that hold each numbered n-gram."""
    places: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for place, row in enumerate(rows):
        for ngram in _numbered_ngrams(row, order):
            places[ngram].append(place)
    return {ngram: np.array(held) for ngram, held in places.items()}


def _numbered_ngrams(row: Sequence[int], order: int) -> Iterator[tuple[int, ...]]:
    """The n-grams of a row, each with its number among its equals.

    What two rows share of these is as many as the n-grams that they share, each counted up to the
    smaller of its two counts.
    """
    seen: defaultdict[tuple[int, ...], int] = defaultdict(int)
    for ngram in zip(*(row[start:] for start in range(order)), strict=False):
        yield (*ngram, seen[ngram])
        seen[ngram] += 1
