"""Sweeps for tests: of fake trials, which take milliseconds."""

import io
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from subprocess import Popen
from typing import Any

import optuna
from rich.console import Console

from seqgan.sweeps.reading import Sweep, parse_sweep
from seqgan.sweeps.runner import Runner, open_journal
from seqgan.sweeps.trials import start, trial_path
from seqgan.tracking.jsonl import read_rows
from seqgan.tracking.progress import Progress

FAKE = Path(__file__).with_name("fake_trial.py")
METRIC = "eval/nll_heldout"


def sweep_of(parameters: Mapping[str, Any], **given: Any) -> Sweep:
    """A grid over the lists among the parameters; the others are fixed."""
    plain = {
        "method": "grid",
        "metric": {"name": METRIC},
        "command": ["seqgan", "train", "captions", "${args}"],
        "parameters": {
            name: {"values": value} if isinstance(value, list) else {"value": value}
            for name, value in parameters.items()
        },
    }
    return parse_sweep(plain | given)


def make_runner(
    sweep: Sweep, folder: Path, total: int, jobs: int = 1, output: io.StringIO | None = None
) -> Runner:
    """A runner of fake trials, of a new sweep or of one to continue."""

    def launch(number: int, values: Mapping[str, Any], resume: bool) -> "Popen[bytes]":
        mode = "resume" if resume else "new"
        run, log = trial_path(folder, number), trial_path(folder, number, ".log")
        command = [sys.executable, "-S", str(FAKE), str(run), json.dumps(values), mode]
        return start(command, os.environ, log)

    folder.mkdir(exist_ok=True)
    study = optuna.create_study(
        storage=open_journal(folder),
        study_name=sweep.name,
        direction=sweep.goal,
        load_if_exists=True,
    )
    progress = Progress(Console(file=output or io.StringIO(), width=200))
    return Runner(sweep, study, folder, launch, total, jobs, 0, progress, seconds=0.01)


def about(runner: Runner) -> list[tuple[float, str, float | None]]:
    """The `x`, the state and the value of each trial, in the order of `x`."""
    trials = runner.study.trials
    return sorted((trial.params["x"], trial.state.name, trial.value) for trial in trials)


def starts(folder: Path) -> list[list[str]]:
    """The starts of each trial: new, or resume."""
    return [
        (run / "starts.txt").read_text().split()
        for run in sorted(folder.glob("trials/*"))
        if run.is_dir()
    ]


def values_of(run: Path) -> list[float]:
    rows = [row for row in read_rows(run / "metrics.jsonl") if row["iteration"] > 0]
    return [row[METRIC] for row in rows]
