"""Policy-gradient losses by hand, and against the formulas of TRL, SB3 and CleanRL."""

import math

import pytest
import torch
from torch.autograd import grad
from toys import seeded

from seqgan.data.sequences import masked_mean
from seqgan.functional.policy_losses import (
    cispo,
    gspo,
    make_policy_loss,
    ppo,
    ratio_metrics,
    reinforce,
)
from seqgan.functional.reductions import reduced

FULL = torch.tensor([[True, True, True], [True, True, True]])
RAGGED = torch.tensor([[True, True, True], [True, False, False]])
PADDING = -1e6  # a value that would show


def world(seed=0, rows=5, steps=4):
    """(log_probs, old_log_probs, advantages, mask): all places differ, ratios from .4 to 2.5."""
    rng = seeded(seed)
    old = -torch.rand((rows, steps), generator=rng, dtype=torch.double) - 0.1
    log_probs = old + 0.9 * (2 * torch.rand((rows, steps), generator=rng, dtype=torch.double) - 1)
    advantages = torch.randn((rows, steps), generator=rng, dtype=torch.double)
    lengths = torch.tensor([4, 1, 3, 4, 2])[:rows]
    mask = torch.arange(steps)[None, :] < lengths[:, None]
    return log_probs, old, advantages, mask


def loss_and_gradient(loss, log_probs, *rest, reduction="mean"):
    log_probs = log_probs.clone().requires_grad_()
    losses, metrics = loss(log_probs, *rest)
    value = reduced(losses, rest[-1], reduction)
    return float(value.detach()), grad(value, log_probs)[0], metrics


def trl_loss(kind, log_probs, old, advantages, mask, low, high, sequences=False):
    """TRL 1.16.0, GRPOTrainer._compute_loss (trl/trainer/grpo_trainer.py, lines 3083 to 3184).

    Advantages are those of sequences, (batch, 1), as there. Of the reductions, `grpo` is the mean
    of sequences' means, `dr_grpo` has a constant length, all others are over tokens.
    """
    log_ratio = log_probs - old
    weights = log_ratio
    if sequences:
        weights = ((log_ratio * mask).sum(-1) / mask.sum(-1).clamp(min=1.0)).unsqueeze(-1)
    coef_1 = torch.exp(weights)
    if kind == "cispo":
        clamped = torch.clamp(coef_1, max=high).detach()
        per_token = -clamped * advantages * log_probs
    else:
        coef_2 = torch.clamp(coef_1, 1 - low, 1 + high)
        per_token = -torch.min(coef_1 * advantages, coef_2 * advantages)
    if kind == "grpo":
        return ((per_token * mask).sum(-1) / mask.sum(-1).clamp(min=1.0)).mean()
    if kind == "dr_grpo":
        return (per_token * mask).sum() / (per_token.size(0) * mask.shape[1])
    return (per_token * mask).sum() / mask.sum().clamp(min=1.0)


class TestReinforce:
    LOG_PROBS = torch.tensor([[-1.0, -2.0, -0.5], [-3.0, -1.5, -0.25]])
    ADVANTAGES = torch.tensor([[2.0, -1.0, 4.0], [0.5, 2.0, -8.0]])

    def loss(self, log_probs, advantages, mask):
        return masked_mean(reinforce(log_probs, log_probs.detach(), advantages, mask)[0], mask)

    def test_full(self):
        """Products -2, 2, -2, -1.5, -3, 2 sum to -4.5."""
        assert float(self.loss(self.LOG_PROBS, self.ADVANTAGES, FULL)) == pytest.approx(4.5 / 6)

    def test_padding(self):
        """Products -2, 2, -2, -1.5 over four tokens."""
        advantages = torch.where(RAGGED, self.ADVANTAGES, PADDING)
        assert float(self.loss(self.LOG_PROBS, advantages, RAGGED)) == pytest.approx(3.5 / 4)

    def test_every_advantage_weighs_its_own_token(self):
        """Advantages 100 row + position come back as the gradient of that row and position."""
        advantages = torch.tensor([[100.0 * row + step for step in range(3)] for row in range(4)])
        log_probs = torch.zeros(4, 3, requires_grad=True)
        mask = torch.ones(4, 3, dtype=torch.bool)
        self.loss(log_probs, advantages, mask).backward()
        torch.testing.assert_close(log_probs.grad, -advantages / 12)

    def test_no_gradient_reaches_the_advantages_or_padding(self):
        log_probs = self.LOG_PROBS.clone().requires_grad_()
        advantages = self.ADVANTAGES.clone().requires_grad_()
        self.loss(log_probs, advantages, RAGGED).backward()
        assert advantages.grad is None
        assert not log_probs.grad[~RAGGED].any()

    def test_old_log_probs_do_not_matter(self):
        first, metrics = reinforce(self.LOG_PROBS, self.LOG_PROBS, self.ADVANTAGES, FULL)
        second, _ = reinforce(self.LOG_PROBS, self.LOG_PROBS - 9, self.ADVANTAGES, FULL)
        assert torch.equal(first, second)
        assert metrics == {}


