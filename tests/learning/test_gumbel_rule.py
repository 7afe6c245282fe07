"""The rule of the Gumbel-softmax: its step by value, its course, and a game that it wins."""

import copy
import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_runs import TINY, make_trainer
from torch import Tensor, nn
from toys import ENDING, TableGenerator, TableReward, seeded

from seqgan.data.sequences import Sequences
from seqgan.functional.kl_estimators import exact_token_kl
from seqgan.functional.losses import pairwise_discriminator_loss
from seqgan.learning.players import Players
from seqgan.learning.rules.gumbel import GumbelConfig, GumbelSoftmax, inverse_temperature
from seqgan.models.discriminators.base import Discriminator
from seqgan.models.gumbel import draw_mixtures
from seqgan.rewards.discriminator import DiscriminatorReward
from seqgan.rewards.weighted import WeightedSum
from seqgan.system.errors import ConfigurationError


def playing(**settings: Any) -> tuple[Players, GumbelSoftmax]:
    """Players and a rule whose optimiser is plain gradient descent at rate 1, not clipped."""
    config = GumbelConfig(learning_rate=1.0, max_grad_norm=math.inf, **settings)
    trainer, _ = make_trainer(replace(TINY, rule=config))
    players, rule = trainer.players, trainer.phase("game").rule
    rule.optimizer = torch.optim.SGD(players.generator.parameters(), 1.0)
    return players, rule


def weights(module: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten().clone() for p in module.parameters()])


@pytest.mark.parametrize("inputs", ["token", "straight_through"])
def test_a_step_is_the_gradient_of_all_its_terms(inputs: Any) -> None:
    terms = {"kl_weight": 0.2, "mle_weight": 0.5}
    players, rule = playing(beta_max=3.0, anneal="constant", inputs=inputs, **terms)
    with torch.no_grad():
        for parameter in players.reference.parameters():
            parameter.add_(0.3)
    generator, draws = copy.deepcopy(players.generator), seeded()
    real, noise = players.real("train", 4, draws), rule.noise(players, draws)
    players.real = lambda split, n, rng: real  # type: ignore[method-assign]
    players.heldout_information = lambda texts: {}  # type: ignore[method-assign]
    rule.noise = lambda players, rng: noise  # type: ignore[method-assign]
    judge, judged_before = players.discriminator, weights(players.discriminator.discriminator)
    metrics = rule.step(players, seeded())

    draw = draw_mixtures(generator, ENDING, noise, 3.0, inputs)
    own = judge.discriminator(draw.texts).detach()
    loss = -torch.nn.functional.logsigmoid(
        judge.discriminator.mixture_logits(draw.mixtures) - judge.logits(real)
    ).mean()
    reference = players.reference(draw.texts).detach()
    kl = exact_token_kl(draw.logits, reference, draw.texts.mask).sum(dim=1).mean()
    nll = generator.negative_log_likelihood(real)
    gradients = torch.autograd.grad(
        loss + 0.2 * kl + 0.5 * nll, [*generator.parameters()], allow_unused=True
    )
    moved = weights(generator) - torch.cat([g.flatten() for g in gradients])
    torch.testing.assert_close(weights(players.generator), moved)
    assert metrics["losses/relativistic_generator"] == pytest.approx(
        float(pairwise_discriminator_loss(own, judge.logits(real)))
    )
    assert metrics["kl/reference"] == pytest.approx(float(kl.detach()))
    assert metrics["losses/mle"] == pytest.approx(float(nll.detach()))
    assert players.position.global_step == int(draw.texts.mask.sum())
    # The discriminator learns in rounds of its own.
    assert torch.equal(weights(judge.discriminator), judged_before)
    assert all(each.grad is None for each in judge.discriminator.parameters())
    assert all(each.requires_grad for each in judge.discriminator.parameters())


@pytest.mark.parametrize(
    ("anneal", "expected"),
    [("exponential", [1, 2, 4, 8]), ("linear", [1, 6, 11, 16]), ("constant", [16, 16, 16, 16])],
)
def test_the_inverse_temperature_follows_the_game(anneal: Any, expected: list[float]) -> None:
    config = GumbelConfig(beta_max=16.0, anneal=anneal)
    courses = [
        SimpleNamespace(iteration=done, iterations=4 - (anneal == "linear")) for done in range(4)
    ]
    found = [inverse_temperature(config, course) for course in courses]
    assert found == pytest.approx(expected)


class CountsA(Discriminator):
    """A judge that thinks a text the more real, the more of its tokens are an a."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.output = nn.Embedding(ENDING.size, 1), nn.Linear(1, 1)

    def features(self, sequences: Sequences) -> Tensor:
        return ((sequences.tokens == 0) & sequences.mask).float().sum(dim=1, keepdim=True)

    def forward(self, sequences: Sequences) -> Tensor:
        return 3 * self.features(sequences)[:, 0]

    def mixture_logits(self, mixtures: Any) -> Tensor:
        return 3 * (mixtures.weights[..., 0] * mixtures.texts.mask).sum(dim=1)


def against(judge: Discriminator, rule: Any, **settings: Any) -> tuple[Any, Any]:
    """A trainer with a discriminator that stands still."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(()))], 0.0)
    config = replace(TINY, rule=rule).with_(
        **{"discriminator_training.d_steps": 0, "pretrain.epochs": 0, **settings}
    )
    return make_trainer(config, reward=DiscriminatorReward(judge, optimizer))


@pytest.mark.parametrize("judged", ["straight_through", "mixture"])
def test_a_game_teaches_what_the_discriminator_likes(judged: Any) -> None:
    rule = GumbelConfig(learning_rate=0.05, judged=judged, kl_weight=0.0)
    sizes = {"adversarial.batch_size": 32}
    trainer, _ = against(CountsA(), rule, **sizes)
    players, game = trainer.players, trainer.phase("game")

    def share_of_a() -> float:
        texts = players.draw(200, seeded())
        return float((texts.tokens[texts.mask] == 0).float().mean())

    before = share_of_a()
    for _ in range(30):
        game.rule.step(players, trainer.rng)
    assert before < 0.4
    assert share_of_a() > 0.9


class NoMixtures(CountsA):
    mixture_logits = None


def test_what_passes_no_gradient_is_one_line() -> None:
    with pytest.raises(
        ConfigurationError, match=r"^the discriminator is a NoMixtures, which reads no mixtures of"
    ):
        against(NoMixtures(), GumbelConfig())
    trainer, _ = make_trainer()
    players = trainer.players
    players.generator = TableGenerator(ENDING)
    with pytest.raises(ConfigurationError, match=r"^the generator is a TableGenerator, which rea"):
        GumbelConfig().build(players)
    for reward in (
        TableReward(ENDING.num_actions),
        WeightedSum([*players.rewards.parts, TableReward(ENDING.num_actions)]),
    ):
        with pytest.raises(ConfigurationError, match=r"^reward is .*table, but must be discrimina"):
            make_trainer(replace(TINY, rule=GumbelConfig()), reward=reward)
    with pytest.raises(ConfigurationError, match=r"^rule.beta_max is 0.5, but must be from 1 to 1"):
        GumbelConfig(beta_max=0.5)
