"""The keys and values of many texts, which grow in place.

Beside a small model's arithmetic, appending a column to a cache by copying it is dear, and so is
dropping the rows that have ended and then copying what is left once more.
"""

from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from seqgan.data.model_folders import package

Layer = tuple[Tensor, Tensor]  # keys and values: (row, head, column, size)


class KeyValues:
    """Keys and values of each layer, with room for more columns.

    States that follow each other share one of these, so that a state's successor costs a column. A
    column is written once: of two successors of one state, the second gets a copy.

    Args:
        layers: with columns to spare, or without.
        written: how many of the columns are in use.
    """

    def __init__(self, layers: tuple[Layer, ...], written: int) -> None:
        self.layers = layers
        self.written = written

    @property
    def room(self) -> int:
        """Columns that are not in use."""
        return self.layers[0][0].shape[2] - self.written

    def select(
        self, rows: Int[Tensor, " rows"], first: int, end: int
    ) -> tuple["KeyValues", int, int]:
        """A copy of columns `first` to `end - 1` of the given rows, and where they are in it."""
        capacity = self.written + self.room
        if end < capacity and 4 * (end - first) >= 3 * capacity:
            # The fastest way to copy is to copy all.
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
        """What a column can be added to at `end`: this, or a copy where others went on already."""
        if self.written == end and self.room:
            return self, first, end
        keys = self.layers[0][0]
        return self.select(torch.arange(len(keys), device=keys.device), first, end)

    def as_cache(self, first: int, end: int) -> Any:
        """A cache of transformers with columns `first` to `end - 1`, which writes column `end`."""
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
    """The `update` of a cache's layer, in place of one that copies."""

    def update(new_keys: Tensor, new_values: Tensor, *_: Any, **__: Any) -> Layer:
        keys[:, :, end] = new_keys[:, :, 0]
        values[:, :, end] = new_values[:, :, 0]
        layer.keys, layer.values = keys[:, :, first : end + 1], values[:, :, first : end + 1]
        return layer.keys, layer.values

    return update
