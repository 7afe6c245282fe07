"""An existing run: its settings and inputs, checked, and its networks, read back."""

import logging
import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Literal

import torch

from seqgan.data.vocabulary import Vocabulary
from seqgan.models.discriminators.base import Discriminator
from seqgan.models.generators.base import Generator
from seqgan.rewards.adapters.finding import DISCRIMINATOR
from seqgan.rewards.shipped.likelihood import Fluency
from seqgan.system.devices import device_here
from seqgan.system.errors import ConfigurationError
from seqgan.tasks.base import Task
from seqgan.training.checkpoints import check_state, fitting, load_checkpoint, read_checkpoint
from seqgan.training.config_files import (
    checked_settings,
    plain_settings,
    read_settings,
)
from seqgan.training.identity import check_task_file, check_unedited, differences, fingerprint
from seqgan.training.inputs import (
    located,
    move_code,
    remember_places,
)
from seqgan.training.made_here import is_made_here
from seqgan.training.moved import present_settings
from seqgan.training.networks import build_discriminator, build_generator, load_weights
from seqgan.training.run_folders import RunFolder
from seqgan.training.run_task import read_task, same_words
from seqgan.training.settings import TrainConfig
from seqgan.training.trust import TRAINING

logger = logging.getLogger(__name__)

Which = Literal["newest", "best"]  # of a run's checkpoints

# The settings whose inputs a generator is read from, for `usable`.
GENERATOR = ("generator", "task.tokenizer")
# All of them, which training goes on from.
EVERYTHING = tuple(item.name for item in fields(TrainConfig))


@dataclass(frozen=True)
class TrainedGenerator:
    """A generator with what it takes to draw texts from it."""

    generator: Generator
    vocabulary: Vocabulary
    max_length: int
    prompted: bool = False  # whether its texts go on from prompts


def open_run(
    path: Path,
    trust_run_code: bool = False,
    runs: Collection[str] = (),
    flags: Sequence[str] = (),
) -> tuple[RunFolder, TrainConfig]:
    """An existing run and its configuration.

    Code that has moved is named where it lies now, before anybody has to trust it. That of a run
    which this user has made here is trusted as long as it is unchanged (`made_here.py`).

    Args:
        trust_run_code, runs, flags: see `load_config`.

    Raises:
        ConfigurationError: the folder is not a run, or it names code that nobody has trusted.
    """
    folder = RunFolder(path)
    for file in (folder.config, folder.task):
        if not file.is_file():
            raise ConfigurationError(f"{path} is no run: it has no {file.name}")
    plain = read_settings(folder.config)
    plain.pop("output", None)  # no file says where a fork of its run will lie
    move_code(plain, read_task(folder).inputs, folder.path, runs)
    trusted = trust_run_code or is_made_here(folder.config, plain)
    return folder, checked_settings(plain, folder.config, trusted, runs, flags)


def usable(
    folder: RunFolder,
    config: TrainConfig,
    reads: Sequence[str],
    device: str | None = None,
    forking: bool = False,
) -> TrainConfig:
    """The settings of a run for this machine and this moment: its device, and where its inputs lie.

    Args:
        reads: settings, or sections of them, whose inputs are going to be read; see `located`.
        device: asked for; see `device_here`.
        forking: whether an input may have changed.

    Raises:
        ConfigurationError: this machine cannot use the device that was asked for.
        DataError: an input is not as it was when the run was made, or is gone.
    """
    config = replace(config, device=device_here(config.device, device, folder.path))
    return located(config, read_task(folder).inputs, folder.path, reads, forking)


def remember_inputs(folder: RunFolder, config: TrainConfig) -> None:
    """Writes down where the inputs of a run lie by these settings, if not where they were."""
    remember_places(config, read_task(folder).inputs, folder.path)


def check_task_of(folder: RunFolder, state: Mapping[str, Any]) -> None:
    """Checks that a run's `task.json` is that of its checkpoint; raises as `check_settings`."""
    check_task_file(folder.path, state.get("identity", {}))


def check_settings(folder: RunFolder, config: TrainConfig, state: Mapping[str, Any]) -> None:
    """Checks that a run's `config.yaml` and `task.json` are those of its checkpoint.

    Raises:
        ConfigurationError: one was edited.
    """
    with fitting(folder.path):
        check_unedited(folder.path, config, read_task(folder).inputs, state.get("identity", {}))


def edits(folder: RunFolder, before: TrainConfig, after: TrainConfig) -> list[tuple[str, Any, Any]]:
    """Settings of a run in which two configurations differ; see `differences`."""
    return differences(plain_settings(before), after, read_task(folder).inputs)


def before_edits(
    folder: RunFolder,
    config: TrainConfig,
    state: Mapping[str, Any],
    trust_run_code: bool,
    flags: Sequence[str],
) -> TrainConfig:
    """The settings with which a run was trained; a line names those that were edited since.

    Args:
        trust_run_code, flags: see `load_config`, as the checkpoint may name code, too.
    """
    recorded = state.get("identity", {}).get("settings", {})
    edited = differences(recorded, config, read_task(folder).inputs)
    for name, value, other in edited:
        logger.warning("%s was %r, and is %r in the fork: %s", name, value, other, folder.config)
    if not edited:
        return config
    plain = present_settings(recorded)
    return checked_settings(plain, folder.config, trust_run_code, TRAINING, flags)


def check_vocabulary(folder: RunFolder, task: Task) -> None:
    """Checks that a task has the vocabulary of a run, word for word.

    Raises:
        ConfigurationError: it has another.
    """
    vocabulary = read_task(folder).vocabulary
    if not same_words(vocabulary, task.vocabulary):
        raise ConfigurationError(
            f"the task has another vocabulary ({len(task.vocabulary.words)} words) than"
            f" {folder.path} ({len(vocabulary.words)} words); begin anew with it: seqgan train"
            f" --config {folder.config}"
        )


