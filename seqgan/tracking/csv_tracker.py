"""A run's record as CSV: `metrics.csv`, `samples.csv` and, at its end, `results.csv`, `curve.csv`.

For pandas and spreadsheets: `pandas.read_csv("runs/mine/metrics.csv")`. An empty field says that a
row has no such value. The record that runs go on from is `metrics.jsonl`.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from seqgan.data.metrics import Metrics
from seqgan.system.files import append_to, write_bytes
from seqgan.system.inputs import csv_rows
from seqgan.tracking.base import Ending, SampleRow, Tracker

COUNTERS = ("pretrain/epoch", "pretrain/round", "iteration", "global_step")  # the first columns


class CsvTracker(Tracker):
    """Writes tables into a folder, anew: a run that goes on gives it the earlier rows once more.

    Every row reaches the operating system before the call returns. Lists are left out.

    Args:
        folder: where the files lie; made if missing.

    Raises:
        OSError: a file cannot be written, say because the disk is full; so do all methods.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._metrics = _GrowingTable(folder / "metrics.csv", COUNTERS)
        self._samples = _GrowingTable(folder / "samples.csv")

    def log(self, metrics: Metrics) -> None:
        """Adds a row to `metrics.csv`; a metric that is new adds a column."""
        self._metrics.add([metrics])

    def samples(self, rows: Sequence[SampleRow]) -> None:
        """Adds rows to `samples.csv`."""
        plain = [{k: v for k, v in row.items() if not isinstance(v, list)} for row in rows]
        self._samples.add(plain)

    def results(self, ending: Ending) -> None:
        """Writes the final table and the curves over temperatures."""
        for name, rows in (("results", ending.table), ("curve", ending.curve)):
            if rows:
                columns = list(dict.fromkeys(column for row in rows for column in row))
                content = _lines([columns]) + _encoded(columns, rows)
                write_bytes(self._folder / f"{name}.csv", content)

    def close(self, exit_code: int = 0) -> None:
        self._metrics.close()
        self._samples.close()


class _GrowingTable:
    """A CSV file that gets rows, and now and then a column to the right of the others."""

    def __init__(self, path: Path, columns: Sequence[str] = ()) -> None:
        self._path = path
        self._columns = list(columns)
        path.unlink(missing_ok=True)  # of the same run, before it goes on
        self._file = append_to(path)
        if columns:
            self._write(_lines([columns]))

    def add(self, rows: Sequence[Mapping[str, object]]) -> None:
        new = dict.fromkeys(name for row in rows for name in row if name not in self._columns)
        if new:
            self._widen(list(new))
        self._write(_encoded(self._columns, rows))

    def close(self) -> None:
        self._file.close()

    def _write(self, remaining: bytes) -> None:
        while remaining:
            remaining = remaining[self._file.write(remaining) :]

    def _widen(self, new: list[str]) -> None:
        """Writes the file anew, with empty fields in the new columns, in the old one's place."""
        self._file.close()
        self._columns += new
        with self._path.open(encoding="utf-8", newline="") as file:
            _, *rows = [*csv_rows(csv.reader(file))] or [[]]
        padded = [row + [""] * len(new) for row in rows]
        write_bytes(self._path, _lines([self._columns, *padded]))
        self._file = append_to(self._path)


def _encoded(columns: Sequence[str], rows: Sequence[Mapping[str, object]]) -> bytes:
    """A line for each row, with a field for each column."""
    return _lines([[row.get(name, "") for name in columns] for row in rows])


def _lines(rows: Sequence[Sequence[object]]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode("utf-8", "backslashreplace")  # of file names that are none
