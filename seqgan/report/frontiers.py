"""The quality-diversity frontier of runs: measured, judged against MLE, and as rows and curves."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from seqgan.data.vocabulary import Vocabulary
from seqgan.evaluation.measure import heldout_texts
from seqgan.evaluation.planes.curves import MeanStanding, mean_over_runs
from seqgan.evaluation.planes.points import Panel, Point, measure_point
from seqgan.evaluation.planes.published import PublishedCurve
from seqgan.evaluation.planes.verdict import Comparison, compare, mean_sentence, plain_mean
from seqgan.models.generators.base import Generator
from seqgan.models.sampling import Sampling
from seqgan.report.charts import drawable_name
from seqgan.report.frontier_chart import Kind, Series, generator_series, published_series
from seqgan.system.errors import ConfigurationError
from seqgan.system.nested import flat
from seqgan.tasks.base import Task
from seqgan.tracking.progress import Progress
from seqgan.training.config_files import plain_settings
from seqgan.training.run_folders import RunFolder
from seqgan.training.run_task import same_words
from seqgan.training.runs import (
    GENERATOR,
    check_task,
    checkpoint_state,
    edits,
    load_generator,
    open_run,
    usable,
)
from seqgan.training.settings import TrainConfig

MLE, AFTER = "MLE", "after the game"
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
    "reward_retries",
    "reward_pause",
    "reward_seconds",
    "reward_in_flight",
    "evaluation",
    "tracker",
)


@dataclass(frozen=True)
class OpenedRun:
    """A run's generators: `MLE`, the pretrained one, and `AFTER` it, if the game has begun."""

    name: str
    path: Path
    config: TrainConfig
    vocabulary: Vocabulary
    generators: dict[str, Generator]


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
    """The verdicts of a plane on runs that played the game, by name."""

    panel: Panel
    comparisons: dict[str, Comparison]
    mean: MeanStanding | None  # over runs that differ in their seed alone
    no_mean: str = ""  # why there is none over several runs


def open_runs(
    paths: Sequence[Path], device: str | None = None, trust_run_code: bool = False
) -> list[OpenedRun]:
    """Runs of one task, named by their folders.

    Args:
        device: where all compute; None for each run's, or for one that is here.
        trust_run_code: runs the code that their settings name.

    Raises:
        ConfigurationError: a folder is no run or is given twice, or the runs have different tasks.
        CheckpointError: a run has no intact checkpoint.
    """
    resolved = [path.resolve() for path in paths]
    for index, path in enumerate(resolved):
        if path in resolved[:index]:
            raise ConfigurationError(f"the run {paths[index]} is given twice")
    names = [path.name for path in resolved]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    runs = [
        _opened(path, name, device, trust_run_code) for path, name in zip(paths, names, strict=True)
    ]
    for other in runs[1:]:
        for name, one, another in edits(RunFolder(runs[0].path), runs[0].config, other.config):
            if name.startswith("task."):
                raise ConfigurationError(
                    f"{runs[0].path} has {name} {one!r} and {other.path} has {another!r},"
                    " but only runs of one task can be compared"
                )
    return runs


def common_task(runs: Sequence[OpenedRun]) -> Task:
    """The task of runs that `open_runs` gave.

    Raises:
        ConfigurationError: it cannot be built, or has become another since a run was made.
    """
    config = runs[0].config
    task = config.task.build(config.generator)
    for run in runs:
        if not same_words(run.vocabulary, task.vocabulary):
            raise ConfigurationError(
                f"{run.path} was made with a vocabulary of {len(run.vocabulary.words)}"
                f" words, but its task now has another of {len(task.vocabulary.words)}; a"
                " run must be measured on the task it was made for"
            )
        check_task(RunFolder(run.path), task)
    return task


def measure_run(
    run: OpenedRun,
    task: Task,
    samplings: Sequence[Sampling],
    num_texts: int,
    seeds: Sequence[int],
    planes: Sequence[Panel],
    progress: Progress,
) -> MeasuredRun:
    """Measures every generator of the run under each way to sample it.

    Args:
        num_texts: drawn for each point, and at most as many held-out ones.
        seeds: together the seed of all draws; other runs have others.
        planes: of the task; a point has what they show.
    """
    heldout = heldout_texts(task, num_texts, run.config.device)
    points: dict[str, list[Point]] = {}
    for number, (which, generator) in enumerate(run.generators.items()):
        state = np.random.SeedSequence([*seeds, number]).generate_state(1)
        rng = torch.Generator().manual_seed(int(state[0]))
        progress.phase(f"{run.name}: {which}", len(samplings))
        points[which] = []
        for sampling in samplings:
            points[which].append(
                measure_point(generator, task, heldout, num_texts, rng, sampling, planes)
            )
            progress.advance(1, {"temperature": sampling.temperature, "top_p": sampling.top_p})
    return MeasuredRun(run.name, run.path, run.config, points)


