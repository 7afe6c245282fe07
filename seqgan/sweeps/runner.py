"""A sweep from wherever it is to its end: optuna proposes and prunes, processes train.

optuna's journal holds every trial. It outlives the sweep's process: a trial that the journal calls
running is continued by the next one. A trial's proposal depends on the seed, its number and the
results before it, so a sweep that was stopped proposes as one that was not.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen
from typing import Any

import numpy as np
import optuna
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from seqgan.sweeps.reading import Sweep
from seqgan.sweeps.trials import can_resume, error_line, rows_with, trial_lives, trial_path
from seqgan.system.errors import DataError, SeqganError, described
from seqgan.system.files import cut
from seqgan.system.locks import is_locked
from seqgan.system.reading import clipped, parse_row, read_lines
from seqgan.tracking.progress import Progress

OF_JOURNAL = {"op_code": int, "worker_id": str}  # the shape of a row of optuna's
STOPPED_CODES = (128 + signal.SIGINT, 128 + signal.SIGTERM)  # of a run that was asked to stop


class Grid(optuna.samplers.GridSampler):
    """optuna's grid, without the call at its end that only `optimize` allows."""

    def after_trial(self, *arguments: Any) -> None:
        """Nothing: the sweep counts its trials itself."""


def sampler_for(sweep: Sweep, seed: int, number: int) -> Any:
    """The sampler of one trial. Each trial has random numbers of its own."""
    if sweep.method == "grid":
        return Grid(sweep.grid(), seed=seed)
    own = int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
    if sweep.method == "random":
        return optuna.samplers.RandomSampler(seed=own)
    # The liar counts a trial that still runs as a bad one, which keeps parallel trials apart.
    return optuna.samplers.TPESampler(seed=own, constant_liar=True)


