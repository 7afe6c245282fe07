"""The exact policy gradient of a small world, by enumeration and by autograd, against the library.

With four steps of three words every sequence can be written down, so expectations are sums and
nothing here is random, but for one test that draws its batches.
"""

import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn.functional import one_hot
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

from seqgan.data.sequences import masked_mean
from seqgan.data.vocabulary import Vocabulary
from seqgan.functional.advantages import earned_before, kl_to_go
from seqgan.functional.baselines import batch_mean, leave_one_out, prefix_value
from seqgan.functional.policy_losses import reinforce
from seqgan.learning.policy_updates import GeneratorUpdate, update_generator
from seqgan.learning.rollouts import monte_carlo_action_values
from seqgan.learning.rules.policy_gradient import PolicyGradientConfig
from seqgan.models.sampling import sample
from seqgan.system.errors import ConfigurationError
from seqgan.system.runtime import SingleProcess

VOCABULARIES = pytest.mark.parametrize("vocabulary", [FIXED, ENDING], ids=["fixed", "ending"])


def gradient(value, policy):
    """d value / d logits, for every prefix and word."""
    return torch.autograd.grad(value, policy.logits)[0]


def expected_reinforce_gradient(policy, sequences, advantages):
    """Minus the gradient of the REINFORCE loss, in expectation over all sequences.

    A weight per sequence, its probability, stands in for how often it would be drawn.
    """
    weights = probabilities(policy, sequences).detach()
    log_probs = token_log_softmax(policy, sequences)
    # The loss is a mean over real tokens; the expectation is over sequences.
    advantages = weights[:, None] * advantages * sequences.mask.sum()
    losses, _ = reinforce(log_probs, log_probs.detach(), advantages, sequences.mask)
    return -gradient(masked_mean(losses, sequences.mask), policy)


def close(actual, expected):
    torch.testing.assert_close(actual, expected, atol=1e-9, rtol=1e-6)


def test_argmax_passes_no_gradient_but_the_score_function_does():
    torch.manual_seed(0)
    policy, texts = TableGenerator(FIXED), every_sequence(FIXED)  # all 81 texts of 4 words
    judge = nn.Sequential(nn.Flatten(), nn.Linear(4 * 3, 1)).double()  # differentiable

    # A GAN for images would backpropagate the judgement into what was generated.
    words = one_hot(policy(texts).argmax(dim=-1), num_classes=3).double()
    judge(words).sum().backward()
    assert judge[1].weight.grad.abs().sum() > 0
    assert policy.logits.grad is None

    # The expected judgement is differentiable all the same, and REINFORCE has its gradient.
    rewards = judge(one_hot(texts.tokens, num_classes=3).double())[:, 0].detach()
    exact = gradient((probabilities(policy, texts) * rewards).sum(), policy)
    action_values = exact_action_values(policy, texts, texts, rewards)
    score_function = expected_reinforce_gradient(policy, texts, action_values)
    torch.testing.assert_close(score_function, exact)
    assert exact.abs().max() > 0.001


class World:
    """One vocabulary with all its sequences, a policy, and an arbitrary reward."""

    def __init__(self, vocabulary):
        self.vocabulary = vocabulary
        self.policy = TableGenerator(vocabulary)
        self.sequences = every_sequence(vocabulary)
        self.rewards = TableReward(vocabulary.num_actions).returns(self.sequences).double()
        self.action_values = exact_action_values(
            self.policy, self.sequences, self.sequences, self.rewards
        )

    def policy_gradient(self, advantages):
        return expected_reinforce_gradient(self.policy, self.sequences, advantages)

    def exact_gradient(self):
        return gradient(
            (probabilities(self.policy, self.sequences) * self.rewards).sum(), self.policy
        )

    def state_values(self):
        """V(y_<t), (batch, time): the value before token t."""
        before = (probabilities(self.policy, self.sequences) * self.rewards).sum().detach()
        first = before.expand(len(self.sequences), 1)
        return torch.cat([first, self.action_values[:, :-1]], dim=1)


@pytest.fixture(params=[FIXED, ENDING], ids=["fixed", "ending"])
def world(request):
    return World(request.param)


