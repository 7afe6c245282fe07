"""Several rewards as one: weights, rows that a part does not apply to, and parts that learn."""

import math
import threading
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from toys import (
    ENDING,
    TableGenerator,
    TableReward,
    as_trajectories,
    every_sequence,
    exact_action_values,
)

from seqgan.data.sequences import Sequences
from seqgan.functional.advantages import at_their_tokens
from seqgan.learning.collection import collect, make_task_env
from seqgan.learning.rollouts import monte_carlo_action_values, monte_carlo_part_values
from seqgan.rewards.base import RewardError
from seqgan.rewards.guard import FailurePolicy
from seqgan.rewards.shipped.controls import ConstantReward
from seqgan.rewards.weighted import WeightedSum, as_weighted_sum
from seqgan.tasks.base import FixedTask

NAN = math.nan


class Fixed:
    """The given rewards, whatever the sequences are."""

    per_token = False

    def __init__(self, name, values):
        self.name, self.values = name, torch.tensor(values)

    def score(self, sequences):
        return self.values[: len(sequences)]


class Learning(Fixed):
    """A reward with a state: it adds one to its rewards in each update."""

    def update(self, real, generated):
        self.values = self.values + 1
        return {}

    def state_dict(self):
        return {"values": self.values}

    def load_state_dict(self, state):
        self.values = state["values"]


class ShortOnly:
    """The length of a text, and no reward for one of more than two tokens."""

    name = "short_only"
    per_token = False

    def score(self, sequences):
        lengths = sequences.lengths.float()
        return torch.where(lengths > 2, NAN, lengths)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def some(count):
    return every_sequence(ENDING).select(torch.arange(count))


def test_weights_and_rows_that_a_part_does_not_apply_to():
    parts = [Fixed("a", [1.0, 2.0, NAN, NAN]), Fixed("b", [10.0, NAN, 30.0, NAN])]
    rewards = WeightedSum(parts, [2.0, -0.5])
    expected = torch.tensor([2.0 - 5.0, 4.0, -15.0, NAN])
    torch.testing.assert_close(rewards.score(some(4)), expected, equal_nan=True)
    expected = torch.stack([part.values for part in parts])
    torch.testing.assert_close(rewards.score_parts(some(4)), expected, equal_nan=True)
    assert rewards.name == "a+b"


def test_a_weight_is_one_by_default():
    rewards = WeightedSum([Fixed("a", [1.0, 2.0]), Fixed("b", [10.0, 20.0])])
    assert rewards.score(some(2)).tolist() == [11.0, 22.0]


@pytest.mark.parametrize(
    ("parts", "weights", "rule"),
    [
        (
            [],
            None,
            "there are no rewards, but a weighted sum needs at least one",
        ),
        (
            [Fixed("a", [1.0])],
            [1.0, 2.0],
            "there are 2 weights for 1 rewards, but must be one for each",
        ),
        ([Fixed("a", [1.0])], [math.inf], r"the reward weights are \[inf\], but must be finite"),
        (
            [Fixed("a", [1.0]), Fixed("a", [2.0])],
            None,
            "two rewards are called 'a', but their names must be distinct",
        ),
        ([Fixed("_a", [1.0])], None, "but must not be empty, begin with _ or have a /"),
        (
            [Fixed("a/b", [1.0])],
            None,
            (
                "the reward's name is 'a/b', but must not be empty, begin with _ or have a /,"
                " since metrics are named after it"
            ),
        ),
        (
            [Learning("a", [1.0]), Learning("b", [2.0])],
            None,
            "more than one reward learns along with the generator: a and b",
        ),
    ],
)
def test_what_is_no_sum(parts, weights, rule):
    with pytest.raises(ValueError, match=rule):
        WeightedSum(parts, weights)


def test_the_part_that_learns_is_found_and_its_state_kept():
    rewards = WeightedSum([Fixed("a", [1.0]), Learning("b", [2.0])])
    assert rewards.learning is rewards.parts[1]
    rewards.learning.update(some(1), some(1))
    state = rewards.state_dict()
    assert state.keys() == {"b"}
    restored = WeightedSum([Fixed("a", [1.0]), Learning("b", [0.0])])
    restored.load_state_dict(state)
    assert restored.score(some(1)).tolist() == [4.0]
    assert WeightedSum([Fixed("a", [1.0])]).learning is None


def test_a_sum_is_not_wrapped_again():
    rewards = WeightedSum([Fixed("a", [1.0])])
    assert as_weighted_sum(rewards) is rewards
    assert as_weighted_sum(ConstantReward()).names == ("constant",)


