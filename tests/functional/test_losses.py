"""Losses by hand, and that padding, batch size and the place of a number do what they should."""

import math

import pytest
import torch
from toys import seeded

from seqgan.data.sequences import masked_mean
from seqgan.functional.losses import (
    minimax_discriminator_loss,
    minimax_generator_loss,
    negative_log_likelihood,
    offset_penalty,
    pairwise_discriminator_loss,
    to_floats,
    token_discriminator_loss,
    token_entropies,
    token_log_probs,
)
from seqgan.functional.policy_losses import reinforce

FULL = torch.tensor([[True, True, True], [True, True, True]])
RAGGED = torch.tensor([[True, True, True], [True, False, False]])
PADDING = -1e6  # a value that would show

# Probabilities of three words at each of 2 x 3 places; logits are their logs, shifted.
CHANCES = torch.tensor(
    [
        [[1 / 2, 1 / 4, 1 / 4], [1 / 8, 1 / 8, 3 / 4], [1 / 3, 1 / 3, 1 / 3]],
        [[1 / 10, 2 / 5, 1 / 2], [1.0, 1e-30, 1e-30], [1 / 4, 1 / 4, 1 / 2]],
    ]
)
LOGITS = CHANCES.log() + torch.tensor([[1.0, -2.0, 3.0], [0.5, 7.0, -4.0]])[:, :, None]
TOKENS = torch.tensor([[0, 2, 1], [1, 0, 0]])
CHOSEN = [[1 / 2, 3 / 4, 1 / 3], [2 / 5, 1.0, 1 / 4]]


def assert_rows(actual, expected):
    torch.testing.assert_close(actual, torch.tensor(expected), rtol=1e-5, atol=1e-6)


class TestMaskedMean:
    VALUES = torch.tensor([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0]])

    def test_full(self):
        assert float(masked_mean(self.VALUES, FULL)) == 63 / 6

    def test_divides_by_the_real_tokens(self):
        """(1 + 2 + 4 + 8) / 4; the mean over all places would be 15 / 6."""
        assert float(masked_mean(self.VALUES, RAGGED)) == 15 / 4

    def test_one_axis(self):
        mask = torch.tensor([True, False, True])
        assert float(masked_mean(torch.tensor([1.0, 9.0, 4.0]), mask)) == 2.5

    def test_nan_on_padding_is_not_seen(self):
        values = torch.where(RAGGED, self.VALUES, math.nan)
        assert float(masked_mean(values, RAGGED)) == 15 / 4

    def test_nothing_real(self):
        assert float(masked_mean(self.VALUES, torch.zeros_like(FULL))) == 0

    def test_of_yes_and_no(self):
        assert float(masked_mean(RAGGED, FULL)) == pytest.approx(4 / 6)


class TestTokens:
    def test_log_probs_by_hand(self):
        expected = [[math.log(chance) for chance in row] for row in CHOSEN]
        assert_rows(token_log_probs(LOGITS, TOKENS, FULL), expected)

    def test_log_probs_of_padding_are_zero_whatever_its_ids(self):
        tokens = torch.tensor([[0, 2, 1], [1, 5, -3]])
        log_probs = token_log_probs(LOGITS, tokens, RAGGED)
        expected = [[math.log(chance) for chance in CHOSEN[0]], [math.log(2 / 5), 0.0, 0.0]]
        assert_rows(log_probs, expected)

    def test_entropies_by_hand(self):
        """In halvings: (1/2, 1/4, 1/4) has 1.5 bits, and a certain word none."""
        uneven = 2 / 8 * math.log(8) + 3 / 4 * math.log(4 / 3)
        tenths = 0.1 * math.log(10) + 0.4 * math.log(2.5) + 0.5 * math.log(2)
        expected = [
            [1.5 * math.log(2), uneven, math.log(3)],
            [tenths, 0.0, 1.5 * math.log(2)],
        ]
        assert_rows(token_entropies(LOGITS, FULL), expected)
        expected[1][1:] = [0.0, 0.0]
        assert_rows(token_entropies(LOGITS, RAGGED), expected)

    def test_entropy_is_highest_where_all_words_are_equal(self):
        logits = torch.zeros(1, 1, 7)
        entropy = token_entropies(logits, torch.ones(1, 1, dtype=torch.bool))
        assert float(entropy) == pytest.approx(math.log(7))


class TestNegativeLogLikelihood:
    def test_full(self):
        """The product of the chosen chances is 1/2 3/4 1/3 2/5 1 1/4 = 1 / 80."""
        loss = negative_log_likelihood(token_log_probs(LOGITS, TOKENS, FULL), FULL)
        assert float(loss) == pytest.approx(math.log(80) / 6, rel=1e-5)

    def test_padding(self):
        """Without the last two it is 1/2 3/4 1/3 2/5 = 1 / 20, over four tokens."""
        loss = negative_log_likelihood(token_log_probs(LOGITS, TOKENS, RAGGED), RAGGED)
        assert float(loss) == pytest.approx(math.log(20) / 4, rel=1e-5)

    def test_gradient_is_chance_minus_one_hot_over_the_tokens(self):
        logits = LOGITS.clone().requires_grad_()
        negative_log_likelihood(token_log_probs(logits, TOKENS, RAGGED), RAGGED).backward()
        expected = CHANCES - torch.nn.functional.one_hot(TOKENS, 3)
        torch.testing.assert_close(logits.grad, expected * RAGGED[:, :, None] / 4)


