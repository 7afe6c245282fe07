"""Losses: maximum likelihood, policy gradient, and the two sides of the GAN's value function.

Pure functions of tensors. Every mean is over real tokens (or rows), so padding has no weight.
"""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import logsigmoid

from seqgan.sequences import masked_mean
from seqgan.tracking.metrics import Metrics


@runtime_checkable
class PolicyGradientLoss(Protocol):
    """(log_probs, old_log_probs, advantages, mask) -> loss and metrics."""

    def __call__(
        self,
        log_probs: Float[Tensor, "batch time"],
        old_log_probs: Float[Tensor, "batch time"],
        advantages: Float[Tensor, "batch time"],
        mask: Bool[Tensor, "batch time"],
    ) -> tuple[Float[Tensor, ""], Metrics]: ...


def token_log_probs(
    logits: Float[Tensor, "batch time vocab"],
    tokens: Int[Tensor, "batch time"],
    mask: Bool[Tensor, "batch time"],
) -> Float[Tensor, "batch time"]:
    """log softmax(logits)[tokens], nats; 0 on padding (whose ids may lie outside the logits)."""
    chosen = logits.gather(-1, tokens.masked_fill(~mask, 0)[..., None])[..., 0]
    return torch.where(mask, chosen - logits.logsumexp(dim=-1), 0.0)


def token_entropies(
    logits: Float[Tensor, "batch time vocab"], mask: Bool[Tensor, "batch time"]
) -> Float[Tensor, "batch time"]:
    """Exact entropy of each step's distribution, nats; 0 on padding."""
    log_probs = logits.log_softmax(dim=-1)
    return torch.where(mask, -(log_probs.exp() * log_probs).sum(dim=-1), 0.0)


def negative_log_likelihood(
    log_probs: Float[Tensor, "batch time"], mask: Bool[Tensor, "batch time"]
) -> Float[Tensor, ""]:
    """Maximum likelihood: minus the mean over real tokens of log pi(y_t | y_<t), nats."""
    return -masked_mean(log_probs, mask)


def reinforce(
    log_probs: Float[Tensor, "batch time"],
    old_log_probs: Float[Tensor, "batch time"],
    advantages: Float[Tensor, "batch time"],
    mask: Bool[Tensor, "batch time"],
) -> tuple[Float[Tensor, ""], Metrics]:
    """REINFORCE (Williams, 1992): minus the mean over real tokens of A_t log pi(y_t | y_<t).

    Its gradient is minus the policy gradient of SeqGAN's eq. 7 (Yu et al., 2017), divided by the
    number of tokens. The reference code sums over batch and time instead (`reduction="sum"` of
    the update). `old_log_probs` is unused here: every policy-gradient loss takes the same
    arguments.
    """
    return -masked_mean(log_probs * advantages.detach(), mask), {}


def minimax_discriminator_loss(
    real_logits: Float[Tensor, " real"], generated_logits: Float[Tensor, " generated"]
) -> Float[Tensor, ""]:
    """The discriminator's side of the GAN value function (Goodfellow et al., 2014, eq. 1).

    max over D of E_real[log D(x)] + E_generated[log(1 - D(x))] with D = sigmoid(logit); this is
    minus half of that sum, a binary cross-entropy in nats that is log 2 for a D that knows
    nothing, whatever the two counts are.
    """
    return -0.5 * (logsigmoid(real_logits).mean() + logsigmoid(-generated_logits).mean())


def minimax_generator_loss(generated_logits: Float[Tensor, " generated"]) -> Float[Tensor, ""]:
    """The generator's side of the GAN value function: min over G of E_generated[log(1 - D(x))].

    For text it is reported, not differentiated: tokens pass no gradient. Policy gradient on the
    reward -log(1 - D) (`reward_shape="minimax"`) descends the same objective.
    """
    return logsigmoid(-generated_logits).mean()


def to_floats(metrics: Mapping[str, Tensor | float]) -> dict[str, float]:
    """Metrics as plain floats, detached from the graph and fetched from a device all at once."""
    tensors = {name: value for name, value in metrics.items() if isinstance(value, Tensor)}
    if not tensors:
        return {name: float(value) for name, value in metrics.items()}
    fetched = torch.stack([value.detach().double() for value in tensors.values()]).tolist()
    plain = dict(zip(tensors, fetched, strict=True))
    return {name: plain[name] if name in plain else float(metrics[name]) for name in metrics}
