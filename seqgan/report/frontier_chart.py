"""Drawing of quality-diversity planes from plain points.

The curve of the MLE generator over temperatures, all that it dominates shaded, and what is to be
compared with it: a run's own curve, published points.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from seqgan.evaluation.axes import Axis
from seqgan.evaluation.planes.curves import Line, envelope, reach
from seqgan.evaluation.planes.points import Panel, Point, curves_of
from seqgan.evaluation.planes.published import PublishedCurve
from seqgan.report.charts import BLUE, GREEN, GREY, ORANGE, drawable_name

Kind = Literal["control", "run", "tilted", "published"]

COLOURS: Mapping[Kind, str] = {"control": BLUE, "run": ORANGE, "tilted": GREEN}

RUN_MARKERS = "osD^vPX"
# Okabe and Ito's other colours, each with a mark of its own.
PUBLISHED_STYLES = (
    ("#CC79A7", "s"),
    ("#E69F00", "D"),
    ("#000000", "x"),
    ("#56B4E9", "v"),
    (GREY, "P"),
    ("#8C6D31", "*"),
    ("#332288", "<"),
    ("#AA4499", "^"),
)
SHADE = 0.16  # opacity of what a control dominates
MARGIN = 0.06  # of the axes around the points
REACH = 0.5  # published points this far outside of the own ones, in their extents, are shown
LABEL_SIZE = 8  # of the numbers at the points, in points


@dataclass(frozen=True)
class Series:
    """Points of one generator in the order in which they are joined.

    Args:
        number: which run, counted from 0; a control has its run's.
        hollow: marks that are not filled, to tell two curves of one generator apart.
        notes: what stands at each point, such as its temperature; empty for nothing at all.
    """

    label: str
    kind: Kind
    quality: Float[np.ndarray, " point"]
    diversity: Float[np.ndarray, " point"]
    number: int = 0
    hollow: bool = False
    notes: tuple[str, ...] = ()


def generator_series(
    label: str, kind: Kind, points: Sequence[Point], panel: Panel, number: int = 0
) -> list[Series]:
    """The curves of a generator's points that a plane can show, one over each knob."""
    curves = []
    for curve in curves_of(points, panel):
        cut = any(point.knob.name == "top_p" for point in curve)
        curves.append(
            Series(
                f"{label}, by top-p" if cut else label,
                kind,
                np.array([point.rates[panel.quality.name].value for point in curve]),
                np.array([point.rates[panel.diversity.name].value for point in curve]),
                number,
                cut,
                tuple(_note(point, cut) for point in curve),
            )
        )
    return curves


def _note(point: Point, cut: bool) -> str:
    """Beside a point: its temperature, top-p or beta; none where a curve over top-p ends."""
    if point.knob.name == "beta":
        return f"β {point.knob.value:g}"
    if not cut:
        return f"{point.knob.value:g}"
    return f"p {point.knob.value:g}" if point.knob.name == "top_p" else ""


def published_series(curves: Sequence[PublishedCurve], panel: Panel) -> list[Series]:
    """The published points that have both coordinates."""
    return [
        Series(curve.model, "published", *np.array(pairs).T)
        for curve in curves
        if (pairs := curve.on(panel))
    ]


