"""Runs the trials of a sweep, several at a time, and stops those that fall behind.

Each trial is a process of its own in a session of its own, so that Ctrl-C reaches it once, as a
request to stop after a checkpoint. A trial holds a lock on its log for as long as it lives: a
sweep that was killed leaves its trials running, and finds them again when it goes on.
"""

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Protocol, runtime_checkable

from seqgan.sweeps.hyperband import to_stop
from seqgan.sweeps.launching import Launch
from seqgan.sweeps.proposals import Proposal
from seqgan.sweeps.reading import Sweep
from seqgan.sweeps.trials import Status, SweepFolder, Trial, metric_values, why_without_value
from seqgan.tracking.jsonl import read_rows
from seqgan.tracking.progress import Progress

ENDED: tuple[Status, ...] = ("finished", "stopped early", "failed")
# Evaluations of a trial without the metric after which no more are waited for.
EVALUATIONS_WITHOUT = 2
UNKNOWN_CODE = -1000  # exit code of a process that was not ours


@runtime_checkable
class _Process(Protocol):
    def poll(self) -> int | None: ...

    def terminate(self) -> None: ...


class _Orphan:
    """The process of a trial whose sweep was killed; it lives while it holds its lock."""

    def __init__(self, log: Path, pid: int) -> None:
        self._log, self._pid = log, pid

    def poll(self) -> int | None:
        return None if is_locked(self._log) else UNKNOWN_CODE

    def terminate(self) -> None:
        if self._pid and is_locked(self._log):
            os.kill(self._pid, signal.SIGTERM)


@dataclass
class _Active:
    """A trial that runs."""

    trial: Trial
    process: _Process
    began: float  # seconds of the clock
    size: int = -1  # bytes of its metrics when they were last read
    behind: bool = False  # asked to stop by Hyperband


