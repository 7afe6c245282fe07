"""Combinations with the exact policy gradient in expectation, over all batches of two texts.

A batch of two is a pair of sequences, drawn with the product of their probabilities; its groups are
the pairs. Nothing is random. What is biased is here, too, with what its expectation is instead.
"""

import math
from functools import cache

import pytest
import torch
from torch.nn.functional import cosine_similarity
from toys import (
    ENDING,
    FIXED,
    MAX_LENGTH,
    TableGenerator,
    TableReward,
    as_trajectories,
    every_sequence,
    exact_action_values,
    prefix_codes,
    probabilities,
    token_log_softmax,
)

from seqgan.data.sequences import Trajectories
from seqgan.functional.advantages import kl_to_go
from seqgan.functional.baselines import (
    batch_mean,
    group_leave_one_out,
    group_mean,
    leave_one_out,
    no_baseline,
)
from seqgan.functional.groups import group_ids
from seqgan.functional.kl_estimators import k1, k2, k3
from seqgan.functional.policy_losses import make_policy_loss
from seqgan.functional.scaling import scaled
from seqgan.functional.values import generalized_advantages
from seqgan.learning.policy_updates import GeneratorUpdate, update_generator
from seqgan.system.runtime import ALONE

VOCABULARIES = {"fixed": FIXED, "ending": ENDING}
BETA = 0.3


class World:
    """All sequences of a vocabulary, a policy, its reference, and an arbitrary reward."""

    def __init__(self, vocabulary):
        self.policy = TableGenerator(vocabulary)
        self.sequences = every_sequence(vocabulary)
        self.mask = self.sequences.mask
        self.rewards = TableReward(vocabulary.num_actions).returns(self.sequences).double()
        self.own = token_log_softmax(self.policy, self.sequences).detach()
        reference = TableGenerator(vocabulary, seed=5)
        self.reference_logits = reference.logits.detach()
        self.reference = token_log_softmax(reference, self.sequences).detach()
        self.chances = probabilities(self.policy, self.sequences).detach()
        everything = self.sequences, self.sequences
        self.exact_values = exact_action_values(self.policy, *everything, self.rewards)

    def gradient(self, value):
        return torch.autograd.grad(value, self.policy.logits)[0]

    def objective(self, beta):
        """The gradient of E[R] - beta KL(pi || reference)."""
        own = token_log_softmax(self.policy, self.sequences).sum(dim=1)
        kl = own - self.reference.sum(dim=1)
        return self.gradient((own.exp() * (self.rewards - beta * kl)).sum())

    def values(self, credit, beta):
        values = self.exact_values
        if credit == "sequence":
            values = self.rewards[:, None].expand(-1, MAX_LENGTH)
        return values - beta * kl_to_go(self.own, self.reference, self.mask)

    def mean_advantages(self, values, centred):
        """E[A | the sequence] over the other one of the pair.

        Args:
            centred: advantages of a batch, from its values and trajectories.
        """
        size = len(self.sequences)
        rows = torch.arange(size)
        pairs = torch.arange(size).repeat_interleave(2)
        means = []
        for row in range(size):
            index = torch.stack([torch.full_like(rows, row), rows], dim=1).flatten()
            batch = as_trajectories(self.policy, self.sequences.select(index), self.rewards[index])
            grouped = Trajectories(batch.sequences, batch.log_probs, batch.rewards, groups=pairs)
            first = centred(values[index], grouped)[::2]
            means.append((self.chances[:, None] * first).sum(dim=0))
        return torch.stack(means)

    def step(self, advantages, loss="reinforce", reduction="sum"):
        """The step of the library's update, each sequence as often as it is drawn."""
        before = self.policy.logits.detach().clone()
        update_generator(
            self.policy,
            torch.optim.SGD(self.policy.parameters(), lr=1.0),
            make_policy_loss(loss),
            as_trajectories(self.policy, self.sequences, self.rewards),
            self.chances[:, None] * advantages,
            GeneratorUpdate(max_grad_norm=math.inf, reduction=reduction),
            ALONE,
        )
        moved = self.policy.logits.detach() - before
        with torch.no_grad():
            self.policy.logits.copy_(before)
        return moved


@cache
def world_of(name):
    return World(VOCABULARIES[name])


@pytest.fixture(params=VOCABULARIES)
def world(request):
    return world_of(request.param)


def close(actual, expected):
    torch.testing.assert_close(actual, expected, atol=1e-9, rtol=1e-6)


def along(actual, expected):
    """The cosine of the angle between two steps."""
    return float(cosine_similarity(actual.flatten(), expected.flatten(), dim=0))


def minus(baseline):
    return lambda values, batch: values - baseline(values, batch)


UNBIASED = {
    "none": no_baseline,
    "leave_one_out": leave_one_out,
    "group_leave_one_out": group_leave_one_out,
}


@pytest.mark.parametrize("beta", [0.0, BETA], ids=["reward", "kl in the reward (k1)"])
@pytest.mark.parametrize("credit", ["sequence", "action values"])
@pytest.mark.parametrize("baseline", UNBIASED)
def test_what_is_unbiased(world, baseline, credit, beta):
    """With every loss at its first step, and reductions that keep the direction."""
    values = world.values(credit, beta)
    advantages = world.mean_advantages(values, minus(UNBIASED[baseline]))
    exact = world.objective(beta)
    assert float(exact.abs().max()) > 0.01
    for loss in ("reinforce", "ppo", "gspo", "cispo"):
        close(world.step(advantages, loss), exact)
    close(world.step(advantages, "ppo", "constant") * world.mask.numel(), exact)


