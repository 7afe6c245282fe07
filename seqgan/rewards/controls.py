"""The two rewards that every experiment needs as controls."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seqgan.rewards.base import Reward
from seqgan.sequences import Sequences


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
        # Scrambled first: neighbouring seeds would give each other's numbers for neighbouring
        # tokens.
        value = _scramble(torch.full_like(sequences.lengths, self.seed))
        for tokens, mask in zip(
            sequences.tokens.unbind(dim=1), sequences.mask.unbind(dim=1), strict=True
        ):
            value = torch.where(mask, _scramble(value * 31 + tokens + 1), value)
        return (_scramble(value) >> 11 & 0xFFFFFF).float() / 2**24


def _scramble(value: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
    """The finaliser of SplitMix64 (Steele et al., 2014), on wrapping signed integers."""
    value = (value ^ (value >> 30)) * -0x40A7B892E31B1A47
    value = (value ^ (value >> 27)) * -0x6B2FB644ECCEEE15
    return value ^ (value >> 31)
