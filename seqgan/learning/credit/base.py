"""Credit: the part of a text's reward that each of its tokens is given.

A policy gradient asks one way of credit for values of its batch's tokens. A way may learn (a
critic) or follow the generator (a slow copy that completes prefixes): then it has a state.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from seqgan.data.metrics import Metrics
from seqgan.data.sequences import Trajectories
from seqgan.learning.players import Players


@dataclass(frozen=True)
class Batch:
    """One batch, as a way of credit sees it.

    Args:
        own: this process' trajectories; rewards per token stand at their tokens.
        everyones: those of all processes, in rank order.
        log_ratios: log pi - log reference of each token of `everyones`, nats; 0 on padding.
        kl_weight: of the penalty -kl_weight log_ratios that is a part of each token's reward.
    """

    own: Trajectories
    everyones: Trajectories
    log_ratios: Float[Tensor, "batch time"]
    kl_weight: float


@dataclass(frozen=True)
class Valued:
    """Values of the tokens of all processes' trajectories.

    Args:
        action_values: of the prefix that includes the token, by the rewards alone; NaN is unknown.
            Columns after a row's end keep the finished value.
        to_go: what the token is credited with: its part of the rewards and of the KL penalty,
            without what was earned before it; from a critic, its advantage. Baseline and scale
            come after that.
        trusted: False while a way of credit still learns and the generator is not to move.
    """

    action_values: Float[Tensor, "batch time"]
    to_go: Float[Tensor, "batch time"]
    trusted: bool = True


@runtime_checkable
class Credit(Protocol):
    """A way of credit. Of several processes each calls every method, in step with the others."""

    def value(self, players: Players, batch: Batch, rng: torch.Generator) -> Valued:
        """Values of every token, and whatever is drawn for them.

        Raises:
            RewardError: a reward failed.
        """
        ...

    def learn(self, players: Players, rng: torch.Generator) -> Metrics:
        """Learns from the batch that was valued last, once the generator has been updated."""
        ...

    def expected_seconds(self, players: Players) -> float:
        """Seconds of `value` and `learn` for one batch."""
        ...

    def forked(self, before: Any) -> None:
        """Takes up its own settings where a state of other rule settings was loaded."""
        ...

    def rewards_changed(self) -> None:
        """Measures anew whatever it holds in the unit of the rewards."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Its part of the rule's state, under keys that no other part has."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes its part of the rule's whole state."""
        ...