def open_journal(folder: Path) -> Any:
    """A sweep's storage. What a killed sweep left half done in it is mended."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal = folder / "journal.log"
    journal.with_name("journal.log.lock").unlink(missing_ok=True)
    for place, line in read_lines(journal):
        if line.endswith(b"\n"):
            parse_row(line, place, OF_JOURNAL)
    if journal.is_file():
        cut(journal, journal.read_bytes().rfind(b"\n") + 1)  # less a row half written
    return JournalStorage(JournalFileBackend(str(journal)))


@contextmanager
def reading_journal(folder: Path) -> Iterator[None]:
    """Says in one line that a journal is none of a sweep, where optuna raises all kinds of errors.

    Raises:
        DataError: the block raised such an error.
    """
    try:
        yield
    except SeqganError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, AssertionError) as error:
        reason = clipped(described(error))
        raise DataError(f"{folder / 'journal.log'} is no journal of a sweep: {reason}") from error


@dataclass
class Running:
    """A trial that runs."""

    trial: Any  # optuna's
    process: "Popen[bytes]"
    size: int = 0  # bytes of its metrics when they were last read
    pruned: bool = False  # asked to stop by Hyperband


@dataclass
class Runner:
    """Runs the trials of a study.

    Args:
        sweep: the content of the sweep file.
        study: optuna's.
        folder: of the sweep.
        launch: starts a trial's process, given its number, its values, and whether to resume it.
        total: trials in all.
        jobs: trials at a time.
        seed: of the proposals.
        progress: shown to a person meanwhile.
        seconds: between two looks at the trials.
    """

    sweep: Sweep
    study: Any
    folder: Path
    launch: Callable[[int, Mapping[str, Any], bool], "Popen[bytes]"]
    total: int
    jobs: int
    seed: int
    progress: Progress
    seconds: float = 0.5
    broken: str = ""  # the reason why the sweep ended before its time
    running: list[Running] = field(default_factory=list)

    def run(self) -> int:
        """Runs until every trial has ended, or a signal or a wrong metric stops the sweep.

        Returns:
            The signal that stopped it, 0 for none.
        """
        if self.sweep.hyperband:
            self.study.pruner = optuna.pruners.HyperbandPruner(**self.sweep.hyperband)
        else:
            self.study.pruner = optuna.pruners.NopPruner()
        trials = self.study.get_trials(deepcopy=False)
        done = sum(trial.state.is_finished() for trial in trials)
        self.progress.phase("sweep", self.total, done)
        again = [trial for trial in trials if not trial.state.is_finished()]
        self._end_orphans(again)
        passed_on = 0
        with stop_signals() as received:
            try:
                while True:
                    for each in [*self.running]:
                        self._look_at(each)
                    if len(received) > passed_on:
                        self.progress.message("stopping the trials (once more to stop at once)")
                        self._stop_all()
                        passed_on = len(received)
                    while len(self.running) < self.jobs and not received and not self.broken:
                        if not self._start(again):
                            break
                    if not self.running:
                        return received[0] if received else 0
                    time.sleep(self.seconds)
            except BaseException:  # a full disk: no trial is left behind
                self._stop_all()
                raise

    def _end_orphans(self, trials: list[Any]) -> None:
        """Asks processes that have outlived their sweep to stop, and waits for their end."""
        numbers = [trial.number for trial in trials]
        for trial in trials:
            if trial_lives(self.folder, trial.number):
                self.progress.message(f"trial {trial.number} still runs; it stops and is continued")
                with suppress(ProcessLookupError, KeyError):
                    os.kill(trial.user_attrs["pid"], signal.SIGTERM)
            elif is_locked(trial_path(self.folder, trial.number)):
                self.progress.message(f"trial {trial.number} is trained elsewhere; waiting for it")
        while any(
            trial_lives(self.folder, number) or is_locked(trial_path(self.folder, number))
            for number in numbers
        ):
            time.sleep(self.seconds)

    def _start(self, again: list[Any]) -> bool:
        """Starts the next trial, one of those to continue first; False where none is left."""
        number = len(self.study.get_trials(deepcopy=False))
        if not again and number >= self.total:
            return False
        number = again[0].number if again else number
        self.study.sampler = sampler_for(self.sweep, self.seed, number)
        if again:  # optuna has no other way to take up a trial that runs
            trial = optuna.trial.Trial(self.study, again.pop(0)._trial_id)
        else:
            trial = self.study.ask()
        values = {name: suggest(trial, name, item) for name, item in self.sweep.space.items()}
        resume = can_resume(trial_path(self.folder, number))
        process = self.launch(number, self.sweep.fixed | values, resume)
        self.running.append(Running(trial, process))
        trial.set_user_attr("pid", process.pid)
        pairs = "  ".join(f"{name}={shown(value)}" for name, value in values.items())
        self.progress.message(f"trial {number}{' goes on' if resume else ''}: {pairs}")
        return True

    def _look_at(self, each: Running) -> None:
        code = each.process.poll()  # before reading, so that its last row is read too
        metrics = trial_path(self.folder, each.trial.number) / "metrics.jsonl"
        size = metrics.stat().st_size if metrics.is_file() else 0
        if size != each.size and not each.pruned:
            each.size = size
            self._report(each, may_prune=code is None)
        if code is not None:
            self.running.remove(each)
            self._conclude(each, code)

    def _report(self, each: Running, may_prune: bool) -> None:
        """Tells optuna the values that it does not know, one by one: it compares at each."""
        rows = rows_with(trial_path(self.folder, each.trial.number), self.sweep.metric)
        known = len(self._frozen(each).intermediate_values)
        for step, row in enumerate(rows[known:], start=known + 1):
            each.trial.report(row[self.sweep.metric], step)
            behind = each.trial.should_prune()  # also makes its value one that others meet
            if behind and may_prune:
                each.process.terminate()  # first: a sweep killed here continues the trial
                self.study.tell(each.trial.number, state=TrialState.PRUNED)
                each.pruned = True
                return

    def _conclude(self, each: Running, code: int) -> None:
        """Records the end of a trial. One that a signal ended stays as it is, to be continued."""
        values = self._frozen(each).intermediate_values
        if each.pruned:
            end = "stopped early"
        elif code < 0 or code in STOPPED_CODES:
            end = "interrupted"
        elif code == 0 and values:
            self.study.tell(each.trial.number, values[max(values)])
            end = "finished"
        else:
            end = f"failed: {self._fail(each.trial, code)}"
        value = f", {self.sweep.metric} {values[max(values)]:.5g}" if values else ""
        self.progress.message(f"trial {each.trial.number} {end}{value}")
        self.progress.advance(int(end != "interrupted"))

    def _fail(self, trial: Any, code: int) -> str:
        """Records a failure and gives its reason. A metric that nobody logs ends the sweep."""
        reason = error_line(trial_path(self.folder, trial.number, ".log"), code)
        if code == 0:
            reason = f"trial {trial.number} ended without a value of {self.sweep.metric}"
            if not any(other.intermediate_values for other in self.study.trials):
                self.broken = reason
                self._stop_all()
        trial.set_user_attr("error", reason)
        self.study.tell(trial.number, state=TrialState.FAIL)
        return reason

    def _frozen(self, each: Running) -> Any:
        return self.study.get_trials(deepcopy=False)[each.trial.number]

    def _stop_all(self) -> None:
        for each in self.running:
            each.process.terminate()


def suggest(trial: Any, name: str, item: Any) -> Any:
    """The value of a parameter: optuna draws it, or remembers it for a trial that goes on."""
    if isinstance(item, CategoricalDistribution):
        return trial.suggest_categorical(name, item.choices)
    if isinstance(item, IntDistribution):
        return trial.suggest_int(name, item.low, item.high, step=item.step)
    return trial.suggest_float(name, item.low, item.high, log=item.log, step=item.step)


def shown(value: object) -> str:
    """A parameter's value for reading: five significant digits."""
    return f"{value:.5g}" if isinstance(value, float) else str(value)


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """The numbers of the stop signals that have come so far, in a list that grows."""
    received: list[int] = []
    before = {
        number: signal.signal(number, lambda number, frame: received.append(number))
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
