"""What every reward model promises, on five rows of which one is an empty text.

A reward model is checked by a subclass of `RewardConformance` that overrides `make`.
"""

import numpy as np
import pytest
import torch

from seqgan.rewards.base import RewardModel, returns
from seqgan.rewards.environment import as_env_reward
from seqgan.sequences import Sequences
from seqgan.vocabulary import Vocabulary

VOCABULARY = Vocabulary(("a", "b", "c", "d"))  # eos 4, bos 5, pad 6
MAX_LENGTH = 5
ROWS = [[0, 1, 2, 3, 0], [4], [3, 3, 4], [2, 0, 1, 4], [0, 1, 2, 3, 1]]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def from_rows(rows, width=MAX_LENGTH):
    return Sequences.from_rows(rows, VOCABULARY, width)


class RewardConformance:
    """What every reward model promises. Subclasses override `make`."""

    def make(self):
        raise NotImplementedError

    @pytest.fixture
    def reward(self):
        return self.make()

    @pytest.fixture
    def sequences(self):
        return from_rows(ROWS)

    def test_is_a_reward_model(self, reward):
        assert isinstance(reward, RewardModel)
        assert isinstance(reward.name, str)
        assert isinstance(reward.per_token, bool)

    def test_shape_is_the_declared_one(self, reward, sequences):
        scores = reward.score(sequences)
        assert scores.shape == ((5, 5) if reward.per_token else (5,))
        assert not torch.isinf(scores).any()
        if reward.per_token:
            assert torch.all(scores[~sequences.mask] == 0)

    def test_rows_are_independent(self, reward, sequences):
        rows = torch.tensor([4, 2, 2, 0])
        expected = returns(reward, sequences)
        torch.testing.assert_close(
            returns(reward, sequences.select(rows)), expected[rows], equal_nan=True
        )
        for row in range(5):
            alone = returns(reward, sequences.select(torch.tensor([row])))
            torch.testing.assert_close(alone, expected[row : row + 1], equal_nan=True)

    def test_width_of_the_padding_never_matters(self, reward, sequences):
        expected = returns(reward, sequences)
        torch.testing.assert_close(
            returns(reward, from_rows(ROWS, width=8)), expected, equal_nan=True
        )
        short = returns(reward, from_rows([ROWS[1], ROWS[2]], width=3))
        torch.testing.assert_close(short, expected[1:3], equal_nan=True)

    def test_scores_twice_the_same(self, reward, sequences):
        first, second = reward.score(sequences), reward.score(sequences)
        torch.testing.assert_close(first, second, rtol=0, atol=0, equal_nan=True)

    def test_inputs_are_left_alone(self, reward, sequences):
        tokens, mask = sequences.tokens.clone(), sequences.mask.clone()
        scores = reward.score(sequences)
        before = scores.clone()
        scores.add_(1)
        torch.testing.assert_close(reward.score(sequences), before, equal_nan=True)
        assert torch.equal(sequences.tokens, tokens)
        assert torch.equal(sequences.mask, mask)

    def test_environment_gets_the_same_rewards(self, reward, sequences):
        call = as_env_reward(reward, VOCABULARY)
        tokens, lengths = sequences.tokens.numpy(), sequences.lengths.numpy()
        values = call(np.where(sequences.mask.numpy(), tokens, 0), lengths, None)
        assert values.dtype == np.float64
        np.testing.assert_allclose(
            values, returns(reward, sequences).nan_to_num(nan=0.0), rtol=1e-6
        )
