"""What a tracker is, one that remembers, and one that passes everything on to several."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Protocol, runtime_checkable

from seqgan.tracking.metrics import Metrics, find_metric

SampleRow = Mapping[str, object]


@runtime_checkable
class Tracker(Protocol):
    """Where a run's numbers and texts go."""

    def log(self, metrics: Metrics) -> None:
        """Records one set of values that belong together. NaN and infinities are values too."""
        ...

    def samples(self, rows: Sequence[SampleRow]) -> None:
        """Records generated texts.

        Each row has `step` (int, the global step), `phase` (str) and `text` (str), and any number
        of floats beside them, such as `reward` and `log_prob`. All rows of a run have the same
        keys.
        """
        ...

    def position(self) -> dict[str, Any]:
        """Where the record stands now, in JSON types: what a checkpoint keeps.

        A tracker made with this position continues from here, whatever was recorded after it.
        """
        ...

    def close(self, exit_code: int = 0) -> None:
        """Ends the record; 0 says that the run succeeded. Closing twice does nothing more."""
        ...


class MemoryTracker:
    """Keeps everything in lists: for tests and notebooks."""

    def __init__(self) -> None:
        self.logged: list[dict[str, float | int]] = []
        self.rows: list[dict[str, object]] = []
        self.exit_code: int | None = None  # None until closed

    def log(self, metrics: Metrics) -> None:
        self.logged.append(dict(metrics))

    def samples(self, rows: Sequence[SampleRow]) -> None:
        self.rows.extend(dict(row) for row in rows)

    def position(self) -> dict[str, Any]:
        """Empty: what is in memory ends with the process."""
        return {}

    def close(self, exit_code: int = 0) -> None:
        self.exit_code = exit_code

    def values(self, name: str) -> list[float | int]:
        """The logged values of one metric, in order."""
        return [metrics[name] for metrics in self.logged if name in metrics]


class Trackers:
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
            ValueError: a name is not in the metric list; nothing was recorded.
        """
        for name in metrics.keys() - self._known:
            find_metric(name)
            self._known.add(name)
        for tracker in self._trackers.values():
            tracker.log(metrics)

    def samples(self, rows: Sequence[SampleRow]) -> None:
        for tracker in self._trackers.values():
            tracker.samples(rows)

    def position(self) -> dict[str, Any]:
        """The position of each tracker, by its name."""
        return {name: tracker.position() for name, tracker in self._trackers.items()}

    def close(self, exit_code: int = 0) -> None:
        """Closes all of them, even if one raises; its error is raised after the others closed."""
        with ExitStack() as stack:
            for tracker in reversed(self._trackers.values()):
                stack.callback(tracker.close, exit_code)
