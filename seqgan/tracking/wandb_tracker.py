"""Weights & Biases: the only file that imports wandb, and only when a tracker is made.

A run must not die of its tracker. Whatever goes wrong in wandb, from a missing network to a
crashed background process, costs one warning; the run goes on without it.
"""

import logging
import math
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from seqgan.data.metrics import Metrics
from seqgan.tracking.base import Histogram, SampleRow
from seqgan.tracking.metrics import METRICS, OWN, axis_of

if TYPE_CHECKING:
    import wandb

logger = logging.getLogger(__name__)

Mode = Literal["auto", "online", "offline", "disabled"]
Checkpoints = Literal["best", "none"]

INIT_TIMEOUT = 30.0  # seconds to wait for the server at the start
FINISH_TIMEOUT = 300.0  # seconds to wait for uploads at the end; the rest stays for `wandb sync`
FLUSH_INTERVAL = 1.0  # seconds of an offline record that a machine which dies may take along
MAX_TITLE = 63  # characters of an alert's title
RUN_FILES = ("config.yaml", "task.json")  # of the run folder: what a checkpoint is useless without
CODE_VARIABLES = {"WANDB_DISABLE_CODE", "WANDB_SAVE_CODE"}  # how a person decides about source
PACKAGE = Path(__file__).parents[1]  # the source of the library


@dataclass(frozen=True)
class TrackerConfig:
    """Settings of a run's record in Weights & Biases."""

    mode: Mode = "auto"  # auto: as WANDB_MODE says, else online with an API key, else offline
    project: str = "seqgan"  # the project that the run belongs to
    name: str = ""  # the run's display name; empty lets wandb invent one
    group: str = ""  # groups runs, say the seeds of one experiment; empty for none
    job_type: str = "train"  # what the run is in its group
    tags: tuple[str, ...] = ()  # labels to filter runs by
    notes: str = ""  # what a person wants to remember about the run
    # Checkpoints as versions of an artifact. best: each that is the best of the game so far (least
    # checkpoint/loss, which quality alone does not lower), and the last; none: in the folder only.
    checkpoints: Checkpoints = "best"