def judge_runs(runs: Sequence[MeasuredRun], panel: Panel, seed: int) -> Judgement:
    """Every run that was played beside its own control, and the mean over them."""
    played = [run for run in runs if run.played]
    comparisons = {
        run.name: compare(run.points[AFTER], run.points[MLE], panel, run.name, seed + number)
        for number, run in enumerate(played)
    }
    if len(played) < 2:
        return Judgement(panel, comparisons, None)
    known = [one.standing for one in comparisons.values() if one.standing is not None]
    configs = [run.config for run in played]
    if differing := _differing_settings(configs):
        return Judgement(panel, comparisons, None, f"they differ in {', '.join(differing[:3])}")
    if len({config.seed for config in configs}) < len(configs):
        return Judgement(panel, comparisons, None, "some have the same seed, and are one run twice")
    if len(known) < len(played):
        return Judgement(panel, comparisons, None, "some have no point in the plane")
    mean = mean_over_runs(np.array([standing.difference for standing in known]))
    return Judgement(panel, comparisons, mean)


def sentences(judgement: Judgement) -> list[str]:
    """A sentence for each run that was played, and one for their mean."""
    words = [comparison.sentence for comparison in judgement.comparisons.values()]
    if judgement.mean is not None:
        words.append(mean_sentence(judgement.mean, judgement.panel))
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
    return [{**axes, **row} for row in rows]


def heading(judgement: Judgement) -> str:
    """The verdicts of a plane in a few words."""
    if (mean := judgement.mean) is not None:
        return f"mean of {mean.num_runs} runs: {mean.place} the MLE curve"
    words = []
    for name, comparison in judgement.comparisons.items():
        standing = comparison.standing
        further = standing is not None and standing.further == "above"
        more = ", and reaches further" if further else ""
        words.append(f"{drawable_name(name)}: {HEADINGS[comparison.verdict]}{more}")
    return "\n".join(words)


def series(
    runs: Sequence[MeasuredRun], panel: Panel, published: Sequence[PublishedCurve]
) -> list[Series]:
    """The curves of a plane: each generator's, then published ones."""
    curves = []
    for number, run in enumerate(runs):
        for which, points in run.points.items():
            kind: Kind = "control" if which == MLE else "run"
            curves += generator_series(f"{run.name}: {which}", kind, points, panel, number)
    return curves + published_series(published, panel)


def point_rows(runs: Sequence[MeasuredRun]) -> list[dict[str, Any]]:
    """A row for each point, with the columns that `read_points` reads; None: not defined."""
    metrics = dict.fromkeys(
        name for run in runs for points in run.points.values() for p in points for name in p.rates
    )
    return [
        {
            "model": f"{run.name}: {which}" + (", by top-p" if point.knob.name == "top_p" else ""),
            "temperature": point.knob.on("temperature") or 1.0,
            "top_p": point.knob.on("top_p") or 1.0,
        }
        | dict.fromkeys(metrics)
        | point.values
        for run in runs
        for which, points in run.points.items()
        for point in points
    ]


def _opened(path: Path, name: str, device: str | None, trust_run_code: bool) -> OpenedRun:
    folder, config = open_run(path, trust_run_code)
    config = usable(folder, config, (*GENERATOR, "task"), device)
    pretrained = load_generator(folder, config, "pretrained")
    generators = {MLE: pretrained.generator}
    _, state = checkpoint_state(folder)
    if state["players"]["position"]["iteration"] > 0:
        generators[AFTER] = load_generator(folder, config).generator
    return OpenedRun(name, path, config, pretrained.vocabulary, generators)


def _differing_settings(configs: Sequence[TrainConfig]) -> tuple[str, ...]:
    """Settings that are not equal in all runs, but for those that say nothing of the method."""
    settings = [flat(plain_settings(config)) for config in configs]
    return tuple(
        name
        for name in dict.fromkeys(name for one in settings for name in one)
        if name.partition(".")[0] not in INCIDENTAL
        and any(one.get(name) != settings[0].get(name) for one in settings)
    )
