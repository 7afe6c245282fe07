"""One optimiser step down a loss over all processes: the end of a rule's update."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from seqgan.functional.losses import to_floats
from seqgan.learning.updates import check_finite
from seqgan.system.runtime import Runtime, Trained


def take_step(
    module: Trained,
    optimizer: torch.optim.Optimizer,
    losses: Callable[[Trained], tuple[Tensor, Mapping[str, Tensor]]],
    max_grad_norm: float,
    runtime: Runtime,
    name: str,
) -> dict[str, float]:
    """Takes one step on a loss, with dropout as the module's mode has it.

    Args:
        losses: gives the loss, and its terms by the names of metrics. A loss that is a mean over
            this process' own things is multiplied by their `runtime.share`.
        max_grad_norm: the gradient's norm is clipped to this.
        name: of the loss, for errors.

    Returns:
        This process' terms, and `losses/grad_norm_generator`.

    Raises:
        DivergedError: the loss or its gradient is not finite; the parameters are unchanged.
    """
    loss, terms = runtime.forward(module, losses)
    check_finite(loss, name)
    optimizer.zero_grad(set_to_none=True)
    runtime.backward(loss)
    norm = nn.utils.clip_grad_norm_(module.parameters(), max_grad_norm)
    check_finite(norm, f"norm of the {name}'s gradient")
    optimizer.step()
    return to_floats({**terms, "losses/grad_norm_generator": norm})
