"""Any causal language model of transformers as a generator, trained whole or by an adapter.

A batch's inputs are the prompt as its tokenizer gave it, or bos where there is none, and the
tokens so far. A state is a cache of the model's keys and values in which each row's columns stand
at the right end without a gap: masks, absolute, rotary and relative positions, and sliding windows
then mean the same as for a text that is read alone.
"""

import inspect
import warnings
from dataclasses import dataclass
from types import MethodType
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from seqgan.data.model_folders import context_window, ending_tokenizer, load_model, package
from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary, tokenizer_ids
from seqgan.models.generators.base import Generator, State
from seqgan.models.generators.key_values import KeyValues, Layer
from seqgan.models.generators.projected import ProjectedGenerator
from seqgan.system.errors import ConfigurationError, ModelFolderError

Adapter = Literal["lora", "none"]
Arithmetic = Literal["float32", "bfloat16"]

# Of a row's keys and values, beside its logits. Few of those that there are: each call of a model
# takes milliseconds, so more rows than fit into a processor's cache are worth it.
COUNTED_COLUMNS = 4
NEVER = -1e9  # added to the logits of tokens that cannot be drawn; finite, so that 0 times it is 0


@dataclass(frozen=True)
class PretrainedGeneratorConfig:
    kind: Literal["pretrained"] = "pretrained"  # a causal language model of transformers
    path: str = ""  # its folder, or a hub name
    adapter: Adapter = "lora"  # what trains: small matrices beside the model's, or all of it (none)
    lora_rank: int = 16  # of the adapter's matrices
    lora_alpha: float = 32.0  # their product is scaled by this over the rank
    lora_dropout: float = 0.0  # on their input, in pretraining only, as is the model's own dropout
    lora_targets: tuple[str, ...] = ()  # layers with an adapter; empty: those usual for the model
    precision: Arithmetic = "float32"  # of its arithmetic, and of weights that do not train
    gradient_checkpointing: bool = False  # the backward pass computes layers again, for memory

    def __post_init__(self) -> None:
        if self.lora_rank < 1:
            raise ConfigurationError(f"generator.lora_rank is at least 1, got {self.lora_rank}")
        if not 0 < self.lora_alpha < float("inf"):
            raise ConfigurationError(
                f"generator.lora_alpha is above 0 and finite, got {self.lora_alpha}"
            )
        if not 0 <= self.lora_dropout < 1:
            raise ConfigurationError(
                f"generator.lora_dropout is in [0, 1), got {self.lora_dropout}"
            )

    @property
    def tokenizer_folder(self) -> str:
        """The model's own tokenizer cuts its texts."""
        return self.path

    def context_window(self) -> int | None:
        """Tokens that the model reads at once; None sets no limit.

        Raises:
            ModelFolderError: there is no such model.
        """
        return context_window(self.path) if self.path else None

    def build(self, vocabulary: Vocabulary) -> "PretrainedGenerator":
        if not self.path:
            raise ModelFolderError("generator.path is a model folder or a hub name, got nothing")
        return PretrainedGenerator(self, vocabulary)


@dataclass(frozen=True)
class PretrainedState:
    """Keys and values of the tokens so far.

    A row's are the last `lengths` columns before column `end`; no row has any before `first`.
    """

    key_values: KeyValues
    first: int
    end: int
    lengths: Int[Tensor, " batch"]

    def select(self, rows: Int[Tensor, " rows"]) -> "PretrainedState":
        num_rows = len(self.lengths)
        if len(rows) == num_rows and torch.equal(rows, torch.arange(num_rows, device=rows.device)):
            return self
        lengths = self.lengths[rows]
        # What the longest of the rows does not have, none of them has.
        first = self.end - (int(lengths.max()) if len(rows) else 0)
        return PretrainedState(*self.key_values.select(rows, first, self.end), lengths)


@dataclass(frozen=True)
class PretrainedPrefixStates:
    """The keys and values of whole sequences; a prefix is a stretch of their columns."""

    generator: "PretrainedGenerator"
    top: Float[Tensor, "batch column size"]
    layers: tuple[Layer, ...]
    context_lengths: Int[Tensor, " batch"]
    num_before: int  # columns before the first token

    def gather(
        self, rows: Int[Tensor, " prefixes"], lengths: Int[Tensor, " prefixes"]
    ) -> tuple[Float[Tensor, "prefixes vocab"], PretrainedState]:
        ends = self.num_before + lengths  # one column after the prefix's last
        sizes = self.context_lengths[rows] + lengths
        width = int(sizes.max()) if len(sizes) else 0
        source = ends[:, None] - width + torch.arange(width, device=rows.device)
        source = source.clamp(min=0)
        layers = tuple(
            (
                keys[rows[:, None], :, source].transpose(1, 2),
                values[rows[:, None], :, source].transpose(1, 2),
            )
            for keys, values in self.layers
        )
        logits = self.generator.project(self.top[rows, ends - 1])
        return logits, PretrainedState(KeyValues(layers, width), 0, width, sizes)


