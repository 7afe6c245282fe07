"""From losses of tokens to one number, and how many things that number is a mean of."""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from seqgan.data.sequences import masked_mean

Reduction = Literal["mean", "sum", "sequences", "constant"]


def reduced(
    losses: Float[Tensor, "batch time"], mask: Bool[Tensor, "batch time"], reduction: Reduction
) -> Float[Tensor, ""]:
    """Reduces the losses of real tokens, l_t of n sequences with T_i tokens each:

    - mean: sum of all l_t / sum of all T_i, DAPO's (Yu et al., 2025, eq. 8): every token counts
      alike, long sequences more than short ones.
    - sequences: mean over the sequences of (1 / T_i) sum over t of l_t, GRPO's (Shao et al., 2024,
      eq. 3): every sequence counts alike, so a token of a long one counts less.
    - constant: sum of all l_t / (n T), with T the width of the arrays, the maximal length; Dr.
      GRPO's (Liu et al., 2025): in proportion to the sum whatever the lengths, so it leaves the
      direction of the policy gradient as it is.
    - sum: sum of all l_t, as in SeqGAN's code.

    What stands on padding has no weight. An empty sequence has mean 0.
    """
    if reduction == "mean":
        return masked_mean(losses, mask)
    real = torch.where(mask, losses, 0.0)
    if reduction == "sum":
        return real.sum()
    if reduction == "sequences":
        return (real.sum(dim=1) / mask.sum(dim=1).clamp(min=1)).mean()
    return real.sum() / mask.numel()


def terms(mask: Bool[Tensor, "batch time"], reduction: Reduction) -> float:
    """The number of things that `reduced` averages: tokens, or sequences.

    Means of several processes, or of several parts of a batch, are joined with these weights.
    """
    return float(mask.sum()) if reduction in ("mean", "sum") else float(len(mask))
