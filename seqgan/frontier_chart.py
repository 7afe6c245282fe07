"""Drawing of quality-diversity planes from plain points.

The curve of the MLE generator over temperatures, all that it dominates shaded, and what is to be
compared with it: a run's own curve, published points.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from seqgan.charts import BLUE, GREY, ORANGE
from seqgan.evaluation.curves import Line, attained
from seqgan.evaluation.points import Axis, Panel

Kind = Literal["control", "run", "published"]

RUN_MARKERS = "osD^vPX"
# Okabe and Ito's other colours, each with a mark of its own.
PUBLISHED_STYLES = (
    ("#009E73", "^"),
    ("#CC79A7", "s"),
    ("#E69F00", "D"),
    ("#000000", "x"),
    ("#56B4E9", "v"),
    (GREY, "P"),
    ("#8C6D31", "*"),
    ("#332288", "<"),
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
        notes: what stands at each point, such as its temperature; empty for nothing at all.
    """

    label: str
    kind: Kind
    quality: Float[np.ndarray, " point"]
    diversity: Float[np.ndarray, " point"]
    number: int = 0
    notes: tuple[str, ...] = ()


def draw_frontier(axes: Axes, panel: Panel, series: Sequence[Series]) -> int:
    """Draws curves into a plane, with labels and limits but without a legend.

    Returns:
        How many published points lie outside of the axes: those far from everything else.
    """
    own = [one for one in series if one.kind != "published"]
    controls = [one for one in series if one.kind == "control"]
    published = [one for one in series if one.kind == "published"]
    _set_limits(axes, own, published)
    for one in controls:
        _shade(axes, panel, one, SHADE / len(controls))
    for one in own:
        axes.plot(
            one.quality,
            one.diversity,
            color=BLUE if one.kind == "control" else ORANGE,
            linestyle="-" if one.kind == "control" else "--",
            marker=RUN_MARKERS[one.number % len(RUN_MARKERS)],
            markersize=5,
            label=one.label,
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
            label=one.label,
        )
    if len(own) <= 2:  # more than a run's own two curves have no room for numbers
        _annotate(axes, panel, own)
    for axis, name in ((panel.quality, "x"), (panel.diversity, "y")):
        axes.set(**{f"{name}label": _label(axis)})
    axes.spines[["top", "right"]].set_visible(False)
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    return sum(
        int(((x < left) | (x > right) | (y < bottom) | (y > top)).sum())
        for x, y in ((one.quality, one.diversity) for one in published)
    )


def frontier_figure(planes: Sequence[tuple[Panel, Sequence[Series]]], title: str) -> Figure:
    """One picture of all planes, with one legend below them."""
    figure = Figure(figsize=(6.4 * len(planes), 5.6), layout="constrained")
    entries: dict[str, Any] = {}  # handles by their labels
    for index, (panel, series) in enumerate(planes):
        axes = figure.add_subplot(1, len(planes), index + 1)
        outside = draw_frontier(axes, panel, series)
        handles, labels = axes.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
        if outside:
            axes.set_title(f"{outside} published points lie outside", fontsize=9, color=GREY)
    figure.suptitle(title)
    figure.legend(
        list(entries.values()),
        list(entries),
        loc="outside lower center",
        ncols=min(len(entries), 2 * len(planes)),
        frameon=False,
    )
    return figure


def _label(axis: Axis) -> str:
    return f"{axis.label}\n" + ("better →" if axis.higher_is_better else "← better")


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
        for name, (low, high, reach) in boxes.items():
            values = getattr(one, name)
            near &= (values >= low - reach) & (values <= high + reach)
        for name in shown:
            shown[name] += getattr(one, name)[near].tolist()
    for name, set_limits in named:
        low, high = min(shown[name]), max(shown[name])
        margin = max(high - low, 1e-9) * MARGIN
        set_limits(low - margin, high + margin)


def _shade(axes: Axes, panel: Panel, control: Series, opacity: float) -> None:
    """Everything that some point of the curve is at least as good as, on both axes."""
    line = Line(panel.quality.turned(control.quality), panel.diversity.turned(control.diversity))
    worst, _ = sorted(panel.quality.turned(np.array(axes.get_xlim())))
    worst_diversity, _ = sorted(panel.diversity.turned(np.array(axes.get_ylim())))
    qualities = np.union1d(np.linspace(worst, line.quality.max(), 400), line.quality)
    axes.fill_between(
        panel.quality.turned(qualities),
        panel.diversity.turned(attained(line, qualities)),
        float(panel.diversity.turned(np.array(worst_diversity))),
        color=BLUE,
        alpha=opacity,
        linewidth=0,
        label="dominated by MLE",
    )


def _annotate(axes: Axes, panel: Panel, series: Sequence[Series]) -> None:
    """Numbers at the points that have room for one: the control's on its better side, others'
    on the worse."""
    box = axes.get_window_extent().transformed(axes.figure.dpi_scale_trans.inverted())
    width, height = 72 * box.width, 72 * box.height  # in points
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    taken: list[tuple[float, float]] = []
    for one in series:
        side = 1 if one.kind == "control" else -1
        to_right = side if panel.quality.higher_is_better else -side
        upwards = side if panel.diversity.higher_is_better else -side
        x = (one.quality - left) / (right - left) * width
        y = (one.diversity - bottom) / (top - bottom) * height
        # Both ends first, then what is between.
        order = sorted(range(len(one.notes)), key=lambda i: min(i, len(x) - 1 - i) > 0)
        for index in order:
            place = (x[index] + 12 * to_right, y[index] + 6 * upwards)
            if all(abs(place[0] - u) > 22 or abs(place[1] - v) > 10 for u, v in taken):
                taken.append(place)
                axes.annotate(
                    one.notes[index],
                    (one.quality[index], one.diversity[index]),
                    textcoords="offset points",
                    xytext=(4 * to_right, 4 * upwards),
                    ha="left" if to_right > 0 else "right",
                    va="bottom" if upwards > 0 else "top",
                    fontsize=LABEL_SIZE,
                    color=BLUE if one.kind == "control" else ORANGE,
                    path_effects=[withStroke(linewidth=2, foreground="white")],
                    zorder=4,
                )
