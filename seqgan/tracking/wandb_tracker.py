"""Weights & Biases: the only file that imports wandb, and only when a tracker is made.

A run must not die of its tracker. Whatever goes wrong in wandb, from a missing network to a
crashed background process, costs one warning; the run goes on without it.
"""

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from seqgan.tracking.base import SampleRow
from seqgan.tracking.metrics import METRICS, Metrics

if TYPE_CHECKING:
    import wandb

logger = logging.getLogger(__name__)

Mode = Literal["auto", "online", "offline", "disabled"]

INIT_TIMEOUT = 30.0  # seconds to wait for the server at the start
FINISH_TIMEOUT = 300.0  # seconds to wait for uploads at the end; the rest stays for `wandb sync`


@dataclass(frozen=True)
class TrackerConfig:
    """Whether and where a run is recorded in Weights & Biases."""

    mode: Mode = "auto"  # auto: as WANDB_MODE says, else online with an API key, else offline
    project: str = "seqgan"  # the project that the run belongs to
    name: str = ""  # the run's display name; empty lets wandb invent one
    group: str = ""  # groups runs, say the seeds of one experiment; empty for none
    tags: tuple[str, ...] = ()  # labels to filter runs by


class WandbTracker:
    """Records a run in Weights & Biases; everything it writes lies below the run folder.

    Args:
        config: how to record.
        run_folder: gets a `wandb/` folder with the run, and the files that wait for upload.
        run_config: the run's settings, in JSON types; shown and filtered by in wandb.
        position: what `position()` gave, to continue that run. Offline, the record restarts
            after that step, and what was logged later is dropped when both parts are synced;
            online, the server keeps what it has, so the rows since the checkpoint appear twice,
            at the same `global_step`.
    """

    def __init__(
        self,
        config: TrackerConfig,
        run_folder: Path,
        run_config: Mapping[str, Any],
        position: Mapping[str, Any] | None = None,
    ) -> None:
        self._data_folder = run_folder.resolve() / "wandb" / "data"
        self._position: dict[str, Any] = dict(position or {})
        self._run: wandb.Run | None = None
        self._table: wandb.Table | None = None
        self._columns: tuple[str, ...] = ()  # of the table
        mode = os.environ.get("WANDB_MODE", "") if config.mode == "auto" else config.mode
        if mode != "disabled":
            self._attempt("starting", lambda: self._start(config, run_folder, run_config))

    @property
    def url(self) -> str:
        """The run's page; empty when it is not online."""
        return (self._run.url or "") if self._run is not None else ""

    def log(self, metrics: Metrics) -> None:
        if self._run is not None:
            run = self._run
            self._attempt("logging metrics", lambda: run.log(dict(metrics)))

    def samples(self, rows: Sequence[SampleRow]) -> None:
        """Adds rows to the `samples` table, whose columns are the first row's keys; a missing key
        leaves its cell empty.

        The table is incremental: each call uploads its own rows. wandb shows those of the latest
        100 calls.
        """
        if self._run is not None and rows:
            run = self._run
            self._attempt("logging samples", lambda: self._log_samples(run, rows))

    def position(self) -> dict[str, Any]:
        """The run's id and the step of its last row; empty when there never was a run."""
        if self._run is not None:
            run = self._run
            self._attempt("reading the step", lambda: self._read_position(run))
        return dict(self._position)

    def close(self, exit_code: int = 0) -> None:
        """Waits for uploads, for at most `FINISH_TIMEOUT` seconds."""
        if self._run is not None:
            run = self._run
            self._attempt("finishing", lambda: run.finish(exit_code=exit_code))
            self._run = None

    def _attempt(self, what: str, action: Callable[[], object]) -> None:
        """Does `action`; any error of it turns wandb off for good, with one warning."""
        try:
            with _data_in(self._data_folder):
                action()
        except Exception as error:
            self._run = None
            reason = (str(error).splitlines() or [""])[0]
            logger.warning(
                "wandb failed while %s and is off from here; the run goes on (%s: %s)",
                what,
                type(error).__name__,
                reason,
            )

    def _start(
        self, config: TrackerConfig, run_folder: Path, run_config: Mapping[str, Any]
    ) -> None:
        import wandb

        run_folder.mkdir(parents=True, exist_ok=True)
        mode: Any = _choose_mode(config)
        offline = (mode or wandb.setup().settings.mode) in ("offline", "dryrun")
        run = wandb.init(
            dir=run_folder,
            config=dict(run_config),
            project=config.project,
            name=config.name or None,
            group=config.group or None,
            tags=config.tags or None,
            mode=mode,
            reinit="create_new",
            # Made anew for each run, because init changes the object it is given.
            settings=wandb.Settings(
                console="off",
                silent=True,
                init_timeout=INIT_TIMEOUT,
                finish_timeout=FINISH_TIMEOUT,
            ),
            **_continuation(self._position, offline),
        )
        for name, axis in metric_axes().items():
            run.define_metric(name, step_metric=None if name == axis else axis)
        self._position = {"run_id": run.id, "step": self._position.get("step", -1)}
        self._run = run

    def _log_samples(self, run: "wandb.Run", rows: Sequence[SampleRow]) -> None:
        import wandb

        if self._table is None:
            self._columns = tuple(rows[0])
            self._table = wandb.Table(columns=list(self._columns), log_mode="INCREMENTAL")
        for row in rows:
            self._table.add_data(*(row.get(column) for column in self._columns))
        run.log({"samples": self._table})

    def _read_position(self, run: "wandb.Run") -> None:
        # Until its first row, a continued run reports step 0.
        step = max(self._position["step"], run.step - 1)
        self._position = {"run_id": run.id, "step": step}


