"""Curves of quality against diversity, and whether one lies above another: NumPy only.

A curve is what one generator reaches over temperatures, joined by straight lines. Both coordinates
are turned so that more is better ("goodness"). At a quality q it attains the best diversity of any
of its points of at least that quality: whoever asks for q takes more of it for nothing. So where a
curve bends back, its dominated end counts for nothing, and two curves of any shape can be compared
at equal quality (Caccia et al., 2020, compare them by eye).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

Place = Literal["above", "on", "under"]

NUM_QUALITIES = 101  # at which two curves are compared
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Line:
    """Points in order of temperature, in goodness; with leading axes, as many curves at once."""

    quality: Float[np.ndarray, "*draws point"]
    diversity: Float[np.ndarray, "*draws point"]


@dataclass(frozen=True)
class Gap:
    """How much more diversity one curve has than another, at the qualities that both reach.

    All in goodness: above 0, the first curve is the better one.
    """

    qualities: Float[np.ndarray, " quality"]
    values: Float[np.ndarray, "*draws quality"]

    @property
    def mean(self) -> Float[np.ndarray, "*draws"] | float:
        """The signed area between the curves over the width of the range; at one point, the gap."""
        return (self.values[..., 1:] + self.values[..., :-1]).mean(axis=-1) / 2


@dataclass(frozen=True)
class Standing:
    """Where a curve stands beside its control, in goodness: above 0 is better."""

    place: Place
    difference: float  # of diversity at equal quality, mean over the common range
    interval: tuple[float, float]  # of the difference, 95%
    common: tuple[float, float]  # the qualities that both curves reach
    reaches: tuple[float, float]  # the best qualities, the curve's and the control's
    further: Place  # whether the first of them is the better one, beyond noise
    better: tuple[tuple[float, float], ...] = ()  # stretches of it that lie above, all at once
    worse: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class MeanStanding:
    """Where the curves of several runs stand in the mean, each beside its own control."""

    place: Place
    difference: float  # goodness; above 0 is better
    interval: tuple[float, float]  # of the mean, over runs, 95%
    num_runs: int


def attained(
    line: Line, qualities: Float[np.ndarray, " quality"]
) -> Float[np.ndarray, "*draws quality"]:
    """The best diversity on the curve at each quality or more, in goodness.

    Beyond the curve's best quality, what it has there. The best over a part of a straight line is
    at one of the part's ends: a point of the curve, or the place where it crosses the quality.
    """
    x, y = line.quality[..., :, None], line.diversity[..., :, None]
    asked = np.minimum(qualities, x.max(axis=-2))[..., None, :]
    best = np.where(x >= asked, y, -np.inf).max(axis=-2)
    x0, x1, y0, y1 = x[..., :-1, :], x[..., 1:, :], y[..., :-1, :], y[..., 1:, :]
    crossed = (np.minimum(x0, x1) < asked) & (asked < np.maximum(x0, x1))
    width = np.where(crossed, x1 - x0, 1.0)
    there = np.where(crossed, y0 + (y1 - y0) * (asked - x0) / width, -np.inf)
    return np.maximum(best, there.max(axis=-2, initial=-np.inf))


def envelope(
    lines: list[Line], qualities: Float[np.ndarray, " quality"]
) -> Float[np.ndarray, "*draws quality"]:
    """The best of several curves of one generator; a curve counts up to its own best quality."""
    asked = np.minimum(qualities, np.asarray(reach(lines))[..., None])
    parts = [
        np.where(asked <= line.quality.max(axis=-1)[..., None], attained(line, qualities), -np.inf)
        for line in lines
    ]
    return np.max(parts, axis=0)


def common_range(first: list[Line], second: list[Line]) -> tuple[float, float] | None:
    """The qualities between the worst and the best point of both, or None where there are none."""
    least = [min(float(line.quality.min()) for line in lines) for lines in (first, second)]
    most = [max(float(line.quality.max()) for line in lines) for lines in (first, second)]
    return (max(least), min(most)) if max(least) <= min(most) else None


def gap(first: list[Line], second: list[Line], common: tuple[float, float]) -> Gap:
    """Diversity of the first minus that of the second, over a range of quality."""
    qualities = np.linspace(*common, NUM_QUALITIES)
    return Gap(qualities, envelope(first, qualities) - envelope(second, qualities))


def reach(lines: list[Line]) -> Float[np.ndarray, "*draws"] | float:
    """The best quality of any point."""
    return np.max([line.quality.max(axis=-1) for line in lines], axis=0)


def compare_curves(
    first: list[Line], second: list[Line], redrawn: tuple[list[Line], list[Line]]
) -> Standing | None:
    """Whether the first generator's curves lie above the second's by more than noise.

    The interval of the mean difference is the bootstrap's (percentiles). The stretches that are
    better or worse come from a band that holds for all qualities at once: as many bootstrap errors
    wide as the largest deviation anywhere in 95% of the draws.

    Args:
        redrawn: both from texts drawn anew, with one leading axis of draws.

    Returns:
        None where no quality is reached by both: nothing is extrapolated.
    """
    if (common := common_range(first, second)) is None:
        return None
    measured, drawn = gap(first, second, common), gap(*redrawn, common)
    deviations = np.abs(drawn.values - measured.values)
    errors = np.maximum(drawn.values.std(axis=0), 1e-12)
    width = errors * np.quantile((deviations / errors).max(axis=1), CONFIDENCE)
    interval = _interval(np.asarray(drawn.mean))
    reaches = float(reach(first)), float(reach(second))
    return Standing(
        place_of(*interval),
        float(measured.mean),
        interval,
        common,
        reaches,
        place_of(*_interval(np.asarray(reach(redrawn[0]) - reach(redrawn[1])))),
        _stretches(measured.qualities, measured.values > width),
        _stretches(measured.qualities, measured.values < -width),
    )


def place_of(low: float, high: float) -> Place:
    """What an interval of the difference says."""
    if low > 0:
        return "above"
    return "under" if high < 0 else "on"


def mean_over_runs(differences: Float[np.ndarray, " run"]) -> MeanStanding:
    """The mean over independent runs, at least two of them, with Student's interval."""
    mean = float(differences.mean())
    error = float(differences.std(ddof=1)) / len(differences) ** 0.5
    half = student_quantile(len(differences) - 1) * error
    interval = (mean - half, mean + half)
    return MeanStanding(place_of(*interval), mean, interval, len(differences))


def student_quantile(degrees: int) -> float:
    """The t that |T| stays below with 95% probability, for T of Student's distribution.

    With T = sqrt(degrees) tan(angle) the density of the angle is proportional to
    cos(angle) ** (degrees - 1), which is summed up.
    """
    angles = np.linspace(0, np.pi / 2, 100_001)
    density = np.cos(angles) ** (degrees - 1)
    probability = np.concatenate([[0.0], np.cumsum(density[1:] + density[:-1])])
    angle = np.interp(CONFIDENCE, probability / probability[-1], angles)
    return float(np.sqrt(degrees) * np.tan(angle))


def _interval(values: Float[np.ndarray, " draw"]) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _stretches(
    qualities: Float[np.ndarray, " quality"], chosen: np.ndarray
) -> tuple[tuple[float, float], ...]:
    """The ends of each run of neighbouring qualities that are chosen."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], chosen, [False]]).astype(int)))
    return tuple(
        (float(qualities[start]), float(qualities[stop - 1]))
        for start, stop in zip(edges[::2], edges[1::2], strict=True)
    )