def test_a_failing_part_stops_or_is_skipped():
    parts = [Fixed("a", [1.0, math.inf, 3.0]), Fixed("b", [10.0, 20.0, 30.0])]
    with pytest.raises(RewardError, match="reward 'a' failed"):
        WeightedSum(parts).score(some(3))

    class ByText(Fixed):
        def score(self, sequences):
            bad = sequences.tokens[:, 0] == 1
            return torch.where(bad, math.inf, 1.0)

    heard = []
    rewards = WeightedSum(
        [ByText("a", [0.0]), Fixed("b", [10.0] * 121)],
        failures=FailurePolicy(on_failure="skip"),
    ).observed(nullcontext, heard.append)
    everything = every_sequence(ENDING)
    bad = everything.tokens[:, 0] == 1
    assert torch.equal(rewards.score(everything), torch.where(bad, 10.0, 11.0))
    assert len(heard) == int(bad.sum())


def test_parts_that_wait_wait_together():
    barrier = threading.Barrier(2, timeout=10)  # breaks if only one of them comes

    class Waiting(Fixed):
        is_async = True

        def score(self, sequences):
            barrier.wait()
            return super().score(sequences)

    parts = [Waiting("a", [1.0]), Fixed("b", [10.0]), Waiting("c", [100.0])]
    assert WeightedSum(parts).score_parts(some(1)).tolist() == [[1.0], [10.0], [100.0]]


def test_each_call_is_watched():
    seen = []

    class Context:
        def __init__(self, name):
            self.name = name

        def __enter__(self):
            seen.append(f"in {self.name}")

        def __exit__(self, *error):
            seen.append(f"out {self.name}")

    rewards = WeightedSum([Fixed("a", [1.0]), Fixed("b", [1.0])])
    rewards.observed(Context, seen.append).score(some(1))
    assert seen == ["in a", "out a", "in b", "out b"]


def test_two_listeners_of_one_sum_do_not_disturb_each_other():
    heard = {"own": [], "first": [], "second": []}

    def listen(listener):
        def watch(name):
            heard[listener].append(f"waits for {name}")
            return nullcontext()

        return watch, lambda error: heard[listener].append(f"skips {error.name}")

    learning = Learning("learning", [1.0, 2.0])
    rewards = WeightedSum(
        [learning, Fixed("endless", [math.inf, 1.0])],
        [2.0, 3.0],
        FailurePolicy(on_failure="skip"),
    ).observed(*listen("own"))
    first = rewards.observed(*listen("first"))
    second = rewards.observed(*listen("second"))
    for listener, observed in {"first": first, "second": second, "own": rewards}.items():
        assert observed.score(some(1)).tolist() == [2.0]
        # Both parts once for the batch of one row; the second fails there.
        assert heard.pop(listener) == ["waits for learning", "waits for endless", "skips endless"]
        heard[listener] = []
        assert not any(heard.values())
    assert first.parts is second.parts is rewards.parts
    first.learning.update(some(1), some(1))  # what learns is shared
    assert second.score(some(1)).tolist() == rewards.score(some(1)).tolist() == [4.0]


def unpadded(count):
    """The first sequences that fill all four columns."""
    everything = every_sequence(ENDING)
    return everything.select(everything.mask.all(dim=1).nonzero()[:count, 0])


class Increments:
    """The given increments, row by row; each row is known by its place in `unpadded`."""

    per_token = True

    def __init__(self, name, *rows):
        self.name, self.rows = name, torch.tensor(rows)

    def score(self, sequences):
        places = (sequences.tokens[:, None] == unpadded(len(self.rows)).tokens).all(dim=2).int()
        assert places.sum(dim=1).tolist() == [1] * len(sequences)
        return self.rows[places.argmax(dim=1)]


