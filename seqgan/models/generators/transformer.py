"""A decoder-only transformer whose state is a cache of keys and values.

The inputs are the prompt's tokens (if there are prompts), bos, and the tokens so far. A cache holds
one column per input. Rows of different lengths share a cache with a mask over its columns, so that
rollouts from all prefixes advance in one batch.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.models.attention import TransformerLayer, check_sizes
from seqgan.models.generators.base import State
from seqgan.models.generators.projected import ProjectedGenerator
from seqgan.models.precision import Precision, autocast
from seqgan.system.checks import Share, Size

TYPICAL_COLUMNS = 32  # assumed columns of a cache, to estimate memory before lengths are known


@dataclass(frozen=True)
class TransformerGeneratorConfig:
    kind: Literal["transformer"] = "transformer"  # decoder-only, with rotary positions
    width: Size = 128  # of the residual stream
    num_layers: Size = 2  # transformer layers
    num_heads: Size = 4  # attention heads
    dropout: Share = 0.1  # on embeddings, branches and the output, not in policy gradients
    precision: Precision = "float32"  # of its layers' arithmetic; weights, logits stay float32

    def __post_init__(self) -> None:
        check_sizes("generator", self)

    def build(self, vocabulary: Vocabulary) -> "TransformerGenerator":
        return TransformerGenerator(self, vocabulary)


Cache = tuple[Tensor, Tensor]  # keys and values of one layer: (batch, head, column, size)


@dataclass(frozen=True)
class TransformerState:
    """A cache per layer, a mask of each row's columns, the position of each row's next token."""

    caches: tuple[Cache, ...]
    columns: Bool[Tensor, "batch column"]
    positions: Int[Tensor, " batch"]

    def select(self, rows: Int[Tensor, " rows"]) -> "TransformerState":
        caches = tuple((keys[rows], values[rows]) for keys, values in self.caches)
        return TransformerState(caches, self.columns[rows], self.positions[rows])


@dataclass(frozen=True)
class TransformerPrefixStates:
    """The caches of whole sequences; a prefix is their first columns."""

    generator: "TransformerGenerator"
    top: Float[Tensor, "batch column width"]
    state: TransformerState  # after the last token
    num_before: int  # columns before the first token: prompts and bos

    def gather(
        self, rows: Int[Tensor, " prefixes"], lengths: Int[Tensor, " prefixes"]
    ) -> tuple[Float[Tensor, "prefixes vocab"], TransformerState]:
        ends = self.num_before + lengths  # one column after the prefix's last
        width = int(ends.max()) if len(ends) else 0
        caches = tuple(
            (keys[:, :, :width][rows], values[:, :, :width][rows])
            for keys, values in self.state.caches
        )
        within = torch.arange(width, device=ends.device)[None, :] < ends[:, None]
        columns = self.state.columns[rows, :width] & within
        logits = self.generator.project(self.top[rows, ends - 1])
        return logits, TransformerState(caches, columns, columns.sum(dim=1))


class TransformerGenerator(ProjectedGenerator):
    """A causal policy over words and eos.

    `forward` and `encode` see all columns at once; `start` and `step` append one column. All agree
    within float rounding.
    """

    def __init__(self, config: TransformerGeneratorConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.config = config
        self.num_actions = vocabulary.num_actions
        self.bos_id = vocabulary.bos_id
        # Every id but pad can be an input; pad is the last id.
        self.embedding = nn.Embedding(vocabulary.pad_id, config.width)
        nn.init.normal_(self.embedding.weight, std=0.02)
        self.layers = nn.ModuleList(
            TransformerLayer(config.width, config.num_heads, config.dropout)
            for _ in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(config.width, vocabulary.num_actions)

    @property
    def row_elements(self) -> int:
        """Numbers of a row's logits and of a cache of typical length."""
        cached = 2 * self.config.num_layers * self.config.width * TYPICAL_COLUMNS
        return self.num_actions + cached

    def top_layer(self, sequences: Sequences) -> Float[Tensor, "batch time width"]:
        values, _, num_before = self._read(sequences, self._inputs(sequences)[:, :-1])
        return values[:, num_before - 1 :]

    def start(
        self, batch_size: int, prompts: Sequences | None = None
    ) -> tuple[Float[Tensor, "batch vocab"], TransformerState]:
        tokens = torch.zeros(batch_size, 0, dtype=torch.long, device=self.output.weight.device)
        values, state, _ = self._read(prompts, tokens)
        return self.project(values[:, -1]), state

    def step(
        self, tokens: Int[Tensor, " batch"], state: State
    ) -> tuple[Float[Tensor, "batch vocab"], TransformerState]:
        return self._advance(self.embedding(tokens), state)

    def step_mixed(
        self, weights: Float[Tensor, "batch vocab"], state: State
    ) -> tuple[Float[Tensor, "batch vocab"], TransformerState]:
        return self._advance(weights @ self.embedding.weight[: self.num_actions], state)

    def _advance(
        self, vectors: Float[Tensor, "batch width"], state: State
    ) -> tuple[Float[Tensor, "batch vocab"], TransformerState]:
        """Logits and state after one more token per row, from its embedding."""
        assert isinstance(state, TransformerState)
        columns = torch.cat([state.columns, torch.ones_like(state.columns[:, :1])], dim=1)
        values = self.dropout(vectors)[:, None]
        positions = state.positions[:, None]
        caches = []
        with autocast(values.device, self.config.precision):
            for layer, cache in zip(self.layers, state.caches, strict=True):
                values, cache = layer(values, positions, columns[:, None], cache)
                caches.append(cache)
        advanced = TransformerState(tuple(caches), columns, state.positions + 1)
        return self.project(self.norm(values[:, 0])), advanced

    def encode(self, sequences: Sequences) -> TransformerPrefixStates:
        top, state, num_before = self._read(sequences, self._inputs(sequences))
        return TransformerPrefixStates(self, top, state, num_before)

    def _inputs(self, sequences: Sequences) -> Int[Tensor, "batch time"]:
        """The tokens, with bos on padding: the embedding has no row for pad. Causal attention
        keeps earlier tokens from seeing it.
        """
        return sequences.tokens.masked_fill(~sequences.mask, self.bos_id)

    def _read(
        self, prompts: Sequences | None, tokens: Int[Tensor, "batch time"]
    ) -> tuple[Float[Tensor, "batch column width"], TransformerState, int]:
        """Reads prompts, bos and tokens in one pass.

        Returns:
            The top layer, the state after the last token, and the number of columns before the
            first token.
        """
        bos = tokens.new_full((len(tokens), 1), self.bos_id)
        inputs = torch.cat([bos, tokens], dim=1)
        columns = torch.ones_like(inputs, dtype=torch.bool)
        visible, num_before = None, 1
        if prompts is not None and prompts.prompts is not None:
            assert prompts.prompt_mask is not None
            ids = prompts.prompts.masked_fill(~prompts.prompt_mask, self.bos_id)
            inputs = torch.cat([ids, inputs], dim=1)
            columns = torch.cat([prompts.prompt_mask, columns], dim=1)
            num_before += ids.shape[1]
            size = inputs.shape[1]
            causal = torch.ones(size, size, dtype=torch.bool, device=inputs.device).tril()
            # A column of padding sees itself, because a softmax over nothing is NaN.
            itself = torch.eye(size, dtype=torch.bool, device=inputs.device)
            visible = (causal & columns[:, None]) | itself
        positions = (columns.cumsum(dim=1) - 1).clamp(min=0)
        values = self.dropout(self.embedding(inputs))
        caches = []
        with autocast(values.device, self.config.precision):
            for layer in self.layers:
                values, cache = layer(values, positions, visible)
                caches.append(cache)
        state = TransformerState(tuple(caches), columns, columns.sum(dim=1))
        return self.norm(values), state, num_before
