"""Where the texts of a comparison come from: runs and files of texts."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from seqgan.data.sequences import Sequences
from seqgan.judging.study import Source, prompts_of, shuffled_parts, texts_needed
from seqgan.models.sampling import Sampling, sample
from seqgan.system.errors import ConfigurationError
from seqgan.tasks.base import Task
from seqgan.tasks.files.text_files import read_texts
from seqgan.training.runs import RunFolder, TrainedGenerator, load_generator, open_run
from seqgan.training.settings import TrainConfig

Which = Literal["generator", "pretrained", "real"]


@dataclass(frozen=True)
class WantedRun:
    """A run's texts as asked for: `[NAME=]FOLDER[:pretrained|:real][@TEMPERATURE]`."""

    name: str
    folder: Path
    which: Which = "generator"
    temperature: float = 1.0


@dataclass(frozen=True)
class WantedFile:
    """A file's texts as asked for: `NAME=FILE`."""

    name: str
    path: Path


@dataclass(frozen=True)
class OpenedRun:
    """A run that can be drawn from."""

    wanted: WantedRun
    folder: RunFolder
    config: TrainConfig
    task: Task


def parse_run(spec: str) -> WantedRun:
    """Reads how a run is asked for; without a name it is called as its folder and what follows.

    A folder whose own name holds such signs is taken as it is.

    Raises:
        ConfigurationError: it cannot be read so.
    """
    name, rest = "", spec
    if not Path(spec).is_dir() and "=" in spec:
        name, _, rest = spec.partition("=")
    folder, which, temperature = rest, "generator", 1.0
    if not Path(folder).is_dir() and "@" in folder:
        folder, _, number = folder.rpartition("@")
        try:
            temperature = float(number)
        except ValueError as error:
            raise ConfigurationError(f"a temperature is a number, got {spec!r}") from error
        Sampling(temperature)
    if not Path(folder).is_dir() and ":" in folder:
        folder, _, which = folder.rpartition(":")
    called = name or Path(folder).resolve().name + rest.removeprefix(folder)
    match which:
        case "generator" | "pretrained":
            return WantedRun(called, Path(folder), which, temperature)
        case "real" if temperature == 1:
            return WantedRun(called, Path(folder), which)
        case "real":
            raise ConfigurationError(f"real texts have no temperature, got {spec!r}")
        case _:
            raise ConfigurationError(f"after a run's colon stands pretrained or real, got {spec!r}")


def parse_file(spec: str) -> WantedFile:
    """Reads how a file is asked for. Raises ValueError where it cannot be read so."""
    name, equals, path = spec.partition("=")
    if not (name and equals and path):
        raise ConfigurationError(f"--samples is NAME=FILE, got {spec!r}")
    return WantedFile(name, Path(path))


def with_short_names(wanted: Sequence[WantedRun | WantedFile]) -> list[WantedRun | WantedFile]:
    """`real` for `run:real` and `pretrained` for `run:pretrained`, where no two are called so."""
    short = []
    for one in wanted:
        name = one.name
        if isinstance(one, WantedRun) and one.which != "generator":
            folder = one.folder.resolve().name
            if name.startswith(f"{folder}:{one.which}"):  # not one that was given
                name = name.removeprefix(f"{folder}:")
        short.append(name)
    return [
        replace(one, name=name) if short.count(name) == 1 else one
        for one, name in zip(wanted, short, strict=True)
    ]


def check_names(wanted: Sequence[WantedRun | WantedFile]) -> None:
    """Raises ValueError for fewer than two systems, and for two of one name."""
    names = [one.name for one in wanted]
    if len(names) < 2:
        raise ConfigurationError(f"a comparison takes at least 2 systems, got {len(names)}")
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(
                f"systems have names of their own, got {name!r} {names.count(name)} times"
                " (NAME=RUN gives a run another name)"
            )


def load_sources(
    wanted: Sequence[WantedRun | WantedFile], num_pairs: int, seed: int
) -> tuple[list[Source], list[OpenedRun]]:
    """The texts of every system, and the runs among them.

    Raises:
        ConfigurationError: no such run or file, or one with fewer texts than a comparison takes.
        CheckpointError: a run has no intact checkpoint.
    """
    runs: dict[WantedRun, OpenedRun] = {}
    for one in wanted:
        if isinstance(one, WantedRun):
            folder, config = open_run(one.folder)
            alike = [run.task for run in runs.values() if run.config.task == config.task]
            task = alike[0] if alike else config.task.build(config.generator)
            runs[one] = OpenedRun(one, folder, config, task)
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
    """n real texts with enough different words to shuffle: of a file, or held out in a run's task.

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
        raise ConfigurationError(
            "--controls take --control-texts where no system is a run, got none"
        )
    rows = [row for row, text in enumerate(texts) if len(set(shuffled_parts(text)[1])) >= 4]
    if len(rows) < n:
        raise ConfigurationError(
            f"{n} controls take as many real texts of 4 or more different words, got {len(rows)}"
        )
    chosen = [rows[index] for index in torch.randperm(len(rows), generator=rng)[:n].tolist()]
    return Source("", [texts[row].strip() for row in chosen], [prompts[row] for row in chosen])


def _lines(wanted: WantedFile, n: int) -> list[str]:
    texts = read_texts(wanted.path)
    if len(texts) < n:
        raise ConfigurationError(f"{wanted.path}: {n} texts are needed, got {len(texts)}")
    return texts


def _from_run(
    run: OpenedRun, n: int, rows: Sequence[int], shared: torch.Generator, rng: torch.Generator
) -> Source:
    prompts = prompted_rows(run.task, rows, shared)
    if run.wanted.which == "real":
        size = run.task.size("test")
        if size < n:
            raise ConfigurationError(
                f"{run.wanted.name}: {n} texts are needed, got {size} held-out ones"
            )
        drawn = prompts if prompts is not None else run.task.real("test", n, rng)
    else:
        trained = load_generator(run.folder, run.config, run.wanted.which)
        sampling = Sampling(run.wanted.temperature)
        drawn = draw_texts(trained, n, rng, sampling, prompts, run.config.device)
    return Source(run.wanted.name, drawn.texts, None if prompts is None else drawn.prompt_texts)


def prompted_rows(task: Task, rows: Sequence[int], rng: torch.Generator) -> Sequences | None:
    """Held-out sequences whose prompts a system continues; None for a task without prompts.

    Args:
        rows: their places in a random order of the held-out set, which `rng` decides.

    Raises:
        ConfigurationError: the held-out set has fewer sequences than the largest place asks for.
    """
    if task.real("test", 1, torch.Generator().manual_seed(0)).prompts is None:
        return None
    size = task.size("test")
    if size <= max(rows):
        raise ConfigurationError(f"{max(rows) + 1} held-out prompts are needed, got {size}")
    return task.real("test", size, rng).select(torch.tensor(rows))


def draw_texts(
    trained: TrainedGenerator,
    n: int,
    rng: torch.Generator,
    sampling: Sampling,
    prompts: Sequences | None,
    device: str = "cpu",
) -> Sequences:
    """n texts of a generator, or a continuation of each prompt; never with the unknown word."""
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
