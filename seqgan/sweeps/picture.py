"""The trials of a sweep as lines through their parameters to the metric: `parallel.png`."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator

from seqgan.report.charts import GREY, font_families
from seqgan.sweeps.distributions import Choice, IntUniform, Uniform
from seqgan.sweeps.ranking import Row, short_names
from seqgan.sweeps.reading import Sweep
from seqgan.sweeps.runner import shown
from seqgan.tracking.metrics import find_metric

# Dark is good, for both goals. Told apart by colour-blind readers; its pale end is left out.
COLOURS, PALEST = "viridis", 0.92
INCHES_PER_AXIS, LEAST_INCHES = 1.7, 7.0
NUM_TICKS = 6


@dataclass(frozen=True)
class Scale:
    """A vertical axis: where values lie on it, from 0 to 1, and which are written beside it."""

    positions: dict[Any, float]  # of every trial's value
    ticks: tuple[tuple[float, str], ...]  # position and label


def draw_parallel(sweep: Sweep, rows: Sequence[Row], target: Path) -> Path | None:
    """Draws the trials that have a value; constant parameters have no axis.

    Returns:
        The picture, or None where no trial has a value.
    """
    drawn = [row for row in rows if row.is_ranked]
    if not drawn:
        return None
    names = sweep.varied
    scales = {
        name: parameter_scale(sweep, name, [row.trial.parameters[name] for row in drawn])
        for name in names
    }
    values = [row.trial.value for row in drawn if row.trial.value is not None]
    metric_scale = numeric_scale(values)
    with matplotlib.rc_context({"font.family": font_families()}):
        width = max(LEAST_INCHES, INCHES_PER_AXIS * (len(names) + 1) + 2)
        figure = Figure(figsize=(width, 4.8), layout="constrained")
        axes = figure.add_subplot()
        order = Normalize(min(map(sweep.metric.cost, values)), max(map(sweep.metric.cost, values)))
        palette = matplotlib.colormaps[COLOURS]
        for row in reversed(drawn):  # the best ones come last and lie on top
            value = row.trial.value
            assert value is not None
            heights = [scales[name].positions[row.trial.parameters[name]] for name in names]
            heights.append(metric_scale.positions[value])
            axes.plot(
                range(len(heights)),
                heights,
                color=palette(PALEST * float(order(sweep.metric.cost(value)))),
                linestyle="-" if row.trial.status == "finished" else (0, (4, 2)),
                linewidth=3.0 if row.place == 1 else 1.4,
                marker="o",
                markersize=5 if row.place == 1 else 3,
            )
        short = short_names(names)
        labels = [_broken(short[name]) for name in names] + [_broken(_last(sweep.metric.name))]
        _draw_scales(axes, [*(scales[name] for name in names), metric_scale], labels)
        _say(axes, sweep, rows, drawn)
        _colour_bar(figure, axes, sweep, values)
        FigureCanvasAgg(figure).print_png(
            target,
            metadata={"Title": sweep.name},
        )
    return target


def parameter_scale(sweep: Sweep, name: str, values: Sequence[Any]) -> Scale:
    """The axis of a parameter: steps for a choice, else the range of its distribution."""
    item = sweep.parameters[name]
    if isinstance(item, Choice):
        kinds = list(dict.fromkeys(item.values))
        numbers = all(isinstance(k, int | float) and not isinstance(k, bool) for k in kinds)
        kinds = sorted(kinds) if numbers else kinds[::-1]
        places = {kind: index / max(1, len(kinds) - 1) for index, kind in enumerate(kinds)}
        return Scale(places, tuple((places[kind], shown(kind)) for kind in kinds))
    ends = item.extremes() if isinstance(item, IntUniform | Uniform) else ()
    return numeric_scale(values, item.logarithmic, ends)


def numeric_scale(
    values: Sequence[float], logarithmic: bool = False, ends: Sequence[float] = ()
) -> Scale:
    """An axis over the values and the given ends; a single value lies in the middle."""
    low, high = min((*values, *ends)), max((*values, *ends))
    logarithmic = logarithmic and low > 0
    if low == high:
        return Scale(dict.fromkeys(values, 0.5), ((0.5, shown(low)),))
    transform = matplotlib.colors.LogNorm(low, high) if logarithmic else Normalize(low, high)
    locator = (
        LogLocator(subs=_subs(low, high))
        if logarithmic
        else MaxNLocator(NUM_TICKS, steps=[1, 2, 5, 10])
    )
    ticks = [float(tick) for tick in locator.tick_values(low, high) if low <= tick <= high]
    labels = [f"{tick:.6g}" for tick in ticks]
    if not logarithmic:  # as many decimals everywhere
        decimals = max(len(label.partition(".")[2]) for label in labels)
        labels = [f"{tick:.{decimals}f}" for tick in ticks]
    return Scale(
        {value: float(transform(value)) for value in values},
        tuple(zip((float(transform(tick)) for tick in ticks), labels, strict=True)),
    )


def _subs(low: float, high: float) -> tuple[float, ...]:
    """Multiples of a power of ten with a tick: fewer, the more powers there are."""
    if high / low > 1e4:
        return (1.0,)
    return (1.0, 3.0) if high / low > 30 else (1.0, 2.0, 5.0)


def _draw_scales(axes: Axes, scales: Sequence[Scale], labels: Sequence[str]) -> None:
    for index, scale in enumerate(scales):
        axes.axvline(index, color=GREY, linewidth=0.8, zorder=0)
        for position, label in scale.ticks:
            axes.plot([index - 0.02, index], [position] * 2, color=GREY, linewidth=0.8)
            axes.annotate(
                label,
                (index, position),
                xytext=(-7, 0),
                textcoords="offset points",
                ha="right",
                va="center",
                fontsize=8,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 2.0},
                zorder=5,
            )
    axes.set_xticks(range(len(scales)), labels)
    axes.tick_params(axis="x", length=0, pad=8)
    axes.set_yticks([])
    axes.set_xlim(-0.45, len(scales) - 1 + 0.1)
    axes.set_ylim(-0.05, 1.05)
    for side in axes.spines.values():
        side.set_visible(False)


def _say(axes: Axes, sweep: Sweep, rows: Sequence[Row], drawn: Sequence[Row]) -> None:
    """What the lines are, and which trials are not among them."""
    axes.set_title(f"{sweep.name}: {len(drawn)} of {len(rows)} trials", loc="left")
    missing: dict[str, int] = {}
    for row in rows:
        if row not in drawn:
            what: str = row.trial.status
            what = "without a value" if what in ("finished", "stopped early") else what
            missing[what] = missing.get(what, 0) + 1
    if missing:
        counts = ", ".join(f"{count} {status}" for status, count in missing.items())
        axes.set_xlabel(f"not drawn: {counts}", color=GREY, loc="left")
    handles = [Line2D([], [], color="black", linewidth=3.0, marker="o", label="best")]
    if any(row.trial.status == "stopped early" for row in drawn):
        dashes = (0, (4, 2))
        handles.append(Line2D([], [], color="black", linestyle=dashes, label="stopped early"))
    axes.legend(
        handles=handles,
        frameon=False,
        ncols=2,
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        borderaxespad=0.2,
    )


def _colour_bar(figure: Figure, axes: Axes, sweep: Sweep, values: Sequence[float]) -> None:
    """The colours of the lines with the metric's values, name and unit."""
    palette = matplotlib.colormaps[COLOURS]
    stops = [palette(PALEST * index / 255) for index in range(256)]
    if not sweep.metric.minimize:
        stops.reverse()
    colours = matplotlib.colors.ListedColormap(stops)
    low, high = min(values), max(values)
    if low == high:  # one value alone: a bar of no height is none
        low, high = low - abs(low) * 1e-3 - 1e-9, high + abs(high) * 1e-3 + 1e-9
    bar = figure.colorbar(ScalarMappable(Normalize(low, high), colours), ax=axes, pad=0.03)
    unit = find_metric(sweep.metric.name).unit
    better = "lower" if sweep.metric.minimize else "higher"
    bar.set_label(f"{sweep.metric.name}" + (f" ({unit})" if unit else "") + f", {better} is better")
    bar.outline.set_visible(False)


def _last(name: str) -> str:
    return name.removeprefix("eval/")


def _broken(name: str) -> str:
    """A name on lines that stay between two axes."""
    spaced = name.replace("_", "_ ").replace(".", ". ")
    lines = textwrap.wrap(spaced, 15, break_long_words=False)
    return "\n".join(line.replace("_ ", "_").replace(". ", ".") for line in lines)
