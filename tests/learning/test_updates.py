"""What one update does to the module it is given, and what it leaves alone."""

import copy
import math
from dataclasses import dataclass, field, replace

import pytest
import torch
from torch.nn.utils import parameters_to_vector
from toys import (
    ENDING,
    FIXED,
    MAX_LENGTH,
    TableGenerator,
    TableReward,
    as_trajectories,
    every_sequence,
    seeded,
    token_log_softmax,
)

from seqgan.data.sequences import Sequences, Trajectories
from seqgan.functional.policy_losses import reinforce
from seqgan.learning.collection import collect, make_task_env
from seqgan.learning.policy_updates import GeneratorUpdate, update_generator
from seqgan.learning.rollouts import monte_carlo_action_values
from seqgan.learning.updates import pretrain_epoch, train_discriminator
from seqgan.models.discriminators.recurrent import (
    RecurrentDiscriminator,
    RecurrentDiscriminatorConfig,
)
from seqgan.models.generators.recurrent import RecurrentGenerator, RecurrentGeneratorConfig
from seqgan.rewards.discriminator import DiscriminatorReward
from seqgan.system.errors import DivergedError
from seqgan.system.runtime import SingleProcess
from seqgan.system.seeding import seeded_from
from seqgan.tasks.base import FixedTask

UNCLIPPED = GeneratorUpdate(max_grad_norm=math.inf)


def recurrent_generator(seed=0, **settings):
    config = RecurrentGeneratorConfig(embedding_size=4, hidden_size=6, init_std=0.5, **settings)
    with seeded_from(seeded(seed)):
        return RecurrentGenerator(config, ENDING)


def discriminator_reward(seed=0, learning_rate=0.01):
    config = RecurrentDiscriminatorConfig(embedding_size=6, hidden_size=6, dropout=0.1)
    with seeded_from(seeded(seed)):
        discriminator = RecurrentDiscriminator(config, ENDING, MAX_LENGTH)
    optimizer = torch.optim.Adam(discriminator.parameters(), learning_rate)
    return DiscriminatorReward(discriminator, optimizer)


def weights(module):
    """A copy of every parameter, in one vector."""
    return parameters_to_vector(module.parameters()).detach().clone()


def some_trajectories(generator, num_rows=24):
    """Sequences of all lengths with arbitrary rewards, and arbitrary advantages."""
    everything = every_sequence(ENDING)
    rows = torch.arange(num_rows) * 5 % len(everything)
    sequences = everything.select(rows)
    rewards = TableReward(ENDING.num_actions).returns(sequences)
    advantages = torch.randn((num_rows, MAX_LENGTH), generator=seeded(3))
    return as_trajectories(generator, sequences, rewards), advantages


def update(generator, trajectories, advantages, settings=UNCLIPPED, learning_rate=1.0, real=None):
    """One step of plain gradient descent; returns the metrics and how far the weights moved."""
    before = weights(generator)
    optimizer = torch.optim.SGD(generator.parameters(), learning_rate)
    metrics = update_generator(
        generator, optimizer, reinforce, trajectories, advantages, settings, SingleProcess(), real
    )
    return metrics, weights(generator) - before


def exact_entropy(generator, sequences):
    """Mean over real tokens of the entropy of each step's distribution, nats."""
    log_probs = generator(sequences).double().log_softmax(dim=-1)
    return -(log_probs.exp() * log_probs).sum(dim=-1)[sequences.mask].mean()