class TestPPO:
    def test_by_hand_on_each_side_of_both_bounds(self):
        """Bounds .9 and 1.5. Ratios 2, .5, 1.2 with advantages of both signs: the minimum keeps
        the clip where it makes the loss worse."""
        ratio = torch.tensor([[2.0, 0.5, 1.2], [2.0, 0.5, 0.95]])
        advantages = torch.tensor([[3.0, 3.0, 3.0], [-7.0, -7.0, -7.0]])
        losses, metrics = ppo(ratio.log(), torch.zeros(2, 3), advantages, FULL, 0.1, 0.5)
        expected = -torch.tensor([[1.5 * 3, 0.5 * 3, 1.2 * 3], [-2 * 7, -0.9 * 7, -0.95 * 7]])
        torch.testing.assert_close(losses, expected)
        assert float(metrics["losses/clipfrac"]) == pytest.approx(4 / 6)

    def test_a_token_beyond_the_bound_of_its_advantage_has_no_gradient(self):
        log_ratio = torch.tensor([[2.0, 0.5, 1.2], [2.0, 0.5, 0.95]]).log()
        advantages = torch.tensor([[3.0, 3.0, 3.0], [-7.0, -7.0, -7.0]])
        _, gradient, _ = loss_and_gradient(
            lambda *given: ppo(*given, 0.1, 0.5), log_ratio, torch.zeros(2, 3), advantages, FULL
        )
        expected = -torch.tensor([[0.0, 0.5 * 3, 1.2 * 3], [-2 * 7.0, 0.0, -0.95 * 7]]) / 6
        torch.testing.assert_close(gradient, expected)

    def test_equal_bounds_are_those_of_sb3_and_cleanrl(self):
        """SB3 2.9.2, ppo.py lines 221 to 232; CleanRL's ppo.py has the same with a maximum."""
        log_probs, old, advantages, _ = world()
        mask = torch.ones_like(log_probs, dtype=torch.bool)
        ratio = torch.exp(log_probs - old)
        one, two = advantages * ratio, advantages * torch.clamp(ratio, 1 - 0.2, 1 + 0.2)
        sb3 = -torch.min(one, two).mean()
        clip_fraction = torch.mean((torch.abs(ratio - 1) > 0.2).float())
        cleanrl = torch.max(
            -advantages * ratio, -advantages * torch.clamp(ratio, 1 - 0.2, 1 + 0.2)
        ).mean()
        value, _, metrics = loss_and_gradient(ppo, log_probs, old, advantages, mask)
        assert value == pytest.approx(float(sb3), rel=1e-12)
        assert value == pytest.approx(float(cleanrl), rel=1e-12)
        assert float(metrics["losses/clipfrac"]) == pytest.approx(float(clip_fraction))


class TestAgainstTRL:
    """Sequence advantages, since TRL has no others: value and gradient, with padding."""

    @pytest.mark.parametrize(
        ("ours", "reduction", "theirs", "of_sequences"),
        [
            ("ppo", "sequences", "grpo", False),
            ("ppo", "mean", "dapo", False),
            ("ppo", "constant", "dr_grpo", False),
            ("gspo", "sequences", "grpo", True),
        ],
    )
    def test_clipped(self, ours, reduction, theirs, of_sequences):
        log_probs, old, advantages, mask = world(seed=1)
        low, high = (0.05, 0.08) if ours == "gspo" else (0.2, 0.28)
        advantages = advantages[:, :1]
        value, gradient, _ = loss_and_gradient(
            make_policy_loss(ours, low, high),
            log_probs,
            old,
            advantages.expand_as(mask),
            mask,
            reduction=reduction,
        )
        log_probs = log_probs.requires_grad_()
        expected = trl_loss(theirs, log_probs, old, advantages, mask, low, high, of_sequences)
        assert value == pytest.approx(float(expected.detach()), rel=1e-12)
        torch.testing.assert_close(gradient, grad(expected, log_probs)[0])
        assert gradient.count_nonzero() < mask.sum()  # some are clipped

    def test_cispo_whose_bound_is_the_ratio_there(self):
        """TRL's epsilon_high 1.5 is `clip_high` .5, without a lower bound."""
        log_probs, old, advantages, mask = world()
        advantages = advantages[:, :1]
        value, gradient, metrics = loss_and_gradient(
            make_policy_loss("cispo", 1.0, 0.5), log_probs, old, advantages.expand_as(mask), mask
        )
        log_probs = log_probs.requires_grad_()
        expected = trl_loss("cispo", log_probs, old, advantages, mask, 0.0, 1.5)
        assert value == pytest.approx(float(expected.detach()), rel=1e-12)
        torch.testing.assert_close(gradient, grad(expected, log_probs)[0])
        assert torch.equal(gradient != 0, mask)  # none is dropped
        above = (log_probs - old).exp() > 1.5
        assert float(metrics["losses/clipfrac"]) == pytest.approx(float(masked_mean(above, mask)))


