"""Phases, rules and observers that nobody but this file knows; players; and what is no divergence.

None of them inherits from anything but `Observer`: the contracts are protocols.
"""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from jaxtyping import Float
from tiny_runs import TINY, changed, make_trainer, toy_task, weights_of
from torch import Tensor
from toys import ENDING, seeded

from seqgan.data.metrics import Metrics
from seqgan.data.sequences import Sequences
from seqgan.learning.players import Players
from seqgan.learning.rules.base import LearningRule
from seqgan.learning.updates import likelihood_step
from seqgan.models.discriminators.causal import CausalDiscriminatorConfig
from seqgan.models.generators.base import frozen_copy
from seqgan.models.generators.recurrent import RecurrentGenerator
from seqgan.rewards.discriminator import DiscriminatorReward
from seqgan.rewards.weighted import WeightedSum
from seqgan.system.errors import ConfigurationError, Interrupted
from seqgan.system.plugins import check_takes, parse_spec
from seqgan.system.seeding import atomic, seeded_from
from seqgan.tasks.base import Measure
from seqgan.training.checkpoints import load_checkpoint
from seqgan.training.observers import FunctionObserver, Observer
from seqgan.training.own_parts import kept_measure
from seqgan.training.phases.base import Phase
from seqgan.training.settings import TrainConfig
from seqgan.training.start import trainer_for
from seqgan.training.trainer import Trainer


