"""The chart of quality against diversity that a recorded run has of its own end."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from seqgan.evaluation.axes import NLL_HELDOUT
from seqgan.evaluation.planes.points import Panel
from seqgan.report import frontier_chart
from seqgan.report.charts import BLACK, SERIES
from seqgan.report.curves import recorded_axis
from seqgan.report.frontier_chart import Kind, Series
from seqgan.report.recorded import Recorded, Row


def frontier_series(run: Recorded, number: int) -> list[Series]:
    """A run's generators at every temperature, and its start, resampled; none without an end.

    Runs of older versions have the trained generator at temperature 1 alone, and a control has no
    other generator. Points that are not finite are left out.
    """
    if run.results is None:
        return []
    quality = recorded_axis(run)
    end = "after game" if run.adversary else "after training"
    measured: list[tuple[str, Kind, dict[str, Row]]] = [
        ("MLE, by temperature", "control", run.results["curve"]),
        (end, "run", run.results.get("game_curve", {"1.0": run.results["final"]})),
    ]
    if "resampled" in run.results:
        measured.append(("start, resampled", "tilted", {"1.0": run.results["resampled"]}))
    series: list[Series] = []
    for label, kind, curve in measured:
        named = sorted((float(temperature), row) for temperature, row in curve.items())
        points = [
            (
                float(row.get(f"eval/{quality.name}", math.nan)),
                float(row.get(f"eval/{NLL_HELDOUT.name}", math.nan)),
                f"{temperature:g}",
            )
            for temperature, row in named
        ]
        finite = [point for point in points if math.isfinite(point[0] + point[1])]
        if finite:
            values, nll, notes = zip(*finite, strict=True)
            shown = notes if kind == "control" or len(notes) > 1 else ()
            series.append(Series(label, kind, np.array(values), np.array(nll), number, notes=shown))
    return series


def draw_frontier(axes: Axes, runs: Sequence[Recorded]) -> None:
    """Quality against held-out NLL; at least one run has an end."""
    quality = recorded_axis(next(run for run in runs if run.results is not None))
    series = [one for i, run in enumerate(runs) for one in frontier_series(run, i)]
    frontier_chart.draw_frontier(axes, Panel(quality, NLL_HELDOUT), series)
    for line, one in zip(axes.lines, series, strict=True):
        if len(runs) > 1:  # in the colours of the other charts
            line.set(color=SERIES[one.number], markerfacecolor=SERIES[one.number])
        if one.kind != "control" and len(one.quality) == 1:
            line.set(marker="*", markersize=13, linestyle="none")
    handles, labels = axes.get_legend_handles_labels()
    shown = dict(zip(labels, handles, strict=True))  # each label once
    if len(runs) > 1:
        for line in [handle for handle in shown.values() if isinstance(handle, Line2D)]:
            shown[str(line.get_label())] = Line2D(
                [],
                [],
                color=BLACK,
                marker=line.get_marker(),
                markersize=line.get_markersize(),
                linestyle=line.get_linestyle(),
            )
    axes.legend(handles=list(shown.values()), labels=list(shown), frameon=False)
    axes.set_title(f"{quality.title} against held-out NLL")
