"""Stores the keys and values of many texts in tensors that grow in place.

The usual cache copies itself to append a column, and copies itself again to drop ended rows. For a
small model these copies cost more than the arithmetic.
"""

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from seqgan.data.model_folders import package

Layer = tuple[Tensor, Tensor]  # keys and values: (row, head, column, size)


class KeyValues:
    """Keys and values of each layer, with room for more columns.

    A state and its successor share one object, so that a step writes one column and copies nothing.
    Each column is written once: if a state gets a second successor, that one gets a copy.

    Args:
        layers: keys and values of each layer, possibly with unused columns at the end.
        written: number of columns in use.
    """

    def __init__(self, layers: tuple[Layer, ...], written: int) -> None:
        self.layers = layers
        self.written = written

    @property
    def room(self) -> int:
        """Number of columns that are not in use."""
        return self.layers[0][0].shape[2] - self.written

    def select(
        self, rows: Int[Tensor, " rows"], first: int, end: int
    ) -> tuple["KeyValues", int, int]:
        """Copies columns `first` to `end - 1` of these rows.

        Returns:
            The copy, and the first column and the end of the copied columns in it.
        """
        capacity = self.written + self.room
        if end < capacity and 4 * (end - first) >= 3 * capacity:
            # Copying whole rows is faster than cutting columns out, if nearly all are wanted.
            layers = tuple(
                (keys.index_select(0, rows), values.index_select(0, rows))
                for keys, values in self.layers
            )
            return KeyValues(layers, end), first, end
        width = end - first
        spare = max(8, width // 4)

        def copied(source: Tensor) -> Tensor:
            _, heads, _, size = source.shape
            target = source.new_empty(len(rows), heads, width + spare, size)
            target[:, :, :width] = source[:, :, first:end].index_select(0, rows)
            return target

        layers = tuple((copied(keys), copied(values)) for keys, values in self.layers)
        return KeyValues(layers, width), 0, width

    def followed(self, first: int, end: int) -> tuple["KeyValues", int, int]:
        """Returns keys and values with room at column `end`: this object if that column is still
        free, else a copy. The numbers are those of `select`.
        """
        if self.written == end and self.room:
            return self, first, end
        keys = self.layers[0][0]
        return self.select(torch.arange(len(keys), device=keys.device), first, end)

    def as_cache(self, first: int, end: int) -> Any:
        """Makes a transformers cache of columns `first` to `end - 1`. Its update writes column
        `end` of this object.
        """
        module = package("transformers.cache_utils")
        cache = module.DynamicCache()
        for keys, values in self.layers:
            layer = module.DynamicLayer()
            layer.keys, layer.values = keys[:, :, first:end], values[:, :, first:end]
            layer.dtype, layer.device, layer.is_initialized = keys.dtype, keys.device, True
            layer.update = _writer(layer, keys, values, first, end)
            cache.layers.append(layer)
        self.written = end + 1
        return cache


def _writer(layer: Any, keys: Tensor, values: Tensor, first: int, end: int) -> Any:
    """Makes an `update` method for a cache layer that writes in place instead of copying."""

    def update(new_keys: Tensor, new_values: Tensor, *_: Any, **__: Any) -> Layer:
        keys[:, :, end] = new_keys[:, :, 0]
        values[:, :, end] = new_values[:, :, 0]
        layer.keys, layer.values = keys[:, :, first : end + 1], values[:, :, first : end + 1]
        return layer.keys, layer.values

    return update
