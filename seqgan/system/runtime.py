"""Hides from the training loop if one process runs or many. This file implements one process.

Several processes train the same networks, each on its own part of every batch. A loss is a mean
over real tokens, and each process has a different number of them. Each process multiplies its loss
by `share`, so that gradients averaged over the processes equal those of the whole batch.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from seqgan.system.errors import ConfigurationError

Trained = TypeVar("Trained", bound=nn.Module)
Result = TypeVar("Result")


class Runtime(ABC):
    """All operations of the training loop that involve other processes.

    Every process makes the same calls in the same order. `forward`, `backward` and all methods that
    return values of other processes wait for those processes.

    Raises:
        ProcessLostError: another process has ended; each method that waits may raise this error.
    """

    rank: int = 0  # number of this process, from 0
    world_size: int = 1  # number of processes

    @abstractmethod
    def prepare(self, module: nn.Module) -> None:
        """Prepares a module for training: copies the main process' parameters into it.

        The module stays the same object, and sampling and measuring use it as before.
        """

    @abstractmethod
    def forward(self, module: Trained, function: Callable[[Trained], Result]) -> Result:
        """Returns `function(module)`. Each process then calls `backward` on it, exactly once."""

    @abstractmethod
    def backward(self, loss: Tensor) -> None:
        """Averages the loss' gradients over all processes and adds them to the parameters'."""

    @abstractmethod
    def gather(self, rows: Tensor) -> Tensor:
        """Concatenates the rows of all processes in rank order. All give tensors of one shape."""

    @abstractmethod
    def gather_objects(self, item: Any) -> list[Any]:
        """Lists the items of all processes in rank order. Items are small and can be pickled."""

    def is_main(self) -> bool:
        """True for the one process that logs and saves."""
        return self.rank == 0

    def own(self, rows: Tensor) -> Tensor:
        """This process' part of the rows of all processes: undoes `gather`."""
        count = len(rows) // self.world_size
        return rows[self.rank * count : (self.rank + 1) * count]

    def total(self, count: float) -> float:
        """The sum of all processes' counts."""
        return float(self.gather(torch.tensor([count], dtype=torch.float64)).sum())

    def share(self, count: float) -> float:
        """`count` divided by its mean over the processes; 1 for a single process.

        Args:
            count: number of terms in the mean that is this process' loss, say its real tokens.
        """
        if self.world_size == 1:
            return 1.0
        return self.world_size * count / max(self.total(count), 1.0)

    def average(self, values: Mapping[str, float], weight: float) -> dict[str, float]:
        """The weighted mean of each value over the processes. All processes give the same names.

        Args:
            weight: this process' weight, say its number of real tokens.
        """
        if self.world_size == 1:
            return dict(values)
        row = torch.tensor([[weight, *values.values()]], dtype=torch.float64)
        weights, table = self.gather(row).split([1, len(values)], dim=1)
        means = (weights * table).sum(dim=0) / weights.sum().clamp(min=1e-300)
        return dict(zip(values, means.tolist(), strict=True))

    def maximum(self, value: float) -> float:
        """The largest of all processes' values."""
        return float(self.gather(torch.tensor([value], dtype=torch.float64)).max())

    def from_main(self, item: Any) -> Any:
        """Returns the main process' item on every process; other processes' items are ignored."""
        return self.gather_objects(item if self.is_main() else None)[0]

    def barrier(self) -> None:
        """Returns once every process has called it."""
        self.gather_objects(None)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Runtime":
        """Returns the single-process runtime.

        Deep copies of a trained object (frozen references, timing runs) exist in this process only.
        """
        return ALONE


class SingleProcess(Runtime):
    """One process on one device: nothing to prepare, gather or wait for."""

    def prepare(self, module: nn.Module) -> None:
        return None

    def forward(self, module: Trained, function: Callable[[Trained], Result]) -> Result:
        return function(module)

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def gather(self, rows: Tensor) -> Tensor:
        return rows

    def gather_objects(self, item: Any) -> list[Any]:
        return [item]


ALONE = SingleProcess()


# Environment variables of launchers: torchrun and `accelerate launch` first, then MPI's.
SIZES = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
RANKS = ("RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK")


def launched_processes() -> int:
    """Number of processes that a launcher has started; 1 without a launcher.

    Raises:
        ConfigurationError: its environment variable holds no such number.
    """
    return _first_number(SIZES, 1)


def launched_rank() -> int:
    """Number of this process among the launched ones, from 0; raises as `launched_processes`."""
    return _first_number(RANKS, 0) if launched_processes() > 1 else 0


def how_to_train_alone() -> str:
    """The command that removes what a launcher or a cluster has left in the environment."""
    left = [name for name in (*SIZES, *RANKS, "LOCAL_RANK") if name in os.environ]
    return f"to train alone: unset {' '.join(left)}"


def _first_number(names: Sequence[str], least: int) -> int:
    for name in names:
        if value := os.environ.get(name):
            if not (value.isdecimal() and int(value) >= least):
                raise ConfigurationError(
                    f"{name}, which a launcher of several processes sets, is {value!r}, but"
                    f" must be a number of at least {least}; {how_to_train_alone()}"
                )
            return int(value)
    return least
