"""Weights that do not train are kept once, where two networks have the same ones."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

GLANCE = 8  # the first numbers of a weight, which are compared before all of them


@torch.no_grad()
def share_frozen_weights(network: nn.Module, owner: nn.Module) -> int:
    """Lets a network use the frozen weights of another in place of equal ones of its own.

    A discriminator with an adapter on the generator's own model needs no second copy of that model:
    generator, reference and discriminator then have one base in memory. Weights are equal in
    their shape, their type, their device and every number, whatever their names are.

    Args:
        network: its parameters that do not train may get other memory, with the same numbers.
        owner: keeps its parameters as they are.

    Returns:
        Bytes that are no longer needed.
    """
    known: dict[tuple[object, ...], list[Tensor]] = {}
    for weight in _frozen(owner):
        known.setdefault(_look(weight), []).append(weight)
    saved = 0
    for weight in _frozen(network):
        same = (other for other in known.get(_look(weight), []) if torch.equal(other, weight))
        found = next(same, weight)
        if found.data_ptr() != weight.data_ptr():
            weight.data = found.data
            saved += weight.nbytes
    return saved


def _frozen(module: nn.Module) -> Iterable[nn.Parameter]:
    return (weight for weight in module.parameters() if not weight.requires_grad)


def _look(weight: Tensor) -> tuple[object, ...]:
    """Shape, type, device and first numbers: equal ones may be equal weights."""
    first = weight.flatten()[:GLANCE].float().tolist()
    return weight.shape, weight.dtype, weight.device, tuple(first)
