"""The time that a run is expected to take: its parts, its cost, and that it changes nothing."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from fake_processes import fake_processes
from tiny_runs import TINY, make_trainer, weights_of

from seqgan.rewards.adapters.functions import as_reward
from seqgan.rewards.discriminator import DiscriminatorReward
from seqgan.system import timing
from seqgan.training.estimate import EVALUATIONS, FINAL, RESAMPLED, Estimate, estimate
from seqgan.training.phases.maximum_likelihood import MaximumLikelihood
from seqgan.training.settings import TrainConfig
from seqgan.training.slots import settings_class

PARTS = {
    "pretraining",
    "discriminator pretraining",
    "generator in the game",
    "discriminator in the game",
    EVALUATIONS,
    FINAL,
    RESAMPLED,
}


def seconds_of(config: TrainConfig) -> Estimate:
    trainer, _ = make_trainer(config)
    return estimate(trainer)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A clock that only goes on when it is told to."""
    now = [0.0]
    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])

    def wait(seconds: float) -> None:
        now[0] += seconds

    return wait


def test_every_part_of_a_run_is_in_it() -> None:
    found = seconds_of(TINY)
    assert found.parts.keys() == PARTS
    assert all(seconds > 0 for seconds in found.parts.values())
    assert found.unknown == ()
    spelt = found.sentence()
    assert re.match(r"expected time: about \d+ s \(pretraining \d+ s, ", spelt)
    left_out = r"; records and pictures apart"
    assert re.search(rf", final evaluation \d+ s, {RESAMPLED} \d+ s{left_out}\)$", spelt)


def test_without_a_game_there_are_no_evaluations_in_it() -> None:
    found = seconds_of(TINY.with_(phases=("maximum_likelihood",)))
    assert found.parts.keys() == {"pretraining", FINAL}


@pytest.mark.parametrize("kind", ["cnn", "transformer", "causal"])
def test_nothing_is_changed_by_it(kind: str) -> None:
    config = TINY.with_(**{"discriminator_training.spectral_norm": kind == "cnn"})
    config = config.with_(discriminator=settings_class("discriminator", kind)())
    (first, memory), (second, _) = make_trainer(config), make_trainer(config)
    before = torch.get_rng_state()
    estimate(first)
    assert torch.equal(torch.get_rng_state(), before)
    assert memory.logged == []
    for trainer in (first, second):
        trainer.observers = []
        trained_without_end(trainer)
    assert torch.equal(weights_of(first), weights_of(second))


def trained_without_end(trainer: Any) -> None:
    for phase in trainer.phases:
        trainer.run(phase)


def test_rewards_of_ones_own_are_not_asked_and_named() -> None:
    asked: list[str] = []

    def judge(texts: list[str]) -> list[float]:
        asked.extend(texts)
        return [0.0 for _ in texts]

    trainer, _ = make_trainer(TINY.with_(reward=("constant",)), reward=as_reward(judge))
    found = estimate(trainer)
    assert asked == []
    assert found.unknown == ("reward 'judge'",)
    assert "; records and pictures, reward 'judge' apart)" in found.sentence()
    assert found.lines()[-1] == "not in it: the start, records and pictures, reward 'judge'"


def test_batches_larger_than_the_data() -> None:
    settings = {"pretrain.batch_size": 1100, "discriminator_training.batch_size": 2200}
    assert seconds_of(TINY.with_(**settings)).total > 0


def test_it_knows_short_epochs() -> None:
    settings = {"pretrain.epoch_size": 10**7, "pretrain.epochs": 100}
    many = seconds_of(TINY.with_(**settings))
    few = seconds_of(TINY.with_(**{**settings, "pretrain.epoch_size": 16}))
    assert many.parts["pretraining"] > 1000 * few.parts["pretraining"]


