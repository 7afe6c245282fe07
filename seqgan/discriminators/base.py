"""The discriminator's contract: a binary classifier over whole sequences."""

from abc import ABC, abstractmethod

from jaxtyping import Float
from torch import Tensor, nn

from seqgan.sequences import Sequences


class Discriminator(nn.Module, ABC):
    """Gives log D/(1-D), where D is the probability that a sequence is real.

    `output` is the last linear layer, the one that the paper regularises.
    """

    output: nn.Linear

    @abstractmethod
    def features(self, sequences: Sequences) -> Float[Tensor, "batch feature"]:
        """What `output` reads: a vector per row, some of it dropped in training."""

    @abstractmethod
    def forward(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        """One logit per row. Padding never changes it, nor do the other rows."""