def shared_losses(logits, tokens, advantages, mask):
    """Every loss over tokens, and its gradient with respect to the logits."""
    logits = logits.clone().requires_grad_()
    log_probs = token_log_probs(logits, tokens, mask)
    losses = [
        negative_log_likelihood(log_probs, mask),
        masked_mean(reinforce(log_probs, log_probs.detach(), advantages, mask)[0], mask),
        masked_mean(token_entropies(logits, mask), mask),
    ]
    return [
        (float(loss.detach()), torch.autograd.grad(loss, logits, retain_graph=True)[0])
        for loss in losses
    ]


class TestInvariants:
    LOGITS = torch.randn((5, 4, 6), generator=seeded(), dtype=torch.double)
    TOKENS = torch.randint(6, (5, 4), generator=seeded())
    ADVANTAGES = torch.randn((5, 4), generator=seeded(1), dtype=torch.double)
    MASK = torch.arange(4)[None, :] < torch.tensor([4, 1, 3, 4, 2])[:, None]

    def test_what_stands_on_padding_never_matters(self):
        plain = shared_losses(self.LOGITS, self.TOKENS, self.ADVANTAGES, self.MASK)
        other = shared_losses(
            torch.where(self.MASK[:, :, None], self.LOGITS, 55.0),
            torch.where(self.MASK, self.TOKENS, 999),
            torch.where(self.MASK, self.ADVANTAGES, PADDING),
            self.MASK,
        )
        for (loss, gradient), (other_loss, other_gradient) in zip(plain, other, strict=True):
            assert loss == other_loss
            assert torch.equal(gradient, other_gradient)
            assert not gradient[~self.MASK].any()
            assert gradient[self.MASK].any()

    def test_columns_of_padding_never_matter(self):
        def wider(values, fill):
            columns = torch.full((5, 3, *values.shape[2:]), fill, dtype=values.dtype)
            return torch.cat([values, columns], dim=1)

        plain = shared_losses(self.LOGITS, self.TOKENS, self.ADVANTAGES, self.MASK)
        wide = shared_losses(
            wider(self.LOGITS, 3.0),
            wider(self.TOKENS, 6),
            wider(self.ADVANTAGES, 8.0),
            wider(self.MASK, False),
        )
        for (loss, gradient), (wide_loss, wide_gradient) in zip(plain, wide, strict=True):
            assert wide_loss == pytest.approx(loss, rel=1e-12)
            torch.testing.assert_close(wide_gradient[:, :4], gradient)
            assert not wide_gradient[:, 4:].any()

    def test_the_same_rows_twice_give_the_same_loss(self):
        plain = shared_losses(self.LOGITS, self.TOKENS, self.ADVANTAGES, self.MASK)
        twice = shared_losses(
            *(
                torch.cat([values, values])
                for values in (self.LOGITS, self.TOKENS, self.ADVANTAGES, self.MASK)
            )
        )
        for (loss, gradient), (twice_loss, twice_gradient) in zip(plain, twice, strict=True):
            assert twice_loss == pytest.approx(loss, rel=1e-12)
            torch.testing.assert_close(twice_gradient[:5] + twice_gradient[5:], gradient)


class TestMinimax:
    def test_a_discriminator_that_knows_nothing_has_log_two(self):
        for num_real, num_generated in ((1, 1), (3, 8)):
            loss = minimax_discriminator_loss(torch.zeros(num_real), torch.zeros(num_generated))
            assert float(loss) == pytest.approx(math.log(2))
        assert float(minimax_generator_loss(torch.zeros(5))) == pytest.approx(-math.log(2))

    def test_by_hand(self):
        """D = 3/4, 1/2 on real rows and 1/5 on the generated one."""
        real = torch.tensor([math.log(3), 0.0])
        generated = torch.tensor([math.log(1 / 4)])
        expected = -0.5 * ((math.log(3 / 4) + math.log(1 / 2)) / 2 + math.log(4 / 5))
        assert float(minimax_discriminator_loss(real, generated)) == pytest.approx(expected)
        assert float(minimax_generator_loss(generated)) == pytest.approx(math.log(4 / 5))

    def test_both_sides_share_the_value_function(self):
        """V = E[log D] + E[log(1 - D)] is -2 times the one loss; the other is its second part."""
        real, generated = torch.tensor([1.0, -0.5, 2.0]), torch.tensor([0.3, -4.0])
        value = real.sigmoid().log().mean() + (1 - generated.sigmoid()).log().mean()
        torch.testing.assert_close(-2 * minimax_discriminator_loss(real, generated), value)
        second = value - real.sigmoid().log().mean()
        torch.testing.assert_close(minimax_generator_loss(generated), second)

    def test_the_two_sides_pull_apart(self):
        """The discriminator lowers generated logits, the generator raises them."""
        real = torch.zeros(2, requires_grad=True)
        generated = torch.zeros(2, requires_grad=True)
        minimax_discriminator_loss(real, generated).backward()
        assert real.grad.tolist() == [-0.125, -0.125]
        assert generated.grad.tolist() == [0.125, 0.125]
        (side,) = torch.autograd.grad(minimax_generator_loss(generated), generated)
        assert side.tolist() == [-0.25, -0.25]

    def test_certainty_does_not_overflow(self):
        real, generated = torch.tensor([-1e4]), torch.tensor([1e4])
        assert float(minimax_discriminator_loss(real, generated)) == pytest.approx(1e4)
        assert float(minimax_generator_loss(generated)) == pytest.approx(-1e4)
        assert float(minimax_discriminator_loss(generated, real)) == 0


