"""n-gram metrics of tokenised texts: BLEU, Self-BLEU, distinct-n, duplicates, copies.

A text is a sequence of words or of ids: any hashable tokens. BLEU rises with the number of
references (the same COCO samples score BLEU-2 .73 against 10,000 of them, .44 against 200), and
Self-BLEU with the number of texts. So references are never sub-sampled here, only hypotheses are.
"""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Text = Sequence[Hashable]
NGram = tuple[Hashable, ...]

EPSILON = 0.1  # the numerator that smoothing gives to a precision without a match
MIN_ORDER = 2  # BLEU-1 ignores word order


def count_ngrams(text: Text, order: int) -> Counter[NGram]:
    """How often each n-gram of that order occurs; empty for a text shorter than `order`."""
    return Counter(zip(*(text[start:] for start in range(order)), strict=False))


def bleu(
    hypotheses: Sequence[Text], references: Sequence[Text], max_order: int = 5
) -> dict[int, float]:
    """Mean sentence BLEU (Papineni et al., 2002), for each order from 2 to `max_order`.

    Every hypothesis is compared with all references, under uniform weights over 1..n and the
    brevity penalty of the closest reference length. Smoothing is the first method of Chen and
    Cherry (2014), in the form of NLTK's `method1`: a precision without a match gets the numerator
    0.1. A hypothesis that shares no word with any reference scores 0, and one shorter than n has
    an order-n precision of 0.1, as in NLTK's `sentence_bleu`.

    Raises:
        ValueError: no hypothesis, no reference, or `max_order` below 2.
    """
    _require_texts("BLEU", "hypothesis", hypotheses)
    _require_texts("BLEU", "reference", references)
    _require_order("max_order", max_order, MIN_ORDER)
    largest = _largest_counts(references, max_order).largest
    lengths = {len(reference) for reference in references}
    return _mean_by_order(
        [_sentence_bleu(text, largest, lengths, max_order) for text in hypotheses]
    )


def self_bleu(
    texts: Sequence[Text],
    max_order: int = 5,
    num_hypotheses: int | None = None,
    rng: np.random.Generator | None = None,
) -> dict[int, float]:
    """Mean BLEU of each text against all *other* texts (Zhu et al., 2018), for orders from 2.

    High where texts repeat each other. A duplicate elsewhere in `texts` is another text, and
    counts as a reference.

    Args:
        num_hypotheses: average over this many distinct texts, drawn with `rng`; None averages
            over all. The references are all other texts either way.
        rng: needed with `num_hypotheses`, unused without.

    Raises:
        ValueError: fewer than 2 texts, `max_order` below 2, `num_hypotheses` outside
            1..len(texts), or `num_hypotheses` without `rng`.
    """
    if len(texts) < 2:
        raise ValueError(f"Self-BLEU needs at least 2 texts, got {len(texts)}")
    _require_order("max_order", max_order, MIN_ORDER)
    counts = _largest_counts(texts, max_order)
    num_of_length = Counter(len(text) for text in texts)
    scores = []
    for index in _chosen(len(texts), num_hypotheses, rng):
        text = texts[index]
        lengths = (num_of_length - Counter([len(text)])).keys()
        limits = counts.without(index, text, max_order)
        scores.append(_sentence_bleu(text, limits, lengths, max_order))
    return _mean_by_order(scores)


def distinct(texts: Sequence[Text], order: int) -> float:
    """Unique n-grams over all n-grams (Li et al., 2016); 0 where every text is shorter than n.

    Falls with the number and the length of the texts: compare equal sample sizes only.

    Raises:
        ValueError: no text, or `order` below 1.
    """
    _require_texts("distinct-n", "text", texts)
    _require_order("order", order, 1)
    counts: Counter[NGram] = Counter()
    for text in texts:
        counts.update(count_ngrams(text, order))
    return len(counts) / max(counts.total(), 1)


def duplicate_rate(texts: Sequence[Text]) -> float:
    """Share of texts that repeat an earlier one: 1 - unique / all. Raises ValueError for none."""
    _require_texts("the duplicate rate", "text", texts)
    return 1 - len({tuple(text) for text in texts}) / len(texts)


