"""A trial of a sweep: the process that trains it, and the numbers that it leaves.

A trial is `seqgan train` with its values as flags. Environment variables tell wandb about the
sweep, as an agent of Weights & Biases does: an offline run records the sweep's id and its values.

sweeps/<name>/  sweep.yaml  journal.log (optuna's record of every trial)
                trials/<number>/ (a run)  trials/<number>.log  trials/<number>.yaml (for wandb)
                sweep.json  parallel.png (in the end)
"""

import fcntl
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from seqgan.sweeps.reading import Sweep
from seqgan.system.errors import ConfigurationError
from seqgan.system.files import append_to, write_text
from seqgan.system.reading import clipped
from seqgan.tracking.jsonl import read_rows
from seqgan.training.moved import present_flags
from seqgan.training.trust import FLAG

SEQGAN = (sys.executable, "-P", "-m", "seqgan")  # -P: no module of the current folder comes first
OF_ONE_RUN = ("WANDB_RUN_ID", "WANDB_RESUME", "WANDB_RESUME_FROM", "WANDB_FORK_FROM")
ARGS = "${args}"  # the word of a command in whose place the flags stand
OURS = ("--output", "--resume", "--fork", "--profile", FLAG)  # flags that are not for a trial


def trial_path(folder: Path, number: int, suffix: str = "") -> Path:
    """The run of a trial, or a file beside it."""
    return folder / "trials" / f"{number:03d}{suffix}"


@dataclass(frozen=True)
class Launcher:
    """Starts each trial as `seqgan train`, with this interpreter.

    Args:
        sweep: the content of the sweep file.
        folder: of the sweep.
        sweep_id: recorded by the offline runs.
        extra: flags of every trial.
        jobs: trials at a time, which share the processor's cores.
        trust_run_code: trials run the code that files name, their own settings among them.
    """

    sweep: Sweep
    folder: Path
    sweep_id: str
    extra: tuple[str, ...] = ()
    jobs: int = 1
    trust_run_code: bool = False

    def __call__(
        self, number: int, values: Mapping[str, Any], resume: bool
    ) -> "subprocess.Popen[bytes]":
        """A trial's process, begun anew or continued."""
        run, given = trial_path(self.folder, number), trial_path(self.folder, number, ".yaml")
        arguments = train_arguments(self.sweep, values, self.extra)
        arguments = ["--resume", str(run)] if resume else [*arguments, "--output", str(run)]
        arguments += [FLAG] if self.trust_run_code else []
        plain = {name: {"value": value} for name, value in values.items()}
        given.parent.mkdir(exist_ok=True)
        write_text(given, yaml.safe_dump(plain, allow_unicode=True))
        environment = trial_environment(os.environ, self.sweep, self.sweep_id, number, given)
        if self.jobs > 1:
            threads = max(1, (os.cpu_count() or 1) // self.jobs)
            environment.setdefault("OMP_NUM_THREADS", str(threads))
        command = [*SEQGAN, "train", *arguments]
        return start(command, environment, trial_path(self.folder, number, ".log"))


def start(
    command: Sequence[str], environment: Mapping[str, str], log: Path
) -> "subprocess.Popen[bytes]":
    """A process that writes to a log and holds a lock on it as long as it lives."""
    log.parent.mkdir(exist_ok=True)
    with append_to(log) as output:
        fcntl.flock(output, fcntl.LOCK_EX)
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,  # Ctrl-C reaches the sweep alone, and the sweep passes it on
        )


def trial_lives(folder: Path, number: int) -> bool:
    """True if a process that the sweep has started for a trial still runs: it holds its log."""
    log = trial_path(folder, number, ".log")
    if not log.is_file():
        return False
    with append_to(log) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def can_resume(run: Path) -> bool:
    """Tells whether a run has a checkpoint; the folder of a run without one is removed."""
    if any((run / "checkpoints").glob("[0-9]*")):
        return True
    shutil.rmtree(run, ignore_errors=True)
    return False


def train_arguments(
    sweep: Sweep, values: Mapping[str, Any], extra: Sequence[str] = ()
) -> list[str]:
    """The arguments of `seqgan train` for a trial's values.

    Raises:
        ConfigurationError: the command is no `seqgan train ... ${args}`; or it has, as the extra
            flags may have, a flag that the sweep sets itself.
    """
    ignored = ("${env}", "${interpreter}", "python", "-m")
    words = [word for word in sweep.command if word not in ignored]
    is_training = [Path(word).name for word in words[:2]] == ["seqgan", "train"]
    if not is_training or words.count(ARGS) != 1:
        given = clipped(", ".join(sweep.command))
        raise ConfigurationError(f"command is [{given}], but must be [seqgan, train, ..., {ARGS}]")
    flags = [f"--{name}={value}" for name, value in values.items()]
    for word in (*words, *extra, *flags):
        if word.startswith("--") and flag_of(word) in OURS:
            raise ConfigurationError(
                f"{word.partition('=')[0]} is given, but a trial has its own folder and is trained"
            )
    for word in (*words, *extra):
        if word.startswith("--") and flag_of(word) in map(flag_of, values):
            raise ConfigurationError(
                f"{word.partition('=')[0]} is given beside the sweep, but is in it"
            )
    place = words.index(ARGS)
    return [*words[2:place], *flags, *words[place + 1 :], *extra]


def flag_of(word: str) -> str:
    """A flag or a setting's name in the one spelling that is compared: its present name."""
    spelling = "--" + word.partition("=")[0].removeprefix("--").replace("_", "-")
    return present_flags([spelling])[0]


def trial_environment(
    environment: Mapping[str, str], sweep: Sweep, sweep_id: str, number: int, parameters: Path
) -> dict[str, str]:
    """The environment with the variables that make a run one of the sweep, offline.

    No server knows the sweep, so it would refuse a run that is online. wandb takes the project of
    a sweep's run from the environment alone.
    """
    mode = environment.get("WANDB_MODE", "")
    # One id, or one record to continue, would be that of every trial.
    others = {name: environment[name] for name in environment if name not in OF_ONE_RUN}
    return others | {
        "WANDB_MODE": mode if mode == "disabled" else "offline",
        "WANDB_PROJECT": sweep.project or environment.get("WANDB_PROJECT") or "seqgan",
        "WANDB_SWEEP_ID": sweep_id,
        "WANDB_SWEEP_PARAM_PATH": str(parameters.resolve()),
        "WANDB_RUN_GROUP": environment.get("WANDB_RUN_GROUP") or f"{sweep.name}-{sweep_id}",
        "WANDB_NAME": f"{sweep.name}-{number:03d}",
    }


def rows_with(run: Path, metric: str) -> list[dict[str, Any]]:
    """The rows of a run's metrics with a finite value of the metric, in their order.

    The evaluation before the game (iteration 0) is left out: it says nothing about a trial's game.
    """
    return [
        row
        for row in read_rows(run / "metrics.jsonl", {f"{metric}?": float, "iteration?": float})
        if row.get("iteration") != 0 and math.isfinite(row.get(metric, math.nan))
    ]


def error_line(log: Path, code: int) -> str:
    """The line of a failed trial that gives its reason: its own error, else the last of its log."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    ours = [line.removeprefix("seqgan: ") for line in lines if line.startswith("seqgan: ")]
    last = (ours or [line.strip() for line in lines if line.strip()] or ["no output"])[-1]
    return f"{last[:300]} (exit code {code})"
