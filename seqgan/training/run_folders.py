"""A run's folder: made once, never overwritten.

runs/<name>/  config.yaml  task.json  machine.json
              metrics.jsonl  samples.jsonl  histograms.jsonl  alerts.jsonl  checkpoints/  best/
              results.json  report.png  report.html  wandb/
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path
from typing import Any

from seqgan.system.errors import ConfigurationError, DataError
from seqgan.system.files import make_folder, write_text
from seqgan.system.locks import lock
from seqgan.system.machine import describe_machine
from seqgan.system.reading import read_json
from seqgan.tasks.base import Task, whole_length
from seqgan.training.config_files import config_text, read_settings, save_config
from seqgan.training.identity import fingerprint
from seqgan.training.inputs import record_inputs
from seqgan.training.made_here import remember_made
from seqgan.training.settings import TrainConfig
from seqgan.training.slots import short_kind_of


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
        folder = RunFolder(make_folder(target, write, numbered=not config.output))
    except FileExistsError as error:
        raise _taken(target) from error
    except OSError as error:
        raise ConfigurationError(
            f"cannot make the folder of the run, {target}: {error.strerror or error}"
        ) from error
    remember_made(folder.config, read_settings(folder.config))
    return folder


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
