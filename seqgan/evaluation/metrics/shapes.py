"""Compares two shapes of generated and real text: the distribution of lengths, and Zipf's curve.

Meister and Cotterell (2021) judge language models by how well they keep these tendencies of real
text. They test with other distances; here both are Jensen-Shannon divergences (Lin, 1991),

    JS(p, q) = H((p + q) / 2) - (H(p) + H(q)) / 2,  in nats,

from 0 for the same shape to log 2 = 0.693 for shapes that have nothing in common. Finite samples
of one distribution are not quite at 0: about (number of bins) / (8 texts or words), if all bins
are well filled.
"""

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import chain

import numpy as np
from jaxtyping import Float, Int

from seqgan.system.errors import DataError

Text = Sequence[Hashable]


def length_divergence(samples: Sequence[Text], real: Sequence[Text]) -> float:
    """JS between the distributions of the number of words per text.

    Raises:
        DataError: one side has no text.
    """
    _require_texts(samples, real)
    lengths = [np.array([len(text) for text in texts]) for texts in (samples, real)]
    bins = max(int(side.max()) for side in lengths) + 1
    return jensen_shannon(*(np.bincount(side, minlength=bins) for side in lengths))


def zipf_divergence(samples: Sequence[Text], real: Sequence[Text]) -> float:
    """JS between the rank-frequency curves: the share of the r-th commonest word among all words.

    The curve ignores the words themselves and shows only the unevenness of their use. Its tail
    grows with the number of words, so compare equally many texts. A side without words has the
    largest distance, log 2, to a side with words.

    Raises:
        DataError: one side has no text.
    """
    _require_texts(samples, real)
    curves = [
        np.sort(np.fromiter(Counter(chain.from_iterable(texts)).values(), np.int64))[::-1]
        for texts in (samples, real)
    ]
    ranks = max(map(len, curves))
    if not min(map(len, curves)):
        return math.log(2) if ranks else 0.0
    return jensen_shannon(*(np.pad(curve, (0, ranks - len(curve))) for curve in curves))


def jensen_shannon(some: Int[np.ndarray, " bin"], others: Int[np.ndarray, " bin"]) -> float:
    """JS of two histograms over the same bins, given as counts, in nats; neither may be empty."""
    p, q = some / some.sum(), others / others.sum()
    return max(_entropy((p + q) / 2) - (_entropy(p) + _entropy(q)) / 2, 0.0)


def _entropy(p: Float[np.ndarray, " bin"]) -> float:
    positive = p[p > 0]
    return float(-(positive * np.log(positive)).sum())


def _require_texts(samples: Sequence[Text], real: Sequence[Text]) -> None:
    if not len(samples) or not len(real):
        raise DataError(
            f"there are {len(samples)} samples and {len(real)} real texts, but the"
            " divergence needs texts on both sides"
        )