class TestUpdateGenerator:
    def test_metrics(self):
        generator = recurrent_generator()
        trajectories, advantages = some_trajectories(generator)
        log_probs = token_log_softmax(generator, trajectories.sequences)
        mask = trajectories.mask
        loss = -(log_probs * advantages)[mask].mean()
        gradient = torch.autograd.grad(loss, list(generator.parameters()))
        norm = torch.cat([part.flatten() for part in gradient]).norm()
        entropy = float(exact_entropy(generator, trajectories.sequences).detach())
        metrics, moved = update(generator, trajectories, advantages)
        assert metrics == {
            "losses/policy": pytest.approx(float(loss.detach()), rel=1e-4),
            "losses/entropy": pytest.approx(entropy, rel=1e-4),
            "losses/grad_norm_generator": pytest.approx(float(norm), rel=1e-4),
        }
        assert float(moved.norm()) == pytest.approx(float(norm), rel=1e-3)

    def test_metrics_of_the_loss_are_passed_on(self):
        generator = recurrent_generator()
        trajectories, advantages = some_trajectories(generator)

        def loss_with_metrics(log_probs, old_log_probs, advantages, mask):
            assert torch.equal(old_log_probs, log_probs.detach())
            return log_probs, {"losses/clipfrac": torch.tensor(0.25)}

        optimizer = torch.optim.SGD(generator.parameters(), 0.1)
        metrics = update_generator(
            generator,
            optimizer,
            loss_with_metrics,
            trajectories,
            advantages,
            UNCLIPPED,
            SingleProcess(),
        )
        assert metrics["losses/clipfrac"] == 0.25

    def test_every_advantage_moves_its_own_token(self):
        """Advantages 100 row + position, weighed by hand with each token's own gradient."""
        generator = TableGenerator(FIXED)
        sequences = every_sequence(FIXED).select(torch.tensor([5, 40, 77]))
        trajectories = as_trajectories(generator, sequences, torch.zeros(3))
        log_probs = token_log_softmax(generator, sequences)
        expected = torch.zeros_like(generator.logits)
        for row in range(3):
            for step in range(MAX_LENGTH):
                (gradient,) = torch.autograd.grad(
                    log_probs[row, step], generator.logits, retain_graph=True
                )
                expected += (100 * row + step) * gradient / 12
        advantages = torch.tensor([[100.0 * row + step for step in range(4)] for row in range(3)])
        _, moved = update(generator, trajectories, advantages.double())
        torch.testing.assert_close(moved, expected.flatten())

    def test_sum_is_the_mean_times_the_tokens(self):
        trajectories, advantages = some_trajectories(recurrent_generator())
        settings = {name: replace(UNCLIPPED, reduction=name) for name in ("mean", "sum")}
        (mean, mean_moved), (total, total_moved) = (
            update(recurrent_generator(), trajectories, advantages, settings[name])
            for name in ("mean", "sum")
        )
        num_tokens = int(trajectories.mask.sum())
        assert num_tokens < trajectories.mask.numel()
        torch.testing.assert_close(total_moved, mean_moved * num_tokens, rtol=1e-4, atol=1e-5)
        norm = "losses/grad_norm_generator"
        assert total[norm] == pytest.approx(mean[norm] * num_tokens, rel=1e-4)
        # What is reported stays per token, so that curves can be compared.
        assert total["losses/policy"] == mean["losses/policy"]

    @pytest.mark.parametrize("entropy_weight", [0.5, -0.5])
    def test_entropy_weight_ascends_the_entropy(self, entropy_weight):
        generator = TableGenerator(ENDING)
        trajectories, advantages = some_trajectories(generator)
        sequences = trajectories.sequences
        before = exact_entropy(generator, sequences)
        (gradient,) = torch.autograd.grad(before, generator.logits)
        settings = replace(UNCLIPPED, entropy_weight=entropy_weight)
        _, moved = update(generator, trajectories, torch.zeros_like(advantages), settings)
        torch.testing.assert_close(moved, entropy_weight * gradient.flatten())
        change = float((exact_entropy(generator, sequences) - before).detach())
        assert change * entropy_weight > 0

    @pytest.mark.parametrize(("reduction", "times"), [("mean", 1), ("sum", 91)])
    def test_mle_weight_descends_the_nll_of_the_real_sequences(self, reduction, times):
        generator = TableGenerator(ENDING)
        trajectories, advantages = some_trajectories(generator)
        assert int(trajectories.mask.sum()) == 91
        real = every_sequence(ENDING).select(torch.tensor([3, 50, 7, 101]))
        nll = generator.negative_log_likelihood(real)
        (gradient,) = torch.autograd.grad(nll, generator.logits)
        settings = replace(UNCLIPPED, mle_weight=0.3, reduction=reduction)
        nothing = torch.zeros_like(advantages)
        metrics, moved = update(generator, trajectories, nothing, settings, real=real)
        torch.testing.assert_close(moved, -0.3 * times * gradient.flatten())
        assert metrics["losses/mle"] == float(nll.detach())

    def test_nothing_to_learn_moves_nothing(self):
        generator = recurrent_generator()
        trajectories, advantages = some_trajectories(generator)
        _, moved = update(generator, trajectories, torch.zeros_like(advantages))
        assert not moved.any()

    def test_max_grad_norm(self):
        """Clipped, the step keeps its direction; the norm that is reported is the one before."""
        trajectories, advantages = some_trajectories(recurrent_generator())
        free, moved = update(recurrent_generator(), trajectories, advantages)
        norm = free["losses/grad_norm_generator"]
        clipped, less_moved = update(
            recurrent_generator(), trajectories, advantages, GeneratorUpdate(max_grad_norm=norm / 4)
        )
        assert clipped["losses/grad_norm_generator"] == norm
        torch.testing.assert_close(less_moved, moved / 4, rtol=1e-3, atol=1e-6)
        wide = GeneratorUpdate(max_grad_norm=2 * norm)
        _, as_far = update(recurrent_generator(), trajectories, advantages, wide)
        assert torch.equal(as_far, moved)

    def test_dropout_is_off(self):
        """Same weights, once with dropout: the same step, whatever mode the module was in."""
        quiet, noisy = recurrent_generator(), recurrent_generator(dropout=0.9).train()
        trajectories, advantages = some_trajectories(quiet)
        plain, moved = update(quiet, trajectories, advantages)
        dropped, noisy_moved = update(noisy, trajectories, advantages)
        assert torch.equal(moved, noisy_moved)
        assert plain == dropped

    def test_padding_never_matters(self):
        """Other ids and numbers on padding, and two more columns of it: the same step."""
        generator = recurrent_generator()
        trajectories, advantages = some_trajectories(generator)
        mask = trajectories.mask

        def wider(values, fill):
            values = torch.where(mask, values, fill)
            columns = torch.full((len(values), 2), fill, dtype=values.dtype)
            return torch.cat([values, columns], dim=1)

        sequences = Sequences(wider(trajectories.tokens, 1), wider(mask, False), vocabulary=ENDING)
        wide = Trajectories(
            sequences, wider(trajectories.log_probs, 7.0), wider(trajectories.rewards, 9.0)
        )
        plain, moved = update(generator, trajectories, advantages)
        metrics, wide_moved = update(recurrent_generator(), wide, wider(advantages, 1e6))
        torch.testing.assert_close(wide_moved, moved, rtol=1e-5, atol=1e-6)
        assert metrics == pytest.approx(plain, rel=1e-5)

    def test_the_same_rows_twice_give_the_same_step(self):
        trajectories, advantages = some_trajectories(recurrent_generator())
        rows = torch.arange(len(advantages)).repeat(2)
        twice = Trajectories(
            trajectories.sequences.select(rows),
            trajectories.log_probs[rows],
            trajectories.rewards[rows],
        )
        _, moved = update(recurrent_generator(), trajectories, advantages)
        _, twice_moved = update(recurrent_generator(), twice, advantages[rows])
        torch.testing.assert_close(twice_moved, moved, rtol=1e-4, atol=1e-6)

    @pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
    def test_a_loss_that_is_not_finite_changes_nothing(self, number):
        generator = recurrent_generator()
        trajectories, advantages = some_trajectories(generator)
        advantages[0, 0] = number
        before = weights(generator)
        optimizer = torch.optim.Adam(generator.parameters(), 0.1)
        with pytest.raises(DivergedError, match=r"the policy-gradient loss is .*, not finite"):
            update_generator(
                generator,
                optimizer,
                reinforce,
                trajectories,
                advantages,
                UNCLIPPED,
                SingleProcess(),
            )
        assert torch.equal(weights(generator), before)
        assert not optimizer.state

    def test_a_gradient_that_is_not_finite_changes_nothing(self):
        """The root of zero is a fine loss with an infinite slope."""

        def root(log_probs, old_log_probs, advantages, mask):
            return (log_probs - log_probs.detach()).abs().sqrt(), {}

        generator = recurrent_generator()
        trajectories, advantages = some_trajectories(generator)
        before = weights(generator)
        optimizer = torch.optim.Adam(generator.parameters(), 0.1)
        with pytest.raises(DivergedError, match="the policy gradient's norm is nan, not finite"):
            update_generator(
                generator, optimizer, root, trajectories, advantages, UNCLIPPED, SingleProcess()
            )
        assert torch.equal(weights(generator), before)
        assert not optimizer.state


