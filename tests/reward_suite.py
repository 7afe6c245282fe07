"""Tests of the promises of every reward model, on five rows; one of them is an empty text.

A reward model is checked by a subclass of `RewardConformance` that overrides `make`.
"""

import numpy as np
import pytest
import torch

from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.rewards.adapters.environment import as_env_reward
from seqgan.rewards.base import RewardModel, returns
from seqgan.rewards.conformance import check_reward

VOCABULARY = Vocabulary(("a", "b", "c", "d"))  # eos 4, bos 5, pad 6
MAX_LENGTH = 5
ROWS = [[0, 1, 2, 3, 0], [4], [3, 3, 4], [2, 0, 1, 4], [0, 1, 2, 3, 1]]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def from_rows(rows, width=MAX_LENGTH):
    return Sequences.from_rows(rows, VOCABULARY, width)


class RewardConformance:
    """Tests the promises of every reward model. Subclasses override `make`."""

    def make(self):
        raise NotImplementedError

    @pytest.fixture
    def reward(self):
        return self.make()

    @pytest.fixture
    def sequences(self):
        return from_rows(ROWS)

    def test_keeps_its_promises(self, reward, sequences):
        assert isinstance(reward, RewardModel)
        check_reward(reward, sequences)

    def test_twice_exactly_the_same(self, reward, sequences):
        first, second = reward.score(sequences), reward.score(sequences)
        torch.testing.assert_close(first, second, rtol=0, atol=0, equal_nan=True)

    def test_environment_gets_the_same_rewards(self, reward, sequences):
        call = as_env_reward(reward, VOCABULARY)
        tokens, lengths = sequences.tokens.numpy(), sequences.lengths.numpy()
        values, parts = call(np.where(sequences.mask.numpy(), tokens, 0), lengths, None)
        expected = returns(reward, sequences)
        assert values.dtype == np.float64
        np.testing.assert_allclose(values, expected.nan_to_num(nan=0.0), rtol=1e-6)
        np.testing.assert_allclose(parts[reward.name], expected, rtol=1e-6)
