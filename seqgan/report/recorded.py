"""The record of a run so far, read back for its report.

A run that was killed, is still going or is older than a file of today still has a report. So a
file that is missing, or whose last line is half written, costs a line that says so, and no more.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from jaxtyping import Float, Int

from seqgan.system.errors import DataError
from seqgan.tracking.metrics import AXES, find_metric

Row = dict[str, Any]
_NOTHING = (np.zeros(0, dtype=int), np.zeros(0))
MEASURE = find_metric("eval/<measure>")  # the entry of all measures of a task


@dataclass(frozen=True)
class Recorded:
    """One run, from the files in its folder.

    Args:
        name: what the report calls it.
        config: its settings, nested as in `config.yaml`.
        vocabulary: the words of its texts.
        metrics: rows of `metrics.jsonl`, in their order.
        samples: rows of `samples.jsonl`.
        histograms: rows of `histograms.jsonl`.
        alerts: rows of `alerts.jsonl`, what the run itself has warned of.
        results: `results.json`; None where the run has no end yet.
        machine: `machine.json`; None where the run is older than that file.
        missing: a sentence for each thing that the report has to do without.
    """

    name: str
    path: Path
    config: Row
    vocabulary: tuple[str, ...]
    metrics: tuple[Row, ...]
    samples: tuple[Row, ...]
    histograms: tuple[Row, ...]
    alerts: tuple[Row, ...]
    results: Row | None
    machine: Row | None
    missing: tuple[str, ...]

    @property
    def kind(self) -> str:
        """The kind of its task."""
        return str(self.config.get("task", {}).get("kind", ""))

    @property
    def quality(self) -> str | None:
        """The metric that says how good its texts are, without `eval/`; None before there is one.

        As the run's end names it; before the end, by the order in which an evaluation chooses:
        the true model's likelihood, a measure of the task, BLEU-4.
        """
        if self.results is not None:
            return str(self.results["comparison"]["quality"])
        measured = dict.fromkeys(
            name for row in self.metrics for name in row if MEASURE.matches(name)
        )
        measures = [name for name in measured if find_metric(name) is MEASURE]
        known = [name for name in ("eval/nll_oracle", *measures, "eval/bleu_4") if name in measured]
        return known[0].removeprefix("eval/") if known else None

    @property
    def adversary(self) -> bool:
        """True if a reward learns along with the generator."""
        if self.results is not None and "about" in self.results:
            return bool(self.results["about"]["adversary"])
        return self.judge_learns

    @property
    def judge_learns(self) -> bool:
        """True if a discriminator is trained during the game."""
        return "losses/discriminator" in self._columns

    def curve(
        self, metric: str, axis: str
    ) -> tuple[Float[np.ndarray, " row"], Float[np.ndarray, " row"]]:
        """A metric against another one, in every row that has both; not finite becomes NaN.

        An empty `axis` stands for the rows without any counter, numbered from 1.
        """
        at, places = self._columns.get(axis, _NOTHING)
        known, values = self._columns.get(metric, _NOTHING)
        _, x, y = np.intersect1d(at, known, assume_unique=True, return_indices=True)
        return places[x], values[y]

    @cached_property
    def _columns(self) -> dict[str, tuple[Int[np.ndarray, " row"], Float[np.ndarray, " row"]]]:
        """Each metric's row numbers and values."""
        columns: dict[str, tuple[list[int], list[float]]] = {}
        uncounted = 0
        for number, row in enumerate(self.metrics):
            if not row.keys() & {"iteration", *AXES}:
                uncounted += 1
                row = {**row, "": uncounted}
            for name, value in row.items():
                if isinstance(value, int | float) and not isinstance(value, bool):
                    numbers, values = columns.setdefault(name, ([], []))
                    numbers.append(number)
                    values.append(float(value) if math.isfinite(value) else math.nan)
        return {
            name: (np.array(numbers, dtype=int), np.array(values, dtype=float))
            for name, (numbers, values) in columns.items()
        }

    def batch(self, when: str) -> list[Row]:
        """The samples that were logged together, `before` the first generator update or `after`.

        Before: those at step 0 that were logged last, when a discriminator that judges them has
        been trained. After: the last ones, of the game if the run has no end.
        """
        before = [row for row in self.samples if not row.get("step")]
        before = [row for row in before if row.get("phase") != "after the game"]
        chosen = before
        if when == "after":
            chosen = [row for row in self.samples if row not in before]
        if not chosen:
            return []
        last = (chosen[-1].get("phase"), chosen[-1].get("step"))
        return [row for row in chosen if (row.get("phase"), row.get("step")) == last]


