"""The two rewards that every experiment needs as controls."""

import torch
from jaxtyping import Float
from torch import Tensor

from seqgan.data.sequences import Sequences
from seqgan.rewards.base import Reward
from seqgan.rewards.shipped.hashing import hash_rows


class ConstantReward(Reward):
    """The same reward for everything: a control.

    The expected policy gradient is exactly zero, so whatever a run with this reward shows is the
    optimiser's own drift.
    """

    name = "constant"

    def __init__(self, value: float = 1.0) -> None:
        self.value = value

    def score(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        return torch.full((len(sequences),), self.value, device=sequences.tokens.device)


class RandomReward(Reward):
    """A number in [0, 1) hashed from the tokens: a control that carries no meaning.

    The same sequence always gets the same number (rows stay independent of their batch, runs can
    be resumed), and two different sequences get unrelated ones.
    """

    name = "random"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def score(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        value = hash_rows(sequences.tokens, sequences.mask, self.seed)
        return (value >> 11 & 0xFFFFFF).float() / 2**24