class WandbTracker:
    """Records a run in Weights & Biases; everything it writes lies below the run folder.

    Args:
        config: how to record.
        run_folder: gets a `wandb/` folder with the run, and the files that wait for upload.
        run_config: the run's settings, in JSON types; shown and filtered by in wandb.
        position: what `position()` gave, to continue that run. Offline, the record restarts
            after that step, and what was logged later is dropped when both parts are synced;
            online, the server keeps what it has, so the rows since the checkpoint appear twice,
            at the same `global_step`. With `"fork": True` it is that run's position, and a new
            run branches off there.
        code: files of the user's own that the run depends on, say a reward's; kept beside the
            source of this library and of the program. WANDB_DISABLE_CODE keeps all of it out.
    """

    def __init__(
        self,
        config: TrackerConfig,
        run_folder: Path,
        run_config: Mapping[str, Any],
        position: Mapping[str, Any] | None = None,
        code: Sequence[Path] = (),
    ) -> None:
        self._config, self._run_folder = config, run_folder.resolve()
        self._data_folder = self._run_folder / "wandb" / "data"
        self._position: dict[str, Any] = dict(position or {})
        self._run: wandb.Run | None = None
        self._table: wandb.Table | None = None
        self._columns: tuple[str, ...] = ()  # of the table
        self._own_axes: dict[str, str] = {}  # of the user's own metrics, as wandb knows them
        mode = os.environ.get("WANDB_MODE", "") if config.mode == "auto" else config.mode
        if mode != "disabled":
            self._attempt("starting", lambda: self._start(run_config, code))

    @property
    def url(self) -> str:
        """The run's page; empty when it is not online."""
        return (self._run.url or "") if self._run is not None else ""

    def log(self, metrics: Metrics) -> None:
        if self._run is not None:
            run = self._run
            self._attempt("logging metrics", lambda: self._log(run, metrics))

    def samples(self, rows: Sequence[SampleRow]) -> None:
        """Adds rows to the `samples` table, whose columns are the first row's keys, those of lists
        left out; a missing key leaves its cell empty.

        The table is incremental: each call uploads its own rows. wandb shows those of the latest
        100 calls.
        """
        if self._run is not None and rows:
            run = self._run
            self._attempt("logging samples", lambda: self._log_samples(run, rows))

    def histograms(self, histograms: Mapping[str, Histogram], axes: Metrics) -> None:
        if self._run is not None:
            run = self._run
            self._attempt("logging histograms", lambda: self._log_histograms(run, histograms, axes))

    def checkpoint(
        self, folder: Path, aliases: Sequence[str], metadata: Mapping[str, object]
    ) -> None:
        """A version of the artifact `checkpoint-<run id>`, of type `model`.

        Downloaded, it is a run folder with this one checkpoint, of which texts can be sampled.
        """
        if self._run is not None and self._config.checkpoints != "none":
            run = self._run
            self._attempt(
                "logging a checkpoint",
                lambda: self._log_checkpoint(run, folder, aliases, metadata),
            )

    def alert(self, title: str, text: str) -> None:
        if self._run is not None:
            run = self._run
            self._attempt("alerting", lambda: run.alert(title[:MAX_TITLE], text, level="WARN"))

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

    def _start(self, run_config: Mapping[str, Any], code: Sequence[Path]) -> None:
        import wandb

        config = self._config
        self._run_folder.mkdir(parents=True, exist_ok=True)
        mode: Any = _choose_mode(config)
        offline = (mode or wandb.setup().settings.mode) in ("offline", "dryrun")
        continuation = _continuation(self._position, offline)
        run = wandb.init(
            dir=self._run_folder,
            config=dict(run_config),
            allow_val_change=True,  # a run may be continued under another version
            project=config.project,
            name=config.name or None,
            group=config.group or None,
            job_type=config.job_type or None,
            tags=config.tags or None,
            notes=config.notes or None,
            mode=mode,
            reinit="create_new",
            # Made anew for each run, because init changes the object it is given.
            settings=wandb.Settings(
                console="off",
                silent=True,
                save_code=None if CODE_VARIABLES & os.environ.keys() else True,
                init_timeout=INIT_TIMEOUT,
                finish_timeout=FINISH_TIMEOUT,
                x_transaction_log_flush_interval=FLUSH_INTERVAL,
            ),
            **continuation,
        )
        for name, axis in metric_axes().items():
            run.define_metric(name, step_metric=None if name == axis else axis)
        begun = self._position.get("step", -1) if continuation else -1
        self._position = {"run_id": run.id, "step": begun}
        self._run = run
        if run.settings.save_code:
            self._save_code(run, code)

    def _save_code(self, run: "wandb.Run", code: Sequence[Path]) -> None:
        """The library's source as a code artifact, and the user's files beside the program's."""
        # With the metric list, without which the source cannot be imported.
        run.log_code(
            str(PACKAGE), "source-seqgan", include_fn=lambda path: path.endswith((".py", ".toml"))
        )
        folder = Path(run.dir) / "code"
        for file in code:
            folder.mkdir(exist_ok=True)
            # A copy: `save` would only link to a file elsewhere.
            copied = shutil.copy(file, folder / file.name)
            run.save(copied, base_path=run.dir, policy="now")

    def _log(self, run: "wandb.Run", metrics: Metrics) -> None:
        self._define_own(run, metrics, metrics)
        run.log(dict(metrics))

    def _define_own(self, run: "wandb.Run", names: Iterable[str], row: Collection[str]) -> None:
        """Tells wandb the axis of each metric of the user's own, once and when it changes."""
        for name in names:
            if name.startswith("user/") and self._own_axes.get(name) != axis_of(name, row):
                self._own_axes[name] = axis_of(name, row)
                run.define_metric(name, step_metric=self._own_axes[name] or None, overwrite=True)

    def _log_histograms(
        self, run: "wandb.Run", histograms: Mapping[str, Histogram], axes: Metrics
    ) -> None:
        import numpy as np
        import wandb

        shown = {
            name: wandb.Histogram(np_histogram=(np.array(each.counts), np.array(each.edges)))
            for name, each in histograms.items()
        }
        self._define_own(run, shown, axes)
        run.log({**axes, **shown})

    def _log_checkpoint(
        self,
        run: "wandb.Run",
        folder: Path,
        aliases: Sequence[str],
        metadata: Mapping[str, object],
    ) -> None:
        import wandb

        # Metadata is JSON, which has no NaN.
        finite = {
            name: value
            for name, value in metadata.items()
            if not isinstance(value, float) or math.isfinite(value)
        }
        artifact = wandb.Artifact(f"checkpoint-{run.id}", "model", metadata=finite)
        for file in sorted(folder.iterdir()):
            artifact.add_file(str(file), name=f"checkpoints/00000000/{file.name}")
        for file in map(self._run_folder.joinpath, RUN_FILES):
            if file.is_file():
                artifact.add_file(str(file))
        run.log_artifact(artifact, aliases=list(aliases))

    def _log_samples(self, run: "wandb.Run", rows: Sequence[SampleRow]) -> None:
        import wandb

        if self._table is None:
            self._columns = tuple(
                name for name, value in rows[0].items() if not isinstance(value, list)
            )
            self._table = wandb.Table(columns=list(self._columns), log_mode="INCREMENTAL")
        for row in rows:
            self._table.add_data(*(row.get(column) for column in self._columns))
        run.log({"samples": self._table})

    def _read_position(self, run: "wandb.Run") -> None:
        # Until its first row, a continued run reports step 0.
        step = max(self._position["step"], run.step - 1)
        self._position = {"run_id": run.id, "step": step}


def metric_axes() -> dict[str, str]:
    """The arguments of `define_metric`: from a name, or a glob over a whole area, to its axis.

    No two entries match the same metric, because wandb does not say which of two would win: an
    area whose metrics share one axis is a glob, any other is spelled out name by name. Those of
    the user's own are left out; the tracker defines each when it is first logged.
    """
    axes: dict[str, str] = {}
    for metric in METRICS:
        if metric.name == OWN:
            continue
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
    """True if wandb would find an API key without asking. Reads files, calls no server."""
    import wandb

    return _has_credentials(wandb.setup().settings)


def _has_credentials(settings: "wandb.Settings") -> bool:
    """True if wandb would find an API key without asking. Reads files, calls no server."""
    from wandb.sdk.lib.wbauth import read_netrc_auth

    return bool(
        os.environ.get("WANDB_API_KEY")
        or settings.api_key
        or settings.identity_token_file
        or read_netrc_auth(host=settings.base_url)
    )


def _continuation(position: Mapping[str, Any], offline: bool) -> dict[str, Any]:
    """Arguments of init that continue a run, or branch off from it.

    Offline, `resume` is ignored and the steps would start at 0 again, so the run is rewound to
    its step instead.
    """
    if not position:
        return {}
    begun = position["step"] >= 0
    moment = f"{position['run_id']}?_step={position['step']}"
    if position.get("fork"):
        return {"fork_from": moment} if begun else {}
    if offline and begun:
        return {"resume_from": moment}
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
