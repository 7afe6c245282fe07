"""Maximum likelihood on own texts, weighted by their rewards.

The loss is the mean over tokens of -log pi(y_t | y_<t), in which each token counts with the weight
of its text. Weights are compared within a group: the completions of one prompt, and the batch of
all processes where there are no prompts. Two rules say what they are.

- `reweighting`: w_i = exp(r_i / beta) / sum_j exp(r_j / beta). With the logit of D as the reward
  (`adversarial.reward_shape logit`, the default) and beta 1 these are the weights of MaliGAN (Che
  et al., 2017, sec. 3.1): the density ratio D/(1-D), clipped and normalised in the batch. Where D
  is optimal, the expected gradient is that of the data's likelihood. A larger beta tempers them.
- `cloning`: the best texts of each group weigh 1, all others 0. Behaviour cloning of the best of n,
  as in RAFT (Dong et al., 2023).

There is no importance ratio: texts are drawn from the policy that learns. Both learn with dropout,
where the generator has any, as maximum likelihood does.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seqgan.data.metrics import Metrics
from seqgan.data.sequences import Trajectories
from seqgan.functional.groups import group_ids
from seqgan.learning.collection import gathered
from seqgan.learning.descent import take_step
from seqgan.learning.optimization import AdamConfig, ScheduleKind, follow_schedule
from seqgan.learning.players import Players
from seqgan.learning.rules.own_texts import describe_collected, known_returns
from seqgan.models.generators.base import Generator
from seqgan.system.checks import (
    Bound,
    Count,
    Portion,
    Positive,
    Rate,
    Weight,
    WholeShare,
    check_settings,
)
from seqgan.system.errors import ConfigurationError
from seqgan.system.seeding import seeded_from
from seqgan.system.timing import Clock
from seqgan.tasks.base import needs_texts


@runtime_checkable
class WeightedSettings(Protocol):
    """Settings of a rule of this file."""

    @property
    def learning_rate(self) -> float: ...

    @property
    def schedule(self) -> ScheduleKind: ...

    @property
    def warmup(self) -> int: ...

    @property
    def adam(self) -> AdamConfig: ...

    @property
    def mle_weight(self) -> float: ...

    @property
    def max_grad_norm(self) -> float: ...

    def weights(
        self, returns: Float[Tensor, " batch"], groups: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """The weight of each text; 0 for one without a return, which is NaN."""
        ...

    def mass(
        self, returns: Float[Tensor, " batch"], groups: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """The weights before anything is taken off: the loss is divided by their tokens."""
        ...


@dataclass(frozen=True)
class ReweightingConfig:
    kind: Literal["reweighting"] = "reweighting"  # own texts weigh exp(reward / beta): MaliGAN
    learning_rate: Rate = 1e-3  # Adam's
    schedule: ScheduleKind = "constant"  # of that rate over the game; linear or cosine to 0
    warmup: Count = 0  # iterations in which the rate rises to its value
    adam: AdamConfig = field(default_factory=AdamConfig)
    beta: Positive = 1.0  # reward units per nat of a weight; larger ones temper the weights
    baseline: WholeShare = 0.0  # share of the mean weight that is taken off each weight
    mle_weight: Weight = 0.0  # weight of the NLL of as many training sequences in the loss
    max_grad_norm: Bound = 5.0  # the gradient's norm is clipped to this

    def __post_init__(self) -> None:
        check_settings("rule", self)

    def build(self, players: Players) -> "WeightedLikelihood":
        """The rule, ready to improve `players.generator`; raises as `check_weighted` does."""
        return WeightedLikelihood(check_weighted(self, players), players.generator)

    def weights(
        self, returns: Float[Tensor, " batch"], groups: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """r_i / sum_j r_j - baseline / n with r = exp(return / beta), in each group of n texts."""
        weights = torch.zeros_like(returns)
        for rows in known_rows(returns, groups):
            normalized = (returns[rows].double() / self.beta).softmax(dim=0)
            weights[rows] = (normalized - self.baseline / max(len(rows), 1)).to(returns.dtype)
        return weights

    def mass(
        self, returns: Float[Tensor, " batch"], groups: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """r_i / sum_j r_j in each group."""
        return replace(self, baseline=0.0).weights(returns, groups)


@dataclass(frozen=True)
class CloningConfig:
    kind: Literal["cloning"] = "cloning"  # maximum likelihood on the best of the own texts
    learning_rate: Rate = 1e-3  # Adam's
    schedule: ScheduleKind = "constant"  # of that rate over the game; linear or cosine to 0
    warmup: Count = 0  # iterations in which the rate rises to its value
    adam: AdamConfig = field(default_factory=AdamConfig)
    keep: Portion = 0.25  # share of each group that is cloned, the best; at least one text
    mle_weight: Weight = 0.0  # weight of the NLL of as many training sequences in the loss
    max_grad_norm: Bound = 5.0  # the gradient's norm is clipped to this

    def __post_init__(self) -> None:
        check_settings("rule", self)

    def build(self, players: Players) -> "WeightedLikelihood":
        """The rule, ready to improve `players.generator`; raises as `check_weighted` does."""
        return WeightedLikelihood(check_weighted(self, players), players.generator)

    def weights(
        self, returns: Float[Tensor, " batch"], groups: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """1 for the best texts of each group, the earlier ones where some earn the same."""
        weights = torch.zeros_like(returns)
        for rows in known_rows(returns, groups):
            best = returns[rows].argsort(descending=True, stable=True)
            weights[rows[best[: max(round(self.keep * len(rows)), 1)]]] = 1.0
        return weights

    def mass(
        self, returns: Float[Tensor, " batch"], groups: Int[Tensor, " batch"]
    ) -> Float[Tensor, " batch"]:
        """The weights, of which nothing is taken off."""
        return self.weights(returns, groups)


def known_rows(
    returns: Float[Tensor, " batch"], groups: Int[Tensor, " batch"]
) -> Iterator[Int[Tensor, " rows"]]:
    """The rows of each group that have a return."""
    for group in groups.unique():
        yield ((groups == group) & ~returns.isnan()).nonzero()[:, 0]


def check_weighted(settings: WeightedSettings, players: Players) -> WeightedSettings:
    """Gives the settings back, where there are texts to compare.

    Raises:
        ConfigurationError: a group is one text, or there are no real texts for `mle_weight`.
    """
    name, size = "adversarial.batch_size", players.batch_size
    if players.task.max_prompt_length:
        name, size = "adversarial.group_size", players.group_size
    if size < 2:
        raise ConfigurationError(
            f"{name} is {size}, but must be at least 2: weights are compared within a group"
        )
    if settings.mle_weight > 0:
        needs_texts(players.task, "rule.mle_weight", "give --rule.mle-weight 0")
    return settings


class WeightedLikelihood:
    """One step of maximum likelihood on a batch of own texts, with weights."""

    shown = ("charts/episodic_return", "losses/weighted_nll", "kl/reference")

    def __init__(self, settings: WeightedSettings, generator: Generator) -> None:
        self.settings, self.generator = settings, generator
        self.optimizer = settings.adam.build(generator, settings.learning_rate)

    def step(self, players: Players, rng: torch.Generator) -> Metrics:
        clock, runtime = Clock(), players.runtime
        follow_schedule(self.optimizer, self.settings, players.position)
        with clock.lap("collect"):
            own = players.collect(rng)
        players.count_tokens(own)
        everyones = gathered(own, runtime)
        metrics = describe_collected(players, everyones)
        returns, groups = known_returns(players, everyones), group_ids(everyones)
        weights = self.settings.weights(returns, groups)
        mass = self.settings.mass(returns, groups)
        metrics["groups/effective_share"] = share_of_effective(weights)
        with clock.lap("update_generator"):
            metrics |= self.update(players, own, runtime.own(weights), runtime.own(mass), rng)
        metrics["charts/learning_rate_generator"] = self.optimizer.param_groups[0]["lr"]
        return metrics | clock.seconds

    def update(
        self,
        players: Players,
        own: Trajectories,
        weights: Float[Tensor, " batch"],
        mass: Float[Tensor, " batch"],
        rng: torch.Generator,
    ) -> dict[str, float]:
        """One step on this process' texts with their weights, and on real texts."""
        settings, runtime, texts = self.settings, players.runtime, own.sequences.trimmed()
        count = float((mass * texts.lengths).sum())
        if runtime.total(count) == 0:  # no text of any process has a reward
            return {}
        share = runtime.share(count)
        anchored = settings.mle_weight > 0
        real = players.real("train", players.batch_size, rng).trimmed() if anchored else None
        real_count = 0.0 if real is None else float(real.mask.sum())
        real_share = 0.0 if real is None else runtime.share(real_count)

        def losses(policy: Generator) -> tuple[Tensor, dict[str, Tensor]]:
            log_probs = policy.log_probs(texts).sum(dim=1)
            loss = -(weights * log_probs).sum() / max(count, 1e-12)
            terms, whole = {"losses/weighted_nll": loss}, share * loss
            if real is not None:
                terms["losses/mle"] = policy.negative_log_likelihood(real)
                whole = whole + real_share * settings.mle_weight * terms["losses/mle"]
            return whole, terms

        self.generator.train()
        with seeded_from(rng, players.device):
            terms = take_step(
                self.generator,
                self.optimizer,
                losses,
                settings.max_grad_norm,
                runtime,
                "weighted likelihood",
            )
        anchor = {name: terms.pop(name) for name in ("losses/mle",) if name in terms}
        return {**runtime.average(terms, count), **runtime.average(anchor, real_count)}

    def expected_seconds(self, players: Players) -> float:
        """Seconds of a step: its texts, their rewards, and the update."""
        pace, n = players.pace, players.batch_size
        real = pace.learn(n) if self.settings.mle_weight > 0 else 0.0
        return pace.draw(n) + pace.reward(n) + pace.score(n) + pace.learn(n) + real

    def forked(self, before: Any) -> None:
        """Takes up its own settings of AdamW where a state of other settings was loaded."""
        self.settings.adam.take_up(self.optimizer, self.settings.learning_rate)

    def state_dict(self) -> dict[str, Any]:
        return {"optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])


def share_of_effective(weights: Float[Tensor, " batch"]) -> float:
    """Effective texts as a share of all (Kong, 1992): (sum |w|)^2 / (n sum w^2); 0 without any."""
    weights = weights.double().abs()
    squares = len(weights) * weights.square().sum()
    return float(weights.sum().square() / squares.clamp(min=1e-300))