def draw_frontier(axes: Axes, panel: Panel, series: Sequence[Series]) -> int:
    """Draws curves into a plane, with labels and limits but without a legend.

    Better is to the right and upwards: an axis on which lower is better runs the other way, so that
    what lies above a curve is better than it.

    Returns:
        How many published points lie outside of the axes: those far from everything else.
    """
    own = [one for one in series if one.kind != "published"]
    controls = [one for one in series if one.kind == "control"]
    published = [one for one in series if one.kind == "published"]
    _set_limits(axes, own, published)
    numbers = sorted({one.number for one in controls})
    for number in numbers:
        of_run = [one for one in controls if one.number == number]
        _shade(axes, panel, of_run, SHADE / len(numbers))
    for one in own:
        colour = COLOURS[one.kind]
        axes.plot(
            one.quality,
            one.diversity,
            color=colour,
            markerfacecolor="white" if one.hollow else colour,
            linestyle={"control": "-", "run": "--", "tilted": "-."}[one.kind],
            marker=RUN_MARKERS[one.number % len(RUN_MARKERS)],
            markersize=5,
            label=drawable_name(one.label),
            zorder=3,
        )
    for index, one in enumerate(published):
        colour, marker = PUBLISHED_STYLES[index % len(PUBLISHED_STYLES)]
        axes.plot(
            one.quality,
            one.diversity,
            color=colour,
            marker=marker,
            markersize=4,
            markevery=max(len(one.quality) // 12, 1),
            linewidth=0.9,
            alpha=0.8,
            label=drawable_name(one.label),
        )
    if not panel.quality.higher_is_better:
        axes.invert_xaxis()
    if not panel.diversity.higher_is_better:
        axes.invert_yaxis()
    if len({one.number for one in own}) == 1:  # several runs leave no room for numbers
        _annotate(axes, own)
    for axis, name in ((panel.quality, "x"), (panel.diversity, "y")):
        axes.set(**{f"{name}label": _label(axis)})
    axes.spines[["top", "right"]].set_visible(False)
    (left, right), (bottom, top) = sorted(axes.get_xlim()), sorted(axes.get_ylim())
    return sum(
        int(((x < left) | (x > right) | (y < bottom) | (y > top)).sum())
        for x, y in ((one.quality, one.diversity) for one in published)
    )


def frontier_figure(planes: Sequence[tuple[Panel, Sequence[Series], str]]) -> Figure:
    """One picture of all planes, each under a heading, with one legend below them."""
    num_columns = min(len(planes), 2)
    num_rows = -(-len(planes) // num_columns)
    figure = Figure(figsize=(6 * num_columns, 5 * num_rows + 0.6), layout="constrained")
    entries: dict[str, Any] = {}  # handles by their labels
    for index, (panel, series, heading) in enumerate(planes):
        axes = figure.add_subplot(num_rows, num_columns, index + 1)
        outside = draw_frontier(axes, panel, series)
        handles, labels = axes.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
        if outside:
            heading += f"\n({outside} published points lie outside)"
        axes.set_title(heading, fontsize=10)
    widest = 0.7 + 0.085 * max(map(len, entries))  # inches, mark and gap included
    figure.legend(
        list(entries.values()),
        list(entries),
        loc="outside lower center",
        ncols=max(1, min(len(entries), int(6 * num_columns / widest))),
        frameon=False,
    )
    return figure


def _label(axis: Axis) -> str:
    return f"{axis.label}\nbetter →"


def _set_limits(axes: Axes, own: Sequence[Series], published: Sequence[Series]) -> None:
    """Around the own points and the published ones that are not far from them."""
    named = (("quality", axes.set_xlim), ("diversity", axes.set_ylim))
    boxes = {}
    for name, _ in named:
        values = np.concatenate([getattr(one, name) for one in own or published])
        boxes[name] = (values.min(), values.max(), max(np.ptp(values), 1e-9) * REACH)
    shown = {name: [low, high] for name, (low, high, _) in boxes.items()}
    for one in published:
        near = np.ones(len(one.quality), bool)
        for name, (low, high, around) in boxes.items():
            values = getattr(one, name)
            near &= (values >= low - around) & (values <= high + around)
        for name in shown:
            shown[name] += getattr(one, name)[near].tolist()
    for name, set_limits in named:
        low, high = min(shown[name]), max(shown[name])
        margin = max(high - low, 1e-9) * MARGIN
        set_limits(low - margin, high + margin)


def _shade(axes: Axes, panel: Panel, controls: Sequence[Series], opacity: float) -> None:
    """Everything that some point of a run's control is at least as good as, on both axes."""
    lines = [
        Line(panel.quality.sign * one.quality, panel.diversity.sign * one.diversity)
        for one in controls
    ]
    worst = min(panel.quality.sign * limit for limit in axes.get_xlim())
    worst_diversity = min(panel.diversity.sign * limit for limit in axes.get_ylim())
    qualities = np.unique(
        np.concatenate([np.linspace(worst, reach(lines), 400), *(line.quality for line in lines)])
    )
    axes.fill_between(
        panel.quality.sign * qualities,
        panel.diversity.sign * envelope(lines, qualities),
        panel.diversity.sign * worst_diversity,
        color=BLUE,
        alpha=opacity,
        linewidth=0,
        label="dominated by MLE",
    )


def _annotate(axes: Axes, series: Sequence[Series]) -> None:
    """Numbers beside the points, where there is room: the control's on the curve's better side,
    a run's on its worse one."""
    box = axes.get_window_extent().transformed(axes.figure.dpi_scale_trans.inverted())
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    scale = 72 * np.array([box.width / (right - left), box.height / (top - bottom)])
    better = np.ones(2)  # upwards and to the right
    taken: list[Float[np.ndarray, " xy"]] = []
    for one in series:
        places = np.stack([one.quality - left, one.diversity - bottom], axis=1) * scale
        # Both ends first, then what is between.
        order = sorted(range(len(one.notes)), key=lambda i: min(i, len(places) - 1 - i) > 0)
        for index in filter(one.notes.__getitem__, order):
            before, after = places[max(index - 1, 0)], places[min(index + 1, len(places) - 1)]
            beside = np.array([before[1] - after[1], after[0] - before[0]])
            beside = beside / np.linalg.norm(beside) if beside.any() else better / 2**0.5
            if (beside @ better < 0) == (one.kind == "control"):
                beside = -beside
            offset = beside * np.array([5 + 2.5 * len(one.notes[index]), 8])
            place = places[index] + offset
            if all((abs(place - other) > (20, 10)).any() for other in taken):
                taken.append(place)
                axes.annotate(
                    one.notes[index],
                    (one.quality[index], one.diversity[index]),
                    textcoords="offset points",
                    xytext=tuple(offset),
                    ha="center",
                    va="center",
                    fontsize=LABEL_SIZE,
                    color=COLOURS[one.kind],
                    path_effects=[withStroke(linewidth=2, foreground="white")],
                    zorder=4,
                )
