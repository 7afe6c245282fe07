"""The policy gradient: credit, a baseline, a scale, a KL and a loss, which combine freely.

One step: collect texts, value every token, subtract what is no credit of its, scale, update. With
the defaults it is SeqGAN's rule (Yu et al., 2017), REINFORCE with Monte Carlo rollouts. Each part
has a file of its own: `credit` (whose value is it?), `functional.baselines`, `functional.scaling`,
`learning.anchor` (the KL), and the losses in `functional`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from seqgan.data.metrics import Metrics
from seqgan.data.sequences import Trajectories
from seqgan.evaluation.game.positions import histograms_by_position
from seqgan.functional.advantages import at_their_tokens, to_go, where_known
from seqgan.functional.baselines import Baseline, make_baseline
from seqgan.functional.groups import group_ids
from seqgan.functional.kl_estimators import KLEstimatorKind
from seqgan.functional.policy_losses import PolicyLossKind, make_policy_loss
from seqgan.functional.rescaling import Aggregation, RescaleKind
from seqgan.functional.scaling import ScaleKind, scaled
from seqgan.learning.anchor import Anchor
from seqgan.learning.collection import gathered
from seqgan.learning.credit.base import Batch, Credit
from seqgan.learning.credit.critic import CriticCredit
from seqgan.learning.credit.rollouts import RolloutCredit
from seqgan.learning.critic import CriticConfig
from seqgan.learning.optimization import AdamConfig, ScheduleKind, follow_schedule
from seqgan.learning.players import Players
from seqgan.learning.policy_updates import GeneratorUpdate, KLTerm, minibatches, update_generator
from seqgan.learning.rules.own_texts import batch_metrics
from seqgan.learning.self_critical import SelfCritical
from seqgan.system.checks import Count, Rate, Share, Size, Weight, WholeShare, check_settings
from seqgan.system.errors import ConfigurationError
from seqgan.system.timing import Clock
from seqgan.tasks.base import needs_texts
from seqgan.tracking.base import Histogram

BaselineKind = Literal[
    "none",
    "batch_mean",
    "leave_one_out",
    "moving_average",
    "group_mean",
    "group_leave_one_out",
    "self_critical",
    "prefix",
]
# Those that compare a text with others, of its group or of its batch.
OF_OTHERS = ("leave_one_out", "group_mean", "group_leave_one_out", "prefix")


@dataclass(frozen=True)
class PolicyGradientConfig:
    kind: Literal["policy_gradient"] = "policy_gradient"  # REINFORCE with Monte Carlo rollouts
    learning_rate: Rate = 1e-3  # Adam's, for the policy gradient
    schedule: ScheduleKind = "constant"  # of that rate over the game; linear or cosine to 0
    warmup: Count = 0  # iterations in which the rate rises to its value
    adam: AdamConfig = field(default_factory=AdamConfig)
    num_rollouts: Count = 8  # completions per prefix; 0 gives every token its sequence's reward
    gamma: WholeShare = 1.0  # discount of each later token's reward; below 1 without rollouts alone
    rollout_decay: Share = 0.0  # the rollout policy's moving average; 0 rolls out the generator
    rollout_stride: Size = 1  # every k-th prefix is completed, values between are interpolated
    rollout_chunk: Size = 16384  # completions that are judged together; bounds memory
    aggregation: Aggregation = "sum_then_normalize"  # or each reward normalised before the sum
    # What is subtracted from the action values. Without rollouts of every prefix, or with a critic,
    # prefix is leave_one_out.
    baseline: BaselineKind = "leave_one_out"
    baseline_decay: Share = 0.9  # of the moving-average baseline
    rescale: RescaleKind = "none"  # what becomes of action values, compared within the group
    scale: ScaleKind = "none"  # divide advantages by their deviation in the batch or the group
    kl_weight: Weight = 0.1  # weight of KL to the pretrained generator, reward units per nat
    kl_target: Weight = 0.0  # nats per sequence that a controller of the weight aims at; 0 fixes it
    kl_in: Literal["reward", "loss"] = "reward"  # credited to tokens, or a term of the loss
    kl_estimator: KLEstimatorKind = "k3"  # in the loss; in the reward it is k1, the log ratio
    reference_every: Count = 0  # updates after which the KL's reference is the generator; 0: never
    loss: PolicyLossKind = "reinforce"  # or a clipped ratio: of tokens, of sequences, as a weight
    clip_low: WholeShare = 0.2  # ratios are clipped at 1 minus this (ppo, gspo, cispo)
    clip_high: Weight = 0.2  # ratios are clipped at 1 plus this (ppo, gspo, cispo)
    epochs: Size = 1  # passes over each batch
    minibatch_size: Count = 0  # sequences per optimiser step, in each process; 0 takes the batch
    stop_kl: Weight = 0.0  # nats per token from the batch's policy that end its update; 0: never
    mask_truncated: bool = False  # whether rewards of texts without an end count for nothing
    critic: CriticConfig = field(default_factory=CriticConfig)
    update: GeneratorUpdate = field(default_factory=GeneratorUpdate)

    def __post_init__(self) -> None:
        check_settings("rule", self)
        if self.kl_target > 0 and self.kl_weight == 0:
            raise ConfigurationError(
                "rule.kl_weight is 0, but must be above 0 where there is a kl_target"
            )
        if self.reference_every > 0 and self.kl_weight == 0:
            raise ConfigurationError(
                f"rule.reference_every is {self.reference_every}, but must be 0 where"
                " rule.kl_weight is, since nothing is held to a reference"
            )
        if self.stop_kl > 0 and self.epochs == 1 and self.minibatch_size == 0:
            raise ConfigurationError(
                f"rule.stop_kl is {self.stop_kl:g}, but must be 0 where a batch has one step; more"
                " are rule.epochs above 1 or a rule.minibatch_size"
            )
        plain = self.rescale == "none" and self.aggregation == "sum_then_normalize"
        if self.gamma < 1 and not (plain and self.num_rollouts == 0):
            raise ConfigurationError(
                f"rule.gamma is {self.gamma:g}, but must be 1 with rollouts, a rescale or another"
                " aggregation, whose values are of whole texts (give --rule.num-rollouts 0)"
            )
        other_unit = next(
            (
                f"rule.{name} {value}"
                for name, value in (
                    ("rescale", self.rescale),
                    ("aggregation", self.aggregation),
                    ("critic.kind", self.critic.kind),
                    ("gamma", self.gamma),
                )
                if value not in ("none", "sum_then_normalize", 1.0)
            ),
            "",
        )
        if self.baseline == "self_critical" and other_unit:
            raise ConfigurationError(
                "rule.baseline is self_critical, a reward, but must be another with"
                f" {other_unit}, whose values are no rewards"
            )
        if self.effective_baseline == "prefix" and self.kl_in == "reward" and self.kl_weight > 0:
            raise ConfigurationError(
                "rule.kl_in is reward, but must be loss with the prefix baseline (or give"
                " --rule.baseline leave_one_out)"
            )

    def more_texts(self, batch_size: int, group_size: int) -> int:
        """The greedy texts of the self-critical baseline, one of each prompt."""
        return batch_size // group_size if self.baseline == "self_critical" else 0

    @property
    def effective_baseline(self) -> BaselineKind:
        """The baseline in use: `prefix` gives way where not every prefix has completions of its
        own, or where a critic has valued it already."""
        every = self.num_rollouts > 0 and self.rollout_stride == 1
        if self.baseline == "prefix" and (not every or self.critic.kind != "none"):
            return "leave_one_out"
        return self.baseline

    def build(self, players: Players) -> "PolicyGradient":
        """The rule, ready to improve `players.generator`.

        Raises:
            ConfigurationError: a batch or a group of one sequence where sequences are compared, or
                the likelihood of real texts where there are none.
        """
        check_comparable(self, players)
        if self.update.mle_weight != 0:
            needs_texts(players.task, "rule.update.mle_weight", "give --rule.update.mle-weight 0")
        return PolicyGradient(self, players)


def check_comparable(settings: PolicyGradientConfig, players: Players) -> None:
    """Checks that there are texts to compare with where a baseline or a scale does.

    Raises:
        ConfigurationError: a batch or a group is one sequence.
    """
    of_group = ("group_mean", "group_leave_one_out")
    what = f"the {settings.baseline} baseline" if settings.baseline in OF_OTHERS else ""
    if settings.scale != "none":
        what = what or f"scale {settings.scale}"
    if what and players.batch_size < 2:
        raise ConfigurationError(
            f"adversarial.batch_size is {players.batch_size}, but must be at least 2 with {what}"
        )
    grouped = settings.baseline in of_group or settings.scale == "group"
    if grouped and players.task.max_prompt_length and players.group_size < 2:
        named = f"scale {settings.scale}" if settings.scale == "group" else what
        raise ConfigurationError(
            f"adversarial.group_size is {players.group_size}, but must be at least 2 with {named}"
            " where there are prompts"
        )


class PolicyGradient:
    """Improves a generator by the policy gradient of its settings.

    Args:
        settings: everything that is a setting.
        players: the optimiser holds the parameters of their generator.
    """

    shown = ("charts/episodic_return", "kl/reference", "losses/entropy")

    def __init__(self, settings: PolicyGradientConfig, players: Players) -> None:
        self.settings, self.generator = settings, players.generator
        self.optimizer = settings.adam.build(self.generator, settings.learning_rate)
        self.baseline: Baseline = (
            SelfCritical(players)
            if settings.baseline == "self_critical"
            else make_baseline(settings.effective_baseline, settings.baseline_decay)
        )
        self.loss = make_policy_loss(settings.loss, settings.clip_low, settings.clip_high)
        self.anchor = Anchor(settings)
        rollouts = RolloutCredit(settings, self.generator)
        self.credit: Credit = (
            rollouts
            if settings.critic.kind == "none"
            else CriticCredit(settings.critic, rollouts, players)
        )
        self._shown: dict[str, Tensor] = {}  # of the last step, for histograms

    def step(self, players: Players, rng: torch.Generator) -> Metrics:
        """Collects a batch, values its tokens, updates the generator: one g-step.

        Values and advantages are those of all processes' trajectories together. Each process
        updates with its own part of them.
        """
        settings, runtime, clock = self.settings, players.runtime, Clock()
        follow_schedule(self.optimizer, settings, players.position)
        with clock.lap("collect"):
            trajectories = players.collect(rng)
        trajectories = self.credited(players, trajectories)
        everyones = gathered(trajectories, runtime)
        with clock.lap("update_generator"):
            reference = self.anchor.log_probs(players, trajectories)
            ratios = runtime.gather(trajectories.log_probs - reference)
        weight = self.anchor.weight
        kl_term = KLTerm(reference, weight, settings.kl_estimator)
        in_loss = settings.kl_in == "loss"
        with clock.lap("rollout"):
            batch = Batch(trajectories, everyones, ratios, 0.0 if in_loss else weight)
            valued = self.credit.value(players, batch, rng)
        with clock.lap("update_generator"):
            centred = valued.to_go - self.baseline(valued.to_go, everyones)
            self._shown = {
                "action_value": valued.action_values,
                "advantage": centred,
                "known": everyones.mask & ~centred.isnan(),
            }
            groups = group_ids(everyones)
            advantages = scaled(centred, valued.to_go, everyones.mask, groups, settings.scale)
            metrics: dict[str, float | int] = {}
            if valued.trusted:
                anchored = settings.update.mle_weight != 0
                real = players.real("train", players.batch_size, rng) if anchored else None
                metrics |= update_generator(
                    self.generator,
                    self.optimizer,
                    self.loss,
                    trajectories,
                    runtime.own(where_known(advantages, valued.action_values)),
                    settings.update,
                    runtime,
                    real,
                    kl=kl_term if in_loss else None,
                    steps=minibatches(
                        players.batch_size, rng, settings.epochs, settings.minibatch_size
                    ),
                    stop_kl=settings.stop_kl,
                )
            metrics |= self.credit.learn(players, rng)
        kl = float(to_go(ratios, everyones.mask)[:, 0].mean())
        known = where_known(centred, valued.action_values)
        metrics |= batch_metrics(players, everyones, known)
        metrics["charts/learning_rate_generator"] = self.optimizer.param_groups[0]["lr"]
        metrics |= {"kl/reference": kl, "kl/weight": weight}
        if valued.trusted:
            self.anchor.updated(self.generator, kl)
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

    def histograms(self) -> Mapping[str, Histogram]:
        """Action values and advantages of the last step, by the positions of their tokens."""
        histograms: dict[str, Histogram] = {}
        for area in ("action_value", "advantage"):
            if area in self._shown:
                values, known = self._shown[area], self._shown["known"]
                histograms |= histograms_by_position(area, values, known)
        return histograms

    def expected_seconds(self, players: Players) -> float:
        """Seconds of a step: its texts, their credit, and the update."""
        pace, n = players.pace, players.batch_size
        groups = players.group_size if players.task.max_prompt_length else n
        judged = n + self.settings.more_texts(n, groups)
        drawn = pace.draw(judged) + pace.reward(judged)
        updates = pace.score(2 * n) + self.settings.epochs * pace.learn(n)
        return drawn + self.credit.expected_seconds(players) + updates

    def forked(self, before: Any) -> None:
        """Takes up its own settings where a state of other settings was loaded."""
        self.settings.adam.take_up(self.optimizer, self.settings.learning_rate)
        self.anchor.forked(before)
        self.credit.forked(before)

    def rewards_changed(self) -> None:
        """Measures anew what is in the unit of the rewards: the critic's values, the baseline."""
        self.credit.rewards_changed()
        if self.settings.baseline == "moving_average":
            self.baseline = make_baseline("moving_average", self.settings.baseline_decay)

    def state_dict(self) -> dict[str, Any]:
        state = {"optimizer": self.optimizer.state_dict(), **self.anchor.state_dict()}
        if hasattr(self.baseline, "state_dict"):
            state["baseline"] = self.baseline.state_dict()
        return state | self.credit.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])
        self.anchor.load_state_dict(state, self.generator)
        if "baseline" in state and hasattr(self.baseline, "load_state_dict"):
            self.baseline.load_state_dict(state["baseline"])
        self.credit.load_state_dict(state)
