"""The game: generator updates and rounds for the discriminator in turns."""

import time
from collections.abc import Mapping
from typing import Any

import torch

from seqgan.data.metrics import Metrics
from seqgan.learning.adversary import adversary_round, round_seconds
from seqgan.learning.optimization import follow_schedule
from seqgan.learning.players import Players
from seqgan.learning.rules.base import (
    EstimatesStep,
    FollowsRewards,
    ForksRule,
    LearningRule,
    ShowsHistograms,
    asks_rewards,
)
from seqgan.system.seeding import atomic
from seqgan.system.timing import Clock
from seqgan.tracking.base import Histogram
from seqgan.training.settings import AdversarialConfig, DiscriminatorTrainingConfig, TrainConfig
from seqgan.training.slots import built


class Game:
    """Iterations of g-steps by a learning rule and d-steps for the reward that learns, if any.

    Args:
        players: the generator and its rewards.
        rule: how the generator learns from its own texts.
        settings: number of iterations and of g-steps in each.
        training: turns, number and sizes of d-steps.
    """

    name = "game"
    title = "adversarial game"
    evaluated = True

    def __init__(
        self,
        players: Players,
        rule: LearningRule,
        settings: AdversarialConfig,
        training: DiscriminatorTrainingConfig,
    ) -> None:
        self.rule, self.settings, self.training = rule, settings, training
        self.total = settings.iterations
        self.iterations = 0  # that are done
        self.generator_steps = 0  # of the iteration in progress
        self.ended = ""  # early, and for this reason
        self.shown = tuple(getattr(rule, "shown", ("charts/episodic_return",)))
        if players.rewards.learning is None:
            self.title = "game"

    @property
    def count(self) -> int:
        return self.iterations

    def done(self) -> bool:
        return self.iterations >= self.total or bool(self.ended)

    def end(self, reason: str) -> None:
        """Ends the game after the iteration that is done."""
        self.ended = reason

    def why_early(self) -> str:
        """The reason why it ended early; empty where it did not."""
        return self.ended

    def unit(self, players: Players, rng: torch.Generator) -> Metrics:
        """One iteration.

        Each g-step is done or not; where a later one fails, the next call goes on with that one.
        """
        players.position.iterations = self.total
        started, tokens_before = time.perf_counter(), players.position.global_step
        metrics: dict[str, float | int] = {}
        while self.generator_steps < self.settings.g_steps:
            players.begin_step()
            with atomic(rng), players.average.following(players.generator):
                step = self.rule.step(players, rng)
            # The library's names win over those that a reward reports.
            metrics = _followed(metrics, {**players.reward_reports(), **step})
            self.generator_steps += 1
        turn = (self.iterations + 1) % self.training.every == 0
        if turn and players.rewards.learning is not None:
            with atomic(rng):
                metrics = _followed(metrics, self.adversary_steps(players, rng))
        self.generator_steps = 0
        self.iterations += 1
        players.position.iteration = self.iterations
        seconds = time.perf_counter() - started
        metrics["time/seconds"] = seconds
        metrics["num_tokens"] = players.position.num_tokens
        metrics["charts/SPS"] = (players.position.global_step - tokens_before) / seconds
        return metrics | players.position.axes()

    def note(self, players: Players) -> str:
        """A line about a reward that learns though the rule asks for none; empty elsewhere."""
        learning = players.rewards.learning
        if learning is None or asks_rewards(self.rule):
            return ""
        return (
            f"the generator learns without the {learning.name}, which trains to measure it alone;"
            " --reward constant --phases maximum_likelihood game leaves it out"
        )

    def adversary_steps(self, players: Players, rng: torch.Generator) -> Metrics:
        """The d-steps of one turn."""
        metrics: dict[str, float | int] = {}
        if players.discriminator is not None:
            follow_schedule(players.discriminator.optimizer, self.training, players.position)
        clock = Clock()
        with clock.lap("update_discriminator"):
            for _ in range(self.training.d_steps):
                metrics |= adversary_round(players, self.training, self.training.d_epochs, rng)
        return metrics | clock.seconds

    def histograms(self) -> Mapping[str, Histogram]:
        """The rule's histograms of its last update; empty for a rule without any."""
        return self.rule.histograms() if isinstance(self.rule, ShowsHistograms) else {}

    def expected_seconds(self, players: Players) -> Mapping[str, float]:
        """Seconds of the iterations that are left: of the rule, where it can say, and of the
        discriminator."""
        parts: dict[str, float] = {}
        left = self.total - self.iterations
        if isinstance(self.rule, EstimatesStep):
            steps = left * self.settings.g_steps
            parts["generator in the game"] = steps * self.rule.expected_seconds(players)
        if players.rewards.learning is not None:
            seconds = round_seconds(players, self.training, self.training.d_epochs)
            rounds = self.training.rounds(self.total) - self.training.rounds(self.iterations)
            parts["discriminator in the game"] = rounds * seconds
        return parts

    def forked(self, before: TrainConfig, after: TrainConfig) -> None:
        """Tells the rule which settings it has in place of those of its state."""
        self.ended = ""
        if isinstance(self.rule, FollowsRewards) and _rewards(before) != _rewards(after):
            self.rule.rewards_changed()
        if isinstance(self.rule, ForksRule) and type(before.rule) is type(after.rule):
            self.rule.forked(before.rule)

    def state_dict(self) -> dict[str, Any]:
        return {
            "iterations": self.iterations,
            "generator_steps": self.generator_steps,
            "ended": self.ended,
            "total": self.total,
            "rule": self.rule.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.iterations = state["iterations"]
        self.generator_steps = state["generator_steps"]
        # Not in a checkpoint of an older version. A game that is given more iterations goes on.
        longer = self.total > state.get("total", self.total)
        self.ended = "" if longer else state.get("ended", "")
        self.rule.load_state_dict(state["rule"])


def _rewards(config: TrainConfig) -> tuple[object, ...]:
    """The settings that say what a text earns."""
    game = config.adversarial
    return config.reward, config.reward_weights, game.reward_shape, game.reward_clip


def _followed(before: Metrics, metrics: Metrics) -> dict[str, float | int]:
    """Metrics of an iteration after one more part of it: times add up, the rest is the newest."""
    times = {name: before.get(name, 0.0) for name in metrics if name.startswith("time/")}
    return {**before, **metrics, **{name: times[name] + metrics[name] for name in times}}


def build(players: Players, config: TrainConfig) -> Game:
    """The game of a run, with the rule that its settings name."""
    rule = built("rule", config.rule, LearningRule, players=players)
    return Game(players, rule, config.adversarial, config.discriminator_training)
