"""The cost of a run: its time, from a few steps on copies of its parts, and its rewards' calls."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from seqgan.learning.players import Players
from seqgan.rewards.adapters.functions import FunctionReward
from seqgan.rewards.base import RewardModel
from seqgan.training.observers import RolloutSettings
from seqgan.training.phases.base import Phase
from seqgan.training.settings import TrainConfig

FINAL_ROWS = 4  # generators in the final table, at most: before, after, at the match, and the best


@runtime_checkable
class Estimates(Protocol):
    """A phase that can say how long it takes."""

    def expected_seconds(self, players: Players) -> Mapping[str, float]:
        """Seconds of all of its units, by the names of their parts, measured just now.

        The players are left as they were.
        """
        ...


@dataclass(frozen=True)
class Estimate:
    """Expected seconds of a whole run on this machine.

    Args:
        parts: by their names.
        unknown: titles of phases that cannot say.
    """

    parts: Mapping[str, float]
    unknown: tuple[str, ...] = ()

    @property
    def total(self) -> float:
        return sum(self.parts.values())

    def sentence(self) -> str:
        spelt = ", ".join(f"{name} {_duration(seconds)}" for name, seconds in self.parts.items())
        apart = " and ".join(["evaluations", *self.unknown])
        return (
            f"expected time of the whole run: {_duration(self.total)} at most ({spelt};"
            f" {apart} apart)"
        )


def estimate(phases: Iterable[Phase], players: Players) -> Estimate:
    """Times one step of each kind and multiplies; the players are left as they were."""
    parts: dict[str, float] = {}
    unknown = []
    for phase in phases:
        if isinstance(phase, Estimates):
            for name, seconds in phase.expected_seconds(players).items():
                parts[name] = parts.get(name, 0.0) + seconds
        else:
            unknown.append(phase.title)
    return Estimate(parts, tuple(unknown))


@dataclass(frozen=True)
class RewardCalls:
    """The number of texts that each reward of a run is asked about, at most.

    Equal completions are asked about once, so there may be fewer. Texts that failed are asked about
    again, and those of a batch once more by a reward per token, so there may be more.
    """

    iteration: int  # in one iteration of the game
    evaluation: int  # in one evaluation: of the texts that it shows
    end: int  # in the final evaluation
    iterations: int
    evaluations: int  # with those before the game

    @property
    def total(self) -> int:
        return self.iterations * self.iteration + self.evaluations * self.evaluation + self.end

    def sentence(self, names: Iterable[str]) -> str:
        """One line for the rewards of these names."""
        asked = " and ".join(repr(name) for name in names)
        return (
            f"rewards are asked about at most {self.iteration:,} texts in an iteration,"
            f" {self.evaluation:,} in an evaluation, {self.end:,} at the end, {self.total:,} in"
            f" all: {asked}"
        )


def reward_calls(config: TrainConfig, max_length: int, processes: int = 1) -> RewardCalls | None:
    """Counts the texts that each reward will be asked about; nothing is asked for that.

    Args:
        max_length: tokens of the longest text.
        processes: that train together.

    Returns:
        None where a phase or a rule of the user's own asks in ways of its own.
    """
    known = {"maximum_likelihood", "adversary", "game"}
    rule, evaluation, game = config.rule, config.evaluation, config.adversarial
    if not isinstance(rule, RolloutSettings) or not {*config.phases} <= known:
        return None
    iterations = game.iterations if "game" in config.phases else 0
    prefixes = -(-(max_length - 1) // rule.rollout_stride)  # of one text that are completed
    each = 1 + prefixes * rule.num_rollouts
    shown = min(evaluation.num_shown, evaluation.num_samples) * each
    rows = FINAL_ROWS if iterations else 1
    return RewardCalls(
        game.g_steps * game.batch_size * each * processes,
        shown,
        shown + rows * evaluation.num_final,
        iterations,
        # Samples and an evaluation before the game, and the evaluations in it.
        2 + -(-iterations // evaluation.every) if iterations else 0,
    )


def is_own(reward: RewardModel) -> bool:
    """Tells code of the user's own, which may ask a server, from the rewards of this package."""
    return isinstance(reward, FunctionReward) or not type(reward).__module__.startswith("seqgan.")


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
