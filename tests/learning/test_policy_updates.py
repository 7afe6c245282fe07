"""Several epochs of minibatches over one batch: ratios, early stop, KL in the loss, processes."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from fake_processes import all_at_once, fake_processes
from torch.nn.utils import parameters_to_vector
from toys import ENDING, FIXED, MAX_LENGTH, TableGenerator, every_sequence, seeded

from seqgan.data.sequences import Trajectories, masked_mean
from seqgan.functional.kl_estimators import k3
from seqgan.functional.policy_losses import make_policy_loss, ppo, reinforce
from seqgan.learning.policy_updates import (
    GeneratorUpdate,
    KLTerm,
    minibatches,
    update_generator,
)
from seqgan.models.generators.recurrent import RecurrentGenerator, RecurrentGeneratorConfig
from seqgan.models.generators.transformer import TransformerGenerator, TransformerGeneratorConfig
from seqgan.models.sampling import sample
from seqgan.system.errors import DivergedError
from seqgan.system.runtime import ALONE
from seqgan.system.seeding import seeded_from

UNCLIPPED = GeneratorUpdate(max_grad_norm=math.inf)


def network(kind="lstm", seed=0, precision="float32"):
    settings = {
        "lstm": RecurrentGeneratorConfig(embedding_size=4, hidden_size=6, dropout=0.3),
        "transformer": TransformerGeneratorConfig(width=8, num_layers=1, num_heads=2, dropout=0.3),
    }[kind]
    made = {"lstm": RecurrentGenerator, "transformer": TransformerGenerator}[kind]
    with seeded_from(seeded(seed)):
        return made(replace(settings, precision=precision), ENDING).eval()


def weights(module):
    return parameters_to_vector(module.parameters()).detach().clone()


def drawn(generator, rows=24):
    """Texts of all lengths, as if another machine had drawn them, and arbitrary advantages."""
    sequences = every_sequence(ENDING).select(torch.arange(rows) * 5 % 121)
    noise = 0.1 * torch.rand((rows, MAX_LENGTH), generator=seeded(2))
    log_probs = torch.where(sequences.mask, generator.log_probs(sequences).detach() + noise, 0.0)
    advantages = torch.randn((rows, MAX_LENGTH), generator=seeded(3))
    return Trajectories(sequences, log_probs, torch.zeros_like(log_probs)), advantages


def updated(generator, loss, settings=UNCLIPPED, rate=0.3, runtime=ALONE, given=None, **kwargs):
    optimizer = torch.optim.SGD(generator.parameters(), rate)
    trajectories, advantages = drawn(generator) if given is None else given
    runtime.prepare(generator)
    return update_generator(
        generator, optimizer, loss, trajectories, advantages, settings, runtime, **kwargs
    )


class TestMinibatches:
    def test_every_epoch_has_each_row_once_in_an_order_of_its_own(self):
        found = minibatches(10, seeded(), epochs=3, size=4)
        assert [len(rows) for rows in found] == [4, 4, 2] * 3
        epochs = [torch.cat(found[first : first + 3]) for first in (0, 3, 6)]
        assert all(epoch.sort().values.tolist() == [*range(10)] for epoch in epochs)
        assert len({tuple(epoch.tolist()) for epoch in epochs}) == 3

    def test_the_whole_batch_needs_no_draw(self):
        rng = seeded()
        before = rng.get_state()
        for size in (0, 10, 99):
            found = minibatches(10, rng, epochs=2, size=size)
            assert [rows.tolist() for rows in found] == [[*range(10)]] * 2
        assert torch.equal(rng.get_state(), before)


class TestRatio:
    @pytest.mark.parametrize("precision", ["float32", "bfloat16"])
    @pytest.mark.parametrize("kind", ["lstm", "transformer"])
    def test_it_is_one_exactly_at_the_first_minibatch(self, kind, precision):
        """Whatever the collection's rounding; dropout is off, and the arithmetic the same."""
        generator, seen = network(kind, precision=precision), []

        def watched(log_probs, old_log_probs, advantages, mask):
            seen.append((log_probs - old_log_probs).detach()[mask].exp())
            return ppo(log_probs, old_log_probs, advantages, mask)

        generator.train()
        steps = minibatches(24, seeded(), epochs=2, size=8)
        metrics = updated(generator, watched, steps=steps)
        assert torch.equal(seen[0], torch.ones_like(seen[0]))
        assert all(float((ratio - 1).abs().max()) > 1e-4 for ratio in seen[1:])
        count = sum(len(ratio) for ratio in seen)
        assert metrics["losses/ratio"] == pytest.approx(float(torch.cat(seen).sum()) / count)

    def test_it_compares_with_the_policy_at_the_beginning_of_the_update(self):
        """In every epoch, row by row, though the rows lie elsewhere in each minibatch."""
        generator = network()
        trajectories, _ = drawn(generator)
        before = generator.log_probs(trajectories.sequences).detach()
        steps, seen = minibatches(24, seeded(), epochs=3, size=7), []

        def watched(log_probs, old_log_probs, advantages, mask):
            seen.append(old_log_probs)
            return ppo(log_probs, old_log_probs, advantages, mask)

        updated(generator, watched, steps=steps)
        for rows, old in zip(steps, seen, strict=True):
            torch.testing.assert_close(old, before[rows], rtol=0, atol=1e-6)

    def test_one_step_on_all_rows_costs_no_pass_more_and_logs_no_distance(self):
        generator = network()
        generator.log_probs = None  # would fail
        trajectories, advantages = drawn(network())
        metrics = updated(generator, make_policy_loss("ppo"), given=(trajectories, advantages))
        assert metrics.keys() == {
            "losses/policy",
            "losses/entropy",
            "losses/clipfrac",
            "losses/grad_norm_generator",
        }


