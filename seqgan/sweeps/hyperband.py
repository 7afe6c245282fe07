"""Stopping the trials that fall behind: Hyperband as Weights & Biases applies it to a sweep.

Li et al. (2018), Hyperband: a novel bandit-based approach to hyperparameter optimization. Where
the paper starts rungs of trials together, a sweep starts them one after another: a trial that
reaches a bracket is compared with whatever has reached it so far, and is stopped unless it is
among the best 1/eta of them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from seqgan.system.errors import ConfigurationError

NUM_BRACKETS = 100  # more than any run has evaluations, for an eta that is not close to 1


@dataclass(frozen=True)
class Hyperband:
    """When trials are compared. Iterations count the values of the sweep's metric in the game."""

    min_iter: int = 0  # the first bracket; 0 where `max_iter` says them
    max_iter: int = 0  # brackets lie at max_iter / eta, max_iter / eta^2, ...
    s: int = 0  # how many, where `max_iter` says them
    eta: float | int = 3  # ratio of two brackets; one trial of `eta` goes on
    strict: bool = False  # compare the value at the bracket, not the best one so far

    def __post_init__(self) -> None:
        if (self.min_iter > 0) == (self.max_iter > 0):
            raise ConfigurationError(
                "early_terminate has either min_iter or max_iter, each at least 1, got"
                f" min_iter {self.min_iter or 'none'} and max_iter {self.max_iter or 'none'}"
            )
        if self.max_iter > 0 and self.s < 1:
            raise ConfigurationError(
                f"early_terminate.s is at least 1 beside max_iter, got {self.s or 'none'}"
            )
        if not 1 < self.eta < math.inf:
            raise ConfigurationError(f"early_terminate.eta is above 1 and finite, got {self.eta}")
        if not self.brackets:
            raise ConfigurationError(
                f"early_terminate has a bracket at 1 or later, got max_iter {self.max_iter} and"
                f" eta {self.eta:g}: none"
            )

    @property
    def brackets(self) -> tuple[int, ...]:
        """Numbers of logged values at which trials are compared, in rising order."""
        if self.max_iter > 0:
            ends = [self.max_iter / self.eta**power for power in range(1, self.s + 1)]
            return tuple(sorted(int(end) for end in ends if end >= 1))
        found = [self.min_iter]
        for power in range(1, NUM_BRACKETS):
            end = self.min_iter * self.eta**power
            if end > 1e9:
                break
            found.append(int(end))
        return tuple(dict.fromkeys(found))


def to_stop(
    hyperband: Hyperband, histories: Mapping[int, Sequence[float]], running: set[int]
) -> set[int]:
    """The running trials that have fallen behind.

    A trial is judged at the last bracket that it has reached: it goes on if its value there, or
    without `strict` its best so far, is at most the value of rank floor(n / eta), counted from 0,
    among the n trials that have reached the bracket. Whoever arrives first is never stopped.

    Args:
        histories: each trial's finite values of the metric in the order of their logging, turned
            so that lower is better; those of trials that have ended, too.
        running: the trials that can be stopped.
    """
    stopped = set()
    for trial in running:
        values = histories[trial]
        reached = [bracket for bracket in hyperband.brackets if bracket <= len(values)]
        if not reached:
            continue
        bracket = reached[-1]
        there = sorted(
            history[bracket - 1] for history in histories.values() if len(history) >= bracket
        )
        value = values[bracket - 1] if hyperband.strict else min(values)
        if value > there[int(len(there) / hyperband.eta)]:
            stopped.add(trial)
    return stopped
