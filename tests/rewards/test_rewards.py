"""Rewards: the contract, the controls, and the discriminator's."""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from reward_suite import MAX_LENGTH, ROWS, VOCABULARY, RewardConformance, from_rows, seeded
from torch.nn.functional import logsigmoid

from seqgan.data.sequences import Sequences
from seqgan.models.discriminators.causal import CausalDiscriminator, CausalDiscriminatorConfig
from seqgan.models.discriminators.cnn import CNNDiscriminator, CNNDiscriminatorConfig
from seqgan.models.discriminators.recurrent import (
    RecurrentDiscriminator,
    RecurrentDiscriminatorConfig,
)
from seqgan.rewards.adapters.environment import as_env_reward
from seqgan.rewards.base import RewardError, TrainableReward, returns
from seqgan.rewards.discriminator import DiscriminatorReward, shape_reward
from seqgan.rewards.discriminator_step import DiscriminatorUpdate
from seqgan.rewards.shipped.controls import ConstantReward, RandomReward
from seqgan.system.seeding import seeded_from


def discriminator_reward(
    kind="cnn", dropout=0.0, sgd=False, learning_rate=0.01, shape="probability", **settings
):
    with seeded_from(seeded()):
        if kind == "cnn":
            config = CNNDiscriminatorConfig(
                embedding_size=4, filter_sizes=(1, 2), num_filters=(6, 6), dropout=dropout
            )
            discriminator = CNNDiscriminator(config, VOCABULARY, MAX_LENGTH)
        elif kind == "causal":
            config = CausalDiscriminatorConfig(width=8, num_heads=2, dropout=dropout)
            discriminator = CausalDiscriminator(config, VOCABULARY, MAX_LENGTH)
        else:
            config = RecurrentDiscriminatorConfig(embedding_size=4, hidden_size=5, dropout=dropout)
            discriminator = RecurrentDiscriminator(config, VOCABULARY, MAX_LENGTH)
    optimizer = torch.optim.SGD if sgd else torch.optim.Adam
    return DiscriminatorReward(
        discriminator,
        optimizer(discriminator.parameters(), learning_rate),
        shape,
        settings=DiscriminatorUpdate(**settings),
    )


class PositionReward:
    """A per-token reward: the t-th real token earns 10 ** t, padding 0."""

    name = "position"
    per_token = True

    def score(self, sequences):
        powers = 10.0 ** torch.arange(sequences.tokens.shape[1])
        return torch.where(sequences.mask, powers, 0.0)


class TestConstantReward(RewardConformance):
    def make(self):
        return ConstantReward(2.5)

    def test_value(self, reward, sequences):
        assert reward.score(sequences).tolist() == [2.5] * 5


