"""How well a mean over texts is known: percentile bootstrap intervals (Efron, 1979).

Texts are drawn again, with replacement, as often as there are; the middle 95% of the means that
come out are the interval. It says how far other samples of the same generator would be, with the
references as they are. What is not a mean over texts gets none: a text that is drawn twice is a
duplicate, so distinct-n, duplicate rates and divergences would come out too low or too high.
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
    """A metric that is a sum over texts divided by another one: a mean where all weigh 1.

    Args:
        values: each text's part of the numerator, say its nats.
        weights: each text's part of the denominator, say its tokens.
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
        """The metric; 0 where nothing has weight, as in texts without words."""
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
    """The lower and upper end of each metric's interval; none where there is one text only.

    Metrics over equally many texts are resampled together. The random numbers of a metric depend
    on the seed and on its number of texts alone.
    """
    found: dict[str, tuple[float, float]] = {}
    for size in {len(metric.values) for metric in metrics.values()} - {0, 1}:
        group = {name: metric for name, metric in metrics.items() if len(metric.values) == size}
        values, weights = (
            np.stack([getattr(metric, part) for metric in group.values()], axis=1)
            for part in ("values", "weights")
        )
        rng = np.random.default_rng(seed)
        drawn = np.empty((num_resamples, len(group)))
        for resample in drawn:
            counts = np.bincount(rng.integers(size, size=size), minlength=size)
            total = counts @ weights
            resample[:] = np.where(total > 0, counts @ values / np.where(total > 0, total, 1), 0)
        low, high = np.quantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0).tolist()
        found |= dict(zip(group, zip(low, high, strict=True), strict=True))
    return {name: found[name] for name in metrics if name in found}
