"""What differs between one process and many, in five methods. Here: one process."""

from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

Trained = TypeVar("Trained", bound=nn.Module)


@runtime_checkable
class Runtime(Protocol):
    """Everything the training loop asks about processes."""

    def prepare(self, module: Trained, optimizer: torch.optim.Optimizer) -> Trained:
        """The module as it is to be called in training."""
        ...

    def backward(self, loss: Tensor) -> None: ...

    def gather(self, values: Tensor) -> Tensor:
        """The rows of all processes, in rank order."""
        ...

    def is_main(self) -> bool:
        """Whether this process logs and saves."""
        ...

    def barrier(self) -> None:
        """Returns once every process has called it."""
        ...


class SingleProcess:
    """One process on one device: nothing to prepare, gather or wait for."""

    def prepare(self, module: Trained, optimizer: torch.optim.Optimizer) -> Trained:
        return module

    def backward(self, loss: Tensor) -> None:
        loss.backward()

    def gather(self, values: Tensor) -> Tensor:
        return values

    def is_main(self) -> bool:
        return True

    def barrier(self) -> None:
        return None
