"""Action values of a batch made comparable: ranks, importance weights, several rewards in one.

Pure functions, for after the rollouts: they look at the whole batch, which no reward model may.
All arrays are (batch, time), NaN where the reward does not apply to the row; NaN stays NaN. A step
is compared with the same step of the rows that have a token there and a value. After a row's end
the result keeps the value of its last token, as action values do, whatever stood there before.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Aggregation = Literal["sum_then_normalize", "normalize_then_sum"]
RescaleKind = Literal["none", "rank", "bootstrapped_rank", "maligan"]


def rescale(
    values: Float[Tensor, "batch time"], mask: Bool[Tensor, "batch time"], kind: RescaleKind
) -> Float[Tensor, "batch time"]:
    """The transform of that name; `none` gives the values themselves."""
    if kind == "none":
        return values
    return {"rank": rank, "bootstrapped_rank": bootstrapped_rank, "maligan": maligan}[kind](
        values, mask
    )


def rank(
    values: Float[Tensor, "batch time"], mask: Bool[Tensor, "batch time"]
) -> Float[Tensor, "batch time"]:
    """The share of the other rows that a row beats at each step, in [0, 1]; a tie is half a win.

    The mean over rows is 1/2 whatever the reward's scale is. A row without others gets 1/2.
    """
    beaten, tied, count = _standing(values, mask)
    share = (beaten + 0.5 * tied) / (count - 1).clamp(min=1)
    return _finished(torch.where(count > 1, share, 0.5), values, mask)


def bootstrapped_rank(
    values: Float[Tensor, "batch time"], mask: Bool[Tensor, "batch time"], delta: float = 12.0
) -> Float[Tensor, "batch time"]:
    """LeakGAN's bootstrapped rescaling (Guo et al., 2018): sigmoid(delta (1/2 - rank/B)).

    Rank 1 is the best of the B rows at a step, and ties share the mean of their ranks. The released
    code numbers the rows in their order in the batch and never sorts them; this sorts.
    """
    beaten, tied, count = _standing(values, mask)
    place = count - beaten - 0.5 * tied
    return _finished(torch.sigmoid(delta * (0.5 - place / count.clamp(min=1))), values, mask)


def maligan(
    values: Float[Tensor, "batch time"], mask: Bool[Tensor, "batch time"], temper: float = 1.0
) -> Float[Tensor, "batch time"]:
    """MaliGAN's weights (Che et al., 2017): B r_i / sum_j r_j with r = D/(1-D), mean 1.

    Self-normalised importance weights of the data under the generator, at each step over the B
    rows there. The factor B keeps the scale of the gradient when rows end.

    Args:
        values: log r, which is the reward of the `logit` shape, or its mean over rollouts.
        temper: r is raised to this power; below 1 evens the weights out.
    """
    compared = mask & ~values.isnan()
    log_ratios = (temper * values).masked_fill(~compared, -torch.inf)
    # A step without any row has no softmax; its cells are filled in from elsewhere.
    weights = log_ratios.softmax(dim=0) * compared.sum(dim=0)
    return _finished(weights, values, mask)


def normalize_then_sum(
    values: Float[Tensor, "part batch time"],
    weights: Float[Tensor, " part"],
    mask: Bool[Tensor, "batch time"],
) -> Float[Tensor, "batch time"]:
    """The action values of several rewards as one, each normalised first (GDPO, arXiv:2601.05242).

    Each is centred by its mean and divided by its deviation (of a sample) plus 1e-4, over the rows
    at each step, so that rewards of any scale weigh what `weights` says. A row that has ended
    counts with the value of its last token. So where every token has its sequence's reward, each
    step has the mean and the deviation over all sequences: what TRL's
    `multi_objective_aggregation` of the same name gives with the batch as one group.

    Returns:
        (batch, time): NaN where every part is.
    """
    held = torch.stack([_held(part, mask) for part in values.unbind(dim=0)])
    count = (~held.isnan()).sum(dim=1, keepdim=True)
    centred = held - held.nanmean(dim=1, keepdim=True)
    # With one row there is no deviation, and the row is its own mean: nothing is left of it.
    variance = centred.square().nansum(dim=1, keepdim=True) / (count - 1).clamp(min=1)
    return weighted_sum(centred / (variance.sqrt() + 1e-4), weights)


def weighted_sum(
    values: Float[Tensor, "part *shape"], weights: Float[Tensor, " part"]
) -> Float[Tensor, "*shape"]:
    """Sum over the parts of weight times value, of those that are not NaN; NaN where all are."""
    weighted = (values.movedim(0, -1) * weights.to(values)).nansum(dim=-1)
    return weighted.masked_fill(values.isnan().all(dim=0), torch.nan)


def _standing(
    values: Float[Tensor, "batch time"], mask: Bool[Tensor, "batch time"]
) -> tuple[Int[Tensor, "batch time"], Int[Tensor, "batch time"], Int[Tensor, " time"]]:
    """How many compared rows each row beats at each step, how many it ties with, and their count.

    A row that is not compared gets numbers without a meaning.
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
    """The result with NaN where the values have it, and held after each row's end."""
    return _held(torch.where(values.isnan(), torch.nan, result), mask)


def _held(
    values: Float[Tensor, "batch time"], mask: Bool[Tensor, "batch time"]
) -> Float[Tensor, "batch time"]:
    """The same on real tokens; after a row's end the value of its last token."""
    last = mask.sum(dim=1, keepdim=True) - 1
    steps = torch.arange(values.shape[1], device=values.device).expand_as(values)
    return values.gather(1, torch.minimum(steps, last.clamp(min=0)))
