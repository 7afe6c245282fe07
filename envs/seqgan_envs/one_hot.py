"""Tokens as zeros and ones, for agents whose first layer is a plain linear one."""

import numpy as np
from numpy.typing import NDArray


def one_hot(ids: NDArray[np.int64], size: int) -> NDArray[np.float32]:
    """Turns ids (K, T) into (K, T * size): `size` numbers for each place, a one at its id.

    A place whose id is `size` or larger, as padding is, holds zeros alone.
    """
    flat = np.zeros((len(ids), ids.shape[1] * size), dtype=np.float32)
    rows, places = np.nonzero(ids < size)
    flat[rows, places * size + ids[rows, places]] = 1.0
    return flat


def ids_of(flat: NDArray[np.float32], size: int, pad_id: int) -> NDArray[np.int64]:
    """Turns one row of `one_hot` (T * size,) back into its ids (T,), with -1 for other numbers."""
    places = flat.reshape(-1, size)
    ids = np.where(places.any(axis=1), places.argmax(axis=1), pad_id)
    right = (one_hot(ids[None], size).reshape(places.shape) == places).all(axis=1)
    return np.where(right, ids, -1)
