"""Where a run stands beside its MLE control, over all temperatures, and the sentences that say so.

`frontier.py` compares at one temperature, at the end of a run; here whole curves are compared, as
Caccia et al. (2020) draw them, with an interval for the distance between them.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from seqgan.evaluation.planes.curves import MeanStanding, Standing, compare_curves
from seqgan.evaluation.planes.points import Axis, Panel, Point, Rate, lines, redrawn_lines

NUM_DRAWS = 1000  # of the bootstrap

PLACES = {
    "above": "above the MLE curve (better)",
    "on": "on the MLE curve (no difference beyond noise)",
    "under": "under the MLE curve (worse)",
}


def standing(
    run: Sequence[Point], control: Sequence[Point], panel: Panel, seed: int = 0
) -> Standing | None:
    """A run's points beside the control's, or None where no quality is reached by both.

    Args:
        run, control: measured on the same held-out sequences.
        seed: of the bootstrap.
    """
    first, second = lines(run, panel), lines(control, panel)
    if not first or not second:
        return None
    redrawn = [
        redrawn_lines(points, panel, NUM_DRAWS, seed=2 * seed + which, heldout_seed=seed)
        for which, points in enumerate((run, control))
    ]
    return compare_curves(first, second, (redrawn[0], redrawn[1]))


def standing_sentence(
    name: str, found: Standing | None, run: Sequence[Point], control: Sequence[Point], panel: Panel
) -> str:
    """What `standing` found, in words and in the axes' own units."""
    quality, diversity = panel.quality, panel.diversity
    if found is None:
        reached = " and ".join(
            f"{who} {_range(panel, points)}" for who, points in (("MLE", control), (name, run))
        )
        return (
            f"{name} cannot be compared with the MLE curve: they have no {quality.title} in common"
            f" ({reached}); sample further temperatures."
        )
    low, high = _native(quality, found.common)
    drawn = {rate.over for point in run for rate in _rates(point, panel)}
    texts = "samples and held-out texts" if "heldout" in drawn else "samples"
    over = f"over {low:.4g} to {high:.4g}"
    if f"{low:.4g}" == f"{high:.4g}":
        over = f"at {low:.4g} alone, as no other is reached by both (sample further temperatures)"
    sentence = (
        f"{name} is {PLACES[found.place]}: at equal {quality.title}, {over},"
        f" its {diversity.title} differs by {_difference(diversity, found.difference)}"
        f" ({diversity.unit}; 95% interval {_interval(diversity, found.interval)} by bootstrap over"
        f" {texts}; {_better(diversity)})."
    )
    for word, stretches, place in (
        ("better", found.better, "above"),
        ("worse", found.worse, "under"),
    ):
        if stretches and found.place != place:
            where = " and ".join(
                "{:.4g} to {:.4g}".format(*_native(quality, ends)) for ends in stretches
            )
            sentence += f" It is {word} at {quality.title} {where}."
    own, controls = (f"{quality.sign * reached:.4g}" for reached in found.reaches)
    if found.further == "above":
        sentence += f" It reaches {quality.title} {own}, which MLE does not (at best {controls})."
    elif found.further == "under":
        sentence += f" It does not reach MLE's best {quality.title}, {controls} (at best {own})."
    return sentence


def mean_sentence(found: MeanStanding, panel: Panel) -> str:
    """The mean over runs that differ in their seed alone, and its interval over runs."""
    axis = panel.diversity
    return (
        f"Over {found.num_runs} runs the game is {PLACES[found.place]}: the mean difference of"
        f" {axis.title} is {_difference(axis, found.difference)} ({axis.unit}; 95% interval"
        f" {_interval(axis, found.interval)} by Student's t over runs; {_better(axis)})."
    )


def plain_standing(found: Standing | MeanStanding, panel: Panel) -> dict[str, Any]:
    """As JSON-able values in the axes' own units."""
    plain: dict[str, Any] = {
        "place": found.place,
        "difference": panel.diversity.sign * found.difference,
        "interval": _native(panel.diversity, found.interval),
    }
    if isinstance(found, MeanStanding):
        return {**plain, "num_runs": found.num_runs}
    return {
        **plain,
        "common": _native(panel.quality, found.common),
        "reaches": [panel.quality.sign * reached for reached in found.reaches],
        "better": [_native(panel.quality, ends) for ends in found.better],
        "worse": [_native(panel.quality, ends) for ends in found.worse],
    }


def _rates(point: Point, panel: Panel) -> list[Rate]:
    names = panel.quality.name, panel.diversity.name
    return [point.rates[name] for name in names if name in point.rates]


def _native(axis: Axis, ends: tuple[float, float]) -> tuple[float, float]:
    low, high = sorted(axis.sign * end for end in ends)
    return low, high


def _difference(axis: Axis, goodness: float) -> str:
    return _signed(axis.sign * goodness)


def _interval(axis: Axis, ends: tuple[float, float]) -> str:
    low, high = _native(axis, ends)
    return f"{_signed(low)} to {_signed(high)}"


def _signed(value: float) -> str:
    return f"{round(value, 4) + 0.0:+.4f}"  # no -0.0000


def _better(axis: Axis) -> str:
    return f"{'above' if axis.higher_is_better else 'below'} 0 is better"


def _range(panel: Panel, points: Sequence[Point]) -> str:
    values = np.concatenate([line.quality for line in lines(points, panel)])
    return "{:.4g} to {:.4g}".format(
        *_native(panel.quality, (float(values.min()), float(values.max())))
    )