class PretrainedGenerator(ProjectedGenerator):
    """A causal policy over the words and eos of a vocabulary that the model's tokenizer knows.

    Tokens of the tokenizer that are no words of the vocabulary have probability 0. The tokenizer
    needs an eos. It needs no padding token, as padding is masked and never looked at, and no bos:
    eos stands in for it. Between a prompt and its completion nothing is inserted.

    States carry no gradients.

    Args:
        config: with the model's folder.
        vocabulary: a subword one of the same tokenizer, or words that are tokens of it.

    Raises:
        ModelFolderError: there is no such model, its tokenizer has no eos or lacks a word, or has
            tokens that the model does not know; the model is not causal, or it remembers a text in
            another way than by keys and values.
    """

    ids: Int[Tensor, " id"]  # the model's own, of each of ours
    bias: Float[Tensor, " token"]  # of the model's tokens: 0 for what can be drawn

    def __init__(self, config: PretrainedGeneratorConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.config = config
        self.num_actions = vocabulary.num_actions
        self.bos_id = vocabulary.bos_id
        ids = torch.tensor(tokenizer_ids(vocabulary, ending_tokenizer(config.path)))
        self.model = _load(config)  # of transformers, or of peft with the adapter
        num_rows = min(
            len(layer.weight) for layer in (self._head, self.causal_model.get_input_embeddings())
        )
        if int(ids.max()) >= num_rows:
            raise ModelFolderError(
                f"each token of the task is one of the model's, got {config.path} with {num_rows}"
                f" of them and the id {int(ids.max())} in its tokenizer"
            )
        self.register_buffer("ids", ids, persistent=False)
        emitted = ids[: self.num_actions]
        self.in_order = torch.equal(emitted, torch.arange(len(emitted)))
        bias = torch.full((self._head.weight.shape[0],), NEVER)
        bias[emitted] = 0.0
        self.register_buffer("bias", bias, persistent=False)
        # What a checkpoint holds. A frozen copy has the same, though nothing of it trains.
        self.trained = frozenset(
            name for name, parameter in self.named_parameters() if parameter.requires_grad
        )
        self.register_state_dict_post_hook(_keep_trained)
        self.takes_positions = "position_ids" in inspect.signature(self._body.forward).parameters
        self.ends_linear = False  # whether the logits are a linear layer of the body's last states
        self._try_out()
        self.train()

    @property
    def causal_model(self) -> Any:
        """The model of transformers, adapters inside."""
        return self.model.get_base_model() if self.config.adapter == "lora" else self.model

    @property
    def _body(self) -> Any:
        """The model without its output layer."""
        return self.causal_model.base_model

    @property
    def _head(self) -> Any:
        """The output layer; a linear one, if it has no adapter of its own."""
        return self.causal_model.get_output_embeddings()

    @property
    def row_elements(self) -> int:
        """Logits, and a few columns of keys and values, in elements."""
        return len(self.bias) + self.column_elements * COUNTED_COLUMNS

    @torch.no_grad()
    def _try_out(self) -> None:
        """What the model is like, by two texts of two tokens that differ in the second."""
        self.eval()
        ids = torch.tensor([[0, 0], [0, 1]])
        columns = torch.ones_like(ids, dtype=torch.bool)
        name = f"{self.config.path} ({type(self.causal_model).__name__})"
        logits, layers = self._read(ids, columns)
        if not torch.allclose(logits[0, 0].float(), logits[1, 0].float(), atol=1e-4, rtol=1e-3):
            raise ModelFolderError(f"a generator sees no later token, got {name}, which does")
        if not layers or any(keys is None or keys.shape[2] != 2 for keys, _ in layers):
            raise ModelFolderError(
                "a pretrained generator remembers a text as keys and values of all its tokens,"
                f" got {name}, which does not"
            )
        self.column_elements = sum(part[0, :, 0].numel() for layer in layers for part in layer)
        if type(self._head) is nn.Linear:
            self.ends_linear = True
            top, _ = self._read(ids, columns)
            projected = self._head(top.to(self._head.weight.dtype))
            self.ends_linear = projected.shape == logits.shape and torch.allclose(
                projected.float(), logits.float(), atol=1e-2, rtol=1e-2
            )

    # ---------------------------------------------------------------- likelihoods

    def top_layer(self, sequences: Sequences) -> Float[Tensor, "batch time size"]:
        context, columns = self._context(len(sequences), sequences)
        # The last token predicts nothing.
        ids = torch.cat([context, self._inputs(sequences)[:, :-1]], dim=1)
        columns = torch.cat([columns, sequences.mask[:, :-1]], dim=1)
        positions = (columns.cumsum(dim=1) - 1).clamp(min=0)
        return self._run(self.ids[ids], columns, positions)[:, context.shape[1] - 1 :]

    def project(self, top: Float[Tensor, "*axes size"]) -> Float[Tensor, "*axes vocab"]:
        logits = self._head(top.to(self._head.weight.dtype)) if self.ends_linear else top
        if self.in_order:
            return logits[..., : self.num_actions].float()
        return logits.index_select(-1, self.ids[: self.num_actions]).float()

    def real_tokens(self, sequences: Sequences) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        weight, bias = self._head.weight, self.bias.to(self._head.weight.dtype)
        if self._head.bias is not None:
            bias = bias + self._head.bias
        hidden = self.top_layer(sequences)[sequences.mask].to(weight.dtype)
        return hidden, weight, bias, self.ids[sequences.tokens[sequences.mask]]

    @property
    def _kind(self) -> type[Generator]:
        """Whose likelihoods are taken: logits of all steps are made only where they have to be."""
        return ProjectedGenerator if self.ends_linear else Generator

    def log_probs(self, sequences: Sequences) -> Float[Tensor, "batch time"]:
        return self._kind.log_probs(self, sequences)

    def log_probs_and_entropies(
        self, sequences: Sequences
    ) -> tuple[Float[Tensor, "batch time"], Float[Tensor, "batch time"]]:
        return self._kind.log_probs_and_entropies(self, sequences)

    def negative_log_likelihood(self, sequences: Sequences) -> Float[Tensor, ""]:
        return self._kind.negative_log_likelihood(self, sequences)

    # ---------------------------------------------------------------- token by token

    @torch.no_grad()
    def start(
        self, batch_size: int, prompts: Sequences | None = None
    ) -> tuple[Float[Tensor, "batch vocab"], PretrainedState]:
        context, columns = self._context(batch_size, prompts)
        top, layers = self._read(context, columns)
        width = context.shape[1]
        state = PretrainedState(KeyValues(layers, width), 0, width, columns.sum(dim=1))
        return self.project(top[:, -1]), state

    @torch.no_grad()
    def step(
        self, tokens: Int[Tensor, " batch"], state: State
    ) -> tuple[Float[Tensor, "batch vocab"], PretrainedState]:
        assert isinstance(state, PretrainedState)
        key_values, first, end = state.key_values.followed(state.first, state.end)
        width = end + 1 - first
        after = state.lengths + 1
        columns = torch.arange(width, device=tokens.device) >= width - after[:, None]
        cache = key_values.as_cache(first, end)
        top = self._run(self.ids[tokens][:, None], columns, state.lengths[:, None], cache)
        return self.project(top[:, 0]), PretrainedState(key_values, first, end + 1, after)

    @torch.no_grad()
    def encode(self, sequences: Sequences) -> PretrainedPrefixStates:
        context, columns = self._context(len(sequences), sequences)
        ids = torch.cat([context, self._inputs(sequences)], dim=1)
        lengths = columns.sum(dim=1)
        top, layers = self._read(ids, torch.cat([columns, sequences.mask], dim=1))
        return PretrainedPrefixStates(self, top, layers, lengths, context.shape[1])

    # ---------------------------------------------------------------- the model

    def _inputs(self, sequences: Sequences) -> Int[Tensor, "batch time"]:
        """The tokens; padding needs a row to look up, and nothing before it sees it."""
        return sequences.tokens.masked_fill(~sequences.mask, self.bos_id)

    def _context(
        self, batch_size: int, prompts: Sequences | None
    ) -> tuple[Int[Tensor, "batch column"], Bool[Tensor, "batch column"]]:
        """What stands before the completions, left-padded: the prompt, or bos for an empty one."""
        if prompts is None or prompts.prompts is None or prompts.prompts.shape[1] == 0:
            bos = torch.full((batch_size, 1), self.bos_id, device=self.ids.device)
            return bos, torch.ones_like(bos, dtype=torch.bool)
        assert prompts.prompt_mask is not None
        mask = prompts.prompt_mask.clone()
        mask[:, -1] = True  # a real token, or else where bos goes
        ids = prompts.prompts.masked_fill(~prompts.prompt_mask, self.bos_id)
        width = int(mask.sum(dim=1).max()) if len(mask) else 1
        return ids[:, -width:], mask[:, -width:]

    def _read(
        self, ids: Int[Tensor, "batch column"], columns: Bool[Tensor, "batch column"]
    ) -> tuple[Float[Tensor, "batch column size"], tuple[Layer, ...]]:
        """The model's last states of whole texts, and all keys and values."""
        cache = package("transformers").DynamicCache()
        positions = (columns.cumsum(dim=1) - 1).clamp(min=0)
        top = self._run(self.ids[ids], columns, positions, cache)
        return top, tuple((layer.keys, layer.values) for layer in cache.layers)

    def _run(
        self,
        ids: Int[Tensor, "batch new"],
        columns: Bool[Tensor, "batch column"],
        positions: Int[Tensor, "batch new"],
        cache: Any = None,
    ) -> Float[Tensor, "batch new size"]:
        """The model's last states of new columns (logits, where it does not end in a linear layer).

        Args:
            ids: the model's own.
            columns: the real ones among those in the cache and the new ones.
        """
        arguments: dict[str, Any] = {"input_ids": ids, "attention_mask": columns.long()}
        if self.takes_positions:
            arguments["position_ids"] = positions
        arguments |= {"past_key_values": cache, "use_cache": cache is not None}
        with torch.autocast(ids.device.type, torch.bfloat16, self.config.precision == "bfloat16"):
            if self.ends_linear:
                states: Tensor = self._body(**arguments).last_hidden_state
                return states
            logits: Tensor = self.causal_model(**arguments).logits
            return logits

    # ---------------------------------------------------------------- what is kept

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Takes what `state_dict` of this generator or of a copy of it gave.

        Raises:
            ConfigurationError: there is a parameter too many or too few.
        """
        if different := self.trained ^ set(state_dict):
            raise ConfigurationError(
                f"a generator's state has the {len(self.trained)} parameters that train, got"
                f" {len(state_dict)}; {min(different)!r} is in one of both only"
            )
        return super().load_state_dict(state_dict, strict=False, assign=assign)


def _keep_trained(module: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
    """Leaves the parameters that train in a `state_dict`, each only once."""
    assert isinstance(module, PretrainedGenerator)
    for name in [name for name in state if name.startswith(prefix)]:
        if name.removeprefix(prefix) not in module.trained:
            del state[name]


def _load(config: PretrainedGeneratorConfig) -> Any:
    """The model with its adapter; only what is to train requires gradients."""
    frozen = config.adapter == "lora"
    half = config.precision == "bfloat16" and frozen
    model, report = load_model(
        config.path,
        "AutoModelForCausalLM",
        dtype=torch.bfloat16 if half else torch.float32,
        output_loading_info=True,
    )
    if missing := sorted(report["missing_keys"]):
        raise ModelFolderError(
            f"a generator's folder has all weights of a causal language model, {config.path} lacks"
            f" {len(missing)}, {missing[0]} first"
        )
    if config.gradient_checkpointing:
        _checkpoint_layers(model, config.path)
    return _with_adapter(model, config) if frozen else model


def _with_adapter(model: Any, config: PretrainedGeneratorConfig) -> Any:
    peft = package("peft")
    usual = peft.utils.TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING
    targets: Any = list(config.lora_targets) or usual.get(model.config.model_type, "all-linear")
    transposed = package("transformers.pytorch_utils").Conv1D
    settings = peft.LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=targets,
        fan_in_fan_out=any(isinstance(layer, transposed) for layer in model.modules()),
        task_type="CAUSAL_LM",
    )
    try:
        with warnings.catch_warnings():
            # peft asks transformers for an attribute by a name that it has outgrown.
            warnings.simplefilter("ignore", FutureWarning)
            return peft.get_peft_model(model, settings)
    except ValueError as error:
        said = " ".join(str(error).split())[:200]
        raise ModelFolderError(
            "generator.lora_targets are layers of the model, got"
            f" {', '.join(config.lora_targets) or 'those usual for it'}: {said}"
        ) from error


def _checkpoint_layers(model: nn.Module, path: str) -> None:
    """Makes each layer forget what it computed, and compute it again in the backward pass.

    The model's own switch for that acts in training mode only, which is also dropout's, while a
    policy gradient is taken without dropout.
    """
    kind = package("transformers.modeling_layers").GradientCheckpointingLayer
    layers = [layer for layer in model.modules() if isinstance(layer, kind)]
    if not layers:
        raise ModelFolderError(
            f"generator.gradient_checkpointing needs a model whose layers allow it, {path} does not"
        )
    for layer in layers:
        layer.forward = MethodType(_forward_again, layer)  # a copy of the layer gets its own


def _forward_again(layer: nn.Module, *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():
        return type(layer).forward(layer, *args, **kwargs)
    return checkpoint(type(layer).forward, layer, *args, use_reentrant=False, **kwargs)
