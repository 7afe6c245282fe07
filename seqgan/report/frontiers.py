"""The quality-diversity frontier of runs: measured, judged against MLE, and as rows and curves."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seqgan.decoding.measured import measure_tilted_point
from seqgan.evaluation.measure import heldout_texts
from seqgan.evaluation.planes.curves import MeanStanding, mean_over_runs
from seqgan.evaluation.planes.points import PLAIN, Panel, Point, measure_point
from seqgan.evaluation.planes.published import PublishedCurve
from seqgan.evaluation.planes.verdict import Comparison, compare, mean_sentence, plain_mean
from seqgan.models.sampling import Sampling
from seqgan.report.charts import drawable_name
from seqgan.report.frontier_chart import Kind, Series, generator_series, published_series
from seqgan.report.frontier_runs import AFTER, MLE, OpenedRun
from seqgan.system.nested import flat
from seqgan.tasks.base import Task
from seqgan.tracking.progress import Progress
from seqgan.training.config_files import plain_settings
from seqgan.training.settings import TrainConfig

HEADINGS = {
    "better": "above the MLE curve",
    "level": "on the MLE curve",
    "worse": "under the MLE curve",
    "mixed": "above the MLE curve in part, under it in part",
    "unknown": "no point beside MLE's",
}
# Settings in which runs of one method may differ.
INCIDENTAL = (
    "seed",
    "output",
    "device",
    "threads",
    "checkpoint_seconds",
    "checkpoint_keep",
    "reward_retries",
    "reward_pause",
    "reward_seconds",
    "reward_in_flight",
    "evaluation",
    "tracker",
)


@dataclass(frozen=True)
class MeasuredRun:
    """A run's points, by its generators; all of them on the same held-out texts."""

    name: str
    path: Path
    config: TrainConfig
    points: dict[str, list[Point]]

    @property
    def played(self) -> bool:
        return AFTER in self.points


@dataclass(frozen=True)
class Judgement:
    """The verdicts of a plane on one generator of every run that has it, by the run's name.

    Args:
        which: the generator: `AFTER`, or a tilted one.
    """

    panel: Panel
    which: str
    comparisons: dict[str, Comparison]
    mean: MeanStanding | None  # over runs that differ in their seed alone
    no_mean: str = ""  # why there is none over several runs


def measure_run(
    run: OpenedRun,
    task: Task,
    samplings: Sequence[Sampling],
    num_texts: int,
    seeds: Sequence[int],
    planes: Sequence[Panel],
    progress: Progress,
    betas: Sequence[float] = (),
) -> MeasuredRun:
    """Measures every generator of the run under each way to sample it.

    Args:
        betas: of the tilted ones.
        num_texts: drawn for each point, and at most as many held-out ones.
        seeds: together the seed of all draws; other runs have others.
        planes: of the task; a point has what they show.
    """
    heldout = heldout_texts(task, num_texts, run.config.device)
    points: dict[str, list[Point]] = {}
    number = 0

    def start(which: str, steps: int) -> torch.Generator:
        nonlocal number
        state = np.random.SeedSequence([*seeds, number]).generate_state(1)
        number += 1
        progress.phase(f"{run.name}: {which}", steps)
        points[which] = []
        return torch.Generator().manual_seed(int(state[0]))

    for which, trained in run.generators.items():
        rng = start(which, len(samplings))
        for sampling in samplings:
            points[which].append(
                measure_point(trained.generator, task, heldout, num_texts, rng, sampling, planes)
            )
            progress.advance(1, {"temperature": sampling.temperature, "top_p": sampling.top_p})
    for which, sampler in run.samplers.items():
        rng = start(which, len(betas))
        for beta in betas:
            tilted = sampler.at(beta).sampler
            points[which].append(
                measure_tilted_point(tilted, task, heldout, num_texts, rng, planes)
            )
            progress.advance(1, {"beta": beta})
    return MeasuredRun(run.name, run.path, run.config, points)


def judged_generators(runs: Sequence[MeasuredRun]) -> list[str]:
    """The names of all generators that are compared with MLE."""
    return list(dict.fromkeys(which for run in runs for which in run.points if which != MLE))


def judge_runs(
    runs: Sequence[MeasuredRun], panel: Panel, seed: int, which: str = AFTER
) -> Judgement:
    """A generator of every run that has it beside the run's own control, and the mean over them."""
    played = [run for run in runs if which in run.points]
    comparisons = {
        run.name: compare(
            run.points[which],
            run.points[MLE],
            panel,
            run.name if which == AFTER else f"{run.name}: {which}",
            seed + number,
        )
        for number, run in enumerate(played)
    }
    if len(played) < 2:
        return Judgement(panel, which, comparisons, None)
    known = [one.standing for one in comparisons.values() if one.standing is not None]
    configs = [run.config for run in played]
    if differing := _differing_settings(configs):
        return Judgement(
            panel, which, comparisons, None, f"they differ in {', '.join(differing[:3])}"
        )
    if len({config.seed for config in configs}) < len(configs):
        return Judgement(
            panel, which, comparisons, None, "some have the same seed, and are one run twice"
        )
    if len(known) < len(played):
        return Judgement(panel, which, comparisons, None, "some have no point in the plane")
    mean = mean_over_runs(np.array([standing.difference for standing in known]))
    return Judgement(panel, which, comparisons, mean)


