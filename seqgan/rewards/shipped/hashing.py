"""Hashes rows of tokens: equal rows get equal numbers, different rows unrelated ones."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def hash_rows(
    tokens: Int[Tensor, "batch time"], mask: Bool[Tensor, "batch time"], seed: int = 0
) -> Int[Tensor, " batch"]:
    """Hashes the tokens of each row where `mask` is True to 64 bits; padding does not matter."""
    # The seed is scrambled first. Otherwise seed s and token t would give the hash of seed s + 1
    # and a neighbouring token.
    value = _scramble(torch.full_like(mask.sum(dim=1), seed))
    for token, real in zip(tokens.unbind(dim=1), mask.unbind(dim=1), strict=True):
        value = torch.where(real, _scramble(value * 31 + token + 1), value)
    return _scramble(value)


def _scramble(value: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
    """The finaliser of SplitMix64 (Steele et al., 2014), on wrapping signed integers."""
    value = (value ^ (value >> 30)) * -0x40A7B892E31B1A47
    value = (value ^ (value >> 27)) * -0x6B2FB644ECCEEE15
    return value ^ (value >> 31)
