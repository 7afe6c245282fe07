"""Advantages by hand, on two or three rows of three steps, and what padding must not change."""

import math
from dataclasses import replace

import pytest
import torch

from seqgan.data.sequences import Sequences, Trajectories
from seqgan.functional.advantages import (
    earned_before,
    kl_to_go,
    next_kl_weight,
    to_go,
    where_known,
)
from seqgan.functional.baselines import (
    MovingAverage,
    batch_mean,
    leave_one_out,
    make_baseline,
    no_baseline,
    prefix_value,
)
from seqgan.functional.scaling import standardize

FULL = [[True, True, True], [True, True, True]]
RAGGED = [[True, True, True], [True, False, False]]
PADDING = -1e6  # a value that would show


def trajectories(mask, group=None):
    """Only the mask and the groups matter to a baseline."""
    mask = torch.tensor(mask)
    zeros = torch.zeros(mask.shape)
    columns = {} if group is None else {"group": group}
    return Trajectories(Sequences(zeros.long(), mask, columns=columns), zeros, zeros)


def assert_rows(actual, expected):
    torch.testing.assert_close(actual, torch.tensor(expected), rtol=1e-6, atol=1e-6)


class TestToGo:
    def test_full_rows(self):
        values = torch.tensor([[1.0, 2.0, 4.0], [10.0, 20.0, 40.0]])
        assert_rows(to_go(values, torch.tensor(FULL)), [[7.0, 6.0, 4.0], [70.0, 60.0, 40.0]])

    def test_padding_is_neither_summed_nor_filled(self):
        values = torch.tensor([[1.0, 2.0, 4.0], [10.0, PADDING, math.nan]])
        assert_rows(to_go(values, torch.tensor(RAGGED)), [[7.0, 6.0, 4.0], [10.0, 0.0, 0.0]])

    def test_rows_and_steps_keep_their_place(self):
        """Values 100 row + position: the sum from t on is written out for each place."""
        values = torch.tensor([[100.0 * row + step for step in range(3)] for row in range(4)])
        expected = [
            [sum(100.0 * row + s for s in range(t, 3)) for t in range(3)] for row in range(4)
        ]
        assert_rows(to_go(values, torch.ones(4, 3, dtype=torch.bool)), expected)

    def test_later_steps_are_discounted(self):
        """7 - 3.5 = 4 + 0.5 * (-1) and so on, by hand; padding has no say."""
        values = torch.tensor([[1.0, 2.0, 4.0], [10.0, -20.0, PADDING]])
        expected = [[3.0, 4.0, 4.0], [0.0, -20.0, 0.0]]
        found = to_go(values, torch.tensor([[True, True, True], [True, True, False]]), 0.5)
        assert_rows(found, expected)

    def test_a_discount_of_nothing_looks_at_the_step_alone(self):
        values = torch.tensor([[1.0, 2.0, 4.0], [10.0, 20.0, PADDING]])
        mask = torch.tensor(RAGGED)
        assert_rows(to_go(values, mask, 0.0)[:, 0], [1.0, 10.0])
        assert_rows(to_go(values, mask, 1.0 - 1e-7), to_go(values, mask).tolist())


class TestEarnedBefore:
    def test_by_hand(self):
        rewards = torch.tensor([[1.0, 2.0, 4.0], [10.0, 0.0, 0.0]])
        mask = torch.tensor(FULL)
        assert_rows(earned_before(rewards, mask), [[0.0, 1.0, 3.0], [0.0, 10.0, 10.0]])

    def test_after_the_end_nothing_is_taken_from_what_stands_in(self):
        """A finished row's reward is the baseline of the one that goes on: 7, and not 7 - 7."""
        rewards = torch.tensor([[0.0, 7.0, 0.0], [0.0, 0.0, 4.0]])
        mask = torch.tensor([[True, True, False], [True, True, True]])
        values = torch.tensor([[7.0] * 3, [4.0] * 3]) - earned_before(rewards, mask)
        baseline = leave_one_out(values, trajectories(mask.tolist()))
        assert_rows(baseline[1:], [[7.0, 7.0, 7.0]])

    def test_a_reward_at_the_end_is_before_nothing(self):
        rewards = torch.tensor([[0.0, 0.0, 4.0], [0.0, 0.0, -3.0]])
        assert not earned_before(rewards, torch.tensor(FULL)).any()

    def test_before_and_to_go_make_the_return(self):
        rewards = torch.tensor([[1.0, 2.0, 4.0], [10.0, -5.0, 3.0]])
        mask = torch.tensor(FULL)
        both = earned_before(rewards, mask) + to_go(rewards, mask)
        assert_rows(both, [[7.0] * 3, [8.0] * 3])


