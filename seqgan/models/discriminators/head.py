"""Turns the states of a text's tokens into its logit.

Exported folders hold a copy of this file, so it imports torch alone.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu


class Head(nn.Module):
    """Normalisation, dropout, a hidden layer with dropout behind it (size 0: none), and the logit.

    Vectors are (batch, width), features (batch, head_size or width), logits (batch, 1).
    """

    def __init__(self, width: int, head_size: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.hidden = nn.Linear(width, head_size) if head_size else None
        self.output = nn.Linear(head_size or width, 1)
        self.dropout = nn.Dropout(dropout)

    def features(self, vectors: Tensor) -> Tensor:
        values: Tensor = self.dropout(self.norm(vectors))
        return values if self.hidden is None else self.dropout(gelu(self.hidden(values)))

    def forward(self, vectors: Tensor) -> Tensor:
        logits: Tensor = self.output(self.features(vectors))
        return logits


def pooled(states: Tensor, mask: Tensor, pooling: str) -> Tensor:
    """Reduces the states of each text to one float32 vector (batch, width).

    Args:
        states: (batch, time, width).
        mask: (batch, time), 1 on real tokens, which come first in each row.
        pooling: mean (over the tokens), first or last (token).
    """
    states = states.float()
    if pooling == "first":
        return states[:, 0]
    lengths = mask.sum(dim=1)
    if pooling == "last":
        return states[torch.arange(len(states), device=states.device), lengths - 1]
    return (states * mask[:, :, None]).sum(dim=1) / lengths[:, None]


def read_states(body: nn.Module, layers: Sequence[int], inputs: Mapping[str, Tensor]) -> Tensor:
    """Returns the states of the body's last layer, or concatenates those of several layers.

    Args:
        layers: numbers of layers, 0 for the embeddings; empty means the last layer alone.

    Returns:
        (batch, time, width), or (batch, time, layers x width).
    """
    if not layers:
        last: Tensor = body(**inputs).last_hidden_state
        return last
    states = body(**inputs, output_hidden_states=True).hidden_states
    return torch.cat([states[layer] for layer in layers], dim=-1)
