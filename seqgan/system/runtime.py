"""What differs between one process and many. Here: one process.

Several processes train the same networks, each on its own part of every batch. A loss is a mean
over real tokens, and processes have different numbers of those: `share` is what a process' mean is
multiplied by, so that gradients averaged over the processes are those of the whole batch.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

Trained = TypeVar("Trained", bound=nn.Module)
Result = TypeVar("Result")


class Runtime(ABC):
    """Everything the training loop asks about processes.

    Every process makes the same calls in the same order; `forward`, `backward` and all that gives
    something of other processes wait for these.

    Raises:
        ProcessLostError: in each method that waits, where another process has ended.
    """

    rank: int = 0  # of this process, from 0
    world_size: int = 1  # number of processes

    @abstractmethod
    def prepare(self, module: nn.Module) -> None:
        """Says that `module` will be trained here: its parameters become the main process'.

        The module stays what it is; whoever samples from it or measures it uses it as before.
        """

    @abstractmethod
    def forward(self, module: Trained, function: Callable[[Trained], Result]) -> Result:
        """`function(module)`, of which `backward` follows: exactly once, and on every process."""

    @abstractmethod
    def backward(self, loss: Tensor) -> None:
        """Adds the mean over all processes of the loss' gradients to the parameters'."""

    @abstractmethod
    def gather(self, rows: Tensor) -> Tensor:
        """The rows of all processes, in rank order. Each process has as many, of one shape."""

    @abstractmethod
    def gather_objects(self, item: Any) -> list[Any]:
        """What each process gives, in rank order; small things that can be pickled."""

    def is_main(self) -> bool:
        """Whether this process logs and saves."""
        return self.rank == 0

    def own(self, rows: Tensor) -> Tensor:
        """This process' part of what `gather` gave, or of as many rows."""
        count = len(rows) // self.world_size
        return rows[self.rank * count : (self.rank + 1) * count]

    def total(self, count: float) -> float:
        """The sum of all processes' counts."""
        return float(self.gather(torch.tensor([count], dtype=torch.float64)).sum())

    def share(self, count: float) -> float:
        """`count` over its mean over the processes; 1 for a single one.

        Args:
            count: of what this process' loss is a mean over, say real tokens.
        """
        if self.world_size == 1:
            return 1.0
        return self.world_size * count / max(self.total(count), 1.0)

    def average(self, values: Mapping[str, float], weight: float) -> dict[str, float]:
        """The mean over the processes of each value, which all of them have.

        Args:
            weight: of this process, say its real tokens.
        """
        if self.world_size == 1:
            return dict(values)
        row = torch.tensor([[weight, *values.values()]], dtype=torch.float64)
        weights, table = self.gather(row).split([1, len(values)], dim=1)
        means = (weights * table).sum(dim=0) / weights.sum().clamp(min=1e-300)
        return dict(zip(values, means.tolist(), strict=True))

    def most(self, value: float) -> float:
        """The largest of all processes' values."""
        return float(self.gather(torch.tensor([value], dtype=torch.float64)).max())

    def from_main(self, item: Any) -> Any:
        """What the main process gives; on the others `item` counts for nothing."""
        return self.gather_objects(item if self.is_main() else None)[0]

    def barrier(self) -> None:
        """Returns once every process has called it."""
        self.gather_objects(None)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Runtime":
        """A copy of what trains in several processes is known to this one only."""
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


# What launchers tell: torchrun and `accelerate launch`, then those of MPI.
SIZES = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MV2_COMM_WORLD_SIZE")
RANKS = ("RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "MV2_COMM_WORLD_RANK")


def launched_processes() -> int:
    """How many processes a launcher has started; 1 without one."""
    return int(next((os.environ[name] for name in SIZES if os.environ.get(name)), 1))


def launched_rank() -> int:
    """Which of them this one is, from 0."""
    return int(next((os.environ[name] for name in RANKS if os.environ.get(name)), 0))
