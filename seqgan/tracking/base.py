"""The contract of a tracker, one in memory, and one that passes everything on to several."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from seqgan.data.metrics import Metrics
from seqgan.system.errors import ConfigurationError
from seqgan.tracking.metrics import find_metric

SampleRow = Mapping[str, object]


@dataclass(frozen=True)
class Histogram:
    """Counts of values between neighbouring edges. There is one more edge than counts."""

    counts: tuple[int, ...]
    edges: tuple[float, ...]


@dataclass(frozen=True)
class Ending:
    """The end of a run, for whoever looks at its record.

    Args:
        metrics: numbers and words by names of the metric list.
        lines: the table and the sentences that the run prints.
        curve: a row for each generator and temperature: `generator`, `temperature`, `quality`,
            `diversity`, and the same and others by the names of their metrics.
        table: a row for each generator of the final table: `generator`, and numbers by the names of
            their metrics, without `eval/`.
        files: pages and pictures about the run, by names of their own.
    """

    metrics: Mapping[str, float | int | str]
    lines: Sequence[str] = ()
    table: Sequence[Mapping[str, float | str]] = ()
    curve: Sequence[Mapping[str, float | str]] = ()
    files: Mapping[str, Path] = field(default_factory=dict)


class Tracker:
    """Records a run's numbers and texts. What a kind of tracker has no place for, it leaves out.

    One of your own overrides the methods that it has a place for: see docs/extending.md.
    """

    def log(self, metrics: Metrics) -> None:
        """Records one set of values that belong together. NaN and infinities are values too."""

    def samples(self, rows: Sequence[SampleRow]) -> None:
        """Records generated texts.

        Each row has `step` (int, the global step), `phase` (str) and `text` (str), and any number
        of floats beside them, such as `reward` and `log_prob`. All rows of a run have the same
        keys. A list, such as `tokens`, is for a tracker that has a place for it.
        """

    def histograms(self, histograms: Mapping[str, Histogram], axes: Metrics) -> None:
        """Records histograms by their names.

        Args:
            axes: where they belong: `global_step` and `iteration`.
        """

    def checkpoint(
        self, folder: Path, aliases: Sequence[str], metadata: Mapping[str, object]
    ) -> None:
        """Records a checkpoint's folder as it is now.

        Args:
            aliases: names that point to this checkpoint from here on, say `best`.
            metadata: what is known about it, in JSON types.
        """

    def alert(self, title: str, text: str) -> None:
        """Tells whoever watches that something is wrong."""

    def line(self, text: str) -> None:
        """Records lines that the run prints, for a tracker that keeps its log."""

    def results(self, ending: Ending) -> None:
        """Records the end of a run."""

    def position(self) -> dict[str, Any]:
        """The record's present length, in JSON types, for a checkpoint.

        A tracker made with this position continues from here, and drops later records.
        """
        return {}

    def close(self, exit_code: int = 0) -> None:
        """Ends the record; 0 says that the run succeeded. Closing twice does nothing more."""


class MemoryTracker(Tracker):
    """Keeps everything in lists: for tests and notebooks."""

    def __init__(self) -> None:
        self.logged: list[dict[str, float | int]] = []
        self.rows: list[dict[str, object]] = []
        self.histogram_rows: list[dict[str, object]] = []  # `name`, `histogram` and the axes
        self.checkpoints: list[tuple[Path, tuple[str, ...], dict[str, object]]] = []
        self.alerts: list[tuple[str, str]] = []
        self.lines: list[str] = []
        self.end: dict[str, object] = {}  # the metrics of the run's end
        self.exit_code: int | None = None  # None until closed

    def log(self, metrics: Metrics) -> None:
        self.logged.append(dict(metrics))

    def samples(self, rows: Sequence[SampleRow]) -> None:
        self.rows.extend(dict(row) for row in rows)

    def histograms(self, histograms: Mapping[str, Histogram], axes: Metrics) -> None:
        for name, histogram in histograms.items():
            self.histogram_rows.append({"name": name, "histogram": histogram, **axes})

    def checkpoint(
        self, folder: Path, aliases: Sequence[str], metadata: Mapping[str, object]
    ) -> None:
        self.checkpoints.append((folder, tuple(aliases), dict(metadata)))

    def alert(self, title: str, text: str) -> None:
        self.alerts.append((title, text))

    def line(self, text: str) -> None:
        self.lines.append(text)

    def results(self, ending: Ending) -> None:
        self.end = dict(ending.metrics)

    def close(self, exit_code: int = 0) -> None:
        self.exit_code = exit_code

    def values(self, name: str) -> list[float | int]:
        """The logged values of one metric, in order."""
        return [metrics[name] for metrics in self.logged if name in metrics]


class Trackers(Tracker):
    """Passes everything on to several named trackers. Here, once, every name is checked.

    Args:
        trackers: the receivers; their names are the keys of `position()`.
    """

    def __init__(self, trackers: Mapping[str, Tracker]) -> None:
        self._trackers = dict(trackers)
        self._known: set[str] = set()

    def log(self, metrics: Metrics) -> None:
        """Records the metrics everywhere.

        Raises:
            ConfigurationError: a name is neither in the metric list nor `user/` and a name of the
                user's own, or a value is no number of Python; nothing was recorded.
        """
        self._check(metrics)
        for name, value in metrics.items():
            if not isinstance(value, int | float):
                raise ConfigurationError(
                    f"metric {name!r} is of type {type(value).__name__}, but must be a"
                    " float or an int"
                )
        for tracker in self._trackers.values():
            tracker.log(metrics)

    def samples(self, rows: Sequence[SampleRow]) -> None:
        for tracker in self._trackers.values():
            tracker.samples(rows)

    def histograms(self, histograms: Mapping[str, Histogram], axes: Metrics) -> None:
        """Records the histograms everywhere.

        Raises:
            ConfigurationError: a name is neither in the metric list nor `user/` and a name of the
                user's own; nothing was recorded.
        """
        self._check(histograms)
        for tracker in self._trackers.values():
            tracker.histograms(histograms, axes)

    def checkpoint(
        self, folder: Path, aliases: Sequence[str], metadata: Mapping[str, object]
    ) -> None:
        for tracker in self._trackers.values():
            tracker.checkpoint(folder, aliases, metadata)

    def alert(self, title: str, text: str) -> None:
        for tracker in self._trackers.values():
            tracker.alert(title, text)

    def line(self, text: str) -> None:
        for tracker in self._trackers.values():
            tracker.line(text)

    def results(self, ending: Ending) -> None:
        """Records the end of a run everywhere.

        Raises:
            ConfigurationError: a name is neither in the metric list nor of the user's own.
        """
        self._check(ending.metrics)
        for tracker in self._trackers.values():
            tracker.results(ending)

    @property
    def offline_record(self) -> Path | None:
        """The folder of wandb's offline record, where there is one."""
        records = (getattr(each, "offline_record", None) for each in self._trackers.values())
        return next((record for record in records if record is not None), None)

    def position(self) -> dict[str, Any]:
        """The position of each tracker, by its name."""
        return {name: tracker.position() for name, tracker in self._trackers.items()}

    def close(self, exit_code: int = 0) -> None:
        """Closes all of them, even if one raises; its error is raised after the others closed."""
        with ExitStack() as stack:
            for tracker in reversed(self._trackers.values()):
                stack.callback(tracker.close, exit_code)

    def _check(self, named: Mapping[str, object]) -> None:
        for name in named.keys() - self._known:
            find_metric(name)
            self._known.add(name)
