"""Turns action values into advantages: KL penalty to go, baselines, standardisation.

All functions are pure, and all arrays are (batch, time). `action_values[:, t]` is the value of the
prefix that includes token t; after a row's end it keeps the finished sequence's reward. NaN marks
an unknown value: means leave it out, and its token gets no advantage.
"""

from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from seqgan.data.sequences import Trajectories, masked_mean

BaselineKind = Literal["none", "batch_mean", "leave_one_out", "moving_average"]


@runtime_checkable
class Baseline(Protocol):
    """Computes a baseline to subtract from action values.

    A baseline that does not depend on the row's own action leaves the expected gradient unchanged.
    """

    def __call__(
        self, action_values: Float[Tensor, "batch time"], trajectories: Trajectories
    ) -> Float[Tensor, "batch time"]: ...


def to_go(
    values: Float[Tensor, "batch time"], mask: Bool[Tensor, "batch time"]
) -> Float[Tensor, "batch time"]:
    """Sum of `values` from each step to the row's end; 0 on padding."""
    real = torch.where(mask, values, 0.0)
    return torch.where(mask, real.flip(1).cumsum(1).flip(1), 0.0)


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


def no_baseline(
    action_values: Float[Tensor, "batch time"], trajectories: Trajectories
) -> Float[Tensor, "batch time"]:
    """Zero, as in the paper (Yu et al., 2017). With positive rewards every token is pushed up."""
    return torch.zeros_like(action_values)


def batch_mean(
    action_values: Float[Tensor, "batch time"], trajectories: Trajectories
) -> Float[Tensor, "batch time"]:
    """Mean, at each step, over the rows that have a token there.

    The mean includes a row's own value, which scales the expected gradient by (n - 1) / n.
    """
    active = trajectories.mask & ~action_values.isnan()
    total = torch.where(active, action_values, 0.0).sum(dim=0, keepdim=True)
    return (total / active.sum(dim=0, keepdim=True).clamp(min=1)).expand_as(action_values)


def leave_one_out(
    action_values: Float[Tensor, "batch time"], trajectories: Trajectories
) -> Float[Tensor, "batch time"]:
    """Mean, at each step, over the *other* rows that have a token there: unbiased (RLOO).

    If the sequences have a column `group` (say, the prompt), only rows of one group are compared.
    If all other rows of the group have ended, their final values are averaged instead. A row alone
    in its group has baseline 0.
    """
    mask = trajectories.mask
    groups = trajectories.sequences.columns.get("group", [0] * len(mask))
    names = {name: index for index, name in enumerate(dict.fromkeys(groups))}
    ids = torch.tensor([names[name] for name in groups], device=mask.device)
    peers = (ids[:, None] == ids[None, :]).fill_diagonal_(False).to(action_values.dtype)
    known = ~action_values.isnan()
    active = (mask & known).to(action_values.dtype)
    values = action_values.nan_to_num(nan=0.0)
    count = peers @ active
    mean_active = peers @ (values * active) / count.clamp(min=1)
    mean_all = peers @ values / (peers @ known.to(values.dtype)).clamp(min=1)
    return torch.where(count > 0, mean_active, mean_all)


@dataclass
class MovingAverage:
    """Exponential moving average of past batches' mean value: one number for all tokens.

    A batch's baseline is the average over the batches *before* it; the first batch uses its own
    mean. Then the batch's mean updates the average: b <- decay b + (1 - decay) mean. A batch
    without any known value changes nothing.
    """

    decay: float = 0.9
    value: float | None = None

    def __call__(
        self, action_values: Float[Tensor, "batch time"], trajectories: Trajectories
    ) -> Float[Tensor, "batch time"]:
        active = trajectories.mask & ~action_values.isnan()
        if not bool(active.any()):
            return torch.zeros_like(action_values)
        mean = float(masked_mean(action_values, active))
        baseline = mean if self.value is None else self.value
        self.value = self.decay * baseline + (1 - self.decay) * mean
        return torch.full_like(action_values, baseline)

    def state_dict(self) -> dict[str, Any]:
        return {"value": self.value}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.value = state["value"]


def make_baseline(kind: BaselineKind, decay: float) -> Baseline:
    """Returns the baseline of that name; only the moving average uses `decay`."""
    if kind == "moving_average":
        return MovingAverage(decay)
    return {"none": no_baseline, "batch_mean": batch_mean, "leave_one_out": leave_one_out}[kind]


def where_known(
    advantages: Float[Tensor, "batch time"], action_values: Float[Tensor, "batch time"]
) -> Float[Tensor, "batch time"]:
    """Advantages with 0 where the action value is unknown: such a token teaches nothing.

    A NaN from elsewhere, an overflow in the KL say, stays, so that the update notices it.
    """
    return torch.where(action_values.isnan(), 0.0, advantages)


def standardize(
    advantages: Float[Tensor, "batch time"], mask: Bool[Tensor, "batch time"]
) -> Float[Tensor, "batch time"]:
    """Divides by the standard deviation over real tokens; NaN stays NaN and does not count.

    Off by default, because it hides the scale of the KL term and amplifies noise when all rewards
    are nearly equal.
    """
    known = mask & ~advantages.isnan()
    mean = masked_mean(advantages, known)
    deviation = masked_mean((advantages - mean).square(), known).sqrt()
    return advantages / (deviation + 1e-8)


def next_kl_weight(weight: float, measured_kl: float, target: float, rate: float = 0.1) -> float:
    """Moves the KL weight so that the KL nears its target (Ziegler et al., 2019, eq. 4).

    weight <- weight (1 + rate clip(measured / target - 1, -0.2, 0.2)); both KLs in nats per
    sequence.
    """
    error = min(max(measured_kl / target - 1, -0.2), 0.2)
    return weight * (1 + rate * error)
