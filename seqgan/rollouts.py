"""Monte Carlo action values: what a prefix is worth, by completing it N times.

All prefixes of all rows advance together from the states of one encoding pass. Values are written
to the (row, step) that they belong to; no reshape ever stands between a reward and its place.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from seqgan.generators.base import Generator
from seqgan.rewards.base import RewardModel, returns
from seqgan.sampling import complete
from seqgan.sequences import Trajectories


@torch.no_grad()
def monte_carlo_action_values(
    policy: Generator,
    reward_model: RewardModel,
    trajectories: Trajectories,
    num_rollouts: int,
    rng: torch.Generator,
    chunk_size: int = 4096,
) -> Float[Tensor, "batch time"]:
    """Q(Y_1:t-1, y_t) of every token (Yu et al., 2017, eq. 4).

    The mean reward of `num_rollouts` completions of Y_1:t for an unfinished prefix; the sequence's
    own reward at its last token, which is not scored again, and after it.

    Args:
        policy: completes the prefixes; the generator itself, or a delayed copy of it.
        num_rollouts: completions per prefix; 0 gives every token its sequence's reward.
        chunk_size: completions that advance at a time; bounds memory, and does not change the
            expectation.

    Returns:
        (batch, time): the expected undiscounted return of the finished sequence given the prefix
        that includes token t. Columns after a row's end hold the finished reward.

    Raises:
        ValueError: `num_rollouts` below 0, or a reward of the wrong shape or not finite.
    """
    if num_rollouts < 0:
        raise ValueError(f"num_rollouts is at least 0, got {num_rollouts}")
    sequences = trajectories.sequences
    vocabulary = sequences.vocabulary
    if vocabulary is None:
        raise ValueError("trajectories carry the vocabulary that made them, got none")
    num_steps = sequences.tokens.shape[1]
    action_values = trajectories.returns[:, None].expand(-1, num_steps).clone()
    steps = torch.arange(num_steps, device=sequences.tokens.device)
    unfinished = steps[None, :] < sequences.lengths[:, None] - 1
    rows, ends = unfinished.nonzero(as_tuple=True)
    if num_rollouts == 0 or len(rows) == 0:
        return action_values

    policy.eval()
    prefix_states = policy.encode(sequences)
    rewards = []
    repeated_rows = rows.repeat_interleave(num_rollouts)
    repeated_ends = ends.repeat_interleave(num_rollouts)
    for chunk_rows, chunk_ends in zip(
        repeated_rows.split(chunk_size), repeated_ends.split(chunk_size), strict=True
    ):
        lengths = chunk_ends + 1
        prefix = steps[None, :] < lengths[:, None]
        tokens = sequences.tokens[chunk_rows].masked_fill(~prefix, vocabulary.pad_id)
        logits, state = prefix_states.gather(chunk_rows, lengths)
        completed = complete(policy, vocabulary, tokens, lengths, logits, state, rng)
        # A reward may look at the row's prompt or at another of its columns.
        judged = sequences.select(chunk_rows).with_completions(completed)
        rewards.append(returns(reward_model, judged))
    # The completions of one prefix are neighbours, so this view only splits their axis.
    action_values[rows, ends] = torch.cat(rewards).view(len(rows), num_rollouts).mean(dim=1)
    return action_values
