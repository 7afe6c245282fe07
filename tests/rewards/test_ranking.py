"""RankGAN's ranker: the equations by hand, its training, and what a checkpoint keeps of it."""

import copy
import math

import numpy as np
import pytest
import torch
from reward_suite import MAX_LENGTH, ROWS, VOCABULARY, RewardConformance, from_rows, seeded

from seqgan.models.discriminators.cnn import CNNDiscriminator, CNNDiscriminatorConfig
from seqgan.models.discriminators.recurrent import (
    RecurrentDiscriminator,
    RecurrentDiscriminatorConfig,
)
from seqgan.rewards.base import RewardError, TrainableReward, returns
from seqgan.rewards.shipped.ranking import RankingReward, log_rank, rankgan
from seqgan.system.seeding import seeded_from
from seqgan.tasks.base import FixedTask
from seqgan.training.checkpoints import load_checkpoint, save_checkpoint

REFERENCES = [[0, 0, 4], [0, 1, 4], [0, 0, 0, 4]]
COMPARISONS = [[0, 4], [1, 0, 4]]


def ranking_reward(kind="gru", dropout=0.0, learning_rate=0.01, gamma=2.0, **settings):
    with seeded_from(seeded()):
        if kind == "cnn":
            config = CNNDiscriminatorConfig(
                embedding_size=4, filter_sizes=(1, 2), num_filters=(6, 6), dropout=dropout
            )
            ranker = CNNDiscriminator(config, VOCABULARY, MAX_LENGTH)
        else:
            config = RecurrentDiscriminatorConfig(embedding_size=4, hidden_size=5, dropout=dropout)
            ranker = RecurrentDiscriminator(config, VOCABULARY, MAX_LENGTH)
    optimizer = torch.optim.Adam(ranker.parameters(), learning_rate)
    references, comparisons = from_rows(REFERENCES), from_rows(COMPARISONS)
    return RankingReward(ranker, optimizer, references, comparisons, gamma, **settings)


def cosine(first, second):
    return float(first @ second / np.linalg.norm(first) / np.linalg.norm(second))


def log_rank_by_definition(texts, references, comparisons, gamma):
    """The equations, a text and a reference at a time."""
    result = []
    for text in texts:
        logs = []
        for reference in references:
            ranked = [*comparisons, text]
            weights = [math.exp(gamma * cosine(other, reference)) for other in ranked]
            logs.append(math.log(weights[-1] / sum(weights)))
        result.append(sum(logs) / len(logs))
    return result


