"""A number for each row of tokens: equal rows have equal ones, others unrelated ones."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def hash_rows(
    tokens: Int[Tensor, "batch time"], mask: Bool[Tensor, "batch time"], seed: int = 0
) -> Int[Tensor, " batch"]:
    """64 bits of the tokens where `mask` is True, in their order; their width does not matter."""
    # Scrambled first: neighbouring seeds would give each other's numbers for neighbouring tokens.
    value = _scramble(torch.full_like(mask.sum(dim=1), seed))
    for token, real in zip(tokens.unbind(dim=1), mask.unbind(dim=1), strict=True):
        value = torch.where(real, _scramble(value * 31 + token + 1), value)
    return _scramble(value)


def _scramble(value: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
    """The finaliser of SplitMix64 (Steele et al., 2014), on wrapping signed integers."""
    value = (value ^ (value >> 30)) * -0x40A7B892E31B1A47
    value = (value ^ (value >> 27)) * -0x6B2FB644ECCEEE15
    return value ^ (value >> 31)