def read_runs(paths: Sequence[Path]) -> list[Recorded]:
    """Several runs of one task, under names that tell them apart.

    Raises:
        DataError: a folder is not a run or is named twice, a file is damaged, or the runs cannot
            be compared.
    """
    places = [path.resolve() for path in paths]
    for place, path in zip(places, paths, strict=True):
        if places.count(place) > 1:
            raise DataError(f"a report takes each run once, got {path} again")
    names = [place.name for place in places]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    runs = [read_run(path, name) for path, name in zip(paths, names, strict=True)]
    for run in runs[1:]:
        if run.kind != runs[0].kind:
            raise DataError(
                "the runs of a report have one task, got"
                f" {runs[0].kind} ({runs[0].name}) and {run.kind} ({run.name})"
            )
        if run.vocabulary != runs[0].vocabulary:
            raise DataError(
                "the runs of a report have one vocabulary, or their likelihoods could not be"
                f" compared, got {len(runs[0].vocabulary)} words ({runs[0].name}) and"
                f" {len(run.vocabulary)} ({run.name})"
            )
    return runs


def read_run(path: Path, name: str = "") -> Recorded:
    """One run; the folder's name is its name unless another is given.

    Raises:
        DataError: the folder is not a run that has logged something, or a file is damaged.
    """
    for file in ("config.yaml", "task.json", "metrics.jsonl"):
        if not (path / file).is_file():
            raise DataError(f"a run is a folder with a {file}, got {path}")
    missing: list[str] = []
    config, task = _read_yaml(path / "config.yaml"), _read_object(path / "task.json")
    for file, found in (("config.yaml", config), ("task.json", task)):
        if found is None:
            raise DataError(f"a run has an intact {file}, got {path / file}, which is damaged")
    assert config is not None
    assert task is not None
    metrics = _read_lines(path / "metrics.jsonl", missing)
    if not metrics:
        missing.append("Nothing has been logged yet: metrics.jsonl is empty.")
    samples = _read_lines(path / "samples.jsonl", missing)
    if not samples:
        missing.append("There are no samples (samples.jsonl is missing or empty).")
    histograms = _read_lines(path / "histograms.jsonl", missing)
    results = _read_object(path / "results.json")
    if results is None:
        missing.append(
            "The run has no end: there is no complete results.json, so no comparison with"
            " maximum likelihood and no frontier."
        )
    words = task.get("vocabulary", {}).get("words", ())
    return Recorded(
        name or path.resolve().name,
        path,
        config,
        tuple(words),
        metrics,
        samples,
        histograms,
        _read_lines(path / "alerts.jsonl", missing),
        results,
        _read_object(path / "machine.json"),
        tuple(missing),
    )


def _read_lines(path: Path, missing: list[str]) -> tuple[Row, ...]:
    """The rows of a file of JSON lines; none where there is no file.

    A killed process may have left its last line half written: that one is dropped, and said so.

    Raises:
        DataError: another line is no JSON object.
    """
    if not path.is_file():
        return ()
    rows: list[Row] = []
    lines = path.read_bytes().splitlines()
    for number, line in enumerate(lines, 1):
        try:
            row = json.loads(line)
        except ValueError as error:
            if number == len(lines):
                missing.append(f"The last line of {path.name} is half written and left out.")
                break
            raise DataError(f"{path}, line {number} is a JSON object: {error}") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number} is a JSON object, got {row!r:.40}")
        rows.append(row)
    return tuple(rows)


def _read_object(path: Path) -> Row | None:
    """A file with one JSON object; None where there is none, or only a part of one."""
    try:
        content = json.loads(path.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def _read_yaml(path: Path) -> Row | None:
    """A file with one YAML mapping; None where it is damaged."""
    try:
        content = yaml.safe_load(path.read_bytes())
    except yaml.YAMLError:
        return None
    return content if isinstance(content, dict) else None
