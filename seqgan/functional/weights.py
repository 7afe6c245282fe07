"""Importance weights: the share of effective samples, log Z with its error, resampling.

All weights are logarithms, in nats, and the last axis is that of the samples (particles). Samples
x_1 ... x_n of a distribution p with weights w_i = exp(log_weights_i) stand for the distribution
p(x) w(x) / Z, where Z = E_p[w].
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


def effective_share(
    log_weights: Float[Tensor, "*groups particle"],
    ancestors: Int[Tensor, "*groups particle"] | None = None,
) -> Float[Tensor, "*groups"]:
    """Effective samples as a share of all (Kong, 1992): (sum w)^2 / (n sum w^2), in (0, 1].

    (1 / share - 1) / n is the variance of the mean weight, relative to its square. Samples that
    were resampled on their way and descend from the same one count as one sample, whose weight is
    the sum of theirs: so the variance is that of sequential Monte Carlo (Chan and Lai, 2013).

    Args:
        ancestors: of each sample, its first ancestor among the n of its group; None for
            independent samples.
    """
    weights = log_weights.double().softmax(dim=-1)
    if ancestors is not None:
        weights = torch.zeros_like(weights).scatter_add(-1, ancestors, weights)
    return 1 / (weights.square().sum(dim=-1) * log_weights.shape[-1])


def log_mean(log_weights: Float[Tensor, "*groups particle"]) -> Float[Tensor, "*groups"]:
    """log of the mean weight, nats: the estimate of log Z."""
    return log_weights.double().logsumexp(dim=-1) - math.log(log_weights.shape[-1])


@dataclass(frozen=True)
class LogNormalizer:
    """An estimate of log Z, nats.

    Args:
        value: the logarithm of the mean weight.
        error: its standard error, by the delta method: sd(w) / (mean(w) sqrt(n)).
        bias: of `value`, by the jackknife (Quenouille, 1956): (n - 1) times the mean change of the
            estimate when one sample is left out. `value - bias` is the corrected estimate.
    """

    value: float
    error: float
    bias: float


def log_normalizer(log_weights: Float[Tensor, " particle"]) -> LogNormalizer:
    """Estimates log Z from the weights of independent samples.

    Raises:
        ValueError: there are fewer than two samples.
    """
    n = len(log_weights)
    if n < 2:
        raise ValueError(f"{n} samples tell nothing of an error; at least 2 are needed")
    relative = (log_weights.double() - log_mean(log_weights)).exp()  # of mean 1
    error = float(relative.std() / math.sqrt(n))
    # The mean without sample i is (n - w_i) / (n - 1), in units of the mean of all.
    left_out = ((n - relative).clamp(min=1e-300) / (n - 1)).log()
    return LogNormalizer(float(log_mean(log_weights)), error, (n - 1) * float(left_out.mean()))


def systematic_resample(
    log_weights: Float[Tensor, "group particle"], n: int, rng: torch.Generator
) -> Int[Tensor, "group draw"]:
    """Draws n particles of each group in proportion to their weights, with one random number each.

    Systematic resampling (Kitagawa, 1996): particle i is drawn floor(n W_i) or ceil(n W_i) times,
    n W_i in expectation. Draws are in the particles' order.
    """
    shares = log_weights.double().softmax(dim=-1)
    first = torch.rand(len(shares), 1, generator=rng, device=rng.device, dtype=torch.double)
    places = (first.to(shares.device) + torch.arange(n, device=shares.device)) / n
    ends = shares.cumsum(dim=-1)
    # The last end is 1 but for rounding; a place beyond it belongs to the last particle that has a
    # weight.
    last = (shares > 0).long().cumsum(dim=-1).argmax(dim=-1, keepdim=True)
    return torch.minimum(torch.searchsorted(ends, places, right=True), last)


def best_of_n_kl(n: int) -> float:
    """KL(best of n || start), nats, where no two texts share a score: log n - (n - 1) / n."""
    return math.log(n) - (n - 1) / n
