"""Monte Carlo action values: what a prefix is worth, by completing it N times.

Prefixes advance together, in the order of their lengths, from the states of one encoding pass, and
equal completions are judged once. Values are written to the (row, step) that they belong to; no
reshape ever stands between a reward and its place.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seqgan.data.sequences import Sequences, Trajectories, joined
from seqgan.functional.rescaling import weighted_sum
from seqgan.models.generators.base import Generator
from seqgan.models.sampling import complete, rows_in_flight
from seqgan.rewards.base import RewardModel
from seqgan.rewards.weighted import WeightedSum, as_weighted_sum
from seqgan.system.timing import profiled


def monte_carlo_action_values(
    policy: Generator,
    reward_model: RewardModel,
    trajectories: Trajectories,
    num_rollouts: int,
    rng: torch.Generator,
    chunk_size: int = 16384,
    stride: int = 1,
) -> Float[Tensor, "batch time"]:
    """Q(Y_1:t-1, y_t) of every token (Yu et al., 2017, eq. 4).

    The mean reward of `num_rollouts` completions of Y_1:t for an unfinished prefix; the sequence's
    own reward at its last token, which is not scored again, and after it.

    Args:
        policy: completes the prefixes; the generator itself, or a delayed copy of it.
        num_rollouts: completions per prefix; 0 gives every token its sequence's reward.
        chunk_size: completions that are judged at a time; bounds memory, and does not change the
            expectation.
        stride: k completes the prefixes that end with token 0, k, 2k, ... only; the values of the
            tokens between are interpolated (`between_strides`). About a k-th of the work; those
            values are no longer expectations, but stay between two that are.

    Returns:
        (batch, time): the expected undiscounted return of the finished sequence given the prefix
        that includes token t, over the completions to which the reward applies; NaN where it
        applies to none. Columns after a row's end hold the finished reward.

    Raises:
        ValueError: `num_rollouts` below 0, `stride` below 1, or a reward that failed.
    """
    rewards = as_weighted_sum(reward_model)

    def summed(parts: Float[Tensor, "part row"]) -> Float[Tensor, "1 row"]:
        return weighted_sum(parts, rewards.weights)[None]

    if trajectories.parts is None:
        finished = trajectories.returns[None]
    else:
        finished = summed(_finished_parts(rewards, trajectories))
    values = _rollout_values(
        policy, rewards, summed, finished, trajectories, num_rollouts, rng, chunk_size, stride
    )
    return values[0]


def monte_carlo_part_values(
    policy: Generator,
    rewards: WeightedSum,
    trajectories: Trajectories,
    num_rollouts: int,
    rng: torch.Generator,
    chunk_size: int = 16384,
    stride: int = 1,
) -> Float[Tensor, "part batch time"]:
    """`monte_carlo_action_values` of each part of a sum, unweighted, from the same completions.

    The mean of a part is over the completions to which that part applies. Where parts apply to
    different completions, the weighted sum of these means is not the value of the sum.
    """
    finished = _finished_parts(rewards, trajectories)
    return _rollout_values(
        policy,
        rewards,
        lambda parts: parts,
        finished,
        trajectories,
        num_rollouts,
        rng,
        chunk_size,
        stride,
    )


def _finished_parts(
    rewards: WeightedSum, trajectories: Trajectories
) -> Float[Tensor, "part batch"]:
    return torch.stack([trajectories.part(name) for name in rewards.names])


@torch.no_grad()
def _rollout_values(
    policy: Generator,
    rewards: WeightedSum,
    valued: Callable[[Float[Tensor, "part row"]], Float[Tensor, "value row"]],
    finished: Float[Tensor, "value batch"],
    trajectories: Trajectories,
    num_rollouts: int,
    rng: torch.Generator,
    chunk_size: int,
    stride: int,
) -> Float[Tensor, "value batch time"]:
    """The mean over completions of what `valued` makes of the parts of their reward.

    Args:
        finished: the same of the trajectories' own texts.
    """
    if num_rollouts < 0:
        raise ValueError(f"num_rollouts is at least 0, got {num_rollouts}")
    if stride < 1:
        raise ValueError(f"stride is at least 1, got {stride}")
    sequences = trajectories.sequences
    vocabulary = sequences.vocabulary
    if vocabulary is None:
        raise ValueError("trajectories carry the vocabulary that made them, got none")
    num_steps = sequences.tokens.shape[1]
    action_values = finished[:, :, None].expand(-1, -1, num_steps).clone()
    steps = torch.arange(num_steps, device=sequences.tokens.device)
    completed_here = (steps < sequences.lengths[:, None] - 1) & (steps % stride == 0)
    # Ordered by length, so that the rows of a batch end together.
    ends, rows = completed_here.T.nonzero(as_tuple=True)
    if num_rollouts == 0 or len(rows) == 0:
        return action_values

    policy.eval()
    with profiled("rollout / encode"):
        prefix_states = policy.encode(sequences)
    together = max(rows_in_flight(policy) // num_rollouts, 1)
    for chunk in torch.arange(len(rows)).split(max(chunk_size // num_rollouts, 1)):
        completed = []
        for prefixes in chunk.split(together):
            lengths = ends[prefixes] + 1
            prefix = steps[None, :] < lengths[:, None]
            tokens = sequences.tokens[rows[prefixes]].masked_fill(~prefix, vocabulary.pad_id)
            logits, state = prefix_states.gather(rows[prefixes], lengths)
            with profiled("rollout / complete"):
                completed.append(
                    complete(
                        policy,
                        vocabulary,
                        tokens,
                        lengths,
                        logits,
                        state,
                        rng,
                        num_completions=num_rollouts,
                    )
                )
        origin = rows[chunk].repeat_interleave(num_rollouts)
        with profiled("rollout / judge"):
            scores = valued(judge(rewards, sequences, origin, joined(completed)))
        # The completions of one prefix are neighbours, so this view only splits their axis.
        split = scores.view(len(finished), -1, num_rollouts)
        action_values[:, rows[chunk], ends[chunk]] = split.nanmean(dim=2)
    if stride == 1:
        return action_values
    return between_strides(action_values, sequences.lengths, stride)


def between_strides(
    values: Float[Tensor, "value batch time"], lengths: Int[Tensor, " batch"], stride: int
) -> Float[Tensor, "value batch time"]:
    """Values of every `stride`-th token and of each row's last one, and straight lines between.

    Where one of a token's two neighbours that have a value is NaN, it gets the other's.

    Args:
        values: those between are not looked at.
    """
    steps = torch.arange(values.shape[2], device=values.device)
    last = lengths[:, None] - 1
    before = (steps // stride * stride).expand(len(lengths), -1)
    after = torch.minimum(before + stride, last)  # meaningless after the end, where it is not used
    left = values[:, :, before[0]]
    right = values.gather(2, after.expand_as(values))
    left, right = torch.where(left.isnan(), right, left), torch.where(right.isnan(), left, right)
    share = (steps - before) / (after - before).clamp(min=1)
    between = (steps < last) & (steps % stride != 0)
    return torch.where(between, left + share * (right - left), values)


def judge(
    rewards: WeightedSum,
    sequences: Sequences,
    origin: Int[Tensor, " completion"],
    completions: Sequences,
) -> Float[Tensor, "part completion"]:
    """The rewards of each completion of row `origin`, asked for once where completions are equal.

    A reward may look at the row's prompt or at another of its columns, so only completions of the
    same row count as equal where there are any.
    """
    told_apart = sequences.prompts is not None or sequences.columns
    rows = origin if told_apart else torch.zeros_like(origin)
    first, position = _first_of_equals(torch.cat([rows[:, None], completions.tokens], dim=1))
    distinct = sequences.select(origin[first]).with_completions(completions.select(first))
    return rewards.score_parts(distinct)[:, position]


def _first_of_equals(
    rows: Int[Tensor, "row column"],
) -> tuple[Int[Tensor, " distinct"], Int[Tensor, " row"]]:
    """The first row of each set of equal rows, and each row's place among those."""
    generator = torch.Generator().manual_seed(0)
    # Odd multipliers of wrapping integers: equal rows have equal sums, others nearly never.
    factors = torch.randint(2**62, (rows.shape[1],), generator=generator) * 2 + 1
    sums = (rows * factors.to(rows.device)).sum(dim=1)
    _, position = sums.unique(return_inverse=True)
    index = torch.arange(len(rows), device=rows.device)
    first = torch.full((int(position.max()) + 1,), len(rows), device=rows.device)
    first = first.scatter_reduce(0, position, index, "amin")
    if torch.equal(rows[first[position]], rows):
        return first, position
    return index, index
