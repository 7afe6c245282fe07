"""An n-gram language model, to judge samples, or to learn from samples and be judged on real text.

The probability of a word w after a context h of n-1 words is interpolated Kneser-Ney with one
discount D (Kneser and Ney, 1995; interpolated as in Chen and Goodman, 1999):

    p(w | h) = max(c(h w) - D, 0) / c(h) + D types(h) / c(h) * p(w | h without its first word)

At the highest order c counts occurrences; at lower orders it counts the different words in front.
`types(h)` is the number of different words that follow h. The recursion ends with 1 / vocabulary
size.

The vocabulary is fixed: all words outside it are one word, unknown, and an end follows each text.
So after every context the probabilities of vocabulary, unknown word and end sum to 1. Models that
learned from different texts can be compared if they share a vocabulary.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from jaxtyping import Float, Int

from seqgan.system.errors import DataError

Text = Sequence[Hashable]

ORDER = 3
DISCOUNT = 0.75


class LanguageModel:
    """Interpolated Kneser-Ney over the words of a given vocabulary.

    Args:
        texts: the texts from which the model learns.
        vocabulary: the words that the model distinguishes.
        order: number of words of the longest n-gram.
        discount: the number that every count loses, in (0, 1).

    Raises:
        DataError: `texts` is empty, `order` is below 1, or `discount` is outside (0, 1).
    """

    def __init__(
        self,
        texts: Sequence[Text],
        vocabulary: Iterable[Hashable],
        order: int = ORDER,
        discount: float = DISCOUNT,
    ) -> None:
        if not len(texts):
            raise DataError(
                "there are no texts to learn a language model from, but at least one is needed"
            )
        if order < 1:
            raise DataError(f"order is {order}, but must be at least 1")
        if not 0 < discount < 1:
            raise DataError(f"discount is {discount}, but must be above 0 and below 1")
        self._ids = {word: index for index, word in enumerate(dict.fromkeys(vocabulary))}
        # Ids after those of the words: the unknown word, the end, and the start of a text.
        self._unknown = len(self._ids)
        self._end, self._start = self._unknown + 1, self._unknown + 2
        self.num_words = self._unknown + 2  # words that can follow a context: all but the start
        self.order, self.discount = order, discount
        self._levels = _count(*self._places(texts), self._start + 1)

    def log_probs(self, texts: Sequence[Text]) -> Float[np.ndarray, " text"]:
        """log p of each text and of its end, in nats."""
        if not len(texts):
            return np.zeros(0)
        starts = np.cumsum([0, *(len(text) + 1 for text in texts[:-1])])
        return np.add.reduceat(self.token_log_probs(texts), starts)

    def token_log_probs(self, texts: Sequence[Text]) -> Float[np.ndarray, " token"]:
        """log p of each word and each end in its context, text after text, in nats."""
        words, before = self._places(texts)
        probabilities = np.full(len(words), 1 / self.num_words)
        # Numbers of the n-gram that ends at each word, and of its context; -1 if it is unseen.
        ngrams, contexts = words, np.zeros_like(words)
        for level, in_front in zip(self._levels, before, strict=True):
            ngrams = _find(level.ngrams, _pairs(ngrams, in_front, self._start + 1))
            contexts = _find(level.contexts, _pairs(contexts, in_front, self._start + 1))
            counts = np.where(ngrams >= 0, level.counts[ngrams], 0)
            # The discounts of all words after the context, shared out by the lower order.
            backoff = level.types[contexts] * self.discount * probabilities
            mixed = (np.maximum(counts - self.discount, 0) + backoff) / level.totals[contexts]
            probabilities = np.where(contexts >= 0, mixed, probabilities)
        return np.log(probabilities)

    def _places(
        self, texts: Sequence[Text]
    ) -> tuple[Int[np.ndarray, " word"], list[Int[np.ndarray, " word"]]]:
        """Lists all words and ends, text after text, and the words 0, 1, ... n-1 places before.

        The words 0 places before are zeros, so that the lowest level works like the others.
        """
        ids, unknown, edge = self._ids, self._unknown, [self._start] * (self.order - 1)
        rows = ([*edge, *(ids.get(word, unknown) for word in text), self._end] for text in texts)
        flat = np.fromiter(chain.from_iterable(rows), np.int64)
        real = np.flatnonzero(flat != self._start)
        in_front = [flat[real - distance] for distance in range(1, self.order)]
        return flat[real], [np.zeros(len(real), np.int64), *in_front]


@dataclass(frozen=True, eq=False)
class _Level:
    """The counts of one order. A pair is the number of a shorter n-gram and the word before it.

    Args:
        ngrams: the sorted pairs of the n-grams.
        counts: c of each n-gram.
        contexts: the sorted pairs of the contexts.
        totals: the sum of c over all words after each context.
        types: the number of different words after each context.
    """

    ngrams: Int[np.ndarray, " ngram"]
    counts: Int[np.ndarray, " ngram"]
    contexts: Int[np.ndarray, " context"]
    totals: Int[np.ndarray, " context"]
    types: Int[np.ndarray, " context"]


def _count(
    words: Int[np.ndarray, " word"], before: Sequence[Int[np.ndarray, " word"]], num_ids: int
) -> list[_Level]:
    """Counts the levels from single words up to the longest n-grams.

    An n-gram is the pair of its last n-1 words' number and the word before them. Sorting the pairs
    numbers the n-grams, so that equal numbers mean equal n-grams, without the collisions of a hash.
    """
    numbers, contexts = words, np.zeros_like(words)
    levels: list[list[Int[np.ndarray, " number"]]] = []
    for in_front in before:
        shorter = numbers
        pairs, first, numbers, counts = np.unique(
            _pairs(numbers, in_front, num_ids),
            return_index=True,
            return_inverse=True,
            return_counts=True,
        )
        if levels:  # the order below counts the different words in front, not occurrences
            levels[-1][1] = np.bincount(shorter[first])
        context_pairs, contexts = np.unique(
            _pairs(contexts, in_front, num_ids), return_inverse=True
        )
        levels.append([pairs, counts, context_pairs, contexts[first]])
    return [
        _Level(
            pairs,
            counts,
            context_pairs,
            np.bincount(context_of, counts).astype(np.int64),
            np.bincount(context_of),
        )
        for pairs, counts, context_pairs, context_of in levels
    ]


def _pairs(
    numbers: Int[np.ndarray, " word"], in_front: Int[np.ndarray, " word"], num_ids: int
) -> Int[np.ndarray, " word"]:
    """Combines each pair to one number, which is negative if the first number is."""
    return numbers * num_ids + in_front


def _find(
    pairs: Int[np.ndarray, " known"], queries: Int[np.ndarray, " word"]
) -> Int[np.ndarray, " word"]:
    """The index of each query among the sorted pairs; -1 if it is not among them."""
    places = np.searchsorted(pairs, queries).clip(max=len(pairs) - 1)
    return np.where(pairs[places] == queries, places, -1)
