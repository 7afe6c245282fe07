"""The credit of a critic in the policy gradient: what the rule does with it, step by step."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from fake_processes import all_at_once, fake_processes
from test_critic import make_players, recurrent
from tiny_runs import TINY, changed, make_trainer, weights_of
from torch import Tensor
from torch.nn.utils import parameters_to_vector
from toys import ENDING, as_trajectories, every_sequence, seeded

from seqgan.data.sequences import Trajectories
from seqgan.functional.advantages import to_go
from seqgan.functional.values import generalized_advantages
from seqgan.learning.collection import gathered
from seqgan.learning.credit.base import Batch, Credit, Valued
from seqgan.learning.credit.critic import CriticCredit, of_each
from seqgan.learning.credit.rollouts import RolloutCredit
from seqgan.learning.critic import CriticConfig
from seqgan.learning.players import Players
from seqgan.learning.rules.policy_gradient import PolicyGradientConfig
from seqgan.system.errors import ConfigurationError
from seqgan.system.runtime import Runtime
from seqgan.system.seeding import seeded_from

KINDS = pytest.mark.parametrize("kind", ["head", "network"])
CRITIC: dict[str, Any] = {
    "rule.num_rollouts": 0,
    "rule.critic.size": 4,
    "rule.critic.warmup": 1,
    "rule.critic.minibatch_size": 2,
}


def credit_of(
    players: Players, num_rollouts: int = 0, gamma: float = 1.0, **settings: Any
) -> CriticCredit:
    rule = PolicyGradientConfig(num_rollouts=num_rollouts, gamma=gamma)
    with seeded_from(seeded(2)):
        credit = CriticCredit(
            CriticConfig(size=4, **settings), RolloutCredit(rule, players.generator), players
        )
        torch.nn.init.normal_(credit.learner.critic.head.output.weight)
    return credit


def batch_of(players: Players, rows: Tensor, reference: Any) -> Batch:
    """Texts of these numbers with a reward, at a distance from a reference, KL weight 0.5."""
    sequences = every_sequence(ENDING).select(players.runtime.own(rows))
    given = as_trajectories(players.generator, sequences, sequences.tokens.sum(dim=1).float())
    ratios = given.log_probs - reference.log_probs(sequences).detach()
    return Batch(given, gathered(given, players.runtime), players.runtime.gather(ratios), 0.5)


def valued(players: Players, credit: CriticCredit, batch: Batch) -> Valued:
    return credit.value(players, batch, seeded())


ROWS = torch.arange(12) * 10


class TestValues:
    def test_it_is_a_way_of_credit(self):
        assert isinstance(credit_of(make_players(recurrent(), ENDING), kind="head"), Credit)

    @pytest.mark.parametrize("gamma", [1.0, 0.6])
    @KINDS
    def test_advantages_are_those_of_rewards_and_kl_together(self, kind, gamma):
        players = make_players(recurrent(), ENDING)
        credit = credit_of(players, kind=kind, gamma=gamma, gae_lambda=0.7, target_lambda=0.9)
        batch = batch_of(players, ROWS, recurrent(5))
        found = valued(players, credit, batch)
        rewards, mask = batch.own.rewards - 0.5 * batch.log_ratios, batch.own.mask
        lesson = credit.lesson
        values = credit.learner.values(lesson.sequences, lesson.states)
        torch.testing.assert_close(
            found.to_go, generalized_advantages(rewards, values, mask, gamma, 0.7)
        )
        targets = values + generalized_advantages(rewards, values, mask, gamma, 0.9)
        torch.testing.assert_close(lesson.returns, targets)
        assert float(found.to_go.abs().max()) > 0.1

    def test_with_rollouts_the_critic_is_a_baseline_that_learns_from_them(self):
        players = make_players(recurrent(), ENDING)
        credit = credit_of(players, num_rollouts=3, kind="network")
        batch = batch_of(players, ROWS, recurrent(5))
        found = valued(players, credit, batch)
        expected = credit.rollouts.value(players, batch, seeded()).to_go
        torch.testing.assert_close(credit.lesson.returns, expected)
        values = credit.learner.values(credit.lesson.sequences, credit.lesson.states)
        torch.testing.assert_close(found.to_go, expected - values)

    @KINDS
    def test_two_processes_value_what_one_values(self, kind):
        players = make_players(recurrent(), ENDING)
        alone = valued(
            players, credit_of(players, kind=kind), batch_of(players, ROWS, recurrent(5))
        )

        def process(runtime: Runtime) -> Valued:
            players = ready[runtime.rank]
            return valued(players, credits[runtime.rank], batch_of(players, ROWS, reference))

        processes, reference = fake_processes(), recurrent(5)
        ready = [make_players(recurrent(), ENDING, each) for each in processes]
        credits = [credit_of(each, kind=kind) for each in ready]
        for found in all_at_once([lambda runtime=each: process(runtime) for each in processes]):
            torch.testing.assert_close(found.to_go, alone.to_go)
            torch.testing.assert_close(found.action_values, alone.action_values)

    def test_parts_of_a_sum_to_go(self):
        mask = torch.arange(4) < torch.tensor([4, 2, 1])[:, None]
        parts = torch.randn((3, 4), generator=seeded())
        torch.testing.assert_close(of_each(to_go(parts, mask), mask), parts * mask)


def test_a_text_that_nobody_judged_teaches_nothing():
    players = make_players(recurrent(), ENDING)
    credit = credit_of(players, kind="network")
    batch = batch_of(players, ROWS, recurrent(5))
    parts = {"table": batch.own.returns.clone()}
    parts["table"][3] = torch.nan
    given = Trajectories(batch.own.sequences, batch.own.log_probs, batch.own.rewards, parts)
    found = valued(players, credit, Batch(given, given, batch.log_ratios, 0.5))
    unjudged = found.to_go.isnan()
    assert unjudged[3, : int(given.sequences.lengths[3])].all()
    assert unjudged.sum() == given.sequences.lengths[3]
    metrics = credit.learn(players, seeded())
    assert all(value == value for value in metrics.values())  # not NaN


def test_the_greedy_texts_reward_is_no_baseline_of_advantages():
    with pytest.raises(ConfigurationError, match=r"must be another with rule.critic.kind head"):
        PolicyGradientConfig(baseline="self_critical", critic=CriticConfig(kind="head"))


@pytest.mark.slow
class TestRuns:
    def test_an_untrained_critic_at_lambda_1_changes_no_first_step(self):
        settings = {"rule.num_rollouts": 0, "adversarial.iterations": 1, "rule.baseline": "none"}
        critic = {"rule.critic.kind": "head", "rule.critic.gae_lambda": 1.0}
        trainers = [
            make_trainer(changed(TINY, settings | also))[0]
            for also in ({}, critic | {"rule.critic.warmup": 0})
        ]
        for trainer in trainers:
            trainer.train()
        torch.testing.assert_close(*(t.players.generator.state_dict() for t in trainers))

    def test_the_generator_waits_for_the_critic(self):
        config = changed(TINY, CRITIC | {"rule.critic.kind": "head"})
        trainer, _ = make_trainer(config)
        trainer.run(trainer.phase("maximum_likelihood"))
        game = trainer.phase("game")
        critic = game.rule.credit.learner.critic
        moved = []
        for _ in range(2):
            before = [copy.deepcopy(module.state_dict()) for module in modules(trainer, critic)]
            game.unit(trainer.players, trainer.rng)
            after = [module.state_dict() for module in modules(trainer, critic)]
            moved.append([not same(*pair) for pair in zip(before, after, strict=True)])
        assert moved == [[False, True], [True, True]]

    @KINDS
    def test_a_run_that_stops_in_the_warm_up_goes_on_bit_for_bit(self, kind):
        config = changed(TINY, CRITIC | {"rule.critic.kind": kind, "rule.critic.warmup": 2})
        whole, _ = make_trainer(config)
        whole.run(whole.phase("maximum_likelihood"))
        whole.phase("game").unit(whole.players, whole.rng)
        resumed, _ = make_trainer(changed(config, {"seed": 7}))
        resumed.load_state_dict(copy.deepcopy(whole.state_dict()))
        for trainer in (whole, resumed):
            for _ in range(2):
                trainer.phase("game").unit(trainer.players, trainer.rng)
        assert torch.equal(weights_of(whole), weights_of(resumed))
        states = [t.phase("game").rule.credit.learner.critic.state_dict() for t in (whole, resumed)]
        assert same(*states)

    def test_a_fork_with_another_critic_starts_it_untrained(self):
        config = changed(TINY, CRITIC | {"rule.critic.kind": "head"})
        before, _ = make_trainer(config)
        before.run(before.phase("maximum_likelihood"))
        before.phase("game").unit(before.players, before.rng)
        for other in ({"rule.critic.kind": "network"}, {"rule.critic.size": 5}):
            after, _ = make_trainer(changed(config, other))
            untrained = copy.deepcopy(after.phase("game").rule.credit.learner.critic.state_dict())
            after.load_state_dict(copy.deepcopy(before.state_dict()))
            assert same(after.phase("game").rule.credit.learner.critic.state_dict(), untrained)


def modules(trainer, critic):
    return trainer.players.generator, critic


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


def test_a_fork_with_other_rewards_takes_its_unit_anew():
    """And warms up on it; one with the same rewards goes on as it was."""
    rule = PolicyGradientConfig(
        num_rollouts=0,
        kl_weight=0.0,
        baseline="moving_average",
        critic=CriticConfig(kind="head", warmup=1),
    )
    config = replace(TINY, rule=rule)
    trainer, _ = make_trainer(config)
    game, players = trainer.phase("game"), trainer.players
    learner = game.rule.credit.learner
    for _ in range(2):
        game.unit(players, seeded())
    game.forked(config, changed(config, {"rule.learning_rate": 0.1}))
    unit = float(learner.critic.deviation)
    assert (learner.batches, learner.warming) == (2, False)
    assert game.rule.baseline.state_dict()["value"] is not None
    for name, value in (("adversarial.reward_shape", "minimax"), ("reward_weights", (100.0,))):
        learner.batches = 2
        game.forked(config, changed(config, {name: value}))
        assert (learner.batches, learner.warming) == (0, True), name
    assert game.rule.baseline.state_dict()["value"] is None
    players.discriminator.shape = "probability"  # a quarter of the logit's spread
    weights = parameters_to_vector(players.generator.parameters())
    game.unit(players, seeded())
    assert float(learner.critic.deviation) < unit / 2
    assert torch.equal(parameters_to_vector(players.generator.parameters()), weights)