class TestSteps:
    def test_minibatches_are_steps_one_after_the_other(self):
        """Each on its own rows, with its own advantages and its own part of the real texts."""
        expected, found = network(), network()
        trajectories, advantages = drawn(expected)
        real = every_sequence(ENDING).select(torch.arange(24) * 3)
        settings = GeneratorUpdate(0.5, entropy_weight=0.1, mle_weight=0.3)
        steps = minibatches(24, seeded(), epochs=2, size=9)
        for rows in steps:
            part = Trajectories(
                trajectories.sequences.select(rows),
                trajectories.log_probs[rows],
                trajectories.rewards[rows],
            )
            updated(
                expected,
                reinforce,
                settings,
                given=(part, advantages[rows]),
                real=real.select(rows),
            )
        updated(
            found, reinforce, settings, given=(trajectories, advantages), real=real, steps=steps
        )
        torch.testing.assert_close(weights(found), weights(expected), rtol=0, atol=1e-6)
        assert float((weights(found) - weights(network())).abs().max()) > 1e-3

    def test_a_kl_that_is_too_large_stops_before_the_step(self):
        """Each minibatch is the whole batch, so the KL grows step by step."""
        whole = minibatches(24, seeded(), epochs=6)
        free = network()
        kls = [
            updated(network(), make_policy_loss("ppo"), steps=whole[:n])["losses/approx_kl"] * n
            for n in range(2, 7)
        ]  # the sums so far
        kl_of_fourth = kls[2] - kls[1]
        stopped = network()
        metrics = updated(
            stopped, make_policy_loss("ppo"), steps=whole, stop_kl=0.999 * kl_of_fourth
        )
        assert metrics["losses/steps"] == 3
        assert metrics["losses/approx_kl"] == pytest.approx(kls[2] / 4)
        updated(free, make_policy_loss("ppo"), steps=whole[:3])
        assert torch.equal(weights(free), weights(stopped))
        metrics = updated(network(), make_policy_loss("ppo"), steps=whole, stop_kl=1e9)
        assert metrics["losses/steps"] == 6

    def test_a_minibatch_that_is_not_finite_makes_no_step(self):
        generator, expected = network(), network()
        trajectories, advantages = drawn(generator)
        advantages[9] = math.nan
        steps = list(torch.arange(24).split(8))
        with pytest.raises(DivergedError, match="the policy-gradient loss is nan, not finite"):
            updated(generator, reinforce, given=(trajectories, advantages), steps=steps)
        updated(expected, reinforce, given=(trajectories, advantages.nan_to_num()), steps=steps[:1])
        assert torch.equal(weights(generator), weights(expected))


class TestReductions:
    @pytest.mark.parametrize("reduction", ["mean", "sum", "sequences", "constant"])
    def test_the_gradient_is_that_of_the_reduced_loss(self, reduction):
        generator = network()
        trajectories, advantages = drawn(generator)
        mask, lengths = trajectories.mask, trajectories.sequences.lengths
        tokens = generator.eval().log_probs(trajectories.sequences) * advantages * mask
        loss = {
            "mean": tokens.sum() / mask.sum(),
            "sum": tokens.sum(),
            "sequences": (tokens.sum(dim=1) / lengths).mean(),
            "constant": tokens.sum() / (24 * MAX_LENGTH),
        }[reduction]
        expected = torch.autograd.grad(loss, list(generator.parameters()))
        before = weights(generator)
        updated(generator, reinforce, GeneratorUpdate(math.inf, reduction=reduction), rate=1.0)
        moved = weights(generator) - before
        torch.testing.assert_close(moved, parameters_to_vector(expected), rtol=1e-3, atol=1e-6)


