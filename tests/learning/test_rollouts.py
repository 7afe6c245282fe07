"""Monte Carlo action values against enumeration, and against the environment's own rewards."""

import math
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from toys import (
    ENDING,
    FIXED,
    MAX_LENGTH,
    TableGenerator,
    TableReward,
    as_trajectories,
    every_sequence,
    exact_action_values,
    probabilities,
    seeded,
    token_log_softmax,
)

from seqgan.data.sequences import Sequences, Trajectories
from seqgan.data.vocabulary import Vocabulary
from seqgan.learning.collection import collect, make_task_env
from seqgan.learning.rollouts import (
    between_strides,
    monte_carlo_action_values,
    monte_carlo_part_values,
)
from seqgan.models.generators.recurrent import RecurrentGenerator, RecurrentGeneratorConfig
from seqgan.rewards.shipped.controls import ConstantReward
from seqgan.rewards.weighted import as_weighted_sum
from seqgan.system.seeding import seeded_from
from seqgan.tasks.base import FixedTask

VOCABULARIES = pytest.mark.parametrize("vocabulary", [FIXED, ENDING], ids=["fixed", "ending"])
POLICIES = pytest.mark.parametrize("kind", ["table", "lstm", "gru"])


def policy_for(kind, vocabulary, seed=0):
    if kind == "table":
        return TableGenerator(vocabulary, seed)
    config = RecurrentGeneratorConfig(
        kind=kind, embedding_size=4, hidden_size=5, num_layers=2, init_std=1.0
    )
    with seeded_from(seeded(seed)):
        return RecurrentGenerator(config, vocabulary)


@dataclass
class CountingReward:
    """100 times the first word, plus the number of tokens that are not word 0."""

    name: str = "counting"
    per_token: bool = False

    def score(self, sequences):
        counted = (sequences.tokens != 0) & sequences.mask
        return 100.0 * sequences.tokens[:, 0] + counted.sum(dim=1)


@dataclass
class ContextReward:
    """Scores what stands beside the tokens: the prompt, and a column of the data."""

    name: str = "context"
    per_token: bool = False
    seen: list[int] = field(default_factory=list)

    def score(self, sequences):
        self.seen.append(len(sequences))
        weights = torch.tensor(sequences.columns["weight"])
        prompts = 0.0 if sequences.prompts is None else 100.0 * sequences.prompts[:, -1]
        return prompts + weights + (sequences.tokens != 0).sum(dim=1)


def exact_moments(policy, sequences, everything, rewards):
    """Mean and variance of the return after each prefix."""
    mean = exact_action_values(policy, sequences, everything, rewards)
    square = exact_action_values(policy, sequences, everything, rewards.double() ** 2)
    return mean, (square - mean**2).clamp(min=0)


@VOCABULARIES
def test_the_toy_world_is_complete(vocabulary):
    everything = every_sequence(vocabulary)
    assert len(everything) == {FIXED: 81, ENDING: 121}[vocabulary]
    for kind in ("table", "lstm", "gru"):
        total = probabilities(policy_for(kind, vocabulary), everything).sum()
        assert float(total.detach()) == pytest.approx(1, abs=1e-6)


@VOCABULARIES
def test_enumerated_action_values_equal_the_recursion(vocabulary):
    """What the other tests trust: Q(prefix) is the sum over words of pi(word) Q(prefix, word)."""
    policy, everything = TableGenerator(vocabulary), every_sequence(vocabulary)
    rewards = TableReward(vocabulary.num_actions).returns(everything)
    pairs = zip(everything.tokens.tolist(), everything.lengths.tolist(), strict=True)
    finished = {tuple(row[:length]): i for i, (row, length) in enumerate(pairs)}

    def value(prefix):
        if prefix in finished:
            return float(rewards[finished[prefix]])
        code = 0
        for token in prefix:
            code = code * vocabulary.num_actions + token + 1
        chances = policy.logits[code].softmax(dim=0).tolist()
        return sum(chance * value((*prefix, token)) for token, chance in enumerate(chances))

    exact = exact_action_values(policy, everything, everything, rewards)
    for row, index in finished.items():
        expected = [value(row[: step + 1]) for step in range(MAX_LENGTH)]
        assert exact[index].tolist() == pytest.approx(expected, abs=1e-9)