class CountOfFirst:
    """Counts word 0 in a text, and talks to whoever listens to its sum."""

    name, per_token = "count", False

    def score(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        return ((sequences.tokens == 0) & sequences.mask).sum(dim=1).float()


class BestHalf:
    """A rule: maximum likelihood on the better half of a batch of the generator's own texts."""

    def __init__(self, players: Players) -> None:
        self.optimizer = torch.optim.Adam(players.generator.parameters(), 0.05)
        self.steps = 0

    def step(self, players: Players, rng: torch.Generator) -> Metrics:
        trajectories = players.collect(rng)
        best = trajectories.returns.argsort(descending=True)[: len(trajectories.returns) // 2]
        batch = trajectories.sequences.select(best)
        players.generator.train()
        with seeded_from(rng):
            loss, _ = likelihood_step(
                players.generator, self.optimizer, batch, 5.0, players.runtime
            )
        self.steps += 1
        players.position.global_step += int(trajectories.mask.sum())
        return {"user/loss": loss, "charts/episodic_return": float(trajectories.returns.mean())}

    def state_dict(self) -> dict[str, Any]:
        return {"optimizer": self.optimizer.state_dict(), "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.optimizer.load_state_dict(state["optimizer"])
        self.steps = state["steps"]


class Shaken:
    """A phase: adds noise to the weights a few times."""

    name, title, shown, evaluated, total = "shaken", "shake", ("user/noise",), False, 3

    def __init__(self) -> None:
        self.count = 0

    def done(self) -> bool:
        return self.count >= self.total

    def unit(self, players: Players, rng: torch.Generator) -> Metrics:
        with atomic(rng), torch.no_grad():
            for parameter in players.generator.parameters():
                parameter += 0.1 * torch.randn(parameter.shape, generator=rng)
        self.count += 1
        return {"user/noise": 0.1 * self.count}

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.count = state["count"]


class Tally(Observer):
    """Counts the units of a run, also over a stop, and may ask for one."""

    name = "tally"

    def __init__(self) -> None:
        self.units, self.stop_at = 0, -1
        self.trainer: Trainer | None = None

    def after(self, phase: Phase, metrics: Metrics) -> Metrics:
        self.units += 1
        if self.units == self.stop_at and self.trainer is not None:
            self.trainer.stop_requested = True
        return {"user/units": self.units}

    def state_dict(self) -> dict[str, Any]:
        return {"units": self.units}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.units = state["units"]


def own_trainer(
    checkpoints: Path | None = None, stop_at: int = -1
) -> tuple[Trainer, list[Metrics]]:
    """A run with a phase, a rule and an observer of this file, and what it logs."""
    trainer, memory = make_trainer(
        changed(TINY, {"evaluation.num_shown": 0}), reward=CountOfFirst()
    )
    trainer.tracker, trainer.checkpoints = memory, checkpoints
    game = trainer.phase("game")
    game.rule = BestHalf(trainer.players)
    trainer.phases = (trainer.phase("maximum_likelihood"), Shaken(), game)
    tally = Tally()
    tally.trainer, tally.stop_at = trainer, stop_at
    trainer.observers.append(tally)
    return trainer, memory.logged


def timeless(rows: list[Metrics]) -> list[dict[str, float | int]]:
    """Metrics that are no durations."""
    return [
        {
            name: value
            for name, value in row.items()
            if not name.startswith("time/") and name != "charts/SPS"
        }
        for row in rows
    ]


def test_a_phase_a_rule_and_an_observer_are_told_by_what_they_can() -> None:
    trainer, _ = make_trainer()
    assert isinstance(Shaken(), Phase)
    assert isinstance(BestHalf(trainer.players), LearningRule)
    assert not isinstance(CountOfFirst(), LearningRule)


@pytest.mark.parametrize("stop_at", [1, 4, 5, 6, 8])
def test_own_parts_train_stop_and_go_on_bit_for_bit(stop_at: int, tmp_path: Path) -> None:
    """Two epochs and their end, three shakes, three iterations."""
    whole, logged = own_trainer()
    whole.train()
    assert whole.observer("tally").units == 9
    stopped, before = own_trainer(tmp_path, stop_at)
    with pytest.raises(Interrupted):
        stopped.train()
    resumed, after = own_trainer()
    resumed.load_state_dict(load_checkpoint(tmp_path)[1])
    resumed.train()
    assert resumed.observer("tally").units == 9
    assert resumed.phase("game").rule.steps == 3
    assert torch.equal(weights_of(resumed), weights_of(whole))
    assert torch.equal(resumed.rng.get_state(), whole.rng.get_state())
    assert timeless(before + after) == timeless(logged)


# What is no divergence


class Mistyped(Observer):
    def after(self, phase: Phase, metrics: Metrics) -> Metrics:
        return {"evla/nll": 1.0}


class MistypedRule(BestHalf):
    def step(self, players: Players, rng: torch.Generator) -> Metrics:
        return {**super().step(players, rng), "losses/polcy": 1.0}


@pytest.mark.parametrize("whose", ["observer", "rule"])
def test_a_mistyped_metric_is_not_called_a_divergence(whose: str) -> None:
    trainer, memory = make_trainer(reward=CountOfFirst())
    if whose == "observer":
        trainer.observers.append(Mistyped())
    else:
        trainer.phase("game").rule = MistypedRule(trainer.players)
    with pytest.raises(ConfigurationError, match=r"evla/nll|losses/polcy"):
        trainer.train()
    assert memory.alerts == []


# Players


def players_with(rewards: Any, seed: int = 0) -> Players:
    with seeded_from(seeded(seed)):
        generator = RecurrentGenerator(TINY.generator, ENDING)
    return Players(toy_task(), generator, frozen_copy(generator), rewards, 4)


def test_players_go_on_from_their_state() -> None:
    trainer, _ = make_trainer()
    trainer.train()
    state = trainer.players.state_dict()
    other, _ = make_trainer(changed(TINY, {"seed": 9}))
    assert not torch.equal(weights_of(other), weights_of(trainer))
    other.players.load_state_dict(state)
    assert torch.equal(weights_of(other), weights_of(trainer))
    found, expected = (each.players.reference.state_dict() for each in (other, trainer))
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert other.players.position.axes() == trainer.players.position.axes()
    assert other.players.position.global_step > 0


def test_two_players_share_a_sum_of_rewards_and_leave_it_as_it_was() -> None:
    """Each hears of its own calls alone."""
    shared = WeightedSum([CountOfFirst()])
    watch, on_skip = shared.watch, shared.on_skip
    first, second = players_with(shared), players_with(shared)
    heard: dict[str, list[str]] = {"first": [], "second": []}
    for name, players in (("first", first), ("second", second)):
        players.listen(heard[name].append, lambda reward, name=name: Named(heard[name], reward))
    first.rewards.score(first.real("dev", 3, seeded()))
    assert heard == {"first": ["count"], "second": []}
    second.rewards.score(second.real("dev", 3, seeded()))
    assert heard == {"first": ["count"], "second": ["count"]}
    assert (shared.watch, shared.on_skip) == (watch, on_skip)
    assert first.rewards.parts[0] is second.rewards.parts[0] is shared.parts[0]


@dataclass
class Named:
    """A context that writes a name down."""

    names: list[str]
    name: str

    def __enter__(self) -> None:
        self.names.append(self.name)

    def __exit__(self, *error: object) -> None:
        pass


# Rewards per token


class TokenCopy:
    """A user's reward per token that gives what a discriminator gives."""

    name, per_token = "copy", True

    def __init__(self, judge: DiscriminatorReward) -> None:
        self.judge = judge

    def score(self, sequences: Sequences) -> Float[Tensor, "batch time"]:
        return self.judge.score(sequences)


@pytest.mark.parametrize("num_rollouts", [0, 2])
def test_a_reward_per_token_of_the_users_is_credited_as_the_discriminators(
    num_rollouts: int,
) -> None:
    settings = {"rule.num_rollouts": num_rollouts, "adversarial.reward_shape": "centred"}
    config: TrainConfig = changed(
        TINY, {**settings, "discriminator": CausalDiscriminatorConfig(width=8, num_heads=2)}
    )
    its, _ = make_trainer(config)
    judge = its.players.discriminator
    assert judge is not None
    rng = its.rng.get_state()
    users = trainer_for(
        config,
        players_with(WeightedSum([TokenCopy(judge)])),
        torch.Generator(),
        its.tracker,
        its.progress,
    )
    users.players.generator.load_state_dict(its.players.generator.state_dict())
    users.players.reference.load_state_dict(its.players.reference.state_dict())
    advantages = []
    for trainer in (its, users):
        trainer.rng.set_state(rng)
        rule = trainer.phase("game").rule
        rule.step(trainer.players, trainer.rng)
        advantages.append(rule._shown["advantage"])
    assert advantages[0].abs().max() > 1e-3
    torch.testing.assert_close(advantages[1], advantages[0], rtol=0, atol=0)


def builder(made: Any) -> Any:
    """Settings of which `build` takes three arguments at most and gives one thing."""

    @dataclass(frozen=True)
    class Settings:
        def build(self, *arguments: Any) -> Any:
            return made

    return Settings()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"rule": builder(None)},
            "its method build gives None without step, .* but must give a LearningRule",
        ),
        ({"generator": builder(3)}, "its method build gives 3, but must give a Generator"),
        (
            {"discriminator": builder("no")},
            "its method build gives 'no', but must give a Discriminator",
        ),
    ],
)
def test_what_a_slot_builds_is_looked_at(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        make_trainer(changed(TINY, changes))


@pytest.mark.parametrize(
    ("function", "problem"),
    [
        (
            lambda: None,
            r"^observer 'a:b': <l.*>\(\) cannot be called with \(phase, metrics, players\)",
        ),
        (3, r"^observer 'a:b': 3 cannot be called with \(phase, metrics, players\)"),
    ],
)
def test_a_function_that_takes_something_else_is_told_before_the_run(
    function: Any, problem: str
) -> None:
    with pytest.raises(ConfigurationError, match=problem):
        check_takes(function, ("phase", "metrics", "players"), parse_spec("a:b", "observer"))
    check_takes(lambda phase, *rest: None, ("phase", "metrics"), parse_spec("a:b", "observer"))


class TestWhatOwnPartsChangeIsPutBack:
    """A run whose parts change PyTorch's modes ends with the weights of one whose parts do not."""

    @pytest.fixture
    def weights(self) -> Float[Tensor, " weights"]:
        trainer, _ = make_trainer(TINY)
        trainer.train()
        return weights_of(trainer)

    @staticmethod
    def told(trainer: Trainer) -> list[str]:
        lines: list[str] = []
        trainer.players.listen(lines.append, lambda name: nullcontext())
        return lines

    def test_observers(self, weights: Float[Tensor, " weights"]) -> None:
        class Own(Observer):
            name = "own"

            def before(self, phase: Phase) -> Metrics:
                torch.set_default_dtype(torch.float64)
                return {}

            def after(self, phase: Phase, metrics: Metrics) -> Metrics:
                torch.set_grad_enabled(False)
                return {}

            def logged(self, phase: Phase, metrics: Metrics) -> None:
                torch.manual_seed(0)

        def function(phase: Phase, metrics: Metrics, players: Players) -> None:
            torch.set_float32_matmul_precision("medium")

        trainer, _ = make_trainer(TINY)
        trainer.observers += [Own(), FunctionObserver(function, trainer.players, "mine.py:look")]
        lines = self.told(trainer)
        trainer.train()
        assert torch.equal(weights_of(trainer), weights)
        end = ": put back as it was before the call"
        assert [line for line in lines if line.endswith(end)] == [
            f"observer 'own' changed PyTorch's default type{end}",
            f"observer 'own' changed PyTorch's gradient mode{end}",
            f"observer 'mine.py:look' changed PyTorch's precision of products{end}",
            f"observer 'own' changed PyTorch's random state{end}",
        ]

    def test_measures(self, weights: Float[Tensor, " weights"]) -> None:
        def score(samples: Sequences) -> Float[Tensor, " batch"]:
            torch.set_default_dtype(torch.float64)
            return samples.lengths.float()

        trainer, _ = make_trainer(TINY)
        evaluation = trainer.observer("evaluation")
        tell = trainer.players.failures.changed
        evaluation.measures = {"size": kept_measure("size", Measure(score), tell)}
        lines = self.told(trainer)
        trainer.train()
        assert torch.equal(weights_of(trainer), weights)
        (line,) = [line for line in lines if "measure" in line]
        assert line.startswith("measure 'size' changed PyTorch's default type")

    def test_phases(self, weights: Float[Tensor, " weights"]) -> None:
        trainer, _ = make_trainer(TINY)
        game = trainer.phase("game")
        unit = game.unit

        def changing(players: Players, rng: torch.Generator) -> Metrics:
            metrics = unit(players, rng)
            torch.set_default_dtype(torch.float64)
            return metrics

        game.unit = changing
        lines = self.told(trainer)
        trainer.train()
        assert torch.equal(weights_of(trainer), weights)
        (line,) = [line for line in lines if "phase" in line]
        assert line.startswith("phase 'game' changed PyTorch's default type")
