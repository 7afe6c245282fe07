"""Weighted likelihood of own texts: MaliGAN's weights, the best of a group, and the step."""

import copy
import math
from dataclasses import replace

import pytest
import torch
from tiny_runs import TINY, make_trainer
from toys import ENDING, TableGenerator, every_sequence, probabilities, seeded, token_log_softmax

from seqgan.learning.rules.reweighting import CloningConfig, ReweightingConfig, share_of_effective
from seqgan.system.errors import ConfigurationError

ONE = torch.zeros(4, dtype=torch.long)  # all texts are of one group


def test_weights_are_the_density_ratio_over_its_sum():
    """D = 1/2, 3/4, 1/5, 2/3: r = D/(1-D) = 1, 3, 1/4, 2."""
    judged = torch.tensor([0.5, 0.75, 0.2, 2 / 3], dtype=torch.double)
    weights = ReweightingConfig().weights(judged.logit(), ONE)
    torch.testing.assert_close(weights, torch.tensor([1.0, 3.0, 0.25, 2.0]).double() / 6.25)


def test_a_larger_beta_tempers_them():
    """With beta 2: the square roots of r."""
    returns = torch.tensor([1.0, 4.0, 9.0, 16.0], dtype=torch.double).log()
    weights = ReweightingConfig(beta=2.0).weights(returns, ONE)
    torch.testing.assert_close(weights, torch.tensor([0.1, 0.2, 0.3, 0.4]).double())


def test_each_group_has_weights_of_its_own_and_a_baseline_centres_them():
    returns = torch.tensor([0.0, math.log(3), 7.0, 7.0], dtype=torch.double)
    groups = torch.tensor([0, 0, 1, 1])
    weights = ReweightingConfig(baseline=1.0).weights(returns, groups)
    torch.testing.assert_close(weights, torch.tensor([-0.25, 0.25, 0.0, 0.0]).double())


def test_the_best_of_each_group_are_cloned():
    returns = torch.tensor([1.0, 4.0, 4.0, float("nan"), 2.0, 0.0])
    groups = torch.tensor([0, 0, 0, 0, 1, 1])
    assert CloningConfig(keep=0.5).weights(returns, groups).tolist() == [0, 1, 1, 0, 1, 0]
    assert CloningConfig(keep=0.1).weights(returns, groups).tolist() == [0, 1, 0, 0, 1, 0]


def test_a_text_without_a_reward_has_no_weight():
    returns = torch.tensor([1.0, float("nan"), 1.0, float("nan")])
    assert ReweightingConfig().weights(returns, ONE).tolist() == [0.5, 0.0, 0.5, 0.0]
    nothing = torch.full((4,), float("nan"))
    assert CloningConfig().weights(nothing, ONE).tolist() == [0.0] * 4


def test_by_enumeration_the_optimal_discriminator_gives_the_gradient_of_likelihood():
    """E_pi[p/pi grad log pi] = E_p[grad log pi], by the weights of all texts at once."""
    texts = every_sequence(ENDING)
    data, policy = TableGenerator(ENDING, seed=1), TableGenerator(ENDING, seed=0)
    real, own = (probabilities(each, texts).detach() for each in (data, policy))
    log_probs = token_log_softmax(policy, texts).sum(dim=1)
    # A text stands in for as many draws as its chance says: log D/(1-D) and its share of them.
    ratios = (real / own).log() + own.log()
    weights = ReweightingConfig().weights(ratios, torch.zeros(len(texts), dtype=torch.long))
    found = torch.autograd.grad(weights @ log_probs, policy.logits, retain_graph=True)[0]
    expected = torch.autograd.grad(real @ log_probs, policy.logits)[0]
    torch.testing.assert_close(found, expected)
    assert expected.abs().max().item() > 0.01


@pytest.mark.parametrize("config", [ReweightingConfig, CloningConfig])
def test_a_step_is_the_gradient_of_the_weighted_likelihood(config):
    trainer, _ = make_trainer(replace(TINY, rule=config(max_grad_norm=math.inf, mle_weight=0.3)))
    players, rule = trainer.players, trainer.phase("game").rule
    rule.optimizer = torch.optim.SGD(players.generator.parameters(), 1.0)
    own, real = players.collect(seeded(1)), players.real("train", 4, seeded(2))
    players.real = lambda split, n, rng: real
    weights = rule.settings.weights(own.returns, ONE)
    policy = copy.deepcopy(players.generator)
    texts = own.sequences
    of_texts = token_log_softmax(policy, texts).sum(dim=1)
    loss = -(weights * of_texts).sum() / (weights * texts.lengths).sum()
    mle = -token_log_softmax(policy, real).sum() / real.mask.sum()
    gradients = torch.autograd.grad(loss + 0.3 * mle, list(policy.parameters()))

    metrics = rule.update(players, own, weights, weights, seeded(3))
    for after, before, gradient in zip(
        players.generator.parameters(), policy.parameters(), gradients, strict=True
    ):
        torch.testing.assert_close(after, before - gradient, rtol=1e-4, atol=1e-6)
    assert metrics["losses/weighted_nll"] == pytest.approx(loss.item(), rel=1e-5)
    assert metrics["losses/mle"] == pytest.approx(mle.item(), rel=1e-5)


def test_a_baseline_that_takes_off_everything_leaves_no_gradient():
    """All texts earn the same, so each weight is 1 / n less 1 / n."""
    trainer, _ = make_trainer(replace(TINY, rule=ReweightingConfig(baseline=1.0)))
    players, rule = trainer.players, trainer.phase("game").rule
    own = players.collect(seeded(1))
    returns = torch.linspace(1.0, 1.0 + 1e-5, len(own.returns))
    groups = torch.zeros(len(returns), dtype=torch.long)
    mass = rule.settings.mass(returns, groups)
    assert mass.sum().item() == pytest.approx(1.0)
    weights = rule.settings.weights(returns, groups)
    metrics = rule.update(players, own, weights, mass, seeded(3))
    assert metrics["losses/grad_norm_generator"] < 1e-3


def test_effective_texts():
    assert share_of_effective(torch.tensor([1.0, 1.0, 0.0, 0.0])) == 0.5
    assert share_of_effective(torch.tensor([0.7, 0.1, 0.1, 0.1])) == pytest.approx(1 / (4 * 0.52))
    assert share_of_effective(torch.zeros(4)) == 0.0


def test_bad_settings_are_one_line():
    with pytest.raises(
        ConfigurationError, match=r"rule.keep is 1.0, but must be above 0 and below"
    ):
        CloningConfig(keep=1.0)
    alone = replace(TINY.adversarial, batch_size=1)
    with pytest.raises(ConfigurationError, match=r"adversarial.batch_size is 1, but must be at le"):
        make_trainer(replace(TINY, adversarial=alone, rule=ReweightingConfig()))