class TestGSPO:
    def test_by_hand(self):
        """Ratios 1, 2, 4 have the geometric mean 2, clipped to 1.5; the other row has 3 alone."""
        ratio = torch.tensor([[1.0, 2.0, 4.0], [3.0, 9.0, 9.0]])
        advantages = torch.tensor([[1.0, 10.0, -100.0], [-5.0, PADDING, PADDING]])
        losses, metrics = gspo(ratio.log(), torch.zeros(2, 3), advantages, RAGGED, 0.5, 0.5)
        torch.testing.assert_close(losses[0], torch.tensor([-1.5, -15.0, 200.0]))
        assert float(losses[1, 0]) == pytest.approx(15)
        assert float(metrics["losses/clipfrac"]) == 1

    def test_every_advantage_weighs_its_own_token(self):
        """By the ratio of its sequence: 2 of the first, 1/2 of the second."""
        log_ratio = torch.tensor([[0.0, 1.0, 2.0], [-1.0, -2.0, 0.0]]) * math.log(2)
        advantages = torch.tensor([[100.0 * row + step for step in range(3)] for row in (1, 2)])
        _, gradient, _ = loss_and_gradient(
            make_policy_loss("gspo", 9.0, 9.0), log_ratio, torch.zeros(2, 3), advantages, FULL
        )
        torch.testing.assert_close(gradient, -advantages * torch.tensor([[2.0], [0.5]]) / 6)


class TestCISPO:
    def test_by_hand(self):
        """Weights .5 (the lower bound), 2, 3 (the upper one) of log-probabilities -1, -2, -3."""
        log_probs = torch.tensor([[-1.0, -2.0, -3.0]])
        old = log_probs - torch.tensor([[0.25, 2.0, 8.0]]).log()
        advantages = torch.tensor([[1.0, 10.0, -100.0]])
        value, gradient, metrics = loss_and_gradient(
            make_policy_loss("cispo", 0.5, 2.0), log_probs, old, advantages, FULL[:1]
        )
        assert value == pytest.approx((0.5 * 1 + 2 * 20 - 3 * 300) / 3)
        torch.testing.assert_close(gradient, torch.tensor([[-0.5, -20.0, 300.0]]) / 3)
        assert float(metrics["losses/clipfrac"]) == pytest.approx(2 / 3)


@pytest.mark.parametrize("loss", [reinforce, ppo, gspo, cispo])
class TestAll:
    def test_at_the_first_step_all_have_the_gradient_of_reinforce(self, loss):
        log_probs, _, advantages, mask = world()
        given = (log_probs, log_probs, advantages, mask)
        _, gradient, metrics = loss_and_gradient(loss, *given)
        torch.testing.assert_close(gradient, loss_and_gradient(reinforce, *given)[1])
        assert metrics.get("losses/clipfrac", 0) == 0

    def test_what_stands_on_padding_never_matters(self, loss):
        log_probs, old, advantages, mask = world()
        value, gradient, metrics = loss_and_gradient(loss, log_probs, old, advantages, mask)
        other, other_gradient, other_metrics = loss_and_gradient(
            loss,
            torch.where(mask, log_probs, -50.0),
            torch.where(mask, old, 7.0),
            torch.where(mask, advantages, PADDING),
            mask,
        )
        assert other == value
        assert torch.equal(other_gradient, gradient)
        assert not gradient[~mask].any()
        assert other_metrics == metrics

    def test_no_gradient_reaches_the_advantages_or_the_old_policy(self, loss):
        log_probs, *others, mask = world()
        others = [other.requires_grad_() for other in others]
        reduced(loss(log_probs.requires_grad_(), *others, mask)[0], mask, "mean").backward()
        assert all(other.grad is None for other in others)


class TestRatioMetrics:
    def test_sb3s_estimate(self):
        """SB3 2.9.2, ppo.py line 261: mean((exp(log_ratio) - 1) - log_ratio)."""
        log_probs, old, _, mask = world()
        log_ratio = (log_probs - old)[mask]
        metrics = ratio_metrics(log_probs, old, mask)
        expected = torch.mean((torch.exp(log_ratio) - 1) - log_ratio)
        torch.testing.assert_close(metrics["losses/approx_kl"], expected)
        torch.testing.assert_close(metrics["losses/ratio"], log_ratio.exp().mean())

    def test_of_the_same_policy_exactly(self):
        log_probs, _, _, mask = world()
        metrics = ratio_metrics(log_probs, log_probs.clone(), mask)
        assert {name: float(value) for name, value in metrics.items()} == {
            "losses/approx_kl": 0.0,
            "losses/ratio": 1.0,
        }
