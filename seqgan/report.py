"""One picture of a finished run: `report.png`, from the files in its folder alone."""

import json
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from seqgan.charts import BLUE, GREEN, GREY, ORANGE, QUALITY_LABELS, drawable, font_families

NUM_SAMPLES = 5
MAX_CHARACTERS = 110


def draw_report(folder: Path) -> Path:
    """Draws learning curves, the comparison with MLE, and samples before and after.

    Args:
        folder: of a finished run; its `metrics.jsonl`, `samples.jsonl` and `results.json` are read.

    Returns:
        The picture, `report.png` in the folder.
    """
    metrics = _lines(folder / "metrics.jsonl")
    samples = _lines(folder / "samples.jsonl")
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    family = font_families()
    with matplotlib.rc_context({"font.family": family, "axes.spines.top": False}):
        figure = Figure(figsize=(11, 9), layout="constrained")
        grid = figure.add_gridspec(3, 2, height_ratios=[1, 1, 0.9])
        _pretraining(figure.add_subplot(grid[0, 0]), metrics)
        _frontier(figure.add_subplot(grid[0, 1]), results)
        _game(figure.add_subplot(grid[1, 0]), metrics, results["comparison"]["quality"])
        _adversary(figure.add_subplot(grid[1, 1]), metrics)
        _texts(figure.add_subplot(grid[2, :]), samples)
        target = folder / "report.png"
        FigureCanvasAgg(figure).print_png(target, metadata={"Title": folder.name})
    return target


def _pretraining(axes: Axes, metrics: list[dict[str, Any]]) -> None:
    epochs = [row for row in metrics if "pretrain/epoch" in row]
    x = [row["pretrain/epoch"] for row in epochs]
    axes.plot(
        x, [row["pretrain/nll_train"] for row in epochs], color=GREY, label="train (dropout on)"
    )
    axes.plot(x, [row["pretrain/nll_dev"] for row in epochs], color=BLUE, label="dev")
    axes.set(title="Pretraining", xlabel="epoch", ylabel="NLL (nats per token)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False)


def _frontier(axes: Axes, results: dict[str, Any]) -> None:
    quality = results["comparison"]["quality"]
    key = f"eval/{quality}"
    curve = sorted((float(t), row) for t, row in results["curve"].items())
    points = [(row[key], row["eval/nll_heldout"], t) for t, row in curve]
    axes.plot(
        [p[0] for p in points],
        [p[1] for p in points],
        "o-",
        color=BLUE,
        label="MLE, by temperature",
    )
    for x, y, temperature in points:
        axes.annotate(
            f"{temperature:g}", (x, y), textcoords="offset points", xytext=(5, 5), fontsize=8
        )
    final = results["final"]
    axes.plot(
        final[key], final["eval/nll_heldout"], "*", color=ORANGE, markersize=15, label="after game"
    )
    axes.set(
        title="Quality against held-out NLL (lower is better)",
        xlabel=QUALITY_LABELS.get(quality, f"{quality} (share of samples)"),
        ylabel="held-out NLL (nats per token)",
    )
    axes.legend(frameon=False)


def _game(axes: Axes, metrics: list[dict[str, Any]], quality: str) -> None:
    rows = [row for row in metrics if f"eval/{quality}" in row and "iteration" in row]
    x = [row["iteration"] for row in rows]
    axes.plot(x, [row["eval/nll_heldout"] for row in rows], "o-", color=BLUE)
    axes.set(title="The game", xlabel="iteration")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("held-out NLL (nats per token)", color=BLUE)
    other = axes.twinx()
    other.plot(x, [row[f"eval/{quality}"] for row in rows], "s--", color=ORANGE)
    other.set_ylabel(QUALITY_LABELS.get(quality, quality), color=ORANGE)


def _adversary(axes: Axes, metrics: list[dict[str, Any]]) -> None:
    name = "discriminator/information_heldout"
    rows = [row for row in metrics if name in row and "eval/entropy" in row]
    axes.set(
        title="What the discriminator knows about unseen text",
        xlabel="iteration",
        ylabel="held-out information (nats)",
    )
    axes.axhline(0, color=GREY, linewidth=1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    if not rows:
        axes.text(0.5, 0.5, "no discriminator", ha="center", transform=axes.transAxes)
        return
    axes.errorbar(
        [row["iteration"] for row in rows],
        [row[name] for row in rows],
        yerr=[2 * row[f"{name}_error"] for row in rows],
        fmt="o-",
        color=GREEN,
        capsize=3,
        label="with 2 standard errors",
    )
    axes.legend(frameon=False)


def _texts(axes: Axes, samples: list[dict[str, Any]]) -> None:
    axes.axis("off")
    families = font_families()
    lines = []
    for phase in ("before the game", "after the game"):
        texts = [row["text"] for row in samples if row["phase"] == phase][:NUM_SAMPLES]
        lines.append(f"Samples {phase}")
        for text in texts:
            shown = drawable(text, families)
            short = shown if len(shown) <= MAX_CHARACTERS else f"{shown[:MAX_CHARACTERS]} ..."
            # A dollar sign would start a formula.
            lines.append("    " + short.replace("$", r"\$"))
    # A wide script may run over the edge; the layout would shrink every other axes to fit it in.
    axes.text(
        0, 1, "\n".join(lines), va="top", fontsize=9, transform=axes.transAxes, in_layout=False
    )


def _lines(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]
