"""Weighted texts: drawn from one model, weighted so that they stand for another."""

import math
from dataclasses import dataclass
from functools import cached_property

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
TRUSTED_NUMBER = 2  # effective samples of each group; the same


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
        ancestors: the first ancestor of each text among those of its group, where the texts were
            resampled while they grew; None of independent ones.
    """

    sequences: Sequences
    log_weights: Float[Tensor, "group particle"]
    log_tilts: Float[Tensor, "group particle"]
    sampled_tokens: int
    block: int = 1
    ancestors: Int[Tensor, "group particle"] | None = None

    def draw(self, n: int, rng: torch.Generator) -> Sequences:
        """Draws n texts in proportion to their weights, as many from each group, in random order.

        Texts repeat where the weights are uneven.

        Raises:
            ValueError: n is no multiple of the number of groups.
        """
        return self.sequences.select(self.draw_rows(n, rng))

    def draw_rows(self, n: int, rng: torch.Generator) -> Int[Tensor, " draw"]:
        """The rows of the texts that `draw` gives."""
        groups, particles = self.log_weights.shape
        if n % groups:
            raise ValueError(f"{n} texts cannot be shared between {groups} groups equally")
        chosen = systematic_resample(self.log_weights, n // groups, rng)
        firsts = torch.arange(groups, device=chosen.device)[:, None] * particles
        rows = (firsts + chosen).flatten()
        if groups == 1:
            order = torch.randperm(n, generator=rng, device=rng.device)
            rows = rows[order.to(rows.device)]
        return rows

    @cached_property
    def normalizers(self) -> list[LogNormalizer]:
        """log Z of each group, from its independent blocks."""
        blocks = log_mean(self.log_weights.unflatten(1, (-1, self.block)))
        return [log_normalizer(group) for group in blocks]

    @property
    def log_normalizers(self) -> Float[Tensor, " group"]:
        """log Z of each group, nats, without the bias of its estimate, which few particles have."""
        values = [each.value - each.bias for each in self.normalizers]
        return torch.tensor(values, dtype=torch.double, device=self.log_weights.device)

    def summary(self) -> "Tilting":
        """Describes the weights; means over groups where there are several."""
        shares = self.log_weights.double().softmax(dim=-1)
        means = (shares * self.log_tilts.double()).sum(dim=-1)
        count = len(self.normalizers)
        total = LogNormalizer(
            sum(each.value for each in self.normalizers) / count,
            math.sqrt(sum(each.error**2 for each in self.normalizers)) / count,
            sum(each.bias for each in self.normalizers) / count,
        )
        return Tilting(
            share=float(effective_share(self.log_weights, self.ancestors).mean()),
            normalizer=total,
            kl=max(float(means.mean()) - total.value, 0.0),  # noise may tell less
            tokens_per_text=self.sampled_tokens / max(len(self.sequences), 1),
            particles=self.log_weights.shape[1],
        )


@dataclass(frozen=True)
class Tilting:
    """A tilted model in numbers.

    Args:
        share: effective samples, as a share of all; texts with an ancestor in common are one.
        normalizer: log Z, nats; of the mean prompt where there are prompts.
        kl: KL(tilted || start) per text, nats: E_tilted[tau] - log Z.
        tokens_per_text: tokens that the generator drew for each weighted text.
        particles: texts of a group.
    """

    share: float
    normalizer: LogNormalizer
    kl: float
    tokens_per_text: float
    particles: int

    @property
    def trusted(self) -> bool:
        """True if enough samples count for log Z, and with it a held-out likelihood, to mean
        something: `TRUSTED_SHARE` of all, and `TRUSTED_NUMBER` of each group."""
        return self.share >= max(TRUSTED_SHARE, TRUSTED_NUMBER / self.particles)

    @property
    def distrust(self) -> str:
        """The reason in a sentence why log Z is not to be trusted; empty where it is."""
        if self.trusted:
            return ""
        return (
            f"the effective share is {self.share:.1%} of {self.particles:,} draws, too few to"
            " trust log Z; a larger --beta or --of has more"
        )


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
