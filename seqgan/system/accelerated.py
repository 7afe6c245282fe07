"""Runs several processes with accelerate: each holds all parameters and gradients are averaged.

accelerate is imported only if a launcher has started more than one process.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from seqgan.system.errors import ConfigurationError, ProcessLostError
from seqgan.system.runtime import ALONE, Result, Runtime, Trained, launched_processes

# Parts of the messages of gloo, and of PyTorch around it, after another process has ended.
LOST = ("gloo", "Connection closed by peer", "Connection reset by peer", "Broken pipe")


def runtime_for(device: str) -> Runtime:
    """Returns `ALONE` for a single process, else the runtime that joins the launched processes.

    Args:
        device: PyTorch's name of the networks' device; with several GPUs each process gets one of
            its own.

    Raises:
        ConfigurationError: accelerate is not installed, or its configuration is not supported.
    """
    return ALONE if launched_processes() == 1 else Accelerated(device)


class Called(nn.Module):
    """Calls any function of a module inside `forward`, the only method that wrappers wrap."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, function: Callable[[nn.Module], Any]) -> Any:
        return function(self.module)


class Accelerated(Runtime):
    """One of several processes that a launcher has started.

    The run's settings decide the arithmetic, so accelerate's own mixed precision and gradient
    accumulation are off.

    Args:
        device: only its kind (`cpu`, `cuda`) counts; accelerate picks the device of that kind.

    Attributes:
        device: this process' device.
    """

    def __init__(self, device: str) -> None:
        try:
            import accelerate
        except ImportError as error:
            raise ConfigurationError(
                f"{launched_processes()} processes need the package accelerate: pip install"
                f" 'seqgan[distributed]' ({error})"
            ) from error
        kind = torch.device(device).type
        self._accelerator = accelerate.Accelerator(
            cpu=kind == "cpu",
            mixed_precision="no",
            gradient_accumulation_plugin=accelerate.utils.GradientAccumulationPlugin(num_steps=1),
        )
        self.device: torch.device = self._accelerator.device
        self.rank = int(self._accelerator.process_index)
        self.world_size = int(self._accelerator.num_processes)
        self._wrapped: dict[nn.Module, nn.Module] = {}
        kinds = accelerate.utils.DistributedType
        distributed = self._accelerator.distributed_type
        if distributed in (kinds.FSDP, kinds.DEEPSPEED, kinds.MEGATRON_LM):
            raise ConfigurationError(
                "each process holds all parameters (accelerate's multi-GPU or multi-CPU kind),"
                f" got {distributed.value}; docs/scale.md says why"
            )
        if self.device.type != kind:
            raise ConfigurationError(
                f"accelerate and the run use one kind of device, got {self.device.type} and"
                f" device {device}"
            )

    def prepare(self, module: nn.Module) -> None:
        with _losing():
            self._wrapped[module] = self._accelerator.prepare_model(Called(module))

    def forward(self, module: Trained, function: Callable[[Trained], Result]) -> Result:
        with _losing():
            result: Result = self._wrapped[module](function)
        return result

    def backward(self, loss: Tensor) -> None:
        with _losing():
            self._accelerator.backward(loss)

    def gather(self, rows: Tensor) -> Tensor:
        with _losing():
            gathered: Tensor = self._accelerator.gather(rows.to(self.device))
        return gathered.to(rows.device)

    def gather_objects(self, item: Any) -> list[Any]:
        from accelerate.utils import gather_object

        with _losing():
            gathered: list[Any] = gather_object([item])
        return gathered


@contextmanager
def _losing() -> Iterator[None]:
    """Turns the error of a broken connection, which may fill a page, into a ProcessLostError."""
    try:
        yield
    except RuntimeError as error:
        lost = isinstance(error, torch.distributed.DistError)
        if not lost and not any(phrase in str(error) for phrase in LOST):
            raise
        raise ProcessLostError("another process of this run ended") from error