@VOCABULARIES
@pytest.mark.parametrize(
    ("kind", "per_token", "num_rollouts"),
    [("table", False, 4000), ("table", True, 4000), ("lstm", False, 1000), ("gru", False, 1000)],
)
def test_converges_to_the_exact_action_values(vocabulary, kind, per_token, num_rollouts):
    """Errors are as large as independent draws make them: not larger, not smaller."""
    policy = policy_for(kind, vocabulary)
    reward = TableReward(vocabulary.num_actions, per_token)
    everything = every_sequence(vocabulary)
    judged = reward.returns(everything)
    rows = torch.arange(0, len(everything), 7)
    some = everything.select(rows)

    trajectories = as_trajectories(policy, some, judged[rows])
    estimate = monte_carlo_action_values(policy, reward, trajectories, num_rollouts, seeded())

    exact, variance = exact_moments(policy, some, everything, judged)
    unfinished = torch.arange(MAX_LENGTH)[None, :] < some.lengths[:, None] - 1
    scores = ((estimate - exact) / (variance / num_rollouts).sqrt())[unfinished]
    assert len(scores) > 30
    assert float(scores.abs().max()) < 4.5
    assert 0.4 < float(scores.square().mean()) < 2
    # At the end of a row, and after it, the value is the row's own reward: nothing is estimated.
    own = judged[rows][:, None].expand_as(estimate)
    assert torch.equal(estimate[~unfinished], own[~unfinished])
    torch.testing.assert_close(exact[~unfinished].float(), own[~unfinished])


@VOCABULARIES
def test_zero_rollouts_give_every_token_the_reward_of_its_sequence(vocabulary):
    policy, everything = TableGenerator(vocabulary), every_sequence(vocabulary)
    reward = TableReward(vocabulary.num_actions)
    own = reward.returns(everything)
    reward.num_scored = 0
    trajectories = as_trajectories(policy, everything, own)
    values = monte_carlo_action_values(policy, reward, trajectories, 0, seeded())
    assert torch.equal(values, own[:, None].expand(-1, MAX_LENGTH))
    assert reward.num_scored == 0


def test_finished_sequences_are_not_judged_again():
    """Lengths 4, 1 and 3 have 3 + 0 + 2 unfinished prefixes."""
    policy, reward = TableGenerator(ENDING), TableReward(ENDING.num_actions)
    sequences = Sequences.from_rows([[0, 1, 2, 0], [3], [1, 1, 3]], ENDING, MAX_LENGTH)
    trajectories = as_trajectories(policy, sequences, torch.tensor([5.0, 6.0, 7.0]))
    values = monte_carlo_action_values(policy, reward, trajectories, 6, seeded())
    # Each of at most 6 completions of each, equal ones once.
    assert 0 < reward.num_scored <= 6 * (3 + 0 + 2)
    # The rewards of the trajectories, which are not those of the reward model.
    assert values[0, 3] == 5
    assert values[1].tolist() == [6, 6, 6, 6]
    assert values[2, 2:].tolist() == [7, 7]


class RecordingReward:
    """Remembers what it judged; the reward is made of the tokens and the row's column."""

    name = "recording"
    per_token = False

    def __init__(self):
        self.judged = []

    def score(self, sequences):
        labels = sequences.columns.get("label", [0] * len(sequences))
        texts = [tuple(row) for row in sequences.tokens.tolist()]
        self.judged += list(zip(labels, texts, strict=True))
        return torch.tensor(
            [100.0 * label + sum(text) for label, text in zip(labels, texts, strict=True)]
        )


