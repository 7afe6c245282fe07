"""The loop: phases one after another, unit by unit, with checkpoints, a stop and a resume.

Every random draw of a phase comes from one `rng` whose state is in the checkpoint. So a run
that was stopped anywhere goes on from its last checkpoint and ends with the same numbers, bit for
bit.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import torch

from seqgan.data.metrics import Metrics
from seqgan.learning.players import Players
from seqgan.rewards.base import RewardError
from seqgan.system.errors import DivergedError, Interrupted
from seqgan.system.seeding import seed_of
from seqgan.tracking.base import Tracker
from seqgan.tracking.progress import Progress
from seqgan.training.checkpoints import save_checkpoint
from seqgan.training.observers import Observer
from seqgan.training.own_parts import kept_unit, watching
from seqgan.training.phases.base import EndsEarly, Phase, ShowsMeanwhile


class Trainer:
    """Trains players, phase by phase.

    Args:
        players: what learns.
        phases: in their order, with distinct names.
        tracker: where metrics and alerts go.
        progress: what a person sees meanwhile.
        rng: the source of every draw of the phases.
        checkpoints: folder of the run's checkpoints, or None to keep none.
        checkpoint_seconds: the least time between two of them, longer where writing one takes
            more than a ninth of it; 0 writes one after every unit.

    In several processes each draws for itself; the main one logs and saves.
    """

    def __init__(
        self,
        players: Players,
        phases: Sequence[Phase],
        tracker: Tracker,
        progress: Progress,
        rng: torch.Generator,
        checkpoints: Path | None = None,
        checkpoint_seconds: float | int = 0.0,
    ) -> None:
        self.players, self.phases = players, tuple(phases)
        self.tracker, self.progress, self.rng = tracker, progress, rng
        self.checkpoints, self.checkpoint_seconds, self.keep = checkpoints, checkpoint_seconds, 3
        self.runtime, self.observers = players.runtime, list[Observer]()
        self.identity: Mapping[str, Any] = {}  # of a run in a folder, as `identity_of` gives it
        self.stop_requested, self.stop_signal = False, 0
        self._last_checkpoint, self._checkpoint_pause = time.monotonic(), checkpoint_seconds
        players.listen(progress.message, lambda name: progress.waiting(f"reward {name!r}"))
        self._use_own_rng()

    def phase(self, name: str) -> Any:
        """The phase of that name."""
        return next(phase for phase in self.phases if phase.name == name)

    def observer(self, name: str) -> Any:
        """The first observer of that name."""
        return next(observer for observer in self.observers if observer.name == name)

    def train(self) -> None:
        """Does whatever is not done yet.

        Raises:
            Interrupted: `stop_requested` was set; everything so far is in a checkpoint.
            DivergedError: a loss is not finite.
            RewardError: a reward failed; everything before that is in a checkpoint.
            CheckpointError: a checkpoint cannot be written.
        """
        for phase in self.phases:
            self.run(phase)

    def run(self, phase: Phase) -> None:
        """Does the units of one phase that are not done yet; raises as `train` does."""
        if phase.done():
            return
        with self.alerting(phase):
            self.progress.phase(phase.title, phase.total, phase.count)
            for observer in self.observers:
                with watching(observer, self.players):
                    self.log(observer.before(phase))
            while not phase.done():
                self.unit(phase)
            self.progress.finish(phase.why_early() if isinstance(phase, EndsEarly) else "")

    @contextmanager
    def alerting(self, phase: Phase | None = None) -> Iterator[None]:
        """Alerts of what ends the run in its body, after saving what was done before.

        Args:
            phase: the place in the run; None for its end.
        """
        try:
            yield
        except (RewardError, DivergedError) as error:
            step = "" if phase is None else f"{phase.title}, step {phase.count:g} of {phase.total}"
            title = "diverged"
            if isinstance(error, RewardError):
                title = "reward failed"
                self.save()
            self.tracker.alert(title, f"{step or 'at the end'}: {error}")
            raise

    def unit(self, phase: Phase) -> None:
        """Does one unit, logs it, writes a checkpoint if it is time, and stops if asked to."""
        before = phase.count
        metrics = dict(kept_unit(phase, self.players, self.rng))
        # A cut within a step depends on the time that it takes: observers do not see it.
        observers = self.observers if int(phase.count) > int(before) or phase.done() else []
        try:
            for observer in observers:
                with watching(observer, self.players):
                    metrics |= observer.after(phase, metrics)
        finally:  # an observer that fails does not take the unit's row along
            self.log(metrics)
            self.show(phase, phase.count - before, metrics)
        for observer in observers:
            with watching(observer, self.players):
                observer.logged(phase, metrics)
        due = time.monotonic() - self._last_checkpoint >= self._checkpoint_pause
        stopping = self.asked_to_stop()
        if due or stopping:
            self.save()
        if stopping:
            raise Interrupted("the run was stopped after a checkpoint")

    def log(self, metrics: Metrics) -> None:
        """Logs metrics, if there are any, in the main process."""
        if metrics and self.runtime.is_main():
            self.tracker.log(metrics)

    def show(self, phase: Phase, steps: float | int, metrics: Metrics) -> None:
        """Moves the progress bar, with the metrics that the phase and the observers name."""
        if isinstance(phase, ShowsMeanwhile):
            metrics = {**phase.meanwhile(), **metrics}
        names = chain(phase.shown, *(observer.shown for observer in self.observers))
        if steps or metrics:
            self.progress.advance(steps, {name: metrics[name] for name in names if name in metrics})

    def asked_to_stop(self) -> bool:
        """True where any process was asked to stop; all of them learn of it here."""
        self.stop_requested = self.runtime.maximum(float(self.stop_requested)) > 0
        self.stop_signal = int(self.runtime.maximum(float(self.stop_signal)))
        return self.stop_requested

    def save(self) -> Path | None:
        """Writes a checkpoint, and gives its folder."""
        if self.checkpoints is None or not self.runtime.is_main():
            return None
        step, started = sum(int(phase.count) for phase in self.phases), time.monotonic()
        path = save_checkpoint(self.checkpoints, step, self.state_dict(), self.keep)
        self._last_checkpoint = time.monotonic()
        if self.checkpoint_seconds:  # a large model's checkpoints take at most a tenth of the time
            seconds = self._last_checkpoint - started
            self._checkpoint_pause = max(self.checkpoint_seconds, 9 * seconds)
        return path

    def state_dict(self) -> dict[str, Any]:
        """Everything that the rest of the run depends on."""
        stateful = [observer for observer in self.observers if observer.state_dict()]
        return {
            "rng": self.rng.get_state(),
            "players": self.players.state_dict(),
            "phases": {phase.name: phase.state_dict() for phase in self.phases},
            "observers": {observer.name: observer.state_dict() for observer in stateful},
            "tracker": self.tracker.position(),
            "identity": self.identity,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from a state of this or an older version."""
        self.rng.set_state(state["rng"])
        self.players.load_state_dict(state["players"])
        for phase in self.phases:
            phase.load_state_dict(state["phases"][phase.name])
        for observer in self.observers:
            if observer.name in state["observers"]:
                observer.load_state_dict(state["observers"][observer.name])
        self._use_own_rng()  # the checkpoint has the main process'

    def _use_own_rng(self) -> None:
        """Gives each process draws of its own; the main one keeps those of a single process."""
        if self.runtime.rank > 0:
            steps = [int(phase.count * 2**20) for phase in self.phases]
            done = (*steps, self.players.position.global_step)
            seed = seed_of(self.players.seed, self.runtime.rank, *done)
            self.rng.manual_seed(seed)
