"""A tracker of the user's own, which must not end the run that it records."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from seqgan.data.metrics import Metrics
from seqgan.system.plugins import told
from seqgan.system.surroundings import is_failure, kept_surroundings
from seqgan.tracking.base import Ending, Histogram, SampleRow, Tracker

logger = logging.getLogger(__name__)


class GuardedTracker(Tracker):
    """Passes everything on. Whatever the tracker raises turns it off for good, with one warning.

    Its changes to the whole process are put back, and said.

    Args:
        name: as the settings name it.
        make: makes the tracker.
        position: what `position()` gave; kept where the tracker cannot be made.
    """

    def __init__(
        self, name: str, make: Callable[[], Tracker], position: Mapping[str, Any] | None = None
    ) -> None:
        self._name = name
        self._position = dict(position or {})
        self._tracker: Tracker | None = None
        self._tracker = self._attempt("build", make)

    def log(self, metrics: Metrics) -> None:
        self._pass("log", dict(metrics))

    def samples(self, rows: Sequence[SampleRow]) -> None:
        self._pass("samples", rows)

    def histograms(self, histograms: Mapping[str, Histogram], axes: Metrics) -> None:
        self._pass("histograms", histograms, axes)

    def checkpoint(
        self, folder: Path, aliases: Sequence[str], metadata: Mapping[str, object]
    ) -> None:
        self._pass("checkpoint", folder, aliases, metadata)

    def alert(self, title: str, text: str) -> None:
        self._pass("alert", title, text)

    def line(self, text: str) -> None:
        self._pass("line", text)

    def results(self, ending: Ending) -> None:
        self._pass("results", ending)

    def position(self) -> dict[str, Any]:
        """The tracker's; the last one where it is off, empty where it fails now."""
        if self._tracker is not None:
            self._position = self._attempt("position", _plain_position, self._tracker) or {}
        return dict(self._position)

    def close(self, exit_code: int = 0) -> None:
        self._pass("close", exit_code)

    def _pass(self, method: str, *arguments: Any) -> Any:
        if self._tracker is None:
            return None
        return self._attempt(method, getattr(self._tracker, method), *arguments)

    def _attempt(self, what: str, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            with kept_surroundings(f"tracker {self._name!r}"):
                return function(*arguments)
        except BaseException as error:
            if not is_failure(error):
                raise
            self._tracker = None
            logger.warning(
                "tracker %r failed in %s and is off from here; the run goes on (%s)",
                *(self._name, what, told(error)),
            )
            return None


def _plain_position(tracker: Tracker) -> dict[str, Any]:
    """The position as a checkpoint gives it back.

    Raises:
        TypeError: it is not of JSON's types.
    """
    position: dict[str, Any] = json.loads(json.dumps(dict(tracker.position())))
    return position
