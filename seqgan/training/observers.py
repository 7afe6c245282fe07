"""Observers: what happens beside training, after each of its units.

They measure the generator, show samples, raise alarms and keep the best checkpoint. None of them
touches the players or the run's random state, so that observing more changes no number.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from seqgan.data.lines import as_line
from seqgan.data.metrics import Metrics
from seqgan.data.sequences import Sequences
from seqgan.evaluation.game.health import Spreads, Wins, find_trouble
from seqgan.evaluation.measure import Measurement, judged_as_texts, measure, text_measures
from seqgan.learning.players import Players
from seqgan.learning.rules.base import ShowsHistograms
from seqgan.models.generators.base import Generator
from seqgan.models.sampling import Sampling
from seqgan.system.errors import ConfigurationError
from seqgan.tasks.base import Measure, has_texts, heldout_prompts
from seqgan.tracking.base import Tracker
from seqgan.training.checkpoints import replace_checkpoint
from seqgan.training.own_parts import kept_measure
from seqgan.training.phases.base import Phase
from seqgan.training.settings import EvaluationConfig
from seqgan.training.showing import sample_rows


class Observer:
    """Looks on while a phase trains. Every method may be left as it is."""

    name = "observer"  # its key in checkpoints; distinct, where it has a state
    shown: tuple[str, ...] = ()  # metrics beside the progress bar

    def before(self, phase: Phase) -> Metrics:
        """Called before the first unit that a process does of a phase; metrics to log."""
        return {}

    def after(self, phase: Phase, metrics: Metrics) -> Metrics:
        """Called after each unit that ends a step or the phase.

        Args:
            metrics: of the unit, and of the observers before this one.

        Returns:
            Metrics to log beside them; a user's own are named `user/<name>`.
        """
        return {}

    def logged(self, phase: Phase, metrics: Metrics) -> None:
        """Called with all metrics of a unit, once they are logged."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        return None


class FunctionObserver(Observer):
    """A function of (phase, metrics, players) that may return metrics, called after each unit.

    Args:
        spec: its name in errors.
    """

    def __init__(
        self,
        function: Callable[[Phase, Metrics, Players], Metrics | None],
        players: Players,
        spec: str = "function",
    ) -> None:
        self.function, self.players, self.spec = function, players, spec

    def after(self, phase: Phase, metrics: Metrics) -> Metrics:
        given = self.function(phase, metrics, self.players)
        if given is not None and not isinstance(given, Mapping):
            raise ConfigurationError(
                f"observer {self.spec!r} gives {given!r}, but must give metrics by their"
                " names, or None"
            )
        return given or {}


@runtime_checkable
class RolloutSettings(Protocol):
    """Settings of a rule that completes prefixes."""

    num_rollouts: int
    rollout_chunk: int
    rollout_stride: int


class Samples(Observer):
    """Prints a few samples before each phase that is evaluated, and logs them.

    Args:
        tracker: where samples go.
        num_shown: samples each time; 0 shows none.
        rule: settings of the rule; with rollouts the value of each token is shown too, of as many
            completions as in the game.
    """

    name = "samples"

    def __init__(self, players: Players, tracker: Tracker, num_shown: int, rule: object) -> None:
        self.players, self.tracker = players, tracker
        self.phases: list[str] = []  # before which samples were shown
        self.num_shown = num_shown if players.runtime.is_main() else 0
        self.num_rollouts, self.chunk_size, self.stride = 0, 1, 1
        if isinstance(rule, RolloutSettings):
            self.num_rollouts = rule.num_rollouts
            self.chunk_size, self.stride = rule.rollout_chunk, rule.rollout_stride

    def before(self, phase: Phase) -> Metrics:
        if phase.evaluated and phase.name not in self.phases:
            self.show(f"before the {phase.name}")
            self.phases.append(phase.name)
        return {}

    def show(self, title: str, heading: str = "") -> None:
        """Prints samples of held-out prompts, always of the same draws, and logs them.

        Args:
            title: the moment's name in the log.
            heading: its name as it is printed, where that is another.
        """
        if self.num_shown == 0:
            return
        players = self.players
        rng = torch.Generator().manual_seed(players.seed)
        prompts = heldout_prompts(players.task, self.num_shown, players.device, "dev")
        texts = players.sample(self.num_shown, prompts, rng, players.evaluated)
        self.log(title, texts)
        players.tell(f"Samples {heading or title}:")
        for prompt, text in zip(texts.prompt_texts, texts.texts, strict=True):
            players.tell(
                f"  {as_line(prompt)} => {as_line(text)}" if prompt else f"  {as_line(text)}"
            )

    def log(self, label: str, sequences: Sequences) -> None:
        """Logs the first few of the generator's samples, with the value of each token."""
        rows = torch.arange(min(self.num_shown, len(sequences)))
        if not len(rows):
            return
        shown = sample_rows(
            sequences.select(rows),
            self.players.evaluated,
            self.players.rewards,
            self.num_rollouts,
            self.players.rng_of_evaluation(),
            self.chunk_size,
            self.stride,
        )
        about = {"step": self.players.position.global_step, "phase": label}
        self.tracker.samples([about | row for row in shown])

    def state_dict(self) -> dict[str, Any]:
        return {"shown": self.phases}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.phases = list(state["shown"])


