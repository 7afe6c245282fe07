"""From the states of a text's tokens to its logit. Needs torch alone: exported folders hold it."""

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
    """A float32 vector for each text: the mean over its tokens, or its first or last one.

    Args:
        states: (batch, time, width).
        mask: (batch, time), 1 on real tokens, which are the first of each row.
        pooling: mean, first or last.
    """
    states = states.float()
    if pooling == "first":
        return states[:, 0]
    lengths = mask.sum(dim=1)
    if pooling == "last":
        return states[torch.arange(len(states), device=states.device), lengths - 1]
    return (states * mask[:, :, None]).sum(dim=1) / lengths[:, None]


def read_states(body: nn.Module, layers: Sequence[int], inputs: Mapping[str, Tensor]) -> Tensor:
    """The states (batch, time, width) of the body's last layer, or of several side by side.

    Args:
        layers: which ones, 0 being the embeddings; empty for the last alone.
    """
    if not layers:
        last: Tensor = body(**inputs).last_hidden_state
        return last
    states = body(**inputs, output_hidden_states=True).hidden_states
    return torch.cat([states[layer] for layer in layers], dim=-1)