class TestKlToGo:
    OWN = torch.tensor([[-1.0, -2.0, -0.5], [-3.0, -1.0, -0.25]])
    REFERENCE = torch.tensor([[-2.0, -1.5, -0.75], [-1.0, -1.0, -1.0]])

    def test_full_rows(self):
        """The log ratios are 1, -0.5, 0.25 and -2, 0, 0.75."""
        kl = kl_to_go(self.OWN, self.REFERENCE, torch.tensor(FULL))
        assert_rows(kl, [[0.75, -0.25, 0.25], [-1.25, 0.75, 0.75]])

    def test_padding(self):
        kl = kl_to_go(self.OWN, self.REFERENCE, torch.tensor(RAGGED))
        assert_rows(kl, [[0.75, -0.25, 0.25], [-2.0, 0.0, 0.0]])


class TestBatchMean:
    VALUES = torch.tensor([[1.0, 2.0, 3.0], [5.0, 8.0, 13.0]])

    def test_full_rows(self):
        assert_rows(batch_mean(self.VALUES, trajectories(FULL)), [[3.0, 5.0, 8.0]] * 2)

    def test_only_rows_that_go_on_count(self):
        assert_rows(batch_mean(self.VALUES, trajectories(RAGGED)), [[3.0, 2.0, 3.0]] * 2)

    def test_a_step_where_nobody_is_left(self):
        mask = [[True, True, False], [True, False, False]]
        assert_rows(batch_mean(self.VALUES, trajectories(mask)), [[3.0, 2.0, 0.0]] * 2)


class TestLeaveOneOut:
    VALUES = torch.tensor([[1.0, 2.0, 4.0], [8.0, 16.0, 32.0], [64.0, 128.0, 256.0]])

    def test_two_rows_are_each_other_s_baseline(self):
        baseline = leave_one_out(self.VALUES[:2], trajectories(FULL))
        assert_rows(baseline, [[8.0, 16.0, 32.0], [1.0, 2.0, 4.0]])

    def test_three_rows(self):
        baseline = leave_one_out(self.VALUES, trajectories([[True] * 3] * 3))
        assert_rows(baseline, [[36.0, 72.0, 144.0], [32.5, 65.0, 130.0], [4.5, 9.0, 18.0]])

    def test_rows_that_ended_do_not_count_while_another_goes_on(self):
        """Row 1 has one token, so at steps 1 and 2 rows 0 and 2 have only each other."""
        mask = [[True, True, True], [True, False, False], [True, True, True]]
        baseline = leave_one_out(self.VALUES, trajectories(mask))
        assert_rows(baseline[0], [36.0, 128.0, 256.0])
        assert_rows(baseline[2], [4.5, 2.0, 4.0])

    def test_a_lone_survivor_is_compared_with_what_the_others_got(self):
        """At steps 1 and 2 only row 0 goes on; rows 1 and 2 hold their rewards, 8 and 64."""
        values = torch.tensor([[1.0, 2.0, 4.0], [8.0, 8.0, 8.0], [64.0, 64.0, 64.0]])
        mask = [[True, True, True], [True, False, False], [True, False, False]]
        assert_rows(leave_one_out(values, trajectories(mask))[0], [36.0, 36.0, 36.0])

    def test_within_groups(self):
        """Rows 0 and 2 answer one prompt, rows 1 and 3 another, and row 4 stands alone."""
        values = torch.tensor([[1.0, 2.0], [10.0, 20.0], [3.0, 5.0], [40.0, 70.0], [7.0, 7.0]])
        group = ["x", "y", "x", "y", "z"]
        baseline = leave_one_out(values, trajectories([[True, True]] * 5, group))
        assert_rows(baseline, [[3.0, 5.0], [40.0, 70.0], [1.0, 2.0], [10.0, 20.0], [0.0, 0.0]])

    def test_a_lone_survivor_of_its_group(self):
        """Row 0's one peer has ended with 3; the other group still goes on, and is not asked."""
        values = torch.tensor([[1.0, 2.0], [3.0, 3.0], [50.0, 60.0], [70.0, 80.0]])
        mask = [[True, True], [True, False], [True, True], [True, True]]
        baseline = leave_one_out(values, trajectories(mask, [4, 4, 9, 9]))
        assert_rows(baseline[0], [3.0, 3.0])
        assert_rows(baseline[2], [70.0, 80.0])

    def test_one_row_has_no_peer(self):
        assert_rows(leave_one_out(self.VALUES[:1], trajectories([[True] * 3])), [[0.0, 0.0, 0.0]])


