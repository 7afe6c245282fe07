"""Uncertainty of means over texts: percentile bootstrap intervals (Efron, 1979).

n of the n texts are drawn with replacement, many times over; the middle 95% of the resulting means
are the interval. The interval shows the spread of other samples from the same generator, against
the same references. Metrics that are no means over texts get no interval: drawing a text twice
makes a duplicate, which would bias distinct-n, duplicate rates and divergences.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

LEVEL = 0.95
NUM_RESAMPLES = 1000


@dataclass(frozen=True, eq=False)
class PerText:
    """A metric that is a ratio of two sums over texts; with equal weights it is a mean.

    Args:
        values: each text's term of the numerator, say its nats.
        weights: each text's term of the denominator, say its tokens.
    """

    values: Float[np.ndarray, " text"]
    weights: Float[np.ndarray, " text"]

    @classmethod
    def mean_of(cls, values: Float[np.ndarray, " text"]) -> "PerText":
        return cls(values, np.ones(len(values)))

    @classmethod
    def where_known(cls, values: Float[np.ndarray, " text"]) -> "PerText":
        """The mean over the texts whose value is not NaN."""
        known = ~np.isnan(values)
        return cls(np.where(known, values, 0.0), known.astype(float))

    @property
    def value(self) -> float:
        """The metric; 0 if the weights sum to 0, as in texts without words."""
        total = self.weights.sum()
        return float(self.values.sum() / total) if total > 0 else 0.0

    @property
    def error(self) -> float:
        """The standard error of the value, by the delta method; infinite for a single text."""
        size, total = int((self.weights > 0).sum()), self.weights.sum()
        if size < 2:
            return math.inf
        squares = float(((self.values - self.value * self.weights) ** 2).sum())
        return math.sqrt(squares * size / (size - 1)) / float(total)


def bootstrap_intervals(
    metrics: Mapping[str, PerText], seed: int = 0, num_resamples: int = NUM_RESAMPLES
) -> dict[str, tuple[float, float]]:
    """Returns the lower and upper end of each metric's interval; none for a single text.

    Metrics over equally many texts are resampled together. A metric's random numbers depend only on
    the seed and on its number of texts.
    """
    intervals: dict[str, tuple[float, float]] = {}
    for size in {len(metric.values) for metric in metrics.values()} - {0, 1}:
        group = {name: metric for name, metric in metrics.items() if len(metric.values) == size}
        values, weights = (
            np.stack([getattr(metric, part) for metric in group.values()], axis=1)
            for part in ("values", "weights")
        )
        rng = np.random.default_rng(seed)
        means = np.empty((num_resamples, len(group)))
        for row in means:
            counts = np.bincount(rng.integers(size, size=size), minlength=size)
            total = counts @ weights
            row[:] = np.where(total > 0, counts @ values / np.where(total > 0, total, 1), 0)
        low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0).tolist()
        intervals |= dict(zip(group, zip(low, high, strict=True), strict=True))
    return {name: intervals[name] for name in metrics if name in intervals}
