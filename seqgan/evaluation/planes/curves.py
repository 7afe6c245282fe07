"""Curves of quality against diversity, and a comparison of two of them. NumPy only.

A curve joins the points of one generator over temperatures by straight lines. Both coordinates are
turned so that more is better ("goodness"). At a quality q a curve attains the best diversity of
its points of quality q or better, because better quality at the same diversity costs nothing. So
a dominated part of a curve that bends back does not count, and two curves of any shape can be
compared at equal quality (Caccia et al., 2020, compare them by eye).
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

Place = Literal["above", "on", "under"]
Verdict = Literal["better", "level", "worse", "mixed"]

NUM_QUALITIES = 101  # qualities at which two curves are compared
CONFIDENCE = 0.95
MANY_TEXTS = 10_000  # from this many texts on, more of them do not change an interval's widening
NORMAL_QUANTILE = 1.959964  # the normal distribution's quantile for CONFIDENCE, both sides


@dataclass(frozen=True)
class Line:
    """Points in order of temperature, in goodness. Leading axes stand for several curves."""

    quality: Float[np.ndarray, "*draws point"]
    diversity: Float[np.ndarray, "*draws point"]


@dataclass(frozen=True)
class Gap:
    """The diversity of one curve minus another's, at the qualities that both reach.

    All values are goodness: above 0, the first curve is better.
    """

    qualities: Float[np.ndarray, " quality"]
    values: Float[np.ndarray, "*draws quality"]

    @property
    def mean(self) -> Float[np.ndarray, "*draws"] | float:
        """The signed area between the curves over the width of the range; at one point, the gap."""
        return (self.values[..., 1:] + self.values[..., :-1]).mean(axis=-1) / 2


@dataclass(frozen=True)
class Standing:
    """The comparison of a curve with its control, in goodness: above 0 is better."""

    place: Place
    difference: float  # diversity at equal quality, the mean over the common range
    interval: tuple[float, float]  # the difference's, 95%
    common: tuple[float, float]  # the qualities that both curves reach
    reaches: tuple[float, float]  # the best qualities, the curve's and the control's
    further: Place  # above if the curve's best quality is the better one, beyond noise
    better: tuple[tuple[float, float], ...] = ()  # ranges of quality where the curve lies above
    worse: tuple[tuple[float, float], ...] = ()

    @property
    def verdict(self) -> Verdict:
        """One word for the whole common range; mixed where each curve is ahead in a part of it.

        A better best quality does not count: the control might reach it at a lower temperature.
        """
        ahead = self.place == "above" or bool(self.better)
        behind = self.place == "under" or bool(self.worse)
        if ahead and behind:
            return "mixed"
        return "better" if ahead else "worse" if behind else "level"


@dataclass(frozen=True)
class MeanStanding:
    """The mean over several runs of the difference between a curve and its control."""

    place: Place
    difference: float  # goodness; above 0 is better
    interval: tuple[float, float]  # the mean's over runs, 95%
    num_runs: int


def attained(
    line: Line, qualities: Float[np.ndarray, " quality"]
) -> Float[np.ndarray, "*draws quality"]:
    """The best diversity on the curve at each quality or more, in goodness.

    Beyond its best quality, a curve keeps the diversity that it has there. The best over a part of
    a straight line is at one of the part's ends: a point of the curve, or the place where the line
    crosses the quality.
    """
    x, y = line.quality[..., :, None], line.diversity[..., :, None]
    least = np.minimum(qualities, x.max(axis=-2))[..., None, :]
    best = np.where(x >= least, y, -np.inf).max(axis=-2)
    x0, x1, y0, y1 = x[..., :-1, :], x[..., 1:, :], y[..., :-1, :], y[..., 1:, :]
    crossed = (np.minimum(x0, x1) < least) & (least < np.maximum(x0, x1))
    width = np.where(crossed, x1 - x0, 1.0)
    there = np.where(crossed, y0 + (y1 - y0) * (least - x0) / width, -np.inf)
    return np.maximum(best, there.max(axis=-2, initial=-np.inf))


def envelope(
    lines: list[Line], qualities: Float[np.ndarray, " quality"]
) -> Float[np.ndarray, "*draws quality"]:
    """The best of several curves of one generator; a curve counts up to its own best quality."""
    least = np.minimum(qualities, np.asarray(reach(lines))[..., None])
    parts = [
        np.where(least <= line.quality.max(axis=-1)[..., None], attained(line, qualities), -np.inf)
        for line in lines
    ]
    return np.max(parts, axis=0)


def common_range(first: list[Line], second: list[Line]) -> tuple[float, float]:
    """The qualities between the worst and the best point of both.

    If one curve lies at better qualities throughout, these are the other curve's qualities. The
    better curve attains each of them, with the best diversity of any of its points.
    """
    least = [min(float(line.quality.min()) for line in lines) for lines in (first, second)]
    most = [max(float(line.quality.max()) for line in lines) for lines in (first, second)]
    overlap = max(least) <= min(most)
    return (max(least) if overlap else min(least)), min(most)


def gap(first: list[Line], second: list[Line], common: tuple[float, float]) -> Gap:
    """Diversity of the first minus that of the second, over a range of quality."""
    qualities = np.linspace(*common, NUM_QUALITIES)
    return Gap(qualities, envelope(first, qualities) - envelope(second, qualities))


def reach(lines: list[Line]) -> Float[np.ndarray, "*draws"] | float:
    """The best quality of any point."""
    return np.max([line.quality.max(axis=-1) for line in lines], axis=0)


def compare_curves(
    first: list[Line],
    second: list[Line],
    redrawn: tuple[list[Line], list[Line]],
    num_texts: tuple[int, int] = (MANY_TEXTS, MANY_TEXTS),
) -> Standing:
    """Compares the first generator's curves with the second's, and both with noise.

    The interval of the mean difference is the bootstrap's (percentiles). The stretches that are
    better or worse come from a band that holds for all qualities at once, see `joint_band`.

    Args:
        redrawn: the curves of both from texts drawn anew, with one leading axis of draws.
        num_texts: the fewest texts behind any quality, and behind any diversity. A bootstrap of
            few texts is too narrow, see `widening`.
    """
    common = common_range(first, second)
    measured, drawn = gap(first, second, common), gap(*redrawn, common)
    wider = widening(min(num_texts))
    low, high = joint_band(measured.values, drawn.values, wider)
    interval = _interval(float(measured.mean), np.asarray(drawn.mean), wider)
    reaches = float(reach(first)), float(reach(second))
    return Standing(
        place_of(*interval),
        float(measured.mean),
        interval,
        common,
        reaches,
        place_of(
            *_interval(
                reaches[0] - reaches[1],
                np.asarray(reach(redrawn[0]) - reach(redrawn[1])),
                widening(num_texts[0]),
            )
        ),
        _stretches(measured.qualities, low > 0),
        _stretches(measured.qualities, high < 0),
    )


def place_of(low: float, high: float) -> Place:
    """The place of a curve, from an interval of its difference: above, below or within noise."""
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


def joint_band(
    measured: Float[np.ndarray, " quality"], drawn: Float[np.ndarray, "draw quality"], wider: float
) -> tuple[Float[np.ndarray, " quality"], Float[np.ndarray, " quality"]]:
    """A lower and an upper end at each quality that hold for all qualities at once, 95%.

    The ends are percentiles of the draws (Mandel and Betensky, 2008), the same ones at all
    qualities. 95% of the drawn curves lie between them from end to end. So the band may be
    lopsided, like the noise of a steep curve.
    """
    if math.isinf(wider):
        return np.full_like(measured, -np.inf), np.full_like(measured, np.inf)
    ordered, count = np.sort(drawn, axis=0), len(drawn)
    beyond = [  # for each draw and quality: the draws that lie further out, on the nearer side
        np.minimum(
            np.searchsorted(column, values, side="left"),
            count - np.searchsorted(column, values, side="right"),
        )
        for column, values in zip(ordered.T, drawn.T, strict=True)
    ]
    left_out = int(np.quantile(np.min(beyond, axis=0), 1 - CONFIDENCE, method="lower"))
    low, high = ordered[left_out], ordered[-1 - left_out]
    return measured + wider * (low - measured), measured + wider * (high - measured)


def widening(num_texts: int) -> float:
    """The factor that makes a bootstrap interval over n texts as wide as Student's.

    The bootstrap's spread lacks a factor of sqrt(n / (n - 1)), and its percentiles take the spread
    for known. A single text has no spread, and its factor is infinite.
    """
    if num_texts < 2:
        return math.inf
    if num_texts >= MANY_TEXTS:
        return 1.0
    spread = math.sqrt(num_texts / (num_texts - 1))
    return max(1.0, spread * student_quantile(num_texts - 1) / NORMAL_QUANTILE)


def _interval(
    measured: float, drawn: Float[np.ndarray, " draw"], wider: float
) -> tuple[float, float]:
    """The bootstrap's percentiles, moved away from the measured value by a factor."""
    if math.isinf(wider):
        return -math.inf, math.inf
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return measured + wider * (float(low) - measured), measured + wider * (float(high) - measured)


def _stretches(
    qualities: Float[np.ndarray, " quality"], chosen: np.ndarray
) -> tuple[tuple[float, float], ...]:
    """The ends of each run of neighbouring qualities that are chosen."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], chosen, [False]]).astype(int)))
    return tuple(
        (float(qualities[start]), float(qualities[stop - 1]))
        for start, stop in zip(edges[::2], edges[1::2], strict=True)
    )
