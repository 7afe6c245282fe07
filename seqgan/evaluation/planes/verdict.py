"""The verdict on a generator: its whole curve over temperatures, compared with its MLE control's.

A lower temperature buys quality with diversity for free. So a generator counts as better only
where it has more diversity at equal quality (Caccia et al., 2020). The table at the end of a run,
its report, its model card and `seqgan frontier` all call `compare`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from seqgan.evaluation.axes import Axis
from seqgan.evaluation.planes.curves import (
    NORMAL_QUANTILE,
    MeanStanding,
    Standing,
    Verdict,
    attained,
    compare_curves,
    reach,
)
from seqgan.evaluation.planes.points import Panel, Point, Rate, lines, redrawn_lines

NUM_DRAWS = 1000  # draws of the bootstrap

PLACES = {
    "above": "above the MLE curve (better)",
    "on": "on the MLE curve (no difference beyond noise)",
    "under": "under the MLE curve (worse)",
}
OPENINGS: dict[Verdict, str] = {
    "better": PLACES["above"],
    "level": PLACES["on"],
    "worse": PLACES["under"],
    "mixed": "above the MLE curve at some qualities and under it at others (mixed)",
}


@dataclass(frozen=True)
class Comparison:
    """The comparison of a generator's curve with its control's.

    Args:
        standing: in goodness; None if one of the two has no point in the plane, or all points have
            one quality.
        verdict: in one word; `unknown` without a standing, or where a single text says nothing of
            noise.
    """

    panel: Panel
    standing: Standing | None
    verdict: Verdict | Literal["unknown"]
    sentence: str

    @property
    def difference(self) -> float | None:
        """The difference of diversity at equal quality, in its unit.

        The sign is the axis' own: below 0 is better for held-out NLL.
        """
        if self.standing is None:
            return None
        return self.panel.diversity.sign * self.standing.difference

    @property
    def interval(self) -> tuple[float, float]:
        """The 95% interval of the difference, in its unit."""
        ends = (-math.inf, math.inf) if self.standing is None else self.standing.interval
        return _native(self.panel.diversity, ends)

    @property
    def error(self) -> float | None:
        """The standard error, as if the interval were a normal distribution's."""
        low, high = self.interval
        return (high - low) / (2 * NORMAL_QUANTILE) if math.isfinite(high - low) else None

    def plain(self) -> dict[str, Any]:
        """The comparison as JSON-able values in the axes' own units; None for infinite ones."""
        quality, standing = self.panel.quality, self.standing
        plain = {
            "verdict": self.verdict,
            "place": None,
            "difference": self.difference,
            "interval": _finite(self.interval),
        }
        if standing is None:
            return plain
        return {
            **plain,
            "place": standing.place,
            "common": _native(quality, standing.common),
            "reaches": [quality.sign * reached for reached in standing.reaches],
            "further": standing.further,
            "better": [_native(quality, ends) for ends in standing.better],
            "worse": [_native(quality, ends) for ends in standing.worse],
        }


def compare(
    run: Sequence[Point],
    control: Sequence[Point],
    panel: Panel,
    name: str = "the run",
    seed: int = 0,
) -> Comparison:
    """Compares a generator's points with those of its control, all temperatures together.

    Args:
        run, control: points that were measured on the same held-out sequences.
        name: the generator's, with which the sentence begins.
        seed: the bootstrap's.
    """
    first, second = lines(run, panel), lines(control, panel)
    if not first or not second:
        return Comparison(panel, None, "unknown", _unknown(name, run, panel))
    qualities = {
        _goodness(point, panel.quality) for point in [*_shown(run, panel), *_shown(control, panel)]
    }
    if len(qualities) == 1 and len(run) > 1:
        value = panel.quality.sign * qualities.pop()
        return Comparison(panel, None, "unknown", _the_same(name, value, panel))
    redrawn = [
        redrawn_lines(points, panel, NUM_DRAWS, seed=2 * seed + which, heldout_seed=seed)
        for which, points in enumerate((run, control))
    ]
    standing = compare_curves(
        first, second, (redrawn[0], redrawn[1]), _num_texts(run, control, panel)
    )
    sentence = _sentence(name, standing, run, control, panel)
    if math.isinf(standing.interval[1]):  # a single text says nothing of noise
        return Comparison(panel, standing, "unknown", sentence)
    return Comparison(panel, standing, standing.verdict, sentence)


def matched(point: Point, control: Sequence[Point], panel: Panel) -> Point:
    """The control's point with the best diversity, among those of the point's quality or better.

    If there is none, this is the control's point of the best quality.
    """
    shown = _shown(control, panel)
    least = _goodness(point, panel.quality)
    reached = [one for one in shown if _goodness(one, panel.quality) >= least]
    if not reached:
        return max(shown, key=lambda one: _goodness(one, panel.quality))
    return max(reached, key=lambda one: _goodness(one, panel.diversity))


def best_point(
    run: Sequence[Point], control: Sequence[Point], comparison: Comparison
) -> Point | None:
    """The point at which a generator is furthest ahead of its control; None without a standing.

    If its best quality is beyond the control's by more than noise, this is the point of the best
    quality. Otherwise it is the point with the largest gain in diversity at equal quality.
    """
    panel, standing = comparison.panel, comparison.standing
    if standing is None:
        return None
    shown = _shown(run, panel)
    if standing.further == "above":
        return max(shown, key=lambda one: _goodness(one, panel.quality))
    curves = lines(control, panel)

    def gain(point: Point) -> float:
        quality = np.array([_goodness(point, panel.quality)])
        control_has = max(float(attained(line, quality)[0]) for line in curves)
        return _goodness(point, panel.diversity) - control_has

    within = [one for one in shown if _goodness(one, panel.quality) <= reach(curves)]
    return max(within or shown, key=gain)


