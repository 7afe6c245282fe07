"""Runs several processes with accelerate: each holds all parameters and gradients are averaged.

accelerate is imported only if a launcher has started more than one process.
"""

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Timer
from typing import Any

import torch
from torch import Tensor, nn

from seqgan.system.errors import ConfigurationError, ProcessLostError
from seqgan.system.runtime import (
    ALONE,
    Result,
    Runtime,
    Trained,
    how_to_train_alone,
    launched_processes,
)

logger = logging.getLogger(__name__)

SECONDS_TO_MEET = 10.0  # after which a line says for whom this process waits
MEETING = ("MASTER_ADDR", "MASTER_PORT", "RANK")  # variables by which processes find each other
NUMBERS = {"MASTER_PORT": 65535, "RANK": 10**6, "LOCAL_RANK": 10**6}  # and the largest of each

# Parts of the messages of gloo, and of PyTorch around it, after another process has ended.
LOST = ("gloo", "Connection closed by peer", "Connection reset by peer", "Broken pipe")

# Environment variables by which `accelerate launch` asks for parameters in shards. On CPUs its
# library reads none of them.
SHARDED = {
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_DEEPSPEED": "DEEPSPEED",
    "ACCELERATE_USE_MEGATRON_LM": "MEGATRON_LM",
}
SHARDS = "PARALLELISM_CONFIG_"  # begins the variables with numbers of shards
REPLICAS = "PARALLELISM_CONFIG_DP_REPLICATE_SIZE"  # of whole copies, which are no shards


def runtime_for(device: str) -> Runtime:
    """Returns `ALONE` for a single process, else the runtime that joins the launched processes.

    Args:
        device: PyTorch's name of the networks' device; with several GPUs each process gets one of
            its own.

    Raises:
        ConfigurationError: accelerate is not installed, or its configuration is not supported.
    """
    _check_no_shards()
    return ALONE if launched_processes() == 1 else Accelerated(device)


def _check_no_shards() -> None:
    """Raises ConfigurationError if the launcher's configuration asks for parameters in shards."""
    for variable, kind in SHARDED.items():
        if os.environ.get(variable, "").lower() in ("1", "true", "yes", "y", "on", "t"):
            raise _refusal(f"{kind} (the launcher set {variable})")
    for variable, value in os.environ.items():
        number = variable.startswith(SHARDS) and variable.endswith("_SIZE") and variable != REPLICAS
        if number and value.isdecimal() and int(value) > 1:
            raise _refusal(f"shards (the launcher set {variable}={value})")


def _refusal(asked: str) -> ConfigurationError:
    return ConfigurationError(
        f"the launcher asks for {asked}, but each process must hold all parameters"
        " (accelerate's multi-GPU or multi-CPU kind); docs/scale.md says why"
    )


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
                f"the package accelerate is missing, which a run in {launched_processes()}"
                f" processes needs: pip install 'seqgan[distributed]' ({error})"
            ) from error
        kind = torch.device(device).type
        with _meeting():
            self._accelerator = accelerate.Accelerator(
                cpu=kind == "cpu",
                mixed_precision="no",
                gradient_accumulation_plugin=accelerate.utils.GradientAccumulationPlugin(
                    num_steps=1
                ),
            )
        self.device: torch.device = self._accelerator.device
        self.rank = int(self._accelerator.process_index)
        self.world_size = int(self._accelerator.num_processes)
        self._wrapped: dict[nn.Module, nn.Module] = {}
        kinds = accelerate.utils.DistributedType
        distributed = self._accelerator.distributed_type
        if distributed in (kinds.FSDP, kinds.DEEPSPEED, kinds.MEGATRON_LM):
            raise _refusal(distributed.value)
        if self.device.type != kind:
            raise ConfigurationError(
                f"accelerate computes on {self.device.type} and the run on {device}, but"
                " both must use one kind of device"
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
def _meeting() -> Iterator[None]:
    """Says how to train alone where the other processes may be those of a launcher long gone.

    Raises:
        ConfigurationError: the environment does not say where to meet them, or nonsense.
    """
    for name, most in NUMBERS.items():
        value = os.environ.get(name, "0")
        if not (value.isdecimal() and int(value) <= most):
            raise ConfigurationError(
                f"{name} is {value!r}, but a launcher sets a number up to {most};"
                f" {how_to_train_alone()}"
            )
    processes = f"the {launched_processes()} processes of this run"
    late = Timer(
        SECONDS_TO_MEET,
        lambda: logger.warning("waiting for %s (%s)", processes, how_to_train_alone()),
    )
    late.daemon = True
    late.start()
    try:
        yield
    except ValueError as error:
        if not any(name in str(error) for name in MEETING):
            raise
        raise ConfigurationError(
            f"the environment does not say where {processes} meet, as a launcher does;"
            f" {how_to_train_alone()}"
        ) from error
    finally:
        late.cancel()


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
