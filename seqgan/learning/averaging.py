"""A moving average of the generator's weights over the updates of the game."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from seqgan.models.generators.base import Generator, frozen_copy


class WeightAverage:
    """The mean of the weights after each update so far, the older ones counting less.

    theta'_n = sum over k <= n of decay^(n - k) theta_k / sum over k <= n of decay^(n - k): an
    exponential moving average (Polyak & Juditsky, 1992; Yazici et al., 2019, for GANs) without the
    weights before the first update. It reaches back over some 1 / (1 - decay) updates.

    Args:
        decay: 0 keeps no average.
    """

    def __init__(self, decay: float = 0.0) -> None:
        self.decay = decay
        self.updates = 0
        self.generator: Generator | None = None  # with the averaged weights, once there are any

    @contextmanager
    def following(self, generator: Generator) -> Iterator[None]:
        """Takes the weights into the average after the body, if it has moved them.

        A rule may leave the generator as it is, as where a critic learns alone.
        """
        if self.decay == 0:
            yield
            return
        learning = [parameter for parameter in generator.parameters() if parameter.requires_grad]
        before = [parameter.detach().clone() for parameter in learning]
        yield
        if not all(map(torch.equal, before, learning)):
            self.follow(generator)

    def follow(self, generator: Generator) -> None:
        """Takes the weights after one more update into the average."""
        if self.decay == 0:
            return
        self.updates += 1
        if self.generator is None:
            self.generator = frozen_copy(generator)
        share = (1 - self.decay) / (1 - self.decay**self.updates)
        with torch.no_grad():
            pairs = zip(self.generator.parameters(), generator.parameters(), strict=True)
            for slow, fast in pairs:
                if fast.requires_grad:
                    slow.lerp_(fast, share)

    def forget(self) -> None:
        """Begins anew, where something other than the game trains the generator.

        Until the next update of a game the generator itself is evaluated.
        """
        self.updates, self.generator = 0, None

    def load(self, generator: Generator, weights: Mapping[str, Any], updates: int) -> None:
        """Goes on from the averaged weights of a generator like this one."""
        if self.decay > 0:
            self.updates, self.generator = updates, frozen_copy(generator)
            self.generator.load_state_dict(weights)