def copied_rate(texts: Sequence[Text], train_texts: Sequence[Text]) -> float:
    """Share of texts that occur verbatim in the training set, repeated ones each time.

    Raises:
        ValueError: no text or no training text.
    """
    _require_texts("the copied rate", "text", texts)
    _require_texts("the copied rate", "training text", train_texts)
    train = {tuple(text) for text in train_texts}
    return sum(tuple(text) in train for text in texts) / len(texts)


@dataclass(frozen=True)
class _LargestCounts:
    """For every n-gram of a set of texts, its two largest counts within a single text.

    Leaving one text out then needs no second pass: the largest count among the others is
    `largest`, or `second` where the left-out text is the one that has the largest.
    """

    largest: Mapping[NGram, int]
    owner: Mapping[NGram, int]  # index of the first text that has the largest count
    second: Mapping[NGram, int]  # equal to `largest` on a tie; missing if one text has the n-gram

    def without(self, index: int, text: Text, max_order: int) -> dict[NGram, int]:
        """Largest count of each n-gram of `text`, which is text `index`, in all other texts."""
        return {
            gram: self.second.get(gram, 0) if self.owner[gram] == index else self.largest[gram]
            for order in range(1, max_order + 1)
            for gram in count_ngrams(text, order)
        }


def _largest_counts(texts: Sequence[Text], max_order: int) -> _LargestCounts:
    largest: dict[NGram, int] = {}
    owner: dict[NGram, int] = {}
    second: dict[NGram, int] = {}
    for index, text in enumerate(texts):
        for order in range(1, max_order + 1):
            for gram, count in count_ngrams(text, order).items():
                previous = largest.get(gram, 0)
                if count > previous:
                    if previous:
                        second[gram] = previous
                    largest[gram], owner[gram] = count, index
                elif count > second.get(gram, 0):
                    second[gram] = count
    return _LargestCounts(largest, owner, second)


def _sentence_bleu(
    text: Text, limits: Mapping[NGram, int], reference_lengths: Iterable[int], max_order: int
) -> list[float]:
    """BLEU-2, BLEU-3, ... of one text.

    Args:
        limits: the largest count of each n-gram in a single reference; missing means 0.
        reference_lengths: every length that a reference has, in any order.
    """
    log_precisions = []
    for order in range(1, max_order + 1):
        counts = count_ngrams(text, order)
        matches = sum(min(count, limits.get(gram, 0)) for gram, count in counts.items())
        if order == 1 and matches == 0:
            return [0.0] * (max_order - MIN_ORDER + 1)
        log_precisions.append(math.log((matches or EPSILON) / max(counts.total(), 1)))
    closest = min(reference_lengths, key=lambda length: (abs(length - len(text)), length))
    log_penalty = min(0.0, 1 - closest / len(text))
    return [
        math.exp(log_penalty + math.fsum(log_precisions[:order]) / order)
        for order in range(MIN_ORDER, max_order + 1)
    ]


def _mean_by_order(scores: Sequence[Sequence[float]]) -> dict[int, float]:
    means = np.mean(scores, axis=0).tolist()
    return dict(enumerate(means, start=MIN_ORDER))


def _chosen(
    num_texts: int, num_hypotheses: int | None, rng: np.random.Generator | None
) -> Sequence[int]:
    if num_hypotheses is None:
        return range(num_texts)
    if rng is None:
        raise ValueError("rng is needed to draw num_hypotheses texts, got None")
    if not 1 <= num_hypotheses <= num_texts:
        raise ValueError(f"num_hypotheses is 1 to {num_texts}, got {num_hypotheses}")
    return rng.choice(num_texts, size=num_hypotheses, replace=False).tolist()


def _require_texts(metric: str, kind: str, texts: Sequence[Text]) -> None:
    if len(texts) == 0:
        raise ValueError(f"{metric} needs at least one {kind}, got none")


def _require_order(name: str, order: int, minimum: int) -> None:
    if order < minimum:
        raise ValueError(f"{name} is at least {minimum}, got {order}")
