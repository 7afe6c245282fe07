"""The whole report of one or several runs as one self-contained page, `report.html`.

A chart is what matplotlib draws, as a picture in the page: an SVG, sharp on any screen, with its
numbers as alternative text. The page's style turns its lightness around in the dark scheme.
"""

import base64
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jinja2
import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from seqgan.report.cards import STEPS, before_and_after, paired
from seqgan.report.charts import GREY, SERIES
from seqgan.report.curves import (
    Chart,
    adversary_charts,
    game_charts,
    own_charts,
    pretraining_charts,
)
from seqgan.report.drawn_curves import curves_in_words, draw_chart
from seqgan.report.hints import hints
from seqgan.report.picture import font_hint
from seqgan.report.positions import draw_positions, early_and_late, positions_in_words
from seqgan.report.recorded import Recorded, Row, read_runs
from seqgan.report.run_frontier import draw_frontier, frontier_series
from seqgan.report.settings import compared_settings
from seqgan.report.summary import Table, closing_sentences, stored_table
from seqgan.system.errors import ConfigurationError
from seqgan.system.files import write_text
from seqgan.system.inputs import open_file
from seqgan.system.terminal import arrow
from seqgan.tracking.metrics import OWN, find_metric

MARK = '<meta name="generator" content="seqgan report">'  # a page of ours, to be overwritten
MAX_RUNS = len(SERIES)
NUM_OPEN = 4  # pairs of samples above the fold
BADGES = {
    "better": "beats maximum likelihood",
    "level": "level with maximum likelihood",
    "worse": "worse than maximum likelihood",
    "mixed": "better than maximum likelihood in part, worse in part",
    "unknown": "not compared with maximum likelihood",
}
SIGNS = "●■◆▼▲✚✖★"  # the markers of `charts.MARKERS` as text
SIZE = (4.5, 3.1)  # inches, of 72 units each: a phone shows a chart at about its own size
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text in the reader's own font, and small
    "svg.hashsalt": "seqgan",  # the same chart, the same file
    "text.parse_math": False,
    "font.size": 10,
    "legend.fontsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GREY,
    "grid.alpha": 0.3,
    "grid.linewidth": 0.6,
}


@dataclass(frozen=True)
class Drawing:
    """A chart on the page.

    Args:
        source: the picture, as the address that holds it whole.
        description: its numbers, for those who do not see it.
        reading: metrics, and what is healthy for each.
    """

    title: str
    source: str
    description: str
    reading: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class NumberRow:
    """A metric in the table of a run's end; its cells are numbers, True where one is the best."""

    name: str
    unit: str
    meaning: str
    cells: tuple[tuple[str, bool], ...]


@dataclass(frozen=True)
class Verdict:
    """The end of a run in words and numbers."""

    name: str
    badges: tuple[tuple[str, str], ...]  # colour, and a few words
    sentences: tuple[str, ...]
    heads: tuple[str, ...] = ()  # of the table: the generators
    numbers: tuple[NumberRow, ...] = ()


def write_page(folders: Sequence[Path], target: Path) -> Path:
    """Reads the runs and writes their report.

    Args:
        folders: one or several runs of one task, finished or not.
        target: the page; an earlier report of ours is overwritten, nothing else.

    Raises:
        ConfigurationError: a folder is no run, the runs cannot be compared, or `target` is in the
            way or has no folder.
    """
    if not 1 <= len(folders) <= MAX_RUNS:
        raise ConfigurationError(
            f"{len(folders)} runs are given, but a report takes 1 to {MAX_RUNS}"
        )
    runs = read_runs(folders)
    check_target(target)
    write_text(target, render(runs))
    return target


def check_target(target: Path) -> None:
    """Checks that a report may be written there.

    Raises:
        ConfigurationError: it may not.
    """
    if not target.parent.is_dir():
        raise ConfigurationError(f"cannot write the report {target}: no such folder")
    if target.is_dir():
        raise ConfigurationError(f"cannot write the report {target}: it is a folder")
    if target.exists():
        with open_file(target) as file:
            if MARK.encode() not in file.read(1000):
                raise ConfigurationError(
                    f"cannot write the report {target}: a file that is no report is there"
                )


