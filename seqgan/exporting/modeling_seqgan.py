"""A generator of seqgan as a causal language model of transformers.

This file lies beside the weights and needs only torch and transformers:

    AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True)

The inputs are a prompt's tokens (if there is a prompt), bos, and the text so far. The logits at a
column predict the token after it. Rows may be padded on either side. The model has no cache, so
`generate` reads the whole text again for each token, which is affordable for short texts.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gelu, scaled_dot_product_attention
from transformers import GenerationMixin, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

ROTATION_BASE = 10000.0
NEVER = -1e4  # logit of tokens that occur in inputs only; finite in every precision


class SeqGANConfig(PreTrainedConfig):
    """Sizes of the network; `kind` is lstm, gru or transformer."""

    model_type = "seqgan"

    def __init__(
        self,
        kind: str = "lstm",
        vocab_size: int = 2,
        embedding_size: int = 64,
        hidden_size: int = 128,
        num_hidden_layers: int = 1,
        num_attention_heads: int = 1,
        **common: Any,
    ) -> None:
        self.kind = kind
        self.vocab_size = vocab_size
        self.embedding_size = embedding_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        super().__init__(**{"use_cache": False, **common})


class SeqGANForCausalLM(PreTrainedModel, GenerationMixin):
    """An embedding, recurrent or transformer layers, and a projection to logits."""

    config_class = SeqGANConfig

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.embedding = nn.Embedding(config.vocab_size, config.embedding_size)
        self.norm: nn.Module = nn.Identity()
        if config.kind == "transformer":
            layers = [
                Layer(config.hidden_size, config.num_attention_heads)
                for _ in range(config.num_hidden_layers)
            ]
            self.norm = nn.LayerNorm(config.hidden_size)
        else:
            recurrent: Any = {"lstm": nn.LSTM, "gru": nn.GRU}[config.kind]
            sizes = [config.embedding_size]
            sizes += [config.hidden_size] * (config.num_hidden_layers - 1)
            layers = [recurrent(size, config.hidden_size, batch_first=True) for size in sizes]
        self.layers = nn.ModuleList(layers)
        self.output = nn.Linear(config.hidden_size, config.vocab_size)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Keeps PyTorch's own initialisation; a file's weights replace it."""

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embedding

    def get_output_embeddings(self) -> nn.Linear:
        return self.output

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        **unused: Any,
    ) -> CausalLMOutput:
        """Returns logits (batch, column, vocab), and with `labels` the mean loss.

        Labels of -100 are ignored.
        """
        order = None
        if attention_mask is not None and not bool(attention_mask.all()):
            # Real columns move to the front, because the layers are causal: no real column then
            # depends on padding.
            order = (attention_mask == 0).long().argsort(dim=1, stable=True)
            input_ids = input_ids.gather(1, order)
        values = self.embedding(input_ids)
        for layer in self.layers:
            result = layer(values)
            values = result[0] if isinstance(result, tuple) else result
        values = self.norm(values)
        if order is not None:
            back = order.argsort(dim=1)[:, :, None].expand_as(values)
            values = values.gather(1, back)
        logits = self.output(values)
        loss = None
        if labels is not None:
            loss = cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        return CausalLMOutput(loss=loss, logits=logits)


class Layer(nn.Module):
    """Causal attention with rotary positions, then a feed-forward network, around residuals."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.attention_output = nn.Linear(width, width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)

    def forward(self, values: Tensor) -> Tensor:
        parts = self.queries_keys_values(self.attention_norm(values)).chunk(3, dim=-1)
        heads = [part.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for part in parts]
        attended = scaled_dot_product_attention(
            rotated(heads[0]), rotated(heads[1]), heads[2], is_causal=True
        )
        values = values + self.attention_output(attended.transpose(1, 2).flatten(2))
        hidden = self.contract(gelu(self.expand(self.feed_forward_norm(values))))
        return values + hidden


def rotated(vectors: Tensor) -> Tensor:
    """Rotates coordinates (i, i + size/2) of a column by its number times base^(-2i/size)."""
    half = vectors.shape[-1] // 2
    exponents = torch.arange(half, device=vectors.device, dtype=vectors.dtype) / half
    columns = torch.arange(vectors.shape[-2], device=vectors.device, dtype=vectors.dtype)
    angles = columns[:, None] * ROTATION_BASE**-exponents
    cosine, sine = angles.cos(), angles.sin()
    first, second = vectors[..., :half], vectors[..., half:]
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)
