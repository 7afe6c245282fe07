"""The record of a run in Weights & Biases. wandb is imported when a tracker is made.

A run must not die of its tracker. A server that cannot be reached makes the record an offline one;
whatever else goes wrong in wandb, say a crash of its background process, costs one warning, and the
run goes on without it. Settings that wandb refuses are found before, by `check_settings`.
"""

import logging
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqgan.data.metrics import Metrics
from seqgan.tracking.base import Ending, Histogram, SampleRow, Tracker
from seqgan.tracking.metrics import axis_of, find_metric
from seqgan.tracking.positions import pictures_by_position, position_of
from seqgan.tracking.wandb_artifacts import log_checkpoint, save_code, table_of, use_data
from seqgan.tracking.wandb_settings import (
    JOB_TYPE,
    OFFLINE,
    PROJECT,
    TrackerConfig,
    chosen_mode,
    continuation_of,
    data_in,
    is_disabled,
    record_folder,
    settings_now,
)

if TYPE_CHECKING:
    import wandb

logger = logging.getLogger(__name__)

INIT_TIMEOUT = 30.0  # seconds to wait for the server at the start
FINISH_TIMEOUT = 300.0  # seconds to wait for uploads at the end; the rest stays for `wandb sync`
FLUSH_INTERVAL = 1.0  # seconds of an offline record that a machine which dies may take along
MAX_TITLE = 63  # characters of an alert's title
MAX_NAME = 128  # characters of a run's name
CODE_VARIABLES = {"WANDB_DISABLE_CODE", "WANDB_SAVE_CODE"}  # how a person decides about source


