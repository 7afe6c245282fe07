"""Weighted texts: drawn from one model, weighted so that they stand for another."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seqgan.data.sequences import Sequences
from seqgan.evaluation.metrics.intervals import PerText
from seqgan.functional.weights import (
    LogNormalizer,
    effective_share,
    log_mean,
    log_normalizer,
    systematic_resample,
)

TRUSTED_SHARE = 0.02  # of effective samples; log Z is not to be trusted below


@dataclass(frozen=True, eq=False)
class WeightedTexts:
    """Texts with weights, in groups that are resampled apart: one group, or one per prompt.

    Args:
        sequences: group x particle rows, the particles of a group being neighbours.
        log_weights: of each text; nats.
        log_tilts: the tilt tau of each text, nats.
        sampled_tokens: tokens that the generator drew for these texts, those of lost particles and
            of rollouts included.
        block: neighbouring particles that depend on each other, because they were resampled
            together; blocks are independent.
    """

    sequences: Sequences
    log_weights: Float[Tensor, "group particle"]
    log_tilts: Float[Tensor, "group particle"]
    sampled_tokens: int
    block: int = 1

    def draw(self, n: int, rng: torch.Generator) -> Sequences:
        """Draws n texts in proportion to their weights, as many from each group, in random order.

        Texts repeat where the weights are uneven.

        Raises:
            ValueError: n is no multiple of the number of groups.
        """
        groups, particles = self.log_weights.shape
        if n % groups:
            raise ValueError(f"{n} texts cannot be shared between {groups} groups equally")
        chosen = systematic_resample(self.log_weights, n // groups, rng)
        firsts = torch.arange(groups, device=chosen.device)[:, None] * particles
        rows = (firsts + chosen).flatten()
        if groups == 1:
            order = torch.randperm(n, generator=rng, device=rng.device)
            rows = rows[order.to(rows.device)]
        return self.sequences.select(rows)

    def summary(self) -> "Tilting":
        """Describes the weights; means over groups where there are several."""
        shares = self.log_weights.double().softmax(dim=-1)
        means = (shares * self.log_tilts.double()).sum(dim=-1)
        blocks = log_mean(self.log_weights.unflatten(1, (-1, self.block)))
        normalizers = [log_normalizer(group) for group in blocks]
        count = len(normalizers)
        total = LogNormalizer(
            sum(each.value for each in normalizers) / count,
            math.sqrt(sum(each.error**2 for each in normalizers)) / count,
            sum(each.bias for each in normalizers) / count,
        )
        return Tilting(
            share=float(effective_share(self.log_weights).mean()),
            normalizer=total,
            kl=float(means.mean()) - total.value,
            tokens_per_text=self.sampled_tokens / max(len(self.sequences), 1),
        )


@dataclass(frozen=True)
class Tilting:
    """A tilted model in numbers.

    Args:
        share: effective samples, as a share of all.
        normalizer: log Z, nats; of the mean prompt where there are prompts.
        kl: KL(tilted || start) per text, nats: E_tilted[tau] - log Z.
        tokens_per_text: tokens that the generator drew for each weighted text.
    """

    share: float
    normalizer: LogNormalizer
    kl: float
    tokens_per_text: float

    @property
    def trusted(self) -> bool:
        """True if enough samples count for log Z, and with it a held-out likelihood, to mean
        something."""
        return self.share >= TRUSTED_SHARE


@dataclass(frozen=True)
class HeldOutChange:
    """Held-out NLL of the tilted model minus the start's, nats per token; below 0 is better.

    Args:
        value: -(sum of tilts - n log Z) / tokens, over held-out texts.
        error: its standard error, over held-out texts and over the samples behind log Z.
        trusted: False where too few samples count for log Z.
    """

    value: float
    error: float
    trusted: bool


def held_out_change(
    log_tilts: Float[Tensor, " text"],
    lengths: Int[Tensor, " text"],
    normalizers: Float[Tensor, " text"],
    normalizer_error: float,
    trusted: bool,
) -> HeldOutChange:
    """The change of held-out NLL by a tilt: log pi(x) - log p(x) = tau(x) - log Z.

    The error is paired: start and tilted model read the same texts, so only the difference varies.

    Args:
        log_tilts: tau of each held-out text, nats.
        lengths: tokens of each.
        normalizers: log Z of each text's prompt; one number repeated where there are no prompts.
        normalizer_error: standard error of their mean.
    """
    gains = (log_tilts - normalizers).double().cpu().numpy()
    rate = PerText(-gains, lengths.double().cpu().numpy())
    of_normalizers = normalizer_error * len(gains) / rate.weights.sum()
    return HeldOutChange(rate.value, math.hypot(rate.error, of_normalizers), trusted)
