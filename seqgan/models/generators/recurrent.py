"""LSTM and GRU generators.

Departures from the paper's generator (Yu et al., 2017, a hand-written LSTM): any number of layers,
dropout between them, and a GRU as an alternative. With `single_bias` each gate has one bias, as in
the paper; PyTorch's two biases express the same functions but train differently under Adam.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.models.generators.base import State
from seqgan.models.generators.projected import ProjectedGenerator
from seqgan.models.precision import Precision, autocast
from seqgan.system.checks import Share, Size, Weight, check_settings


@dataclass(frozen=True)
class RecurrentGeneratorConfig:
    kind: Literal["lstm", "gru"] = "lstm"  # recurrent cell
    embedding_size: Size = 64  # width of the token embedding
    hidden_size: Size = 128  # width of each layer's state
    num_layers: Size = 1  # recurrent layers
    dropout: Share = 0.0  # on embeddings, between layers and on the output, not in policy gradients
    single_bias: bool = False  # one bias per gate, as in the paper, instead of PyTorch's two
    precision: Precision = "float32"  # of its layers' arithmetic; weights, logits stay float32
    init_std: Weight = 0.0  # standard deviation of a normal start; 0 keeps PyTorch's uniform start

    def __post_init__(self) -> None:
        check_settings("generator", self)

    def build(self, vocabulary: Vocabulary) -> "RecurrentGenerator":
        return RecurrentGenerator(self, vocabulary)


@dataclass(frozen=True)
class RecurrentState:
    """One tensor (layer, batch, hidden) per part: h and c for an LSTM, h for a GRU."""

    parts: tuple[Float[Tensor, "layer batch hidden"], ...]

    def select(self, rows: Int[Tensor, " rows"]) -> "RecurrentState":
        return RecurrentState(tuple(part[:, rows] for part in self.parts))


@dataclass(frozen=True)
class RecurrentPrefixStates:
    """States of all prefixes; `gather` computes logits from the top layer of those it returns."""

    generator: "RecurrentGenerator"
    parts: tuple[Float[Tensor, "length layer batch hidden"], ...]

    def gather(
        self, rows: Int[Tensor, " prefixes"], lengths: Int[Tensor, " prefixes"]
    ) -> tuple[Float[Tensor, "prefixes vocab"], RecurrentState]:
        # Two index tensors around a slice put the indexed axis first: (prefix, layer, hidden).
        parts = tuple(part[lengths, :, rows].transpose(0, 1) for part in self.parts)
        return self.generator.project(parts[0][-1]), RecurrentState(parts)


class RecurrentGenerator(ProjectedGenerator):
    """A recurrent policy whose first input is bos.

    `forward` runs whole layers at once; `step`, `encode` and `start` advance the same weights one
    token at a time. The two agree within float rounding.
    """

    def __init__(self, config: RecurrentGeneratorConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.config = config
        self.num_actions = vocabulary.num_actions
        self.bos_id = vocabulary.bos_id
        # Every id but pad can be an input; pad is the last id.
        self.embedding = nn.Embedding(vocabulary.pad_id, config.embedding_size)
        layer = nn.LSTM if config.kind == "lstm" else nn.GRU
        sizes = [config.embedding_size] + [config.hidden_size] * (config.num_layers - 1)
        self.layers = nn.ModuleList(
            layer(size, config.hidden_size, batch_first=True) for size in sizes
        )
        self.dropout = nn.Dropout(config.dropout)
        self.output = nn.Linear(config.hidden_size, vocabulary.num_actions)
        if config.init_std > 0:
            for parameter in self.parameters():
                nn.init.normal_(parameter, std=config.init_std)
        if config.single_bias:
            for module in self.layers:
                bias: Any = module.bias_hh_l0
                nn.init.zeros_(bias)
                bias.requires_grad_(False)

    def train(self, mode: bool = True) -> "RecurrentGenerator":
        super().train(mode)
        # The layers hold no dropout of their own, and cuDNN refuses the backward pass of a
        # recurrent layer in evaluation mode, where policy-gradient updates run.
        for module in self.layers:
            module.train(True)
        return self

    def top_layer(self, sequences: Sequences) -> Float[Tensor, "batch time hidden"]:
        # The embedding has no row for pad, so padding gets bos. Every use of the result masks it.
        tokens = sequences.tokens.masked_fill(~sequences.mask, self.bos_id)
        bos = torch.full_like(tokens[:, :1], self.bos_id)
        values = self.embedding(torch.cat([bos, tokens[:, :-1]], dim=1))
        state = self._initial(len(sequences), sequences)
        for index, layer in enumerate(self.layers):
            hidden = tuple(part[index : index + 1] for part in state.parts)
            values, _ = self._run(layer, self.dropout(values), hidden)
        return values

    def start(
        self, batch_size: int, prompts: Sequences | None = None
    ) -> tuple[Float[Tensor, "batch vocab"], RecurrentState]:
        device = self.output.weight.device
        bos = torch.full((batch_size,), self.bos_id, dtype=torch.long, device=device)
        return self.step(bos, self._initial(batch_size, prompts))

    def step(
        self, tokens: Int[Tensor, " batch"], state: State
    ) -> tuple[Float[Tensor, "batch vocab"], RecurrentState]:
        advanced = self._advance(self.embedding(tokens), state)
        return self.project(advanced.parts[0][-1]), advanced

    def step_mixed(
        self, weights: Float[Tensor, "batch vocab"], state: State
    ) -> tuple[Float[Tensor, "batch vocab"], RecurrentState]:
        advanced = self._advance(weights @ self.embedding.weight[: self.num_actions], state)
        return self.project(advanced.parts[0][-1]), advanced

    def encode(self, sequences: Sequences) -> RecurrentPrefixStates:
        bos = torch.full_like(sequences.tokens[:, 0], self.bos_id)
        state = self._advance(self.embedding(bos), self._initial(len(sequences), sequences))
        states = [state]
        for tokens in sequences.tokens.masked_fill(~sequences.mask, self.bos_id).unbind(dim=1):
            state = self._advance(self.embedding(tokens), state)
            states.append(state)
        parts = zip(*(state.parts for state in states), strict=True)
        return RecurrentPrefixStates(self, tuple(torch.stack(part) for part in parts))

    def _advance(self, vectors: Float[Tensor, "batch embedding"], state: State) -> RecurrentState:
        """The state after one more token per row, from its embedding."""
        assert isinstance(state, RecurrentState)
        values = vectors[:, None]
        advanced = []
        for index, layer in enumerate(self.layers):
            hidden = tuple(part[index : index + 1].contiguous() for part in state.parts)
            values, new = self._run(layer, self.dropout(values), hidden)
            advanced.append(new)
        return RecurrentState(tuple(torch.cat(part) for part in zip(*advanced, strict=True)))

    def _run(
        self,
        layer: nn.Module,
        values: Float[Tensor, "batch time size"],
        hidden: tuple[Tensor, ...],
    ) -> tuple[Float[Tensor, "batch time hidden"], tuple[Tensor, ...]]:
        """A layer's outputs and its last state, in the type of the weights."""
        dtype = self.output.weight.dtype
        with autocast(values.device, self.config.precision):
            values, new = layer(values, hidden if len(hidden) == 2 else hidden[0])
        parts = new if isinstance(new, tuple) else (new,)
        return values.to(dtype), tuple(part.to(dtype) for part in parts)

    def _initial(self, batch_size: int, sequences: Sequences | None) -> RecurrentState:
        """The state before bos: zeros, or the state after the prompts."""
        zeros = self.output.weight.new_zeros(len(self.layers), batch_size, self.config.hidden_size)
        state = RecurrentState((zeros,) * (2 if self.config.kind == "lstm" else 1))
        if sequences is None or sequences.prompts is None or sequences.prompt_mask is None:
            return state
        prompts = sequences.prompts.masked_fill(~sequences.prompt_mask, self.bos_id)
        for tokens, mask in zip(
            prompts.unbind(dim=1), sequences.prompt_mask.unbind(dim=1), strict=True
        ):
            state = _where(mask, self._advance(self.embedding(tokens), state), state)
        return state


def _where(
    mask: Bool[Tensor, " batch"], new: RecurrentState, old: RecurrentState
) -> RecurrentState:
    """The new state where `mask` is True, the old one elsewhere."""
    parts = zip(new.parts, old.parts, strict=True)
    return RecurrentState(tuple(torch.where(mask[None, :, None], a, b) for a, b in parts))
