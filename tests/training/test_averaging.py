"""The moving average of the generator's weights: its value, and who gets it."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_runs import TINY, changed, make_trainer
from torch.nn.utils import parameters_to_vector
from toys import ENDING, TableGenerator

from seqgan.learning.averaging import WeightAverage
from seqgan.learning.rules.cooperative import CooperativeConfig, MediatorConfig
from seqgan.models.generators.base import Generator
from seqgan.training.final import final_evaluation
from seqgan.training.trainer import Trainer

AVERAGED = {"adversarial.ema_decay": 0.75, "rule.learning_rate": 0.05}


def weights(module: torch.nn.Module) -> torch.Tensor:
    return parameters_to_vector(module.parameters()).detach().clone()


def trained(settings: dict[str, Any]) -> Trainer:
    trainer, _ = make_trainer(changed(TINY, settings))
    trainer.train()
    return trainer


class TestValue:
    def after(self, decay: float, values: list[float]) -> WeightAverage:
        average, generator = WeightAverage(decay), TableGenerator(ENDING)
        for value in values:
            with torch.no_grad():
                generator.logits.fill_(value)
            average.follow(generator)
        return average

    def test_by_hand(self) -> None:
        """Weights 1/4, 1/2, 1 of the values after each update; none of those before the first."""
        found = self.after(0.5, [8.0, 4.0, 2.0]).generator
        assert found is not None
        expected = (8 / 4 + 4 / 2 + 2) / (1 / 4 + 1 / 2 + 1)
        assert found.logits.unique().tolist() == pytest.approx([expected])

    def test_the_first_is_the_generator_itself(self) -> None:
        found = self.after(0.99, [0.1]).generator
        assert found is not None
        assert found.logits.unique().tolist() == [0.1]

    def test_without_a_decay_there_is_none(self) -> None:
        assert self.after(0.0, [8.0, 4.0]).generator is None

    def test_a_copy_learns_nothing_and_the_learner_keeps_its_weights(self) -> None:
        average, generator = WeightAverage(0.5), TableGenerator(ENDING)
        before = weights(generator)
        average.follow(generator)
        assert average.generator is not None
        assert not any(p.requires_grad for p in average.generator.parameters())
        assert torch.equal(weights(generator), before)


def test_a_generator_that_stands_still_counts_no_update() -> None:
    """As in the first two steps of a mediator that learns alone, in three iterations of a game."""
    alone = CooperativeConfig(learning_rate=0.05, mediator=MediatorConfig(alone=2))
    config = replace(changed(TINY, {"adversarial.ema_decay": 0.9}), rule=alone)
    trainer, _ = make_trainer(config)
    trainer.train()
    assert trainer.players.average.updates == 1
    assert torch.equal(weights(trainer.players.evaluated), weights(trainer.players.generator))


def test_the_game_is_played_as_without_it() -> None:
    with_it, without = trained(AVERAGED), trained({**AVERAGED, "adversarial.ema_decay": 0.0})
    assert torch.equal(weights(with_it.players.generator), weights(without.players.generator))
    assert without.players.evaluated is without.players.generator


def test_what_is_measured_and_kept_is_the_average() -> None:
    trainer = trained(AVERAGED)
    players, seen = trainer.players, list[Generator]()
    assert not torch.allclose(weights(players.evaluated), weights(players.generator), atol=1e-3)
    evaluation = trainer.observer("evaluation")
    measure = evaluation.measure

    def watched(generator: Generator, *rest: object) -> object:
        seen.append(generator)
        return measure(generator, *rest)

    evaluation.measure = watched
    evaluation.evaluate(trainer.phase("game"))
    final_evaluation(trainer)
    assert {id(each) for each in seen} == {id(players.evaluated), id(players.reference)}
    dev = players.task.real("dev", players.task.size("dev"), torch.Generator().manual_seed(0))
    with torch.no_grad():
        nll = -players.evaluated.eval().log_probs(dev).sum() / dev.mask.sum()
    assert players.nll_dev() == pytest.approx(float(nll), rel=1e-5)
    kept = players.state_dict()["generator"]
    assert all(torch.equal(kept[k], v) for k, v in players.evaluated.state_dict().items())


def test_a_state_goes_on_with_or_without_it() -> None:
    trainer = trained(AVERAGED)
    state = copy.deepcopy(trainer.players.state_dict())

    def loaded(settings: dict[str, Any]) -> Trainer:
        other, _ = make_trainer(changed(TINY, settings))
        other.players.load_state_dict(copy.deepcopy(state))
        return other

    learner = weights(trainer.players.generator)
    found = loaded(AVERAGED).players
    assert torch.equal(weights(found.generator), learner)
    assert torch.equal(weights(found.evaluated), weights(trainer.players.evaluated))
    assert found.average.updates == trainer.players.average.updates > 0
    found = loaded({**AVERAGED, "adversarial.ema_decay": 0.0}).players
    assert found.evaluated is found.generator
    assert torch.equal(weights(found.generator), learner)
