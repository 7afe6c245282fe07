"""Seconds of named parts, for the `time/` metrics, and the same parts as ranges of a profile."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch.autograd.profiler import record_function

RANGE = "seqgan: "  # what the names of our ranges start with in a profile


def profiled(name: str) -> record_function:
    """A range of that name in a profile that is being taken; costs microseconds otherwise."""
    return record_function(RANGE + name)


def fastest(action: Callable[[], object], repeats: int = 3) -> float:
    """Seconds of the fastest of the repeats, after one to warm up."""
    action()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return min(times)


class Clock:
    """Adds up the seconds that each part took.

    Args:
        now: the current time in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self.now = now
        self.seconds: dict[str, float] = {}

    @contextmanager
    def lap(self, name: str) -> Iterator[None]:
        """What runs inside is timed under `time/<name>`, and is a range of a profile."""
        started = self.now()
        with profiled(name):
            yield
        key = f"time/{name}"
        self.seconds[key] = self.seconds.get(key, 0.0) + self.now() - started