def test_log_rank_by_hand():
    """Text and reference point the same way, and both comparisons the other way."""
    one, two = torch.tensor([[2.0, 0.0]]), torch.tensor([[-1.0, 0.0], [-3.0, 0.0]])
    expected = math.log(math.e**2 / (math.e**2 + 2 * math.e**-2))
    assert float(log_rank(one, 5 * one, two, 2.0)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("gamma", [0.5, 1.0, 8.0])
def test_log_rank_is_its_definition(gamma):
    rng = np.random.default_rng(0)
    texts, references, comparisons = (rng.normal(size=(n, 4)) for n in (5, 3, 6))
    expected = log_rank_by_definition(texts, references, comparisons, gamma)
    given = log_rank(*map(torch.tensor, (texts, references, comparisons)), gamma)
    np.testing.assert_allclose(given, expected)


def test_a_text_among_its_likes_ranks_as_chance():
    same = torch.ones(7, 3)
    given = log_rank(same[:1], torch.randn(4, 3, generator=seeded()), same, 3.0)
    assert float(given) == pytest.approx(-math.log(8))


@pytest.mark.parametrize("kind", ["cnn", "gru"])
class TestRankingReward(RewardConformance):
    @pytest.fixture(autouse=True)
    def configured(self, kind):
        self.kind = kind

    def make(self):
        return ranking_reward(self.kind, dropout=0.5)

    def test_is_trainable(self, reward):
        assert isinstance(reward, TrainableReward)

    def test_scores_are_log_ranks_of_features(self, reward, sequences):
        reward.ranker.eval()
        features = [
            reward.ranker.features(part).detach().double().numpy()
            for part in (sequences, from_rows(REFERENCES), from_rows(COMPARISONS))
        ]
        expected = log_rank_by_definition(*features, 2.0)
        np.testing.assert_allclose(reward.score(sequences), expected, rtol=1e-4)
        assert len(set(expected)) == 5

    def test_scoring_changes_nothing(self, reward, sequences):
        reward.ranker.train()
        before = copy.deepcopy(reward.state_dict())
        scores = reward.score(sequences)
        assert not scores.requires_grad
        assert torch.equal(scores, reward.score(sequences))
        for name in ("references", "comparisons"):
            assert torch.equal(reward.state_dict()[name], before[name])
        for name, value in reward.ranker.state_dict().items():
            assert torch.equal(value, before["module"][name]), name
        assert all(parameter.grad is None for parameter in reward.ranker.parameters())

    def test_scores_in_chunks_after_an_update(self, reward, sequences):
        """The sets to rank among are no part of the batch that is scored."""
        reward.update(sequences, from_rows([[1, 4], [2, 2, 4]]))
        whole = returns(reward, sequences)
        chunks = [returns(reward, sequences.select(rows)) for rows in torch.arange(5).split(2)]
        torch.testing.assert_close(torch.cat(chunks), whole)

    def test_learns_to_rank(self):
        reward = ranking_reward(self.kind, dropout=0.2, learning_rate=0.05)
        real = from_rows([[0, 0, 4], [0, 0, 0], [0, 4], [0, 0, 0, 4]])
        generated = from_rows([[1, 4], [1, 1, 1, 1]])
        with seeded_from(seeded()):  # dropout
            first = reward.update(real, generated)
            for _ in range(40):
                last = reward.update(real, generated)
        assert reward.score(real).min() > reward.score(generated).max() + 1
        assert last["losses/discriminator"] < first["losses/discriminator"] - 0.25
        assert last["discriminator/accuracy_real"] == 1
        assert last["discriminator/accuracy_generated"] == 1

    def test_metrics_of_an_update(self):
        """Of eight real texts two become references, two comparisons and four are ranked."""
        reward = ranking_reward(self.kind)
        rows = [[0, 1, 4], [2, 4], [3, 3, 4], [1, 4], [0, 2, 4], [2, 2, 2, 4], [1, 0, 4], [3, 4]]
        made = [[1, 1, 4], [2, 1, 4], [3, 0, 0, 4], [0, 3, 4], [1, 2, 4]]
        texts = [rows[4:], made, [*rows[:2], REFERENCES[0]], rows[2:4], made[:2]]
        real, generated, references, comparisons, opposite = (
            reward.ranker.eval().features(from_rows(part)).detach().double().numpy()
            for part in texts
        )
        real_ranks = np.array(log_rank_by_definition(real, references, opposite, 2.0))
        ranks = np.array(log_rank_by_definition(generated, references, comparisons, 2.0))
        metrics = reward.update(from_rows(rows), from_rows(made))
        loss = -(real_ranks.mean() + np.log(1 - np.exp(ranks)).mean()) / 2
        assert metrics["losses/discriminator"] == pytest.approx(loss, rel=1e-4)
        chance = math.log(1 / 3)
        assert metrics["discriminator/accuracy_real"] == np.mean(real_ranks > chance)
        assert metrics["discriminator/accuracy_generated"] == pytest.approx(
            np.mean(ranks <= chance)
        )
        assert metrics["losses/grad_norm_discriminator"] > 0
        assert reward.references.texts == from_rows([*rows[:2], REFERENCES[0]]).texts
        assert reward.comparisons.texts == from_rows(rows[2:4]).texts

    def test_small_minibatches(self):
        reward = ranking_reward(self.kind)
        metrics = reward.update(from_rows([[0, 1, 4]], 3), from_rows([[2, 4]], 2))
        assert all(map(math.isfinite, metrics.values()))
        assert reward.references.texts == from_rows(REFERENCES).texts

    def test_gradient_norm_is_clipped(self, sequences):
        steps = []
        for clip in (math.inf, 1e-3):
            reward = ranking_reward(self.kind, max_grad_norm=clip)
            reward.optimizer = torch.optim.SGD(reward.ranker.parameters(), 1.0)
            before = [parameter.detach().clone() for parameter in reward.ranker.parameters()]
            norm = reward.update(sequences, from_rows([[1, 4]]))["losses/grad_norm_discriminator"]
            after = zip(reward.ranker.parameters(), before, strict=True)
            steps.append(float(torch.cat([(a - b).detach().flatten() for a, b in after]).norm()))
            assert norm == pytest.approx(steps[0], rel=1e-3)  # before clipping
        assert steps[1] == pytest.approx(1e-3, rel=1e-2)

    def test_checkpoint_round_trip(self, sequences, tmp_path):
        """A copy goes on bit for bit: parameters, moments, references and comparisons."""
        original, restored = self.make(), self.make()
        generated = sequences.select(torch.tensor([1, 2]))
        with seeded_from(seeded()):
            for _ in range(3):
                original.update(sequences, generated)
        assert not torch.equal(original.score(sequences), restored.score(sequences))
        save_checkpoint(tmp_path, 3, original.state_dict())
        restored.load_state_dict(load_checkpoint(tmp_path)[1])
        assert torch.equal(original.score(sequences), restored.score(sequences))
        for reward in (original, restored):
            with seeded_from(seeded(1)):
                reward.update(sequences, generated)
        assert torch.equal(original.score(sequences), restored.score(sequences))


def test_a_diverged_ranker_does_not_pass_for_one_that_does_not_apply():
    reward = ranking_reward()
    with torch.no_grad():
        reward.ranker.embedding.weight[2] = math.nan
    assert torch.isfinite(reward.score(from_rows([[0, 1, 4], [3, 4]]))).all()
    with pytest.raises(
        RewardError,
        match=r"^reward 'rankgan' failed on row 1: its log rank is nan, but must be a number$",
    ):
        reward.score(from_rows([[0, 1, 4], [2, 4]]))


def test_gamma_sharpens():
    spreads = [float(ranking_reward(gamma=g).score(from_rows(ROWS)).std()) for g in (0.5, 1.0, 4.0)]
    assert spreads == sorted(spreads)


def test_by_name():
    train = from_rows([[0, 1, 4], [0, 4], [2, 4], [3, 4], [1, 1, 4]])
    task = FixedTask(VOCABULARY, MAX_LENGTH, {"train": train, "dev": train, "test": train})
    for kind in ("cnn", "gru"):
        reward = rankgan(task, kind, num_references=2, num_comparisons=3)
        drawn = [*reward.references.texts, *reward.comparisons.texts]
        assert sorted(drawn) == sorted(train.texts)
        again = rankgan(task, kind, num_references=2, num_comparisons=3)
        assert torch.equal(reward.score(train), again.score(train))
        other = rankgan(task, kind, num_references=2, num_comparisons=3, seed=1)
        assert not torch.equal(reward.score(train), other.score(train))


def test_what_is_refused():
    train = from_rows(ROWS)
    task = FixedTask(VOCABULARY, MAX_LENGTH, {"train": train, "dev": train, "test": train})
    for settings, rule in [
        ({"kind": "transformer"}, "rankgan's kind is 'transformer', but must be cnn or gru"),
        ({"num_references": 0}, "num_references is 0, but must be at least 1"),
        ({"gamma": 0.0}, r"gamma is 0\.0, but must be above 0 and finite"),
    ]:
        with pytest.raises(ValueError, match=rule):
            rankgan(task, **settings)
    reward = ranking_reward()
    with pytest.raises(
        ValueError, match="rankgan has no references or no comparisons, but needs both"
    ):
        RankingReward(reward.ranker, reward.optimizer, from_rows([]), from_rows(ROWS))