def test_to_floats():
    tensor = torch.tensor(2.5, requires_grad=True)
    metrics = to_floats({"a": tensor * 2, "b": 3, "c": torch.tensor(1)})
    assert metrics == {"a": 5.0, "b": 3.0, "c": 1.0}
    assert all(type(value) is float for value in metrics.values())


class TestOtherDiscriminatorLosses:
    def test_smoothing_by_hand(self):
        """A tenth of the label of the real row, D = 3/4, is given away; none of the generated's."""
        real, generated = torch.tensor([math.log(3)]), torch.tensor([math.log(1 / 4)])
        known = 0.9 * math.log(3 / 4) + 0.1 * math.log(1 / 4)
        expected = -0.5 * (known + math.log(4 / 5))
        actual = minimax_discriminator_loss(real, generated, smoothing=0.1)
        assert float(actual) == pytest.approx(expected)

    def test_smoothed_labels_are_best_at_their_odds(self):
        """Where only real rows are, D = 1 - s."""
        logit = torch.tensor([math.log(0.9 / 0.1)], requires_grad=True)
        minimax_discriminator_loss(logit, torch.zeros(1), smoothing=0.1).backward()
        assert float(logit.grad) == pytest.approx(0, abs=1e-7)

    def test_pairwise_by_hand(self):
        """Odds of 3 and 1/2 that the real one is told."""
        real = torch.tensor([math.log(6), math.log(2)])
        generated = torch.tensor([math.log(2), math.log(4)])
        expected = -(math.log(3 / 4) + math.log(1 / 3)) / 2
        assert float(pairwise_discriminator_loss(real, generated)) == pytest.approx(expected)
        shifted = pairwise_discriminator_loss(real + 7, generated + 7)
        assert float(shifted) == pytest.approx(expected, abs=1e-6)

    def test_the_offset_is_where_the_means_have_their_middle(self):
        real, generated = torch.tensor([3.0, 5.0]), torch.tensor([-1.0, -1.0, -4.0])
        assert float(offset_penalty(real, generated)) == pytest.approx(1.0)
        assert float(offset_penalty(real - 1, generated - 1)) == 0

    def test_tokens_by_hand(self):
        """D = 3/4, 1/2 on the tokens of a real row, 1/5 on the one of a generated, 2/3 on
        another's; lengths 2, 1 and 1. Padding would show."""
        real = torch.tensor([[math.log(3), 0.0, PADDING]])
        generated = torch.tensor([math.log(1 / 4), math.log(2)])[:, None]
        generated = torch.nn.functional.pad(generated, (0, 2), value=PADDING)
        masks = torch.tensor([[True, True, False]]), generated != PADDING
        known = math.log(3 / 4) + math.log(1 / 2)
        fake = (math.log(4 / 5) + math.log(1 / 3)) / 2
        loss = token_discriminator_loss(real, masks[0], generated, masks[1])
        assert float(loss) == pytest.approx(-(known + fake) / (2 + 1))
        known = 0.9 * known + 0.1 * (math.log(1 / 4) + math.log(1 / 2))
        loss = token_discriminator_loss(real, masks[0], generated, masks[1], smoothing=0.1)
        assert float(loss) == pytest.approx(-(known + fake) / (2 + 1))

    def test_the_best_logit_of_a_prefix_is_its_log_ratio(self):
        """Of real rows a third is one token long, of generated ones a half: whatever the lengths,
        the best logit of the second token of "a b" is log of its two probabilities."""
        logit = torch.tensor(0.0, requires_grad=True)
        real, generated = torch.zeros(3, 2), torch.zeros(2, 2)
        real_mask = torch.tensor([[True, False], [True, True], [True, True]])
        generated_mask = torch.tensor([[True, False], [True, True]])
        best = math.log((2 / 3) / (1 / 2))
        for start, sign in ((best, 0), (best + 1, 1), (best - 1, -1)):
            logit = torch.tensor(start, requires_grad=True)
            real_logits = torch.stack([real[:, 0], logit.expand(3)], dim=1)
            generated_logits = torch.stack([generated[:, 0], logit.expand(2)], dim=1)
            token_discriminator_loss(
                real_logits, real_mask, generated_logits, generated_mask
            ).backward()
            found = float(logit.grad)
            assert found == pytest.approx(0, abs=1e-7) if sign == 0 else found * sign > 0.01