class TestRandomReward(RewardConformance):
    def make(self):
        return RandomReward(3)

    @pytest.fixture(scope="class")
    def many(self):
        """20,000 distinct sequences that share most of their tokens."""
        numbers = torch.arange(20_000)
        digits = [numbers % 200, numbers // 200 % 10, numbers // 2000, numbers * 0]
        tokens = torch.stack(digits, dim=1)
        return Sequences(tokens, torch.ones_like(tokens, dtype=torch.bool))

    def test_looks_uniform(self, many):
        values = RandomReward(0).score(many).double()
        assert float(values.min()) >= 0
        assert float(values.max()) < 1
        # Standard errors of mean and variance of 20,000 uniform numbers: 0.0020 and 0.0005.
        assert float(values.mean()) == pytest.approx(1 / 2, abs=0.007)
        assert float(values.var()) == pytest.approx(1 / 12, abs=0.002)
        counts = torch.histc(values, bins=20, min=0, max=1)
        assert float(((counts - 1000) ** 2 / 1000).sum()) < 43.82  # 99.9% at 19 degrees

    def test_neighbours_are_unrelated(self, many):
        values = RandomReward(0).score(many)
        for distance in (1, 200, 2000):  # sequences that differ in one token
            pair = torch.stack([values[distance:], values[:-distance]])
            assert abs(float(torch.corrcoef(pair)[0, 1])) < 0.03
        assert values.unique().numel() > 19_950  # of 2 ** 24 values a few coincide

    def test_seeds_are_unrelated(self, many):
        first, second = RandomReward(0).score(many), RandomReward(1).score(many)
        assert abs(float(torch.corrcoef(torch.stack([first, second]))[0, 1])) < 0.03

    def test_neighbouring_seeds_do_not_share_their_values(self, many):
        """No seed gives, for other sequences, the values of another seed."""
        first = set(RandomReward(0).score(many).tolist())
        for seed in (1, 2, 31):
            shared = first & set(RandomReward(seed).score(many).tolist())
            assert len(shared) < 100  # 24 by chance

    def test_a_longer_sequence_is_another(self):
        rows = [[0], [0, 0], [0, 0, 0], [0, 0, 0, 0], [1, 0], [0, 1]]
        assert RandomReward(0).score(from_rows(rows)).unique().numel() == 6


class TestPositionReward(RewardConformance):
    """A per-token reward."""

    def make(self):
        return PositionReward()

    def test_returns_are_sums(self, reward, sequences):
        assert returns(reward, sequences).tolist() == [11111, 1, 111, 1111, 11111]


@pytest.mark.parametrize("kind", ["cnn", "gru"])
class TestDiscriminatorReward(RewardConformance):
    @pytest.fixture(autouse=True)
    def configured(self, kind):
        self.kind = kind

    def make(self):
        return discriminator_reward(self.kind, dropout=0.5)

    def test_is_trainable(self, reward):
        assert isinstance(reward, TrainableReward)

    def test_scoring_changes_nothing(self, reward, sequences):
        """Dropout is off even after training, no gradient is kept, no parameter moves."""
        reward.discriminator.train()
        before = copy.deepcopy(reward.discriminator.state_dict())
        scores = reward.score(sequences)
        assert not scores.requires_grad
        assert torch.equal(scores, reward.score(sequences))
        for name, value in reward.discriminator.state_dict().items():
            assert torch.equal(value, before[name]), name
        assert all(parameter.grad is None for parameter in reward.discriminator.parameters())

    def test_scores_are_shaped_logits(self, reward, sequences):
        logits = reward.logits(sequences)
        torch.testing.assert_close(reward.score(sequences), torch.sigmoid(logits))
        reward.shape = "logit"
        torch.testing.assert_close(reward.score(sequences), logits)

    def test_half_precision_is_the_same_to_its_rounding(self, sequences):
        """In scoring and in training, where the parameters stay in single precision."""
        exact = discriminator_reward(self.kind)
        rounded = discriminator_reward(self.kind, precision="bfloat16")
        scores = rounded.score(sequences)
        assert scores.dtype == torch.float32
        torch.testing.assert_close(scores, exact.score(sequences), atol=0.02, rtol=0.02)
        assert not torch.equal(scores, exact.score(sequences))
        real, generated = sequences.select(torch.arange(3)), sequences.select(torch.tensor([3, 4]))
        wanted, given = exact.update(real, generated), rounded.update(real, generated)
        assert given["losses/discriminator"] == pytest.approx(
            wanted["losses/discriminator"], abs=0.02
        )
        assert given["losses/discriminator"] != wanted["losses/discriminator"]
        for parameter in rounded.discriminator.parameters():
            assert parameter.dtype == torch.float32

    def test_learns_to_separate(self):
        reward = discriminator_reward(self.kind, dropout=0.2, learning_rate=0.05)
        real, generated = from_rows([[0, 0, 4], [0, 0, 0]]), from_rows([[1, 4], [1, 1, 1, 1]])
        first = reward.update(real, generated)
        for _ in range(40):
            last = reward.update(real, generated)
        assert torch.all(reward.score(real) > 0.95)
        assert torch.all(reward.score(generated) < 0.05)
        assert last["losses/discriminator"] < 0.2 < first["losses/discriminator"]
        assert last["discriminator/accuracy_real"] == 1
        assert last["discriminator/accuracy_generated"] == 1

    def test_metrics_of_an_update(self, sequences):
        """Measured before the step, on real (rows 0 to 2) and generated (3 and 4) apart."""
        reward = discriminator_reward(self.kind)
        real, generated = sequences.select(torch.arange(3)), sequences.select(torch.tensor([3, 4]))
        real_logits, generated_logits = reward.logits(real), reward.logits(generated)
        loss = -(logsigmoid(real_logits).mean() + logsigmoid(-generated_logits).mean()) / 2
        metrics = reward.update(real, generated)
        assert metrics["losses/discriminator"] == pytest.approx(float(loss), abs=1e-6)
        accuracy = float((real_logits > 0).float().mean())
        assert metrics["discriminator/accuracy_real"] == pytest.approx(accuracy)
        accuracy = float((generated_logits <= 0).float().mean())
        assert metrics["discriminator/accuracy_generated"] == pytest.approx(accuracy)
        assert metrics["losses/grad_norm_discriminator"] > 0

    def test_l2_pulls_on_the_output_layer_only(self, sequences):
        """With plain gradient descent at rate 1, the penalty's share of the step is l2 * w."""
        plain, penalised = (
            discriminator_reward(self.kind, sgd=True, learning_rate=1.0, l2=l2) for l2 in (0.0, 0.5)
        )
        before = copy.deepcopy(plain.discriminator.state_dict())
        for reward in (plain, penalised):
            reward.update(sequences, sequences.select(torch.tensor([1, 2])))
        after, after_penalised = (r.discriminator.state_dict() for r in (plain, penalised))
        for name, value in before.items():
            share = 0.5 * value if name.startswith("output.") else torch.zeros_like(value)
            torch.testing.assert_close(after[name] - after_penalised[name], share)

    def test_gradient_norm_is_clipped(self, sequences):
        reward = discriminator_reward(
            self.kind, sgd=True, learning_rate=1.0, l2=50.0, max_grad_norm=0.1
        )
        before = copy.deepcopy(reward.discriminator)
        metrics = reward.update(sequences, sequences.select(torch.tensor([1])))
        steps = [
            (a - b).detach().flatten()
            for a, b in zip(reward.discriminator.parameters(), before.parameters(), strict=True)
        ]
        assert metrics["losses/grad_norm_discriminator"] > 1  # before clipping
        assert float(torch.cat(steps).norm()) == pytest.approx(0.1, rel=1e-3)

    def test_state_dict_round_trip(self, sequences):
        """A copy goes on bit for bit, the optimiser's moments included."""
        original, restored = self.make(), self.make()
        generated = sequences.select(torch.tensor([1, 2]))
        with seeded_from(seeded()):
            for _ in range(3):
                original.update(sequences, generated)
        restored.load_state_dict(copy.deepcopy(original.state_dict()))
        assert torch.equal(original.score(sequences), restored.score(sequences))
        for reward in (original, restored):
            with seeded_from(seeded(1)):
                reward.update(sequences, generated)
        assert torch.equal(original.score(sequences), restored.score(sequences))


@pytest.mark.parametrize("kind", ["cnn", "gru", "causal"])
@pytest.mark.parametrize(
    "settings",
    [{}, {"label_smoothing": 0.1, "l2": 0.5}, {"gradient_penalty": 0.5}],
    ids=["plain", "smoothed", "penalised"],
)
def test_micro_batches_add_up_to_the_step(kind, settings):
    """Of three pairs, two and one; texts have different lengths."""
    real = from_rows([[0, 1, 4], [2], [1, 1, 2, 4]])
    generated = from_rows([[3, 4], [0, 0, 2, 1], [2, 4]])
    whole, parted = (
        discriminator_reward(kind, sgd=True, learning_rate=1.0, micro_batch_size=size, **settings)
        for size in (0, 4)
    )
    expected, found = (each.update(real, generated) for each in (whole, parted))
    assert found == pytest.approx(expected, rel=1e-5)
    for one, other in zip(
        parted.discriminator.parameters(), whole.discriminator.parameters(), strict=True
    ):
        torch.testing.assert_close(one, other)


class TestDiscriminatorOfTokens(RewardConformance):
    def make(self):
        return discriminator_reward("causal", dropout=0.5, shape="centred")

    def test_each_token_earns_the_reward_of_its_prefix(self, reward, sequences):
        assert reward.per_token
        scores = reward.score(sequences)
        for row, ids in enumerate(ROWS):
            for step in range(len(ids)):
                prefix = from_rows([ids[: step + 1]])
                expected = 2 * torch.sigmoid(reward.logits(prefix)) - 1
                torch.testing.assert_close(scores[row, step], expected[0])

    def test_learns_which_token_gives_a_text_away(self):
        """Both kinds begin alike; only the third token tells them apart, and later ones too."""
        reward = discriminator_reward("causal", learning_rate=0.02, shape="centred")
        real, generated = from_rows([[0, 1, 2, 4]]), from_rows([[0, 1, 3, 4]])
        for _ in range(60):
            metrics = reward.update(real, generated)
        scores = torch.cat([reward.score(real), reward.score(generated)])
        assert torch.all(scores[:, :2].abs() < 0.2)
        assert torch.all(scores[0, 2:4] > 0.8)
        assert torch.all(scores[1, 2:4] < -0.8)
        assert metrics["losses/discriminator"] == pytest.approx(math.log(2) / 2, abs=0.06)
        assert metrics["discriminator/accuracy_real"] == 1

    def test_pairs_have_no_tokens_in_common(self):
        with pytest.raises(
            ValueError,
            match="the loss is pairwise, but must be binary for a discriminator of every token",
        ):
            discriminator_reward("causal", loss_kind="pairwise")


@pytest.mark.parametrize("loss_kind", ["binary", "pairwise"])
def test_a_discriminator_waits_where_it_tells_enough_apart(loss_kind):
    """Half of these texts, and of these pairs: a bound of 0.4 stops it, one of 0.5 does not."""
    real, generated = from_rows([[0, 4], [1, 1]]), from_rows([[1, 1], [0, 4]])
    for bound, steps in ((0.4, 0.0), (0.5, 1.0)):
        reward = discriminator_reward("gru", loss_kind=loss_kind, max_accuracy=bound)
        before = [parameter.clone() for parameter in reward.discriminator.parameters()]
        metrics = reward.update(real, generated)
        moved = zip(before, reward.discriminator.parameters(), strict=True)
        assert metrics["discriminator/steps"] == steps
        assert any(not torch.equal(old, new) for old, new in moved) is bool(steps)
        assert math.isfinite(metrics["losses/discriminator"])
    assert "discriminator/steps" not in discriminator_reward("gru").update(real, generated)


class TestPairs:
    def test_the_loss_is_of_row_against_row(self):
        reward = discriminator_reward("gru", loss_kind="pairwise")
        real, generated = from_rows([[0, 4], [1, 1]]), from_rows([[2, 4], [3, 0, 4]])
        difference = reward.logits(real) - reward.logits(generated)
        metrics = reward.update(real, generated)
        expected = float(-logsigmoid(difference).mean())
        assert metrics["losses/discriminator"] == pytest.approx(expected, abs=1e-6)

    def test_a_pair_is_told_apart_where_its_real_text_is_above(self):
        reward = discriminator_reward("gru", loss_kind="pairwise")
        real, generated = from_rows([[0, 4], [1, 1]]), from_rows([[1, 1], [0, 4]])
        metrics = reward.update(real, generated)  # the same two texts the other way round
        assert metrics["discriminator/accuracy_pairs"] == 0.5

    def test_zero_stays_the_threshold(self):
        """Begun far off, where all that a pair says is right and every text would count as real."""
        reward = discriminator_reward("gru", learning_rate=0.05, loss_kind="pairwise")
        with torch.no_grad():
            reward.discriminator.output.bias.fill_(3.0)
        real, generated = from_rows([[0, 0, 4], [0, 0, 0]]), from_rows([[1, 4], [1, 1, 1, 1]])
        first = reward.update(real, generated)
        assert first["discriminator/accuracy_generated"] == 0
        for _ in range(100):
            last = reward.update(real, generated)
        assert last["losses/discriminator"] < 0.1
        assert last["discriminator/accuracy_real"] == last["discriminator/accuracy_generated"] == 1
        middle = (reward.logits(real).mean() + reward.logits(generated).mean()) / 2
        assert abs(float(middle)) < 0.5


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        # D = 1/4, 1/2, 9/10, and a D so sure that the logit is -20, then +20.
        ("probability", [0.25, 0.5, 0.9, 0.0, 1.0]),
        ("log_probability", [-math.log(4), -math.log(2), math.log(0.9), -5.0, 0.0]),
        ("minimax", [-math.log(0.75), math.log(2), math.log(10), 0.0, 5.0]),
        ("logit", [-math.log(3), 0.0, math.log(9), -5.0, 5.0]),
        ("centred", [-0.5, 0.0, 0.8, -1.0, 1.0]),
    ],
)
def test_shapes_by_hand(shape, expected):
    logits = torch.tensor([-math.log(3), 0.0, math.log(9), -20.0, 20.0])
    assert shape_reward(logits, shape, clip=5.0).tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("shape", ["log_probability", "minimax", "logit"])
