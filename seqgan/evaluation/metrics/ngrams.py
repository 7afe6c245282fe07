"""n-gram metrics of tokenised texts: BLEU, Self-BLEU, distinct-n, duplicates.

A text is a sequence of words or of ids: any hashable tokens. BLEU rises with the number of
references (the same COCO samples have BLEU-2 .73 against 10,000 references, .44 against 200), and
Self-BLEU rises with the number of texts. So these functions may sub-sample hypotheses, but never
references.
"""

from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from jaxtyping import Bool, Float, Int

from seqgan.system.errors import DataError

Text = Sequence[Hashable]

EPSILON = 0.1  # numerator of a precision without a match: smoothing
MIN_ORDER = 2  # BLEU-1 ignores word order


def bleu(
    hypotheses: Sequence[Text], references: Sequence[Text], max_order: int = 5
) -> dict[int, float]:
    """Mean of `sentence_bleu` over the hypotheses, for each order from 2 to `max_order`."""
    scores = sentence_bleu(hypotheses, references, max_order)
    return {order: float(values.mean()) for order, values in scores.items()}


def sentence_bleu(
    hypotheses: Sequence[Text], references: Sequence[Text], max_order: int = 5
) -> dict[int, Float[np.ndarray, " hypothesis"]]:
    """BLEU of each hypothesis (Papineni et al., 2002), for each order from 2 to `max_order`.

    Every hypothesis is compared with all references, under uniform weights over 1..n and the
    brevity penalty of the closest reference length. Smoothing is the first method of Chen and
    Cherry (2014), in the form of NLTK's `method1`: a precision without a match gets the numerator
    0.1. A hypothesis that shares no word with any reference scores 0, and one shorter than n has
    an order-n precision of 0.1, as in NLTK's `sentence_bleu`.

    Raises:
        DataError: `hypotheses` or `references` is empty, or `max_order` is below 2.
    """
    _require_texts("BLEU", "hypothesis", hypotheses)
    _require_texts("BLEU", "reference", references)
    _require_order("max_order", max_order, MIN_ORDER)
    num_references = len(references)
    texts = [*references, *hypotheses]
    matches = [
        counts.matches(counts.largest_before(num_references), len(texts))[num_references:]
        for counts in _count_ngrams(texts, max_order)
    ]
    lengths = _lengths(hypotheses)
    return _scores(matches, lengths, _closest_lengths(lengths, _lengths(references)))


def bleu_pairs(
    hypotheses: Sequence[Text], references: Sequence[Text], max_order: int = 5
) -> dict[int, Float[np.ndarray, " pair"]]:
    """`sentence_bleu` of each hypothesis against the reference at its own place alone.

    Raises:
        DataError: not one reference for each hypothesis, none at all, or `max_order` below 2.
    """
    if len(hypotheses) != len(references) or not len(hypotheses):
        raise DataError(
            f"there are {len(references)} references for {len(hypotheses)} hypotheses, but"
            " paired BLEU needs one for each, and at least one"
        )
    _require_order("max_order", max_order, MIN_ORDER)
    # A word with the number of its pair is found in its own pair only.
    texts = [
        [(number, word) for word in text]
        for side in (references, hypotheses)
        for number, text in enumerate(side)
    ]
    matches = [
        counts.matches(counts.largest_before(len(references)), len(texts))[len(references) :]
        for counts in _count_ngrams(texts, max_order)
    ]
    return _scores(matches, _lengths(hypotheses), _lengths(references).astype(np.float64))


def self_bleu(
    texts: Sequence[Text],
    max_order: int = 5,
    num_hypotheses: int | None = None,
    rng: np.random.Generator | None = None,
) -> dict[int, float]:
    """Mean of `sentence_self_bleu` over the texts, for each order from 2 to `max_order`."""
    scores = sentence_self_bleu(texts, max_order, num_hypotheses, rng)
    return {order: float(values.mean()) for order, values in scores.items()}


