"""A critic that learns beside a policy gradient: values, advantages, regression on returns."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqgan.data.metrics import Metrics
from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.functional.values import explained_variance, value_loss
from seqgan.learning.descent import take_step
from seqgan.learning.optimization import AdamConfig, ScheduleKind, follow_schedule
from seqgan.learning.players import Players
from seqgan.models.critics import Critic, HeadCritic, NetworkCritic
from seqgan.models.generators.base import Generator
from seqgan.system.checks import Count, Rate, Size, Weight, WholeShare, check_settings

CriticKind = Literal["none", "head", "network"]

MAX_GRAD_NORM = 1.0  # of the critic's gradient, whose loss has no unit


@dataclass(frozen=True)
class CriticConfig:
    kind: CriticKind = "none"  # a head on the generator's states, or a network of its own (GRU)
    size: Size = 64  # units of the head's hidden layer, or of the network
    learning_rate: Rate = 5e-3  # Adam's
    schedule: ScheduleKind = "constant"  # of that rate over the game; linear or cosine to 0
    adam: AdamConfig = field(default_factory=AdamConfig)
    gae_lambda: WholeShare = 0.95  # of the advantages; 1 trusts the rewards alone, 0 the critic
    target_lambda: WholeShare = 1.0  # of the returns that it learns; 1 is the reward to go
    warmup: Count = 5  # updates in which the critic alone learns, before the generator moves
    epochs: Size = 2  # passes over each batch
    minibatch_size: Count = 64  # texts of a step, in each process; 0 takes the whole batch
    clip_values: Weight = (
        0.0  # most that a batch moves a value, in deviations of the returns; 0: any
    )

    def __post_init__(self) -> None:
        check_settings("rule.critic", self)

    def build(self, generator: Generator, vocabulary: Vocabulary) -> Critic:
        """An untrained critic of the generator's prefixes, on the CPU."""
        if self.kind == "network":
            return NetworkCritic(self.size, vocabulary)
        return HeadCritic(self.size, generator)


class CriticLearner:
    """A critic, its optimiser, and the number of batches that it has learnt from.

    Of several processes each learns from its own part of a batch, and all have one critic.

    Args:
        settings: of a kind that is not `none`.
        players: the critic values the prefixes of their generator, and is appended to `learning`.
    """

    def __init__(self, settings: CriticConfig, players: Players) -> None:
        self.settings = settings
        critic = settings.build(players.generator, players.task.vocabulary)
        self.critic = critic.to(players.device)
        players.learning.append(self.critic)
        self.optimizer = settings.adam.build(self.critic, settings.learning_rate)
        self.batches = 0

    @property
    def warming(self) -> bool:
        """True until the critic has learnt enough for the generator to move."""
        return self.batches < self.settings.warmup

    def states(self, players: Players, sequences: Sequences) -> Float[Tensor, "batch time hidden"]:
        """Reads the generator before each token, as it is now."""
        return self.critic.states(players.generator, sequences)

    @torch.no_grad()
    def values(
        self, sequences: Sequences, states: Float[Tensor, "batch time hidden"]
    ) -> Float[Tensor, "batch time"]:
        """V(y_<t) before each token, in units of the rewards; 0 on padding."""
        values: Tensor = self.critic(sequences, states)
        return values

    def learn(
        self,
        players: Players,
        sequences: Sequences,
        states: Float[Tensor, "batch time hidden"],
        returns: Float[Tensor, "batch time"],
        rng: torch.Generator,
    ) -> Metrics:
        """Moves the values towards returns, in passes of minibatches over this process' rows.

        Args:
            returns: those to go from each token; their mean is the value of the state before it.
                NaN where they are unknown.

        Returns:
            `losses/value_loss`, the last pass' mean in squared reward units, and
            `losses/explained_variance`, of the values before they learnt from these returns; both
            over all processes.

        Raises:
            DivergedError: the loss is not finite; the minibatch changed no parameter.
        """
        settings, runtime = self.settings, players.runtime
        # Its own warm-up is no rise of the rate.
        follow_schedule(self.optimizer, replace(settings, warmup=0), players.position)
        known = sequences.mask & ~returns.isnan()
        returns = returns.nan_to_num(nan=0.0)
        everyones = [runtime.gather(rows) for rows in (returns, known)]
        if self.batches == 0:
            self.critic.set_unit(*everyones)
        old_values = self.values(sequences, states)
        explained = explained_variance(runtime.gather(old_values), *everyones)
        size = settings.minibatch_size or len(sequences)
        for _ in range(settings.epochs):
            total, tokens = 0.0, 0.0
            for rows in torch.randperm(len(sequences), generator=rng).split(size):
                batch = sequences.select(rows).trimmed()
                cut = (rows, slice(0, batch.tokens.shape[1]))
                count = float(known[cut].sum())
                loss = self._step(
                    players, batch, states[cut], old_values[cut], returns[cut], known[cut], count
                )
                total, tokens = total + loss * count, tokens + count
        self.batches += 1
        mean = runtime.average({"losses/value_loss": total / max(tokens, 1.0)}, tokens)
        return {**mean, "losses/explained_variance": explained}

    def _step(
        self,
        players: Players,
        batch: Sequences,
        states: Tensor,
        old_values: Tensor,
        returns: Tensor,
        known: Tensor,
        count: float,
    ) -> float:
        """One step on a minibatch; returns its loss, in squared reward units.

        The loss that is minimised has no unit: it is divided by the variance of the returns.
        """
        runtime, variance = players.runtime, float(self.critic.deviation.square())
        clip = self.settings.clip_values * float(self.critic.deviation)
        share = runtime.share(count)

        def losses(critic: nn.Module) -> tuple[Tensor, dict[str, Tensor]]:
            values = critic(batch, states)
            loss = value_loss(values, old_values, returns, known, clip) / variance
            return share * loss, {"loss": loss}

        terms = take_step(
            self.critic, self.optimizer, losses, MAX_GRAD_NORM, runtime, "critic's loss"
        )
        return terms["loss"] * variance

    def begin_anew(self) -> None:
        """Takes its unit from the next batch, and warms up on it; it keeps what it has learnt."""
        self.batches = 0

    def state_dict(self) -> dict[str, Any]:
        return {
            "kind": self.settings.kind,
            "size": self.settings.size,
            "critic": self.critic.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "batches": self.batches,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes the state of a critic of its kind and size; next to another it starts untrained."""
        if (state["kind"], state["size"]) != (self.settings.kind, self.settings.size):
            return
        self.critic.load_state_dict(state["critic"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.batches = state["batches"]
