"""The time that a run will take, from a few steps of each kind on copies of its parts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from seqgan.learning.players import Players
from seqgan.training.phases.base import Phase


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


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
