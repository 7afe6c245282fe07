"""The runs of a frontier, opened: their generators, and tilted models of these."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from seqgan.data.vocabulary import Vocabulary
from seqgan.system.errors import ConfigurationError
from seqgan.tasks.base import Task, heldout_prompts
from seqgan.training.run_folders import RunFolder
from seqgan.training.runs import (
    GENERATOR,
    RestoredRun,
    TrainedGenerator,
    check_task,
    checkpoint_state,
    edits,
    open_run,
    restored_generator,
    same_words,
    usable,
)
from seqgan.training.settings import TrainConfig
from seqgan.training.tilting import RunSampler, SamplerSettings, build_sampler

MLE, AFTER = "MLE", "after the game"


@dataclass(frozen=True)
class OpenedRun:
    """A run's generators: `MLE`, the pretrained one, and `AFTER` it, if the game has begun.

    Args:
        samplers: of each of them, tilted by a reward; by its name in the picture.
    """

    name: str
    path: Path
    config: TrainConfig
    vocabulary: Vocabulary
    generators: dict[str, TrainedGenerator]
    samplers: dict[str, RunSampler] = field(default_factory=dict)


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


def with_samplers(
    run: OpenedRun,
    settings: SamplerSettings,
    task: Task,
    num_texts: int,
    seed: int,
    trust_run_code: bool = False,
) -> OpenedRun:
    """The run with a tilted model of each of its generators.

    Args:
        num_texts: texts that will be drawn.
        seed: of the texts that a twist is learnt from.

    Raises:
        ConfigurationError, DataError: as `build_sampler` and `usable`; or best-of-n is asked for.
    """
    if not settings.way.has_likelihood:
        raise ConfigurationError(
            f"--sampler {settings.kind} has no held-out likelihood, and so no point in the plane;"
            " resample, reject and smc have"
        )
    folder = RunFolder(run.path)
    settings = settings.of_run(folder, run.config, trust_run_code)
    config = usable(folder, run.config, settings.reads, run.config.device)
    _, state = checkpoint_state(folder)
    prompts = heldout_prompts(task, num_texts, config.device)
    rng = torch.Generator().manual_seed(seed)
    samplers = {
        f"{which}, {settings.way.suffix}": build_sampler(
            settings,
            RestoredRun(folder, config, state, trained, which == MLE),
            rng,
            prompts,
            task,
            trust_run_code=trust_run_code,
        )
        for which, trained in run.generators.items()
    }
    return replace(run, samplers=samplers)


def _opened(path: Path, name: str, device: str | None, trust_run_code: bool) -> OpenedRun:
    folder, config = open_run(path, trust_run_code)
    config = usable(folder, config, (*GENERATOR, "task"), device)
    _, state = checkpoint_state(folder)
    pretrained = restored_generator(folder, config, state, "pretrained")
    generators = {MLE: pretrained}
    if state["players"]["position"]["iteration"] > 0:
        generators[AFTER] = restored_generator(folder, config, state)
    return OpenedRun(name, path, config, pretrained.vocabulary, generators)