class WandbTracker(Tracker):
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
        data: SHA-256 of each file that the run's texts come from; the run is recorded as a user of
            an artifact `data-<hash>`, which refers to the file and does not copy it.
    """

    def __init__(
        self,
        config: TrackerConfig,
        run_folder: Path,
        run_config: Mapping[str, Any],
        position: Mapping[str, Any] | None = None,
        code: Sequence[Path] = (),
        data: Mapping[Path, str] | None = None,
    ) -> None:
        self._config, self._run_folder = config, run_folder.resolve()
        self._data_folder = self._run_folder / "wandb" / "data"
        self._position: dict[str, Any] = dict(position or {})
        self._run: wandb.Run | None = None
        self._table: wandb.Table | None = None
        self._columns: tuple[str, ...] = ()  # of the table
        self._axes: dict[str, str] = {}  # of the metrics so far, as wandb knows them
        self.offline_record: Path | None = None  # its folder, where the record is offline
        if not is_disabled(config):
            self._attempt("starting", lambda: self._start(run_config, code, data or {}))

    @property
    def _name(self) -> str:
        """The name of the run's folder, as far as wandb takes it."""
        return self._run_folder.name.encode("utf-8", "replace").decode()[:MAX_NAME]

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
                lambda: log_checkpoint(run, self._run_folder, folder, aliases, metadata),
            )

    def alert(self, title: str, text: str) -> None:
        if self._run is not None:
            run = self._run
            self._attempt("alerting", lambda: run.alert(title[:MAX_TITLE], text, level="WARN"))

    def results(self, ending: Ending) -> None:
        """Puts the end into the run's summary, and shows the curve, the files and what is said."""
        if self._run is not None:
            run = self._run
            self._attempt("recording the results", lambda: self._log_results(run, ending))
            self.line("\n".join(ending.lines))

    def line(self, text: str) -> None:
        """Adds lines to the run's log, beside those that wandb sees on their way to a stream."""
        if self._run is not None:
            run, printable = self._run, text.encode("utf-8", "replace").decode() + "\n"
            # Their write_logs is left out of an offline record's own log, and of what leet shows.
            self._attempt("logging a line", lambda: run._console_raw_callback("stderr", printable))

    def position(self) -> dict[str, Any]:
        """The run's id, project and the step of its last row; empty if there never was a run."""
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
            with data_in(self._data_folder):
                action()
        except Exception as error:
            self._run = None
            if isinstance(error, ConnectionError):  # its process is gone
                _forget_process()
            logger.warning(
                "wandb failed while %s and is off from here; the run goes on (%s: %s)",
                what,
                type(error).__name__,
                _first_line(error),
            )

    def _start(
        self, run_config: Mapping[str, Any], code: Sequence[Path], data: Mapping[Path, str]
    ) -> None:
        import wandb

        self._run_folder.mkdir(parents=True, exist_ok=True)
        mode = chosen_mode(self._config)
        folder = record_folder(self._run_folder)
        before = {*folder.glob("wandb/run-*")}
        try:
            run = self._begin(run_config, folder, mode)
        except Exception as error:
            if (mode or settings_now().mode) in OFFLINE:
                raise
            logger.warning(
                "wandb cannot be reached, so this run is recorded offline (%s)", _first_line(error)
            )
            for begun in {*folder.glob("wandb/run-*")} - before:
                shutil.rmtree(begun, ignore_errors=True)  # holds nothing
            if self._position or "WANDB_RUN_ID" in os.environ:
                wandb.teardown()  # else its process says that the id is in use
            run = self._begin(run_config, folder, "offline")
        self._run = run
        if run.settings.mode in OFFLINE:
            self.offline_record = Path(run.settings.sync_dir)
        if run.settings.save_code:
            save_code(run, code)
        for file, digest in data.items():
            use_data(run, file, digest)

    def _begin(self, run_config: Mapping[str, Any], folder: Path, mode: Any) -> "wandb.Run":
        """Starts the record, as a new one or as the continuation of another."""
        import wandb

        config, known = self._config, settings_now()
        offline = (mode or known.mode) in OFFLINE
        continuation = continuation_of(self._position, offline)
        if continuation:  # the checkpoint says what goes on, not WANDB_RESUME and its like
            everyones = wandb.setup().settings
            everyones.resume = everyones.resume_from = everyones.fork_from = None
            if "fork_from" not in continuation or everyones.run_id == self._position["run_id"]:
                everyones.run_id = None
        # A run that a server knows has a name already, perhaps another one by now.
        named = None if "resume" in continuation and not offline else self._name
        ours: dict[str, Any] = {
            "console": "wrap",  # what the run prints is its log; "redirect" moves descriptors
            "silent": True,
            "init_timeout": INIT_TIMEOUT,
            "finish_timeout": FINISH_TIMEOUT,
        }
        run = wandb.init(
            dir=folder,
            config=dict(run_config),
            allow_val_change=True,  # a run may be continued under another version
            project=config.project or self._position.get("project") or known.project or PROJECT,
            entity=config.entity or self._position.get("entity") or known.entity,
            name=config.name or known.run_name or named,
            group=config.group or known.run_group,
            job_type=config.job_type or known.run_job_type or JOB_TYPE,
            tags=config.tags or known.run_tags,
            notes=config.notes or known.run_notes,
            mode=mode,
            reinit="create_new",
            # Made anew for each run, because init changes the object it is given.
            settings=wandb.Settings(
                save_code=None if CODE_VARIABLES & os.environ.keys() else True,
                x_transaction_log_flush_interval=FLUSH_INTERVAL,
                **{k: v for k, v in ours.items() if f"WANDB_{k.upper()}" not in os.environ},
            ),
            **continuation,
        )
        begun = self._position.get("step", -1) if continuation else -1
        self._position = {"run_id": run.id, "step": begun, "project": run.project}
        if run.entity:
            self._position["entity"] = run.entity
        return run

    def _log(self, run: "wandb.Run", metrics: Metrics) -> None:
        self._define(run, metrics, metrics)
        run.log(dict(metrics))

    def _define(self, run: "wandb.Run", names: Iterable[str], row: Collection[str]) -> None:
        """Tells wandb the axis and the better end of each metric, once and when its axis changes.

        A metric with a better end has both that and its latest value in the run's summary. Not in
        a sweep of wandb's, which compares the latest value by the metric's plain name.
        """
        for name in names:
            if name in self._axes and not name.startswith("user/"):
                continue
            axis = axis_of(name, row)
            if self._axes.get(name) == axis:
                continue
            best = "" if run.sweep_id else find_metric(name).best
            run.define_metric(
                name,
                step_metric=axis if axis != name else None,
                summary=f"{best},last" if best else None,
                overwrite=name in self._axes,
                # One picture shows what would fill a panel for each group of positions.
                hidden=True if position_of(name)[0] else None,
            )
            self._axes[name] = axis

    def _log_histograms(
        self, run: "wandb.Run", histograms: Mapping[str, Histogram], axes: Metrics
    ) -> None:
        import numpy as np
        import wandb

        shown: dict[str, Any] = {
            name: wandb.Histogram(np_histogram=(np.array(each.counts), np.array(each.edges)))
            for name, each in histograms.items()
        }
        self._define(run, shown, axes)
        for area, picture in pictures_by_position(histograms, axes).items():
            shown[f"by_position/{area}"] = wandb.Image(picture)
        run.log({**axes, **shown})

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

    def _log_results(self, run: "wandb.Run", ending: Ending) -> None:
        import wandb

        run.summary.update(dict(ending.metrics))
        shown: dict[str, Any] = {
            name: wandb.Html(file, inject=False) if file.suffix == ".html" else wandb.Image(file)
            for name, file in ending.files.items()
        }
        if ending.table:
            shown["results"] = table_of(ending.table)
        if ending.curve:
            shown["curve"] = wandb.plot.line(
                table_of(ending.curve),
                "quality",
                "diversity",
                stroke="generator",
                title="Quality and diversity over temperatures",
            )
        if shown:
            run.log(shown)

    def _read_position(self, run: "wandb.Run") -> None:
        # Until its first row, a continued run reports step 0.
        self._position["step"] = max(self._position["step"], run.step - 1)


def _forget_process() -> None:
    """Keeps wandb from saying goodbye at the exit to a process that is gone."""
    import wandb

    with suppress(ConnectionError):
        wandb.teardown()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0]
