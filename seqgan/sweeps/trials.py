"""The trials of a sweep and the files that outlive it.

sweeps/<name>/  sweep.yaml        the sweep, as it was given
                settings.json     its id, seed and what else it was started with
                trials.jsonl      a row when a trial begins and one when it ends
                trials/<number>/  the run of each trial
                logs/<number>.log what it printed
                parameters/<number>.yaml   what it was given, as wandb reads it
                sweep.json  parallel.png   in the end: the ranked trials
"""

import json
import math
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from seqgan.sweeps.proposals import Point
from seqgan.tracking.jsonl import read_rows
from seqgan.training.config_files import load_config

# An interrupted trial goes on when its sweep does; all but that and `running` are final.
Status = Literal["running", "finished", "stopped early", "failed", "interrupted"]


@dataclass(frozen=True)
class Trial:
    """One run of a sweep."""

    number: int  # from 1
    parameters: dict[str, Any]
    point: Point = field(default_factory=dict)
    status: Status = "running"
    error: str = ""  # one line, of a trial that failed, was interrupted or has no value
    seconds: float = 0.0  # that it took
    pid: int = 0  # of its process, while running
    values: tuple[float, ...] = ()  # of `metric_values`

    @property
    def value(self) -> float | None:
        """The last value of the metric: what a trial is ranked by."""
        return self.values[-1] if self.values else None


@dataclass(frozen=True)
class SweepFolder:
    """Where the parts of a sweep lie."""

    path: Path

    @property
    def sweep(self) -> Path:
        return self.path / "sweep.yaml"

    @property
    def settings(self) -> Path:
        return self.path / "settings.json"

    @property
    def trials(self) -> Path:
        return self.path / "trials.jsonl"

    @property
    def results(self) -> Path:
        return self.path / "sweep.json"

    @property
    def picture(self) -> Path:
        return self.path / "parallel.png"

    def run(self, number: int) -> Path:
        return self.path / "trials" / f"{number:03d}"

    def log(self, number: int) -> Path:
        return self.path / "logs" / f"{number:03d}.log"

    def parameters(self, number: int) -> Path:
        return self.path / "parameters" / f"{number:03d}.yaml"

    def record(self, trial: Trial) -> None:
        """Adds a row about a trial; it stands from then on, whatever happens to the sweep."""
        row = asdict(replace(trial, values=()))
        del row["values"]  # the run's own metrics.jsonl has them
        with self.trials.open("ab", buffering=0) as file:
            file.write((json.dumps(row, ensure_ascii=False) + "\n").encode())

    def mend(self) -> None:
        """Cuts off a row that was half written when the sweep was killed."""
        if self.trials.is_file():
            content = self.trials.read_bytes()
            if len(content) != (whole := content.rfind(b"\n") + 1):
                os.truncate(self.trials, whole)

    def read(self, metric: str) -> list[Trial]:
        """Every trial as its last row says, in the order of the numbers."""
        found = {row["number"]: Trial(**row) for row in read_rows(self.trials)}
        return [
            replace(found[number], values=metric_values(self.run(number), metric))
            for number in sorted(found)
        ]


def metric_values(run: Path, metric: str) -> tuple[float, ...]:
    """The finite values of a metric that a run has logged so far, in that order.

    The evaluation before the game (iteration 0) is left out: it says nothing of a trial's game.
    """
    found = (row[metric] for row in _rows_with(run, metric))
    return tuple(float(value) for value in found if math.isfinite(value))


def last_row_with(run: Path, metric: str) -> dict[str, Any]:
    """The row of the last evaluation in the game that has the metric; empty for none."""
    return next(reversed([*_rows_with(run, metric)]), {})


def why_without_value(run: Path, metric: str) -> str:
    """Why a run that has finished has no value though it logs the metric; empty if it does not."""
    if next(_rows_with(run, metric), None):
        return f"{metric} was never finite"
    if not any(metric in row for row in read_rows(run / "metrics.jsonl")):
        return ""
    config = load_config(run / "config.yaml")
    every, iterations = config.evaluation.every, config.adversarial.iterations
    return f"no evaluation in the game: evaluation.every {every}, iterations {iterations}"


def _rows_with(run: Path, metric: str) -> Iterator[dict[str, Any]]:
    """The rows that have the metric: of the game, or without an iteration."""
    for row in read_rows(run / "metrics.jsonl"):
        if metric in row and row.get("iteration") != 0:
            yield row
