"""A pre-norm transformer layer that can continue from stored keys and values.

Positions are rotations of queries and keys (Su et al., 2021), so the length of texts is unlimited.
The place of a column in a cache means nothing: masks say which columns are real, and `positions`
gives the position of each.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

from seqgan.system.checks import check_settings
from seqgan.system.errors import ConfigurationError

ROTATION_BASE = 10000.0


class TransformerLayer(nn.Module):
    """Attention, then a feed-forward network four times as wide, each around a residual.

    Args:
        width: numbers per token in the residual stream; a multiple of twice `num_heads`.
    """

    def __init__(self, width: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.attention_output = nn.Linear(width, width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self,
        values: Float[Tensor, "batch new width"],
        positions: Int[Tensor, "batch new"],
        visible: Bool[Tensor, "batch new column"] | None,
        cache: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Float[Tensor, "batch new width"], tuple[Tensor, Tensor]]:
        """Returns the residual stream after this layer, and the keys and values of all columns.

        Args:
            positions: positions of the new columns.
            visible: True where a new column attends to a stored or new one; None means causal
                attention among new columns.
            cache: keys and values (batch, head, column, width of a head) of the stored columns.
        """
        parts = self.queries_keys_values(self.attention_norm(values)).chunk(3, dim=-1)
        queries, keys, contents = (
            part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in parts
        )
        queries, keys = rotated(queries, positions), rotated(keys, positions)
        if cache is not None:
            keys = torch.cat([cache[0], keys], dim=2)
            contents = torch.cat([cache[1], contents], dim=2)
        attended = scaled_dot_product_attention(
            queries,
            keys,
            contents,
            attn_mask=None if visible is None else visible[:, None],
            is_causal=visible is None,
        )
        attended = self.attention_output(attended.transpose(1, 2).flatten(2))
        values = values + self.dropout(attended)
        hidden = self.contract(gelu(self.expand(self.feed_forward_norm(values))))
        return values + self.dropout(hidden), (keys, contents)


def rotated(
    vectors: Float[Tensor, "batch head column size"], positions: Int[Tensor, "batch column"]
) -> Float[Tensor, "batch head column size"]:
    """Rotates each pair of coordinates (i, i + size/2) by the angle position * base^(-2i/size).

    The dot product of a rotated query and a rotated key then depends only on the difference of
    their positions.
    """
    half = vectors.shape[-1] // 2
    exact = torch.promote_types(vectors.dtype, torch.float32)
    exponents = torch.arange(half, device=vectors.device, dtype=exact) / half
    angles = positions[:, None, :, None] * ROTATION_BASE**-exponents
    cosine, sine = angles.cos().to(vectors.dtype), angles.sin().to(vectors.dtype)
    first, second = vectors[..., :half], vectors[..., half:]
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)


def check_sizes(where: str, settings: Any) -> None:
    """Checks a transformer's settings.

    Args:
        where: the group of settings (generator, discriminator), for the message.
        settings: with `width` and `num_heads`.

    Raises:
        ConfigurationError: a number outside its range, or a width that the heads do not divide into
            even parts.
    """
    check_settings(where, settings)
    if settings.width % (2 * settings.num_heads):
        raise ConfigurationError(
            f"{where}.width is {settings.width}, but must be a multiple of twice num_heads"
            f" ({2 * settings.num_heads})"
        )
