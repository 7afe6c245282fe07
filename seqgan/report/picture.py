"""One picture of a finished run: `report.png`, from the files in its folder alone."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from seqgan.report.charts import drawable, drawable_name, font_families, plain_style, undrawable
from seqgan.report.curves import (
    ACCURACY,
    DIVERSITY,
    INFORMATION,
    PRETRAINING,
    Chart,
    draw_chart,
    draw_frontier,
    frontier_series,
    present,
    quality_chart,
)
from seqgan.report.recorded import Recorded, read_run
from seqgan.system.files import writing

NUM_SAMPLES = 5
MAX_CHARACTERS = 140
PACKAGE = "fonts-noto-cjk"
SCRIPTS_OF_PACKAGE = (
    "CJK",
    "IDEOGRAPHIC",
    "FULLWIDTH",
    "HIRAGANA",
    "KATAKANA",
    "HANGUL",
    "BOPOMOFO",
)


def draw_report(folder: Path) -> Path:
    """Draws learning curves, the comparison with MLE, and samples before and after.

    Args:
        folder: of a finished run.

    Returns:
        The picture, `report.png` in the folder.
    """
    run = read_run(folder)
    style: Any = {
        **plain_style(),
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(14, 9.5), layout="constrained")
        grid = figure.add_gridspec(3, 3, height_ratios=[1, 1, 0.9])
        _chart(figure.add_subplot(grid[0, 0]), PRETRAINING, run)
        if frontier_series(run, 0):
            draw_frontier(figure.add_subplot(grid[0, 1]), [run])
        _chart(figure.add_subplot(grid[0, 2]), ACCURACY, run)
        _chart(figure.add_subplot(grid[1, 0]), quality_chart([run]), run)
        _chart(figure.add_subplot(grid[1, 1]), DIVERSITY, run)
        _chart(figure.add_subplot(grid[1, 2]), INFORMATION, run)
        _texts(figure.add_subplot(grid[2, :]), run)
        target = folder / "report.png"
        with writing(target) as temporary:
            about = {"Title": drawable_name(folder.name)}
            FigureCanvasAgg(figure).print_png(temporary, metadata=about)
    return target


def _chart(axes: Axes, chart: Chart | None, run: Recorded) -> None:
    """A chart, or its empty place with a word where the run has nothing to show in it."""
    kept = present([chart], [run]) if chart is not None else []
    for drawn in kept:
        draw_chart(axes, drawn, [run])
    if not kept:
        axes.set_title(chart.title if chart is not None else "Quality")
        axes.axis("off")
        axes.text(0.5, 0.5, "not in this run", ha="center", transform=axes.transAxes)


def _texts(axes: Axes, run: Recorded) -> None:
    axes.axis("off")
    families = font_families()
    lines = []
    for when, rows in zip(("before", "after"), run.batches(), strict=True):
        lines.append(f"Samples {when} the game")
        for row in rows[:NUM_SAMPLES]:
            prompt = f"{_short(str(row['prompt']), families)} => " if row.get("prompt") else ""
            lines.append("    " + prompt + _short(str(row["text"]), families))
    if hint := font_hint(run):
        lines += ["", hint]
    # A wide script may run over the edge; the layout would shrink every other axes to fit it in.
    axes.text(
        0, 1, "\n".join(lines), va="top", fontsize=9, transform=axes.transAxes, in_layout=False
    )


def font_hint(run: Recorded) -> str:
    """The package with a font that the picture of a run lacks; empty where none is known."""
    families = font_families()
    texts = [str(row["text"]) for rows in run.batches() for row in rows[:NUM_SAMPLES]]
    for character in undrawable(" ".join(texts), families):
        if unicodedata.name(character, "").startswith(SCRIPTS_OF_PACKAGE):
            return (
                f"No font here has {drawable(character, families)}, for one: Chinese, Japanese and"
                f" Korean take a font, such as those of Debian's and Ubuntu's package {PACKAGE}."
            )
    return ""


def _short(text: str, families: Sequence[str]) -> str:
    """One line of a picture."""
    shown = " ".join(drawable(text, families).split())
    return shown if len(shown) <= MAX_CHARACTERS else f"{shown[:MAX_CHARACTERS]} ..."
