"""A number before training and after it, with an interval for the difference."""

from dataclasses import dataclass

import numpy as np

from seqgan.evaluation.metrics.intervals import LEVEL, NUM_RESAMPLES, PerText
from seqgan.evaluation.planes.curves import widening


@dataclass(frozen=True)
class Change:
    """A metric of two sets of texts.

    Args:
        interval: of the difference, 95%; infinite where a single text says nothing of noise.
    """

    before: float
    after: float
    interval: tuple[float, float]

    @property
    def difference(self) -> float:
        return self.after - self.before


def change(before: PerText, after: PerText, paired: bool = False, seed: int = 0) -> Change:
    """The change of a mean over texts, with a bootstrap interval (percentiles).

    Args:
        paired: the texts, or what they continue, are the same ones on both sides, in one order, and
            are drawn together.
        seed: of the bootstrap.
    """
    rng = np.random.default_rng(seed)
    sides = before, after
    draws = np.empty((NUM_RESAMPLES, 2))
    for draw in draws:
        counts = [_counts(rng, len(side.values)) for side in (sides[:1] if paired else sides)]
        for place, side in enumerate(sides):
            drawn = counts[0 if paired else place]
            weight = drawn @ side.weights
            draw[place] = drawn @ side.values / weight if weight > 0 else side.value
    difference = after.value - before.value
    wider = widening(min(int((side.weights > 0).sum()) for side in sides))
    if not np.isfinite(wider):
        return Change(before.value, after.value, (-np.inf, np.inf))
    ends = np.quantile(draws[:, 1] - draws[:, 0], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    low, high = (difference + wider * (float(end) - difference) for end in ends)
    return Change(before.value, after.value, (low, high))


def _counts(rng: np.random.Generator, size: int) -> np.ndarray:
    """The number of times that each text occurs in as many draws with replacement."""
    return np.bincount(rng.integers(size, size=size), minlength=size)
