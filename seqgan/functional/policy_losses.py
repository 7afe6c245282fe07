"""Policy-gradient losses: REINFORCE, PPO's clip, GSPO's ratio of sequences, CISPO's clipped weight.

All take the same arguments and give a loss for each token, which `reductions.reduced` makes one
number of. The ratio r_t = pi(y_t | y_<t) / pi_old(y_t | y_<t) compares the policy with the one that
drew the texts. It is 1 at the first minibatch of a batch; there all four have REINFORCE's gradient.
"""

from functools import partial
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from seqgan.data.sequences import masked_mean
from seqgan.functional.kl_estimators import k3

PolicyLossKind = Literal["reinforce", "ppo", "gspo", "cispo"]


@runtime_checkable
class PolicyGradientLoss(Protocol):
    """Computes the loss of each token from (log_probs, old_log_probs, advantages, mask).

    `old_log_probs` are those of the policy that drew the tokens. What stands on padding has no
    meaning and no weight. The metrics are numbers of this minibatch, as tensors.
    """

    def __call__(
        self,
        log_probs: Float[Tensor, "batch time"],
        old_log_probs: Float[Tensor, "batch time"],
        advantages: Float[Tensor, "batch time"],
        mask: Bool[Tensor, "batch time"],
    ) -> tuple[Float[Tensor, "batch time"], dict[str, Tensor]]: ...


def reinforce(
    log_probs: Float[Tensor, "batch time"],
    old_log_probs: Float[Tensor, "batch time"],
    advantages: Float[Tensor, "batch time"],
    mask: Bool[Tensor, "batch time"],
) -> tuple[Float[Tensor, "batch time"], dict[str, Tensor]]:
    """REINFORCE (Williams, 1992): -A_t log pi(y_t | y_<t).

    Its gradient is minus the policy gradient of SeqGAN's eq. 7 (Yu et al., 2017); the reference
    code sums over batch and time (`reduction="sum"`). `old_log_probs` is unused: the second step on
    one batch has the gradient of a policy that would have drawn the same texts.
    """
    return -(log_probs * advantages.detach()), {}


def ppo(
    log_probs: Float[Tensor, "batch time"],
    old_log_probs: Float[Tensor, "batch time"],
    advantages: Float[Tensor, "batch time"],
    mask: Bool[Tensor, "batch time"],
    clip_low: float = 0.2,
    clip_high: float = 0.2,
) -> tuple[Float[Tensor, "batch time"], dict[str, Tensor]]:
    """PPO's clipped surrogate (Schulman et al., 2017, eq. 7) with the two bounds of DAPO (Yu et
    al., 2025, eq. 10): -min(r_t A_t, clip(r_t, 1 - clip_low, 1 + clip_high) A_t).

    Equal bounds are PPO's. A higher upper bound lets unlikely tokens rise further.
    """
    ratio = _log_ratio(log_probs, old_log_probs, mask).exp()
    return _clipped(ratio, advantages.detach(), mask, clip_low, clip_high)


def gspo(
    log_probs: Float[Tensor, "batch time"],
    old_log_probs: Float[Tensor, "batch time"],
    advantages: Float[Tensor, "batch time"],
    mask: Bool[Tensor, "batch time"],
    clip_low: float = 3e-4,
    clip_high: float = 4e-4,
) -> tuple[Float[Tensor, "batch time"], dict[str, Tensor]]:
    """GSPO (Zheng et al., 2025): PPO's clip with one ratio for all tokens of a sequence.

    s = exp(mean over the sequence's tokens of log r_t) (eq. 7), and the loss of a token is
    -min(s_t A_t, clip(s_t, 1 - clip_low, 1 + clip_high) A_t) with s_t = sg[s] pi_t / sg[pi_t]
    (GSPO-token, eq. 14; sg stops the gradient). Where all tokens of a sequence have one advantage,
    value and gradient of each sequence's mean are those of the paper's eq. 5. Ratios of sequences
    stay much nearer to 1 than those of tokens; the bounds are the paper's.
    """
    log_ratio = _log_ratio(log_probs, old_log_probs, mask).detach()
    mean = log_ratio.sum(dim=1, keepdim=True) / mask.sum(dim=1, keepdim=True).clamp(min=1)
    ratio = (mean + (log_probs - log_probs.detach())).exp()
    return _clipped(ratio, advantages.detach(), mask, clip_low, clip_high)


def cispo(
    log_probs: Float[Tensor, "batch time"],
    old_log_probs: Float[Tensor, "batch time"],
    advantages: Float[Tensor, "batch time"],
    mask: Bool[Tensor, "batch time"],
    clip_low: float = 1.0,
    clip_high: float = 4.0,
) -> tuple[Float[Tensor, "batch time"], dict[str, Tensor]]:
    """CISPO (MiniMax, 2025, eq. 4 and 5): -sg[clip(r_t, 1 - clip_low, 1 + clip_high)] A_t
    log pi(y_t | y_<t), where sg stops the gradient.

    The weight is clipped and the token stays: under PPO's clip, a token beyond the bound has no
    gradient at all. `clip_low` 1 is no lower bound, as in the paper.
    """
    ratio = _log_ratio(log_probs, old_log_probs, mask).exp().detach()
    weight = ratio.clamp(1 - clip_low, 1 + clip_high)
    losses = -(weight * advantages.detach() * log_probs)
    return losses, {"losses/clipfrac": masked_mean(weight != ratio, mask)}


def make_policy_loss(
    kind: PolicyLossKind, clip_low: float = 0.2, clip_high: float = 0.2
) -> PolicyGradientLoss:
    """Returns the loss of that name with these bounds of its ratio; REINFORCE has none."""
    if kind == "reinforce":
        return reinforce
    clipped = {"ppo": ppo, "gspo": gspo, "cispo": cispo}[kind]
    return partial(clipped, clip_low=clip_low, clip_high=clip_high)


def ratio_metrics(
    log_probs: Float[Tensor, "batch time"],
    old_log_probs: Float[Tensor, "batch time"],
    mask: Bool[Tensor, "batch time"],
) -> dict[str, Tensor]:
    """The distance from the policy that drew the tokens, as CleanRL and SB3 log it.

    `losses/approx_kl` is the mean over tokens of (r_t - 1) - log r_t, an estimate of
    KL(pi_old || pi) in nats per token (Schulman, 2020); `losses/ratio` is the mean of r_t.
    """
    with torch.no_grad():
        log_ratio = _log_ratio(log_probs, old_log_probs, mask)
        return {
            "losses/approx_kl": masked_mean(k3(-log_ratio, torch.zeros_like(log_ratio)), mask),
            "losses/ratio": masked_mean(log_ratio.exp(), mask),
        }


def _log_ratio(log_probs: Tensor, old_log_probs: Tensor, mask: Tensor) -> Tensor:
    """log r_t; 0 on padding, where anything may stand."""
    return torch.where(mask, log_probs - old_log_probs.detach(), 0.0)


def _clipped(
    ratio: Tensor, advantages: Tensor, mask: Tensor, clip_low: float, clip_high: float
) -> tuple[Tensor, dict[str, Tensor]]:
    low, high = 1 - clip_low, 1 + clip_high
    losses = -torch.minimum(ratio * advantages, ratio.clamp(low, high) * advantages)
    outside = (ratio < low) | (ratio > high)
    return losses, {"losses/clipfrac": masked_mean(outside, mask)}
