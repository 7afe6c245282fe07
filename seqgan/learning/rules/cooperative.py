"""Cooperative training (CoT; Lu et al., 2019): a mediator learns the mixture of real and own texts.

The mediator M, a generator of its own, maximises the likelihood of half real, half own texts; its
optimum is M = (p + pi) / 2. The generator minimises sum over t of KL(pi_t || M_t) on its own texts,
exactly over the vocabulary. At the optimal M this is KL(pi || (p + pi) / 2), half of twice the
Jensen-Shannon divergence of which the mediator's likelihood holds the other half. There are no
rewards, no discriminator and no REINFORCE.

Departures: the mean over real tokens in place of the sum over a text, the mediator has a learning
rate of its own, and both may start from maximum likelihood.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from seqgan.data.metrics import Metrics
from seqgan.data.sequences import Sequences, joined, masked_mean
from seqgan.functional.kl_estimators import exact_token_kl
from seqgan.functional.losses import token_entropies
from seqgan.learning.descent import take_step
from seqgan.learning.optimization import AdamConfig, ScheduleKind, follow_schedule
from seqgan.learning.players import Players
from seqgan.learning.rules.own_texts import describe_own_texts
from seqgan.learning.updates import likelihood_step
from seqgan.models.generators.base import Generator
from seqgan.models.generators.recurrent import RecurrentGeneratorConfig
from seqgan.system.checks import Bound, Count, Rate, Share, Size, check_settings
from seqgan.system.seeding import seeded_from
from seqgan.system.timing import Clock
from seqgan.tasks.base import needs_texts


@dataclass(frozen=True)
class MediatorConfig:
    """Settings of the mediator. The sizes are those of a recurrent one."""

    kind: Literal["copy", "lstm", "gru"] = "copy"  # copy: the generator, as the game begins
    embedding_size: Size = 64  # width of the token embedding
    hidden_size: Size = 128  # width of each layer's state
    num_layers: Size = 1  # recurrent layers
    dropout: Share = 0.0  # on embeddings, between layers and on the output, where it learns
    learning_rate: Rate = 1e-3  # Adam's
    schedule: ScheduleKind = "constant"  # of that rate over the game; linear or cosine to 0
    warmup: Count = 0  # iterations in which the rate rises to its value
    adam: AdamConfig = field(default_factory=AdamConfig)
    steps: Size = 1  # updates before each of the generator's
    alone: Count = 0  # the rule's first steps, in which the mediator learns and the generator waits

    def __post_init__(self) -> None:
        check_settings("rule.mediator", self)

    def build(self, players: Players) -> Generator:
        """An untrained mediator on the generator's device; it shares what is frozen there."""
        if self.kind == "copy":
            frozen = {id(p): p for p in players.generator.parameters() if not p.requires_grad}
            return copy.deepcopy(players.generator, frozen)
        sizes = {
            name: getattr(self, name)
            for name in ("embedding_size", "hidden_size", "num_layers", "dropout")
        }
        config = RecurrentGeneratorConfig(kind=self.kind, **sizes)
        return config.build(players.task.vocabulary).to(players.device)


@dataclass(frozen=True)
class CooperativeConfig:
    kind: Literal["cooperative"] = "cooperative"  # CoT: a mediator in place of a discriminator
    learning_rate: Rate = 1e-3  # Adam's, for the generator
    schedule: ScheduleKind = "constant"  # of that rate over the game; linear or cosine to 0
    warmup: Count = 0  # iterations in which the rate rises to its value
    adam: AdamConfig = field(default_factory=AdamConfig)
    max_grad_norm: Bound = 5.0  # each player's gradient is clipped to this norm
    mediator: MediatorConfig = field(default_factory=MediatorConfig)

    def __post_init__(self) -> None:
        check_settings("rule", self)

    def build(self, players: Players) -> "Cooperative":
        """The rule, ready to improve `players.generator`.

        Raises:
            ConfigurationError: there are no real texts for the mediator.
        """
        needs_texts(players.task, "rule.kind cooperative", "give --rule policy_gradient")
        return Cooperative(self, players)


