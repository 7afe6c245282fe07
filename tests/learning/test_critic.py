"""A critic that learns: to the enumerated values, in one process or two, with a stop or without."""

import copy

import pytest
import torch
from fake_processes import all_at_once, fake_processes
from jaxtyping import Float
from test_policy_gradient import World, close
from torch import Tensor
from toys import (
    ENDING,
    FIXED,
    MAX_LENGTH,
    TableGenerator,
    TableReward,
    every_sequence,
    prefix_codes,
    seeded,
)

from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.functional.values import explained_variance, generalized_advantages
from seqgan.learning.critic import CriticConfig, CriticLearner
from seqgan.learning.players import Players
from seqgan.models.generators.recurrent import RecurrentGeneratorConfig
from seqgan.system.errors import ConfigurationError
from seqgan.system.runtime import ALONE, Runtime
from seqgan.system.seeding import seeded_from
from seqgan.tasks.base import FixedTask


class UniformGenerator(TableGenerator):
    """Every token is equally likely, and a state is the one-hot number of its prefix."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        super().__init__(vocabulary)
        self.logits.data.zero_()
        self.top_size = len(self.logits)

    def top_layer(self, sequences: Sequences) -> Float[Tensor, "batch time hidden"]:
        return torch.eye(self.top_size)[prefix_codes(sequences, self.num_actions)[:, :-1]]


def make_players(generator, vocabulary, runtime=ALONE):
    everything = every_sequence(vocabulary)
    task = FixedTask(vocabulary, MAX_LENGTH, dict.fromkeys(("train", "dev", "test"), everything))
    reward = TableReward(vocabulary.num_actions)
    return Players(task, generator, copy.deepcopy(generator), reward, 4, runtime=runtime)


def make_learner(players, seed=0, **settings):
    with seeded_from(seeded(seed)):
        return CriticLearner(CriticConfig(**settings), players)


def plainly(learner):
    """The learner with plain SGD: Adam blows up rounding errors of tiny gradients."""
    learner.optimizer = torch.optim.SGD(learner.critic.parameters(), 0.1)
    return learner


class TestEnumerated:
    """Under a uniform policy over 81 texts, one batch with each of them is the expectation."""

    @pytest.mark.parametrize("gae_lambda", [1.0, 0.6])
    def test_a_head_converges_to_the_exact_values(self, gae_lambda):
        world = World(FIXED)
        world.policy = UniformGenerator(FIXED)
        players = make_players(world.policy, FIXED)
        values = learnt(players, world, "head", gae_lambda, updates=40)
        expected = exact_state_values(world)
        assert float(expected.std()) > 0.25
        torch.testing.assert_close(values, expected, atol=0.01, rtol=0)

    def test_a_network_converges_to_them(self):
        world = World(FIXED)
        world.policy = UniformGenerator(FIXED)
        players = make_players(world.policy, FIXED)
        values = learnt(players, world, "network", 1.0, updates=40)
        torch.testing.assert_close(values, exact_state_values(world), atol=0.05, rtol=0)


def exact_state_values(world):
    """E[R | y_<t] under the uniform policy: means over the texts that begin so."""
    codes = prefix_codes(world.sequences, 3)
    return torch.stack(
        [
            torch.stack([world.rewards[before == code].mean() for code in before])
            for before in codes[:, :-1].unbind(dim=1)
        ],
        dim=1,
    ).float()


def learnt(players, world, kind, gae_lambda, updates):
    """Values after updates on every text, towards the returns of a lambda."""
    learner = make_learner(
        players, kind=kind, size=32, learning_rate=0.01, epochs=4, minibatch_size=0
    )
    sequences, rng = world.sequences, seeded()
    rewards = torch.zeros(sequences.mask.shape)
    rewards[:, -1] = world.rewards.float()
    states = learner.states(players, sequences)
    for _ in range(updates):
        values = learner.values(sequences, states)
        advantages = generalized_advantages(rewards, values, sequences.mask, gae_lambda=gae_lambda)
        metrics = learner.learn(players, sequences, states, values + advantages, rng)
    assert metrics["losses/value_loss"] >= 0
    return learner.values(sequences, states)


class TestCredit:
    @pytest.mark.parametrize("gae_lambda", [0.0, 0.5, 0.95, 1.0])
    @pytest.mark.parametrize("vocabulary", [FIXED, ENDING], ids=["fixed", "ending"])
    def test_the_gradient_with_a_perfect_critic_is_the_exact_one(self, vocabulary, gae_lambda):
        world = World(vocabulary)
        mask = world.sequences.mask
        rewards = last_tokens(mask, world.rewards)
        advantages = generalized_advantages(
            rewards, world.state_values(), mask, gae_lambda=gae_lambda
        )
        close(world.policy_gradient(advantages), world.exact_gradient())

    def test_with_another_critic_it_is_so_at_lambda_1_alone(self):
        world = World(ENDING)
        mask = world.sequences.mask
        rewards, wrong = last_tokens(mask, world.rewards), 0.5 * world.state_values()
        unbiased = generalized_advantages(rewards, wrong, mask, gae_lambda=1.0)
        close(world.policy_gradient(unbiased), world.exact_gradient())
        biased = generalized_advantages(rewards, wrong, mask, gae_lambda=0.5)
        assert not torch.allclose(world.policy_gradient(biased), world.exact_gradient(), atol=1e-3)

    def test_an_untrained_critic_leaves_the_reward_to_go(self):
        players = make_players(recurrent(), ENDING)
        sequences = every_sequence(ENDING)
        learner = make_learner(players, kind="network", size=4)
        values = learner.values(sequences, learner.states(players, sequences))
        rewards = torch.randn(sequences.mask.shape, generator=seeded()) * sequences.mask
        found = generalized_advantages(rewards, values, sequences.mask, gae_lambda=1.0)
        for row, length in enumerate(sequences.lengths.tolist()):
            for step in range(length):
                assert float(found[row, step]) == pytest.approx(
                    float(rewards[row, step:].sum()), abs=1e-5
                )


def last_tokens(mask, rewards):
    """(batch, time): each row's reward at its last token."""
    last = torch.arange(mask.shape[1]) == mask.sum(dim=1, keepdim=True) - 1
    return torch.where(last, rewards[:, None], 0.0)


