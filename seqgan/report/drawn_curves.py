"""The charts of metrics over a run, drawn and in words."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from seqgan.report.charts import BLACK, GREEN, GREY, MARKERS, SERIES
from seqgan.report.curves import Chart, Curve
from seqgan.report.recorded import Recorded

DASHES: tuple[Any, ...] = ("-", "--", ":")  # one for each curve of a chart
MAX_POINTS = 1000  # of one curve, as many as a screen shows
MAX_MARKERS = 12  # on one curve


def draw_chart(axes: Axes, chart: Chart, runs: Sequence[Recorded]) -> None:
    """Draws every run's curves.

    Several runs have a colour and a marker each, and dashes tell the curves of a chart apart; of
    a single run each curve has its own colour.
    """
    for i, run in enumerate(runs):
        for j, curve in enumerate(chart.curves):
            look = i if len(runs) > 1 else j
            x, y = thin(*run.curve(curve.metric, chart.axis))
            axes.plot(
                x,
                y,
                color=SERIES[look],
                linestyle=DASHES[j],
                linewidth=1.4,
                marker=MARKERS[look],
                markersize=3.5,
                markevery=max(1, math.ceil(len(x) / MAX_MARKERS)),
                label=curve.label,
            )
            if curve.error:
                _band(axes, run, curve, chart.axis, SERIES[look])
    axes.set(title=chart.heading, xlabel=counted(chart.axis), ylabel=chart.label)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    _shade(axes, chart)
    _legend(axes, chart, len(runs))


def counted(axis: str) -> str:
    """The word for an axis: `epoch` for `pretrain/epoch`, `log` where nothing was counted."""
    return axis.removeprefix("pretrain/") or "log"


def _band(axes: Axes, run: Recorded, curve: Curve, axis: str, colour: str) -> None:
    """Two standard errors around a curve."""
    x, y = run.curve(curve.metric, axis)
    at, error = run.curve(curve.error, axis)
    _, place, known = np.intersect1d(x, at, return_indices=True)
    below, above = (thin(x[place], y[place] + 2 * side * error[known]) for side in (-1, 1))
    axes.fill(
        np.concatenate([below[0], above[0][::-1]]),
        np.concatenate([below[1], above[1][::-1]]),
        color=colour,
        alpha=0.2,
        linewidth=0,
    )


def thin(
    x: Float[np.ndarray, " point"], y: Float[np.ndarray, " point"]
) -> tuple[Float[np.ndarray, " kept"], Float[np.ndarray, " kept"]]:
    """At most `MAX_POINTS` of a curve: the lowest and the highest of each stretch of it.

    What sticks out stays, which it would not if every n-th point were kept.
    """
    if len(x) <= MAX_POINTS:
        return x, y
    kept = []
    for stretch in np.array_split(np.arange(len(x)), MAX_POINTS // 2):
        known = stretch[np.isfinite(y[stretch])]
        if len(known):
            kept += sorted({int(known[y[known].argmin()]), int(known[y[known].argmax()])})
    return x[kept], y[kept]


def _shade(axes: Axes, chart: Chart) -> None:
    """The healthy range and the marked value, with a little room beyond their finite ends."""
    ends = [end for end in chart.healthy or () if math.isfinite(end)]
    marked = ends if chart.mark is None else [*ends, chart.mark[0]]
    if not marked:
        return
    all_values = [*axes.get_ylim(), *marked]
    room = 0.05 * (max(all_values) - min(all_values))
    bottom = min(*axes.get_ylim(), min(marked) - room)
    top = max(*axes.get_ylim(), max(marked) + room)
    axes.set_ylim(bottom, top)
    if chart.healthy is not None:
        low, high = np.clip(chart.healthy, bottom, top)
        axes.axhspan(low, high, color=GREEN, alpha=0.12, linewidth=0, zorder=0)
    if chart.mark is not None:
        axes.axhline(chart.mark[0], color=GREY, linewidth=1, zorder=1)


def _legend(axes: Axes, chart: Chart, num_runs: int) -> None:
    """Labelled curves, and what the shade and the marked line mean."""
    handles: list[Line2D | Patch] = []
    if chart.curves[0].label:
        handles = [
            Line2D(
                [],
                [],
                color=SERIES[j] if num_runs == 1 else BLACK,
                linestyle=DASHES[j],
                linewidth=1.4,
                marker=MARKERS[j] if num_runs == 1 else "",
                markersize=3.5,
                label=curve.label,
            )
            for j, curve in enumerate(chart.curves)
        ]
    elif chart.curves[0].error:
        handles.append(Patch(color=GREY, alpha=0.3, linewidth=0, label="2 standard errors"))
    if chart.healthy is not None:
        handles.append(Patch(color=GREEN, alpha=0.2, linewidth=0, label="healthy"))
    if chart.mark is not None:
        handles.append(Line2D([], [], color=GREY, linewidth=1, label=chart.mark[1]))
    if handles:
        axes.legend(handles=handles, frameon=False)


def curves_in_words(chart: Chart, runs: Sequence[Recorded]) -> str:
    """A chart for those who do not see it: where each curve starts and ends."""
    parts, axis = [], counted(chart.axis)
    for run in runs:
        for curve in chart.curves:
            x, y = run.curve(curve.metric, chart.axis)
            known = np.isfinite(y)
            if known.any():
                (start, first), (end, last) = ((x[known][i], y[known][i]) for i in (0, -1))
                parts.append(
                    f"{run.name}, {curve.metric}: {first:.4g} at {axis} {start:g},"
                    f" {last:.4g} at {axis} {end:g}"
                )
    return "; ".join(parts)
