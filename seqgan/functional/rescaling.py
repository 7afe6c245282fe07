"""Rescales action values within a batch: ranks, importance weights, several rewards in one.

These pure functions run after the rollouts, because they compare rows of a batch and a reward model
must judge each row alone. All arrays are (batch, time). NaN marks a row that the reward does not
apply to, and stays NaN. A cell is compared with the same step of all rows with a real token and a
value there, of its group if there are groups. After a row's end the result keeps the value of its
last token, as action values do.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seqgan.functional.groups import within_groups

Aggregation = Literal["sum_then_normalize", "normalize_then_sum"]
RescaleKind = Literal["none", "rank", "bootstrapped_rank", "maligan"]


def rescale(
    values: Float[Tensor, "batch time"],
    mask: Bool[Tensor, "batch time"],
    kind: RescaleKind,
    groups: Int[Tensor, " batch"] | None = None,
) -> Float[Tensor, "batch time"]:
    """Applies the transform of that name within each group; `none` returns the values unchanged.

    Args:
        groups: the number of each row's group; None makes the batch one group.
    """
    if kind == "none":
        return values
    transform = {"rank": rank, "bootstrapped_rank": bootstrapped_rank, "maligan": maligan}[kind]
    return within_groups(transform, values, mask, groups)


def rank(
    values: Float[Tensor, "batch time"], mask: Bool[Tensor, "batch time"]
) -> Float[Tensor, "batch time"]:
    """Share of the other rows that a row beats at each step, in [0, 1]; a tie counts one half.

    The mean over rows is 1/2 for rewards of any scale. A row without others gets 1/2.
    """
    beaten, tied, count = _compare(values, mask)
    share = (beaten + 0.5 * tied) / (count - 1).clamp(min=1)
    return _finished(torch.where(count > 1, share, 0.5), values, mask)


def bootstrapped_rank(
    values: Float[Tensor, "batch time"], mask: Bool[Tensor, "batch time"], delta: float = 12.0
) -> Float[Tensor, "batch time"]:
    """LeakGAN's bootstrapped rescaling (Guo et al., 2018): sigmoid(delta (1/2 - rank/B)).

    Rank 1 is the best of the B rows at a step; tied rows share their mean rank. Departure: the
    released code numbers the rows in batch order and never sorts them; this function sorts.
    """
    beaten, tied, count = _compare(values, mask)
    place = count - beaten - 0.5 * tied
    return _finished(torch.sigmoid(delta * (0.5 - place / count.clamp(min=1))), values, mask)


def maligan(
    values: Float[Tensor, "batch time"], mask: Bool[Tensor, "batch time"], temper: float = 1.0
) -> Float[Tensor, "batch time"]:
    """MaliGAN's weights (Che et al., 2017): B r_i / sum_j r_j with r = D/(1-D), mean 1.

    These are self-normalised importance weights from the generator's distribution to the data's, at
    each step over the B rows with a token there. The factor B keeps the gradient's scale when rows
    end.

    Args:
        values: log r: the reward of shape `logit`, or its mean over rollouts.
        temper: exponent of r; below 1 evens the weights out.
    """
    compared = mask & ~values.isnan()
    log_ratios = (temper * values).masked_fill(~compared, -torch.inf)
    # The softmax of a step without rows is NaN; `_finished` overwrites those cells.
    weights = log_ratios.softmax(dim=0) * compared.sum(dim=0)
    return _finished(weights, values, mask)


def normalize_then_sum(
    values: Float[Tensor, "part batch time"],
    weights: Float[Tensor, " part"],
    mask: Bool[Tensor, "batch time"],
    groups: Int[Tensor, " batch"] | None = None,
) -> Float[Tensor, "batch time"]:
    """Normalises the action values of each reward, then sums them (GDPO, arXiv:2601.05242).

    At each step a reward's values are centred by their mean over the rows of a group and divided
    by their sample deviation plus 1e-4, so that `weights` alone decides the influence of each
    reward. An ended row counts with the value of its last token. If all tokens of a sequence have
    its reward, the result equals TRL's `multi_objective_aggregation` of the same name.

    Args:
        groups: the number of each row's group; None makes the batch one group.

    Returns:
        (batch, time): NaN where all parts are NaN.
    """
    if groups is not None:
        result = torch.empty_like(values[0])
        for group in groups.unique():
            rows = groups == group
            result[rows] = normalize_then_sum(values[:, rows], weights, mask[rows])
        return result
    extended = torch.stack([extend_last(part, mask) for part in values.unbind(dim=0)])
    count = (~extended.isnan()).sum(dim=1, keepdim=True)
    centred = extended - extended.nanmean(dim=1, keepdim=True)
    # A single row is its own mean, so its centred value and its deviation are 0.
    variance = centred.square().nansum(dim=1, keepdim=True) / (count - 1).clamp(min=1)
    return weighted_sum(centred / (variance.sqrt() + 1e-4), weights)


def weighted_sum(
    values: Float[Tensor, "part *shape"], weights: Float[Tensor, " part"]
) -> Float[Tensor, "*shape"]:
    """Sum over the parts of weight times value. NaN parts are left out; all NaN gives NaN."""
    weighted = (values.movedim(0, -1) * weights.to(values)).nansum(dim=-1)
    return weighted.masked_fill(values.isnan().all(dim=0), torch.nan)


def _compare(
    values: Float[Tensor, "batch time"], mask: Bool[Tensor, "batch time"]
) -> tuple[Int[Tensor, "batch time"], Int[Tensor, "batch time"], Int[Tensor, " time"]]:
    """Counts, at each step, the rows that each row beats, the rows it ties with, and all rows.

    Only real tokens with a value are compared; the numbers of other cells mean nothing.
    """
    compared = mask & ~values.isnan()
    columns = values.masked_fill(~compared, torch.inf).T.contiguous()
    ordered = columns.sort(dim=1).values
    beaten = torch.searchsorted(ordered, columns)
    tied = torch.searchsorted(ordered, columns, right=True) - beaten - 1
    return beaten.T, tied.T, compared.sum(dim=0)


def _finished(
    result: Float[Tensor, "batch time"],
    values: Float[Tensor, "batch time"],
    mask: Bool[Tensor, "batch time"],
) -> Float[Tensor, "batch time"]:
    """Restores the NaN of `values` in the result and extends each row's last value past its end."""
    return extend_last(torch.where(values.isnan(), torch.nan, result), mask)


def extend_last(
    values: Float[Tensor, "batch time"], mask: Bool[Tensor, "batch time"]
) -> Float[Tensor, "batch time"]:
    """Keeps the values of real tokens; copies a row's last one to all steps after its end."""
    last = mask.sum(dim=1, keepdim=True) - 1
    steps = torch.arange(values.shape[1], device=values.device).expand_as(values)
    return values.gather(1, torch.minimum(steps, last.clamp(min=0)))
