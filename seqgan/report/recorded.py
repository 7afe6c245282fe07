"""The record of a run so far, read back for its report.

A run that was killed, is still going or is older than a file of today still has a report. So a
file that is missing, or whose last line is half written, costs a line that says so, and no more.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from seqgan.system.errors import DataError
from seqgan.system.reading import (
    check_shape,
    parse_json,
    parse_row,
    read_json,
    read_lines,
    read_yaml,
)
from seqgan.tracking.metrics import AXES, find_metric
from seqgan.training.run_folders import RunFolder
from seqgan.training.run_results import read_results

Row = dict[str, Any]
# Shapes of what is read, as `check_shape` takes them.
OF_CONFIG = {"task?": {"kind?": str}, "adversarial?": {"iterations?": int}, "reward?": object}
OF_METRICS = {
    "iteration?": float,
    "global_step?": float,
    "pretrain/epoch?": float,
    "pretrain/round?": float,
    "*": (float, bool, str, type(None), list, dict),
}
OF_SAMPLE = {
    "text?": str,
    "prompt?": (str, type(None)),
    "tokens?": [str],
    "token_values?": (list, type(None)),
    "step?": float,
    "phase?": str,
}
OF_HISTOGRAM = {"name": str, "iteration": int, "counts": [float], "edges": [float]}
END_OF_RUN = "after the game"  # the phase of the last samples of a run
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
    def played(self) -> bool:
        """True if the generator trained at all after maximum likelihood."""
        known = (self.results or {}).get("about", {}).get("played")
        return any(row.get("iteration") for row in self.metrics) if known is None else bool(known)

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

    def batches(self) -> tuple[list[Row], list[Row]]:
        """The samples before the first generator update and after the last one, as they were shown.

        After: those that were logged last, of the game if the run has no end. Before: those at step
        0 that continue the same prompts; of several, the ones that the run showed at its start.
        """
        at_start = [row for row in self.samples if not row.get("step")]
        at_start = [row for row in at_start if row.get("phase") != END_OF_RUN]
        later = [row for row in self.samples if row not in at_start]
        befores, after = _moments(at_start), (_moments(later) or [[]])[-1]
        same = [rows for rows in befores if _prompts(rows) == _prompts(after)] or befores
        shown = [rows for rows in same if str(rows[0].get("phase")).startswith("before the ")]
        return (shown or same or [[]])[-1], after


def _moments(rows: Sequence[Row]) -> list[list[Row]]:
    """Samples that were logged together, moment after moment."""
    moments: dict[tuple[Any, Any], list[Row]] = {}
    for row in rows:
        moments.setdefault((row.get("phase"), row.get("step")), []).append(row)
    return [*moments.values()]


def _prompts(rows: Sequence[Row]) -> list[str]:
    return [str(row.get("prompt") or "") for row in rows]


def read_runs(paths: Sequence[Path]) -> list[Recorded]:
    """Several runs of one task, under names that tell them apart.

    Raises:
        DataError: a folder is not a run or is named twice, a file is damaged, or the runs cannot
            be compared.
    """
    places = [path.resolve() for path in paths]
    for place, path in zip(places, paths, strict=True):
        if places.count(place) > 1:
            raise DataError(f"the run {path} is given twice")
    names = [place.name for place in places]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    runs = [read_run(path, name) for path, name in zip(paths, names, strict=True)]
    for run in runs[1:]:
        if run.kind != runs[0].kind:
            raise DataError(
                f"{runs[0].name} has the task {runs[0].kind} and {run.name} has {run.kind},"
                " but the runs of a report must have one task"
            )
        if run.vocabulary != runs[0].vocabulary:
            raise DataError(
                f"{runs[0].name} has a vocabulary of {len(runs[0].vocabulary)} words and"
                f" {run.name} has another of {len(run.vocabulary)}, but the runs of a"
                " report must have one, or their likelihoods could not be compared"
            )
    return runs


def read_run(path: Path, name: str = "") -> Recorded:
    """One run; the folder's name is its name unless another is given.

    Raises:
        DataError: the folder is not a run that has logged something, or a file is damaged.
    """
    for file in ("config.yaml", "task.json", "metrics.jsonl"):
        if not (path / file).is_file():
            raise DataError(f"{path} is no run: it has no {file}")
    missing: list[str] = []
    config, task = _intact(path / "config.yaml"), _intact(path / "task.json")
    check_shape(config, OF_CONFIG, str(path / "config.yaml"))
    check_shape(task, {"vocabulary?": {"words?": [str]}}, str(path / "task.json"))
    metrics = _read_lines(path / "metrics.jsonl", missing, OF_METRICS)
    if not metrics:
        missing.append("Nothing has been logged yet: metrics.jsonl is empty.")
    samples = _read_lines(path / "samples.jsonl", missing, OF_SAMPLE)
    if not samples:
        missing.append("There are no samples (samples.jsonl is missing or empty).")
    histograms = _read_lines(path / "histograms.jsonl", missing, OF_HISTOGRAM)
    for row in histograms:
        if len(row["edges"]) != len(row["counts"]) + 1:
            where, edges, counts = path / "histograms.jsonl", len(row["edges"]), len(row["counts"])
            raise DataError(
                f"{where} has {edges} edges for {counts} counts, but must have one edge more"
            )
    results = _results(path)
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
        _read_lines(path / "alerts.jsonl", missing, {}),
        results,
        _machine(path / "machine.json"),
        tuple(missing),
    )


def _read_lines(path: Path, missing: list[str], shape: Mapping[str, Any]) -> tuple[Row, ...]:
    """The rows of a file of JSON lines; none where there is no file.

    A killed process may have left its last line half written: that one is dropped, and said so.

    Args:
        shape: of each row, as `check_shape` takes it.

    Raises:
        DataError: another line is no JSON object of that shape.
    """
    lines = list(read_lines(path))
    if lines:
        place, line = lines[-1]
        try:
            parse_json(line, place)
        except DataError:
            missing.append(f"The last line of {path.name} is half written and left out.")
            lines.pop()
    return tuple(parse_row(line, place, shape) for place, line in lines)


def _intact(path: Path) -> Row:
    """The mapping in a file of YAML or JSON.

    Raises:
        DataError: there is none.
    """
    try:
        content = read_yaml(path) if path.suffix == ".yaml" else read_json(path)
    except DataError as error:
        raise DataError(f"{path} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path} is damaged: it is no mapping")
    return content


def _results(path: Path) -> Row | None:
    """`results.json`; None where there is none, or only a part of one, of a killed process."""
    folder = RunFolder(path)
    try:
        read_json(folder.results)
    except DataError:
        return None
    return read_results(folder)


def _machine(path: Path) -> Row | None:
    """`machine.json`; None where there is none, or only a part of one."""
    try:
        content = read_json(path)
    except DataError:
        return None
    return content if isinstance(content, dict) else None
