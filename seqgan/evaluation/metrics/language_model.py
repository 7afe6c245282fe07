"""An n-gram language model that judges samples, or is judged on real text after learning from them.

The probability of a word after a context h of n-1 words, interpolated Kneser-Ney with one discount
D (Kneser and Ney, 1995; interpolated as in Chen and Goodman, 1999):

    p(w | h) = max(c(h w) - D, 0) / c(h) + D types(h) / c(h) * p(w | h without its first word)

c counts occurrences at the highest order, and below it how many different words stand in front.
`types(h)` is how many different words follow h. The recursion ends with 1 / vocabulary size.

The vocabulary is closed and given: words outside it are all one word, unknown, and an end follows
each text. So probabilities sum to 1 over the vocabulary, the unknown word and the end, after every
context; and models that learnt from different texts can be compared if they share a vocabulary.
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
        texts: what it learns from.
        vocabulary: the words that are told apart.
        order: words of the longest n-gram.
        discount: what every count loses, in (0, 1).

    Raises:
        DataError: no text, `order` below 1, or `discount` outside (0, 1).
    """

    def __init__(
        self,
        texts: Sequence[Text],
        vocabulary: Iterable[Hashable],
        order: int = ORDER,
        discount: float = DISCOUNT,
    ) -> None:
        if not len(texts):
            raise DataError("a language model learns from at least one text, got none")
        if order < 1:
            raise DataError(f"order is at least 1, got {order}")
        if not 0 < discount < 1:
            raise DataError(f"discount is between 0 and 1, got {discount}")
        self._ids = {word: index for index, word in enumerate(dict.fromkeys(vocabulary))}
        # After the words: any other word, the end, and what stands in front of a text.
        self._unknown = len(self._ids)
        self._end, self._start = self._unknown + 1, self._unknown + 2
        self.num_words = self._unknown + 2  # that can follow: the start cannot
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
        # Numbers of the n-gram that ends at each word, and of its context; -1 for unseen ones.
        ngrams, contexts = words, np.zeros_like(words)
        for level, in_front in zip(self._levels, before, strict=True):
            ngrams = _find(level.ngrams, _pairs(ngrams, in_front, self._start + 1))
            contexts = _find(level.contexts, _pairs(contexts, in_front, self._start + 1))
            counts = np.where(ngrams >= 0, level.counts[ngrams], 0)
            left = level.types[contexts] * self.discount * probabilities
            seen = (np.maximum(counts - self.discount, 0) + left) / level.totals[contexts]
            probabilities = np.where(contexts >= 0, seen, probabilities)
        return np.log(probabilities)

    def _places(
        self, texts: Sequence[Text]
    ) -> tuple[Int[np.ndarray, " word"], list[Int[np.ndarray, " word"]]]:
        """All words and ends, text after text; and what stands 0, 1, ... n-1 words in front.

        Nothing stands 0 words in front: zeros, which keep the lowest level like the others.
        """
        ids, unknown, edge = self._ids, self._unknown, [self._start] * (self.order - 1)
        rows = ([*edge, *(ids.get(word, unknown) for word in text), self._end] for text in texts)
        flat = np.fromiter(chain.from_iterable(rows), np.int64)
        real = np.flatnonzero(flat != self._start)
        in_front = [flat[real - distance] for distance in range(1, self.order)]
        return flat[real], [np.zeros(len(real), np.int64), *in_front]


@dataclass(frozen=True, eq=False)
class _Level:
    """What was counted of the n-grams of one order. A pair is a number and what stands in front.

    Args:
        ngrams: the sorted pairs of its n-grams.
        counts: c of each.
        contexts: the sorted pairs of the contexts.
        totals: the sum of c over what follows each context.
        types: how many different words follow it.
    """

    ngrams: Int[np.ndarray, " ngram"]
    counts: Int[np.ndarray, " ngram"]
    contexts: Int[np.ndarray, " context"]
    totals: Int[np.ndarray, " context"]
    types: Int[np.ndarray, " context"]


def _count(
    words: Int[np.ndarray, " word"], before: Sequence[Int[np.ndarray, " word"]], num_ids: int
) -> list[_Level]:
    """The levels from single words up to the longest n-grams.

    An n-gram is the pair of its last n-1 words' number and the word in front of them. Sorting the
    pairs numbers the n-grams: equal numbers are equal n-grams, with no hash to collide.
    """
    numbers, contexts = words, np.zeros_like(words)
    found: list[list[Int[np.ndarray, " number"]]] = []
    for in_front in before:
        shorter = numbers
        pairs, first, numbers, counts = np.unique(
            _pairs(numbers, in_front, num_ids),
            return_index=True,
            return_inverse=True,
            return_counts=True,
        )
        if found:  # the order below counts not occurrences, but what stands in front
            found[-1][1] = np.bincount(shorter[first])
        context_pairs, contexts = np.unique(
            _pairs(contexts, in_front, num_ids), return_inverse=True
        )
        found.append([pairs, counts, context_pairs, contexts[first]])
    return [
        _Level(
            pairs,
            counts,
            context_pairs,
            np.bincount(context_of, counts).astype(np.int64),
            np.bincount(context_of),
        )
        for pairs, counts, context_pairs, context_of in found
    ]


def _pairs(
    numbers: Int[np.ndarray, " word"], in_front: Int[np.ndarray, " word"], num_ids: int
) -> Int[np.ndarray, " word"]:
    """One number for each pair; below 0 where the number is."""
    return numbers * num_ids + in_front


def _find(
    pairs: Int[np.ndarray, " known"], sought: Int[np.ndarray, " word"]
) -> Int[np.ndarray, " word"]:
    """The place of each sought pair among the sorted ones; -1 where it is not among them."""
    places = np.searchsorted(pairs, sought).clip(max=len(pairs) - 1)
    return np.where(pairs[places] == sought, places, -1)
