"""Loads the texts of a comparison from runs and files."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from seqgan.data.sequences import Sequences
from seqgan.judging.study import Source, prompts_of, shuffled_parts, texts_needed
from seqgan.models.sampling import Sampling, sample
from seqgan.system.errors import ConfigurationError
from seqgan.tasks.base import Task, needs_texts
from seqgan.tasks.files.text_files import read_texts
from seqgan.training.run_folders import RunFolder
from seqgan.training.runs import (
    GENERATOR,
    TrainedGenerator,
    check_settings,
    check_task,
    checkpoint_state,
    open_run,
    restored_run,
    usable,
)
from seqgan.training.settings import TrainConfig
from seqgan.training.tilting import RESAMPLED, SamplerSettings, build_sampler

Which = Literal["generator", "pretrained", "real"]
TILT = "+tilt"


@dataclass(frozen=True)
class WantedRun:
    """A request for a run's texts: `[NAME=]FOLDER[:pretrained|:real][@TEMPERATURE|+tilt]`."""

    name: str
    folder: Path
    which: Which = "generator"
    temperature: float = 1.0
    tilted: bool = False


@dataclass(frozen=True)
class WantedFile:
    """A request for a file's texts: `NAME=FILE`."""

    name: str
    path: Path


@dataclass(frozen=True)
class OpenedRun:
    """An open run, ready to draw texts from."""

    wanted: WantedRun
    folder: RunFolder
    config: TrainConfig
    task: Task
    tilt: tuple[SamplerSettings, bool] | None = None  # and whether the run's code is trusted


def parse_run(spec: str) -> WantedRun:
    """Parses a request for a run. The default name is the folder's name and the rest of the spec.

    If a folder's own name contains `=`, `:` or `@`, the folder wins.

    Raises:
        ConfigurationError: the spec has another form.
    """
    name, rest = "", spec
    if not Path(spec).is_dir() and "=" in spec:
        name, _, rest = spec.partition("=")
    rest = os.path.expanduser(rest)
    folder, which, temperature = rest, "generator", 1.0
    tilted = not Path(folder).is_dir() and folder.endswith(TILT)
    if tilted:
        folder = folder.removesuffix(TILT)
    if not Path(folder).is_dir() and "@" in folder:
        folder, _, number = folder.rpartition("@")
        try:
            temperature = float(number)
        except ValueError as error:
            told = f"the temperature after @ in {spec!r} is {number!r}, but must be a number"
            raise ConfigurationError(told) from error
        Sampling(temperature)
        if tilted or folder.endswith(TILT):
            raise ConfigurationError(
                f"{spec!r} has a temperature and {TILT}, which draws from the generator as it is"
            )
    if not Path(folder).is_dir() and ":" in folder:
        folder, _, which = folder.rpartition(":")
    name = name or Path(folder).resolve().name + rest.removeprefix(folder)
    match which:
        case "generator" | "pretrained":
            return WantedRun(name, Path(folder), which, temperature, tilted)
        case "real" if tilted:
            raise ConfigurationError(f"{spec!r} tilts real texts, but only a generator can be")
        case "real" if temperature == 1:
            return WantedRun(name, Path(folder), which)
        case "real":
            raise ConfigurationError(f"{spec!r} gives real texts a temperature, but they have none")
        case _:
            raise ConfigurationError(
                f"{spec!r} has {which!r} after the run's colon, but only pretrained or real"
                " can stand there"
            )


def parse_file(spec: str) -> WantedFile:
    """Parses a request for a file.

    Raises:
        ConfigurationError: the spec has another form.
    """
    name, equals, path = spec.partition("=")
    if not (name and equals and path):
        raise ConfigurationError(f"--samples is {spec!r}, but must be NAME=FILE")
    return WantedFile(name, Path(os.path.expanduser(path)))