class TestMovingAverage:
    def test_two_batches(self):
        """Means 3 and 8: the first batch is its own baseline, the second has the first's."""
        baseline = MovingAverage(decay=0.75)
        first = torch.tensor([[1.0, 2.0, 3.0], [6.0, PADDING, PADDING]])
        assert_rows(baseline(first, trajectories(RAGGED)), [[3.0] * 3] * 2)
        assert baseline.value == pytest.approx(3.0)
        second = torch.tensor([[8.0, 8.0, 8.0], [8.0, PADDING, PADDING]])
        assert_rows(baseline(second, trajectories(RAGGED)), [[3.0] * 3] * 2)
        assert baseline.value == pytest.approx(0.75 * 3 + 0.25 * 8)
        assert_rows(baseline(second, trajectories(RAGGED)), [[4.25] * 3] * 2)

    def test_a_batch_without_any_value_is_passed_over(self):
        baseline, unknown = MovingAverage(0.5), torch.full((2, 3), math.nan)
        assert_rows(baseline(unknown, trajectories(FULL)), [[0.0] * 3] * 2)
        assert baseline.value is None
        baseline(torch.full((2, 3), 8.0), trajectories(FULL))
        baseline(unknown, trajectories(FULL))
        assert baseline.value == 8.0

    def test_goes_on_from_its_state(self):
        values, batch = torch.full((2, 3), 8.0), trajectories(FULL)
        stored, restored = MovingAverage(0.5), MovingAverage(0.5)
        stored(torch.zeros(2, 3), batch)
        stored(values, batch)
        restored.load_state_dict(stored.state_dict())
        assert_rows(restored(values, batch), [[4.0] * 3] * 2)

    def test_decay_is_used(self):
        baseline = make_baseline("moving_average", 0.25)
        assert isinstance(baseline, MovingAverage)
        assert baseline.decay == 0.25


class TestPrefixValue:
    def test_a_token_is_compared_with_the_prefix_before_it(self):
        """The first token of each row with the other row's."""
        values = torch.tensor([[1.0, 3.0, 8.0], [2.0, 2.0, 5.0]])
        baseline = prefix_value(values, trajectories(FULL))
        assert_rows(baseline, [[2.0, 1.0, 3.0], [1.0, 2.0, 2.0]])

    def test_a_reward_on_the_way_is_no_part_of_what_is_to_come(self):
        """Values to go of rewards 1, 2, 4: 7, 6, 4. The state after the first token is worth 6."""
        rewards = torch.tensor([[1.0, 2.0, 4.0], [0.0, 0.0, 0.0]])
        batch = replace(trajectories(FULL), rewards=rewards)
        values = torch.tensor([[7.0, 6.0, 4.0], [0.0, 0.0, 0.0]])
        assert_rows(prefix_value(values, batch)[0, 1:], [6.0, 4.0])

    def test_after_an_unknown_value_others_are_compared(self):
        values = torch.tensor([[math.nan, 3.0, 8.0], [2.0, 6.0, 5.0]])
        baseline = prefix_value(values, trajectories(FULL))
        assert_rows(baseline[0], [2.0, 6.0, 3.0])


def test_no_baseline():
    assert not no_baseline(torch.ones(2, 3), trajectories(FULL)).any()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("none", 0.0), ("batch_mean", 3.0), ("leave_one_out", 5.0), ("moving_average", 3.0)],
)
def test_baselines_by_name(kind, expected):
    values = torch.tensor([[1.0, 1.0, 1.0], [5.0, 5.0, 5.0]])
    baseline = make_baseline(kind, 0.9)(values, trajectories(FULL))
    assert_rows(baseline[0], [expected] * 3)


