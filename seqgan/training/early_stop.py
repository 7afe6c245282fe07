"""Ends the game where a metric has not got better for long."""

import math
from collections.abc import Mapping
from typing import Any

from seqgan.data.metrics import Metrics
from seqgan.learning.players import Players
from seqgan.system.errors import ConfigurationError
from seqgan.tasks.base import needs_texts
from seqgan.tracking.metrics import find_metric
from seqgan.training.observers import Observer
from seqgan.training.phases.base import Phase
from seqgan.training.phases.game import Game
from seqgan.training.settings import AdversarialConfig

USUAL = ("checkpoint/loss", "charts/episodic_return")  # metrics that may end most games


class EarlyStop(Observer):
    """Ends a game whose metric has had no better value for `patience` values.

    An evaluation's metric has a value at each evaluation, one of training at each iteration.

    Raises:
        ConfigurationError: there is no such metric, or it has no better end.
    """

    name = "early_stop"

    def __init__(self, players: Players, settings: AdversarialConfig) -> None:
        self.players, self.patience, self.metric = players, settings.patience, settings.stop_metric
        better = find_metric(self.metric).best
        if not better:
            raise ConfigurationError(
                f"adversarial.stop_metric is {self.metric}, but must be a metric with a better end,"
                " as checkpoint/loss and charts/episodic_return are (docs/metrics.md)"
            )
        if self.metric.startswith(("pretrain/", "result/")):
            raise ConfigurationError(
                f"adversarial.stop_metric is {self.metric}, but must be a metric of the game"
            )
        if self.metric == "checkpoint/loss":
            needs_texts(players.task, f"adversarial.stop_metric {self.metric}", "name a reward's")
        self.sign = 1.0 if better == "max" else -1.0
        self.best = -math.inf  # value times sign
        self.since = 0  # values without a better one
        self._judged = False  # the unit, before it was evaluated
        self._told = False  # that the metric has no value

    def before(self, phase: Phase) -> Metrics:
        """Counts anew in a game that had ended and was given more iterations."""
        if isinstance(phase, Game) and self.since >= self.patience:
            self.since = 0
        return {}

    def after(self, phase: Phase, metrics: Metrics) -> Metrics:
        """Judges a metric of training, so that a game which it ends is evaluated at its end."""
        self._judged = self._judge(phase, metrics)
        return {}

    def logged(self, phase: Phase, metrics: Metrics) -> None:
        """Judges a metric of the evaluation."""
        judged = self._judged or self._judge(phase, metrics)
        evaluated = isinstance(phase, Game) and "time/evaluate" in metrics
        if evaluated and not judged and math.isinf(self.best) and not self._told:
            self._told = True
            others = [name for name in USUAL if name in metrics]
            self.players.tell(
                f"adversarial.stop_metric is {self.metric}, which has had no value by iteration"
                f" {phase.count:g}, and without one it ends no game"
                + (f"; this run has {' and '.join(others)}" if others else "")
            )

    def _judge(self, phase: Phase, metrics: Metrics) -> bool:
        """Ends the game if it is time; True where the metric has a value."""
        if not isinstance(phase, Game):
            return False
        value = self.players.runtime.from_main(metrics.get(self.metric))
        if value is None:
            return False
        better = self.sign * value > self.best
        self.best = self.sign * value if better else self.best
        self.since = 0 if better else self.since + 1
        if self.since >= self.patience:
            phase.end(f"no better {self.metric} for {self.since} of its values")
        return True

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "since": self.since}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.best, self.since = state["best"], state["since"]
