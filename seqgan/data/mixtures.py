"""Texts of mixed tokens, through which a gradient passes."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from seqgan.data.sequences import Sequences


@dataclass(frozen=True, eq=False)
class Mixtures:
    """Texts each of whose tokens is a mixture of tokens: a network reads the mean embedding.

    Args:
        texts: the chosen tokens of the mixtures. They say where a text ends, and have the prompts.
        weights: of each token that can be emitted, at each step; they add up to 1. Nobody reads
            those after a text's end.
    """

    texts: Sequences
    weights: Float[Tensor, "batch time vocab"]
