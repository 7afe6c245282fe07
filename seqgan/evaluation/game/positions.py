"""What tokens are worth by where they stand: histograms over groups of positions."""

import numpy as np
from jaxtyping import Bool, Float
from torch import Tensor

from seqgan.tracking.base import Histogram

NUM_GROUPS = 10  # at most, whatever the length of the texts
NUM_BINS = 32


def position_groups(max_length: int) -> dict[str, slice]:
    """Neighbouring positions in at most `NUM_GROUPS` groups of equal size, the last maybe smaller.

    Returns:
        The columns of each group by its name: its first and last position, counted from 1 and of
        one width, so that names sort as positions do. `01-02` is the first of 20 positions.
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
    """Histograms of the values at each group of positions, over tokens for which one is known.

    Args:
        area: what the names begin with: `area/01-02`.

    Returns:
        By name; none for a group without any known value.
    """
    histograms = {}
    for positions, columns in position_groups(values.shape[1]).items():
        chosen = values[:, columns][known[:, columns]]
        if len(chosen):
            counts, edges = np.histogram(chosen.double().cpu().numpy(), NUM_BINS)
            histograms[f"{area}/{positions}"] = Histogram(
                tuple(counts.tolist()), tuple(edges.tolist())
            )
    return histograms
