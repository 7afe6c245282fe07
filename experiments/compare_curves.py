"""Which generators beat the MLE curve, by a table of points over temperatures and seeds.

Each generator's curve is set against that of the MLE generator of its seed: the mean difference of
held-out NLL at equal quality, over the qualities that both reach. Quality is the score under a
language model, and the Frechet distance. The interval is Student's, over seeds.

    python experiments/compare_curves.py --table results/pretrained_adversary.csv

The table has the columns model, seed, temperature and one for each axis, and rows of model `MLE`
for each seed. Writes the differences, and a picture of the seeds' mean beside them.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from seqgan.evaluation.axes import NATS, NLL_HELDOUT, Axis
from seqgan.evaluation.planes.curves import Line, common_range, gap, mean_over_runs
from seqgan.evaluation.planes.points import Panel
from seqgan.report.frontier_chart import Series, frontier_figure

CONTROL = "MLE"
QUALITIES = (
    Axis("lm_score", "language-model score", NATS, False),
    Axis("frechet_wordllama", "Frechet distance", "WordLlama", False),
)
Points = dict[tuple[str, str], list[dict[str, str]]]  # by model and seed, in order of temperature


@dataclass(frozen=True)
class Settings:
    table: Path = Path("results/pretrained_adversary.csv")  # CSV file of points
    results: Path = Path("results/compare_curves.csv")  # CSV file to write, a picture beside it


def read_points(path: Path) -> Points:
    points: Points = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            points.setdefault((row["model"], row["seed"]), []).append(row)
    return points


def goodness(points: list[dict[str, str]], axis: Axis) -> np.ndarray:
    return axis.sign * np.array([float(point[axis.name]) for point in points])


def difference(points: Points, model: str, seed: str, panel: Panel) -> float:
    """Held-out NLL less MLE's at equal quality, nats per token."""
    pair = [
        [Line(goodness(some, panel.quality), goodness(some, panel.diversity))]
        for some in (points[model, seed], points[CONTROL, seed])
    ]
    return panel.diversity.sign * float(gap(*pair, common_range(*pair)).mean)


def sentence(points: Points, model: str, found: np.ndarray, panel: Panel) -> str:
    text = f"{model}, held-out NLL at equal {panel.quality.title} less MLE's: {found.round(4)}"
    best = [
        [max(goodness(some, panel.quality)) for (name, _), some in points.items() if name == which]
        for which in (model, CONTROL)
    ]
    own, controls = (panel.quality.sign * np.mean(values) for values in best)
    text = f"{text}; best {panel.quality.title} {own:.4f}, MLE's {controls:.4f}"
    if len(found) < 2:
        return text
    mean = mean_over_runs(panel.diversity.sign * found)
    low, high = sorted(panel.diversity.sign * end for end in mean.interval)
    return f"{text}, mean {found.mean():+.4f} (95% {low:+.4f} to {high:+.4f}): {mean.place}"


def mean_curve(points: Points, number: int, model: str, panel: Panel) -> Series:
    curves = [some for (name, _), some in points.items() if name == model]
    quality, diversity = (
        axis.sign * np.mean([goodness(some, axis) for some in curves], axis=0)
        for axis in (panel.quality, panel.diversity)
    )
    notes = tuple(point["temperature"] for point in curves[0])
    kind = "run" if number else "control"
    return Series(model, kind, quality, diversity, max(number - 1, 0), notes=notes)


def main(settings: Settings) -> None:
    points = read_points(settings.table)
    models = dict.fromkeys(model for model, _ in points if model != CONTROL)
    rows, planes = [], []
    for panel in (Panel(quality, NLL_HELDOUT) for quality in QUALITIES):
        for model in models:
            seeds = [seed for name, seed in points if name == model]
            found = np.array([difference(points, model, seed, panel) for seed in seeds])
            print(sentence(points, model, found, panel))
            rows += [
                {"quality": panel.quality.name, "model": model, "seed": seed, "difference": value}
                for seed, value in zip(seeds, found, strict=True)
            ]
        series = [
            mean_curve(points, number, model, panel)
            for number, model in enumerate((CONTROL, *models))
        ]
        planes.append((panel, series, "mean over seeds"))
    settings.results.parent.mkdir(parents=True, exist_ok=True)
    with settings.results.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    frontier_figure(planes).savefig(settings.results.with_suffix(".png"), dpi=120)
    print(f"written: {settings.results}")


if __name__ == "__main__":
    main(tyro.cli(Settings, description=__doc__))
