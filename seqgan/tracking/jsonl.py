"""A run's record as JSON lines beside it: readable by anything, resumable to the byte."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from seqgan.data.lines import json_line
from seqgan.data.metrics import Metrics
from seqgan.system.errors import DataError
from seqgan.system.files import append_to, cut
from seqgan.system.reading import parse_row, read_lines
from seqgan.tracking.base import Histogram, SampleRow, Tracker

ANYTHING: Mapping[str, Any] = MappingProxyType({})
OF_METRICS = MappingProxyType({"*": (float, bool, str, type(None))})  # shape of a row
KINDS = ("metrics", "samples", "histograms", "alerts")  # a file `<kind>.jsonl` each


class JsonlTracker(Tracker):
    """Appends to the files of `KINDS` in a folder, one JSON object a line.

    Every line reaches the operating system before the call returns, so a killed process loses at
    most the line that it was writing. NaN and infinities are written as Python's `json` writes
    and reads them: `NaN`, `Infinity`, `-Infinity`.

    Args:
        folder: made if missing.
        position: what `position()` gave, to continue from there: each file is first cut to its
            length at that moment, half-written lines included. None appends to what there is.

    Raises:
        DataError: a file is shorter than `position` says, or it is a link.
        OSError: a file cannot be written, say because the disk is full; so do all methods.
    """

    def __init__(self, folder: Path, position: Mapping[str, Any] | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        paths = {kind: folder / f"{kind}.jsonl" for kind in KINDS}
        if position:
            for kind, path in paths.items():
                length = position.get(kind, 0)  # an older run knows of fewer files
                if check_length(path, length) > length:
                    cut(path, length)
        # Unbuffered: a buffer that a full disk refused would be written again when it is closed.
        self._files = {name: append_to(path) for name, path in paths.items()}

    def log(self, metrics: Metrics) -> None:
        self._append("metrics", [metrics])

    def samples(self, rows: Sequence[SampleRow]) -> None:
        self._append("samples", rows)

    def histograms(self, histograms: Mapping[str, Histogram], axes: Metrics) -> None:
        self._append(
            "histograms",
            [
                {"name": name, **axes, "counts": each.counts, "edges": each.edges}
                for name, each in histograms.items()
            ],
        )

    def alert(self, title: str, text: str) -> None:
        self._append("alerts", [{"title": title, "text": text}])

    def position(self) -> dict[str, Any]:
        """The length of each file in bytes; that much is on the disk when this returns."""
        for file in self._files.values():
            os.fsync(file.fileno())
        return {name: os.fstat(file.fileno()).st_size for name, file in self._files.items()}

    def close(self, exit_code: int = 0) -> None:
        for file in self._files.values():
            file.close()

    def _append(self, name: str, rows: Sequence[Mapping[str, object]]) -> None:
        lines = "".join(json_line(dict(row)) + "\n" for row in rows)
        remaining = lines.encode("utf-8", "backslashreplace")  # of file names that are none
        while remaining:
            remaining = remaining[self._files[name].write(remaining) :]


def check_length(path: Path, length: int) -> int:
    """The size of a file in bytes, 0 where there is none.

    Raises:
        DataError: the file has less than `length` bytes.
    """
    size = path.stat().st_size if path.exists() else 0
    if size < length:
        raise DataError(f"{path} has {size} bytes, but had {length} at the checkpoint")
    return size


def read_rows(path: Path, shape: Mapping[str, Any] = ANYTHING) -> Iterator[dict[str, Any]]:
    """The rows of a JSON-lines file; none where there is no file.

    The last line may be half written, by a process that lives or one that was killed.

    Args:
        shape: of each row, as `check_shape` takes it.

    Raises:
        DataError: the file cannot be read, or a line is no JSON object of that shape.
    """
    for place, line in read_lines(path):
        if line.endswith(b"\n"):
            yield parse_row(line, place, shape)