def mean_sentence(standing: MeanStanding, panel: Panel, subject: str = "the game") -> str:
    """A sentence about the mean over runs that differ in their seed alone, with its interval."""
    axis = panel.diversity
    return (
        f"Over {standing.num_runs} runs {subject} is {PLACES[standing.place]}: the mean difference"
        f" of {axis.title} is {_difference(axis, standing.difference)} ({axis.unit}; 95% interval"
        f" {_interval(axis, standing.interval)} by Student's t over runs; {_better(axis)})."
    )


def plain_mean(standing: MeanStanding, panel: Panel) -> dict[str, Any]:
    """The mean as JSON-able values in the axes' own units."""
    return {
        "place": standing.place,
        "difference": panel.diversity.sign * standing.difference,
        "interval": _native(panel.diversity, standing.interval),
        "num_runs": standing.num_runs,
    }


def _sentence(
    name: str, standing: Standing, run: Sequence[Point], control: Sequence[Point], panel: Panel
) -> str:
    """A sentence about the standing, in the axes' own units."""
    quality, diversity = panel.quality, panel.diversity
    low, high = _native(quality, standing.common)
    over = f"over {low:.4g} to {high:.4g}"
    if f"{low:.4g}" == f"{high:.4g}":
        over = f"at {low:.4g}"
        if len(run) > 1:  # else there is no other
            over += " alone, as no other is reached by both (sample further temperatures)"
    kinds = {rate.over for point in run for rate in _rates(point, panel)}
    texts = "samples and held-out texts" if "heldout" in kinds else "samples"
    noise = f"95% interval {_interval(diversity, standing.interval)} by bootstrap over {texts}"
    opening = f"is {OPENINGS[standing.verdict]}"
    if math.isinf(standing.interval[1]):
        noise = "a single text says nothing of noise"
        opening = "cannot be told from the MLE curve"
    sentence = (
        f"{name} {opening}: at equal {quality.title}, {over},"
        f" its {diversity.title} differs by {_difference(diversity, standing.difference)}"
        f" ({diversity.unit}; {noise}; {_better(diversity)})."
    )
    whole = (standing.common,)
    for word, stretches in (("better", standing.better), ("worse", standing.worse)):
        if stretches and stretches != whole:
            where = " and ".join(
                "{:.4g} to {:.4g}".format(*_native(quality, ends)) for ends in stretches
            )
            sentence += f" It is {word} at {quality.title} {where}."
    own, controls = (f"{quality.sign * reached:.4g}" for reached in standing.reaches)
    if standing.further == "above":
        sentence += (
            f" It reaches {quality.title} {own}, which MLE does not at these temperatures (at best"
            f" {controls})."
        )
    elif standing.further == "under":
        sentence += f" It does not reach MLE's best {quality.title}, {controls} (at best {own})."
    return sentence + _plain_difference(run, control, panel.quality)


def _plain_difference(run: Sequence[Point], control: Sequence[Point], axis: Axis) -> str:
    """A sentence if the two qualities at temperature 1 are equal within noise, else nothing."""
    rates = [
        point.rates[axis.name]
        for points in (run, control)
        for point in points
        if point.knob.plain and axis.name in point.rates
    ]
    if len(rates) < 2:
        return ""
    own, controls = rates
    if abs(own.value - controls.value) > 2 * math.hypot(own.error, controls.error):
        return ""
    return (
        f" At temperature 1 the two are level within noise in {axis.title} ({own.value:.4g} and"
        f" MLE's {controls.value:.4g})."
    )


def _unknown(name: str, run: Sequence[Point], panel: Panel) -> str:
    who = name if not lines(run, panel) else "MLE"
    return (
        f"{name} cannot be compared with the MLE curve: at no temperature does {who} have both a"
        f" finite {panel.diversity.title} and a {panel.quality.title}."
    )


def _the_same(name: str, value: float, panel: Panel) -> str:
    return (
        f"{name} cannot be compared with the MLE curve: the {panel.quality.title} is {value:.4g} at"
        " every temperature of both, and tells no two of them apart."
    )


def _num_texts(run: Sequence[Point], control: Sequence[Point], panel: Panel) -> tuple[int, int]:
    """The fewest texts behind any quality, and behind any diversity."""
    shown = [*_shown(run, panel), *_shown(control, panel)]
    quality, diversity = (
        min(int((point.rates[axis.name].weights > 0).sum()) for point in shown)
        for axis in (panel.quality, panel.diversity)
    )
    return quality, diversity


def _shown(points: Sequence[Point], panel: Panel) -> list[Point]:
    """The points that have both coordinates."""
    return [point for point in points if len(_rates(point, panel)) == 2]


def _rates(point: Point, panel: Panel) -> list[Rate]:
    names = panel.quality.name, panel.diversity.name
    return [point.rates[name] for name in names if name in point.rates]


def _goodness(point: Point, axis: Axis) -> float:
    return axis.sign * point.rates[axis.name].value


def _native(axis: Axis, ends: tuple[float, float]) -> tuple[float, float]:
    low, high = sorted(axis.sign * end for end in ends)
    return low, high


def _finite(ends: tuple[float, float]) -> tuple[float, float] | None:
    return ends if all(map(math.isfinite, ends)) else None


def _difference(axis: Axis, goodness: float) -> str:
    return _signed(axis.sign * goodness)


def _interval(axis: Axis, ends: tuple[float, float]) -> str:
    low, high = _native(axis, ends)
    return f"{_signed(low)} to {_signed(high)}"


def _signed(value: float) -> str:
    return f"{round(value, 4) + 0.0:+.4f}"  # no -0.0000


def _better(axis: Axis) -> str:
    return f"{'above' if axis.higher_is_better else 'below'} 0 is better"