class TestPretrainEpoch:
    DATA = Sequences.from_rows(
        [[0, 1, 2, 3], [0, 1, 3], [0, 2, 3], [1, 3], [0, 1, 2, 0], [3], [0, 1, 2, 3]],
        ENDING,
        MAX_LENGTH,
    )

    def epoch(self, generator, optimizer, batch_size=3, max_grad_norm=math.inf, data=DATA):
        batches = (data.select(rows) for rows in torch.arange(len(data)).split(batch_size))
        return pretrain_epoch(generator, optimizer, batches, max_grad_norm, SingleProcess())

    def test_lowers_its_loss(self):
        generator = recurrent_generator()
        optimizer = torch.optim.Adam(generator.parameters(), 0.03)
        losses = [self.epoch(generator, optimizer)["pretrain/nll_train"] for _ in range(60)]
        # The best possible loss is the entropy of the rows: one of 7 appears twice.
        best = (5 / 7 * math.log(7) + 2 / 7 * math.log(7 / 2)) * 7 / int(self.DATA.mask.sum())
        assert losses[0] > 1.1
        assert best < losses[-1] < best + 0.1

    def test_metrics_are_per_token(self):
        """At rate 0: the mean over all tokens, though minibatches differ in tokens."""
        generator = recurrent_generator().double()
        optimizer = torch.optim.SGD(generator.parameters(), 0.0)
        metrics = self.epoch(generator, optimizer)
        log_probs = token_log_softmax(generator, self.DATA).detach()
        last = self.DATA.mask[6:]
        assert metrics == {
            "pretrain/nll_train": pytest.approx(-float(log_probs[self.DATA.mask].mean())),
            "losses/pretrain": pytest.approx(-float(log_probs[6:][last].mean())),
        }

    def test_one_step_a_minibatch_down_the_gradient(self):
        generator = TableGenerator(ENDING)
        expected = copy.deepcopy(generator)
        optimizer = torch.optim.SGD(generator.parameters(), 0.5)
        self.epoch(generator, optimizer, batch_size=4)
        for rows in (torch.arange(4), torch.arange(4, 7)):
            batch = self.DATA.select(rows)
            loss = -token_log_softmax(expected, batch)[batch.mask].mean()
            (gradient,) = torch.autograd.grad(loss, expected.logits)
            with torch.no_grad():
                expected.logits -= 0.5 * gradient
        torch.testing.assert_close(weights(generator), weights(expected))

    def test_max_grad_norm(self):
        generator = recurrent_generator()
        before = weights(generator)
        optimizer = torch.optim.SGD(generator.parameters(), 1.0)
        self.epoch(generator, optimizer, batch_size=7, max_grad_norm=0.01)
        assert float((weights(generator) - before).norm()) == pytest.approx(0.01, rel=1e-3)

    def test_dropout_is_on_and_seeded(self):
        def trained(seed):
            generator = recurrent_generator(dropout=0.5)
            with seeded_from(seeded(seed)):
                self.epoch(generator, torch.optim.SGD(generator.parameters(), 0.1))
            return weights(generator)

        assert torch.equal(trained(1), trained(1))
        assert not torch.equal(trained(1), trained(2))

    def test_padding_never_matters(self):
        data = replace(self.DATA, tokens=self.DATA.tokens.where(self.DATA.mask, 0))
        first, second = recurrent_generator(), recurrent_generator()
        self.epoch(first, torch.optim.SGD(first.parameters(), 0.5))
        self.epoch(second, torch.optim.SGD(second.parameters(), 0.5), data=data)
        assert torch.equal(weights(first), weights(second))

    def test_a_loss_that_is_not_finite_changes_nothing(self):
        generator = recurrent_generator()
        with torch.no_grad():
            generator.output.bias[1] = math.nan
        before = weights(generator)
        optimizer = torch.optim.SGD(generator.parameters(), 0.1)
        with pytest.raises(DivergedError, match="the pretraining loss is nan, not finite"):
            self.epoch(generator, optimizer)
        assert torch.equal(weights(generator).nan_to_num(), before.nan_to_num())