@pytest.mark.parametrize("with_columns", [False, True])
def test_equal_completions_are_judged_once(with_columns):
    """Without columns equal texts are one; with them, those of another row are others."""
    policy, reward = TableGenerator(ENDING), RecordingReward()
    rows = [[0, 1, 2, 0], [0, 1, 2, 1], [1, 1, 3]]
    sequences = Sequences.from_rows(rows, ENDING, MAX_LENGTH)
    if with_columns:
        sequences = replace(sequences, columns={"label": [1, 2, 3]})
    trajectories = as_trajectories(policy, sequences, torch.zeros(3))
    values = monte_carlo_action_values(policy, reward, trajectories, 50, seeded())
    assert len(reward.judged) == len(set(reward.judged))
    # Fifty completions of the last prefix of a row, and a handful of different texts.
    assert len(reward.judged) < 50 * (3 + 3 + 2) / 4
    labels = torch.tensor([1.0, 2.0, 3.0]) if with_columns else torch.zeros(3)
    final = sequences.tokens[:2, :3].sum(dim=1)
    # Of the prefix of three tokens, every completion sums to these and one more, 0 to 3.
    rest = values[:2, 2] - 100 * labels[:2] - final
    assert ((rest > 0) & (rest < 3)).all()


def test_different_completions_with_equal_sums_are_told_apart(monkeypatch):
    """With all factors 1 the words of a text in another order have its sum, and another reward."""
    policy, reward = TableGenerator(FIXED), TableReward(FIXED.num_actions)
    everything = every_sequence(FIXED)
    trajectories = as_trajectories(policy, everything, reward.returns(everything))

    def values():
        return monte_carlo_action_values(policy, reward, trajectories, 20, seeded())

    expected = values()
    monkeypatch.setattr(torch, "randint", lambda high, shape, generator: torch.zeros(shape).long())
    torch.testing.assert_close(values(), expected)


@pytest.mark.parametrize("chunk_size", [1, 2, 7, 4096])
@pytest.mark.parametrize("num_rollouts", [1, 3])
def test_values_return_to_their_row_and_step(num_rollouts, chunk_size):
    """Row i is i i i i and goes on with zeros: at step t the value is 100 i + t + 1."""
    vocabulary = Vocabulary(tuple("abcdefg"), has_eos=False, bos_word=0)
    policy = TableGenerator(vocabulary).always(0)
    sequences = Sequences.from_rows([[i] * 4 for i in range(1, 7)], vocabulary, 4)
    trajectories = as_trajectories(policy, sequences, CountingReward().score(sequences))
    values = monte_carlo_action_values(
        policy, CountingReward(), trajectories, num_rollouts, seeded(), chunk_size
    )
    assert values.tolist() == [[100 * i + t + 1 for t in range(4)] for i in range(1, 7)]


def test_values_return_to_their_row_and_step_where_lengths_differ():
    """As above; row i has i tokens, the last one the eos (7), which counts as a token."""
    vocabulary = Vocabulary(tuple("abcdefg"))
    policy = TableGenerator(vocabulary).always(0)
    rows = [[7], [2, 7], [3, 3, 7], [4, 4, 4, 7]]
    sequences = Sequences.from_rows(rows, vocabulary, 4)
    trajectories = as_trajectories(policy, sequences, CountingReward().score(sequences))
    values = monte_carlo_action_values(policy, CountingReward(), trajectories, 2, seeded(), 3)
    assert values.tolist() == [
        [701, 701, 701, 701],
        [201, 202, 202, 202],
        [301, 302, 303, 303],
        [401, 402, 403, 404],
    ]


@pytest.mark.parametrize("chunk_size", [100, 4096])
def test_chunks_do_not_change_the_expectation(chunk_size):
    policy, everything = TableGenerator(ENDING), every_sequence(ENDING)
    reward = TableReward(ENDING.num_actions)
    judged = reward.returns(everything)
    some = Sequences.from_rows([[0, 1, 2, 0], [2, 2, 3], [1, 3]], ENDING, MAX_LENGTH)
    exact, variance = exact_moments(policy, some, everything, judged)
    own = exact[:, -1].float()
    values = monte_carlo_action_values(
        policy, reward, as_trajectories(policy, some, own), 2000, seeded(4), chunk_size
    )
    assert bool(((values - exact).abs() <= 4 * (variance / 2000).sqrt() + 1e-6).all())


