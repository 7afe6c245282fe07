"""DPO and IPO by hand, and against the formulas of TRL."""

import math

import pytest
import torch
from torch.nn import functional
from toys import seeded

from seqgan.functional.preference_losses import dpo, ipo


def pairs(seed=0):
    """(chosen, rejected) log-ratios of six pairs."""
    return torch.randn((2, 6), generator=seeded(seed)).unbind()


class TestDPO:
    def test_by_hand(self):
        """beta 1/2 and differences 2 log 3, -2 log 3: chances 3/4 and 1/4."""
        chosen = torch.tensor([math.log(3), 0.0])
        rejected = torch.tensor([-math.log(3), 2 * math.log(3)])
        expected = torch.tensor([-math.log(3 / 4), -math.log(1 / 4)])
        torch.testing.assert_close(dpo(chosen, rejected, 0.5), expected)

    def test_is_that_of_trl(self):
        """TRL 1.16.0, dpo_trainer.py, `sigmoid` and `robust` aside: -logsigmoid(beta delta)."""
        chosen, rejected = pairs()
        expected = -functional.logsigmoid(0.3 * (chosen - rejected))
        torch.testing.assert_close(dpo(chosen, rejected, 0.3), expected)

    def test_smoothing_is_the_loss_of_the_turned_pair_that_often(self):
        chosen, rejected = pairs()
        expected = 0.9 * dpo(chosen, rejected) + 0.1 * dpo(rejected, chosen)
        torch.testing.assert_close(dpo(chosen, rejected, smoothing=0.1), expected)

    def test_its_gradient_raises_chosen_and_lowers_rejected_texts(self):
        """beta sigmoid(-margin), larger where the pair is judged wrongly."""
        chosen, rejected = (part.requires_grad_() for part in pairs())
        dpo(chosen, rejected, 0.3).sum().backward()
        expected = 0.3 * torch.sigmoid(-0.3 * (chosen - rejected)).detach()
        torch.testing.assert_close(chosen.grad, -expected)
        torch.testing.assert_close(rejected.grad, expected)


class TestIPO:
    def test_by_hand(self):
        """(6 / 3 - 4 / 2 - 1) squared and (6 / 1 - 4 / 4 - 1) squared, with beta 1/2."""
        given = torch.tensor([6.0, 6.0]), torch.tensor([4.0, 4.0])
        lengths = torch.tensor([3, 1]), torch.tensor([2, 4])
        assert ipo(*given, *lengths, 0.5).tolist() == [1.0, 16.0]

    def test_is_that_of_trl(self):
        """TRL 1.16.0, dpo_trainer.py, loss_type `ipo`, lines 1393 to 1405."""
        chosen, rejected = pairs()
        masks = (torch.arange(5) < torch.tensor([[1], [2], [3], [4], [5], [5]]) for _ in range(2))
        chosen_mask, rejected_mask = (mask.flip(0) if i else mask for i, mask in enumerate(masks))
        chosen_avg_score = chosen / chosen_mask.sum(dim=1).clamp(min=1.0)
        rejected_avg_score = rejected / rejected_mask.sum(dim=1).clamp(min=1.0)
        expected = (chosen_avg_score - rejected_avg_score - 1 / (2 * 0.2)) ** 2
        lengths = chosen_mask.sum(dim=1), rejected_mask.sum(dim=1)
        torch.testing.assert_close(ipo(chosen, rejected, *lengths, 0.2), expected)

    @pytest.mark.parametrize("beta", [0.1, 2.0])
    def test_its_optimum_is_a_margin_and_not_infinity(self, beta):
        margin = torch.tensor([1 / (2 * beta)], requires_grad=True)
        one = torch.ones(1, dtype=torch.long)
        loss = ipo(margin, torch.zeros(1), one, one, beta)
        loss.sum().backward()
        assert float(loss.detach()) == float(margin.grad) == 0
