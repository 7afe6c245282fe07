"""Randomness as an argument, also for the two things that only know PyTorch's global state."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded_from(rng: torch.Generator, device: torch.device | str = "cpu") -> Iterator[None]:
    """Inside, the global state is seeded from `rng`; outside, it is as it was.

    For parameter initialisation and dropout, which take no generator.
    """
    target = torch.device(device)
    with torch.random.fork_rng(devices=[target] if target.type == "cuda" else []):
        torch.manual_seed(int(torch.randint(2**62, (), generator=rng)))
        yield


def seed_of(*numbers: int) -> int:
    """A seed for `torch.Generator` that differs, for all practical purposes, with any of these."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