def sentence_self_bleu(
    texts: Sequence[Text],
    max_order: int = 5,
    num_hypotheses: int | None = None,
    rng: np.random.Generator | None = None,
) -> dict[int, Float[np.ndarray, " hypothesis"]]:
    """BLEU of each text against all *other* texts (Zhu et al., 2018), for orders from 2.

    It is high if texts repeat each other. A duplicate elsewhere in `texts` counts as another text
    and so as a reference.

    Args:
        num_hypotheses: number of texts to score, drawn with `rng`; None scores all. The references
            are always all other texts.
        rng: draws the hypotheses; only `num_hypotheses` needs it.

    Raises:
        DataError: fewer than 2 texts, `max_order` below 2, `num_hypotheses` outside
            1..len(texts), or `num_hypotheses` without `rng`.
    """
    if len(texts) < 2:
        raise DataError(f"Self-BLEU has {len(texts)} texts, but needs at least 2")
    _require_order("max_order", max_order, MIN_ORDER)
    hypotheses = _draw_hypotheses(len(texts), num_hypotheses, rng)
    matches = [
        counts.matches(counts.largest_elsewhere(), len(texts))
        for counts in _count_ngrams(texts, max_order)
    ]
    lengths = _lengths(texts)
    scores = _scores(matches, lengths, _closest_others(lengths))
    return {order: values[hypotheses] for order, values in scores.items()}


def distinct(texts: Sequence[Text], order: int) -> float:
    """Unique n-grams over all n-grams (Li et al., 2016); 0 if every text is shorter than n.

    The ratio falls with the number and the length of the texts, so compare equal sample sizes only.

    Raises:
        DataError: `texts` is empty, or `order` is below 1.
    """
    _require_texts("distinct-n", "text", texts)
    _require_order("order", order, 1)
    unique: set[tuple[Hashable, ...]] = set()
    total = 0
    for text in texts:
        unique.update(zip(*(text[start:] for start in range(order)), strict=False))
        total += max(len(text) - order + 1, 0)
    return len(unique) / max(total, 1)


def duplicate_rate(texts: Sequence[Text]) -> float:
    """Share of texts that repeat an earlier text: 1 - unique / all.

    Raises:
        DataError: `texts` is empty.
    """
    _require_texts("the duplicate rate", "text", texts)
    return 1 - len({tuple(text) for text in texts}) / len(texts)


@dataclass(frozen=True)
class _Counts:
    """Counts of each n-gram of one order in each text, with an entry for each pair that occurs.

    Entries are sorted by n-gram, then by text. n-grams are numbered from 0 in the order of entries.
    """

    ngrams: Int[np.ndarray, " pair"]
    texts: Int[np.ndarray, " pair"]
    counts: Int[np.ndarray, " pair"]

    def largest_before(self, num_texts: int) -> Int[np.ndarray, " pair"]:
        """The largest count of each entry's n-gram in one of the first `num_texts` texts."""
        return self._largest(np.where(self.texts < num_texts, self.counts, 0))[self.ngrams]

    def largest_elsewhere(self) -> Int[np.ndarray, " pair"]:
        """The largest count of each entry's n-gram in a text other than the entry's."""
        largest = self._largest(self.counts)[self.ngrams]
        has_largest = self.counts == largest
        alone = has_largest & (np.bincount(self.ngrams[has_largest])[self.ngrams] == 1)
        second = self._largest(np.where(has_largest, 0, self.counts))[self.ngrams]
        return np.where(alone, second, largest)

    def matches(self, limits: Int[np.ndarray, " pair"], num_texts: int) -> Int[np.ndarray, " text"]:
        """Each text's number of n-grams; an n-gram counts at most `limits` times."""
        clipped = np.minimum(self.counts, limits)
        return np.bincount(self.texts, clipped, minlength=num_texts).astype(np.int64)

    def _largest(self, values: Int[np.ndarray, " pair"]) -> Int[np.ndarray, " ngram"]:
        return np.maximum.reduceat(values, np.flatnonzero(_changes(self.ngrams)))


