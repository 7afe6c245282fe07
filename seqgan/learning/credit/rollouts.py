"""Monte Carlo rollouts: a token's value is the mean reward of completions of its prefix.

Without rollouts every token is credited with the reward of its text.
"""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from seqgan.data.metrics import Metrics
from seqgan.functional.advantages import earned_before, to_go
from seqgan.functional.groups import group_ids
from seqgan.functional.rescaling import Aggregation, RescaleKind, normalize_then_sum, rescale
from seqgan.learning.credit.base import Batch, Valued
from seqgan.learning.players import Players
from seqgan.learning.rollouts import monte_carlo_action_values, monte_carlo_part_values
from seqgan.models.generators.base import Generator, frozen_copy


@runtime_checkable
class RolloutSettings(Protocol):
    """Settings of rollouts, and of what becomes of their values."""

    @property
    def gamma(self) -> float: ...

    @property
    def num_rollouts(self) -> int: ...

    @property
    def rollout_decay(self) -> float: ...

    @property
    def rollout_stride(self) -> int: ...

    @property
    def rollout_chunk(self) -> int: ...

    @property
    def aggregation(self) -> Aggregation: ...

    @property
    def rescale(self) -> RescaleKind: ...

    @property
    def mask_truncated(self) -> bool:
        """True where texts without an end have no value."""


class RolloutCredit:
    """Values of prefixes by their completions, or by the whole text where there are none."""

    def __init__(self, settings: RolloutSettings, generator: Generator) -> None:
        self.settings, self.generator = settings, generator
        # The slow copy that completes prefixes; made at the first batch, None where the generator
        # completes its own.
        self.policy: Generator | None = None

    def value(self, players: Players, batch: Batch, rng: torch.Generator) -> Valued:
        """Values of prefixes, less past rewards and the KL from each token to the end.

        With a `gamma` below 1 a token is credited with the discounted rewards from it on.
        """
        if self.settings.rollout_decay > 0 and self.policy is None:
            self.policy = frozen_copy(self.generator)
        action_values = self.action_values(players, batch, rng)
        if self.settings.mask_truncated:
            truncated = ~batch.everyones.sequences.finished[:, None]
            action_values = action_values.masked_fill(truncated, torch.nan)
        mask, rewards, gamma = batch.everyones.mask, batch.everyones.rewards, self.settings.gamma
        future = action_values - earned_before(rewards, mask)
        if gamma < 1:
            known = mask & ~action_values.isnan()
            future = torch.where(known, to_go(rewards, mask, gamma), future)
        penalty = batch.kl_weight * to_go(batch.log_ratios, mask, gamma)
        return Valued(action_values, future - penalty)

    def action_values(
        self, players: Players, batch: Batch, rng: torch.Generator
    ) -> Float[Tensor, "batch time"]:
        """The value of each token of all processes by all rewards together; NaN is unknown."""
        settings, gather = self.settings, players.runtime.gather
        mask, groups = batch.everyones.mask, group_ids(batch.everyones)
        rollouts: dict[str, Any] = {
            "policy": self.generator if self.policy is None else self.policy,
            "trajectories": batch.own,
            "num_rollouts": settings.num_rollouts,
            "rng": rng,
            "chunk_size": settings.rollout_chunk,
            "stride": settings.rollout_stride,
        }
        rewards = players.rewards
        if settings.aggregation == "sum_then_normalize":
            values = gather(monte_carlo_action_values(reward_model=rewards, **rollouts))
        else:
            parts = monte_carlo_part_values(rewards=rewards, **rollouts)
            parts = gather(parts.transpose(0, 1)).transpose(0, 1)
            values = normalize_then_sum(parts, rewards.weights, mask, groups)
        return rescale(values, mask, settings.rescale, groups)

    def learn(self, players: Players, rng: torch.Generator) -> Metrics:
        """Moves the rollout policy: theta' <- decay theta' + (1 - decay) theta."""
        if self.policy is not None:
            with torch.no_grad():
                for slow, fast in zip(
                    self.policy.parameters(), players.generator.parameters(), strict=True
                ):
                    slow.lerp_(fast, 1 - self.settings.rollout_decay)
        return {}

    def expected_seconds(self, players: Players) -> float:
        settings = self.settings
        return players.pace.complete(
            players.batch_size, settings.rollout_stride, settings.num_rollouts
        )

    def forked(self, before: Any) -> None:
        if self.settings.rollout_decay == 0 or before.rollout_decay == 0:
            self.policy = None  # the first batch copies the generator, if it is to follow

    def rewards_changed(self) -> None:
        """Completions have no unit."""

    def state_dict(self) -> dict[str, Any]:
        return {} if self.policy is None else {"rollout_policy": self.policy.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        if "rollout_policy" in state:
            self.policy = frozen_copy(self.generator)
            self.policy.load_state_dict(state["rollout_policy"])
