"""DPO and IPO as a rule: which pairs, against which reference, and what their optimum is."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from tiny_runs import TINY, make_trainer
from torch.nn.functional import logsigmoid
from toys import ENDING, TableGenerator, every_sequence, probabilities, seeded, token_log_softmax

from seqgan.functional.preference_losses import dpo
from seqgan.learning.rules.preference import PreferenceConfig, best_against_worst
from seqgan.system.errors import ConfigurationError


def preferring(**settings):
    """Players and a rule whose optimiser is plain gradient descent at rate 1, not clipped."""
    config = PreferenceConfig(learning_rate=1.0, max_grad_norm=math.inf, **settings)
    trainer, _ = make_trainer(replace(TINY, rule=config))
    players, rule = trainer.players, trainer.phase("game").rule
    rule.optimizer = torch.optim.SGD(players.generator.parameters(), 1.0)
    return players, rule


def weights(module):
    return torch.cat([p.detach().flatten().clone() for p in module.parameters()])


def log_ratios(policy, reference, texts):
    with torch.no_grad():
        anchored = token_log_softmax(reference, texts).sum(dim=1)
    return token_log_softmax(policy, texts).sum(dim=1) - anchored


@pytest.mark.parametrize("loss", ["dpo", "ipo"])
def test_a_step_is_the_gradient_of_its_loss_on_real_and_drawn_texts(loss):
    players, rule = preferring(loss=loss, beta=0.5, mle_weight=0.2)
    with torch.no_grad():
        for parameter in players.generator.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=seeded(1)))
    real = players.real("train", 4, seeded(2))
    drawn = every_sequence(ENDING).select(torch.tensor([3, 50, 90, 119]))
    pairs = rule.real_pairs(players, seeded(3))
    assert bool(pairs.known.all())
    pairs = replace(pairs, chosen=real, rejected=drawn)
    policy = copy.deepcopy(players.generator)
    chosen, rejected = (log_ratios(policy, players.reference, texts) for texts in (real, drawn))
    if loss == "dpo":
        each = -logsigmoid(0.5 * (chosen - rejected))
    else:
        each = (chosen / real.lengths - rejected / drawn.lengths - 1.0).square()
    likelihood = token_log_softmax(policy, real).sum(dim=1) / real.lengths
    gradients = torch.autograd.grad((each - 0.2 * likelihood).mean(), list(policy.parameters()))
    expected = weights(policy) - torch.cat([g.flatten() for g in gradients])

    metrics = rule.update(players, pairs)
    torch.testing.assert_close(weights(players.generator), expected, rtol=1e-4, atol=1e-6)
    assert metrics["losses/preference"] == pytest.approx(each.mean().item(), rel=1e-4)
    assert metrics["rewards/chosen"] == pytest.approx(0.5 * chosen.mean().item(), rel=1e-4)
    assert metrics["rewards/margins"] == pytest.approx(
        0.5 * (chosen - rejected).mean().item(), rel=1e-4
    )


def test_by_enumeration_real_against_the_reference_has_the_data_as_its_optimum():
    """With beta 1 and rejected texts of the reference itself, no pair is left out."""
    texts = every_sequence(ENDING)
    data, reference = TableGenerator(ENDING, seed=1), TableGenerator(ENDING, seed=2)
    policy = copy.deepcopy(reference)
    real, drawn = (probabilities(each, texts).detach() for each in (data, reference))
    optimizer = torch.optim.Adam(policy.parameters(), 0.1)
    for _ in range(200):
        ratios = log_ratios(policy, reference, texts)
        chosen, rejected = (
            part.flatten() for part in torch.meshgrid(ratios, ratios, indexing="ij")
        )
        loss = (real[:, None] * drawn[None, :]).flatten() @ dpo(chosen, rejected, beta=1.0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    before, after = (
        (real * (real / probabilities(each, texts).detach()).log()).sum().item()
        for each in (reference, policy)
    )
    assert before > 0.5
    assert after < 1e-2


def test_the_best_of_a_group_meets_its_worst():
    returns = torch.tensor([1.0, 4.0, 2.0, 3.0, 5.0, 5.0, 0.0, 7.0])
    groups = torch.tensor([0, 0, 0, 0, 1, 1, 2, 2])
    better, worse, known = best_against_worst(returns, groups)
    assert better.tolist() == [1, 3, 4, 7]
    assert worse.tolist() == [0, 2, 5, 6]
    assert known.tolist() == [True, True, False, True]  # both of group 1 earn the same


def test_a_text_without_a_reward_makes_no_pair():
    returns = torch.tensor([float("nan"), 4.0, 2.0, 3.0])
    better, worse, known = best_against_worst(returns, torch.zeros(4, dtype=torch.long))
    assert (better[0], worse[0], bool(known[0])) == (1, 2, True)
    assert not known[1]


def test_pairs_by_reward_are_the_generators_own_and_the_better_one_is_chosen():
    players, rule = preferring(pairs="reward")
    pairs, metrics = rule.pairs_by_reward(players, seeded())
    scores = [players.rewards.score(texts) for texts in (pairs.chosen, pairs.rejected)]
    assert len(pairs.chosen) == 2
    assert torch.equal(scores[0] > scores[1], pairs.known)
    assert "charts/episodic_return" in metrics
    assert not [name for name in metrics if name.startswith("advantage/")]


def test_where_no_text_is_preferred_nothing_is_learnt():
    players, rule = preferring(pairs="reward")
    pairs, _ = rule.pairs_by_reward(players, seeded())
    before = weights(players.generator)
    assert rule.update(players, replace(pairs, known=torch.zeros_like(pairs.known))) == {}
    assert torch.equal(weights(players.generator), before)


@pytest.mark.parametrize("reference", ["start", "opponent"])
def test_the_opponent_is_the_generator_of_some_updates_ago(reference):
    players, rule = preferring(refresh_every=2, reference=reference, beta=1.0)
    rng, then = seeded(), weights(players.generator)
    for update in range(5):
        if update % 2 == 0:
            then = weights(players.generator)
        metrics = rule.step(players, rng)
        if update >= 2:
            assert torch.equal(weights(rule.opponent), then)
        else:
            assert rule.opponent is None
        at_itself = abs(metrics["rewards/margins"]) < 1e-6
        assert at_itself == (update == 0 or (reference == "opponent" and update % 2 == 0))


def test_bad_settings_are_one_line():
    for settings, line in (
        ({"beta": 0.0}, r"rule.beta is 0.0, but must be above 0"),
        ({"pairs": "reward", "refresh_every": 3}, r"rule.refresh_every is 3, but must be 0 where"),
        ({"reference": "opponent"}, r"rule.reference is opponent, but must be start where"),
    ):
        with pytest.raises(ConfigurationError, match=line):
            PreferenceConfig(**settings)
    alone = replace(TINY.adversarial, batch_size=1)
    with pytest.raises(ConfigurationError, match=r"adversarial.batch_size is 1, but must be at le"):
        make_trainer(replace(TINY, adversarial=alone, rule=PreferenceConfig(pairs="reward")))
