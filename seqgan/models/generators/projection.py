"""Likelihoods of chosen tokens under a linear layer and softmax, without storing the logits.

Training and evaluation need no more of a large vocabulary. Logits are computed for a few rows at a
time and consumed while they are in the processor's cache.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

CHUNK_ELEMENTS = 2**20  # logits in flight: 4 MiB
CHUNK_ROWS = 128  # at least: each chunk reads the whole output layer from memory


def chosen_log_probs(
    hidden: Float[Tensor, "row hidden"],
    weight: Float[Tensor, "vocab hidden"],
    bias: Float[Tensor, " vocab"],
    chosen: Int[Tensor, " row"],
) -> Float[Tensor, " row"]:
    """log softmax(hidden @ weight.T + bias)[chosen] of each row, nats.

    If gradients are recorded, PyTorch stores the logits after all.
    """
    parts = []
    for rows in _chunks(len(hidden), len(weight)):
        logits = _logits(hidden[rows], weight, bias)
        parts.append(logits.gather(1, chosen[rows, None])[:, 0] - logits.logsumexp(dim=-1))
    return torch.cat(parts) if parts else hidden.new_zeros(0, dtype=_exact(hidden.dtype))


def chosen_log_probs_and_entropies(
    hidden: Float[Tensor, "row hidden"],
    weight: Float[Tensor, "vocab hidden"],
    bias: Float[Tensor, " vocab"],
    chosen: Int[Tensor, " row"],
) -> tuple[Float[Tensor, " row"], Float[Tensor, " row"]]:
    """`chosen_log_probs`, and the entropy of each row's softmax, nats.

    The backward pass computes the logits again, a few rows at a time, instead of storing them.
    """
    parts = [
        checkpoint(
            _log_probs_and_entropies,
            hidden[rows],
            weight,
            bias,
            chosen[rows],
            use_reentrant=False,
            preserve_rng_state=False,
        )
        for rows in _chunks(len(hidden), len(weight))
    ]
    if not parts:
        return hidden.new_zeros(0), hidden.new_zeros(0)
    log_probs, entropies = zip(*parts, strict=True)
    return torch.cat(log_probs), torch.cat(entropies)


def _log_probs_and_entropies(
    hidden: Tensor, weight: Tensor, bias: Tensor, chosen: Tensor
) -> tuple[Tensor, Tensor]:
    log_probs = _logits(hidden, weight, bias).log_softmax(dim=-1)
    entropies = -(log_probs.exp() * log_probs).sum(dim=-1)
    return log_probs.gather(1, chosen[:, None])[:, 0], entropies


def mean_negative_log_likelihood(
    hidden: Float[Tensor, "row hidden"],
    weight: Float[Tensor, "vocab hidden"],
    bias: Float[Tensor, " vocab"],
    chosen: Int[Tensor, " row"],
) -> Float[Tensor, ""]:
    """Minus the mean of `chosen_log_probs`, nats; 0 for no rows. Differentiable once.

    All rows have the same weight, so the forward pass can already sum up the gradients; only one
    factor is missing. It always does so and then drops the probabilities.
    """
    loss: Tensor = _MeanNegativeLogLikelihood.apply(hidden, weight, bias, chosen)
    return loss


def _logits(hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Multiplies in the operands' precision, then converts to float32 or better for the softmax."""
    logits = torch.addmm(bias, hidden, weight.T)
    return logits.to(_exact(logits.dtype))


def _exact(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _chunks(num_rows: int, num_columns: int) -> list[slice]:
    size = max(CHUNK_ELEMENTS // num_columns, CHUNK_ROWS)
    return [slice(first, min(first + size, num_rows)) for first in range(0, num_rows, size)]


class _MeanNegativeLogLikelihood(torch.autograd.Function):
    """With p the probabilities and c the chosen token, d(-log p_c) / d logits = p - 1[c]."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, chosen: Tensor) -> Tensor:
        trains = ctx.needs_input_grad[1]  # the output layer of a large model may be frozen
        of_hidden, of_weight = (
            torch.empty_like(hidden),
            torch.zeros_like(weight if trains else bias),
        )
        of_bias, total = torch.zeros_like(bias), hidden.new_zeros((), dtype=_exact(hidden.dtype))
        for rows in _chunks(len(hidden), len(weight)):
            logits = _logits(hidden[rows], weight, bias)
            below_likeliest = logits.amax(dim=-1) - logits.gather(1, chosen[rows, None])[:, 0]
            probs = torch.softmax(logits, dim=-1, out=logits)
            # -log p_c = (max logit - logit_c) - log p_max. p_max is at least 1 / vocabulary size,
            # so its logarithm is finite even if p_c has rounded to 0.
            total += (below_likeliest - probs.amax(dim=-1).log()).sum()
            torch.mm(probs.to(weight.dtype), weight, out=of_hidden[rows])
            if trains:
                of_weight.addmm_(probs.to(weight.dtype).T, hidden[rows])
            of_bias += probs.sum(dim=0)
        of_hidden -= weight[chosen]
        if trains:
            of_weight.index_add_(0, chosen, hidden, alpha=-1)
        of_bias -= torch.bincount(chosen, minlength=len(bias))
        count = max(len(hidden), 1)
        ctx.save_for_backward(of_hidden.div_(count), of_weight.div_(count), of_bias.div_(count))
        return total / count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor | None, Tensor, None]:
        of_hidden, of_weight, of_bias = ctx.saved_tensors
        of_weight = gradient * of_weight if ctx.needs_input_grad[1] else None
        return gradient * of_hidden, of_weight, gradient * of_bias, None
