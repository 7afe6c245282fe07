"""Rescaled action values: by hand, against pairwise counts, and against TRL's formulas."""

import math

import numpy as np
import pytest
import torch

from seqgan.functional.rescaling import (
    bootstrapped_rank,
    maligan,
    normalize_then_sum,
    rank,
    weighted_sum,
)

NAN = math.nan
TRANSFORMS = [rank, bootstrapped_rank, maligan]

# Rows of 3, 2, 3 and 1 tokens. The reward does not apply to the third row's second token.
VALUES = torch.tensor([[0.0, 2.0, 5.0], [1.0, 7.0, 90.0], [1.0, NAN, 4.0], [-3.0, 91.0, 92.0]])
MASK = torch.tensor(
    [[True, True, True], [True, True, False], [True, True, True], [True, False, False]]
)


def same(actual, expected, **tolerances):
    expected = torch.as_tensor(expected, dtype=actual.dtype)
    torch.testing.assert_close(actual, expected, equal_nan=True, **tolerances)


def random_batch(seed, batch=9, time=6, num_levels=4):
    """Values with ties and with NaN, rows of any length."""
    rng = np.random.default_rng(seed)
    values = rng.integers(num_levels, size=(batch, time)).astype(np.float32)
    values[rng.random((batch, time)) < 0.2] = NAN
    mask = np.arange(time) < rng.integers(1, time + 1, size=batch)[:, None]
    return torch.tensor(values), torch.tensor(mask)


def test_rank_by_hand():
    # Step 0: 0 beats -3; the two of 1 beat two rows and tie. Step 1: of two rows, one beats the
    # other. Step 2: likewise. Ended rows keep what they had.
    expected = [[1 / 3, 0.0, 1.0], [2.5 / 3, 1.0, 1.0], [2.5 / 3, NAN, 0.0], [0.0, 0.0, 0.0]]
    same(rank(VALUES, MASK), expected)


def test_bootstrapped_rank_by_hand():
    """Ranks from the best: step 0 has 3, 1.5, 1.5 and 4 of four rows."""
    places = torch.tensor(
        [[3 / 4, 2 / 2, 1 / 2], [1.5 / 4, 1 / 2, 1 / 2], [1.5 / 4, NAN, 2 / 2], [1.0, 1.0, 1.0]]
    )
    same(bootstrapped_rank(VALUES, MASK), torch.sigmoid(12 * (0.5 - places)))
    same(bootstrapped_rank(VALUES, MASK, delta=2.0), torch.sigmoid(2 * (0.5 - places)))


@pytest.mark.parametrize("seed", range(20))
def test_ranks_are_pairwise_counts(seed):
    values, mask = random_batch(seed)
    shares, boosted = rank(values, mask), bootstrapped_rank(values, mask)
    for row, step in mask.nonzero().tolist():
        value = float(values[row, step])
        if math.isnan(value):
            assert math.isnan(shares[row, step])
            assert math.isnan(boosted[row, step])
            continue
        others = [
            float(values[other, step])
            for other in range(len(values))
            if other != row and mask[other, step] and not math.isnan(values[other, step])
        ]
        wins = sum((value > other) + 0.5 * (value == other) for other in others)
        share = wins / len(others) if others else 0.5
        assert float(shares[row, step]) == pytest.approx(share)
        place = 1 + len(others) - wins
        expected = 1 / (1 + math.exp(-12 * (0.5 - place / (len(others) + 1))))
        assert float(boosted[row, step]) == pytest.approx(expected, rel=1e-5)


def test_leakgan_does_not_depend_on_the_order_of_the_batch():
    """The released code gives row i the value of rank i, whatever its reward is."""
    values, mask = torch.tensor([[0.1], [0.9], [0.5], [0.7]]), torch.ones(4, 1).bool()
    scores = bootstrapped_rank(values, mask)[:, 0]
    assert scores.argsort().tolist() == [0, 2, 3, 1]
    order = torch.tensor([2, 0, 3, 1])
    same(bootstrapped_rank(values[order], mask)[:, 0], scores[order])