@dataclass
class RecordingReward:
    """Writes down the minibatches that it is given, and reports a number of its own for each."""

    losses: list[float]
    name: str = "recording"
    per_token: bool = False
    batches: list[tuple[list[int], list[int]]] = field(default_factory=list)

    def score(self, sequences):
        return torch.zeros(len(sequences))

    def update(self, real, generated):
        self.batches.append((list(real.columns["id"]), list(generated.columns["id"])))
        loss = self.losses[len(self.batches) - 1]
        return {"losses/discriminator": loss, "discriminator/accuracy_real": loss / 10}

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        pass


def numbered(num_rows, first):
    sequences = Sequences.from_rows([[0, 3]] * num_rows, ENDING, MAX_LENGTH)
    return replace(sequences, columns={"id": list(range(first, first + num_rows))})


class TestTrainDiscriminator:
    def test_lowers_its_loss_and_tells_the_sets_apart(self):
        rows = [[0, 1, 2, 3], [0, 0, 3], [1, 0, 3], [0, 1, 1, 3]]
        real = Sequences.from_rows(rows * 8, ENDING, MAX_LENGTH)
        generated = Sequences.from_rows([[2, 2, 3], [2, 1, 0, 3]] * 16, ENDING, MAX_LENGTH)
        reward = discriminator_reward()
        with seeded_from(seeded()):
            rounds = [
                train_discriminator(reward, real, generated, 2, 16, seeded(i)) for i in range(15)
            ]
        assert rounds[0]["losses/discriminator"] == pytest.approx(math.log(2), abs=0.15)
        assert rounds[-1]["losses/discriminator"] < 0.1
        assert rounds[-1]["discriminator/accuracy_real"] == 1
        assert rounds[-1]["discriminator/accuracy_generated"] == 1
        assert float(reward.score(real).min()) > 0.8
        assert float(reward.score(generated).max()) < 0.2

    def test_minibatches(self):
        """Half real, half generated; each row once an epoch, in another order every epoch."""
        reward = RecordingReward(list(range(1, 7)))
        metrics = train_discriminator(reward, numbered(6, 0), numbered(6, 100), 2, 4, seeded())
        assert len(reward.batches) == 6
        epochs = reward.batches[:3], reward.batches[3:]
        for side, ids in ((0, range(6)), (1, range(100, 106))):
            first, second = ([i for batch in epoch for i in batch[side]] for epoch in epochs)
            assert all(len(batch[side]) == 2 for batch in reward.batches)
            assert sorted(first) == sorted(second) == list(ids)
            assert first != second
        # The mean over the last epoch, of losses 4, 5 and 6.
        assert metrics == pytest.approx(
            {"losses/discriminator": 5.0, "discriminator/accuracy_real": 0.5}
        )

    @pytest.mark.parametrize(
        ("num_real", "num_generated", "batch_size", "sizes"),
        [
            (6, 9, 4, [(2, 2)] * 3),  # the smaller set decides
            (9, 6, 4, [(2, 2)] * 3),
            (7, 7, 4, [(2, 2)] * 3),  # an incomplete minibatch is left out
            (3, 2, 100, [(3, 2)]),
            (2, 2, 1, [(1, 1)] * 2),
        ],
    )
    def test_sizes(self, num_real, num_generated, batch_size, sizes):
        reward = RecordingReward([0.5] * 10)
        real, generated = numbered(num_real, 0), numbered(num_generated, 100)
        train_discriminator(reward, real, generated, 1, batch_size, seeded())
        assert [(len(a), len(b)) for a, b in reward.batches] == sizes

    def test_stops_at_the_first_loss_that_is_not_finite(self):
        reward = RecordingReward([0.5, math.nan, 0.5, 0.5, 0.5, 0.5])
        with pytest.raises(DivergedError, match="the discriminator loss is nan, not finite"):
            train_discriminator(reward, numbered(6, 0), numbered(6, 100), 2, 4, seeded())
        assert len(reward.batches) == 2