class TestIncrements:
    """Rewards of single tokens, in sums with rewards of whole texts."""

    def test_none_without_a_part_that_is_per_token(self):
        assert WeightedSum([Fixed("a", [1.0])]).increments(some(1)) is None

    def test_weights_and_rows_that_a_part_does_not_apply_to(self):
        """By hand: 100 * row + position, in two parts of which each fails to apply to a row."""
        first = [[1.0, 2.0, 3.0, 4.0], [101.0, 102.0, 103.0, 104.0], [NAN, 202.0, 203.0, 204.0]]
        second = [[10.0] * 4, [20.0, 20.0, NAN, 20.0], [NAN] * 4]
        parts = [Increments("a", *first), Fixed("whole", [1e3] * 3), Increments("b", *second)]
        rewards = WeightedSum(parts, [2.0, 7.0, -0.5])
        expected = [[-3.0, -1.0, 1.0, 3.0], [202.0, 204.0, 206.0, 208.0], [0.0] * 4]
        assert rewards.increments(unpadded(3)).tolist() == expected

    def test_their_sum_is_the_share_of_these_parts_in_the_score(self):
        """Over every sequence, padding included, with parts that apply to some of the rows."""
        everything = every_sequence(ENDING)

        class Choosy(TableReward):
            name = "choosy"

            def score(self, sequences):
                applies = (sequences.tokens[:, :1] == 0) | ~sequences.mask
                return torch.where(applies, super().score(sequences), NAN)

        parts = [TableReward(ENDING.num_actions, True), Choosy(ENDING.num_actions, True, seed=3)]
        per_token, whole = WeightedSum(parts, [2.0, -3.0]), ShortOnly()
        mixed = WeightedSum([whole, *parts], [0.5, 2.0, -3.0])
        found = mixed.increments(everything)
        assert bool((found[~everything.mask] == 0).all())
        assert len(found.unique()) > 100
        share = per_token.score(everything)
        torch.testing.assert_close(found.sum(dim=1), share)
        rest = 0.5 * whole.score(everything).nan_to_num(nan=0.0)
        torch.testing.assert_close(found.sum(dim=1) + rest, mixed.score(everything))

    def test_what_is_given_for_padding_does_not_count(self):
        everything = every_sequence(ENDING)
        given = everything.select((everything.lengths == 2).nonzero()[:1, 0])
        assert given.mask.tolist() == [[True, True, False, False]]

        class Careless(Fixed):
            per_token = True

        part = Careless("careless", [[1.0, 2.0, NAN, math.inf]])
        assert WeightedSum([part]).increments(given).tolist() == [[1.0, 2.0, 0.0, 0.0]]

    def test_a_failing_row_stops_or_is_skipped(self):
        rows = [[1.0, 2.0, 3.0, 4.0], [1.0, math.inf, 1.0, 1.0], [5.0, 6.0, 7.0, 8.0]]
        parts = [Increments("a", *rows), Increments("b", *[[10.0] * 4] * 3)]
        with pytest.raises(RewardError, match=r"reward 'a' failed on row 1 .*it gave inf, but"):
            WeightedSum(parts).increments(unpadded(3))
        skipped = []
        skip = FailurePolicy(on_failure="skip")
        rewards = WeightedSum(parts, failures=skip).observed(nullcontext, skipped.append)
        expected = [[11.0, 12.0, 13.0, 14.0], [10.0] * 4, [15.0, 16.0, 17.0, 18.0]]
        assert rewards.increments(unpadded(3)).tolist() == expected
        assert [(error.name, error.row) for error in skipped] == [("a", 1)]

    def test_the_environment_pays_their_sum_at_the_end(self):
        """Put where they were earned, they leave each row with the return it was paid."""
        parts = [TableReward(ENDING.num_actions, True), ShortOnly()]
        rewards = WeightedSum(parts, [2.0, 0.5])
        env = make_task_env(FixedTask(ENDING, 4, {}), rewards, 40)
        paid = collect(env, TableGenerator(ENDING), ENDING, 4, seeded(1))
        increments = rewards.increments(paid.sequences)
        spread = at_their_tokens(paid.rewards, increments, paid.mask)
        torch.testing.assert_close(spread.sum(dim=1), paid.returns)
        steps = torch.arange(4)
        inner = paid.mask & (steps < paid.mask.sum(dim=1, keepdim=True) - 1)
        assert int(inner.sum()) > 10
        torch.testing.assert_close(spread[inner], increments[inner])


