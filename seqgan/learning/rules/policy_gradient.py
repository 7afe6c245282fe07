"""REINFORCE with Monte Carlo rollouts: the learning rule of SeqGAN (Yu et al., 2017).

One step: collect texts, value every token, subtract what is no credit of its, update. Rollouts
give the value of a prefix; the KL to the reference stands in the reward to go.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from seqgan.data.metrics import Metrics
from seqgan.data.sequences import Trajectories
from seqgan.evaluation.game.positions import histograms_by_position
from seqgan.evaluation.game.trajectories import describe_trajectories
from seqgan.functional.advantages import (
    BaselineKind,
    at_their_tokens,
    earned_before,
    kl_to_go,
    make_baseline,
    next_kl_weight,
    standardize,
    where_known,
)
from seqgan.functional.losses import minimax_generator_loss
from seqgan.functional.policy_losses import reinforce
from seqgan.functional.rescaling import Aggregation, RescaleKind, normalize_then_sum, rescale
from seqgan.learning.collection import gathered
from seqgan.learning.players import Players
from seqgan.learning.policy_updates import GeneratorUpdate, update_generator
from seqgan.learning.rollouts import monte_carlo_action_values, monte_carlo_part_values
from seqgan.learning.updates import set_learning_rate
from seqgan.models.generators.base import Generator, frozen_copy
from seqgan.system.checks import Count, Rate, Share, Size, Weight, check_settings
from seqgan.system.errors import ConfigurationError
from seqgan.system.timing import Clock
from seqgan.tasks.base import needs_texts
from seqgan.tracking.base import Histogram


@dataclass(frozen=True)
class PolicyGradientConfig:
    kind: Literal["policy_gradient"] = "policy_gradient"  # REINFORCE with Monte Carlo rollouts
    learning_rate: Rate = 1e-3  # Adam's, for the policy gradient
    num_rollouts: Count = 8  # completions per prefix; 0 gives every token its sequence's reward
    rollout_decay: Share = 0.0  # the rollout policy's moving average; 0 rolls out the generator
    rollout_stride: Size = 1  # every k-th prefix is completed, values between are interpolated
    rollout_chunk: Size = 16384  # completions that are judged together; bounds memory
    aggregation: Aggregation = "sum_then_normalize"  # or each reward normalised before the sum
    baseline: BaselineKind = "leave_one_out"  # what is subtracted from the action values
    baseline_decay: Share = 0.9  # of the moving-average baseline
    rescale: RescaleKind = "none"  # what becomes of action values, compared within the batch
    standardize: bool = False  # divide advantages by their deviation
    kl_weight: Weight = 0.1  # weight of KL to the pretrained generator, reward units per nat
    kl_target: Weight = 0.0  # nats per sequence that a controller of the weight aims at; 0 fixes it
    update: GeneratorUpdate = field(default_factory=GeneratorUpdate)

    def __post_init__(self) -> None:
        check_settings("rule", self)
        if self.kl_target > 0 and self.kl_weight == 0:
            raise ConfigurationError(
                "rule.kl_weight is 0, but must be above 0 where there is a kl_target"
            )

    def build(self, players: Players) -> "PolicyGradient":
        """The rule, ready to improve `players.generator`.

        Raises:
            ConfigurationError: a batch of one sequence with a baseline that needs others, or the
                likelihood of real texts where there are none.
        """
        if self.baseline == "leave_one_out" and players.batch_size < 2:
            raise ConfigurationError(
                f"adversarial.batch_size is {players.batch_size}, but must be at least 2"
                " with the leave_one_out baseline"
            )
        if self.update.mle_weight != 0:
            needs_texts(players.task, "rule.update.mle_weight", "give --rule.update.mle-weight 0")
        return PolicyGradient(self, players.generator)


class PolicyGradient:
    """REINFORCE on values of prefixes, with a baseline and a KL penalty.

    Args:
        settings: everything that is a setting.
        generator: the one that learns; the optimiser holds its parameters.
    """

    shown = ("charts/episodic_return", "kl/reference", "losses/entropy")

    def __init__(self, settings: PolicyGradientConfig, generator: Generator) -> None:
        self.settings, self.generator = settings, generator
        trained = [parameter for parameter in generator.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.Adam(trained, settings.learning_rate, fused=True)
        self.baseline = make_baseline(settings.baseline, settings.baseline_decay)
        self.kl_weight = settings.kl_weight
        # The slow copy that completes prefixes; made at the first step, None where the generator
        # completes its own.
        self.rollout_policy: Generator | None = None
        self._shown: dict[str, Tensor] = {}  # of the last step, for histograms

    def step(self, players: Players, rng: torch.Generator) -> Metrics:
        """Collects a batch, values its tokens, updates the generator: one g-step.

        Values and advantages are those of all processes' trajectories together. Each process
        updates with its own part of them.
        """
        settings, runtime, clock = self.settings, players.runtime, Clock()
        if settings.rollout_decay > 0 and self.rollout_policy is None:
            self.rollout_policy = frozen_copy(self.generator)
        with clock.lap("collect"):
            trajectories = players.collect(rng)
        trajectories = self.credited(players, trajectories)
        with clock.lap("rollout"):
            action_values = self.action_values(players, trajectories, rng)
        everyones = gathered(trajectories, runtime)
        with clock.lap("update_generator"):
            anchored = settings.update.mle_weight != 0
            real = players.real("train", players.batch_size, rng) if anchored else None
            kl = runtime.gather(kl_to_reference(players, trajectories))
            past = earned_before(everyones.rewards, everyones.mask)
            values = action_values - past - self.kl_weight * kl
            centred = values - self.baseline(values, everyones)
            self._shown = {
                "action_value": action_values,
                "advantage": centred,
                "known": everyones.mask & ~centred.isnan(),
            }
            advantages = centred
            if settings.standardize:
                advantages = standardize(centred, everyones.mask)
            metrics = dict(
                update_generator(
                    self.generator,
                    self.optimizer,
                    reinforce,
                    trajectories,
                    runtime.own(where_known(advantages, action_values)),
                    settings.update,
                    runtime,
                    real,
                )
            )
            self.follow_generator()
        kl_per_sequence = float(kl[:, 0].mean())
        metrics |= batch_metrics(players, everyones, where_known(centred, action_values), rng)
        metrics["charts/learning_rate_generator"] = self.optimizer.param_groups[0]["lr"]
        metrics |= {"kl/reference": kl_per_sequence, "kl/weight": self.kl_weight}
        if settings.kl_target > 0:
            self.kl_weight = next_kl_weight(self.kl_weight, kl_per_sequence, settings.kl_target)
        players.count_tokens(trajectories)
        return metrics | clock.seconds

    def credited(self, players: Players, trajectories: Trajectories) -> Trajectories:
        """Credits the increments of rewards per token at their tokens.

        The environment pays their sum with the last token. Values that are made comparable within
        the batch have another unit; they keep the sum, since no past can be subtracted from them.
        """
        settings = self.settings
        if settings.rescale != "none" or settings.aggregation != "sum_then_normalize":
            return trajectories
        increments = players.rewards.increments(trajectories.sequences)
        if increments is None:
            return trajectories
        rewards = at_their_tokens(trajectories.rewards, increments, trajectories.mask)
        return replace(trajectories, rewards=rewards)

    def action_values(
        self, players: Players, trajectories: Trajectories, rng: torch.Generator
    ) -> Float[Tensor, "batch time"]:
        """The value of each token by all rewards together; NaN where it is unknown.

        Args:
            trajectories: this process' own. The values are those of all processes' trajectories.
        """
        settings, gather = self.settings, players.runtime.gather
        rollouts: dict[str, Any] = {
            "policy": self.generator if self.rollout_policy is None else self.rollout_policy,
            "trajectories": trajectories,
            "num_rollouts": settings.num_rollouts,
            "rng": rng,
            "chunk_size": settings.rollout_chunk,
            "stride": settings.rollout_stride,
        }
        rewards = players.rewards
        if settings.aggregation == "sum_then_normalize":
            values = gather(monte_carlo_action_values(reward_model=rewards, **rollouts))
            mask = gather(trajectories.mask)
        else:
            parts = monte_carlo_part_values(rewards=rewards, **rollouts)
            parts, mask = gather(parts.transpose(0, 1)).transpose(0, 1), gather(trajectories.mask)
            values = normalize_then_sum(parts, rewards.weights, mask)
        return rescale(values, mask, settings.rescale)

    def follow_generator(self) -> None:
        """Moves the rollout policy: theta' <- decay theta' + (1 - decay) theta."""
        if self.rollout_policy is None:
            return
        with torch.no_grad():
            for slow, fast in zip(
                self.rollout_policy.parameters(), self.generator.parameters(), strict=True
            ):
                slow.lerp_(fast, 1 - self.settings.rollout_decay)

    def histograms(self) -> Mapping[str, Histogram]:
        """Action values and advantages of the last step, by the positions of their tokens."""
        histograms: dict[str, Histogram] = {}
        for area in ("action_value", "advantage"):
            if area in self._shown:
                values, known = self._shown[area], self._shown["known"]
                histograms |= histograms_by_position(area, values, known)
        return histograms

    def expected_seconds(self, players: Players) -> float:
        """Seconds of a step: its texts, their rollouts, and the update."""
        settings, pace, n = self.settings, players.pace, players.batch_size
        rollouts = pace.complete(n, settings.rollout_stride, settings.num_rollouts)
        return pace.draw(n) + pace.reward(n) + rollouts + pace.score(2 * n) + pace.learn(n)

    def forked(self, before: Any) -> None:
        """Takes up its own settings where a state of other settings was loaded."""
        set_learning_rate(self.optimizer, self.settings.learning_rate)
        if self.settings.kl_target == 0 or before.kl_weight != self.settings.kl_weight:
            self.kl_weight = self.settings.kl_weight
        if self.settings.rollout_decay == 0 or before.rollout_decay == 0:
            self.rollout_policy = None  # the first step copies the generator, if it is to follow

    def state_dict(self) -> dict[str, Any]:
        state = {"optimizer": self.optimizer.state_dict(), "kl_weight": self.kl_weight}
        if hasattr(self.baseline, "state_dict"):
            state["baseline"] = self.baseline.state_dict()
        if self.rollout_policy is not None:
            state["rollout_policy"] = self.rollout_policy.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])
        self.kl_weight = state["kl_weight"]
        if hasattr(self.baseline, "load_state_dict"):
            self.baseline.load_state_dict(state["baseline"])
        if "rollout_policy" in state:
            self.rollout_policy = frozen_copy(self.generator)
            self.rollout_policy.load_state_dict(state["rollout_policy"])


def kl_to_reference(players: Players, trajectories: Trajectories) -> Float[Tensor, "batch time"]:
    """Sampled KL to the reference, from each token to the end; nats."""
    with torch.no_grad():
        reference = players.reference.eval().log_probs(trajectories.sequences)
    return kl_to_go(trajectories.log_probs, reference, trajectories.mask)


def batch_metrics(
    players: Players,
    trajectories: Trajectories,
    advantages: Float[Tensor, "batch time"],
    rng: torch.Generator,
) -> Metrics:
    """The look of one batch: lengths, rewards, advantages, and the discriminator's view of it.

    Every process calls it; the main one, which logs, gets the metrics.
    """
    if not players.runtime.is_main():
        return {}
    metrics = dict(
        describe_trajectories(
            trajectories, advantages, players.task.vocabulary, players.rewards.names
        )
    )
    # The discriminator has not been trained on these sequences, but it has on their prompts.
    unseen = trajectories.sequences
    if players.task.max_prompt_length:
        unseen = players.unseen(len(unseen), rng)
    metrics |= players.heldout_information(unseen)
    if players.discriminator is not None:
        logits = players.discriminator.logits(trajectories.sequences)
        metrics["losses/minimax_generator"] = float(minimax_generator_loss(logits))
        optimizer = players.discriminator.optimizer
        metrics["charts/learning_rate_discriminator"] = optimizer.param_groups[0]["lr"]
    return metrics
