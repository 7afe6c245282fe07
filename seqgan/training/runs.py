"""A run's folder: made once, never overwritten, and everything needed to go on or to look back.

runs/<name>/  config.yaml  task.json  machine.json
              metrics.jsonl  samples.jsonl  histograms.jsonl  alerts.jsonl  checkpoints/  best/
              results.json  report.png  report.html  wandb/
"""

import json
import logging
import os
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from io import FileIO
from itertools import chain
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from seqgan.data.vocabulary import Level, Vocabulary
from seqgan.models.discriminators.base import Discriminator
from seqgan.models.generators.base import Generator
from seqgan.rewards.adapters.finding import DISCRIMINATOR
from seqgan.rewards.shipped.likelihood import Fluency
from seqgan.system.devices import device_here
from seqgan.system.errors import ConfigurationError, DataError
from seqgan.system.files import make_folder, write_text
from seqgan.system.locks import lock
from seqgan.system.machine import describe_machine
from seqgan.system.reading import check_shape, read_json, shown
from seqgan.tasks.base import Task, whole_length
from seqgan.training.checkpoints import check_state, fitting, load_checkpoint, read_checkpoint
from seqgan.training.config_files import (
    checked_settings,
    config_text,
    plain_settings,
    read_settings,
    save_config,
)
from seqgan.training.identity import check_task_file, check_unedited, differences, fingerprint
from seqgan.training.inputs import (
    OF_INPUT,
    Input,
    located,
    move_code,
    place_now,
    read_inputs,
    record_inputs,
    remember_places,
)
from seqgan.training.moved import present_settings
from seqgan.training.networks import build_discriminator, build_generator, load_weights
from seqgan.training.settings import TrainConfig
from seqgan.training.slots import short_kind_of
from seqgan.training.trust import TRAINING

logger = logging.getLogger(__name__)

OF_TASK = {
    "max_length": int,
    "whole_length?": int,
    "description?": str,
    "vocabulary": {
        "words": [str],
        "level": str,
        "has_eos": bool,
        "bos_word": (int, type(None)),
        "unk_word": (str, type(None)),
        "specials?": [str],
        "tokenizer?": str,
    },
    "fingerprint?": str,
    "inputs?": [OF_INPUT],
}
OF_METRICS = {"*": float}
VERDICTS = ("better", "level", "worse", "mixed", "unknown")
OF_CURVE = {"*": OF_METRICS}
OF_CHANGE = {"before": float, "after": float, "interval": (list, type(None))}
# The content of results.json, of this version or an older one.
OF_RESULTS = {
    "comparison": {
        "quality": str,
        "verdict": str,
        "temperature": float,
        "sentence": str,
        "unit?": str,
        "higher_is_better?": bool,
    },
    "start": OF_METRICS,
    "control": OF_METRICS,
    "final": OF_METRICS,
    "best?": OF_METRICS,
    "curve": OF_CURVE,
    "game_curve?": OF_CURVE,
    "table?": {"*": str},
    "sentences?": [str],
    "information_sentence?": str,
    "about?": {"rewards?": [str], "adversary?": (str, bool, type(None))},
    "rewards?": dict,
}
Which = Literal["newest", "best"]  # of a run's checkpoints

# The settings whose inputs a generator is read from, for `usable`.
GENERATOR = ("generator", "task.tokenizer")
# All of them, which training goes on from.
EVERYTHING = tuple(item.name for item in fields(TrainConfig))