class TestPartsInRollouts:
    """One set of completions, valued by each part."""

    def trajectories(self, policy, rewards, count=40):
        task = FixedTask(ENDING, 4, {})
        return collect(make_task_env(task, rewards, count), policy, ENDING, 4, seeded(1))

    def test_collection_keeps_what_each_part_gave(self):
        policy = TableGenerator(ENDING)
        table = TableReward(ENDING.num_actions)
        trajectories = self.trajectories(policy, WeightedSum([table, ShortOnly()], [2.0, 0.5]))
        expected = table.score(trajectories.sequences)
        torch.testing.assert_close(trajectories.part("table"), expected)
        lengths = trajectories.sequences.lengths
        short = torch.where(lengths > 2, NAN, lengths.float())
        assert 0 < int(short.isnan().sum()) < 40
        torch.testing.assert_close(trajectories.part("short_only"), short, equal_nan=True)
        total = 2 * expected + 0.5 * short.nan_to_num(nan=0.0)
        torch.testing.assert_close(trajectories.returns, total)

    def test_a_part_that_applied_to_nothing(self):
        never = Fixed("never", [NAN] * 4)
        trajectories = self.trajectories(TableGenerator(ENDING), never, 4)
        assert bool(trajectories.part("never").isnan().all())
        assert trajectories.returns.tolist() == [0.0] * 4

    def test_values_of_the_parts_add_up(self):
        """The same random numbers, so the same completions: the weighted sum is exact."""
        policy = TableGenerator(ENDING)
        parts = [TableReward(ENDING.num_actions), TableReward(ENDING.num_actions, True, seed=3)]
        parts[1].name = "other"
        rewards = WeightedSum(parts, [2.0, -3.0])
        trajectories = self.trajectories(policy, rewards)
        both = monte_carlo_part_values(policy, rewards, trajectories, 3, seeded(2))
        for index, part in enumerate(parts):
            alone = monte_carlo_action_values(policy, part, trajectories, 3, seeded(2))
            torch.testing.assert_close(both[index], alone)
        total = monte_carlo_action_values(policy, rewards, trajectories, 3, seeded(2))
        torch.testing.assert_close(total, 2 * both[0] - 3 * both[1])

    @pytest.mark.parametrize(("num_rollouts", "copies"), [(1, 100), (4, 100), (200, 10)])
    @pytest.mark.slow
    def test_the_sum_is_taken_for_each_completion(self, num_rollouts, copies):
        """Where parts apply to different completions, the value is still that of the sum."""
        policy = TableGenerator(ENDING)
        everything = every_sequence(ENDING)
        rewards = WeightedSum([Fixed("zero", [0.0] * 121 * copies), ShortOnly()], [1.0, 5.0])
        exact = exact_action_values(policy, everything, everything, rewards.score(everything))
        rows = everything.select(torch.arange(121).repeat(copies))
        trajectories = as_trajectories(policy, rows, rewards.score(rows))
        repeats = 2000 // copies // num_rollouts
        total = sum(
            monte_carlo_action_values(policy, rewards, trajectories, num_rollouts, seeded(i))
            for i in range(repeats)
        )
        mean = total.view(copies, 121, -1).mean(dim=0) / repeats
        # A reward of at most 10 has a deviation of at most 5; 2,000 draws, five standard errors.
        assert float((mean - exact).abs().max()) < 5 * 5 / 2000**0.5

    def test_the_mean_is_over_completions_that_a_part_applies_to(self):
        policy = TableGenerator(ENDING)
        everything = every_sequence(ENDING)
        values = ShortOnly().score(everything)
        trajectories = as_trajectories(policy, everything, values.nan_to_num(nan=0.0))
        found = monte_carlo_action_values(policy, ShortOnly(), trajectories, 50, seeded())
        # After two tokens without an end the text is too long, whatever follows.
        starts = everything.select((everything.lengths > 2).nonzero()[:, 0])
        long = (everything.lengths > 2).nonzero()[:, 0]
        assert len(starts) > 50
        assert bool(found[long, 1].isnan().all())
        # After one, only the completion that ends at once counts: two tokens, the reward is 2.
        assert found[long, 0].nan_to_num(nan=2.0).unique().tolist() == [2.0]
        assert bool((found[long, 0] == 2.0).any())


def test_environments_get_numbers_and_see_parts():
    rewards = WeightedSum([ShortOnly(), Fixed("b", [NAN] * 3)], [3.0, 1.0])
    env = make_task_env(FixedTask(ENDING, 4, {}), rewards, 3)
    env.reset()
    eos = ENDING.eos_id
    env.step(np.array([0, eos, 0]))
    _, earned, ended, _, infos = env.step(np.array([1, 0, eos]))
    assert earned.tolist() == [0.0, 0.0, 6.0]
    assert ended.tolist() == [False, True, True]
    assert infos["reward_components"]["short_only"][2] == 2.0
    assert "b" not in infos["reward_components"]


def test_sequences_reach_the_parts_as_they_are():
    given = Sequences(some(2).tokens, some(2).mask, columns={"label": ["x", "y"]})

    class Remembering(Fixed):
        def score(self, sequences):
            self.labels = sequences.columns["label"]
            return super().score(sequences)

    part = Remembering("a", [1.0, 2.0])
    WeightedSum([part]).score(given)
    assert list(part.labels) == ["x", "y"]
