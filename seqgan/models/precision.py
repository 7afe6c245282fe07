"""The arithmetic of a network: the type in which it multiplies matrices."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch

Precision = Literal["float32", "bfloat16"]


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager[object]:
    """Makes a context in which networks multiply matrices in a precision (torch.autocast).

    Parameters and their gradients keep their type. In float32 the context does nothing.
    """
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
