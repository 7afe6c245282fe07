"""Fakes the processes of a run by threads of one process, for tests without a network."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from seqgan.system.runtime import Result, Runtime, Trained

Outcome = TypeVar("Outcome")


class FakeProcess(Runtime):
    """A runtime that waits for the other threads in every call that returns their values.

    The test itself gives all processes the same weights.
    """

    def __init__(self, rank: int, slots: list[Any], meeting: threading.Barrier) -> None:
        self.rank, self.world_size = rank, len(slots)
        self.slots, self.meeting = slots, meeting
        self.prepared: list[nn.Module] = []
        self.forwarded: nn.Module | None = None  # what the next backward pass is about

    def prepare(self, module: nn.Module) -> None:
        self.prepared.append(module)

    def forward(self, module: Trained, function: Callable[[Trained], Result]) -> Result:
        assert any(module is known for known in self.prepared)
        assert self.forwarded is None, "two forward passes before one backward pass"
        self.forwarded = module
        return function(module)

    def backward(self, loss: Tensor) -> None:
        assert self.forwarded is not None
        loss.backward()
        for parameter in self.forwarded.parameters():
            if parameter.grad is not None:
                parameter.grad = torch.stack(self.gather_objects(parameter.grad)).mean(dim=0)
        self.forwarded = None

    def gather(self, rows: Tensor) -> Tensor:
        return torch.cat(self.gather_objects(rows))

    def gather_objects(self, item: Any) -> list[Any]:
        self.slots[self.rank] = item
        self.meeting.wait(20)
        gathered = list(self.slots)
        self.meeting.wait(20)  # before anybody writes again
        return gathered


def fake_processes(number: int = 2) -> list[FakeProcess]:
    slots: list[Any] = [None] * number
    meeting = threading.Barrier(number)
    return [FakeProcess(rank, slots, meeting) for rank in range(number)]


def all_at_once(functions: Sequence[Callable[[], Outcome]]) -> list[Outcome]:
    """Runs each function in a thread of its own and returns all results in order."""
    with ThreadPoolExecutor(len(functions)) as pool:
        asked = [pool.submit(function) for function in functions]
    return [answer.result() for answer in asked]
