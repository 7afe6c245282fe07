"""Losses: maximum likelihood, and the two sides of the GAN's value function.

Pure functions of tensors. Every mean is over real tokens (or rows), so padding has no weight.
"""

from collections.abc import Mapping

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import logsigmoid

from seqgan.data.sequences import masked_mean


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


def minimax_discriminator_loss(
    real_logits: Float[Tensor, " real"],
    generated_logits: Float[Tensor, " generated"],
    smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    """The discriminator's side of the GAN value function (Goodfellow et al., 2014, eq. 1).

    The equation is: max over D of E_real[log D(x)] + E_generated[log(1 - D(x))] with D =
    sigmoid(logit). The loss is minus half of that sum, a binary cross-entropy in nats. Each class
    has its own mean, so a D that always answers 1/2 has loss log 2 whatever the two counts are.

    Args:
        smoothing: label smoothing s of the real rows (Salimans et al., 2016, sec. 3.4): their term
            becomes (1 - s) log D + s log(1 - D). Generated rows keep their label, because
            smoothing it would teach D to call generated texts real.
    """
    real = logsigmoid(real_logits).mean()
    if smoothing:
        real = (1 - smoothing) * real + smoothing * logsigmoid(-real_logits).mean()
    return -0.5 * (real + logsigmoid(-generated_logits).mean())


def token_discriminator_loss(
    real_logits: Float[Tensor, "real time"],
    real_mask: Bool[Tensor, "real time"],
    generated_logits: Float[Tensor, "generated time"],
    generated_mask: Bool[Tensor, "generated time"],
    smoothing: float = 0.0,
) -> Float[Tensor, ""]:
    """`minimax_discriminator_loss` of every prefix (de Masson d'Autume et al., 2019, eq. 3).

    -(E_real[sum over t of log D_t] + E_generated[sum over t of log(1 - D_t)]) / (mean length of
    real rows + mean length of generated rows), nats per token. ScratchGAN divides each sum by the
    lengths of its own class. One divisor for both makes log p/q of a prefix its optimal logit.
    """

    def total(values: Tensor, mask: Tensor) -> Tensor:
        return torch.where(mask, values, 0.0).sum() / len(mask)

    real = total(logsigmoid(real_logits), real_mask)
    if smoothing:
        real = (1 - smoothing) * real + smoothing * total(logsigmoid(-real_logits), real_mask)
    length = real_mask.sum() / len(real_mask) + generated_mask.sum() / len(generated_mask)
    return -(real + total(logsigmoid(-generated_logits), generated_mask)) / length


def pairwise_discriminator_loss(
    real_logits: Float[Tensor, " pair"], generated_logits: Float[Tensor, " pair"]
) -> Float[Tensor, ""]:
    """Minus the log-probability of picking the real text of each pair (Bradley & Terry, 1952;
    RSGAN, 2019).

    -E[log sigmoid(l(real) - l(generated))], nats; log 2 for equal logits. Only differences of
    logits count, so the loss leaves one constant in all logits free: see `offset_penalty`.
    """
    return -logsigmoid(real_logits - generated_logits).mean()


def offset_penalty(
    real_logits: Float[Tensor, " real"], generated_logits: Float[Tensor, " generated"]
) -> Float[Tensor, ""]:
    """Squared midpoint of the mean real and the mean generated logit.

    The penalty fixes the constant that the pairwise loss leaves free and changes no difference of
    logits. So 0 separates the classes, which D = sigmoid(logit) and the clipping of logits assume.
    """
    return (0.5 * (real_logits.mean() + generated_logits.mean())).square()


def minimax_generator_loss(generated_logits: Float[Tensor, " generated"]) -> Float[Tensor, ""]:
    """The generator's side of the GAN value function: min over G of E_generated[log(1 - D(x))].

    This loss is a metric only, because tokens pass no gradient to the generator. Policy gradient on
    the reward -log(1 - D) (`reward_shape="minimax"`) descends the same objective.
    """
    return logsigmoid(-generated_logits).mean()


def to_floats(metrics: Mapping[str, Tensor | float]) -> dict[str, float]:
    """Turns metrics into plain floats. One transfer fetches all of them from the device."""
    tensors = {name: value for name, value in metrics.items() if isinstance(value, Tensor)}
    if not tensors:
        return {name: float(value) for name, value in metrics.items()}
    values = torch.stack([value.detach().double() for value in tensors.values()]).tolist()
    plain = dict(zip(tensors, values, strict=True))
    return {name: plain[name] if name in plain else float(metrics[name]) for name in metrics}
