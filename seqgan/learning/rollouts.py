"""Monte Carlo action values: the mean reward of N completions of each prefix.

One encoding pass gives the states of all prefixes. Prefixes of similar length then advance
together, and equal completions are judged once. Each value is written to its (row, step) by index.
No reshape moves rewards, because a wrong reshape would give them to other tokens without an error.
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

    An unfinished prefix Y_1:t gets the mean reward of `num_rollouts` completions. The last token of
    a row, and the columns after it, get the sequence's own reward, which is not scored again.

    Args:
        policy: completes the prefixes; the generator itself, or a delayed copy of it.
        num_rollouts: completions per prefix; 0 gives every token its sequence's reward.
        chunk_size: completions that are judged at a time; bounds memory, and does not change the
            expectation.
        stride: k completes only the prefixes that end with token 0, k, 2k, ..., which saves all but
            a k-th of the work. `between_strides` interpolates the values of the tokens between, so
            those are no expectations.

    Returns:
        (batch, time): the expected undiscounted return of the finished sequence given the prefix
        that includes token t, over the completions to which the reward applies; NaN if it applies
        to none. Columns after a row's end hold the finished reward.

    Raises:
        ValueError: `num_rollouts` is below 0, `stride` is below 1, or a reward failed.
    """
    rewards = as_weighted_sum(reward_model)

    def weigh(parts: Float[Tensor, "part row"]) -> Float[Tensor, "1 row"]:
        return weighted_sum(parts, rewards.weights)[None]

    if trajectories.parts is None:
        final_values = trajectories.returns[None]
    else:
        final_values = weigh(_final_parts(rewards, trajectories))
    values = _rollout_values(
        policy, rewards, weigh, final_values, trajectories, num_rollouts, rng, chunk_size, stride
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

    A part's mean is over the completions to which that part applies. If the parts apply to
    different completions, the weighted sum of these means differs from the value of the sum.
    """
    final_values = _final_parts(rewards, trajectories)
    return _rollout_values(
        policy,
        rewards,
        lambda parts: parts,
        final_values,
        trajectories,
        num_rollouts,
        rng,
        chunk_size,
        stride,
    )


def _final_parts(rewards: WeightedSum, trajectories: Trajectories) -> Float[Tensor, "part batch"]:
    """The rewards of the collected sequences, part by part; NaN where a part does not apply."""
    return torch.stack([trajectories.part(name) for name in rewards.names])


@torch.no_grad()
def _rollout_values(
    policy: Generator,
    rewards: WeightedSum,
    to_values: Callable[[Float[Tensor, "part row"]], Float[Tensor, "value row"]],
    final_values: Float[Tensor, "value batch"],
    trajectories: Trajectories,
    num_rollouts: int,
    rng: torch.Generator,
    chunk_size: int,
    stride: int,
) -> Float[Tensor, "value batch time"]:
    """The mean, over each prefix's completions, of their values.

    Args:
        to_values: turns the parts of a reward into values: their weighted sum, or the parts
            themselves.
        final_values: the values of the trajectories' own texts.
    """
    if num_rollouts < 0:
        raise ValueError(f"num_rollouts is {num_rollouts}, but must be at least 0")
    if stride < 1:
        raise ValueError(f"stride is {stride}, but must be at least 1")
    sequences = trajectories.sequences
    vocabulary = sequences.vocabulary
    if vocabulary is None:
        raise ValueError(
            "the trajectories carry no vocabulary, but must carry the one that made them"
        )
    num_steps = sequences.tokens.shape[1]
    action_values = final_values[:, :, None].expand(-1, -1, num_steps).clone()
    steps = torch.arange(num_steps, device=sequences.tokens.device)
    is_completed = (steps < sequences.lengths[:, None] - 1) & (steps % stride == 0)
    # `nonzero` of the transpose orders prefixes by length. Prefixes of one batch then need about
    # as many steps, so that few finished rows wait for others.
    ends, rows = is_completed.T.nonzero(as_tuple=True)
    if num_rollouts == 0 or len(rows) == 0:
        return action_values

    policy.eval()
    with profiled("rollout / encode"):
        prefix_states = policy.encode(sequences)
    # Two sizes of batch: a large chunk for the rewards, because more completions repeat and are
    # judged once, and small ones for the generator, whose logits have to fit into the cache.
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
            scores = to_values(judge(rewards, sequences, origin, joined(completed)))
        # The completions of one prefix are neighbours, so this view only splits their axis.
        by_prefix = scores.view(len(final_values), -1, num_rollouts)
        # NaN: the reward does not apply to the completion, which then has no say in the mean.
        action_values[:, rows[chunk], ends[chunk]] = by_prefix.nanmean(dim=2)
    if stride == 1:
        return action_values
    return between_strides(action_values, sequences.lengths, stride)


def between_strides(
    values: Float[Tensor, "value batch time"], lengths: Int[Tensor, " batch"], stride: int
) -> Float[Tensor, "value batch time"]:
    """Interpolates linearly between every `stride`-th token and each row's last one.

    If one of the two values around a token is NaN, the token gets the other.

    Args:
        values: the values; those of the tokens between are ignored.
    """
    steps = torch.arange(values.shape[2], device=values.device)
    last = lengths[:, None] - 1
    before = (steps // stride * stride).expand(len(lengths), -1)
    after = torch.minimum(before + stride, last)  # wrong after a row's end, where it is unused
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
    """Scores completions, equal ones only once: late prefixes have few distinct completions, and a
    reward may be a large network.

    A reward may read the row's prompt or its columns. So if the sequences have any, only
    completions of one row count as equal.

    Args:
        origin: the row of `sequences` that each completion continues.
    """
    row_matters = sequences.prompts is not None or sequences.columns
    rows = origin if row_matters else torch.zeros_like(origin)
    # The row number becomes a column in front of the tokens, so that one comparison covers both.
    first, position = _first_of_equals(torch.cat([rows[:, None], completions.tokens], dim=1))
    distinct = sequences.select(origin[first]).with_completions(completions.select(first))
    return rewards.score_parts(distinct)[:, position]


def _first_of_equals(
    rows: Int[Tensor, "row column"],
) -> tuple[Int[Tensor, " distinct"], Int[Tensor, " row"]]:
    """Finds equal rows: returns the first row of each set, and for each row the set's number.

    Rows are compared by a hash of 64 bits, because sorting numbers is much faster than sorting
    rows. If two different rows ever share a hash, every row becomes a set of its own.
    """
    generator = torch.Generator().manual_seed(0)
    # Integers wrap, and the multipliers are odd: different rows almost never have equal sums.
    factors = torch.randint(2**62, (rows.shape[1],), generator=generator) * 2 + 1
    sums = (rows * factors.to(rows.device)).sum(dim=1)
    _, position = sums.unique(return_inverse=True)
    index = torch.arange(len(rows), device=rows.device)
    first = torch.full((int(position.max()) + 1,), len(rows), device=rows.device)
    first = first.scatter_reduce(0, position, index, "amin")
    if torch.equal(rows[first[position]], rows):
        return first, position
    return index, index
