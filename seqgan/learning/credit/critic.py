"""A critic's credit: generalized advantages, or what rollouts say beyond the critic's values.

Without rollouts a token is credited with its generalized advantage (Schulman et al., 2016), for
which one text suffices. With rollouts it is credited with the value of its prefix less the critic's
value of the prefix before it, and the critic learns from the rollouts' values.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from seqgan.data.metrics import Metrics
from seqgan.data.sequences import Sequences
from seqgan.functional.values import generalized_advantages
from seqgan.learning.credit.base import Batch, Valued
from seqgan.learning.credit.rollouts import RolloutCredit
from seqgan.learning.critic import CriticConfig, CriticLearner
from seqgan.learning.players import Players


@dataclass(frozen=True)
class Lesson:
    """The part of one batch that the critic learns from: this process' own texts."""

    sequences: Sequences
    states: Float[Tensor, "batch time hidden"]
    returns: Float[Tensor, "batch time"]


class CriticCredit:
    """Advantages by a critic, which learns from each batch once the generator has been updated.

    Rewards and the KL penalty of each token are those that the rollouts' credit gives.

    Args:
        settings: of the critic.
        rollouts: values prefixes, by their completions or by the whole text.
        players: the critic values the prefixes of their generator.
    """

    def __init__(self, settings: CriticConfig, rollouts: RolloutCredit, players: Players) -> None:
        self.settings, self.rollouts = settings, rollouts
        self.learner = CriticLearner(settings, players)
        self.lesson: Lesson | None = None  # of the batch that was valued last

    def value(self, players: Players, batch: Batch, rng: torch.Generator) -> Valued:
        """Advantages of all tokens; the generator is not to move while the critic warms up."""
        valued = self.rollouts.value(players, batch, rng)
        runtime, sequences = players.runtime, batch.own.sequences
        returns = runtime.own(valued.to_go)
        states = self.learner.states(players, sequences)
        values = self.learner.values(sequences, states)
        if self.rollouts.settings.num_rollouts > 0:
            advantages = returns - values
        else:
            mask, gamma = sequences.mask, self.rollouts.settings.gamma
            rewards = of_each(returns, mask, gamma)
            advantages, towards = (
                generalized_advantages(rewards, values, mask, gamma, share)
                for share in (self.settings.gae_lambda, self.settings.target_lambda)
            )
            returns = values + towards
        self.lesson = Lesson(sequences, states, returns)
        return replace(valued, to_go=runtime.gather(advantages), trusted=not self.learner.warming)

    def learn(self, players: Players, rng: torch.Generator) -> Metrics:
        assert self.lesson is not None
        lesson, self.lesson = self.lesson, None
        metrics = self.rollouts.learn(players, rng)
        learnt = self.learner.learn(players, lesson.sequences, lesson.states, lesson.returns, rng)
        return {**metrics, **learnt}

    def expected_seconds(self, players: Players) -> float:
        """Seconds of rollouts, of what the critic reads, and of a network's own passes."""
        pace, n = players.pace, players.batch_size
        passes = self.settings.epochs * pace.learn(n) if self.settings.kind == "network" else 0.0
        return self.rollouts.expected_seconds(players) + pace.score(2 * n) + passes

    def forked(self, before: Any) -> None:
        self.rollouts.forked(before)
        self.settings.adam.take_up(self.learner.optimizer, self.settings.learning_rate)

    def rewards_changed(self) -> None:
        self.rollouts.rewards_changed()
        self.learner.begin_anew()

    def state_dict(self) -> dict[str, Any]:
        return {**self.rollouts.state_dict(), "critic": self.learner.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.rollouts.load_state_dict(state)
        if "critic" in state:  # a fork may have a critic where the run before had none
            self.learner.load_state_dict(state["critic"])


def of_each(
    to_go: Float[Tensor, "batch time"], mask: Bool[Tensor, "batch time"], gamma: float = 1.0
) -> Float[Tensor, "batch time"]:
    """The part of each token in a sum from it to the row's end; undoes `to_go`. 0 on padding."""
    real = torch.where(mask, to_go, 0.0)
    following = torch.cat([real[:, 1:], torch.zeros_like(real[:, :1])], dim=1)
    return real - gamma * following
