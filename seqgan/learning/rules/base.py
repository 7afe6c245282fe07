"""The contract of a learning rule: how a generator learns from its own texts."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch

from seqgan.data.metrics import Metrics
from seqgan.learning.players import Players
from seqgan.tracking.base import Histogram


@runtime_checkable
class LearningRule(Protocol):
    """Improves the generator by one batch of its own texts.

    The game calls `step` once per generator update. Whatever a rule keeps between updates (an
    optimiser, a baseline, a critic) is in its state, so that a run goes on after a stop with the
    same numbers. The rule tells `players.count_tokens` which texts it drew. It may have `shown`,
    the names of metrics beside the progress bar.

    Of several processes, each builds the rule and calls its steps, in step with the others. The
    main one builds it first, so building waits for nobody: a module that learns is appended to
    `players.learning`, and is joined before training begins. Parameters are initialised from
    PyTorch's global state, which is seeded meanwhile.
    """

    def step(self, players: Players, rng: torch.Generator) -> Metrics:
        """Draws a batch, updates `players.generator`, and measures.

        Args:
            rng: the source of every draw. Where the step raises, the caller takes the draws back.

        Returns:
            Metrics of the library's list, and others under `user/<name>`.

        Raises:
            RewardError: a reward failed; the generator is as it was.
            DivergedError: a loss or a gradient is not finite; that optimiser step is not taken.
        """
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


@runtime_checkable
class RuleConfig(Protocol):
    """Settings of a rule: a frozen dataclass that builds its rule."""

    def build(self, players: Players) -> LearningRule: ...


@runtime_checkable
class DrawsMore(Protocol):
    """Settings of a rule that asks rewards about more texts than those of its batch."""

    def more_texts(self, batch_size: int, group_size: int) -> int:
        """The texts of one step that are not in its batch, without completions of prefixes.

        Args:
            group_size: texts of the batch that go on from one prompt; the batch's size where there
                are no prompts.
        """
        ...


@runtime_checkable
class ShowsHistograms(Protocol):
    """A rule, or a phase, that can show its tokens of the last update by their positions."""

    def histograms(self) -> Mapping[str, Histogram]:
        """Histograms by the names of the metric list; empty before the first update."""
        ...


@runtime_checkable
class ForksRule(Protocol):
    """A rule whose state follows settings that a fork changes, say a learning rate."""

    def forked(self, before: Any) -> None:
        """Called once the state of a run with rule settings `before` is loaded."""
        ...


@runtime_checkable
class MayAskRewards(Protocol):
    """A rule that says whether it learns from the rewards; any other one does."""

    @property
    def asks_rewards(self) -> bool: ...


def asks_rewards(rule: object) -> bool:
    """False for a rule that learns without the run's rewards."""
    return rule.asks_rewards if isinstance(rule, MayAskRewards) else True


@runtime_checkable
class FollowsRewards(Protocol):
    """A rule that keeps something in the unit of the rewards, say a critic."""

    def rewards_changed(self) -> None:
        """Called where a fork has other rewards than the run whose state is loaded."""
        ...


@runtime_checkable
class EstimatesStep(Protocol):
    """A rule that can say how long a step takes."""

    def expected_seconds(self, players: Players) -> float:
        """Seconds of one step, measured just now; the players are left as they were."""
        ...
