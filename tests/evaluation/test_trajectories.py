"""A batch's lengths, and the share of its groups in which all texts earn the same; by hand."""

import math

import pytest
import torch
from toys import ENDING

from seqgan.data.sequences import Sequences, Trajectories
from seqgan.evaluation.game.trajectories import describe_trajectories, share_of_equal_returns

ROWS = [[0, 3], [1, 2, 3], [2, 3], [0, 1, 2, 0]]  # 2, 3, 2 and 4 tokens; the last has no eos


def prompted(prompts: list[list[int]]) -> Sequences:
    """The rows after prompts, left-padded, whose padding holds numbers that mean nothing."""
    width = max(map(len, prompts))
    padding = [[row + 7] * (width - len(prompt)) for row, prompt in enumerate(prompts)]
    ids = [left + prompt for left, prompt in zip(padding, prompts, strict=True)]
    mask = [[False] * len(left) + [True] * (width - len(left)) for left in padding]
    plain = Sequences.from_rows(ROWS, ENDING, 4)
    return Sequences(plain.tokens, plain.mask, torch.tensor(ids), torch.tensor(mask))


@pytest.mark.parametrize(
    ("returns", "prompts", "share"),
    [
        ([1.0, 1.0, 1.0, 1.0], None, 1.0),
        ([1.0, 1.0, 1.0, 0.5], None, 0.0),
        ([1.0, 1.0, 2.0, 3.0], [[0], [0], [1], [1]], 0.5),
        ([1.0, 2.0, 1.0, 2.0], [[0], [1], [0], [1]], 1.0),  # groups need not be neighbours
        ([1.0, 2.0, 1.0, 2.0], [[0], [1], [2], [0, 1]], 0.0),  # one each: the batch is the group
        ([1.0, 1.0, 2.0, 3.0], [[0], [0], [1], [2]], 1.0),  # a text alone is no group
        ([1.0, math.nan, 1.0, 2.0], [[0], [0], [1], [1]], 0.0),  # nor is one beside an unjudged one
        ([1.0, math.nan, 1.0, 1.0], None, 1.0),
    ],
)
def test_the_share_of_groups_whose_texts_all_earn_the_same(
    returns: list[float], prompts: list[list[int]] | None, share: float
) -> None:
    sequences = Sequences.from_rows(ROWS, ENDING, 4) if prompts is None else prompted(prompts)
    assert share_of_equal_returns(torch.tensor(returns), sequences) == share


def test_the_shortest_and_the_longest_text_of_a_batch() -> None:
    sequences = Sequences.from_rows(ROWS, ENDING, 4)
    zeros = torch.zeros(4, 4)
    rewards = torch.zeros(4, 4)
    rewards[:, 1] = torch.tensor([1.0, 2.0, 3.0, 4.0])
    trajectories = Trajectories(sequences, zeros, rewards, {"taste": rewards[:, 1]})
    found = describe_trajectories(trajectories, zeros, ENDING, ["taste"])
    assert (found["completions/min_length"], found["completions/max_length"]) == (2, 4)
    assert found["charts/episodic_length"] == 2.75
    assert found["completions/clipped_ratio"] == 0.25
    assert found["frac_reward_zero_std"] == 0.0