def render(runs: Sequence[Recorded]) -> str:
    """The page as text."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("seqgan.report", "pages"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    preset, settings = compared_settings(runs)
    sections = {
        "pretraining": pretraining_charts(runs),
        "game": game_charts(runs),
        "adversary": adversary_charts(runs),
        "yours": own_charts(runs),
    }
    page: dict[str, Any] = {
        "mark": Markup(MARK),
        "names": [run.name for run in runs],
        "runs": runs,
        "facts": [fact(run, len(runs) > 1) for run in runs],
        "marks": SIGNS,
        "colours": SERIES,
        "size": SIZE,
        "verdicts": [verdict(run) for run in runs],
        "hints": [(run.name, hints(run)) for run in runs],
        "missing": [(run.name, missing(run)) for run in runs],
        "frontier": frontier(runs),
        "positions": position_drawings(runs),
        "samples": [(sides := before_and_after(run), paired(sides)) for run in runs],
        "num_open": NUM_OPEN,
        "steps": range(-STEPS, STEPS + 1),
        "preset": preset,
        "settings": settings,
    }
    for section, charts in sections.items():
        page[section] = [drawing(chart, runs) for chart in charts]
    return environment.get_template("report.html.j2").render(page)


def fact(run: Recorded, named: bool) -> str:
    """A line about a run: its progress and its length."""
    iterations, tokens = (
        max((row.get(name, 0) for row in run.metrics), default=0)
        for name in ("iteration", "global_step")
    )
    epochs = max((row.get("pretrain/epoch", 0) for row in run.metrics), default=0)
    done = f"{epochs:,} epochs of pretraining, {iterations:,} iterations, {tokens:,} tokens"
    return f"{run.name}: {done}" if named else done


def verdict(run: Recorded) -> Verdict:
    """The last words of `seqgan train`, from `results.json`."""
    if run.results is None:
        sentence = "The run has no end: it was stopped, or is still going."
        return Verdict(run.name, (("unfinished", "unfinished"),), (sentence,))
    results = run.results
    word = results["comparison"]["verdict"]
    badges = (*reward_badges(results), (word, BADGES[word]))
    table = stored_table(results)
    numbers = [number_row(table, index, results) for index in range(len(table.columns))]
    heads = tuple(name for name, _ in table.rows)
    return Verdict(run.name, badges, tuple(closing_sentences(results)), heads, tuple(numbers))


def number_row(table: Table, index: int, results: Row) -> NumberRow:
    """A metric of the final table, with the metric list's words on it."""
    name, listed = table.metrics[index], find_metric(table.metrics[index])
    unit, meaning = listed.unit, listed.meaning
    if name == f"eval/{results['comparison']['quality']}":
        unit = results["comparison"].get("unit", unit)
    sign = arrow(table.better[index], None)
    cells = tuple(zip(table.cells(index), table.best(index), strict=True))
    return NumberRow(f"{table.columns[index]} {sign}".rstrip(), unit, meaning, cells)


def reward_badges(results: Row) -> list[tuple[str, str]]:
    """The change of each of the run's own rewards; none in runs of older versions."""
    badges = []
    for name in results.get("about", {}).get("rewards", ()):
        if name in results["rewards"]:
            low, high = results["rewards"][name]["interval"] or (-math.inf, math.inf)
            kind = "better" if low > 0 else "worse" if high < 0 else "level"
            words = {"better": "rose", "worse": "fell", "level": "is level"}
            badges.append((kind, f"reward {name} {words[kind]}"))
    return badges


def missing(run: Recorded) -> list[str]:
    """A sentence for each part that the report lacks."""
    sentences = list(run.missing)
    if not adversary_charts([run]):
        sentences.append("No discriminator was in this run, so there is no balance of adversaries.")
    if hint := font_hint(run):
        sentences.append(f"In report.png some characters are numbers. {hint}")
    if early_and_late(run, "action_value") is None:
        sentences.append("No values by position were recorded (histograms.jsonl).")
    sides = before_and_after(run)
    if sides and all(side.scale is None for side in sides):
        sentences.append(
            "No values of tokens were recorded: the samples are shown without colours."
        )
    if run.machine is None:
        sentences.append("The machine and the versions were not recorded (machine.json).")
    return sentences


def drawing(chart: Chart, runs: Sequence[Recorded]) -> Drawing:
    """A chart of metrics with the metric list's words on it."""
    listed = [(curve.metric, find_metric(curve.metric)) for curve in chart.curves]
    return Drawing(
        chart.heading,
        picture(partial(draw_chart, chart=chart, runs=runs)),
        curves_in_words(chart, runs),
        tuple((name, metric.healthy) for name, metric in listed if metric.name != OWN),
    )


def frontier(runs: Sequence[Recorded]) -> Drawing | None:
    """Quality against held-out NLL; None where no run has an end."""
    if not any(frontier_series(run, 0) for run in runs):
        return None
    ended = [run.results for run in runs if run.results is not None]
    description = "; ".join(str(results["comparison"]["sentence"]) for results in ended)
    source = picture(partial(draw_frontier, runs=runs))
    return Drawing("Quality against held-out NLL", source, description)


def position_drawings(runs: Sequence[Recorded]) -> list[Drawing]:
    """Charts of the tokens' values and of their advantages, by position."""
    drawings = []
    for run in runs:
        for value, title, label in (
            ("action_value", "Value of a token", "action value (reward)"),
            ("advantage", "Advantage of a token", "advantage (reward)"),
        ):
            periods = early_and_late(run, value)
            if periods is not None:
                title = f"{title}: {run.name}" if len(runs) > 1 else title
                source = picture(partial(draw_positions, periods=periods, label=label))
                drawings.append(Drawing(title, source, positions_in_words(periods)))
    return drawings


def picture(draw: Callable[[Axes], None]) -> str:
    """The address of an SVG, the picture itself, of what `draw` puts on its axes."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=SIZE, layout="constrained")
        axes = figure.add_subplot()
        draw(axes)
        axes.set_title("")  # the page has it as text
        file = io.BytesIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    return f"data:image/svg+xml;base64,{base64.b64encode(file.getvalue()).decode()}"