def test_leakgan_constant_mean():
    """Without ties the mean over the batch is that of sigmoid(delta (1/2 - i/B)), i = 1..B."""
    values, mask = torch.randn(64, 1, generator=torch.Generator().manual_seed(0)), torch.ones(64, 1)
    expected = np.mean(1 / (1 + np.exp(-12 * (0.5 - np.arange(1, 65) / 64))))
    assert float(bootstrapped_rank(values, mask.bool()).mean()) == pytest.approx(expected, rel=1e-5)


def test_maligan_by_hand():
    """D of 1/2, 3/4 and 1/4: r of 1, 3 and 1/3. Normalising D itself would give other weights."""
    probabilities = torch.tensor([[0.5], [0.75], [0.25]])
    ratios = probabilities / (1 - probabilities)
    expected = 3 * ratios / ratios.sum()
    mask = torch.ones(3, 1).bool()
    same(maligan(ratios.log(), mask), expected)
    same(expected, [[9 / 13], [27 / 13], [3 / 13]])
    roots = ratios.sqrt()
    same(maligan(ratios.log(), mask, temper=0.5), 3 * roots / roots.sum())


def test_maligan_with_padding_and_nan():
    exp = math.exp
    first = 4 / (1 + 2 * exp(1) + exp(-3))
    second, third = 2 / (1 + exp(5)), 2 / (1 + exp(1))
    expected = [
        [first, second, third * exp(1)],
        [first * exp(1), second * exp(5), second * exp(5)],
        [first * exp(1), NAN, third],
        [first * exp(-3)] * 3,
    ]
    same(maligan(VALUES, MASK), expected)


@pytest.mark.parametrize("transform", TRANSFORMS)
class TestEveryTransform:
    @pytest.mark.parametrize("seed", range(5))
    def test_padding_neither_counts_nor_has_a_value_of_its_own(self, transform, seed):
        values, mask = random_batch(seed)
        result = transform(values, mask)
        for other in (0.0, 1e6, NAN):
            same(transform(values.masked_fill(~mask, other), mask), result)
        last = result.gather(1, mask.sum(dim=1, keepdim=True) - 1)
        same(result[~mask], last.expand_as(result)[~mask])

    def test_a_batch_of_nothing_but_nan(self, transform):
        same(transform(torch.full((2, 3), NAN), torch.ones(2, 3).bool()), torch.full((2, 3), NAN))

    def test_a_row_alone(self, transform):
        expected = {rank: 0.5, maligan: 1.0, bootstrapped_rank: 1 / (1 + math.exp(6))}[transform]
        same(transform(torch.tensor([[3.0]]), torch.tensor([[True]])), [[expected]])

    def test_arguments_are_left_alone(self, transform):
        values = VALUES.clone()
        transform(values, MASK)
        same(values, VALUES)

    def test_a_constant_more_changes_nothing(self, transform):
        same(transform(VALUES + 3, MASK), transform(VALUES, MASK))


# Three rewards of six texts, one number each; the second applies to some, none to the last text.
PARTS = torch.tensor(
    [
        [1.0, 4.0, 2.0, 7.0, 1.0, NAN],
        [NAN, 0.25, NAN, -0.5, 0.75, NAN],
        [100.0, 300.0, 300.0, 200.0, NAN, NAN],
    ]
)
WEIGHTS = torch.tensor([1.0, -2.0, 0.5])
LENGTHS = torch.tensor([3, 1, 2, 4, 1, 4])
STEPS = torch.arange(4)
PARTS_MASK = LENGTHS[:, None] > STEPS


def sequence_level(parts, padding):
    """(part, batch, time): every token has its sequence's reward."""
    values = parts[:, :, None].expand(-1, -1, 4)
    return torch.where(PARTS_MASK, values, padding)


