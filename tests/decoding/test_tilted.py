"""Tilted models on worlds that can be enumerated: the right distribution, log Z, KL, change."""

import math
from dataclasses import replace

import pytest
import torch
from tilted_worlds import BETA, Bounded, World
from toys import ENDING, FIXED, MAX_LENGTH, TableReward, seeded

from seqgan.decoding.learned_twist import TwistTraining, learn_twist
from seqgan.decoding.tilt import Tilt
from seqgan.decoding.tilted import Tilted
from seqgan.decoding.twists import RolloutTwist
from seqgan.functional.weights import best_of_n_kl
from seqgan.models import sampling
from seqgan.rewards.weighted import WeightedSum
from seqgan.system.errors import ConfigurationError


@pytest.fixture(scope="module", params=[FIXED, ENDING], ids=["fixed length", "with an end"])
def world(request):
    return World(request.param)


def resampled(world, rng):
    """Texts of many small populations: each draw of one population repeats texts."""
    return world.model.propose(40_000, rng).draw(4000, rng)


def smc(twist):
    def drawn(world, rng):
        return world.model.smc(40_000, rng, twist(world), islands=400).draw(4000, rng)

    return drawn


SAMPLERS = {
    "resampling": resampled,
    "rejection": lambda world, rng: world.model.reject(4000, rng)[0],
    "smc with a perfect twist": smc(World.exact_twist),
    "smc with rollouts": smc(lambda world: RolloutTwist(world.generator, world.tilt, 3)),
    "smc with a learnt twist": smc(
        lambda world: learn_twist(
            world.model.propose(3000, seeded(5)),
            world.vocabulary,
            seeded(6),
            TwistTraining(epochs=2),
        )
    ),
    "smc with a wrong twist": smc(World.wrong_twist),
}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_sampler_draws_from_the_tilted_distribution(world, sampler):
    texts = SAMPLERS[sampler](world, seeded(3))
    assert abs(world.chi_square(texts)) < 4, sampler
    # the statistic tells the tilted model from the start
    start = world.model.propose(4000, seeded(4)).sequences
    assert world.chi_square(start) > 15


def test_log_z_kl_and_held_out_change_are_the_enumerated_ones(world):
    weighted = world.model.propose(20_000, seeded(1))
    summary = weighted.summary()
    assert summary.normalizer.value == pytest.approx(world.log_z, abs=4 * summary.normalizer.error)
    assert 0 < summary.normalizer.error < 0.02
    assert summary.kl == pytest.approx(world.kl, abs=0.05)
    held_out = world.every.select(torch.multinomial(world.start, 4000, True, generator=seeded(2)))
    change = world.model.held_out_change(held_out, weighted)
    tilts, tokens = world.tilt(world.every), world.every.lengths
    exact = -float((world.start * (tilts - world.log_z)).sum() / (world.start * tokens).sum())
    assert change.value == pytest.approx(exact, abs=4 * change.error)
    assert change.trusted


def test_smc_estimates_log_z_within_its_error(world):
    twist = RolloutTwist(world.generator, world.tilt, 2)
    normalizer = world.model.smc(8000, seeded(7), twist, islands=40).summary().normalizer
    assert normalizer.value == pytest.approx(world.log_z, abs=4 * normalizer.error)
    assert 0 < normalizer.error < 0.1


def test_smc_grows_as_many_texts_together_as_memory_has_room_for(monkeypatch):
    """Islands are independent, so each few of them may grow after the others."""
    monkeypatch.setattr(sampling, "LOGITS_IN_FLIGHT", 1)  # 64 rows
    world, grown = World(ENDING), []
    start = world.generator.start
    monkeypatch.setattr(
        world.generator, "start", lambda rows, prompts=None: grown.append(rows) or start(rows)
    )
    weighted = world.model.smc(2000, seeded(7), world.wrong_twist(), islands=100)
    assert (max(grown), sum(grown)) == (60, 2000)
    normalizer = weighted.summary().normalizer
    assert normalizer.value == pytest.approx(world.log_z, abs=4 * normalizer.error)
    rows = world.every.select(torch.arange(50))
    prompts = replace(
        rows,
        prompts=torch.zeros(50, 1, dtype=torch.long),
        prompt_mask=torch.ones(50, 1, dtype=torch.bool),
        columns={"row": list(range(50))},
    )
    of_prompts = world.model.smc(8, seeded(7), world.wrong_twist(), prompts, islands=2)
    assert of_prompts.log_weights.shape == (50, 8)
    assert of_prompts.block == 4
    assert of_prompts.sequences.columns["row"] == [row for row in range(50) for _ in range(8)]
    torch.testing.assert_close(of_prompts.log_tilts.flatten(), world.tilt(of_prompts.sequences))


