"""The contract of a learning rule: how a generator learns from its own texts."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch

from seqgan.data.metrics import Metrics
from seqgan.tracking.base import Histogram
from seqgan.learning.players import Players


@runtime_checkable
class LearningRule(Protocol):
    """Improves the generator by one batch of its own texts.

    The game calls `step` once per generator update. A rule that keeps something between updates
    (an optimiser, a baseline) keeps it in its state, so that a run goes on after a stop with the
    same numbers.
    """

    def step(self, players: Players, rng: torch.Generator) -> Metrics:
        """Draws a batch, updates `players.generator`, and measures.

        Args:
            rng: the source of every draw. Where the step raises, the caller takes the draws back.

        Returns:
            Metrics of the library's list, and others under `user/<name>`.

        Raises:
            RewardError: a reward failed; the generator is as it was.
            DivergedError: a loss or a gradient is not finite; the generator is as it was.
        """
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


@runtime_checkable
class RuleConfig(Protocol):
    """Settings of a rule: a frozen dataclass that builds its rule."""

    def build(self, players: Players) -> LearningRule: ...


@runtime_checkable
class ShowsHistograms(Protocol):
    """A rule, or a phase, that can show its tokens of the last update by their positions."""

    def histograms(self) -> Mapping[str, Histogram]:
        """Histograms by the names of the metric list; empty before the first update."""
        ...
