"""ROUGE of texts that each have a reference of their own, such as continuations of prompts.

ROUGE-1 and ROUGE-2 count shared words and pairs of words, ROUGE-L the longest common subsequence
(Lin, 2004). All are F1. Texts without references of their own get no ROUGE: the score against the
most similar real text rises with the number of real texts, and praises texts that are all equal.
"""

from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Float

from seqgan.system.errors import DataError

Text = Sequence[Hashable]

METRICS = ("rouge_1", "rouge_2", "rouge_l")


def rouge_pairs(
    hypotheses: Sequence[Text], references: Sequence[Text]
) -> dict[str, Float[np.ndarray, " pair"]]:
    """ROUGE-1, 2 and L of each hypothesis against the reference at its own place.

    Raises:
        DataError: the numbers of hypotheses and references differ, or there are none.
    """
    if len(hypotheses) != len(references) or not len(hypotheses):
        raise DataError(
            f"there are {len(references)} references for {len(hypotheses)} hypotheses, but"
            " paired ROUGE needs one for each, and at least one"
        )
    scores = [_rouge(*pair) for pair in zip(hypotheses, references, strict=True)]
    return dict(zip(METRICS, np.array(scores).T, strict=True))


def _rouge(text: Text, reference: Text) -> tuple[float, float, float]:
    by_order = [_ngram_f1(text, reference, order) for order in (1, 2)]
    common = longest_common_subsequence(text, reference)
    return by_order[0], by_order[1], _f1(common, len(text), len(reference))


def _ngram_f1(text: Text, reference: Text, order: int) -> float:
    """F1 of shared n-grams. A shared n-gram counts as often as in the text with fewer of it."""
    counts, real = (
        Counter(zip(*(words[start:] for start in range(order)), strict=False))
        for words in (text, reference)
    )
    return _f1((counts & real).total(), counts.total(), real.total())


def _f1(shared: int, size: int, reference_size: int) -> float:
    """The harmonic mean of shared / size and shared / reference_size; 0 without either."""
    return 2 * shared / max(size + reference_size, 1)


def longest_common_subsequence(text: Text, reference: Text) -> int:
    """Number of words in the longest subsequence that two texts have in common.

    The usual recursion over both lengths, L[i, j] = L[i-1, j-1] + 1 where the words are equal and
    max(L[i-1, j], L[i, j-1]) elsewhere. Along j it is a running maximum.
    """
    numbers = {word: number for number, word in enumerate(dict.fromkeys(reference))}
    row = np.array([numbers[word] for word in reference], np.int64)
    lengths = np.zeros(len(row) + 1, np.int64)
    for word in text:
        longer = np.where(row == numbers.get(word, -1), lengths[:-1] + 1, lengths[1:])
        np.maximum.accumulate(longer, out=lengths[1:])
    return int(lengths[-1])
