"""How likely the chosen tokens are under a linear layer and softmax, and nothing else.

What maximum likelihood needs of a large vocabulary: the logits of all tokens are made a few rows
at a time and only the probabilities are kept, for the backward pass, which is two products of
matrices. Equal to `linear(...).log_softmax(-1).gather(...)` within float rounding.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

CHUNK_ELEMENTS = 2**20  # logits in flight: what a processor's cache holds


def chosen_log_probs(
    hidden: Float[Tensor, "row hidden"],
    weight: Float[Tensor, "vocab hidden"],
    bias: Float[Tensor, " vocab"],
    chosen: Int[Tensor, " row"],
) -> Float[Tensor, " row"]:
    """log softmax(hidden @ weight.T + bias)[chosen] of each row, nats; differentiable once."""
    result: Tensor = _ChosenLogProbs.apply(hidden, weight, bias, chosen)
    return result


class _ChosenLogProbs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor, chosen: Tensor) -> Tensor:
        keep = any(ctx.needs_input_grad)
        size = max(CHUNK_ELEMENTS // len(bias), 1)
        probs = hidden.new_empty(len(hidden) if keep else min(size, len(hidden)), len(bias))
        result = hidden.new_empty(len(hidden))
        for first in range(0, len(hidden), size):
            rows = slice(first, min(first + size, len(hidden)))
            logits = torch.addmm(bias, hidden[rows], weight.T)
            chunk = probs[rows] if keep else probs[: len(logits)]
            torch.softmax(logits, dim=-1, out=chunk)
            # From the likeliest token, whose probability is at least one in the vocabulary.
            log_total = logits.amax(dim=-1) - chunk.amax(dim=-1).log()
            result[rows] = logits.gather(1, chosen[rows, None])[:, 0] - log_total
        if keep:
            ctx.save_for_backward(hidden, weight, chosen, probs)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        """With p the probabilities and c the chosen token: d log p_c / d logits = 1[c] - p."""
        hidden, weight, chosen, probs = ctx.saved_tensors
        of_hidden = gradient[:, None] * (weight[chosen] - probs @ weight)
        scaled = gradient[:, None] * hidden
        of_weight = (probs.T @ scaled).neg_().index_add_(0, chosen, scaled)
        of_bias = (probs.T @ gradient).neg_().index_add_(0, chosen, gradient)
        return of_hidden, of_weight, of_bias, None
