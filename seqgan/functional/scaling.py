"""Scales: what advantages are divided by, so that a learning rate fits rewards of any size.

All arrays are (batch, time), and NaN marks an unknown value.
"""

from typing import Literal

from jaxtyping import Bool, Float, Int
from torch import Tensor

from seqgan.data.sequences import masked_mean
from seqgan.functional.groups import group_moments
from seqgan.functional.rescaling import extend_last

ScaleKind = Literal["none", "batch", "group", "whiten"]


def scaled(
    advantages: Float[Tensor, "batch time"],
    values: Float[Tensor, "batch time"],
    mask: Bool[Tensor, "batch time"],
    groups: Int[Tensor, " batch"],
    kind: ScaleKind,
) -> Float[Tensor, "batch time"]:
    """Scales advantages in the way of that name; `none` returns them unchanged.

    Args:
        values: the advantages before the baseline was subtracted.
        groups: the number of each row's group.
    """
    if kind == "group":
        return by_group(advantages, values, mask, groups)
    return {"none": lambda a, m: a, "batch": standardize, "whiten": whiten}[kind](advantages, mask)


def by_group(
    advantages: Float[Tensor, "batch time"],
    values: Float[Tensor, "batch time"],
    mask: Bool[Tensor, "batch time"],
    groups: Int[Tensor, " batch"],
) -> Float[Tensor, "batch time"]:
    """Divides by the deviation of the group's values plus 1e-4: GRPO (Shao et al., 2024).

    The deviation is the sample's, at each step over all texts of the group; one that has ended
    counts with the value of its last token. With the baseline `group_mean`, and the reward of its
    text as the value of each token, the result is TRL's (R_i - mean(R)) / (std(R) + 1e-4). A group
    whose texts earn nearly the same is blown up: see `frac_reward_zero_std`.
    """
    deviation = group_moments(extend_last(values, mask), groups)[1]
    return advantages / (deviation + 1e-4)


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


def whiten(
    advantages: Float[Tensor, "batch time"], mask: Bool[Tensor, "batch time"]
) -> Float[Tensor, "batch time"]:
    """Subtracts the mean over real tokens, then divides by their standard deviation.

    As the PPO of CleanRL and Stable-Baselines3 and REINFORCE++ (Hu et al., 2025, eq. 4) do. The
    mean has the row's own value in it, whose weight vanishes with the size of the batch.
    """
    known = mask & ~advantages.isnan()
    return standardize(advantages - masked_mean(advantages, known), mask)
