"""Learning rates over the game, by hand and against transformers; and AdamW's settings."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from tiny_runs import TINY, make_trainer
from torch import nn
from toys import seeded

from seqgan.learning.critic import CriticConfig
from seqgan.learning.optimization import AdamConfig, follow_schedule, scheduled_rate
from seqgan.learning.rules.cooperative import CooperativeConfig, MediatorConfig
from seqgan.learning.rules.policy_gradient import PolicyGradientConfig
from seqgan.learning.rules.preference import PreferenceConfig
from seqgan.learning.rules.reweighting import CloningConfig, ReweightingConfig


def rates(schedule, warmup, iterations, rate=8.0):
    settings = SimpleNamespace(learning_rate=rate, schedule=schedule, warmup=warmup)
    return [scheduled_rate(settings, done, iterations) for done in range(iterations)]


def test_by_hand():
    assert rates("constant", 0, 3) == [8, 8, 8]
    assert rates("linear", 0, 4) == [8, 6, 4, 2]
    assert rates("linear", 2, 6) == [4, 8, 8, 6, 4, 2]
    assert rates("constant", 4, 6) == [2, 4, 6, 8, 8, 8]
    assert rates("cosine", 0, 4) == pytest.approx([8, 4 + 8**0.5, 4, 4 - 8**0.5])
    assert rates("linear", 9, 3) == pytest.approx([8 / 9, 16 / 9, 24 / 9])  # never risen


def test_before_the_game_the_rate_is_the_setting():
    settings = SimpleNamespace(learning_rate=8.0, schedule="linear", warmup=5)
    assert scheduled_rate(settings, 0, 0) == 8


@pytest.mark.integration
@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_after_the_warm_up_it_is_that_of_transformers(schedule):
    """Whose first step of the warm-up has rate 0, and ours that of the second."""
    optimization = pytest.importorskip("transformers.optimization")
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], 8.0)
    name = f"get_{schedule}_schedule_with_warmup"
    scheduler = getattr(optimization, name)(optimizer, 3, 10)
    theirs = []
    for _ in range(10):
        theirs.append(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    ours = rates(schedule, 3, 10)
    assert ours[:3] == pytest.approx([8 / 3, 16 / 3, 8])
    assert ours[3:] == pytest.approx(theirs[3:])


def test_every_group_of_parameters_has_the_rate():
    groups = [{"params": [nn.Parameter(torch.zeros(1))]} for _ in range(2)]
    optimizer = torch.optim.SGD(groups, 8.0)
    settings = SimpleNamespace(learning_rate=8.0, schedule="linear", warmup=0)
    follow_schedule(optimizer, settings, SimpleNamespace(iteration=3, iterations=4))
    assert [group["lr"] for group in optimizer.param_groups] == [2, 2]


class TestAdam:
    def steps(self, make):
        torch.manual_seed(0)
        module, inputs = nn.Linear(3, 2), torch.randn((5, 3), generator=seeded())
        optimizer = make(module)
        for _ in range(4):
            optimizer.zero_grad()
            module(inputs).square().sum().backward()
            optimizer.step()
        return nn.utils.parameters_to_vector(module.parameters()).detach()

    def test_the_defaults_are_adam_bit_for_bit(self):
        adam = self.steps(lambda module: torch.optim.Adam(module.parameters(), 0.1, fused=True))
        assert torch.equal(self.steps(lambda module: AdamConfig().build(module, 0.1)), adam)

    def test_every_setting_is_that_of_adamw(self):
        expected = self.steps(
            lambda module: torch.optim.AdamW(module.parameters(), 0.1, (0.5, 0.7), 1e-2, 0.3)
        )
        found = self.steps(lambda module: AdamConfig(0.5, 0.7, 1e-2, 0.3).build(module, 0.1))
        torch.testing.assert_close(found, expected)

    def test_frozen_parameters_are_left_out(self):
        module = nn.Linear(3, 2)
        module.bias.requires_grad_(False)
        (group,) = AdamConfig().build(module, 0.1).param_groups
        assert [p is module.weight for p in group["params"]] == [True]


def test_a_state_of_other_settings_takes_up_ones_own():
    module = nn.Linear(2, 1)
    before, after = AdamConfig(), AdamConfig(0.5, 0.6, 1e-3, 0.1)
    optimizer = after.build(module, 0.2)
    optimizer.load_state_dict(before.build(module, 0.1).state_dict())
    after.take_up(optimizer, 0.2)
    (group,) = optimizer.param_groups
    found = (group["lr"], group["betas"], group["eps"], group["weight_decay"])
    assert found == (0.2, (0.5, 0.6), 1e-3, 0.1)


OWN = {"learning_rate": 0.08, "schedule": "linear", "adam": AdamConfig(0.5, 0.6, 1e-3, 0.1)}


def optimizers(rule):
    """The optimisers of a rule's players."""
    critic = getattr(getattr(rule, "credit", None), "learner", None)
    holders = [(rule, "optimizer"), (rule, "mediator_optimizer"), (critic, "optimizer")]
    return [getattr(holder, name) for holder, name in holders if hasattr(holder, name)]


@pytest.mark.parametrize(
    "settings",
    [
        PolicyGradientConfig(**OWN, num_rollouts=0, critic=CriticConfig(kind="head", **OWN)),
        PreferenceConfig(**OWN),
        ReweightingConfig(**OWN),
        CloningConfig(**OWN),
        CooperativeConfig(**OWN, mediator=MediatorConfig(**OWN)),
    ],
    ids=lambda settings: settings.kind,
)
def test_every_rule_has_a_schedule_and_settings_of_adamw(settings):
    trainer, _ = make_trainer(replace(TINY, rule=settings))
    players, rule = trainer.players, trainer.phase("game").rule
    players.position.iteration, players.position.iterations = 3, 4
    rule.step(players, seeded())
    found = [group for optimizer in optimizers(rule) for group in optimizer.param_groups]
    assert len(found) == 1 + (settings.kind in ("policy_gradient", "cooperative"))
    for group in found:
        assert group["lr"] == pytest.approx(0.02)
        assert (group["betas"], group["eps"], group["weight_decay"]) == ((0.5, 0.6), 1e-3, 0.1)
    for group in found:
        group |= {"lr": 1.0, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0}
    rule.forked(settings)  # after a state of other settings was loaded
    for group in found:
        assert (group["lr"], group["betas"], group["eps"]) == (0.08, (0.5, 0.6), 1e-3)
