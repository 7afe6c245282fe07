"""Devices by PyTorch's names for them: can this machine use one, and what stands in for another's.

Checkpoints are free of devices, so a run that was made with CUDA is sampled, measured and continued
on any machine.
"""

import logging

import torch

from seqgan.system.errors import ConfigurationError
from seqgan.system.runtime import launched_rank

logger = logging.getLogger(__name__)


def check_device(name: str) -> None:
    """Checks that this machine can compute on a device.

    Raises:
        ConfigurationError: it cannot, or there is no such device.
    """
    if reason := _fault(name):
        raise ConfigurationError(f"cannot compute on device {name!r} here: {reason}")


def device_here(recorded: str, asked: str | None, run: object) -> str:
    """The device on which a run of perhaps another machine goes on here.

    It is the one that was asked for; else the run's own; else, where this machine lacks that one,
    the first of its kind or the processor. A warning of one line says so where it is not the run's.

    Args:
        recorded: the device of the run's settings.
        asked: None where nothing was asked for.
        run: names the run in the warning.

    Raises:
        ConfigurationError: this machine cannot use the device that was asked for.
    """
    device, reason = recorded, "as was asked for"
    if asked is not None:
        check_device(asked)
        device = asked
    elif reason := _fault(recorded):
        kind = recorded.partition(":")[0]
        device = "cpu" if _fault(kind) else kind
    if device != recorded and launched_rank() == 0:
        logger.warning("%s was made on %s; here it uses %s (%s)", run, recorded, device, reason)
    return device


def _fault(name: str) -> str:
    """The reason why this machine cannot use a device; "" where it can."""
    try:
        device = torch.device(name)
    except RuntimeError:  # its message lists some twenty kinds, most of which nobody has
        return "PyTorch knows no such device (cpu, cuda, cuda:1, mps)"
    if device.type == "meta":
        return "it holds shapes and no numbers"
    try:
        torch.zeros(1, device=device).sum().item()
    except (NotImplementedError, ImportError):
        return "this build of PyTorch has none"
    except (RuntimeError, AssertionError) as error:
        return str(error).splitlines()[0].partition(". ")[0]
    return ""