class TestExactGradient:
    def test_with_action_values(self, world):
        exact = world.exact_gradient()
        close(world.policy_gradient(world.action_values), exact)
        assert float(exact.abs().max()) > 0.01

    def test_with_the_reward_of_the_whole_sequence(self, world):
        """What `num_rollouts=0` gives: more variance, the same expectation."""
        advantages = world.rewards[:, None].expand(-1, MAX_LENGTH)
        close(world.policy_gradient(advantages), world.exact_gradient())

    @pytest.mark.parametrize("kind", ["constant", "per_step", "state_value"])
    def test_a_baseline_changes_nothing(self, world, kind):
        baseline = {
            "constant": torch.full_like(world.action_values, 3.7),
            "per_step": torch.tensor([5.0, -2.0, 0.5, 9.0]).expand_as(world.action_values),
            "state_value": world.state_values(),
        }[kind]
        advantages = world.action_values - baseline
        assert not torch.allclose(advantages, world.action_values)
        close(world.policy_gradient(advantages), world.exact_gradient())

    def test_a_baseline_that_sees_the_action_is_wrong(self, world):
        """The check above can fail: half of the action's own value is no baseline."""
        advantages = world.action_values - 0.5 * world.action_values
        assert not torch.allclose(world.policy_gradient(advantages), world.exact_gradient())

    @pytest.mark.parametrize("constant", [1.0, -4.0])
    def test_a_constant_reward_gives_no_gradient(self, world, constant):
        estimate = world.policy_gradient(torch.full_like(world.action_values, constant))
        close(estimate, torch.zeros_like(estimate))

    def test_past_rewards_can_be_left_out(self, world):
        """Increments that a token cannot change any more drop out of the expectation."""
        model = TableReward(world.vocabulary.num_actions, per_token=True)
        increments = model.score(world.sequences).double()
        world.rewards = increments.sum(dim=1)
        values = exact_action_values(world.policy, world.sequences, world.sequences, world.rewards)
        close(world.policy_gradient(values), world.exact_gradient())
        past = earned_before(increments, world.sequences.mask)
        close(world.policy_gradient(values - past), world.exact_gradient())


class TestPenalty:
    """Policy gradient on R minus beta times the KL to go ascends E[R] - beta KL(pi || ref)."""

    @pytest.mark.parametrize("beta", [0.3, 2.0])
    def test_gradient_of_the_penalised_objective(self, world, beta):
        reference = TableGenerator(world.vocabulary, seed=5)
        own = token_log_softmax(world.policy, world.sequences)
        other = token_log_softmax(reference, world.sequences).detach()
        chances = probabilities(world.policy, world.sequences)
        divergence = (chances * (own - other).sum(dim=1)).sum()
        objective = (chances * world.rewards).sum() - beta * divergence

        penalty = kl_to_go(own.detach(), other, world.sequences.mask)
        advantages = world.action_values - beta * penalty
        close(world.policy_gradient(advantages), gradient(objective, world.policy))
        # Its mean at the first step is the divergence itself.
        mean = float((chances.detach() * penalty[:, 0]).sum())
        assert mean == pytest.approx(float(divergence.detach()), abs=1e-9)

    def test_no_penalty_at_the_reference(self, world):
        own = token_log_softmax(world.policy, world.sequences).detach()
        assert not kl_to_go(own, own, world.sequences.mask).any()

    def test_without_what_follows_the_gradient_is_another(self, world):
        """Each token's own log ratio is no estimate of the divergence's gradient."""
        reference = TableGenerator(world.vocabulary, seed=5)
        own = token_log_softmax(world.policy, world.sequences).detach()
        other = token_log_softmax(reference, world.sequences).detach()
        to_go = world.policy_gradient(kl_to_go(own, other, world.sequences.mask))
        myopic = world.policy_gradient(own - other)
        assert float((to_go - myopic).abs().max()) > 0.01


