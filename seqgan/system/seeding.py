"""Makes randomness an argument, even for initialisation and dropout, which use the global state."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded_from(rng: torch.Generator, device: torch.device | str = "cpu") -> Iterator[None]:
    """Seeds PyTorch's global state from `rng` inside the block and restores it afterwards.

    Parameter initialisation and dropout need this, because they take no generator.
    """
    target = torch.device(device)
    with torch.random.fork_rng(devices=[target] if target.type == "cuda" else []):
        torch.manual_seed(int(torch.randint(2**62, (), generator=rng)))
        yield


def seed_of(*numbers: int) -> int:
    """Hashes the numbers to a seed for `torch.Generator`; other numbers give another seed."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))
