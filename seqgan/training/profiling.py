"""The time of one iteration of the game, part by part: `seqgan train PRESET --profile`."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch.profiler import ProfilerActivity, profile

from seqgan.system.errors import ConfigurationError
from seqgan.system.timing import RANGE, profiled
from seqgan.training.phases.base import Phase
from seqgan.training.trainer import Trainer

NUM_OPERATIONS = 12  # the costliest operations that are listed


@dataclass(frozen=True)
class IterationProfile:
    """Seconds of one iteration: of its parts, and of the costliest PyTorch operations."""

    seconds: float
    parts: Mapping[str, float]  # parts of parts are named `part / of it`, and come after it
    operations: Mapping[str, float]  # without what they call

    def lines(self) -> list[str]:
        """Two lists for a terminal, each entry with its share of the iteration."""
        accounted = sum(value for name, value in self.parts.items() if " / " not in name)
        parts = {**self.parts, "everything else": max(self.seconds - accounted, 0.0)}
        return [
            f"one iteration of the game: {self.seconds:.3f} s",
            *self._rows(parts),
            "of which in PyTorch's operations:",
            *self._rows(self.operations),
        ]

    def _rows(self, seconds: Mapping[str, float]) -> list[str]:
        named = {
            ("    " if " / " in name else "  ") + name.split(" / ")[-1]: value
            for name, value in seconds.items()
        }
        width = max(map(len, named), default=0)
        return [
            f"{name.ljust(width)}  {value:8.3f} s  {value / self.seconds:6.1%}"
            for name, value in named.items()
        ]


def evaluated_phase(trainer: Trainer) -> Phase:
    """The first phase that is evaluated: the one whose unit is profiled.

    Raises:
        ConfigurationError: there is none.
    """
    for phase in trainer.phases:
        if phase.evaluated:
            return phase
    raise ConfigurationError("no phase is evaluated, so there is none to profile")


def profile_iteration(trainer: Trainer) -> IterationProfile:
    """Plays one iteration to warm up and one that is measured; the trainer has then learnt them."""
    game = evaluated_phase(trainer)

    def iteration() -> None:
        game.unit(trainer.players, trainer.rng)

    iteration()
    with profile(activities=[ProfilerActivity.CPU]) as taken, profiled("iteration"):
        iteration()
    events = {event.key: event for event in taken.key_averages()}
    ours = {name: event.cpu_time_total for name, event in events.items() if name.startswith(RANGE)}
    whole = ours.pop(f"{RANGE}iteration") / 1e6
    others = [event for name, event in events.items() if name.startswith("aten::")]
    others.sort(key=lambda event: -event.self_cpu_time_total)
    return IterationProfile(
        whole,
        {name.removeprefix(RANGE): microseconds / 1e6 for name, microseconds in ours.items()},
        {event.key: event.self_cpu_time_total / 1e6 for event in others[:NUM_OPERATIONS]},
    )
