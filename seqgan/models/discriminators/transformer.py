"""A bidirectional transformer discriminator."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from seqgan.data.vocabulary import Vocabulary
from seqgan.models.attention import TransformerLayer, check_sizes
from seqgan.models.discriminators.pooled import PooledDiscriminator
from seqgan.system.checks import Share, Size


@dataclass(frozen=True)
class TransformerDiscriminatorConfig:
    kind: Literal["transformer"] = "transformer"  # bidirectional, with rotary positions
    width: Size = 64  # of the residual stream
    num_layers: Size = 2  # transformer layers
    num_heads: Size = 4  # attention heads
    dropout: Share = 0.2  # on embeddings, branches and the features, in training

    def __post_init__(self) -> None:
        check_sizes("discriminator", self)

    def build(self, vocabulary: Vocabulary, max_length: int) -> "TransformerDiscriminator":
        return TransformerDiscriminator(self, vocabulary, max_length)


class TransformerDiscriminator(PooledDiscriminator):
    """Embedding, attention among the real tokens, mean and maximum over time, logit."""

    def __init__(
        self, config: TransformerDiscriminatorConfig, vocabulary: Vocabulary, max_length: int
    ) -> None:
        super().__init__()
        self.max_length = max_length
        self.pad_id = vocabulary.pad_id
        self.embedding = nn.Embedding(vocabulary.size, config.width, padding_idx=vocabulary.pad_id)
        self.layers = nn.ModuleList(
            TransformerLayer(config.width, config.num_heads, config.dropout)
            for _ in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(2 * config.width, 1)

    def token_features(
        self, vectors: Float[Tensor, "batch time embedding"], mask: Bool[Tensor, "batch time"]
    ) -> Float[Tensor, "batch time feature"]:
        positions = torch.arange(mask.shape[1], device=mask.device).expand_as(mask)
        # Padding attends to the text too, because a softmax over nothing is NaN. No token attends
        # to padding.
        visible = mask[:, None].expand(-1, mask.shape[1], -1)
        values = self.dropout(vectors)
        for layer in self.layers:
            values, _ = layer(values, positions, visible)
        return self.norm(values) * mask[..., None]