class TestGAE:
    """Advantages from a critic: `values[:, t]` is that of the prefix before token t."""

    def advantages(self, world, values, gae_lambda):
        rewards = as_trajectories(world.policy, world.sequences, world.rewards).rewards.double()
        return generalized_advantages(rewards, values, world.mask, 1.0, gae_lambda)

    def state_values(self, world):
        start = (world.chances * world.rewards).sum().expand(len(world.chances), 1)
        return torch.cat([start, world.exact_values[:, :-1]], dim=1)

    @pytest.mark.parametrize("gae_lambda", [0.0, 0.5, 1.0])
    def test_with_the_true_values_any_lambda_is_unbiased(self, world, gae_lambda):
        advantages = self.advantages(world, self.state_values(world), gae_lambda)
        torch.testing.assert_close(
            world.step(advantages), world.objective(0.0), atol=1e-6, rtol=1e-5
        )

    def test_with_a_wrong_critic_lambda_one_is_and_less_is_not(self, world):
        """It says something of each prefix before its token, as a critic does."""
        wrong = 3 * self.state_values(world) + 1
        step = world.step(self.advantages(world, wrong, 1.0))
        torch.testing.assert_close(step, world.objective(0.0), atol=1e-6, rtol=1e-5)
        biased = world.step(self.advantages(world, wrong, 0.5))
        assert float((biased - world.objective(0.0)).abs().max()) > 0.01


class TestBiased:
    @pytest.mark.parametrize("baseline", [group_mean, batch_mean])
    def test_a_mean_with_the_own_value_halves_the_gradient_of_two(self, baseline):
        """(n - 1) / n of it; of one length each, so that `batch_mean` has all at each step."""
        world = world_of("fixed")
        centred = minus(baseline)
        if baseline is batch_mean:  # whose batch is the pair

            def centred(values, batch):
                pairs = values.view(-1, 2, MAX_LENGTH)
                return (pairs - pairs.mean(dim=1, keepdim=True)).flatten(0, 1)

        advantages = world.mean_advantages(world.values("sequence", 0.0), centred)
        close(2 * world.step(advantages), world.objective(0.0))

    def test_the_deviation_of_the_group_leaves_the_direction(self, world):
        """Of two it makes -1/2 and 1/2 root 2 of any difference: what is learnt is to win."""

        def centred(values, batch):
            advantages = values - group_mean(values, batch)
            return scaled(advantages, values, batch.mask, group_ids(batch), "group")

        advantages = world.mean_advantages(world.values("sequence", 0.0), centred)
        assert 0.5 < along(world.step(advantages), world.objective(0.0)) < 0.999

    def test_the_mean_of_sequences_leaves_the_direction_where_lengths_differ(self):
        for name, straight in (("fixed", True), ("ending", False)):
            world = world_of(name)
            step = world.step(world.values("sequence", 0.0), "ppo", "sequences")
            assert (along(step, world.objective(0.0)) > 1 - 1e-9) == straight


class TestKLInTheLoss:
    """Expected gradients of the estimators, with the policy's own texts."""

    def expected(self, world, estimator):
        own = token_log_softmax(world.policy, world.sequences)
        estimates = torch.where(world.mask, estimator(own, world.reference), 0.0)
        return world.gradient((world.chances[:, None] * estimates).sum())

    def of_each_step(self, world, forward=False):
        """The gradient of the KL of each step's distribution, the prefixes' chances held fixed."""
        logits = world.policy.logits
        own = logits.log_softmax(dim=-1)
        other = world.reference_logits.log_softmax(dim=-1)
        kl = (own.exp() * (own - other)).sum(dim=-1)
        if forward:
            kl = (other.exp() * (other - own)).sum(dim=-1)
        reached = self.reached(world)
        return world.gradient((reached * kl).sum())

    def reached(self, world):
        """The chance that a text has each prefix."""
        codes = prefix_codes(world.sequences, world.policy.num_actions)[:, :-1]
        reached = torch.zeros(len(world.policy.logits), dtype=torch.double)
        weights = world.chances[:, None].expand_as(codes)
        return reached.index_add(0, codes[world.mask], weights[world.mask])

    def test_k1_has_none(self, world):
        step = self.expected(world, k1)
        close(step, torch.zeros_like(step))

    def test_k2_has_that_of_each_step(self, world):
        close(self.expected(world, k2), self.of_each_step(world))

    def test_k3_has_that_of_each_step_the_other_way_round(self, world):
        close(self.expected(world, k3), self.of_each_step(world, forward=True))

    def test_only_the_kl_in_the_reward_has_that_of_the_whole(self, world):
        """In k2 the effect of a token on the divergence of the tokens after it is missing."""
        exact = (world.objective(0.0) - world.objective(BETA)) / BETA
        to_go = kl_to_go(world.own, world.reference, world.mask)
        close(world.step(to_go), exact)
        difference = self.expected(world, k2) - exact
        assert float(difference.abs().max()) > 0.01

    def test_of_the_last_token_both_are_the_same(self):
        """Nothing follows it."""
        world = world_of("fixed")
        last = slice(1 + 3 + 9, 1 + 3 + 9 + 27)  # prefixes of three tokens
        exact = (world.objective(0.0) - world.objective(BETA)) / BETA
        close(self.expected(world, k2)[last], exact[last])
        assert float(exact[last].abs().max()) > 1e-3
