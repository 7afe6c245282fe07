"""Divergences between two policies at each token, exact over the vocabulary."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def exact_token_kl(
    logits: Float[Tensor, "batch time vocab"],
    other_logits: Float[Tensor, "batch time vocab"],
    mask: Bool[Tensor, "batch time"],
) -> Float[Tensor, "batch time"]:
    """KL(pi(. | y_<t) || other(. | y_<t)) at each token, nats; 0 on padding.

    The sum over the vocabulary, sum_v pi_v (log pi_v - log other_v), is never negative, and has a
    gradient without any sample. Over texts of pi the sum over t is KL(pi || other) in expectation,
    by the chain rule.
    """
    log_probs = logits.log_softmax(dim=-1)
    ratios = log_probs - other_logits.log_softmax(dim=-1)
    return torch.where(mask, (log_probs.exp() * ratios).sum(dim=-1), 0.0)