def _count_ngrams(texts: Sequence[Text], max_order: int) -> Iterator[_Counts]:
    """Yields the counts of the orders 1, 2, ..., `max_order`.

    Words become numbers. An n-gram is the pair of its first n-1 words' number and its last word.
    Sorting the pairs numbers the n-grams, so that equal numbers mean equal n-grams, without the
    collisions of a hash.
    """
    numbers: defaultdict[Hashable, int] = defaultdict()
    numbers.default_factory = numbers.__len__  # a new word gets the next number
    words = np.fromiter(map(numbers.__getitem__, chain.from_iterable(texts)), dtype=np.int64)
    lengths = _lengths(texts)
    text_of = np.repeat(np.arange(len(texts)), lengths)
    words_left = np.repeat(np.cumsum(lengths), lengths) - np.arange(len(words))

    starts = np.arange(len(words))  # the position of the first word of each n-gram
    ngrams = np.zeros_like(starts)  # the number of each n-gram; before order 1, they are all equal
    for order in range(1, max_order + 1):
        fits = words_left[starts] >= order
        starts, prefixes = starts[fits], ngrams[fits]
        pairs = prefixes * len(numbers) + words[starts + order - 1]
        ranks = np.argsort(pairs, kind="stable")  # equal n-grams stay sorted by text
        is_new = _changes(pairs[ranks])
        sorted_ngrams = np.cumsum(is_new) - 1
        sorted_texts = text_of[starts[ranks]]
        first = np.flatnonzero(is_new | _changes(sorted_texts))
        yield _Counts(sorted_ngrams[first], sorted_texts[first], np.diff(first, append=len(starts)))
        ngrams = np.empty_like(ranks)
        ngrams[ranks] = sorted_ngrams


def _changes(values: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """True where a value (0 or more) differs from the one before it, and at the first value."""
    return np.diff(values, prepend=-1) != 0


def _lengths(texts: Sequence[Text]) -> Int[np.ndarray, " text"]:
    return np.array([len(text) for text in texts], dtype=np.int64)


def _closest_lengths(
    lengths: Int[np.ndarray, " hypothesis"], references: Int[np.ndarray, " reference"]
) -> Float[np.ndarray, " hypothesis"]:
    """The reference length closest to each hypothesis length; the shorter one in a tie."""
    bounded = np.concatenate([[-np.inf], np.sort(references), [np.inf]])
    above = np.searchsorted(bounded, lengths)
    return _closer(lengths, bounded[above - 1], bounded[above])


def _closest_others(lengths: Int[np.ndarray, " text"]) -> Float[np.ndarray, " text"]:
    """For each text the closest length among all others: a neighbour in the sorted lengths."""
    order = np.argsort(lengths)
    bounded = np.concatenate([[-np.inf], lengths[order], [np.inf]])
    closest = np.empty(len(lengths))
    closest[order] = _closer(lengths[order], bounded[:-2], bounded[2:])
    return closest


def _closer(
    lengths: Int[np.ndarray, " n"], below: Float[np.ndarray, " n"], above: Float[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    return np.where(lengths - below <= above - lengths, below, above)


def _scores(
    matches: Sequence[Int[np.ndarray, " text"]],
    lengths: Int[np.ndarray, " text"],
    closest: Float[np.ndarray, " text"],
) -> dict[int, Float[np.ndarray, " text"]]:
    """BLEU-2, BLEU-3, ... of each text, by order.

    Args:
        matches: for the orders 1, 2, ..., each text's number of n-grams found in its references.
        closest: the length of the closest reference.
    """
    log_penalty = np.minimum(0.0, 1 - closest / np.maximum(lengths, 1))
    log_precisions = np.zeros(len(lengths))
    scores = {}
    for order, counts in enumerate(matches, start=1):
        num_ngrams = np.maximum(lengths - order + 1, 1)
        log_precisions += np.log(np.where(counts > 0, counts, EPSILON) / num_ngrams)
        scores[order] = np.exp(log_penalty + log_precisions / order) * (matches[0] > 0)
    return {order: scores[order] for order in range(MIN_ORDER, len(matches) + 1)}


def _draw_hypotheses(
    num_texts: int, num_hypotheses: int | None, rng: np.random.Generator | None
) -> Sequence[int]:
    """Indices of the texts to score: all, or `num_hypotheses` drawn ones."""
    if num_hypotheses is None:
        return range(num_texts)
    if rng is None:
        raise DataError("num_hypotheses is given without rng, which is needed to draw them")
    if not 1 <= num_hypotheses <= num_texts:
        raise DataError(f"num_hypotheses is {num_hypotheses}, but must be 1 to {num_texts}")
    return rng.choice(num_texts, size=num_hypotheses, replace=False).tolist()


def _require_texts(metric: str, kind: str, texts: Sequence[Text]) -> None:
    if len(texts) == 0:
        raise DataError(f"{metric} has no {kind}, but needs at least one")


def _require_order(name: str, order: int, minimum: int) -> None:
    if order < minimum:
        raise DataError(f"{name} is {order}, but must be at least {minimum}")
