"""Metrics of one batch of trajectories: lengths, endings, repeats, returns and rewards."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seqgan.data.metrics import Metrics
from seqgan.data.sequences import Sequences, Trajectories, masked_mean
from seqgan.data.vocabulary import Vocabulary
from seqgan.functional.groups import group_ids, spreads


def describe_trajectories(
    trajectories: Trajectories,
    advantages: Float[Tensor, "batch time"],
    vocabulary: Vocabulary,
    rewards: Sequence[str],
) -> Metrics:
    """Measures lengths, endings, repeated rows, returns, advantages and the named rewards.

    Endings are there if texts have an eos. The mean and the deviation of a reward are over the
    sequences to which it applies.
    """
    lengths, mask = trajectories.sequences.lengths, trajectories.mask
    mean = masked_mean(advantages, mask)
    unique = torch.unique(trajectories.tokens, dim=0).shape[0] / len(lengths)
    metrics: dict[str, float | int] = {
        "charts/episodic_length": float(lengths.float().mean()),
        "advantage/mean": float(mean),
        "advantage/std": float(masked_mean((advantages - mean).square(), mask).sqrt()),
        "completions/unique_fraction": unique,
        "completions/min_length": int(lengths.min()),
        "completions/max_length": int(lengths.max()),
    }
    if (eos := vocabulary.eos_id) is not None:
        last = trajectories.tokens.gather(1, lengths[:, None] - 1)
        metrics["completions/clipped_ratio"] = float((last != eos).float().mean())
    scored = torch.stack([trajectories.part(name) for name in rewards])
    some_apply = ~scored.isnan().all(dim=0)
    if bool(some_apply.any()):
        metrics["charts/episodic_return"] = float(trajectories.returns[some_apply].mean())
        returns = trajectories.returns.masked_fill(~some_apply, torch.nan)
        metrics["frac_reward_zero_std"] = share_of_equal_returns(
            returns, trajectories.sequences, trajectories.groups
        )
        if trajectories.groups is not None:
            within, between = spreads(returns, group_ids(trajectories))
            metrics |= {"groups/std_within": within, "groups/std_between": between}
    for name in rewards:
        scores = trajectories.part(name)
        applies = ~scores.isnan()
        metrics[f"rewards/{name}/not_applicable"] = float((~applies).float().mean())
        if bool(applies.any()):
            metrics[f"rewards/{name}/mean"] = float(scores[applies].mean())
            metrics[f"rewards/{name}/std"] = float(scores[applies].std(correction=0))
    return metrics


def share_of_equal_returns(
    returns: Float[Tensor, " batch"],
    sequences: Sequences,
    given: Int[Tensor, " batch"] | None = None,
) -> float:
    """The share of groups within which all texts earn the same, so that none is preferred.

    A group holds the completions of one prompt, as they were drawn. Where there are no prompts, or
    no prompt has two completions, the batch is one group.

    Args:
        returns: NaN for a text to which no reward applies; it is in no group.
        given: the number of each text's group; None finds groups by their prompts.
    """
    groups = torch.zeros_like(returns, dtype=torch.long) if given is None else given
    if given is None and sequences.prompts is not None and sequences.prompt_mask is not None:
        prompts = sequences.prompts.masked_fill(~sequences.prompt_mask, -1)
        groups = torch.unique(prompts, dim=0, return_inverse=True)[1]
    if int(groups.bincount().max()) < 2:
        groups = torch.zeros_like(groups)
    earned = [returns[(groups == group) & ~returns.isnan()] for group in groups.unique()]
    equal = [bool(torch.isclose(one, one[:1]).all()) for one in earned if len(one) > 1]
    return sum(equal) / len(equal) if equal else 1.0