def recurrent(seed=1):
    with seeded_from(seeded(seed)):
        return RecurrentGeneratorConfig("lstm", 3, 4).build(ENDING)


KINDS = pytest.mark.parametrize("kind", ["head", "network"])


@KINDS
class TestLearning:
    def batch(self, players, learner, rows=slice(None)):
        """Every text, and returns that differ on every axis."""
        sequences = every_sequence(ENDING).select(torch.arange(121)[rows])
        returns = torch.randn((121, MAX_LENGTH), generator=seeded(5))[rows] + sequences.tokens
        return sequences, learner.states(players, sequences), returns

    def test_texts_without_a_return_teach_nothing(self, kind):
        """The first 60 texts have returns; learning from these alone is the same."""
        parameters = []
        for rows in (slice(None), slice(0, 60)):
            players = make_players(recurrent(), ENDING)
            learner = make_learner(players, kind=kind, size=4, epochs=2, minibatch_size=0)
            plainly(learner)
            sequences, states, returns = self.batch(players, learner, rows)
            returns[60:] = torch.nan
            metrics = learner.learn(players, sequences, states, returns, seeded())
            parameters.append((weights(learner), metrics))
        torch.testing.assert_close(parameters[0], parameters[1], atol=1e-5, rtol=1e-4)

    def test_two_processes_learn_what_one_learns(self, kind):
        players = make_players(recurrent(), ENDING)
        settings = {"kind": kind, "size": 4, "epochs": 2, "minibatch_size": 0}
        alone = plainly(make_learner(players, **settings))
        start = weights(alone)
        # Returns that vary with their rows, and texts that grow longer: the shares are unequal.
        order = every_sequence(ENDING).lengths.argsort(stable=True)[:120]
        expected = self.learn(players, alone, order)
        assert not torch.equal(weights(alone), start)

        def process(runtime: Runtime):
            learner = learners[runtime.rank]
            runtime.prepare(learner.critic)
            return self.learn(ready[runtime.rank], learner, runtime.own(order)), weights(learner)

        # Made here: threads share the global random state, of which initialisation draws.
        processes = fake_processes()
        ready = [make_players(recurrent(), ENDING, each) for each in processes]
        learners = [plainly(make_learner(each, **settings)) for each in ready]
        results = all_at_once([lambda runtime=each: process(runtime) for each in processes])
        for metrics, found in results:
            torch.testing.assert_close(found, weights(alone), atol=1e-5, rtol=1e-4)
            assert metrics == pytest.approx(expected, rel=1e-4)

    def learn(self, players, learner, rows):
        sequences, states, returns = self.batch(players, learner, rows)
        return learner.learn(players, sequences, states, returns, seeded())

    def test_a_stop_changes_nothing(self, kind):
        players = make_players(recurrent(), ENDING)
        whole = make_learner(players, kind=kind, size=4, warmup=2)
        first = slice(0, 100)
        self.learn(players, whole, first)
        state = copy.deepcopy(whole.state_dict())
        resumed = make_learner(players, seed=7, kind=kind, size=4, warmup=2)
        assert not torch.equal(weights(resumed), weights(whole))
        assert resumed.warming
        resumed.load_state_dict(state)
        for learner in (whole, resumed):
            assert learner.warming
            self.learn(players, learner, first)
            assert not learner.warming
        assert torch.equal(weights(resumed), weights(whole))

    def test_clipped_values_move_less(self, kind):
        moved = []
        for clip in (0.0, 0.01):
            players = make_players(recurrent(), ENDING)
            learner = make_learner(
                players, kind=kind, size=8, epochs=15, learning_rate=0.02, clip_values=clip
            )
            sequences, states, returns = self.batch(players, learner)
            learner.learn(players, sequences, states, returns, seeded())
            values = learner.values(sequences, states)[sequences.mask]
            moved.append(float((values - values.mean()).abs().max() / learner.critic.deviation))
        assert moved[1] < 0.3 * moved[0]


def weights(learner):
    return torch.cat([value.detach().flatten() for value in learner.critic.state_dict().values()])


def test_explained_variance_by_hand():
    mask = torch.tensor([[True, True, False], [True, True, False]])
    returns = torch.tensor([[1.0, 2.0, 9.0], [3.0, 4.0, torch.nan]])
    assert explained_variance(returns + 7, returns, mask) == 1
    assert explained_variance(torch.zeros(2, 3), returns, mask) == 0
    assert explained_variance(0.5 * returns, returns, mask) == pytest.approx(0.75)
    assert explained_variance(-returns, returns, mask) == pytest.approx(-3)
    assert explained_variance(returns, torch.ones(2, 3), mask) == 0


def test_a_setting_out_of_range_is_one_line():
    with pytest.raises(
        ConfigurationError, match=r"rule.critic.gae_lambda is 1.5, but must be from 0 to 1"
    ):
        CriticConfig(gae_lambda=1.5)
