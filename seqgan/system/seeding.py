"""Makes randomness an argument, even for initialisation and dropout, which use the global state."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import torch


@contextmanager
def seeded_from(rng: torch.Generator, device: torch.device | str = "cpu") -> Iterator[None]:
    """Seeds PyTorch's global state from `rng` inside the block and restores it afterwards.

    Parameter initialisation and dropout need this, because they take no generator.
    """
    target = torch.device(device)
    with torch.random.fork_rng(devices=[target] if target.type == "cuda" else []):
        torch.manual_seed(drawn_seed(rng))
        yield


def drawn_seed(rng: torch.Generator) -> int:
    """A seed that `rng` draws."""
    return int(torch.randint(2**62, (), generator=rng))


def seed_of(*numbers: int) -> int:
    """Hashes the numbers to a seed for `torch.Generator`; other numbers give another seed."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


@contextmanager
def atomic(rng: torch.Generator) -> Iterator[None]:
    """Takes the draws of its body back where the body fails, so that it can be tried again."""
    before = rng.get_state()
    try:
        yield
    except BaseException:
        rng.set_state(before)
        raise


class GlobalState:
    """PyTorch's global random state of a stretch of work that pauses and goes on.

    Dropout draws from the global state. `seeded_from` fixes it for work that runs in one piece;
    here the work may stop, be saved, and go on in another process with the same draws.

    Args:
        seed: where the stretch begins; None where `load_state_dict` follows.
        device: where the networks live.
    """

    def __init__(self, device: torch.device | str = "cpu", seed: int | None = None) -> None:
        self.device = torch.device(device)
        self._states: dict[str, torch.Tensor] = {}
        if seed is not None:
            with self._forked():
                torch.manual_seed(seed)
                self._states = self._read()

    @contextmanager
    def resumed(self) -> Iterator[None]:
        """Inside, the global state goes on from where it paused; outside, it is as it was."""
        with self._forked():
            torch.set_rng_state(self._states["cpu"])
            if self.device.type == "cuda":
                torch.cuda.set_rng_state(self._states["cuda"], self.device)
            yield
            self._states = self._read()

    def _forked(self) -> AbstractContextManager[None]:
        return torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else [])

    def _read(self) -> dict[str, torch.Tensor]:
        states = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(self.device)
        return states

    def state_dict(self) -> dict[str, torch.Tensor]:
        return dict(self._states)

    def load_state_dict(self, state: Mapping[str, torch.Tensor]) -> None:
        self._states = {name: tensor.cpu() for name, tensor in state.items()}
