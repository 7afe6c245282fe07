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
LONG = 1.0  # seconds of a call that is not made again
MANY = 4  # size up to which calls are made again, so that fixed costs are told from the others


def seconds_at(action: Callable[[int], object], size: int) -> float:
    """Seconds that an action takes at a size, timed at smaller ones if it takes long.

    The size grows fourfold until a call takes long enough; beyond it the time grows along the line
    through the last two sizes, and by a quarter of the time per size at the least.
    """
    tried, seconds = 1, _timed(action, 1)
    if seconds < LONG:
        seconds = _timed(action, 1)  # without what the first call has to warm up
    slope = seconds
    while tried < size and (seconds < ENOUGH or (tried < MANY and seconds < LONG)):
        larger = min(4 * tried, size)
        longer = _timed(action, larger)
        slope = max((longer - seconds) / (larger - tried), longer / larger / 4)
        tried, seconds = larger, longer
    return seconds + slope * (size - tried)


def _timed(action: Callable[[int], object], size: int) -> float:
    started = time.perf_counter()
    action(size)
    return time.perf_counter() - started


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
