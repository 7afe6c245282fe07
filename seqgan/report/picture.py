"""One picture of a finished run: `report.png`, from the files in its folder alone."""

import unicodedata
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from seqgan.report.charts import drawable, drawable_name, font_families, plain_style, undrawable
from seqgan.report.curves import (
    ACCURACY,
    DIVERSITY,
    INFORMATION,
    PRETRAINING,
    Chart,
    present,
    quality_chart,
)
from seqgan.report.drawn_curves import draw_chart
from seqgan.report.recorded import Recorded, Row, read_run
from seqgan.report.run_frontier import draw_frontier, frontier_series
from seqgan.system.files import writing
from seqgan.system.terminal import wrapped

NUM_SAMPLES = 5
COLUMNS, NUM_LINES = 90, 2  # of a sample; the picture is twice as wide
MAX_CHARACTERS = 100  # of a line without spaces
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
        grid = figure.add_gridspec(3, 3, height_ratios=[0.65, 1, 1])
        _texts(figure.add_subplot(grid[0, :]), run)
        _chart(figure.add_subplot(grid[1, 0]), PRETRAINING, run)
        if frontier_series(run, 0):
            draw_frontier(figure.add_subplot(grid[1, 1]), [run])
        _chart(figure.add_subplot(grid[1, 2]), ACCURACY, run)
        _chart(figure.add_subplot(grid[2, 0]), quality_chart([run]), run)
        _chart(figure.add_subplot(grid[2, 1]), DIVERSITY, run)
        _chart(figure.add_subplot(grid[2, 2]), INFORMATION, run)
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
    """The first samples before and after the game, side by side, each pair beginning in one row.

    Without a game there is one side.
    """
    axes.axis("off")
    families = font_families()
    sides: list[list[str]] = [["Samples before the game"], ["Samples after the game"]]
    before, after = run.batches()
    if not run.played:
        sides = [["Samples after maximum likelihood"], [""]]
        before, after = after or before, []
    for pair in list(zip_longest(before, after))[:NUM_SAMPLES]:
        shown = [[] if row is None else _lines(row, families) for row in pair]
        height = max(map(len, shown))
        for side, lines in zip(sides, shown, strict=True):
            side += [*lines, *[""] * (height - len(lines))]
    if hint := font_hint(run):
        axes.text(0, 0, hint, fontsize=9, transform=axes.transAxes, in_layout=False)
    # A wide script may run over the edge; the layout would shrink every other axes to fit it in.
    for place, lines in zip((0.0, 0.51), sides, strict=True):
        text = axes.text(
            place,
            1,
            "\n".join(lines),
            va="top",
            fontsize=9,
            transform=axes.transAxes,
            in_layout=False,
        )
        text.set_clip_path(Rectangle((place, -1), 0.49, 3, transform=axes.transAxes))


def _lines(row: Row, families: Sequence[str]) -> list[str]:
    """A sample, after its prompt, in a few lines of a picture."""
    words = [str(row[name]) for name in ("prompt", "text") if row.get(name) or name == "text"]
    shown = " ".join(drawable(" => ".join(words), families).split())
    lines = wrapped(f"    {shown}", COLUMNS)
    if len(lines) > NUM_LINES:
        lines = [*lines[: NUM_LINES - 1], f"{lines[NUM_LINES - 1]} ..."]
    return [
        line if len(line) <= MAX_CHARACTERS else f"{line[:MAX_CHARACTERS]} ..." for line in lines
    ]


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
