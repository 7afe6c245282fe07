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


ENOUGH = 0.1  # seconds of a call that are told from noise
MANY = 16  # below this size fixed costs weigh too much, if there is the time to find out
LONG = 1.0  # seconds of a call that is not made again at a larger size


def seconds_at(action: Callable[[int], object], size: int) -> float:
    """Seconds that an action takes at a size, timed at that size or at a smaller one.

    The size grows fourfold until a call takes long enough. Fixed costs then count as if they grew
    along, so the result is rather too large.
    """
    action(1)  # warms up
    tried = 1
    while True:
        started = time.perf_counter()
        action(tried)
        seconds = time.perf_counter() - started
        told = seconds >= ENOUGH and (tried >= MANY or seconds >= LONG)
        if tried >= size or told:
            return seconds * size / tried
        tried = min(4 * tried, size)


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
