"""Advantages from a critic's values (GAE), and the loss that the critic learns from.

`values[:, t]` is V(y_<t), the expected reward to go before token t is chosen. A row's value after
its last token is 0, since a text ends there, with eos or at its maximal length.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from seqgan.data.sequences import masked_mean


def generalized_advantages(
    rewards: Float[Tensor, "batch time"],
    values: Float[Tensor, "batch time"],
    mask: Bool[Tensor, "batch time"],
    discount: float = 1.0,
    gae_lambda: float = 0.95,
) -> Float[Tensor, "batch time"]:
    """Generalized advantage estimation (Schulman et al., 2016, eq. 16): sum over s >= t of
    (discount gae_lambda)^(s - t) delta_s, where delta_t = r_t + discount V_{t+1} - V_t.

    Advantages plus values are the targets of the critic (`returns` of SB3). `gae_lambda` 1 gives
    the reward to go minus the value, which is unbiased whatever the critic says; 0 gives delta_t,
    which trusts the critic. 0 on padding, where anything may stand.
    """
    rewards, values = torch.where(mask, rewards, 0.0), torch.where(mask, values, 0.0)
    following = torch.cat([values[:, 1:], torch.zeros_like(values[:, :1])], dim=1)
    deltas = rewards + discount * following - values
    advantage = torch.zeros_like(deltas[:, 0])
    advantages = []
    for delta in deltas.unbind(dim=1)[::-1]:
        advantage = delta + discount * gae_lambda * advantage
        advantages.append(advantage)
    return torch.where(mask, torch.stack(advantages[::-1], dim=1), 0.0)


def value_loss(
    values: Float[Tensor, "batch time"],
    old_values: Float[Tensor, "batch time"],
    returns: Float[Tensor, "batch time"],
    mask: Bool[Tensor, "batch time"],
    clip: float = 0.0,
) -> Float[Tensor, ""]:
    """Half the mean squared error of a critic; with `clip` that of PPO's code (OpenAI, 2017).

    0.5 mean over real tokens of max((V - R)^2, (V_old + clip(V - V_old, -clip, clip) - R)^2): a
    value that has moved further than `clip` from `old_values`, in units of the reward, towards its
    target has no gradient. `clip` 0 is no clip. CleanRL's loss is the same number; SB3's has no
    half and no maximum.
    """
    errors = (values - returns).square()
    if clip > 0:
        near = old_values + (values - old_values).clamp(-clip, clip)
        errors = torch.maximum(errors, (near - returns).square())
    return 0.5 * masked_mean(errors, mask)


def explained_variance(
    values: Float[Tensor, "batch time"],
    returns: Float[Tensor, "batch time"],
    mask: Bool[Tensor, "batch time"],
) -> float:
    """1 - Var(R - V) / Var(R) over real tokens: 1 knows all, 0 as much as a constant does.

    Below 0 the values are worse than a constant. 0 where the returns do not vary.
    """
    returns, values = returns[mask].double(), values[mask].double()
    spread = returns.var(unbiased=False) if len(returns) else returns.new_zeros(())
    if float(spread) <= 1e-12:
        return 0.0
    return float(1 - (returns - values).var(unbiased=False) / spread)
