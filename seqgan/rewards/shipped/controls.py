"""The two rewards that every experiment needs as controls."""

import torch
from jaxtyping import Float
from torch import Tensor

from seqgan.data.sequences import Sequences
from seqgan.rewards.base import Reward
from seqgan.rewards.shipped.hashing import hash_rows
from seqgan.system.checks import Seed, Signed, checked


class ConstantReward(Reward):
    """Gives every sequence the same reward: a control.

    The expected policy gradient is exactly zero, so any change in a run with this reward is the
    optimiser's own drift.
    """

    name = "constant"

    def __init__(self, value: float = 1.0) -> None:
        self.value = checked("constant's value", value, Signed)

    def score(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        return torch.full((len(sequences),), self.value, device=sequences.tokens.device)


class RandomReward(Reward):
    """Gives each sequence a number in [0, 1), a hash of its tokens: a control without meaning.

    Equal sequences always get the same number, so that a row's reward does not depend on its batch
    and runs can resume. Different sequences get unrelated numbers.
    """

    name = "random"

    def __init__(self, seed: int = 0) -> None:
        self.seed = checked("random's seed", seed, Seed)

    def score(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        value = hash_rows(sequences.tokens, sequences.mask, self.seed)
        return (value >> 11 & 0xFFFFFF).float() / 2**24