def check_task(folder: RunFolder, task: Task) -> None:
    """Checks that a task is the one that a run was made for: its words, and its texts by a sample.

    Raises:
        ConfigurationError: it has become another.
    """
    check_vocabulary(folder, task)
    before, now = read_task(folder).fingerprint, fingerprint(task)
    if before and now and before != now:
        raise ConfigurationError(
            f"the task of {folder.path} has other texts in its splits than when the run was"
            f" made ({before[:12]} then, {now[:12]} now); put its data back, or begin a new"
            f" run: seqgan train --fork {folder.path}"
        )


@dataclass(frozen=True, eq=False)
class RestoredRun:
    """A run at one of its checkpoints, with one of its generators.

    Args:
        state: the checkpoint's.
        pretrained: whether it is the generator before the game.
    """

    folder: RunFolder
    config: TrainConfig
    state: dict[str, Any]
    trained: TrainedGenerator
    pretrained: bool


def restored_run(
    folder: RunFolder,
    config: TrainConfig,
    which: str = "generator",
    checkpoint: Which = "newest",
) -> RestoredRun:
    """Reads a run at a checkpoint; arguments and errors as of `load_generator`."""
    _, state = checkpoint_state(folder, checkpoint)
    trained = restored_generator(folder, config, state, which)
    return RestoredRun(folder, config, state, trained, which == "pretrained")


def load_generator(
    folder: RunFolder,
    config: TrainConfig,
    which: str = "generator",
    checkpoint: Which = "newest",
) -> TrainedGenerator:
    """A generator of a run: the trained one or the `pretrained` one.

    Args:
        checkpoint: the newest intact one, or that of the best evaluation.

    Raises:
        CheckpointError: there is no intact checkpoint.
    """
    return restored_run(folder, config, which, checkpoint).trained


def checkpoint_state(
    folder: RunFolder, checkpoint: Which = "newest"
) -> tuple[Path, dict[str, Any]]:
    """Reads a checkpoint of a run: its path and its state.

    Args:
        checkpoint: the newest intact one, or that of the best evaluation.

    Raises:
        CheckpointError: there is no intact checkpoint.
    """
    if checkpoint == "best":
        place, state = folder.best, read_checkpoint(folder.best)
    else:
        place, state = load_checkpoint(folder.checkpoints)
    check_state(state, place)
    return place, state


def restored_generator(
    folder: RunFolder, config: TrainConfig, state: dict[str, Any], which: str = "generator"
) -> TrainedGenerator:
    """A generator of a run as a checkpoint's state holds it: the trained or `pretrained` one."""
    facts = read_task(folder)
    check_settings(folder, config, state)
    vocabulary = facts.vocabulary_here(config)
    generator = build_generator(config, vocabulary, torch.Generator().manual_seed(0))
    key = "reference" if which == "pretrained" else "generator"
    with fitting(folder.path):
        load_weights(generator, state["players"][key], folder.path)
    return TrainedGenerator(generator.eval(), vocabulary, facts.max_length, is_prompted(folder))


def restored_discriminator(
    folder: RunFolder, config: TrainConfig, state: dict[str, Any]
) -> Discriminator:
    """A run's discriminator as a checkpoint's state holds it.

    Raises:
        ConfigurationError: no discriminator was in the game.
    """
    if DISCRIMINATOR not in config.reward:
        raise ConfigurationError(
            f"{folder.path} has no discriminator: its rewards are {', '.join(config.reward)}"
        )
    rng = torch.Generator().manual_seed(0)
    facts = read_task(folder)
    check_settings(folder, config, state)
    vocabulary = facts.vocabulary_here(config)
    discriminator = build_discriminator(config, vocabulary, facts.whole_length, rng)
    with fitting(folder.path):
        weights = state["players"]["rewards"][DISCRIMINATOR]["module"]
        load_weights(discriminator, weights, folder.path)
    return discriminator.eval()


def is_trained(state: Mapping[str, Any]) -> bool:
    """True if the discriminator of a checkpoint has taken a step."""
    return bool(state["players"]["rewards"][DISCRIMINATOR]["optimizer"]["state"])


def is_prompted(folder: RunFolder) -> bool:
    """True if the texts of a run go on from prompts."""
    facts = read_task(folder)
    return facts.whole_length > facts.max_length


def fluency(task: Task, run: str, pretrained: bool = False) -> Fluency:
    """The likelihood under another run's generator, frozen, as a reward.

    Args:
        run: that run's folder. Its vocabulary has to be the task's, word for word.
        pretrained: its generator before the game, not the trained one.

    Raises:
        ConfigurationError: the folder is no run, or one with another vocabulary, or it names code
            that nobody has trusted.
        CheckpointError: there is no intact checkpoint.
    """
    return _fluency(task, run, pretrained, trust_run_code=False)


def trusting_fluency(task: Task, run: str, pretrained: bool = False) -> Fluency:
    """`fluency`, which runs the code that the other run's settings name."""
    return _fluency(task, run, pretrained, trust_run_code=True)


def _fluency(task: Task, run: str, pretrained: bool, trust_run_code: bool) -> Fluency:
    folder, config = open_run(Path(os.path.expanduser(run)), trust_run_code)
    config = usable(folder, config, GENERATOR)
    trained = load_generator(folder, config, "pretrained" if pretrained else "generator")
    if not same_words(trained.vocabulary, task.vocabulary):
        raise ConfigurationError(
            f"{run} has another vocabulary ({len(trained.vocabulary.words)} words) than the"
            f" task ({len(task.vocabulary.words)} words), but fluency needs a run with the"
            " same"
        )
    return Fluency(trained.generator)
