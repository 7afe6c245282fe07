"""Measures seconds of named parts, for the `time/` metrics and as ranges in a profile."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch.autograd.profiler import record_function

RANGE = "seqgan: "  # prefix of our ranges' names in a profile


def profiled(name: str) -> record_function:
    """Marks a range of that name in a running profile; without one it costs microseconds."""
    return record_function(RANGE + name)


def fastest(action: Callable[[], object], repeats: int = 3) -> float:
    """Seconds of the fastest repeat, after one call to warm up."""
    action()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return min(times)


class Clock:
    """Adds up the seconds of each named part.

    Args:
        now: returns the current time in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.perf_counter) -> None:
        self.now = now
        self.seconds: dict[str, float] = {}

    @contextmanager
    def lap(self, name: str) -> Iterator[None]:
        """Times the block under `time/<name>` and marks it as a range of a profile."""
        started = self.now()
        with profiled(name):
            yield
        key = f"time/{name}"
        self.seconds[key] = self.seconds.get(key, 0.0) + self.now() - started
