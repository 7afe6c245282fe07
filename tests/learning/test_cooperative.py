"""Cooperative training: the generator follows its mediator, and both reach the data."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from tiny_runs import TINY, make_trainer
from toys import ENDING, TableGenerator, every_sequence, prefix_codes, probabilities, seeded

from seqgan.data.sequences import joined, masked_mean
from seqgan.functional.kl_estimators import exact_token_kl
from seqgan.learning.rules.cooperative import Cooperative, CooperativeConfig, MediatorConfig
from seqgan.system.errors import ConfigurationError


def cooperating(**mediator):
    """Players and a rule whose optimisers are plain gradient descent at rate 1, not clipped."""
    mediating = MediatorConfig(**{"learning_rate": 1.0, **mediator})
    config = CooperativeConfig(learning_rate=1.0, max_grad_norm=math.inf, mediator=mediating)
    trainer, _ = make_trainer(replace(TINY, rule=config))
    players, rule = trainer.players, trainer.phase("game").rule
    rule.optimizer = torch.optim.SGD(players.generator.parameters(), 1.0)
    rule.mediator_optimizer = torch.optim.SGD(rule.mediator.parameters(), 1.0)
    return players, rule


def weights(module):
    return torch.cat([p.detach().flatten().clone() for p in module.parameters()])


def moved(module, loss):
    """The weights after a step of plain gradient descent."""
    module = copy.deepcopy(module)
    gradients = torch.autograd.grad(loss(module), list(module.parameters()))
    return weights(module) - torch.cat([g.flatten() for g in gradients])


def test_a_step_is_the_gradient_of_both_losses():
    players, rule = cooperating(kind="lstm", embedding_size=3, hidden_size=5)
    draws, position = seeded(), players.position
    real = players.real("train", 4, draws)
    drawn = [players.draw(4, draws) for _ in range(2)]
    mixture = joined([real, drawn[0]])
    players.real = lambda split, n, rng: real
    left = list(drawn)
    players.draw = lambda n, rng: left.pop(0)

    mediator = moved(rule.mediator, lambda m: m.negative_log_likelihood(mixture))
    before = copy.deepcopy(players.generator)
    metrics = rule.step(players, seeded())
    torch.testing.assert_close(weights(rule.mediator), mediator)
    texts = drawn[1]
    target = rule.mediator(texts).detach()

    def divergence(policy):
        return masked_mean(exact_token_kl(policy(texts), target, texts.mask), texts.mask)

    torch.testing.assert_close(weights(players.generator), moved(before, divergence))
    assert metrics["losses/divergence"] == pytest.approx(divergence(before).item())
    assert not torch.equal(weights(players.generator), weights(before))
    assert position.global_step == sum(int(each.mask.sum()) for each in drawn)


def test_by_enumeration_its_only_rest_is_the_data():
    """With the best mediator of all, (p + pi) / 2, the generator becomes p."""
    texts = every_sequence(ENDING)
    data, policy = TableGenerator(ENDING, seed=1), TableGenerator(ENDING, seed=0)
    real = probabilities(data, texts).detach()
    optimizer = torch.optim.Adam(policy.parameters(), 0.1)
    divergences = []
    nodes = prefix_codes(texts, ENDING.num_actions)[:, :-1]
    places = nodes * ENDING.num_actions + texts.tokens.masked_fill(~texts.mask, 0)
    for _ in range(150):
        own = probabilities(policy, texts).detach()
        mixture = 0.5 * (real + own)
        shares = torch.zeros_like(policy.logits).flatten()  # of each word after each prefix
        shares.index_add_(0, places[texts.mask], mixture[:, None].expand(nodes.shape)[texts.mask])
        mediated = shares.view_as(policy.logits).clamp(min=1e-300).log()[nodes]
        kl = exact_token_kl(policy(texts), mediated, texts.mask)
        loss = (own[:, None] * kl).sum()
        divergences.append((real * (real / own).log()).sum().item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert divergences[0] > 0.5
    assert divergences[-1] < 1e-3


def test_a_copied_mediator_begins_as_the_generator_does():
    players, rule = cooperating(kind="copy", learning_rate=1e-12)
    with torch.no_grad():
        for parameter in players.generator.parameters():
            parameter.add_(0.3)  # as pretraining would
    start = weights(players.generator)
    assert rule.step(players, seeded())["losses/divergence"] == pytest.approx(0.0, abs=1e-6)
    assert torch.equal(weights(rule.mediator), start)


def test_a_mediator_may_learn_alone_at_first():
    players, rule = cooperating(kind="gru", embedding_size=3, hidden_size=5, alone=2)
    rng, start = seeded(), weights(players.generator)
    for _ in range(2):
        before = weights(rule.mediator)
        assert "losses/divergence" not in rule.step(players, rng)
        assert not torch.equal(weights(rule.mediator), before)
        assert torch.equal(weights(players.generator), start)
    assert "losses/divergence" in rule.step(players, rng)
    assert not torch.equal(weights(players.generator), start)


def test_each_of_its_steps_is_one_of_the_mediators():
    players, rule = cooperating(kind="copy", steps=3)
    drawn = []
    draw = players.draw
    players.draw = lambda n, rng: drawn.append(n) or draw(n, rng)
    rule.step(players, seeded())
    assert drawn == [4, 4, 4, 4]  # three times for the mediator


def test_bad_settings_are_one_line():
    with pytest.raises(ConfigurationError, match=r"rule.mediator.steps is 0, but must be at least"):
        MediatorConfig(steps=0)
    with pytest.raises(ConfigurationError, match=r"rule.learning_rate is 0.0, but must be above 0"):
        CooperativeConfig(learning_rate=0.0)


def test_it_is_what_the_settings_build():
    trainer, _ = make_trainer(replace(TINY, rule=CooperativeConfig()))
    assert isinstance(trainer.phase("game").rule, Cooperative)
    assert trainer.players.learning == [
        trainer.players.generator,
        trainer.phase("game").rule.mediator,
    ]
