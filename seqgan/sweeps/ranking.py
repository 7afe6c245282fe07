"""The end of a sweep: its trials from best to worst, as a table and as a picture.

Beside the metric stand numbers that give a collapse away, and the verdict of each finished run on
itself beside its own MLE generator at the temperature of equal quality.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from optuna.distributions import CategoricalDistribution
from optuna.trial import TrialState

from seqgan.report.charts import GREY, drawable_name, plain_style
from seqgan.sweeps.reading import Sweep
from seqgan.sweeps.runner import shown
from seqgan.sweeps.trials import rows_with, trial_path
from seqgan.system.files import writing
from seqgan.system.reading import read_json
from seqgan.system.tables import aligned
from seqgan.system.terminal import arrow, columns_of, shows_bold
from seqgan.tracking.metrics import find_metric

STATUS = {
    TrialState.COMPLETE: "finished",
    TrialState.PRUNED: "stopped early",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "interrupted",
}
GUARDS = ("eval/nll_heldout", "eval/entropy", "eval/duplicate_rate")
NUM_TICKS = 5
# Dark is good, for both goals. Told apart by colour-blind readers; its pale end is left out.
COLOURS, PALEST = "viridis", 0.92

Row = dict[str, Any]  # a trial's rank, number, value, settings, guards, verdict, status, by column


def rank(sweep: Sweep, folder: Path, trials: Sequence[Any]) -> list[Row]:
    """optuna's trials with a value from best to worst, then the others; a row for each.

    Trials of equal values share a rank. Every row has the same columns, None where it has no value.
    """
    sign = 1 if sweep.goal == "minimize" else -1
    costs = {trial.number: sign * trial.value for trial in trials if trial.value is not None}
    ordered = sorted(costs.values())
    rows: list[Row] = []
    for trial in trials:
        run = trial_path(folder, trial.number)
        last = (rows_with(run, sweep.metric) or [{}])[-1]
        comparison = _comparison(run)
        cost = costs.get(trial.number)
        error = trial.user_attrs.get("error", "")
        rows.append(
            {
                "rank": ordered.index(cost) + 1 if cost in ordered else None,
                "trial": trial.number,
                sweep.metric: trial.value,
                **{name: trial.params.get(name) for name in sweep.space},
                **{name: last.get(name) for name in GUARDS if name != sweep.metric},
                "against MLE": comparison.get("verdict"),
                "status": STATUS[trial.state] + (f": {error}" if error else ""),
            }
        )
    return sorted(rows, key=lambda row: (row["rank"] or len(rows) + 1, row["trial"]))


def table_lines(sweep: Sweep, rows: Sequence[Row], stream: Any = None) -> list[str]:
    """A table with a line for each trial; the best values of the metric are bold on a terminal.

    Args:
        stream: where the lines will be shown; None for nowhere in particular.
    """
    names = short_names([*rows[0]])
    better: dict[str, str] = {name: find_metric(name).best for name in names if "/" in name}
    better[sweep.metric] = sweep.goal.removesuffix("imize")
    heads = [f"{names[name]} {arrow(better.get(name, ''), stream)}".rstrip() for name in names]
    cells = [["-" if row[name] is None else shown(row[name]) for name in names] for row in rows]
    for row in cells:
        row[-1] = row[-1].partition(":")[0]  # reasons are longer than a column, and stand below
    place = [*names].index(sweep.metric)
    best = {(number, place) for number, row in enumerate(rows, 1) if row["rank"] == 1}
    return aligned(
        [heads, *cells],
        left=(len(names) - 1,),
        keys=2,
        columns=columns_of(stream),
        strong=best if shows_bold(stream) else (),
    )


def failures(rows: Sequence[Row]) -> list[str]:
    """A sentence for each trial that failed."""
    ended = [(row["trial"], row["status"].partition(": ")) for row in rows]
    return [f"Trial {trial} {status}: {error}" for trial, (status, _, error) in ended if error]


def conclusion(sweep: Sweep, rows: Sequence[Row]) -> str:
    """One sentence: the best trial, or the trials that tie."""
    tied = [str(row["trial"]) for row in rows if row["rank"] == 1]
    if not tied:
        return "No trial has ended with a value of the metric."
    best, value = rows[0], f"{sweep.metric} {shown(rows[0][sweep.metric])}"
    if len(tied) > 1:
        return f"Best: trials {', '.join(tied)} alike, each with {value}."
    settings = ", ".join(f"{name} {shown(best[name])}" for name in sweep.space)
    verdict = best["against MLE"] or "not compared"
    return (
        f"Best: trial {best['trial']} of {len(rows)}, {value} with {settings}. Beside the MLE"
        f" temperature curve it is {verdict}."
    )


def short_names(names: Sequence[str]) -> dict[str, str]:
    """The last part of each name, or the whole name where two have the same last part."""
    last = {name: name.rpartition("/")[2].rpartition(".")[2] for name in names}
    parts = [*last.values()]
    return {name: name if parts.count(part) > 1 else part for name, part in last.items()}


def draw_parallel(sweep: Sweep, rows: Sequence[Row], target: Path) -> Path | None:
    """Draws each trial with a value as a line through its settings to the metric.

    Returns:
        The picture, None where no trial has a value.
    """
    drawn = [row for row in rows if row["rank"]]
    if not drawn:
        return None
    columns = [*sweep.space, sweep.metric]
    scales = [scale([row[name] for row in drawn], sweep.space.get(name)) for name in columns]
    values = [row[sweep.metric] for row in drawn]
    norm = Normalize(min(values), max(values))
    stops = matplotlib.colormaps[COLOURS](np.linspace(0, PALEST, 256))
    colours = ListedColormap(stops if sweep.goal == "minimize" else stops[::-1])
    with matplotlib.rc_context(plain_style()):
        figure = Figure(figsize=(max(7.0, 1.7 * len(columns) + 2), 4.8), layout="constrained")
        axes = figure.add_subplot()
        for index, row in reversed([*enumerate(drawn)]):  # the best ones lie on top
            axes.plot(
                [heights[index] for heights, _ in scales],
                color=colours(norm(row[sweep.metric])),
                linestyle="-" if row["status"] == "finished" else "--",
                linewidth=3.0 if row["rank"] == 1 else 1.4,
                marker="o",
            )
        box = {"facecolor": "white", "edgecolor": "none", "pad": 1.0}
        for place, (_, ticks) in enumerate(scales):
            axes.axvline(place, color=GREY, linewidth=0.8, zorder=0)
            for height, label in ticks.items():
                axes.text(place - 0.05, height, label, ha="right", va="center", size=8, bbox=box)
        labels = [name.replace("_", "_\n") for name in short_names(columns).values()]
        axes.set_xticks(range(len(labels)), labels)
        axes.set(yticks=[], xlim=(-0.5, len(labels) - 0.9), ylim=(-0.05, 1.05))
        axes.set_frame_on(False)
        about = f"{drawable_name(sweep.name)}: {len(drawn)} of {len(rows)} trials (thick: the best"
        stopped = any(row["status"] != "finished" for row in drawn)
        axes.set_title(about + (", dashed: stopped early)" if stopped else ")"), loc="left")
        bar = figure.colorbar(ScalarMappable(norm, colours), ax=axes, pad=0.03)
        better = "lower" if sweep.goal == "minimize" else "higher"
        bar.set_label(f"{sweep.metric}, {better} is better")
        with writing(target) as temporary:
            FigureCanvasAgg(figure).print_png(temporary)
    return target


def scale(values: Sequence[Any], item: Any) -> tuple[list[float], dict[float, str]]:
    """Heights of values on their axis, from 0 to 1, and labels by height.

    Args:
        item: optuna's distribution; None for an axis that ends at the values.
    """
    if isinstance(item, CategoricalDistribution):
        kinds = list(item.choices)
        if all(isinstance(kind, int | float) for kind in kinds):
            kinds.sort()
        places = {kind: index / (len(kinds) - 1) for index, kind in enumerate(kinds)}
        return [places[value] for value in values], {places[kind]: shown(kind) for kind in kinds}
    low, high = (item.low, item.high) if item else (min(values), max(values))
    if low == high:
        return [0.5 for _ in values], {0.5: shown(low)}
    forth, back = (math.log, math.exp) if item and item.log else (float, float)
    start, width = forth(low), forth(high) - forth(low)
    heights = [(forth(value) - start) / width for value in values]
    marks = [index / (NUM_TICKS - 1) for index in range(NUM_TICKS)]
    digits = 2 if item and item.log else 5
    return heights, {mark: f"{back(start + mark * width):.{digits}g}" for mark in marks}


def _comparison(run: Path) -> dict[str, Any]:
    """The comparison of a finished run with its MLE control; empty before that."""
    results = run / "results.json"
    if not results.is_file():
        return {}
    return dict(read_json(results, {"comparison?": {"verdict?": str}}).get("comparison", {}))