@dataclass
class Runner:
    """One sweep from wherever it is to its end.

    Args:
        sweep: what the sweep file says.
        folder: where everything lies; its directory exists.
        launch: the process of a trial, begun anew or continued.
        propose: the parameters of a trial by its index from 0, given all trials before it.
        total: trials in all.
        jobs: trials at a time.
        progress: what a person sees meanwhile.
        seconds: between two looks at the trials.
    """

    sweep: Sweep
    folder: SweepFolder
    launch: Callable[[Trial, bool], Launch]
    propose: Callable[[int, list[Trial]], Proposal]
    total: int
    jobs: int
    progress: Progress
    seconds: float = 0.25
    stop_signal: int = 0  # that asked the sweep to stop; 0 for none
    broken: str = ""  # why the sweep ended before its time; empty where it did not
    trials: dict[int, Trial] = field(default_factory=dict)
    _active: list[_Active] = field(default_factory=list)
    _again: list[Trial] = field(default_factory=list)  # interrupted ones that go on
    _shown: dict[str, float | int] = field(default_factory=dict)  # in the progress
    _stop_requests: int = 0  # signals that came
    _stops_sent: int = 0  # of them, those that the trials know of

    def run(self) -> list[Trial]:
        """Runs until every trial has ended, or until a signal or a wrong metric stops it.

        Returns:
            All trials, in the order of their numbers.
        """
        self._find_earlier()
        try:
            with self._signals():
                while True:
                    for active in [*self._active]:
                        self._look_at(active)
                    if self._stop_requests > self._stops_sent:
                        self._stop_all()
                    if not self.stop_signal and not self.broken:
                        self._stop_behind()
                        self._fill()
                    if not self._active:
                        break
                    time.sleep(self.seconds)
        except BaseException:  # a full disk: leave no trial behind
            self._stop_all()
            raise
        return [self.trials[number] for number in sorted(self.trials)]

    # ---------------------------------------------------------------- beginning

    def _find_earlier(self) -> None:
        """The trials of a sweep that goes on: ended, interrupted, or still running."""
        self.trials = {item.number: item for item in self.folder.read(self.sweep.metric.name)}
        done = sum(trial.status in ENDED for trial in self.trials.values())
        self.progress.phase("sweep", self.total, done)
        for trial in [*self.trials.values()]:
            if trial.status in ENDED:
                continue
            log = self.folder.log(trial.number)
            if is_locked(log):
                self.progress.message(f"trial {trial.number} still runs (process {trial.pid})")
                orphan = _Orphan(log, trial.pid)
                self._active.append(_Active(trial, orphan, time.monotonic()))
            elif (self.folder.run(trial.number) / "results.json").is_file():
                self._finish(trial)
            else:
                self._again.append(trial)

    def _fill(self) -> None:
        while len(self._active) < self.jobs:
            trial = self._next()
            if trial is None:
                return
            self._start(trial)

    def _next(self) -> Trial | None:
        """The trial to start now, or None where there is none."""
        if self._again:
            return self._again.pop(0)
        reached = any(
            self.sweep.metric.reached(value)
            for trial in self.trials.values()
            for value in trial.values
        )
        number = len(self.trials) + 1
        if reached or number > self.total:
            return None
        earlier = [self.trials[number] for number in sorted(self.trials)]
        proposal = self.propose(number - 1, earlier)
        return Trial(number, proposal.parameters, proposal.point)

    def _start(self, trial: Trial) -> None:
        run, log = self.folder.run(trial.number), self.folder.log(trial.number)
        begun = all((run / name).is_file() for name in ("config.yaml", "task.json"))
        if not begun and run.exists():
            clear(run)
        launch = self.launch(trial, begun)
        run.parent.mkdir(parents=True, exist_ok=True)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            fcntl.flock(output, fcntl.LOCK_EX)
            process = subprocess.Popen(
                launch.arguments,
                env=launch.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        trial = replace(trial, status="running", error="", pid=process.pid)
        self._update(trial, recorded=True)
        self._active.append(_Active(trial, process, time.monotonic()))
        goes_on = " goes on" if begun else ""
        varied = (f"{name}={shown(trial.parameters[name])}" for name in self.sweep.varied)
        self.progress.message(f"trial {trial.number}{goes_on}: {'  '.join(varied)}")

    # ---------------------------------------------------------------- following

    def _look_at(self, active: _Active) -> None:
        code = active.process.poll()  # before reading, so that what it wrote last is read too
        self._read_metrics(active)
        if code is not None:
            self._active.remove(active)
            self._conclude(active, code)

    def _read_metrics(self, active: _Active) -> None:
        run, name = self.folder.run(active.trial.number), self.sweep.metric.name
        metrics = run / "metrics.jsonl"
        size = metrics.stat().st_size if metrics.is_file() else -1
        if size == active.size:
            return
        active.size = size
        active.trial = replace(active.trial, values=metric_values(run, name))
        self._update(active.trial)
        if (summary := self._summary()) != self._shown:
            self._shown = summary
            self.progress.advance(0, summary)
        if not active.trial.values and not any(trial.values for trial in self.trials.values()):
            rows = (row for row in read_rows(metrics) if name not in row)
            evaluations = [row for row in rows if "eval/entropy" in row]
            if name.startswith("eval/") and len(evaluations) >= EVALUATIONS_WITHOUT:
                logged = sorted(key for key in evaluations[-1] if key.startswith("eval/"))
                self._break(f"{self._never_logged(active.trial)}; it logs {', '.join(logged)}")

    def _stop_behind(self) -> None:
        if self.sweep.hyperband is None:
            return
        histories = {
            number: [self.sweep.metric.cost(value) for value in trial.values]
            for number, trial in self.trials.items()
        }
        running = {active.trial.number for active in self._active if not active.behind}
        stopped = to_stop(self.sweep.hyperband, histories, running)
        for active in self._active:
            if active.trial.number in stopped:
                active.behind = True
                active.process.terminate()

    def _conclude(self, active: _Active, code: int) -> None:
        """Says what became of a trial whose process has ended."""
        seconds = active.trial.seconds + time.monotonic() - active.began
        trial = replace(active.trial, seconds=seconds)
        finished = (self.folder.run(trial.number) / "results.json").is_file()
        if code == 0 or (code == UNKNOWN_CODE and finished):
            self._finish(trial)
        elif active.behind:
            self._end(trial, "stopped early")
        elif code == UNKNOWN_CODE and not self.stop_signal:
            self._again.append(trial)
        elif self.stop_signal or self.broken or code == UNKNOWN_CODE:
            self._end(trial, "interrupted", "the sweep was stopped")
        elif code < 0:
            name = signal.Signals(-code).name
            self._end(trial, "interrupted", f"killed by {name}")
        elif code in (128 + signal.SIGINT, 128 + signal.SIGTERM):
            self._end(trial, "interrupted", "stopped by a signal")
        else:
            self._end(trial, "failed", error_line(self.folder.log(trial.number), code))

    def _finish(self, trial: Trial) -> None:
        """Ends a trial that ran to its end; one without a value says why."""
        reason = why_without_value(self.folder.run(trial.number), self.sweep.metric.name)
        if trial.values or reason:
            self._end(trial, "finished", "" if trial.values else reason)
            return
        self._end(trial, "failed", self._never_logged(trial))
        if not any(other.values for other in self.trials.values()):
            self._break(self._never_logged(trial))

    def _end(self, trial: Trial, status: Status, error: str = "") -> None:
        trial = replace(trial, status=status, error=error, pid=0)
        self._update(trial, recorded=True)
        value = "" if trial.value is None else f", {self.sweep.metric.name} {trial.value:.5g}"
        reason = f": {error}" if error else ""
        self.progress.message(f"trial {trial.number} {status}{value}{reason}")
        self.progress.advance(int(status in ENDED), self._summary())

    def _update(self, trial: Trial, recorded: bool = False) -> None:
        self.trials[trial.number] = trial
        if recorded:
            self.folder.record(trial)

    def _summary(self) -> dict[str, float | int]:
        """What the progress shows: how many are what, and the best value so far."""
        counts = {
            status: sum(trial.status == status for trial in self.trials.values())
            for status in ("running", "stopped early", "failed")
        }
        summary: dict[str, float | int] = {k: n for k, n in counts.items() if n or k == "running"}
        going = [trial for trial in self.trials.values() if trial.status != "failed"]
        values = [trial.value for trial in going if trial.value is not None]
        if values:
            summary[f"best {self.sweep.metric.name}"] = min(values, key=self.sweep.metric.cost)
        return summary

    # ---------------------------------------------------------------- stopping

    def _never_logged(self, trial: Trial) -> str:
        return f"metric {self.sweep.metric.name} was never logged by trial {trial.number}"

    def _break(self, reason: str) -> None:
        """The sweep cannot work: stops what runs and begins nothing more."""
        if not self.broken:
            self.broken = reason
            self._stop_all()

    def _stop_all(self) -> None:
        """Asks every trial to stop; one that was asked before stops at once."""
        for active in self._active:
            # A trial that is behind has been asked already.
            if not active.behind or self._stops_sent:
                active.process.terminate()
        self._stops_sent = self._stop_requests

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM stop the trials after their current step; once more, at once."""

        def stop(number: int, frame: FrameType | None) -> None:
            # The loop sends it on: it knows a trial that is being started right now.
            self.stop_signal = number
            self._stop_requests += 1
            if self._stop_requests == 1:
                self.progress.message("stopping the trials (once more to stop at once)")

        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        for number in before:
            signal.signal(number, stop)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock on a file."""
    if not path.is_file():
        return False
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def clear(run: Path) -> None:
    """Removes the folder of a run that was killed before anything was in it.

    Raises:
        OSError: something is in it.
    """
    for name in ("config.yaml", "task.json"):
        (run / name).unlink(missing_ok=True)
    run.rmdir()


def shown(value: object) -> str:
    """A parameter's value for reading: four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def error_line(log: Path, code: int) -> str:
    """The line of a failed trial that says why: its own error, else the last that it printed."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    ours = [line.removeprefix("seqgan: ") for line in lines if line.startswith("seqgan: ")]
    last = (ours or lines or [""])[-1]
    return f"{last[:300]} (exit code {code})" if last else f"exit code {code}"