class Evaluation(Observer):
    """Measures the generator before a phase that is evaluated, after every few of its steps, and
    after the last one.

    Args:
        settings: sizes, and how many steps lie between two evaluations.
        samples: shows some of the measured texts.
        tracker: where histograms go.
        measures: the user's own, by their names; they are logged as `user/<name>`.
    """

    name = "evaluation"

    def __init__(
        self,
        players: Players,
        settings: EvaluationConfig,
        samples: Samples,
        tracker: Tracker,
        measures: Mapping[str, Measure],
    ) -> None:
        self.players, self.settings = players, settings
        self.samples, self.tracker = samples, tracker
        tell = players.failures.changed
        self.measures = {name: kept_measure(name, one, tell) for name, one in measures.items()}
        self.text_measures = None
        if judged_as_texts(players.task):
            self.text_measures = text_measures(
                players.task, settings.embeddings, settings.mauve, settings.toxicity
            )
        self.start: dict[str, float | int] = {}  # metrics of the evaluation before the game
        # (iteration, held-out information in nats, its standard error) of each evaluation
        self.information: list[tuple[int, float, float]] = []

    def before(self, phase: Phase) -> Metrics:
        if not phase.evaluated or phase.count or phase.done() or self.start:
            return {}
        metrics = self.evaluate(phase)
        self.start = {name: metrics[name] for name in metrics if "eval/" in name}
        return metrics

    def after(self, phase: Phase, metrics: Metrics) -> Metrics:
        due = phase.done() or (metrics and phase.count % self.settings.every == 0)
        return self.evaluate(phase) if phase.evaluated and due else {}

    def evaluate(self, phase: Phase) -> Metrics:
        """A measurement of the generator and, on as many sequences, of the discriminator."""
        started = time.perf_counter()
        measured = self.measure(self.players.evaluated, self.settings.num_samples)
        self.shown = (f"eval/{measured.quality.name}",)
        metrics: dict[str, float | int] = dict(measured.metrics)
        metrics |= self.players.heldout_information(measured.samples)
        if has_texts(self.players.task):
            loss = self.players.nll_dev() + metrics.get("eval/kl_generator_oracle", 0.0)
            metrics["checkpoint/loss"] = loss
        self.samples.log(phase.name, measured.samples)
        if isinstance(phase, ShowsHistograms) and (histograms := phase.histograms()):
            self.tracker.histograms(histograms, self.players.position.axes())
        if "discriminator/information_heldout" in metrics:
            self.information.append(
                (
                    self.players.position.iteration,
                    metrics["discriminator/information_heldout"],
                    metrics["discriminator/information_heldout_error"],
                )
            )
        metrics["time/evaluate"] = time.perf_counter() - started
        return metrics | self.players.position.axes()

    def measure(
        self,
        generator: Generator,
        num_samples: int,
        temperature: float = 1.0,
        rng: torch.Generator | None = None,
    ) -> Measurement:
        """Measures a generator without touching the run's random state.

        Args:
            rng: of the samples; None for draws that differ from iteration to iteration.
        """
        players = self.players
        return measure(
            generator,
            players.task,
            num_samples,
            self.settings.num_heldout,
            players.rng_of_evaluation() if rng is None else rng,
            None if temperature == 1.0 else Sampling(temperature),
            players.device,
            self.text_measures,
            self.measures,
        )

    def state_dict(self) -> dict[str, Any]:
        return {"start": self.start, "information": self.information}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.start = dict(state["start"])
        self.information = [(int(i), value, error) for i, value, error in state["information"]]


class Alerts(Observer):
    """Tells of each kind of trouble once in a run.

    Args:
        evaluation: knows the metrics before the game.
    """

    name = "alerts"

    def __init__(self, players: Players, evaluation: Evaluation, tracker: Tracker) -> None:
        self.players, self.evaluation, self.tracker = players, evaluation, tracker
        self.titles: list[str] = []  # kinds of trouble that were told
        self.spreads, self.wins = Spreads(), Wins()

    def logged(self, phase: Phase, metrics: Metrics) -> None:
        found = self.spreads.follow(metrics) + self.wins.follow(metrics)
        if "eval/entropy" in metrics:  # an evaluation in this unit
            found += find_trouble(metrics, self.evaluation.start)
        for trouble in found:
            if trouble.title not in self.titles:
                self.titles.append(trouble.title)
                text = f"iteration {self.players.position.iteration}: {trouble.text}"
                self.players.tell(f"{trouble.title}: {text}")
                self.tracker.alert(trouble.title, text)

    def state_dict(self) -> dict[str, Any]:
        spreads, pinned = self.spreads.state_dict(), self.wins.pinned
        return {"titles": self.titles, "spreads": spreads, "pinned": pinned}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.titles = list(state["titles"])
        if "spreads" in state:  # not in a checkpoint of an older version
            self.spreads.load_state_dict(state["spreads"])
        self.wins.pinned = state.get("pinned", 0)


class BestCheckpoint(Observer):
    """Keeps a copy of the run's state at its best evaluation.

    The pretrained generator is no candidate in a game: every checkpoint holds it anyway. Of prompts
    alone no evaluation is the best, and the copy is that of the end.

    Args:
        folder: where the copy lies; None keeps none.
        state: gives the state of the whole run.
    """

    name = "best"

    def __init__(
        self, folder: Path | None, state: Callable[[], Mapping[str, Any]], tracker: Tracker
    ) -> None:
        self.folder, self.state, self.tracker = folder, state, tracker
        self.loss = float("inf")  # the least `checkpoint/loss`

    def logged(self, phase: Phase, metrics: Metrics) -> None:
        if not metrics.get("checkpoint/loss", float("inf")) < self.loss:
            return
        self.loss = metrics["checkpoint/loss"]
        if self.folder is not None:
            replace_checkpoint(self.folder, self.state())
            self.tracker.checkpoint(self.folder, ("latest", "best"), metrics)

    def finish(self) -> None:
        """Keeps the end of a run in which no evaluation was the best, as without a game."""
        if self.folder is not None and not self.folder.exists():
            replace_checkpoint(self.folder, self.state())

    def state_dict(self) -> dict[str, Any]:
        return {"loss": self.loss}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.loss = state["loss"]