def test_only_an_unknown_value_is_left_out():
    """A NaN of the KL is no unknown value: it stays, and the update stops at it."""
    values = torch.tensor([[1.0, math.nan, 3.0]])
    advantages = values - torch.tensor([[0.5, 0.0, math.nan]])
    assert_rows(where_known(advantages, values)[0, :2], [0.5, 0.0])
    assert math.isnan(where_known(advantages, values)[0, 2])


class TestStandardize:
    def test_full_rows(self):
        """Mean 3, squared deviations 4, 1, 0, 1, 4, 0: variance 10 / 6. The mean is kept."""
        values = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 3.0]])
        deviation = math.sqrt(10 / 6)
        expected = [[value / deviation for value in row] for row in values.tolist()]
        assert_rows(standardize(values, torch.tensor(FULL)), expected)

    def test_padding_has_no_say(self):
        """Real values 1, 1, 1, 5: mean 2, variance (1 + 1 + 1 + 9) / 4 = 3."""
        values = torch.tensor([[1.0, 1.0, 1.0], [5.0, PADDING, PADDING]])
        standardized = standardize(values, torch.tensor(RAGGED))
        assert_rows(standardized[0], [1 / math.sqrt(3)] * 3)
        assert float(standardized[1, 0]) == pytest.approx(5 / math.sqrt(3))

    def test_what_nobody_knows_has_no_say(self):
        """Known values 1, 1, 1, 5: the deviation is that of the test above."""
        values = torch.tensor([[1.0, 1.0, 1.0], [5.0, math.nan, math.nan]])
        standardized = standardize(values, torch.tensor(FULL))
        assert_rows(standardized[0], [1 / math.sqrt(3)] * 3)
        assert float(standardized[1, 0]) == pytest.approx(5 / math.sqrt(3))
        assert bool(standardized[1, 1:].isnan().all())

    def test_scale_does_not_matter(self):
        values = torch.tensor([[1.0, -2.0, 3.0], [4.0, 5.0, 0.5]])
        mask = torch.tensor(FULL)
        torch.testing.assert_close(standardize(values, mask), standardize(1000 * values, mask))

    def test_equal_advantages_of_zero_stay_zero(self):
        assert not standardize(torch.zeros(2, 3), torch.tensor(FULL)).any()


class TestKlWeight:
    @pytest.mark.parametrize(
        ("measured", "expected"),
        [
            (2.0, 0.5),  # on target
            (2.2, 0.5 * 1.01),  # 10% above: up by a tenth of that
            (1.8, 0.5 * 0.99),
            (2.4, 0.5 * 1.02),  # 20% above, where the clip begins
            (50.0, 0.5 * 1.02),
            (0.0, 0.5 * 0.98),
            (-3.0, 0.5 * 0.98),  # a sampled KL can be negative
        ],
    )
    def test_by_hand(self, measured, expected):
        assert next_kl_weight(0.5, measured, target=2.0) == pytest.approx(expected)

    def test_rate(self):
        assert next_kl_weight(0.5, 50.0, target=2.0, rate=0.5) == pytest.approx(0.5 * 1.1)

    def test_settles_where_the_target_is_met(self):
        """A KL that falls as the weight rises, 6 / weight, meets the target 2 at weight 3."""
        weight = 0.5
        for _ in range(400):
            weight = next_kl_weight(weight, 6 / weight, target=2.0)
        assert weight == pytest.approx(3, rel=1e-3)


@pytest.mark.parametrize("kind", ["batch_mean", "leave_one_out", "moving_average"])
def test_columns_of_padding_change_no_baseline(kind):
    """Two more columns of padding, holding the finished value as rollouts leave it there."""
    values = torch.tensor([[1.0, 2.0, 4.0], [8.0, 8.0, 8.0], [5.0, 7.0, 7.0]])
    mask = torch.tensor([[True, True, True], [True, False, False], [True, True, False]])
    wide_values = torch.cat([values, values[:, -1:], values[:, -1:]], dim=1)
    wide_mask = torch.cat([mask, torch.zeros(3, 2, dtype=torch.bool)], dim=1)
    narrow = make_baseline(kind, 0.9)(values, trajectories(mask.tolist()))
    wide = make_baseline(kind, 0.9)(wide_values, trajectories(wide_mask.tolist()))
    assert torch.equal(wide[:, :3][mask], narrow[mask])
    assert narrow[mask].any()