@dataclass(frozen=True)
class RunFolder:
    """The paths of a run's files."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def task(self) -> Path:
        return self.path / "task.json"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        """The checkpoint of the best evaluation in the game; there in every finished run."""
        return self.path / "best"

    @property
    def fork(self) -> Path:
        """The file with the origin of a run that branched off from another."""
        return self.path / "fork.json"

    def origin(self) -> dict[str, Any]:
        """The content of `fork.json` under `forked_from`; empty for a run from the beginning."""
        if not self.fork.is_file():
            return {}
        return {"forked_from": read_json(self.fork, {"*": (str, float)})}

    @property
    def results(self) -> Path:
        return self.path / "results.json"

    @property
    def machine(self) -> Path:
        """The file with the result of `describe_machine` at the start of the run."""
        return self.path / "machine.json"

    @property
    def picture(self) -> Path:
        return self.path / "report.png"

    @property
    def page(self) -> Path:
        return self.path / "report.html"

    def undrawn(self) -> list[Path]:
        """Those of picture and page that a finished run lacks, or has from before its end."""
        ended = self.results.stat().st_mtime
        drawn = (self.picture, self.page)
        return [path for path in drawn if not path.is_file() or path.stat().st_mtime < ended]


@dataclass(frozen=True)
class TrainedGenerator:
    """A generator with what it takes to draw texts from it."""

    generator: Generator
    vocabulary: Vocabulary
    max_length: int
    prompted: bool = False  # whether its texts go on from prompts


def create_run(
    config: TrainConfig, task: Task, fill: Callable[[RunFolder], None] = lambda folder: None
) -> RunFolder:
    """A new folder with the configuration, the vocabulary and the length of its texts in it.

    It has its name once all of that is on the disk, so a killed process leaves no half of a run.

    Args:
        fill: puts more into the folder before it gets its name.

    Raises:
        ConfigurationError: the folder exists, or cannot be made; or a setting cannot be written.
    """
    check_new(config)
    mark = fingerprint(task)
    name = f"{short_kind_of('task', config.task)}-{time.strftime('%Y%m%d-%H%M%S')}"
    target = Path(config.output) if config.output else Path("runs") / name
    plain = {
        "description": getattr(task, "description", ""),
        "max_length": task.max_length,
        "whole_length": whole_length(task),
        "vocabulary": task.vocabulary.to_dict(),
        "fingerprint": mark,
        "inputs": record_inputs(config, target),
    }

    def write(temporary: Path) -> None:
        unnamed = RunFolder(temporary)
        save_config(replace(config, output=""), unnamed.config)
        write_text(unnamed.task, json.dumps(plain))  # in ASCII, for names that are no UTF-8
        write_text(unnamed.machine, json.dumps(describe_machine(), indent=2))
        fill(unnamed)

    try:
        return RunFolder(make_folder(target, write, numbered=not config.output))
    except FileExistsError as error:
        raise _taken(target) from error
    except OSError as error:
        raise ConfigurationError(
            f"cannot make the folder of the run, {target}: {error.strerror or error}"
        ) from error


def check_new(config: TrainConfig) -> None:
    """Checks that a run's folder is not there yet, and that its settings can be written.

    Raises:
        ConfigurationError: it is there, or a setting cannot be written.
    """
    config_text(config)
    if config.output and os.path.lexists(config.output):
        raise _taken(Path(config.output))


def _taken(target: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{target} exists already; name another folder with --output, or continue that run with"
        f" --resume {target}"
    )


def check_own(folder: RunFolder) -> None:
    """Checks that a run's parts lie in its folder, before they are written.

    Raises:
        DataError: one is a link to somewhere else.
    """
    for path in sorted((*folder.path.iterdir(), *folder.checkpoints.glob("*"))):
        if path.is_symlink():
            raise DataError(
                f"{path} is a link, but a run that is trained must lie in its folder whole"
            )


def lock_run(folder: RunFolder) -> FileIO:
    """Lets no other process train the run until the file that this gives is closed.

    Raises:
        ConfigurationError: another process trains it.
    """
    return lock(folder.path, "a run is trained by one process at a time")


def open_run(
    path: Path,
    trust_run_code: bool = False,
    runs: Collection[str] = (),
    flags: Sequence[str] = (),
) -> tuple[RunFolder, TrainConfig]:
    """An existing run and its configuration.

    Code that has moved is named where it lies now, before anybody has to trust it.

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
    move_code(plain, _read_task(folder).inputs, folder.path, runs)
    return folder, checked_settings(plain, folder.config, trust_run_code, runs, flags)


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
    return located(config, _read_task(folder).inputs, folder.path, reads, forking)


def remember_inputs(folder: RunFolder, config: TrainConfig) -> None:
    """Writes down where the inputs of a run lie by these settings, if not where they were."""
    remember_places(config, _read_task(folder).inputs, folder.path)


def check_task_of(folder: RunFolder, state: Mapping[str, Any]) -> None:
    """Checks that a run's `task.json` is that of its checkpoint; raises as `check_settings`."""
    check_task_file(folder.path, state.get("identity", {}))


def check_settings(folder: RunFolder, config: TrainConfig, state: Mapping[str, Any]) -> None:
    """Checks that a run's `config.yaml` and `task.json` are those of its checkpoint.

    Raises:
        ConfigurationError: one was edited.
    """
    with fitting(folder.path):
        check_unedited(folder.path, config, _read_task(folder).inputs, state.get("identity", {}))


def edits(folder: RunFolder, before: TrainConfig, after: TrainConfig) -> list[tuple[str, Any, Any]]:
    """Settings of a run in which two configurations differ; see `differences`."""
    return differences(plain_settings(before), after, _read_task(folder).inputs)


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
    edited = differences(recorded, config, _read_task(folder).inputs)
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
    vocabulary = _read_task(folder).vocabulary
    if not same_words(vocabulary, task.vocabulary):
        raise ConfigurationError(
            f"the task has another vocabulary ({len(task.vocabulary.words)} words) than"
            f" {folder.path} ({len(vocabulary.words)} words)"
        )