class TestKLTerm:
    def test_it_is_part_of_the_loss_with_its_weight(self):
        generator = network()
        trajectories, advantages = drawn(generator)
        reference = trajectories.log_probs - 0.3 * advantages
        log_probs = generator.eval().log_probs(trajectories.sequences)
        kl = masked_mean(k3(log_probs, reference), trajectories.mask)
        loss = 0.7 * kl - masked_mean(log_probs * advantages, trajectories.mask)
        expected = torch.autograd.grad(loss, list(generator.parameters()))
        before = weights(generator)
        metrics = updated(generator, reinforce, rate=1.0, kl=KLTerm(reference, 0.7, "k3"))
        moved = weights(generator) - before
        torch.testing.assert_close(moved, -parameters_to_vector(expected), rtol=1e-3, atol=1e-6)
        assert metrics["losses/kl"] == pytest.approx(float(kl.detach()), rel=1e-5)

    def test_every_minibatch_has_its_own_rows_of_it(self):
        generator = network()
        trajectories, advantages = drawn(generator)
        reference = trajectories.log_probs + torch.arange(24.0)[:, None]
        rows = torch.tensor([3, 20])
        metrics = updated(
            generator,
            reinforce,
            rate=0.0,
            given=(trajectories, advantages),
            kl=KLTerm(reference, 1.0, "k1"),
            steps=[rows, rows],
        )
        part = trajectories.sequences.select(rows)
        difference = generator.log_probs(part).detach() - reference[rows]
        expected = masked_mean(difference, part.mask)
        assert metrics["losses/kl"] == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("reduction", ["mean", "sum", "sequences", "constant"])
@pytest.mark.parametrize("loss", ["ppo", "gspo"])
def test_processes_take_the_steps_of_one_with_the_joined_minibatches(loss, reduction):
    """Each process has its part of every minibatch: one has short texts, the other long ones."""
    order = every_sequence(ENDING).lengths.argsort(stable=True)
    sequences = every_sequence(ENDING).select(torch.cat([order[:12], order[-12:]]))
    advantages = torch.randn((24, MAX_LENGTH), generator=seeded(3))
    settings = GeneratorUpdate(0.5, entropy_weight=0.1, mle_weight=0.3, reduction=reduction)
    own = minibatches(12, seeded(), epochs=2, size=5)

    def train(generator, runtime, rows, steps):
        part = sequences.select(rows)
        log_probs = generator.log_probs(part).detach()
        metrics = updated(
            generator,
            make_policy_loss(loss),
            settings,
            rate=0.1 / (48 if reduction == "sum" else 1),
            runtime=runtime,
            given=(Trajectories(part, log_probs, torch.zeros_like(log_probs)), advantages[rows]),
            real=sequences.select(23 - rows),
            kl=KLTerm(log_probs - 0.1 * advantages[rows], 0.2),
            steps=steps,
            stop_kl=1.0,
        )
        return weights(generator), metrics

    joined = [torch.cat([rows, rows + 12]) for rows in own]
    expected, measured = train(network(), ALONE, torch.arange(24), joined)
    runtimes = fake_processes(2)
    halves = torch.arange(24).split(12)
    calls = [partial(train, network(), runtime, halves[runtime.rank], own) for runtime in runtimes]
    for found, metrics in all_at_once(calls):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
        assert metrics == pytest.approx(measured, rel=1e-4)
    assert float((expected - weights(network())).abs().max()) > 1e-3


def test_drawn_texts_of_a_table_have_the_same_ratio_in_double_precision():
    """Old log-probabilities keep the precision of the policy, not that of the collection."""
    policy = TableGenerator(FIXED)
    texts = sample(policy, FIXED, 12, MAX_LENGTH, seeded())
    log_probs = policy.log_probs(texts).detach().float()
    given = Trajectories(texts, log_probs, torch.zeros_like(log_probs)), torch.ones(12, 4).double()
    steps = minibatches(12, seeded(), epochs=2, size=6)
    metrics = updated(policy, make_policy_loss("ppo"), rate=0.0, given=given, steps=steps)
    assert metrics["losses/ratio"] == 1
    assert metrics["losses/approx_kl"] == metrics["losses/clipfrac"] == 0


@pytest.mark.parametrize("reduction", ["mean", "sum", "sequences", "constant"])
def test_micro_batches_add_up_to_the_gradient_of_their_minibatch(reduction):
    """With all terms of the loss, texts of unlike lengths, and a part that is left over."""

    def train(size):
        generator = network()
        trajectories, advantages = drawn(generator)
        metrics = updated(
            generator,
            make_policy_loss("ppo"),
            GeneratorUpdate(0.5, 0.1, 0.3, reduction, size),
            rate=0.1 / (48 if reduction == "sum" else 1),
            given=(trajectories, advantages),
            real=every_sequence(ENDING).select(torch.arange(24) * 3),
            kl=KLTerm(trajectories.log_probs - 0.1 * advantages, 0.2),
            steps=minibatches(24, seeded(), epochs=2, size=9),
        )
        return weights(generator), metrics

    expected, measured = train(0)
    for size in (1, 4):
        found, metrics = train(size)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
        assert metrics == pytest.approx(measured, rel=1e-4)
    assert float((expected - weights(network())).abs().max()) > 1e-3