class TestBatchBaselines:
    """Baselines made of the batch itself, in expectation over all possible batches of two."""

    def expected_gradient(self, baseline, vocabulary, rewards_after_end):
        policy = TableGenerator(vocabulary, max_length=3)
        sequences = every_sequence(vocabulary, max_length=3)
        rewards = torch.randn(len(sequences), generator=seeded(2), dtype=torch.double)
        values = exact_action_values(policy, sequences, sequences, rewards)
        if not rewards_after_end:
            values = torch.where(sequences.mask, values, 0.0)
        chances = probabilities(policy, sequences)
        weights = chances.detach()
        advantages = torch.zeros_like(values)
        for pair in itertools.product(range(len(sequences)), repeat=2):
            rows = torch.tensor(pair)
            batch = as_trajectories(policy, sequences.select(rows), rewards[rows])
            centred = values[rows] - baseline(values[rows], batch)
            # Half the sum over both rows; the pair is drawn with the product of their chances.
            for row, other, advantage in zip(pair, reversed(pair), centred, strict=True):
                advantages[row] += 0.5 * weights[other] * advantage
        estimate = expected_reinforce_gradient(policy, sequences, advantages)
        return estimate, gradient((chances * rewards).sum(), policy)

    @pytest.mark.parametrize("rewards_after_end", [True, False])
    @pytest.mark.parametrize("has_eos", [True, False])
    def test_leave_one_out_is_unbiased(self, has_eos, rewards_after_end):
        vocabulary = Vocabulary(("a", "b"), has_eos=has_eos)
        estimate, exact = self.expected_gradient(leave_one_out, vocabulary, rewards_after_end)
        close(estimate, exact)
        assert float(exact.abs().max()) > 0.01

    @pytest.mark.parametrize("has_eos", [True, False])
    def test_the_value_of_the_prefix_is_unbiased(self, has_eos):
        vocabulary = Vocabulary(("a", "b"), has_eos=has_eos)
        estimate, exact = self.expected_gradient(prefix_value, vocabulary, True)
        close(estimate, exact)

    def test_the_value_of_the_prefix_needs_a_reward_without_the_kl_to_come(self):
        with pytest.raises(ConfigurationError, match=r"^rule.kl_in is reward, but must be loss "):
            PolicyGradientConfig(baseline="prefix")

    @pytest.mark.parametrize("settings", [{"num_rollouts": 0}, {"rollout_stride": 2}])
    def test_without_completions_of_every_prefix_other_rows_are_compared(self, settings):
        settings = PolicyGradientConfig(baseline="prefix", **settings)
        assert settings.effective_baseline == "leave_one_out"

    def test_batch_mean_halves_the_gradient_of_two_rows(self):
        vocabulary = Vocabulary(("a", "b", "c"), has_eos=False)
        estimate, exact = self.expected_gradient(batch_mean, vocabulary, True)
        close(estimate, 0.5 * exact)


class TestUpdate:
    """The same, through the update that the trainer calls."""

    @pytest.mark.parametrize("reduction", ["mean", "sum"])
    def test_one_step_of_gradient_ascent(self, world, reduction):
        """theta moves by the learning rate times the exact gradient of the expected reward."""
        exact = world.exact_gradient()
        before = world.policy.logits.detach().clone()
        weights = probabilities(world.policy, world.sequences).detach()
        scale = world.sequences.mask.sum() if reduction == "mean" else 1
        trajectories = as_trajectories(world.policy, world.sequences, world.rewards)
        update_generator(
            world.policy,
            torch.optim.SGD(world.policy.parameters(), lr=0.25),
            reinforce,
            trajectories,
            weights[:, None] * world.action_values * scale,
            GeneratorUpdate(max_grad_norm=math.inf, reduction=reduction),
            SingleProcess(),
        )
        close(world.policy.logits.detach() - before, 0.25 * exact)

    @VOCABULARIES
    def test_sampled_gradient_points_the_same_way(self, vocabulary):
        """Sampled sequences and rollouts, nothing enumerated: the whole estimator."""
        world = World(vocabulary)
        model = TableReward(vocabulary.num_actions)
        rng = seeded(1)
        drawn = sample(world.policy, vocabulary, 4000, MAX_LENGTH, rng)
        trajectories = as_trajectories(world.policy, drawn, model.returns(drawn))
        values = monte_carlo_action_values(world.policy, model, trajectories, 8, rng)
        advantages = values - leave_one_out(values, trajectories)
        optimizer = torch.optim.SGD(world.policy.parameters(), lr=0.0)
        update_generator(
            world.policy,
            optimizer,
            reinforce,
            trajectories,
            advantages.double(),
            GeneratorUpdate(max_grad_norm=math.inf, reduction="sum"),
            SingleProcess(),
        )
        exact = world.exact_gradient()
        estimate = -world.policy.logits.grad / len(drawn)
        assert float((estimate - exact).norm() / exact.norm()) < 0.1