def same_words(one: Vocabulary, other: Vocabulary) -> bool:
    """True if two vocabularies give the same ids, wherever their tokenizers lie."""
    if bool(one.tokenizer) != bool(other.tokenizer):
        return False
    return replace(one, tokenizer=other.tokenizer) == other


def check_task(folder: RunFolder, task: Task) -> None:
    """Checks that a task is the one that a run was made for: its words, and its texts by a sample.

    Raises:
        ConfigurationError: it has become another.
    """
    check_vocabulary(folder, task)
    before, now = _read_task(folder).fingerprint, fingerprint(task)
    if before and now and before != now:
        raise ConfigurationError(
            f"the task of {folder.path} has other texts in its splits than when the run was"
            f" made ({before[:12]} then, {now[:12]} now); put its data back, or begin a new"
            f" run: seqgan train --fork {folder.path}"
        )


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
    return restored_generator(folder, config, checkpoint_state(folder, checkpoint)[1], which)


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
    facts = _read_task(folder)
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
    facts = _read_task(folder)
    check_settings(folder, config, state)
    vocabulary = facts.vocabulary_here(config)
    discriminator = build_discriminator(config, vocabulary, facts.whole_length, rng)
    with fitting(folder.path):
        weights = state["players"]["rewards"][DISCRIMINATOR]["module"]
        load_weights(discriminator, weights, folder.path)
    return discriminator.eval()


def is_prompted(folder: RunFolder) -> bool:
    """True if the texts of a run go on from prompts."""
    facts = _read_task(folder)
    return facts.whole_length > facts.max_length


@dataclass(frozen=True)
class _TaskFacts:
    """The parts of `task.json` that others read."""

    vocabulary: Vocabulary
    max_length: int
    whole_length: int  # `max_length`, and prompt and bos where there are prompts
    fingerprint: str  # of the task's texts; empty in older runs, and where a true model drew them
    inputs: list[Input]

    def vocabulary_here(self, config: TrainConfig) -> Vocabulary:
        """The vocabulary with its tokenizer, if it has one, where the settings have it now."""
        if not self.vocabulary.tokenizer:
            return self.vocabulary
        place = place_now(self.vocabulary.tokenizer, config, self.inputs)
        return replace(self.vocabulary, tokenizer=place)


def _read_task(folder: RunFolder) -> _TaskFacts:
    plain = read_json(folder.task, OF_TASK)
    max_length = plain["max_length"]
    whole_length = plain.get("whole_length", max_length)  # runs that are older have no prompts
    if not 1 <= max_length <= whole_length:
        raise DataError(
            f"{folder.task} has max_length {max_length} and whole_length {whole_length},"
            " but they must be at least 1, and the second no less than the first"
        )
    known = {item.name for item in fields(Vocabulary)}
    words = plain["vocabulary"]
    if words["level"] not in get_args(Level) or not words.keys() <= known:
        raise DataError(
            f"{folder.task} has the vocabulary {shown(words)}, but must have one of level"
            f" {', '.join(get_args(Level))} with {', '.join(sorted(known))}"
        )
    try:
        vocabulary = Vocabulary.from_dict(words)
    except ConfigurationError as error:
        raise DataError(f"{folder.task}: {error}") from error
    mark = plain.get("fingerprint", "")
    return _TaskFacts(vocabulary, max_length, whole_length, mark, read_inputs(plain))


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


def read_results(folder: RunFolder) -> dict[str, Any]:
    """The end of a run, as `save_results` wrote it.

    Raises:
        DataError: the file is damaged, or somebody has edited it.
    """
    results: dict[str, Any] = read_json(folder.results, OF_RESULTS)
    place = str(folder.results)
    if (verdict := results["comparison"]["verdict"]) not in VERDICTS:
        raise DataError(
            f"{place} has the verdict {shown(verdict)}, but must have one of {', '.join(VERDICTS)}"
        )
    for temperature in chain(results["curve"], results.get("game_curve", {})):
        try:
            float(temperature)
        except ValueError as error:
            fault = f"{place} has a curve over {shown(temperature)}, which is no temperature"
            raise DataError(fault) from error
    for key in results.get("table", {}).values():
        check_shape(results.get(key), OF_METRICS, f"{place}: {shown(key)}")
    for name, change in results.get("rewards", {}).items():
        if "about" in results:
            check_shape(change, OF_CHANGE, f"{place}: rewards: {shown(name)}")
            check_shape(change["interval"] or [0.0], [float], f"{place}: rewards: {shown(name)}")
        ends = change["interval"] if isinstance(change, dict) else change
        if ends is not None and (not isinstance(ends, list) or len(ends) != 2):
            raise DataError(f"{place} has {shown(change)}, which are no rewards before and after")
    return results


def save_results(folder: RunFolder, results: dict[str, Any]) -> None:
    write_text(folder.results, json.dumps(results, indent=2, ensure_ascii=False))