def one_round(seed):
    """Collect, roll out, update the generator, train the discriminator; all weights after it."""
    rng, generator, reward = seeded(seed), recurrent_generator(), discriminator_reward()
    frozen = weights(reward.discriminator)
    env = make_task_env(FixedTask(ENDING, MAX_LENGTH, {}), reward, 16)
    trajectories = collect(env, generator, ENDING, MAX_LENGTH, rng)
    values = monte_carlo_action_values(generator, reward, trajectories, 2, rng)
    before = weights(generator)
    optimizer = torch.optim.Adam(generator.parameters(), 0.01)
    update_generator(
        generator, optimizer, reinforce, trajectories, values, UNCLIPPED, SingleProcess()
    )
    # The reward model judged the batch and the rollouts; it did not learn from them.
    assert torch.equal(weights(reward.discriminator), frozen)
    assert all(parameter.grad is None for parameter in reward.discriminator.parameters())
    assert not torch.equal(weights(generator), before)

    learned = weights(generator)
    real = every_sequence(ENDING).select(torch.arange(16))
    with seeded_from(rng):
        train_discriminator(reward, real, trajectories.sequences, 1, 8, rng)
    assert torch.equal(weights(generator), learned)
    assert not torch.equal(weights(reward.discriminator), frozen)
    return torch.cat([learned, weights(reward.discriminator)])


def test_each_side_learns_alone_and_the_same_seed_gives_the_same_round():
    first, second, other = one_round(1), one_round(1), one_round(2)
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
