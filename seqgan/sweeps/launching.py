"""How a trial is started: a sweep file's command as a `seqgan train`, and its environment.

A trial is told by environment variables that it belongs to a sweep, as an agent of Weights &
Biases would tell it: an offline run then records the sweep's id and the parameters it was given.
"""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from seqgan.sweeps.distributions import Choice
from seqgan.sweeps.reading import Sweep
from seqgan.sweeps.trials import SweepFolder, Trial
from seqgan.system.errors import ConfigurationError

# What wandb puts in place of these words of a command, of those that make flags.
FLAG_MACROS = ("${args}", "${args_no_equals}", "${args_no_boolean_flags}")
OURS = ("--output", "--resume", "--profile")  # flags that the sweep sets, or that no trial has
DEFAULT_PROJECT = "seqgan"


@dataclass(frozen=True)
class Launch:
    """A process to start."""

    arguments: list[str]
    environment: dict[str, str]


@dataclass(frozen=True)
class TrainLauncher:
    """Starts each trial as `seqgan train`, with this interpreter.

    Args:
        sweep: what the sweep file says.
        folder: of the sweep.
        sweep_id: that the offline runs record.
        extra: flags that every trial gets beside the swept ones.
        jobs: trials at a time, which share the processor's cores.
    """

    sweep: Sweep
    folder: SweepFolder
    sweep_id: str
    extra: tuple[str, ...] = ()
    jobs: int = 1

    def __call__(self, trial: Trial, resume: bool) -> Launch:
        run = self.folder.run(trial.number)
        if resume:
            arguments = ["--resume", str(run)]
        else:
            arguments = [*train_arguments(self.sweep, trial.parameters, self.extra)]
            arguments += ["--output", str(run)]
        given = self.folder.parameters(trial.number)
        write_parameters(given, trial.parameters)
        return Launch(
            [sys.executable, "-m", "seqgan", "train", *arguments],
            trial_environment(os.environ, self.sweep, self.sweep_id, trial.number, given)
            | thread_environment(os.environ, self.jobs),
        )


def without_overridden(sweep: Sweep, extra: Sequence[str]) -> Sweep:
    """The sweep less the parameters of one fixed `value` that an extra flag sets instead."""
    given = {_flag_of(word) for word in extra}
    kept = {
        name: item
        for name, item in sweep.parameters.items()
        if not (isinstance(item, Choice) and len(item.values) == 1 and _flag(name) in given)
    }
    return replace(sweep, parameters=kept)


def train_arguments(
    sweep: Sweep, parameters: Mapping[str, Any], extra: Sequence[str] = ()
) -> list[str]:
    """The arguments of `seqgan train` that the sweep's command has for these parameters.

    Raises:
        ConfigurationError: the command is no `seqgan train ... ${args}`; or a flag of it, or an
            extra one, is the sweep's to set.
    """
    words = [_with_environment(word) for word in sweep.command]
    rest = words[1:] if words[0] == "${env}" else words
    program = sweep.program if rest[:1] == ["${program}"] else "".join(rest[:1])
    if Path(program).name == "seqgan":
        rest = rest[1:]
    elif rest[1:3] == ["-m", "seqgan"]:
        rest = rest[3:]
    else:
        rest = []
    if rest[:1] != ["train"] or not any(word in FLAG_MACROS for word in rest):
        raise ConfigurationError(
            f"command is [seqgan, train, ..., ${{args}}], got [{', '.join(sweep.command)}]"
        )
    swept = {_flag(name) for name in parameters}
    for word in (*rest, *extra):
        flag = word.partition("=")[0]
        if flag in OURS:
            raise ConfigurationError(
                f"{flag} is not for the trials of a sweep: each has its own folder"
            )
        if _flag_of(word) in swept:
            raise ConfigurationError(f"{flag} is swept, got it beside the sweep too")
    arguments: list[str] = []
    for word in rest[1:]:
        arguments += _flags(word, parameters) if word in FLAG_MACROS else [word]
        if word.startswith("${") and word not in FLAG_MACROS:
            raise ConfigurationError(f"command has one of {', '.join(FLAG_MACROS)}, got {word}")
    return [*arguments, *extra]


def trial_environment(
    environment: Mapping[str, str], sweep: Sweep, sweep_id: str, number: int, parameters: Path
) -> dict[str, str]:
    """The environment with what makes a run one of the sweep, offline.

    No server knows the sweep, so a run that is online would be refused. Of the project wandb
    asks only the environment once there is a sweep.
    """
    mode = environment.get("WANDB_MODE", "")
    return dict(environment) | {
        "WANDB_MODE": mode if mode == "disabled" else "offline",
        "WANDB_PROJECT": sweep.project or environment.get("WANDB_PROJECT") or DEFAULT_PROJECT,
        "WANDB_SWEEP_ID": sweep_id,
        "WANDB_SWEEP_PARAM_PATH": str(parameters.resolve()),
        "WANDB_RUN_GROUP": environment.get("WANDB_RUN_GROUP") or f"{sweep.name}-{sweep_id}",
        "WANDB_NAME": f"{sweep.name}-{number:03d}",
    }


def thread_environment(environment: Mapping[str, str], jobs: int) -> dict[str, str]:
    """Each of several trials takes its share of the cores, unless the user has said how many."""
    if jobs == 1 or "OMP_NUM_THREADS" in environment:
        return {}
    return {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // jobs))}


def write_parameters(path: Path, parameters: Mapping[str, Any]) -> None:
    """The file that `wandb.init` reads the swept part of a run's configuration from."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = {name: {"value": value} for name, value in parameters.items()}
    path.write_text(yaml.safe_dump(plain, allow_unicode=True), encoding="utf-8")


def _flag(name: str) -> str:
    """The flag of a parameter, in the one spelling that is compared."""
    return f"--{name}".replace("_", "-")


def _flag_of(word: str) -> str:
    """The same of a word of a command line."""
    return word.partition("=")[0].replace("_", "-")


def _flags(macro: str, parameters: Mapping[str, Any]) -> list[str]:
    """The flags that wandb's agent makes of parameters."""
    flags: list[str] = []
    for name, value in parameters.items():
        if macro == "${args_no_equals}":
            flags += [f"--{name}", str(value)]
        elif macro == "${args_no_boolean_flags}" and isinstance(value, bool):
            flags += [f"--{name}"] if value else []
        else:
            flags.append(f"--{name}={value}")
    return flags


def _with_environment(word: str) -> str:
    """The word with `${envvar:NAME}` replaced, or the name where there is no such variable."""
    return re.sub(r"\$\{envvar:(\w+)\}", lambda found: os.environ.get(found[1], found[1]), word)