def sentences(judgement: Judgement) -> list[str]:
    """A sentence for each run that has the generator, and one for their mean."""
    words = [comparison.sentence for comparison in judgement.comparisons.values()]
    if judgement.mean is not None:
        subject = "the game" if judgement.which == AFTER else judgement.which
        words.append(mean_sentence(judgement.mean, judgement.panel, subject))
    elif judgement.no_mean:
        words.append(f"No mean is taken over the runs: {judgement.no_mean}.")
    return words


def verdict_rows(judgement: Judgement) -> list[dict[str, Any]]:
    """The verdicts of a plane as JSON-able values, a row for each run and one for the mean."""
    panel = judgement.panel
    rows = [{"run": name, **one.plain()} for name, one in judgement.comparisons.items()]
    if judgement.mean is not None:
        rows.append({"run": None, **plain_mean(judgement.mean, panel)})
    axes = {"quality": panel.quality.name, "diversity": panel.diversity.name}
    axes["generator"] = judgement.which
    return [{**axes, **row} for row in rows]


def heading(judgement: Judgement) -> str:
    """The verdicts of a plane on a generator in a few words."""
    what = "" if judgement.which == AFTER else f"{judgement.which}, "
    if (mean := judgement.mean) is not None:
        return f"{what}mean of {mean.num_runs} runs: {mean.place} the MLE curve"
    words = []
    for name, comparison in judgement.comparisons.items():
        standing = comparison.standing
        further = standing is not None and standing.further == "above"
        more = ", and reaches further" if further else ""
        words.append(f"{drawable_name(name)}: {what}{HEADINGS[comparison.verdict]}{more}")
    return "\n".join(words)


def series(
    runs: Sequence[MeasuredRun], panel: Panel, published: Sequence[PublishedCurve]
) -> list[Series]:
    """The curves of a plane: each generator's, then published ones."""
    curves = []
    for number, run in enumerate(runs):
        for which, points in run.points.items():
            kind: Kind = "control" if which == MLE else "run" if which == AFTER else "tilted"
            drawn = generator_series(f"{run.name}: {which}", kind, points, panel, number)
            tilted_game = kind == "tilted" and which.startswith(AFTER)
            curves += [replace(one, hollow=one.hollow or tilted_game) for one in drawn]
    return curves + published_series(published, panel)


def point_rows(runs: Sequence[MeasuredRun]) -> list[dict[str, Any]]:
    """A row for each point, with the columns that `read_points` reads; None: not defined."""
    points = [point for run in runs for points in run.points.values() for point in points]
    metrics = dict.fromkeys(name for point in points for name in point.rates)
    knobs = [name for name in PLAIN if name != "beta" or any(p.knob.name == name for p in points)]
    rows = []
    for run in runs:
        for which, of_generator in run.points.items():
            for point in of_generator:
                by = ", by top-p" if point.knob.name == "top_p" else ""
                values = {name: PLAIN[name] for name in knobs} | {point.knob.name: point.knob.value}
                places = {n: value if math.isfinite(value) else None for n, value in values.items()}
                row = {"model": f"{run.name}: {which}{by}"} | places
                rows.append(row | dict.fromkeys(metrics) | point.values)
    return rows


def untold(runs: Sequence[MeasuredRun], panel: Panel) -> list[str]:
    """A sentence for each tilted model with places where log Z is not to be trusted."""
    words = []
    for run in runs:
        for which, points in run.points.items():
            lacking = [
                f"{point.knob.value:g}"
                for point in points
                if point.knob.name == "beta" and panel.diversity.name not in point.rates
            ]
            if lacking:
                words.append(
                    f"{run.name}: {which} has no {panel.diversity.title} at beta"
                    f" {', '.join(lacking)}: too few proposals count to trust log Z (--of N draws"
                    " more)."
                )
    return words


def _differing_settings(configs: Sequence[TrainConfig]) -> tuple[str, ...]:
    """Settings that are not equal in all runs, but for those that say nothing of the method."""
    settings = [flat(plain_settings(config)) for config in configs]
    return tuple(
        name
        for name in dict.fromkeys(name for one in settings for name in one)
        if name.partition(".")[0] not in INCIDENTAL
        and any(one.get(name) != settings[0].get(name) for one in settings)
    )