def test_pretraining_that_stopped_early_takes_no_more_time() -> None:
    trainer, _ = make_trainer(TINY.with_(**{"pretrain.epochs": 50}))
    phase = trainer.phase("maximum_likelihood")
    assert isinstance(phase, MaximumLikelihood)
    assert phase.expected_seconds(trainer.players)["pretraining"] > 0
    phase.epochs, phase.stopped = 3, True
    assert phase.expected_seconds(trainer.players)["pretraining"] == 0


def test_a_run_that_goes_on_takes_the_rest_of_its_time() -> None:
    trainer, _ = make_trainer(TINY)
    names = ("samples", "evaluation", "warmed")
    trainer.observers = [trainer.observer(name) for name in names]
    trainer.run(trainer.phase("maximum_likelihood"))
    trainer.run(trainer.phase("adversary"))
    parts = estimate(trainer).parts
    assert parts["pretraining"] == parts["discriminator pretraining"] == 0
    assert parts["generator in the game"] > 0


# In words


def test_the_longest_part_is_named_with_what_makes_it_shorter() -> None:
    found = Estimate({"pretraining": 60.0, "generator in the game": 600.0, FINAL: 30.0})
    assert found.sentence() == (
        "expected time: about 12 min (pretraining 60 s, generator in the game 10 min, final"
        " evaluation 30 s; records and pictures apart); most of it: generator in the game (fewer"
        " --rollouts or --iterations make it shorter)"
    )
    assert found.lines() == [
        "                         time  share  made shorter by",
        "generator in the game  10 min    87%  fewer --rollouts or --iterations",
        "pretraining              60 s     9%",
        "final evaluation         30 s     4%",
        "in all, about          12 min",
        "not in it: the start, records and pictures",
    ]


def test_in_a_narrow_terminal_what_makes_it_shorter_stays_in_its_column() -> None:
    found = Estimate({FINAL: 600.0})
    assert found.lines(columns=70)[1:3] == [
        "final evaluation  10 min   100%  fewer --evaluation.num-final or",
        "                                 --evaluation.temperatures",
    ]
    assert found.lines(columns=50)[:4] == [
        "                    time  share",
        "  made shorter by",
        "final evaluation  10 min   100%",
        "  fewer --evaluation.num-final or",
    ]


def test_one_of_several_processes_estimates_without_the_others() -> None:
    """Whatever it takes part in with them would wait for ever: they do nothing meanwhile."""
    trainer, _ = make_trainer(TINY)
    trainer.players.runtime = process = fake_processes(2)[0]
    learning = trainer.players.rewards.learning
    assert isinstance(learning, DiscriminatorReward)
    learning.train_in(process)
    process.meeting.abort()  # whoever asks the others gets an error
    assert estimate(trainer).parts.keys() == PARTS


def test_nobody_is_told_how_to_make_a_minute_shorter() -> None:
    assert "most of it" not in Estimate({"pretraining": 60.0}).sentence()


# Its cost


@pytest.mark.parametrize(
    ("fixed", "each", "size", "sizes"),
    [
        (0.0, 0.03, 1000, [1, 1, 4]),  # it takes long: 0.12 s at 4
        (0.2, 0.01, 1000, [1, 1, 4]),  # most of it is fixed, and is not multiplied
        (0.0, 2.0, 10, [1]),  # it takes very long
        (0.0, 1e-6, 40, [1, 1, 4, 16, 40]),  # quick at its very size
        (0.0, 2e-3, 1000, [1, 1, 4, 16, 64]),
    ],
)
def test_an_action_is_timed_at_sizes_that_cost_little(
    fixed: float, each: float, size: int, sizes: list[int], clock: Callable[[float], None]
) -> None:
    tried: list[int] = []

    def action(size: int) -> None:
        tried.append(size)
        clock(fixed + each * size)

    assert timing.seconds_at(action, size) == pytest.approx(
        fixed + each * size if fixed == 0 else 0.24 + 0.06 / 4 * 996, rel=1e-6
    )
    assert tried == sizes