def with_short_names(wanted: Sequence[WantedRun | WantedFile]) -> list[WantedRun | WantedFile]:
    """Shortens default names to `real` and `pretrained`, if that keeps all names distinct."""
    short = []
    for one in wanted:
        name = one.name
        if isinstance(one, WantedRun) and one.which != "generator":
            folder = one.folder.resolve().name
            if name.startswith(f"{folder}:{one.which}"):  # a default name, not the user's
                name = name.removeprefix(f"{folder}:")
        short.append(name)
    return [
        replace(one, name=name) if short.count(name) == 1 else one
        for one, name in zip(wanted, short, strict=True)
    ]


def check_names(wanted: Sequence[WantedRun | WantedFile]) -> None:
    """Checks the names of a comparison's systems.

    Raises:
        ConfigurationError: there are fewer than two systems, or two with one name.
    """
    names = [one.name for one in wanted]
    if len(names) < 2:
        raise ConfigurationError(
            f"there are {len(names)} systems, but a comparison takes at least 2"
        )
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(
                f"{names.count(name)} systems are called {name!r}; NAME=RUN gives a run"
                " another name"
            )


def load_sources(
    wanted: Sequence[WantedRun | WantedFile],
    num_pairs: int,
    seed: int,
    device: str | None = None,
    trust_run_code: bool = False,
    settings: SamplerSettings = RESAMPLED,
) -> tuple[list[Source], list[OpenedRun]]:
    """Loads the texts of every system, and returns them with the opened runs.

    Args:
        settings: of the runs that are tilted.
        device: where the runs compute; None for each one's, or for one that is here.
        trust_run_code: runs the code that the runs' settings name.

    Raises:
        ConfigurationError: a run or file is missing, or has fewer texts than the comparison needs.
        CheckpointError: a run has no intact checkpoint.
    """
    runs: dict[WantedRun, OpenedRun] = {}
    for one in wanted:
        if isinstance(one, WantedRun):
            same = [run for run in runs.values() if run.wanted.folder == one.folder]
            runs[one] = (
                replace(same[0], wanted=one, tilt=None)
                if same
                else _opened(one, device, trust_run_code, runs)
            )
            if one.tilted:
                run = runs[one]
                wish = settings.of_run(run.folder, run.config, trust_run_code)
                located = usable(run.folder, run.config, wish.reads, device)
                runs[one] = replace(run, config=located, tilt=(wish, trust_run_code))
    needed = texts_needed(len(wanted), num_pairs)
    lines = {one: _lines(one, needed) for one in wanted if isinstance(one, WantedFile)}
    sources = []
    for index, one in enumerate(wanted):
        own = int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint64)[0] >> 1)
        rng = torch.Generator().manual_seed(own)
        if isinstance(one, WantedFile):
            order = torch.randperm(len(lines[one]), generator=rng)[:needed]
            sources.append(Source(one.name, [lines[one][row].strip() for row in order.tolist()]))
            continue
        rows = prompts_of(index, len(wanted), num_pairs)
        shared = torch.Generator().manual_seed(seed)  # the same prompts for every run of a task
        sources.append(_from_run(runs[one], needed, rows, shared, rng))
    return sources, list(runs.values())


def load_controls(n: int, path: Path | None, runs: Sequence[OpenedRun], seed: int) -> Source:
    """Loads n real texts with at least 4 different words to shuffle.

    The texts come from a file, or else from the held-out texts of the first run's task.

    Raises:
        ConfigurationError: there is neither a file nor a run, or they hold fewer such texts.
    """
    if not n:
        return Source("", [], [])
    rng = torch.Generator().manual_seed(seed)
    if path is not None:
        texts = read_texts(path)
        prompts = [""] * len(texts)
    elif runs:
        task = runs[0].task
        real = task.real("test", task.size("test"), rng)
        texts, prompts = real.texts, real.prompt_texts
    else:
        raise ConfigurationError("no system is a run, so that --controls need --control-texts FILE")
    rows = [row for row, text in enumerate(texts) if len(set(shuffled_parts(text)[1])) >= 4]
    if len(rows) < n:
        raise ConfigurationError(
            f"there are {len(rows)} real texts of 4 or more different words, but {n}"
            " controls take as many"
        )
    sample_rows = [rows[index] for index in torch.randperm(len(rows), generator=rng)[:n].tolist()]
    return Source(
        "", [texts[row].strip() for row in sample_rows], [prompts[row] for row in sample_rows]
    )