def test_completions_keep_the_prompt_and_the_columns_of_their_row():
    """A reward may look at references or labels; row i has prompt i and weight 10 i."""
    vocabulary = Vocabulary(tuple("abcdefg"), has_eos=False, bos_word=0)
    policy = TableGenerator(vocabulary).always(0)
    plain = replace(
        Sequences.from_rows([[i] * 4 for i in range(1, 4)], vocabulary, 4),
        columns={"weight": [10, 20, 30]},
    )
    prompts = torch.tensor([[7, 1], [7, 2], [7, 3]])
    prompted = replace(plain, prompts=prompts, prompt_mask=prompts != 7)
    for sequences, scale in ((plain, 10), (prompted, 110)):
        reward = ContextReward()
        trajectories = as_trajectories(policy, sequences, reward.score(sequences))
        values = monte_carlo_action_values(policy, reward, trajectories, 2, seeded(), 5)
        assert values.tolist() == [[scale * i + t + 1 for t in range(4)] for i in range(1, 4)]
        # The rows themselves; then two prefixes at a time, whose two completions are equal.
        assert reward.seen == [3, 2, 2, 2, 2, 1]


def test_the_policy_argument_is_the_one_that_completes():
    """With a delayed copy, values are that copy's; the acting generator's would differ."""
    generator, delayed = TableGenerator(FIXED, seed=0), TableGenerator(FIXED, seed=1)
    everything = every_sequence(FIXED)
    reward = TableReward(FIXED.num_actions)
    judged = reward.returns(everything)
    rows = torch.arange(0, 81, 27)
    some = everything.select(rows)
    values = monte_carlo_action_values(
        delayed, reward, as_trajectories(generator, some, judged[rows]), 4000, seeded()
    )
    wanted, variance = exact_moments(delayed, some, everything, judged)
    unwanted, _ = exact_moments(generator, some, everything, judged)
    tolerance = 4 * (variance / 4000).sqrt() + 1e-6
    assert bool(((values - wanted).abs() <= tolerance).all())
    assert float(((values - unwanted).abs() / tolerance)[:, :-1].max()) > 5


@pytest.mark.parametrize("kind", ["lstm", "gru"])
@VOCABULARIES
def test_a_rollout_goes_on_as_the_policy_itself_would(vocabulary, kind):
    """Suffix log-probabilities from a gathered state equal the teacher-forced ones."""
    policy, everything = policy_for(kind, vocabulary).eval(), every_sequence(vocabulary)
    forced = token_log_softmax(policy, everything)
    prefix_states = policy.encode(everything)
    # A mix of prefixes in one batch, in no order, each twice: as rollouts ask for them.
    rows, lengths = torch.nonzero(everything.mask, as_tuple=True)
    order = torch.randperm(len(rows), generator=seeded()).repeat_interleave(2)
    rows, lengths = rows[order], lengths[order]
    assert {0, 1, 2, 3} == set(lengths.tolist())
    logits, state = prefix_states.gather(rows, lengths)
    while len(rows):
        tokens = everything.tokens[rows, lengths]
        suffix = logits.double().log_softmax(dim=1).gather(1, tokens[:, None])[:, 0]
        torch.testing.assert_close(suffix, forced[rows, lengths], atol=1e-5, rtol=1e-5)
        going = (lengths + 1 < everything.lengths[rows]).nonzero()[:, 0]
        rows, lengths, tokens = rows[going], lengths[going] + 1, tokens[going]
        if len(rows):
            logits, state = policy.step(tokens, state.select(going))