def trl_rewards(parts, weights, aggregation):
    """The first half of TRL 1.16's GRPOTrainer on one group, in NumPy; (batch,)."""
    parts, weights = np.asarray(parts, np.float64).T, np.asarray(weights, np.float64)
    unscorable = np.isnan(parts).all(axis=1)
    if aggregation == "normalize_then_sum":
        parts = (parts - np.nanmean(parts, axis=0)) / (np.nanstd(parts, axis=0, ddof=1) + 1e-4)
    rewards = np.nansum(parts * weights, axis=1)
    rewards[unscorable] = NAN
    return rewards


@pytest.mark.parametrize("padding", [0.0, 1e4, NAN])
def test_sequence_level_equals_trl(padding):
    """Whatever the lengths are, and whatever the padding holds."""
    combined = normalize_then_sum(sequence_level(PARTS, padding), WEIGHTS, PARTS_MASK)
    expected = trl_rewards(PARTS, WEIGHTS, "normalize_then_sum").astype(np.float32)
    same(combined, torch.tensor(expected)[:, None].expand(-1, 4), rtol=1e-5, atol=1e-5)


def test_the_sum_equals_trl():
    expected = trl_rewards(PARTS, WEIGHTS, "sum_then_normalize").astype(np.float32)
    same(weighted_sum(PARTS, WEIGHTS), torch.tensor(expected), rtol=1e-6, atol=1e-6)


@pytest.mark.integration
def test_sequence_level_equals_trl_itself():
    """With its own deviation, in the lines of `_generate_and_score_completions`."""
    nanstd = pytest.importorskip("trl.trainer.utils").nanstd
    grouped = PARTS.T[None]
    centred = grouped - torch.nanmean(grouped, dim=1, keepdim=True)
    normalised = (centred / (nanstd(grouped, dim=1, keepdim=True) + 1e-4))[0]
    expected = (normalised * WEIGHTS).nansum(dim=1)
    expected[PARTS.T.isnan().all(dim=1)] = NAN
    values = sequence_level(PARTS, 0.0)
    combined = normalize_then_sum(values, WEIGHTS, PARTS_MASK)
    same(combined, expected[:, None].expand(-1, 4), rtol=1e-5, atol=1e-5)


def test_sum_by_hand_at_each_step():
    values = torch.tensor(
        [[[1.0, 2.0, 3.0], [4.0, NAN, NAN]], [[10.0, NAN, 30.0], [40.0, 50.0, NAN]]]
    )
    expected = [[1 + 5.0, 2.0, 3 + 15.0], [4 + 20.0, 25.0, NAN]]
    same(weighted_sum(values, torch.tensor([1.0, 0.5])), expected)


def test_normalised_by_hand_at_each_step():
    """Steps are normalised by themselves; a row that has ended counts with its last value."""
    values = torch.tensor([[[1.0, 9.0], [3.0, 5.0], [8.0, 77.0]]])
    mask = torch.tensor([[True, True], [True, True], [True, False]])
    combined = normalize_then_sum(values, torch.tensor([2.0]), mask)
    for step, column in enumerate(([1.0, 3.0, 8.0], [9.0, 5.0, 8.0])):
        centred = np.array(column) - np.mean(column)
        expected = 2 * centred / (np.std(column, ddof=1) + 1e-4)
        same(combined[:, step], expected, rtol=1e-5, atol=1e-5)


def test_a_reward_that_applies_to_one_row_says_nothing_when_normalised():
    """It has no deviation; TRL drops it too. Where another part applies, that one counts."""
    values = torch.tensor([[[5.0], [NAN], [NAN]], [[NAN], [1.0], [NAN]]])
    mask = torch.ones(3, 1).bool()
    same(normalize_then_sum(values, torch.ones(2), mask), [[0.0], [0.0], [NAN]])


def test_equal_rewards_normalise_to_nothing():
    values = torch.full((1, 4, 2), 7.25)
    combined = normalize_then_sum(values, torch.ones(1), torch.ones(4, 2).bool())
    same(combined, torch.zeros(4, 2))