def test_the_cost_of_smc_counts_the_tokens_of_rollouts():
    world = World(FIXED)
    twist = RolloutTwist(world.generator, world.tilt, 2)
    for _ in range(2):  # the twist keeps counting; each call reports its own
        weighted = world.model.smc(80, seeded(7), twist, least_share=0.0)
        # 4 tokens a text, and two completions of its prefixes of 1, 2 and 3 tokens
        assert weighted.sampled_tokens == 80 * (4 + 2 * (3 + 2 + 1))
    plain = world.model.smc(80, seeded(7), world.exact_twist(), least_share=0.0)
    assert plain.sampled_tokens == 80 * 4


def test_a_bound_is_known_of_rewards_that_are_not_turned_around():
    world = World(FIXED)
    other = Bounded(3, seed=4)
    other.name = "other"
    both = WeightedSum([world.reward, other], [2.0, 0.5])
    expected = (2 * world.reward.most + 0.5 * other.most) / BETA
    assert Tilt(both, BETA).bound == pytest.approx(expected)
    turned = WeightedSum([world.reward, other], [2.0, -0.5])
    assert Tilt(turned, BETA).bound == math.inf


def test_a_perfect_twist_gives_equal_weights(world):
    weighted = world.model.smc(400, seeded(8), world.exact_twist(), islands=4)
    expected = torch.full((1, 400), world.log_z, dtype=torch.double)
    torch.testing.assert_close(weighted.log_weights, expected)
    assert weighted.summary().share == pytest.approx(1.0)


def test_the_effective_share_of_smc_tells_the_noise_of_its_log_z():
    """As that of independent proposals does; resampled weights alone would tell a tenth of it."""
    world = World(ENDING)
    weighted = world.model.smc(100 * 300, seeded(9), world.wrong_twist(), None, 300, 0.99)
    ratios = (weighted.log_weights.view(300, 100) - world.log_z).exp().mean(dim=1)
    told, alone = (
        (1 / one.summary().share - 1) / 100 for one in (weighted, replace(weighted, ancestors=None))
    )
    assert float(ratios.var()) == pytest.approx(told, rel=0.35)
    assert alone < told / 5


def test_particles_that_descend_from_few_are_not_trusted():
    """Their weights are even, as they are copies of each other."""
    world = World(FIXED, beta=0.02)
    twist = RolloutTwist(world.generator, world.tilt, 1)
    weighted = world.model.smc(400, seeded(8), twist, islands=2)
    assert replace(weighted, ancestors=None).summary().share > 0.2
    assert not weighted.summary().trusted


def test_a_learnt_twist_makes_weights_more_even_than_resampling():
    world = World(FIXED)
    proposals = world.model.propose(8000, seeded(1))
    twist = learn_twist(proposals, FIXED, seeded(2))
    share = world.model.smc(4000, seeded(3), twist, least_share=0.0).summary().share
    assert share > 3 * proposals.summary().share


def test_with_beta_infinite_it_is_the_generator():
    world = World(FIXED, beta=math.inf)
    weighted = world.model.propose(500, seeded(1))
    assert weighted.summary().share == pytest.approx(1.0)
    assert weighted.summary().normalizer.value == pytest.approx(0.0)
    torch.testing.assert_close(world.probs, world.start)


def test_best_of_n_has_its_known_density_and_kl():
    world = World(FIXED)
    texts, tokens = world.model.best_of(4000, seeded(1), of=3)
    assert tokens == 4000 * 3 * MAX_LENGTH
    order = world.reward.score(world.every).argsort()
    below = torch.zeros(len(order) + 1).double()
    below[1:] = world.start[order].cumsum(0)
    exact = torch.zeros(len(order)).double()
    exact[order] = below[1:] ** 3 - below[:-1] ** 3
    kl = float((exact * (exact / world.start).log()).sum())
    assert kl == pytest.approx(best_of_n_kl(3), abs=0.06)  # texts are few, and no continuum
    world.probs = exact
    assert abs(world.chi_square(texts)) < 4


def test_rejection_says_if_it_cannot():
    world = World(FIXED)
    with pytest.raises(ConfigurationError, match="above the bound"):
        world.model.reject(50, seeded(1), bound=0.1)
    with pytest.raises(ConfigurationError, match="larger beta keeps more"):
        world.model.reject(10_000, seeded(1), most_proposals=10_000)
    plain = Tilted(world.generator, FIXED, MAX_LENGTH, Tilt(TableReward(3), BETA))
    with pytest.raises(ConfigurationError, match="largest reward"):
        plain.reject(10, seeded(1))
