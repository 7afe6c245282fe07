"""GAE against stable-baselines3's buffer, a critic's loss against CleanRL's and SB3's."""

import numpy as np
import pytest
import torch
from torch.nn.functional import mse_loss
from toys import seeded

from seqgan.functional.advantages import to_go
from seqgan.functional.values import generalized_advantages, value_loss

MASK = torch.arange(5)[None, :] < torch.tensor([5, 1, 3, 4])[:, None]


def numbers(seed):
    return torch.randn((4, 5), generator=seeded(seed))


class TestGeneralizedAdvantages:
    def test_by_hand(self):
        """discount 1/2, lambda 1/2; a row of two tokens: deltas 1 + 4 - 2 = 3 and 16 - 8 = 8."""
        rewards = torch.tensor([[1.0, 16.0, 1e6]])
        values = torch.tensor([[2.0, 8.0, 1e6]])
        mask = torch.tensor([[True, True, False]])
        found = generalized_advantages(rewards, values, mask, 0.5, 0.5)
        assert found.tolist() == [[3 + 8 / 4, 8.0, 0.0]]

    @pytest.mark.parametrize(("discount", "gae_lambda"), [(1.0, 0.95), (0.9, 0.5)])
    def test_is_that_of_stable_baselines3(self, discount, gae_lambda):
        """Rows of its buffer begin with each text, and each is done at its end."""
        buffers = pytest.importorskip("stable_baselines3.common.buffers")
        from gymnasium.spaces import Box, Discrete

        rewards, values = numbers(0), numbers(1)
        found = generalized_advantages(rewards, values, MASK, discount, gae_lambda)
        for row, length in enumerate(MASK.sum(dim=1).tolist()):
            buffer = buffers.RolloutBuffer(
                length, Box(-1, 1, (1,)), Discrete(2), "cpu", gae_lambda, discount
            )
            for step in range(length):
                buffer.add(
                    np.zeros((1, 1)),
                    np.zeros((1, 1)),
                    rewards[row, step : step + 1].numpy(),
                    np.array([step == 0]),
                    values[row, step].view(1, 1),
                    torch.zeros(1),
                )
            buffer.compute_returns_and_advantage(torch.tensor([9.0]), np.array([True]))
            expected = torch.from_numpy(buffer.advantages[:, 0])
            torch.testing.assert_close(found[row, :length], expected)
            returns = torch.from_numpy(buffer.returns[:, 0])
            torch.testing.assert_close((found + values)[row, :length], returns)
            assert not found[row, length:].any()

    def test_lambda_one_is_the_reward_to_go_minus_the_value(self):
        rewards, values = numbers(0), numbers(1)
        found = generalized_advantages(rewards, values, MASK, gae_lambda=1.0)
        torch.testing.assert_close(found, torch.where(MASK, to_go(rewards, MASK) - values, 0.0))

    def test_what_stands_on_padding_never_matters(self):
        rewards, values = numbers(0), numbers(1)
        expected = generalized_advantages(rewards, values, MASK)
        dirty = [torch.where(MASK, given, torch.nan) for given in (rewards, values)]
        assert torch.equal(generalized_advantages(*dirty, MASK), expected)


class TestValueLoss:
    def test_is_that_of_cleanrl(self):
        """Its ppo.py with `clip_vloss`, lines under "Value loss"."""
        new, old, returns = numbers(0), numbers(1), numbers(2)
        whole = torch.ones_like(MASK)
        unclipped = (new - returns) ** 2
        clipped = old + torch.clamp(new - old, -0.2, 0.2)
        expected = 0.5 * torch.max(unclipped, (clipped - returns) ** 2).mean()
        torch.testing.assert_close(value_loss(new, old, returns, whole, 0.2), expected)
        assert not torch.allclose(value_loss(new, old, returns, whole), expected)

    def test_without_a_clip_it_is_half_that_of_stable_baselines3(self):
        """SB3 2.9.2, ppo.py line 247: mse_loss(returns, values)."""
        new, old, returns = numbers(0), numbers(1), numbers(2)
        expected = mse_loss(returns[MASK], new[MASK]) / 2
        torch.testing.assert_close(value_loss(new, old, returns, MASK), expected)

    def test_every_value_has_its_own_error_and_padding_none(self):
        values = torch.tensor(
            [[100.0 * row + step for step in range(5)] for row in range(4)], requires_grad=True
        )
        value_loss(values, values.detach(), torch.zeros(4, 5), MASK).backward()
        expected = torch.where(MASK, values.detach() / MASK.sum(), 0.0)
        torch.testing.assert_close(values.grad, expected)

    def test_a_value_past_the_clip_has_no_gradient_if_it_moved_towards_its_target(self):
        values = torch.tensor([[1.0, -1.0]], requires_grad=True)
        targets = torch.tensor([[5.0, 5.0]])
        value_loss(values, torch.zeros(1, 2), targets, torch.ones(1, 2).bool(), 0.5).backward()
        assert values.grad.tolist() == [[0.0, -3.0]]