def _opened(
    wanted: WantedRun,
    device: str | None,
    trust_run_code: bool,
    runs: Mapping[WantedRun, OpenedRun],
) -> OpenedRun:
    """Opens a run; of `runs` with the same settings it takes over the task."""
    folder, config = open_run(wanted.folder, trust_run_code)
    config = usable(folder, config, (*GENERATOR, "task"), device)
    if wanted.which != "real" or any(folder.checkpoints.glob("[0-9]*")):
        check_settings(folder, config, checkpoint_state(folder)[1])
    alike = [run.task for run in runs.values() if run.config.task == config.task]
    task = alike[0] if alike else config.task.build(config.generator)
    check_task(folder, task)
    return OpenedRun(wanted, folder, config, task)


def _lines(wanted: WantedFile, n: int) -> list[str]:
    """The texts of a file, at least n."""
    texts = read_texts(wanted.path)
    if len(texts) < n:
        raise ConfigurationError(f"{wanted.path} has {len(texts)} texts, but {n} are needed")
    return texts


def _from_run(
    run: OpenedRun, n: int, rows: Sequence[int], shared: torch.Generator, rng: torch.Generator
) -> Source:
    """n texts of a run: of one of its generators, or held-out real ones."""
    prompts = prompted_rows(run.task, rows, shared)
    if run.wanted.which == "real":
        size = run.task.size("test")
        if size < n:
            raise ConfigurationError(
                f"{run.wanted.name} has {size} held-out texts, but {n} are needed"
            )
        needs_texts(run.task, f"the system {run.wanted.name}", "judge the run alone: RUN")
        texts = prompts if prompts is not None else run.task.real("test", n, rng)
    else:
        restored = restored_run(run.folder, run.config, run.wanted.which)
        if run.tilt is None:
            sampling = Sampling(run.wanted.temperature)
            texts = draw_texts(restored.trained, n, rng, sampling, prompts, run.config.device)
        else:
            settings, trusted = run.tilt
            contexts = None if prompts is None else prompts.to(run.config.device)
            sampler = build_sampler(
                settings,
                restored,
                rng,
                contexts,
                run.task,
                without_unknown=True,
                trust_run_code=trusted,
            )
            texts = sampler.sampler.draw(n, rng, contexts).sequences
    return Source(run.wanted.name, texts.texts, None if prompts is None else texts.prompt_texts)


def prompted_rows(task: Task, rows: Sequence[int], rng: torch.Generator) -> Sequences | None:
    """Selects held-out sequences whose prompts a system continues; None if the task has no prompts.

    Args:
        rows: indices into a random order of the held-out set.
        rng: decides that order.

    Raises:
        ConfigurationError: the held-out set is too small for the largest index.
    """
    if task.real("test", 1, torch.Generator().manual_seed(0)).prompts is None:
        return None
    size = task.size("test")
    if size <= max(rows):
        raise ConfigurationError(
            f"there are {size} held-out prompts, but {max(rows) + 1} are needed"
        )
    return task.real("test", size, rng).select(torch.tensor(rows))


def draw_texts(
    trained: TrainedGenerator,
    n: int,
    rng: torch.Generator,
    sampling: Sampling,
    prompts: Sequences | None,
    device: str = "cpu",
) -> Sequences:
    """Draws n texts, or a continuation of each prompt; none contains the unknown word."""
    unknown = trained.vocabulary.unk_id
    return sample(
        trained.generator,
        trained.vocabulary,
        n,
        trained.max_length,
        rng,
        sampling,
        None if prompts is None else prompts.to(device),
        None if unknown is None else torch.tensor([unknown], device=device),
    )
