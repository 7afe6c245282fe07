"""Estimates of KL(pi || reference) from tokens that pi drew (Schulman, "Approximating KL
divergence", 2020).

With d_t = log pi(y_t | y_<t) - log ref(y_t | y_<t), each function gives one estimate per token, in
nats. As numbers, k1 and k3 are unbiased. As terms of a loss, their gradients are another matter
(Tang & Munos, 2025):

- k1 has the gradient of log pi, which is 0 in expectation: it pulls nowhere.
- k2 has the gradient d_t grad log pi. In expectation, that is the gradient of each step's
  KL(pi || ref) where the prefixes are held fixed. The gradient of the whole sequence's KL has more:
  a token also answers for the divergence of the tokens after it, as `advantages.kl_to_go` says.
- k3 has the gradient (1 - exp(-d_t)) grad log pi, in expectation that of each step's KL(ref || pi).
  It is nearly that of k2 where the two policies are near each other.

A KL in the reward needs k1 (`advantages.kl_to_go`). `exact_token_kl` is no estimate: it needs the
logits of both.
"""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

KLEstimatorKind = Literal["k1", "k2", "k3"]


def k1(
    log_probs: Float[Tensor, "batch time"], reference_log_probs: Float[Tensor, "batch time"]
) -> Float[Tensor, "batch time"]:
    """d_t: unbiased, of either sign."""
    return log_probs - reference_log_probs


def k2(
    log_probs: Float[Tensor, "batch time"], reference_log_probs: Float[Tensor, "batch time"]
) -> Float[Tensor, "batch time"]:
    """d_t^2 / 2: biased where the policies are far apart, never negative."""
    return 0.5 * (log_probs - reference_log_probs).square()


def k3(
    log_probs: Float[Tensor, "batch time"], reference_log_probs: Float[Tensor, "batch time"]
) -> Float[Tensor, "batch time"]:
    """exp(-d_t) - 1 + d_t: unbiased, never negative; GRPO's (Shao et al., 2024, eq. 4)."""
    difference = log_probs - reference_log_probs
    return (-difference).exp() - 1 + difference


def kl_estimator(kind: KLEstimatorKind) -> Callable[[Tensor, Tensor], Tensor]:
    """Returns the estimator of that name."""
    return {"k1": k1, "k2": k2, "k3": k3}[kind]


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
