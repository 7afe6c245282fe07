"""The Gumbel-softmax (RelGAN; Nie et al., 2019): the discriminator's gradient through the tokens.

There is no reward and no REINFORCE: texts are drawn by the Gumbel-softmax (`models.gumbel`), and
the generator descends RSGAN's loss -log sigmoid(l(own) - l(real)) with l the discriminator's logit,
through the mixtures of tokens that the discriminator and it itself read. The inverse temperature
beta rises over the game. The discriminator learns in its own rounds; RelGAN's loss for it is
`discriminator_training.loss pairwise`.

Departures: any of this package's networks in place of a relational memory and 64 embedded
representations; the discriminator learns from drawn tokens (RelGAN's from mixtures), so that by
default it judges drawn tokens, too; a text ends at its eos; likelihood and KL terms.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from seqgan.data.metrics import Metrics
from seqgan.data.sequences import Sequences, Trajectories, masked_mean
from seqgan.functional.kl_estimators import exact_token_kl
from seqgan.functional.losses import pairwise_discriminator_loss, token_entropies
from seqgan.learning.collection import gathered
from seqgan.learning.descent import take_step
from seqgan.learning.optimization import AdamConfig, Course, ScheduleKind, follow_schedule
from seqgan.learning.players import Players
from seqgan.learning.rules.own_texts import view_of_discriminator
from seqgan.models.discriminators.base import JudgesMixtures
from seqgan.models.generators.base import Generator, ReadsMixtures
from seqgan.models.gumbel import Draw, InputKind, JudgedKind, draw_mixtures, gumbel_noise
from seqgan.rewards.discriminator import DiscriminatorReward
from seqgan.system.checks import Bound, Count, Range, Rate, Weight, check_settings
from seqgan.system.errors import ConfigurationError
from seqgan.system.timing import Clock
from seqgan.tasks.base import needs_texts

Sharpness = Annotated[float, Range("from 1 to 1e6", 1, 1e6)]


@dataclass(frozen=True)
class GumbelConfig:
    kind: Literal["gumbel"] = "gumbel"  # Gumbel-softmax: RelGAN without its relational memory
    learning_rate: Rate = 1e-3  # Adam's
    schedule: ScheduleKind = "constant"  # of that rate over the game; linear or cosine to 0
    warmup: Count = 0  # iterations in which the rate rises to its value
    adam: AdamConfig = field(default_factory=AdamConfig)
    beta_max: Sharpness = 2.0  # inverse temperature at the end of the game; it begins at 1
    anneal: Literal["exponential", "linear", "constant"] = "exponential"  # of the way to beta_max
    inputs: InputKind = "token"  # what the generator reads next; a token passes no gradient back
    judged: JudgedKind = "straight_through"  # what the discriminator reads; RelGAN's is mixture
    kl_weight: Weight = 0.1  # weight of the exact KL to the start, nats per text; RelGAN's is 0
    mle_weight: Weight = 0.0  # weight of the real texts' NLL per token in the loss
    max_grad_norm: Bound = 5.0  # the gradient's norm is clipped to this

    def __post_init__(self) -> None:
        check_settings("rule", self)

    def build(self, players: Players) -> "GumbelSoftmax":
        """The rule, ready to improve `players.generator`.

        Raises:
            ConfigurationError: there is no discriminator or another reward beside it, no gradient
                passes through a network, or there are no real texts.
        """
        needs_texts(players.task, "rule.kind gumbel", "give --rule policy_gradient")
        return GumbelSoftmax(self, players, differentiable_discriminator(self, players))


def differentiable_discriminator(settings: GumbelConfig, players: Players) -> DiscriminatorReward:
    """The discriminator, where a gradient passes through it to the generator.

    Raises:
        ConfigurationError: none does.
    """
    reward, names = players.discriminator, ", ".join(players.rewards.names)
    if reward is None or len(players.rewards.parts) > 1:
        raise ConfigurationError(
            f"reward is {names}, but must be discriminator alone with rule.kind gumbel: no gradient"
            " passes through another"
        )
    if not isinstance(reward.discriminator, JudgesMixtures):
        raise ConfigurationError(
            f"the discriminator is a {type(reward.discriminator).__name__}, which reads no mixtures"
            " of tokens, but must be gru, cnn, transformer or causal with rule.kind gumbel"
        )
    if not isinstance(players.generator, ReadsMixtures):  # others draw without gradients
        raise ConfigurationError(
            f"the generator is a {type(players.generator).__name__}, which reads no mixtures of"
            " tokens, but must be lstm, gru or transformer with rule.kind gumbel"
        )
    return reward


def inverse_temperature(settings: GumbelConfig, course: Course) -> float:
    """beta of the iteration that has t of N before it (RelGAN, sec. 3.3).

    beta_max^(t / N) (exponential), 1 + (beta_max - 1) t / N (linear) or beta_max (constant).
    """
    done = min(course.iteration / max(course.iterations, 1), 1.0)
    if settings.anneal == "exponential":
        return settings.beta_max**done
    return (
        settings.beta_max if settings.anneal == "constant" else 1 + (settings.beta_max - 1) * done
    )


class GumbelSoftmax:
    """One step on a batch of own texts, beside as many real ones. Dropout is off."""

    shown = ("losses/relativistic_generator", "kl/reference", "losses/entropy")

    def __init__(
        self, settings: GumbelConfig, players: Players, discriminator: DiscriminatorReward
    ) -> None:
        self.settings, self.discriminator = settings, discriminator
        self.optimizer = settings.adam.build(players.generator, settings.learning_rate)

    def step(self, players: Players, rng: torch.Generator) -> Metrics:
        clock = Clock()
        follow_schedule(self.optimizer, self.settings, players.position)
        beta = inverse_temperature(self.settings, players.position)
        with clock.lap("collect"):
            real = players.real("train", players.batch_size, rng)
            noise = self.noise(players, rng)
        with clock.lap("update_generator"):
            texts, metrics = self.update(players, real, noise, beta)
        players.count_tokens(texts)
        everyones = texts_of_all(players, texts)
        metrics |= view_of_discriminator(players, everyones)
        metrics["charts/episodic_length"] = float(everyones.lengths.float().mean())
        unique = len(torch.unique(everyones.tokens, dim=0))
        metrics["completions/unique_fraction"] = unique / len(everyones)
        metrics["charts/inverse_temperature"] = beta
        metrics["charts/learning_rate_generator"] = self.optimizer.param_groups[0]["lr"]
        return metrics | clock.seconds

    def noise(self, players: Players, rng: torch.Generator) -> Float[Tensor, "batch time vocab"]:
        """The noise of one batch."""
        shape = (players.batch_size, players.task.max_length, players.generator.num_actions)
        return gumbel_noise(shape, rng, players.device)

    def update(
        self,
        players: Players,
        real: Sequences,
        noise: Float[Tensor, "batch time vocab"],
        beta: float,
    ) -> tuple[Sequences, dict[str, float | int]]:
        """One step; the texts that were drawn for it, and its metrics over all processes."""
        settings, runtime, task = self.settings, players.runtime, players.task
        prompts = real if task.max_prompt_length else None
        real_logits, trimmed = self.discriminator.logits(real), real.trimmed()
        real_count = float(trimmed.mask.sum())
        anchored = settings.mle_weight > 0
        real_share = runtime.share(real_count) if anchored else 0.0
        draws: list[Draw] = []

        def losses(policy: Generator) -> tuple[Tensor, dict[str, Tensor]]:
            draw = draw_mixtures(
                policy, task.vocabulary, noise, beta, settings.inputs, settings.judged, prompts
            )
            draws.append(draw)
            judged = self.discriminator.mixture_logits(draw.mixtures)
            loss = pairwise_discriminator_loss(judged, real_logits)  # the other way round
            terms, mask = {"losses/relativistic_generator": loss}, draw.texts.mask
            with torch.no_grad():
                reference = players.reference.eval()(draw.texts)
            kl = exact_token_kl(draw.logits, reference, mask).sum(dim=1)
            terms["kl/reference"] = kl.mean()
            if settings.kl_weight > 0:
                loss = loss + settings.kl_weight * kl.mean()
            if anchored:
                terms["losses/mle"] = policy.negative_log_likelihood(trimmed)
                loss = loss + real_share * settings.mle_weight * terms["losses/mle"]
            entropies = token_entropies(draw.logits.detach(), mask)
            terms["losses/entropy"] = masked_mean(entropies, mask)
            return loss, terms

        players.generator.eval()
        terms = take_step(
            players.generator,
            self.optimizer,
            losses,
            settings.max_grad_norm,
            runtime,
            "relativistic loss",
        )
        of_real = {name: terms.pop(name) for name in ("losses/mle",) if name in terms}
        of_tokens = {"losses/entropy": terms.pop("losses/entropy")}
        texts = draws[0].texts
        return texts, {
            **runtime.average(terms, float(len(texts))),
            **runtime.average(of_tokens, float(texts.mask.sum())),
            **runtime.average(of_real, real_count),
        }

    def expected_seconds(self, players: Players) -> float:
        """Seconds of a step: draws with their gradient, the discriminator, and the likelihoods."""
        pace, n = players.pace, players.batch_size
        real = pace.learn(n) if self.settings.mle_weight > 0 else 0.0
        return 4 * pace.draw(n) + 3 * pace.judge(n) + pace.judge(3 * n) + pace.score(n) + real

    def forked(self, before: Any) -> None:
        """Takes up its own settings where a state of other settings was loaded."""
        self.settings.adam.take_up(self.optimizer, self.settings.learning_rate)

    def state_dict(self) -> dict[str, Any]:
        return {"optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])


def texts_of_all(players: Players, texts: Sequences) -> Sequences:
    """The texts of all processes, each of which has some of its own, of its own width."""
    missing = players.task.max_length - texts.tokens.shape[1]
    tokens = pad(texts.tokens, (0, missing), value=players.task.vocabulary.pad_id)
    wide = replace(texts, tokens=tokens, mask=pad(texts.mask, (0, missing), value=False))
    nothing = torch.zeros_like(wide.mask, dtype=torch.float)
    return gathered(Trajectories(wide, nothing, nothing), players.runtime).sequences