class Cooperative:
    """Updates of the mediator by maximum likelihood, and one of the generator towards it.

    Both learn with dropout, where their settings have any, and each is without while the other
    learns from it.
    """

    asks_rewards = False
    shown = ("losses/divergence", "losses/mediator", "losses/entropy")

    def __init__(self, settings: CooperativeConfig, players: Players) -> None:
        self.settings = settings
        self.mediator = settings.mediator.build(players)
        players.learning.append(self.mediator)
        self.optimizer = settings.adam.build(players.generator, settings.learning_rate)
        mediator = settings.mediator
        self.mediator_optimizer = mediator.adam.build(self.mediator, mediator.learning_rate)
        self.steps = 0  # that are done

    def step(self, players: Players, rng: torch.Generator) -> Metrics:
        settings, clock = self.settings, Clock()
        follow_schedule(self.optimizer, settings, players.position)
        follow_schedule(self.mediator_optimizer, settings.mediator, players.position)
        if self.steps == 0 and settings.mediator.kind == "copy":
            self.mediator.load_state_dict(players.generator.state_dict())
        metrics: dict[str, float | int] = {}
        for _ in range(settings.mediator.steps):
            with clock.lap("collect"):
                real = players.real("train", players.batch_size, rng)
                own = self._drawn(players, real, rng)
            with clock.lap("update_mediator"):
                metrics["losses/mediator"] = self._mediate(players, real, own, rng)
        if self.steps >= settings.mediator.alone:
            with clock.lap("collect"):
                texts = self._drawn(players, None, rng)
            with clock.lap("update_generator"):
                metrics |= describe_own_texts(players, texts)
                metrics |= self._follow(players, texts, rng)
        metrics["charts/learning_rate_generator"] = self.optimizer.param_groups[0]["lr"]
        self.steps += 1
        return metrics | clock.seconds

    def _drawn(
        self, players: Players, prompts: Sequences | None, rng: torch.Generator
    ) -> Sequences:
        """Own texts, as many as a batch; they continue those prompts, where there are any."""
        if prompts is None or not players.task.max_prompt_length:
            texts = players.draw(players.batch_size, rng)
        else:
            texts = players.continued(prompts, rng)
        players.count_tokens(texts)
        return texts

    def _mediate(
        self, players: Players, real: Sequences, own: Sequences, rng: torch.Generator
    ) -> float:
        """One step of the mediator; its negative log-likelihood of the mixture, nats per token."""
        self.mediator.train()
        with seeded_from(rng, players.device):
            nll, count = likelihood_step(
                self.mediator,
                self.mediator_optimizer,
                joined([real, own]),
                self.settings.max_grad_norm,
                players.runtime,
            )
        return players.runtime.average({"nll": nll}, count)["nll"]

    def _follow(self, players: Players, texts: Sequences, rng: torch.Generator) -> Metrics:
        """One step of the generator towards the mediator, on its own texts."""
        texts, runtime = texts.trimmed(), players.runtime
        mask, count = texts.mask, float(texts.mask.sum())
        share = runtime.share(count)
        with torch.no_grad():
            mediated = self.mediator.eval()(texts)

        def losses(policy: Generator) -> tuple[Tensor, dict[str, Tensor]]:
            logits = policy(texts)
            divergence = masked_mean(exact_token_kl(logits, mediated, mask), mask)
            entropy = masked_mean(token_entropies(logits.detach(), mask), mask)
            return share * divergence, {"losses/divergence": divergence, "losses/entropy": entropy}

        players.generator.train()
        with seeded_from(rng, players.device):
            metrics = take_step(
                players.generator,
                self.optimizer,
                losses,
                self.settings.max_grad_norm,
                runtime,
                "divergence from the mediator",
            )
        return runtime.average(metrics, count)

    def expected_seconds(self, players: Players) -> float:
        """Seconds of a step, as if the mediator were of the generator's size."""
        pace, n, steps = players.pace, players.batch_size, self.settings.mediator.steps
        drawn = (steps + 1) * pace.draw(n)
        return drawn + steps * pace.learn(2 * n) + pace.learn(n) + pace.score(3 * n)

    def forked(self, before: Any) -> None:
        """Takes up its own settings of AdamW where a state of other settings was loaded."""
        settings, mediator = self.settings, self.settings.mediator
        settings.adam.take_up(self.optimizer, settings.learning_rate)
        mediator.adam.take_up(self.mediator_optimizer, mediator.learning_rate)

    def state_dict(self) -> dict[str, Any]:
        return {
            "optimizer": self.optimizer.state_dict(),
            "mediator": self.mediator.state_dict(),
            "mediator_optimizer": self.mediator_optimizer.state_dict(),
            "steps": self.steps,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])
        self.mediator.load_state_dict(state["mediator"])
        self.mediator_optimizer.load_state_dict(state["mediator_optimizer"])
        self.steps = state["steps"]
