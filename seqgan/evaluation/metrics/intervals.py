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
from jaxtyping import Float, Real

LEVEL = 0.95
NUM_RESAMPLES = 1000
DRAWN_TOGETHER = 50  # draws whose counts are in memory together


@dataclass(frozen=True, eq=False)
class Normalizer:
    """log Z of a tilted model as a part of a metric: an estimate, with noise of its own.

    Args:
        weights: importance weight of each independent sample (or block of them) behind log Z, in
            any unit; log Z is the logarithm of their mean.
        multiples: how often log Z is in each text's value.
    """

    weights: Float[np.ndarray, " sample"]
    multiples: Float[np.ndarray, " text"]

    @property
    def error(self) -> float:
        """The standard error of log Z, by the delta method; infinite for a single sample."""
        size = len(self.weights)
        if size < 2:
            return math.inf
        return float(self.weights.std(ddof=1) / self.weights.mean()) / math.sqrt(size)

    def shifts(self, counts: Real[np.ndarray, "draw sample"]) -> Float[np.ndarray, " draw"]:
        """log Z of each draw of the samples, minus the estimate from all of them."""
        drawn = (counts @ self.weights) / counts.sum(axis=1)
        return np.log(np.maximum(drawn, 1e-300) / self.weights.mean())


@dataclass(frozen=True, eq=False)
class PerText:
    """A metric that is a ratio of two sums over texts; with equal weights it is a mean.

    Args:
        values: each text's term of the numerator, say its nats.
        weights: each text's term of the denominator, say its tokens.
        normalizer: log Z in the values, where they are a tilted model's probabilities.
    """

    values: Float[np.ndarray, " text"]
    weights: Float[np.ndarray, " text"]
    normalizer: Normalizer | None = None

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
        error = math.sqrt(squares * size / (size - 1)) / float(total)
        if self.normalizer is None:
            return error
        share = float(self.normalizer.multiples.sum() / total)
        return math.hypot(error, share * self.normalizer.error)

    def redrawn(
        self,
        counts: Real[np.ndarray, "draw text"],
        of_normalizer: Real[np.ndarray, "draw sample"] | None = None,
    ) -> Float[np.ndarray, " draw"]:
        """The value with each text as often as in a draw; NaN if no text of the draw has weight.

        Args:
            of_normalizer: draws of the samples behind log Z; without them it stays as it is.
        """
        sums, weights = counts @ self.values, counts @ self.weights
        if self.normalizer is not None and of_normalizer is not None:
            shifts = self.normalizer.shifts(of_normalizer)
            sums = sums + shifts * (counts @ self.normalizer.multiples)
        return np.divide(sums, weights, where=weights > 0, out=np.full(len(counts), np.nan))


def redraws(size: int, draws: int, rng: np.random.Generator) -> Float[np.ndarray, "draw text"]:
    """The number of times that each text occurs among as many, drawn with replacement."""
    counts = np.empty((draws, size))
    for row in counts:
        row[:] = np.bincount(rng.integers(size, size=size), minlength=size)
    return counts


def bootstrap_intervals(
    metrics: Mapping[str, PerText], seed: int = 0, num_resamples: int = NUM_RESAMPLES
) -> dict[str, tuple[float, float]]:
    """Returns the lower and upper end of each metric's interval; none for a single text.

    Metrics over equally many texts are resampled together. A metric's random numbers depend only on
    the seed and on its number of texts. log Z of a tilted model is estimated anew in each draw.
    """
    intervals: dict[str, tuple[float, float]] = {}
    for size in {len(metric.values) for metric in metrics.values()} - {0, 1}:
        group = {name: metric for name, metric in metrics.items() if len(metric.values) == size}
        rngs = {n: np.random.default_rng(seed) for n in {size, *map(_behind, group.values())}}
        drawn: dict[str, list[float]] = {name: [] for name in group}
        for first in range(0, num_resamples, DRAWN_TOGETHER):
            draws = min(DRAWN_TOGETHER, num_resamples - first)
            counts = {n: redraws(n, draws, rng) for n, rng in rngs.items()}
            for name, metric in group.items():
                draw = metric.redrawn(counts[size], counts[_behind(metric)])
                drawn[name] += np.nan_to_num(draw).tolist()
        for name, values in drawn.items():
            low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]).tolist()
            intervals[name] = (low, high)
    return {name: intervals[name] for name in metrics if name in intervals}


def _behind(metric: PerText) -> int:
    """The number of samples behind log Z; that of the texts in a metric without."""
    return len(metric.values if metric.normalizer is None else metric.normalizer.weights)
