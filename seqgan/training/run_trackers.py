"""The trackers that a run's settings name: checked before training, made in its main process."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import groupby
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import nn

from seqgan.learning.players import Players
from seqgan.system.errors import ConfigurationError
from seqgan.system.plugins import built, check_takes, make, parse_spec
from seqgan.tracking.base import Histogram, Tracker
from seqgan.tracking.csv_tracker import CsvTracker
from seqgan.tracking.guard import GuardedTracker
from seqgan.tracking.jsonl import JsonlTracker, read_rows
from seqgan.tracking.metrics import find_metric
from seqgan.tracking.tensorboard_tracker import TensorboardTracker, check_tensorboard
from seqgan.tracking.wandb_settings import check_settings
from seqgan.tracking.wandb_tracker import WandbTracker
from seqgan.training.config_files import plain_settings
from seqgan.training.facts import data_files, run_facts
from seqgan.training.run_rewards import user_files
from seqgan.training.settings import TrainConfig

RECORD = "jsonl"  # the record in the run's folder, which every run has
SHIPPED = ("wandb", "tensorboard", "csv")
PARAMETERS = ("folder", "settings", "position")  # of the method `build` of the user's own
HISTOGRAM = {"name": str, "counts": [int], "edges": [float], "*": float}  # shape of a row


def check_trackers(config: TrainConfig) -> None:
    """Checks everything that the trackers will be made with.

    Raises:
        ConfigurationError: there is no such tracker, a package is missing, two have one name, or
            wandb refuses its settings.
    """
    names = [name_of(spec) for spec in config.trackers]
    for name in names:
        if names.count(name) > 1 or name == RECORD:
            raise ConfigurationError(f"--trackers has {name!r} twice, but each has its own name")
    for spec in config.trackers:
        if spec == "wandb":
            check_settings(config.tracker)
        elif spec == "tensorboard":
            check_tensorboard()
        elif spec != "csv":
            _own(spec)


def name_of(spec: str) -> str:
    """The name of a tracker, under which checkpoints have its position.

    Raises:
        ConfigurationError: it is no specification, or a short name of none.
    """
    written = parse_spec(spec, "tracker")
    if not written.place and spec not in SHIPPED:
        known = ", ".join(SHIPPED)
        raise ConfigurationError(
            f"there is no tracker {spec!r}, only {known}, none, and your own, module:Config or"
            " ./file.py:Config"
        )
    return written.attribute


def make_trackers(
    config: TrainConfig,
    players: Players,
    folder: Path,
    origin: Mapping[str, Any] = MappingProxyType({}),
    state: Mapping[str, Any] = MappingProxyType({}),
) -> dict[str, Tracker]:
    """The trackers of a run by their names, which go on where a checkpoint says that they stood.

    A tracker that the checkpoint does not know, as after a fork, gets the run's record so far.

    Args:
        folder: of the run.
        origin: what is known of the run that this one branches off from.
        state: of the checkpoint; empty for a run from the beginning.

    Raises:
        DataError: a file is shorter than at the checkpoint.
        OSError: a file cannot be written.
    """
    networks: dict[str, nn.Module] = {"generator": players.generator}
    if players.discriminator is not None:
        networks["discriminator"] = players.discriminator.discriminator
    settings = plain_settings(config) | run_facts(config, players.task, networks)
    settings |= origin
    positions = state.get("tracker", {})
    trackers: dict[str, Tracker] = {RECORD: JsonlTracker(folder, positions.get(RECORD))}
    makers: dict[str, Callable[[dict[str, Any]], Tracker]] = {
        "wandb": lambda position: WandbTracker(
            config.tracker, folder, settings, position, user_files(config), data_files(config)
        ),
        "tensorboard": lambda position: TensorboardTracker(folder, settings, position),
        "csv": lambda position: CsvTracker(folder),
    }
    for spec in config.trackers:
        name = name_of(spec)
        position = positions.get(name, {})
        if spec in makers:
            trackers[name] = makers[spec](position)
        else:
            making = partial(_build, spec, folder, settings, position)
            trackers[name] = GuardedTracker(spec, making, position)
        if state and not position:
            replay(folder, trackers[name])
    return trackers


def replay(folder: Path, tracker: Tracker) -> None:
    """Gives a tracker what a run has recorded so far, but for names that no longer exist.

    Raises:
        DataError: a file of the record is damaged.
    """
    for row in read_rows(folder / "metrics.jsonl", {"*": float}):
        if known := {name: value for name, value in row.items() if _is_listed(name)}:
            tracker.log(known)
    for histograms, axes in _histograms(folder):
        tracker.histograms(histograms, axes)
    samples = read_rows(folder / "samples.jsonl", {"step": int, "phase": str})
    for _, rows in groupby(samples, lambda row: (row["step"], row["phase"])):
        tracker.samples(list(rows))
    for row in read_rows(folder / "alerts.jsonl", {"title": str, "text": str}):
        tracker.alert(row["title"], row["text"])


def _histograms(folder: Path) -> Iterator[tuple[dict[str, Histogram], dict[str, float | int]]]:
    """Those of the record that belong together, with their axes."""

    def axes_of(row: Mapping[str, Any]) -> dict[str, float | int]:
        return {name: value for name, value in row.items() if name not in HISTOGRAM}

    rows = read_rows(folder / "histograms.jsonl", HISTOGRAM)
    for axes, group in groupby(filter(lambda row: _is_listed(row["name"]), rows), axes_of):
        yield (
            {row["name"]: Histogram(tuple(row["counts"]), tuple(row["edges"])) for row in group},
            axes,
        )


def _is_listed(name: str) -> bool:
    try:
        find_metric(name)
    except ConfigurationError:
        return False
    return True


def _own(spec: str) -> Any:
    """The settings of a tracker of the user's own.

    Raises:
        ConfigurationError: there are none of that name, or they do not build from `PARAMETERS`.
    """
    found = make(spec, "tracker", {})
    check_takes(getattr(found, "build", None), PARAMETERS, parse_spec(spec, "tracker"))
    return found


def _build(
    spec: str, folder: Path, settings: Mapping[str, Any], position: Mapping[str, Any]
) -> Tracker:
    tracker = built(_own(spec), (folder, settings, position), "tracker", spec)
    if not isinstance(tracker, Tracker):
        raise ConfigurationError(f"its method build gives {tracker!r}, which is no seqgan.Tracker")
    return tracker