def test_clip_is_a_bound(shape):
    values = shape_reward(torch.linspace(-30, 30, 61), shape, clip=0.5)
    assert float(values.abs().max()) == 0.5
    assert torch.all(values.diff() >= 0)  # a realer text never earns less
    assert values.unique().numel() > 2


class Returning:
    """A reward model that gives what it is told to."""

    name = "mine"

    def __init__(self, scores, per_token=False):
        self.scores = torch.tensor(scores)
        self.per_token = per_token

    def score(self, sequences):
        return self.scores


class TestReturns:
    SEQUENCES = Sequences.from_rows([[0, 1], [2]], VOCABULARY, 3)

    @pytest.mark.parametrize(
        ("model", "rule"),
        [
            (Returning([1.0, 2.0, 3.0]), r"it gave rewards of shape \(3,\), but must give \(2,\)"),
            (
                Returning([[1.0, 2.0, 0.0]] * 2),
                r"it gave rewards of shape \(2, 3\), but must give \(2,\)",
            ),
            (
                Returning([1.0, 2.0], per_token=True),
                r"it gave rewards of shape \(2,\), but must give \(2, 3\)",
            ),
            (Returning([[1.0], [2.0]]), r"it gave rewards of shape \(2, 1\), but must give \(2,\)"),
            (
                Returning([-math.inf, 0.0]),
                r"on row 0 \('a b'\): it gave -inf, but a reward must be finite",
            ),
            (
                Returning([1e12, -3e38]),
                r"on row 1 .* it gave -3.*, but a reward must be at most 1e\+12 in size",
            ),
            (
                Returning([[1.0, 1.0, 0.0], [math.inf, 0.0, 0.0]], per_token=True),
                r"on row 1 \('c'\): it gave inf, but a reward must be finite",
            ),
        ],
    )
    def test_what_is_no_reward(self, model, rule):
        with pytest.raises(RewardError, match=f"^reward 'mine' failed.*{rule}"):
            returns(model, self.SEQUENCES)

    def test_a_list_is_no_reward(self):
        model = Returning([1.0, 2.0])
        model.score = lambda sequences: [1.0, 2.0]
        with pytest.raises(RewardError, match="it gave a list, but a reward must be a tensor"):
            returns(model, self.SEQUENCES)

    def test_nan_says_that_a_reward_does_not_apply(self):
        values = returns(Returning([math.nan, 2.0]), self.SEQUENCES).tolist()
        assert math.isnan(values[0])
        assert values[1] == 2.0

    def test_increments_on_padding_do_not_count(self):
        model = Returning([[1.0, 2.0, 40.0], [3.0, 50.0, 60.0]], per_token=True)
        assert returns(model, self.SEQUENCES).tolist() == [3.0, 3.0]

    def test_integers_and_doubles_become_floats(self):
        for scores in ([1, 2], [True, False]):
            assert returns(Returning(scores), self.SEQUENCES).dtype == torch.float32


def test_environment_passes_prompts_on():
    class Remembering:
        name = "remembering"
        per_token = False

        def score(self, sequences):
            self.seen = sequences
            return torch.zeros(len(sequences))

    model = Remembering()
    tokens, prompts = np.array([[0, 1, 9], [2, 9, 9]]), np.array([[6, 3], [1, 2]])
    as_env_reward(model, VOCABULARY)(tokens, np.array([2, 1]), prompts)
    assert model.seen.tokens.tolist() == [[0, 1, 6], [2, 6, 6]]
    assert model.seen.mask.tolist() == [[True, True, False], [True, False, False]]
    assert model.seen.prompts.tolist() == prompts.tolist()
    assert model.seen.prompt_mask.tolist() == [[False, True], [True, True]]
    assert model.seen.texts == ["a b", "c"]


def test_prompts_do_not_change_a_control():
    prompted = replace(
        from_rows(ROWS), prompts=torch.ones(5, 2).long(), prompt_mask=torch.ones(5, 2).bool()
    )
    for model in (ConstantReward(), RandomReward()):
        assert torch.equal(model.score(prompted), model.score(from_rows(ROWS)))
