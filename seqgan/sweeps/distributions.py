"""How the values of one swept parameter are spread, as Weights & Biases defines it.

Every distribution is its quantile function: a number in [0, 1) becomes a value. So one uniform
number per parameter makes a random proposal, and a search in the unit cube knows every kind.
"""

import bisect
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

# Nearer to 0 and 1 a normal distribution has no finite quantile.
SMALLEST_QUANTILE = 1e-9


@dataclass(frozen=True)
class Choice:
    """One of some values; a constant is a choice of one."""

    values: tuple[Any, ...]
    probabilities: tuple[float, ...] = ()  # of each value; empty for equal ones

    @property
    def logarithmic(self) -> bool:
        return False

    def quantile(self, u: float) -> Any:
        return self.values[self.index(u)]

    def index(self, u: float) -> int:
        """Which value the quantile `u` is."""
        return min(bisect.bisect_right(self._upper_ends(), u), len(self.values) - 1)

    def middle(self, index: int) -> float:
        """The quantile in the middle of a value's share; `index` undoes it."""
        ends = [0.0, *self._upper_ends()]
        return (ends[index] + ends[index + 1]) / 2

    def grid(self) -> Sequence[Any] | None:
        return None if self.probabilities else self.values

    def extremes(self) -> Sequence[Any]:
        return self.values

    def _upper_ends(self) -> list[float]:
        shares = self.probabilities or (1 / len(self.values),) * len(self.values)
        return list(itertools.accumulate(shares))


@dataclass(frozen=True)
class IntUniform:
    """Whole numbers from `low` to `high`, both included, all equally likely."""

    low: int
    high: int

    @property
    def logarithmic(self) -> bool:
        return False

    def quantile(self, u: float) -> int:
        count = self.high - self.low + 1
        return self.low + min(int(u * count), count - 1)

    def grid(self) -> Sequence[int] | None:
        return range(self.low, self.high + 1)

    def extremes(self) -> Sequence[int]:
        return (self.low, self.high)


@dataclass(frozen=True)
class Uniform:
    """A number between `low` and `high`; its logarithm is what is uniform where `logarithmic`."""

    low: float | int
    high: float | int
    logarithmic: bool = False
    step: float | int | None = None  # the value is rounded to a multiple of it

    def quantile(self, u: float) -> float | int:
        if self.logarithmic:
            low, high = math.log(self.low), math.log(self.high)
            # The bounds themselves, where exp of the logarithm misses them by a rounding.
            value = float(min(max(math.exp(low + u * (high - low)), self.low), self.high))
        else:
            value = self.low + u * (self.high - self.low)
        return _rounded(value, self.step)

    def grid(self) -> Sequence[float | int] | None:
        """Steps from `low` on, `high` excluded as in a sweep of Weights & Biases."""
        if self.step is None or self.logarithmic:
            return None
        count = math.ceil((self.high - self.low) / self.step - 1e-9)
        return [self.low + index * self.step for index in range(count)]

    def extremes(self) -> Sequence[float | int]:
        return (self.quantile(0.0), self.quantile(1.0))


@dataclass(frozen=True)
class Normal:
    """A normal number, or where `logarithmic` one whose logarithm is normal."""

    mu: float
    sigma: float
    logarithmic: bool = False
    step: float | int | None = None  # the value is rounded to a multiple of it

    def quantile(self, u: float) -> float | int:
        u = min(max(u, SMALLEST_QUANTILE), 1 - SMALLEST_QUANTILE)
        value = self.mu + self.sigma * NormalDist().inv_cdf(u)
        return _rounded(math.exp(value) if self.logarithmic else value, self.step)

    def grid(self) -> Sequence[Any] | None:
        return None

    def extremes(self) -> Sequence[float | int]:
        """The middle: this distribution has no ends."""
        return (self.quantile(0.5),)


Distribution = Choice | IntUniform | Uniform | Normal


def _rounded(value: float, step: float | int | None) -> float | int:
    """The nearest multiple of the step; an int where the step is one."""
    if step is None:
        return value
    return round(value / step) * step