def metric_axes() -> dict[str, str]:
    """What `define_metric` is told: a name, or a glob over a whole area, to its axis.

    No two entries match the same metric, because wandb does not say which of two would win: an
    area whose metrics share one axis is a glob, any other is spelled out name by name.
    """
    axes: dict[str, str] = {}
    for metric in METRICS:
        in_area = [other for other in METRICS if other.area == metric.area]
        shared = metric.area and len({other.axis for other in in_area}) == 1
        axes[f"{metric.area}/*" if shared else metric.name] = metric.axis
    return axes


def _choose_mode(config: TrackerConfig) -> str | None:
    """The mode to pass to init; None leaves it to WANDB_MODE and wandb's own settings files."""
    if config.mode != "auto":
        return config.mode
    import wandb

    settings = wandb.setup().settings
    if "WANDB_MODE" in os.environ or settings.mode != "online":
        return None
    return "online" if _has_credentials(settings) else "offline"


def logged_in() -> bool:
    """Whether wandb would find an API key without asking. Reads files, calls no server."""
    import wandb

    return _has_credentials(wandb.setup().settings)


def _has_credentials(settings: "wandb.Settings") -> bool:
    """Whether wandb would find an API key without asking. Reads files, calls no server."""
    from wandb.sdk.lib.wbauth import read_netrc_auth

    return bool(
        os.environ.get("WANDB_API_KEY")
        or settings.api_key
        or settings.identity_token_file
        or read_netrc_auth(host=settings.base_url)
    )


def _continuation(position: Mapping[str, Any], offline: bool) -> dict[str, Any]:
    """Arguments of init that continue a run.

    Offline, `resume` is ignored and the steps would start at 0 again, so the run is rewound to
    its step instead.
    """
    if not position:
        return {}
    if offline and position["step"] >= 0:
        return {"resume_from": f"{position['run_id']}?_step={position['step']}"}
    return {"id": position["run_id"], "resume": "allow"}


@contextmanager
def _data_in(folder: Path) -> Iterator[None]:
    """Lets wandb keep its data and its cache in `folder`; by default they go to the home folder.

    A table waits there for its upload, so a run folder copied to another machine would lack it.
    wandb reads these variables whenever it stages a file and has no setting for them.
    """
    wanted = {"WANDB_DATA_DIR": str(folder), "WANDB_CACHE_DIR": str(folder / "cache")}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
