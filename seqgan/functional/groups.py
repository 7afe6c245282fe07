"""Groups of rows that are compared with each other: completions of one prompt, or a whole batch.

A group is a number for each row. Where nobody says which rows go together, all of them do.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from seqgan.data.sequences import Trajectories


def group_ids(trajectories: Trajectories) -> Int[Tensor, " batch"]:
    """The number of each row's group, from 0 on, in the order in which groups appear.

    The trajectories say it (`groups`), else a column `group` of their data does; where neither is
    there, the batch is one group.
    """
    size, device = len(trajectories.mask), trajectories.mask.device
    given = trajectories.groups
    named = trajectories.sequences.columns.get("group", [0] * size)
    names = given.tolist() if given is not None else named
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return torch.tensor([numbers[name] for name in names], dtype=torch.long, device=device)


def within_groups(
    function: Callable[
        [Float[Tensor, "batch time"], Bool[Tensor, "batch time"]], Float[Tensor, "batch time"]
    ],
    values: Float[Tensor, "batch time"],
    mask: Bool[Tensor, "batch time"],
    groups: Int[Tensor, " batch"] | None,
) -> Float[Tensor, "batch time"]:
    """Applies a function that compares rows to the rows of each group; None is one group."""
    if groups is None:
        return function(values, mask)
    result = values.clone()
    for group in groups.unique():
        rows = groups == group
        result[rows] = function(values[rows], mask[rows])
    return result


def group_moments(
    values: Float[Tensor, "batch time"], groups: Int[Tensor, " batch"]
) -> tuple[Float[Tensor, "batch time"], Float[Tensor, "batch time"], Int[Tensor, "batch time"]]:
    """Mean, sample deviation and number of the known values of each row's group, at each step.

    NaN is unknown. The deviation divides by n - 1, as TRL's does; that of one value is 0.
    """
    shape = (int(groups.max()) + 1 if len(groups) else 0, values.shape[1])

    def total(each: Tensor) -> Tensor:
        return torch.zeros(shape, dtype=each.dtype, device=each.device).index_add(0, groups, each)

    known = ~values.isnan()
    count = total(known.long())
    mean = (total(torch.where(known, values, 0.0)) / count.clamp(min=1))[groups]
    squares = torch.where(known, values - mean, 0.0).square()
    variance = total(squares) / (count - 1).clamp(min=1)
    return mean, variance.sqrt()[groups], count[groups]


def spreads(returns: Float[Tensor, " batch"], groups: Int[Tensor, " batch"]) -> tuple[float, float]:
    """The deviations of returns within groups and between the groups' means.

    The first is the root of the mean squared distance of a text to the mean of its group, the
    second the deviation of these means, each counted once for each text; their squares add up to
    the variance of all returns. NaN is left out.
    """
    known = ~returns.isnan()
    returns, groups = returns[known], groups[known]
    if len(returns) == 0:
        return 0.0, 0.0
    mean = group_moments(returns[:, None], groups)[0][:, 0]
    within = (returns - mean).square().mean().sqrt()
    return float(within), float(mean.std(correction=0))