@POLICIES
def test_same_seed_same_values(kind):
    policy, reward = policy_for(kind, ENDING), TableReward(ENDING.num_actions)
    everything = every_sequence(ENDING)
    trajectories = as_trajectories(policy, everything, reward.returns(everything))
    first, second, other = (
        monte_carlo_action_values(policy, reward, trajectories, 2, seeded(seed))
        for seed in (3, 3, 4)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_dropout_is_off_and_no_gradient_is_kept():
    config = RecurrentGeneratorConfig(embedding_size=4, hidden_size=5, init_std=1.0, dropout=0.9)
    with seeded_from(seeded()):
        policy = RecurrentGenerator(config, ENDING)
    reward, everything = TableReward(ENDING.num_actions), every_sequence(ENDING)
    trajectories = as_trajectories(policy.eval(), everything, reward.returns(everything))
    quiet = monte_carlo_action_values(policy, reward, trajectories, 2, seeded())
    noisy = monte_carlo_action_values(policy.train(), reward, trajectories, 2, seeded())
    assert torch.equal(quiet, noisy)
    assert not quiet.requires_grad


@pytest.mark.parametrize("num_rollouts", [-1, -3])
def test_a_negative_number_of_rollouts(num_rollouts):
    policy, everything = TableGenerator(FIXED), every_sequence(FIXED)
    trajectories = as_trajectories(policy, everything, torch.zeros(81))
    with pytest.raises(ValueError, match=f"num_rollouts is {num_rollouts}, but must be at least 0"):
        monte_carlo_action_values(policy, ConstantReward(), trajectories, num_rollouts, seeded())


def test_sequences_without_a_vocabulary():
    policy, everything = TableGenerator(FIXED), every_sequence(FIXED)
    trajectories = as_trajectories(policy, replace(everything, vocabulary=None), torch.zeros(81))
    with pytest.raises(ValueError, match="carry no vocabulary"):
        monte_carlo_action_values(policy, ConstantReward(), trajectories, 1, seeded())


@pytest.mark.parametrize("scores", [torch.zeros(3), torch.zeros(6, 4)], ids=["rows", "axes"])
def test_a_reward_of_the_wrong_shape(scores):
    @dataclass
    class Wrong:
        name: str = "wrong"
        per_token: bool = False

        def score(self, sequences):
            return scores

    policy = TableGenerator(FIXED)
    some = every_sequence(FIXED).select(torch.tensor([0, 1]))
    trajectories = as_trajectories(policy, some, torch.zeros(2))
    with pytest.raises(
        ValueError, match=r"reward 'wrong' failed on row 0 .*: it gave rewards of shape"
    ):
        monte_carlo_action_values(policy, Wrong(), trajectories, 1, seeded())


def test_a_reward_that_is_not_finite():
    policy = TableGenerator(FIXED)
    some = every_sequence(FIXED).select(torch.tensor([0, 1]))
    trajectories = as_trajectories(policy, some, torch.zeros(2))
    reward = ConstantReward()
    reward.value = math.inf
    with pytest.raises(
        ValueError, match=r"'constant' failed on row 0 .*: it gave inf, but a reward must be finite"
    ):
        monte_carlo_action_values(policy, reward, trajectories, 1, seeded())


class TestEnvironmentPath:
    """The environment and the rollouts are two ways to the same reward."""

    def environment(self, vocabulary, reward, num_envs, max_length=MAX_LENGTH):
        return make_task_env(FixedTask(vocabulary, max_length, {}), reward, num_envs)

    @VOCABULARIES
    @pytest.mark.parametrize("per_token", [False, True], ids=["whole", "per_token"])
    def test_forced_tokens_earn_what_rollouts_give_them(self, vocabulary, per_token):
        """All sequences at once, each forced into its row of the environment."""
        everything = every_sequence(vocabulary)
        reward = TableReward(vocabulary.num_actions, per_token)
        env = self.environment(vocabulary, reward, len(everything))
        env.reset()
        earned = []
        for tokens in everything.tokens.where(everything.mask, 0).unbind(dim=1):
            _, step_reward, terminated, truncated, _ = env.step(tokens.numpy())
            earned.append(torch.from_numpy(step_reward).float())
        assert bool(np.all(terminated))
        assert not np.any(truncated)
        rewards = torch.stack(earned, dim=1)

        judged = reward.returns(everything)
        expected = as_trajectories(TableGenerator(vocabulary), everything, judged).rewards
        assert torch.equal(rewards, expected)
        # From any prefix that leaves no choice, rollouts say the same.
        policy = TableGenerator(vocabulary).always(1)
        trajectories = Trajectories(everything, torch.zeros_like(rewards), rewards)
        values = monte_carlo_action_values(policy, reward, trajectories, 1, seeded())
        index = int((everything.tokens == 1).all(dim=1).nonzero())
        torch.testing.assert_close(values[index], judged[index].expand(MAX_LENGTH))
        last = (everything.lengths - 1)[:, None]
        assert torch.equal(values.gather(1, last)[:, 0], judged)

    @VOCABULARIES
    @POLICIES
    def test_collected_numbers_belong_to_their_row_and_step(self, vocabulary, kind):
        policy, reward = policy_for(kind, vocabulary), TableReward(vocabulary.num_actions)
        env = self.environment(vocabulary, reward, 100)
        trajectories = collect(env, policy, vocabulary, MAX_LENGTH, seeded())
        sequences = trajectories.sequences
        assert len({tuple(row) for row in sequences.tokens.tolist()}) > 5
        expected = as_trajectories(policy, sequences, reward.returns(sequences))
        assert torch.equal(trajectories.rewards, expected.rewards)
        assert torch.equal(trajectories.returns, reward.returns(sequences))
        torch.testing.assert_close(trajectories.log_probs, expected.log_probs, atol=1e-5, rtol=1e-5)
        # A row stops at its eos, and not before: its tokens are those of a finished sequence.
        finished = {tuple(row) for row in every_sequence(vocabulary).tokens.tolist()}
        assert {tuple(row) for row in sequences.tokens.tolist()} <= finished
        assert torch.equal(sequences.mask, sequences.tokens != vocabulary.pad_id)

    def test_collects_from_the_generator(self):
        """The frequency of every sequence, by chi-square (99.9% quantile of 80 degrees: 124.8)."""
        policy, everything = TableGenerator(FIXED), every_sequence(FIXED)
        with torch.no_grad():
            policy.logits.mul_(0.3)
        env = self.environment(FIXED, ConstantReward(), 10_000)
        tokens = collect(env, policy, FIXED, MAX_LENGTH, seeded()).tokens
        codes = (tokens * torch.tensor([27, 9, 3, 1])).sum(dim=1)
        expected = 10_000 * probabilities(policy, everything).detach()
        assert float(expected.min()) > 5
        statistic = ((codes.bincount(minlength=81) - expected) ** 2 / expected).sum()
        assert float(statistic) < 124.8

    def test_same_seed_same_trajectories(self):
        env = self.environment(ENDING, TableReward(ENDING.num_actions), 20)
        first, second, other = (
            collect(env, TableGenerator(ENDING), ENDING, MAX_LENGTH, seeded(seed))
            for seed in (1, 1, 2)
        )
        for name in ("tokens", "log_probs", "rewards"):
            assert torch.equal(getattr(first, name), getattr(second, name))
        assert not torch.equal(first.tokens, other.tokens)

    @POLICIES
    def test_rows_that_have_ended_may_leave_the_batch(self, kind):
        """The rest are the same: each has its own draws, and the states of its own tokens."""
        collected = []
        for drops in (False, True):
            policy = policy_for(kind, ENDING)
            policy.drops_ended_rows = drops
            env = self.environment(ENDING, TableReward(ENDING.num_actions), 20)
            collected.append(collect(env, policy, ENDING, MAX_LENGTH, seeded()))
        kept, dropped = collected
        assert len(kept.sequences.lengths.unique()) > 2
        assert torch.equal(kept.tokens, dropped.tokens)
        assert torch.equal(kept.rewards, dropped.rewards)
        torch.testing.assert_close(kept.log_probs, dropped.log_probs, atol=1e-6, rtol=1e-5)

    def test_collect_refuses_an_environment_that_resets_itself(self):
        env = self.environment(ENDING, ConstantReward(), 2)
        env.metadata = {**env.metadata, "autoreset_mode": "NextStep"}
        with pytest.raises(ValueError, match="autoreset mode is not DISABLED"):
            collect(env, TableGenerator(ENDING), ENDING, MAX_LENGTH, seeded())


# Every k-th prefix only


@pytest.mark.parametrize("stride", [2, 3, 5])
def test_values_between_strides_lie_on_straight_lines(stride):
    """Rows of 1 to 9 tokens in 9 columns against one row at a time by NumPy."""
    lengths = torch.arange(1, 10)
    values = torch.randn(2, 9, 9, generator=seeded())
    mixed = between_strides(values, lengths, stride)
    for row, length in enumerate(lengths.tolist()):
        known = sorted({*range(0, length - 1, stride), length - 1})
        for part in range(2):
            line = np.interp(np.arange(length), known, values[part, row, known].numpy())
            np.testing.assert_allclose(mixed[part, row, :length], line, atol=1e-6)
        assert torch.equal(mixed[:, row, length:], values[:, row, length:])


def test_an_unknown_neighbour_leaves_the_other_ones_value():
    nan = torch.nan
    values = torch.tensor([[[1.0, 9, nan, 9, 5, 9, 7], [nan, 9, nan, 9, nan, 9, 4]]])
    mixed = between_strides(values, torch.tensor([7, 7]), 2)
    expected = torch.tensor([[[1.0, 1, nan, 5, 5, 6, 7], [nan, nan, nan, nan, nan, 4, 4]]])
    torch.testing.assert_close(mixed, expected, equal_nan=True)


@VOCABULARIES
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_a_stride_values_every_kth_prefix_and_interpolates(vocabulary, stride):
    """Against the exact values of every sequence there is, within the noise of the rollouts."""
    policy, everything = TableGenerator(vocabulary), every_sequence(vocabulary)
    reward = TableReward(vocabulary.num_actions)
    rewards = reward.returns(everything)
    trajectories = as_trajectories(policy, everything, rewards)
    exact = exact_action_values(policy, everything, everything, rewards)
    values = monte_carlo_action_values(policy, reward, trajectories, 2000, seeded(), stride=stride)
    for row, length in enumerate(everything.lengths.tolist()):
        known = sorted({*range(0, length - 1, stride), length - 1})
        line = np.interp(np.arange(length), known, exact[row, known].numpy())
        np.testing.assert_allclose(values[row, :length], line, atol=0.15)
        assert values[row, length - 1] == rewards[row]


def test_a_stride_completes_only_what_it_values():
    policy, everything = TableGenerator(FIXED), every_sequence(FIXED)
    reward = TableReward(FIXED.num_actions)
    trajectories = as_trajectories(policy, everything, reward.returns(everything))
    counts = []
    for stride in (1, 2, 3, 4):
        calls = CountedCompletions(policy)
        monte_carlo_action_values(calls, reward, trajectories, 5, seeded(), stride=stride)
        counts.append(calls.prefixes)
    # Of each row the prefixes of 1, 2 and 3 tokens; 1 and 3; 1 alone.
    assert counts == [3 * 81, 2 * 81, 81, 81]


class CountedCompletions(TableGenerator):
    """Counts the prefixes whose states are asked for."""

    def __init__(self, policy):
        super().__init__(FIXED)
        self.load_state_dict(policy.state_dict())
        self.prefixes = 0

    def encode(self, sequences):
        states, counted = super().encode(sequences), self

        class Counting:
            def gather(self, rows, lengths):
                counted.prefixes += len(rows)
                return states.gather(rows, lengths)

        return Counting()


def test_stride_of_parts_is_that_of_their_sum():
    policy, everything = TableGenerator(ENDING), every_sequence(ENDING)
    rewards = as_weighted_sum(TableReward(ENDING.num_actions))
    own = rewards.parts[0].returns(everything)
    trajectories = as_trajectories(policy, everything, own)
    whole = monte_carlo_action_values(policy, rewards, trajectories, 4, seeded(), stride=2)
    parts = monte_carlo_part_values(policy, rewards, trajectories, 4, seeded(), stride=2)
    assert torch.equal(parts[0], whole)


def test_stride_out_of_range():
    policy, everything = TableGenerator(FIXED), every_sequence(FIXED)
    trajectories = as_trajectories(policy, everything, torch.zeros(len(everything)))
    with pytest.raises(ValueError, match="stride is 0, but must be at least 1"):
        monte_carlo_action_values(policy, ConstantReward(), trajectories, 1, seeded(), stride=0)
