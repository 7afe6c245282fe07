"""Turns action values into advantages: what was earned before a token, and the KL penalty to go.

All functions are pure, and all arrays are (batch, time). `action_values[:, t]` is the value of the
prefix that includes token t; after a row's end it keeps the finished sequence's reward. NaN marks
an unknown value: means leave it out, and its token gets no advantage.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def to_go(
    values: Float[Tensor, "batch time"], mask: Bool[Tensor, "batch time"], gamma: float = 1.0
) -> Float[Tensor, "batch time"]:
    """Sum over s >= t of gamma^(s - t) times the value of step s, to the row's end; 0 on padding.

    Args:
        gamma: discount of each later step; 1 is the plain sum.
    """
    real = torch.where(mask, values, 0.0)
    if gamma == 1:
        return torch.where(mask, real.flip(1).cumsum(1).flip(1), 0.0)
    sums = [real[:, -1]]
    for value in real[:, :-1].unbind(dim=1)[::-1]:
        sums.append(value + gamma * sums[-1])
    return torch.where(mask, torch.stack(sums[::-1], dim=1), 0.0)


def earned_before(
    rewards: Float[Tensor, "batch time"], mask: Bool[Tensor, "batch time"]
) -> Float[Tensor, "batch time"]:
    """Sums the rewards of all earlier steps. No later action can change them.

    The sum is 0 on padding, so that values minus this sum keep a finished row's reward after its
    end.
    """
    return torch.where(mask, rewards.cumsum(dim=1) - rewards, 0.0)


def at_their_tokens(
    rewards: Float[Tensor, "batch time"],
    increments: Float[Tensor, "batch time"],
    mask: Bool[Tensor, "batch time"],
) -> Float[Tensor, "batch time"]:
    """Moves per-token increments from the last token, where the environment paid their sum, to the
    tokens that earned them.

    Each row's total reward stays the same.
    """
    increments = torch.where(mask, increments, 0.0)
    steps = torch.arange(mask.shape[1], device=mask.device)
    last = mask & (steps == mask.sum(dim=1, keepdim=True) - 1)
    return rewards + increments - torch.where(last, increments.sum(dim=1, keepdim=True), 0.0)


def kl_to_go(
    log_probs: Float[Tensor, "batch time"],
    reference_log_probs: Float[Tensor, "batch time"],
    mask: Bool[Tensor, "batch time"],
) -> Float[Tensor, "batch time"]:
    """Sampled KL(pi || reference) from each step to the end, nats.

    Sum over s >= t of log pi(y_s) - log ref(y_s) (the estimator k1). Action values minus beta times
    this sum give the policy gradient of E[R] - beta KL(pi || ref). The sum is a penalty without a
    gradient of its own: a token pays for the divergence of all tokens after it.
    """
    return to_go(log_probs - reference_log_probs, mask)


def where_known(
    advantages: Float[Tensor, "batch time"], action_values: Float[Tensor, "batch time"]
) -> Float[Tensor, "batch time"]:
    """Advantages with 0 where the action value is unknown: such a token teaches nothing.

    A NaN from elsewhere, an overflow in the KL say, stays, so that the update notices it.
    """
    return torch.where(action_values.isnan(), 0.0, advantages)


def next_kl_weight(weight: float, measured_kl: float, target: float, rate: float = 0.1) -> float:
    """Moves the KL weight so that the KL nears its target (Ziegler et al., 2019, eq. 4).

    weight <- weight (1 + rate clip(measured / target - 1, -0.2, 0.2)); both KLs in nats per
    sequence.
    """
    error = min(max(measured_kl / target - 1, -0.2), 0.2)
    return weight * (1 + rate * error)
