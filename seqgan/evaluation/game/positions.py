"""Histograms of token values by position, over groups of neighbouring positions."""

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from seqgan.tracking.base import Histogram

NUM_GROUPS = 10  # largest number of groups, for texts of any length
NUM_BINS = 32


def position_groups(max_length: int) -> dict[str, slice]:
    """Divides positions into at most `NUM_GROUPS` groups of equal size; the last may be smaller.

    Returns:
        The columns of each group by the group's name: its first and last position, counted from 1
        and zero-padded, so that names sort like positions. The first group of 20 positions is
        `01-02`.
    """
    size = -(-max_length // NUM_GROUPS)
    width = max(len(str(max_length)), 2)
    groups = {}
    for start in range(0, max_length, size):
        stop = min(start + size, max_length)
        groups[f"{start + 1:0{width}d}-{stop:0{width}d}"] = slice(start, stop)
    return groups


def histograms_by_position(
    area: str, values: Float[Tensor, "batch time"], known: Bool[Tensor, "batch time"]
) -> dict[str, Histogram]:
    """Computes a histogram of the known values in each group of positions.

    Args:
        area: first part of the names: `area/01-02`.
        known: True where a token has a value.

    Returns:
        Histograms by name; a group without any value has none.
    """
    histograms = {}
    for positions, columns in position_groups(values.shape[1]).items():
        group = values[:, columns][known[:, columns]]
        if len(group):
            counts, edges = np.histogram(group.double().cpu().numpy(), NUM_BINS)
            histograms[f"{area}/{positions}"] = Histogram(
                tuple(counts.tolist()), tuple(edges.tolist())
            )
    return histograms
