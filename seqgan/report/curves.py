"""The charts of metrics over a run: what is in them, and how they are drawn.

`report.png` and `report.html` draw the same charts, each on axes of its own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from seqgan.evaluation.axes import NLL_HELDOUT, NLL_ORACLE, Axis, measure_axis
from seqgan.evaluation.planes.points import Panel
from seqgan.report import frontier_chart
from seqgan.report.charts import BLACK, GREEN, GREY, MARKERS, SERIES
from seqgan.report.frontier_chart import Kind, Series
from seqgan.report.recorded import Recorded, Row
from seqgan.system.terminal import arrow
from seqgan.tasks.base import SHARE
from seqgan.tracking.metrics import axis_of, find_metric

DASHES: tuple[Any, ...] = ("-", "--", ":")  # one for each curve of a chart
MAX_POINTS = 1000  # of one curve, as many as a screen shows
MAX_MARKERS = 12  # on one curve
LOG_2 = math.log(2)


@dataclass(frozen=True)
class Curve:
    """A metric as a line, with its name in the legend where the chart is made for several.

    Args:
        error: the metric that is this one's standard error, if there is one; two of them are
            drawn as a band.
    """

    metric: str
    label: str = ""
    error: str = ""


@dataclass(frozen=True)
class Chart:
    """One or several metrics over one axis.

    Args:
        label: what the y-axis says, with its unit.
        healthy: the range that a good run stays in, shaded; an end may be infinite.
        mark: a value with a meaning of its own, drawn as a line, and that meaning.
        end: the better end of its values, max or min; empty for what the metric list says.
    """

    title: str
    label: str
    curves: tuple[Curve, ...]
    axis: str = "iteration"
    healthy: tuple[float, float] | None = None
    mark: tuple[float, str] | None = None
    end: str = ""

    @property
    def better(self) -> str:
        """The better end of all its curves, max or min; empty where there is none for all."""
        ends = {find_metric(curve.metric).best for curve in self.curves}
        return self.end or (ends.pop() if len(ends) == 1 else "")

    @property
    def heading(self) -> str:
        """Its title, and an arrow to what is better."""
        return f"{self.title} {arrow(self.better, None)}".rstrip()


PRETRAINING = Chart(
    "Pretraining of the generator",
    "NLL (nats per token)",
    (Curve("pretrain/nll_dev", "dev"), Curve("pretrain/nll_train", "train")),
    "pretrain/epoch",
)
DISCRIMINATOR_PRETRAINING = Chart(
    "Pretraining of the discriminator",
    "held-out accuracy (fraction)",
    (Curve("pretrain/discriminator_accuracy_heldout"),),
    "pretrain/round",
    healthy=(0.5, 0.95),
)
DIVERSITY = Chart(
    "Diversity: held-out NLL",
    "NLL (nats per token)",
    (Curve("eval/nll_heldout"),),
)
ACCURACY = Chart(
    "Accuracy of the discriminator",
    "accuracy (fraction)",
    (
        Curve("discriminator/accuracy_heldout", "held-out"),
        Curve("discriminator/accuracy_real", "real, training"),
        Curve("discriminator/accuracy_generated", "generated, training"),
    ),
    healthy=(0.5, 0.95),
)
INFORMATION = Chart(
    "What it knows of unseen text",
    "held-out information (nats)",
    (Curve("discriminator/information_heldout", error="discriminator/information_heldout_error"),),
    healthy=(0.0, math.inf),
    mark=(0.0, "knows nothing"),
)
_GAME = (
    DIVERSITY,
    Chart(
        "Distance to the true model",
        "KL (nats per token)",
        (
            Curve("eval/kl_generator_oracle", "generator to truth (quality)"),
            Curve("eval/kl_oracle_generator", "truth to generator (diversity)"),
        ),
    ),
    Chart(
        "Repetition and copies",
        "share of generated texts",
        (
            Curve("eval/duplicate_rate", "repeat another one"),
            Curve("eval/copied_rate", "copied from training data"),
        ),
    ),
    Chart(
        "N-gram diversity",
        "fraction",
        (
            Curve("eval/distinct_2", "distinct pairs"),
            Curve("eval/self_bleu_2", "Self-BLEU-2"),
            Curve("eval/self_bleu_4", "Self-BLEU-4"),
        ),
    ),
    Chart(
        "Entropy of the generator",
        "entropy (nats per token)",
        (Curve("eval/entropy", "evaluations"), Curve("losses/entropy", "collected texts")),
    ),
    Chart(
        "Distance from the MLE start",
        "KL (nats per sequence)",
        (Curve("kl/reference"),),
    ),
    Chart("Length of texts", "tokens", (Curve("charts/episodic_length"),)),
)
_ADVERSARY = (
    ACCURACY,
    INFORMATION,
    Chart(
        "Loss of the discriminator",
        "cross-entropy (nats)",
        (Curve("losses/discriminator"),),
        healthy=(-math.inf, LOG_2),
        mark=(LOG_2, "log 2: knows nothing"),
    ),
    Chart(
        "The generator's side of the game",
        "mean log(1 - D) (nats)",
        (Curve("losses/minimax_generator"),),
        mark=(-LOG_2, "a draw"),
    ),
)


def quality_chart(runs: Sequence[Recorded]) -> Chart | None:
    """The chart of quality over the game; None if nothing was evaluated."""
    axis = next((recorded_axis(run) for run in runs if run.quality), None)
    if axis is None:
        return None
    end = "max" if axis.higher_is_better else "min"
    return Chart(f"Quality: {axis.name}", axis.label, (Curve(f"eval/{axis.name}"),), end=end)


def pretraining_charts(runs: Sequence[Recorded]) -> list[Chart]:
    """The charts of the phases before the game."""
    return present((PRETRAINING, DISCRIMINATOR_PRETRAINING), runs)


def game_charts(runs: Sequence[Recorded]) -> list[Chart]:
    """Quality and diversity side by side, then what else there is over the game."""
    quality = quality_chart(runs)
    rewards = dict.fromkeys(
        name
        for run in runs
        for row in run.metrics
        for name in row
        if name.startswith("rewards/") and name.endswith("/mean") and name.count("/") == 2
    )
    reward_charts = [
        Chart(f"Reward: {name.split('/')[1]}", "mean score (reward)", (Curve(name),))
        for name in rewards
    ]
    return present([*([quality] if quality else []), *_GAME, *reward_charts], runs)


def own_charts(runs: Sequence[Recorded]) -> list[Chart]:
    """A chart for each metric of the user's own and each phase that logged it."""
    places = sorted(
        {
            (name, "iteration" if "iteration" in row else axis_of(name, row))
            for run in runs
            for row in run.metrics
            for name in row
            if name.startswith("user/")
        }
    )
    return present(
        [Chart(name.removeprefix("user/"), "", (Curve(name),), axis) for name, axis in places],
        runs,
    )


def adversary_charts(runs: Sequence[Recorded]) -> list[Chart]:
    """Both sides of the discriminator; none where no run has one."""
    return present(_ADVERSARY, runs)


def present(charts: Sequence[Chart], runs: Sequence[Recorded]) -> list[Chart]:
    """The charts that have something to show, each with those of its curves that do."""
    kept = []
    for chart in charts:
        curves = tuple(
            curve
            for curve in chart.curves
            if any(np.isfinite(run.curve(curve.metric, chart.axis)[1]).any() for run in runs)
        )
        if curves:
            kept.append(replace(chart, curves=curves))
    return kept


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


def recorded_axis(run: Recorded) -> Axis:
    """The quality of a run as an axis, which has one.

    Runs without an end, or older than the recorded unit, have a check if they have a measure.
    """
    name = run.quality or ""
    if name == NLL_ORACLE.name:
        return NLL_ORACLE
    if name == "bleu_4":
        return Axis(name, "BLEU-4", "fraction", True)
    comparison = {} if run.results is None else run.results["comparison"]
    unit, higher = comparison.get("unit", SHARE), comparison.get("higher_is_better", True)
    return measure_axis(name, str(unit), bool(higher))
