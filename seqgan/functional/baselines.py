"""Baselines: what is subtracted from action values, so that a gradient varies less.

All arrays are (batch, time), and NaN marks an unknown value. `batch_mean` and `leave_one_out`
compare the rows that have a token at a step, so a prefix is measured by prefixes of its length; the
two of groups compare texts, so a text that has ended still counts. `prefix_value` compares a token
with the prefix that it continues.
"""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from seqgan.data.sequences import Trajectories, masked_mean
from seqgan.functional.groups import group_ids, group_moments
from seqgan.functional.rescaling import extend_last


@runtime_checkable
class Baseline(Protocol):
    """Computes a baseline to subtract from action values.

    A baseline that does not depend on the row's own action leaves the expected gradient unchanged.
    """

    def __call__(
        self, action_values: Float[Tensor, "batch time"], trajectories: Trajectories
    ) -> Float[Tensor, "batch time"]: ...


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
    """Mean, at each step, over the *other* rows that have a token there: unbiased.

    Only rows of one group are compared (`group_ids`). If all other rows of the group have ended,
    their final values are averaged instead. A row alone in its group has baseline 0.
    """
    mask = trajectories.mask
    ids = group_ids(trajectories)
    peers = (ids[:, None] == ids[None, :]).fill_diagonal_(False).to(action_values.dtype)
    known = ~action_values.isnan()
    active = (mask & known).to(action_values.dtype)
    values = action_values.nan_to_num(nan=0.0)
    count = peers @ active
    mean_active = peers @ (values * active) / count.clamp(min=1)
    mean_all = peers @ values / (peers @ known.to(values.dtype)).clamp(min=1)
    return torch.where(count > 0, mean_active, mean_all)


def group_mean(
    action_values: Float[Tensor, "batch time"], trajectories: Trajectories
) -> Float[Tensor, "batch time"]:
    """Mean, at each step, over the row's group, ended texts included: GRPO (Shao et al., 2024).

    A text that has ended counts with the value of its last token. So where all tokens of a text
    have its reward, the advantage is R_i - mean(R), the same at each token.
    """
    values = extend_last(action_values, trajectories.mask)
    return group_moments(values, group_ids(trajectories))[0]


def group_leave_one_out(
    action_values: Float[Tensor, "batch time"], trajectories: Trajectories
) -> Float[Tensor, "batch time"]:
    """Mean, at each step, over the other texts of the group, ended ones included: RLOO (Kool et
    al., 2019; Ahmadian et al., 2024).

    A text that has ended counts with the value of its last token. So where all tokens of a text
    have its reward, the advantage is R_i - mean of R_j over j != i, the same at each token. A text
    alone in its group has baseline 0.
    """
    values = extend_last(action_values, trajectories.mask)
    mean, _, count = group_moments(values, group_ids(trajectories))
    others = (mean * count - values) / (count - 1).clamp(min=1)
    return torch.where(count > 1, others, 0.0)


def prefix_value(
    action_values: Float[Tensor, "batch time"], trajectories: Trajectories
) -> Float[Tensor, "batch time"]:
    """The value of the prefix before each token, to go: VinePPO (Kazemnejad et al., 2024).

    A token then has the advantage r + V(with it) - V(before it), both values being means over
    completions of their own. A prefix that is bad already makes no later token of it bad. It needs
    rollouts of every prefix: their draws know nothing of the token, so that it is unbiased.

    The first token has no prefix, and one after an unknown value none that is known: they get
    `leave_one_out`.
    """
    baseline = leave_one_out(action_values, trajectories)
    before = (action_values - trajectories.rewards)[:, :-1]
    baseline[:, 1:] = torch.where(before.isnan(), baseline[:, 1:], before)
    return baseline


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


def make_baseline(kind: str, decay: float) -> Baseline:
    """Returns the baseline of that name; only the moving average uses `decay`."""
    if kind == "moving_average":
        return MovingAverage(decay)
    return {
        "none": no_baseline,
        "batch_mean": batch_mean,
        "leave_one_out": leave_one_out,
        "group_mean": group_mean,
        "group_leave_one_out": group_leave_one_out,
        "prefix": prefix_value,
    }[kind]
