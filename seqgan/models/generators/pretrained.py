"""Makes a generator of any causal language model of transformers, trained whole or by an adapter.

The model's input is the prompt as its tokenizer encodes it (bos if there is no prompt), followed by
the tokens so far. A state is a cache of keys and values in which each row's columns stand at the
right end without gaps. So masks, absolute, rotary and relative positions, and sliding windows mean
the same as for a text that is read alone.
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
from seqgan.models.precision import Precision, autocast
from seqgan.system.checks import Positive, Share, Size, check_settings, expand_home
from seqgan.system.errors import ConfigurationError, ModelFolderError

Adapter = Literal["lora", "none"]

# Columns of keys and values that `row_elements` counts per row, far fewer than a text has. A call
# of a large model takes milliseconds, so more rows than fit into a processor's cache pay off.
COUNTED_COLUMNS = 4
NEVER = -1e9  # added to the logits of tokens that are never drawn; finite, so that 0 * NEVER is 0


@dataclass(frozen=True)
class PretrainedGeneratorConfig:
    kind: Literal["pretrained"] = "pretrained"  # a causal language model of transformers
    path: str = ""  # its folder, or a hub name
    adapter: Adapter = "lora"  # small matrices train (lora), or the whole model (none)
    lora_rank: Size = 16  # of the adapter's matrices
    lora_alpha: Positive = 32.0  # their product is scaled by this over the rank
    lora_dropout: Share = 0.0  # on their input, not in policy gradients, nor is the model's own
    lora_targets: tuple[str, ...] = ()  # layers with an adapter; empty: those usual for the model
    precision: Precision = "float32"  # of its arithmetic, and of weights that do not train
    gradient_checkpointing: bool = False  # the backward pass computes layers again, for memory

    def __post_init__(self) -> None:
        check_settings("generator", self)
        expand_home(self, "path")

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
            raise ModelFolderError(
                "generator.path is empty: name a model folder or a hub name with --generator.path"
            )
        return PretrainedGenerator(self, vocabulary)


@dataclass(frozen=True)
class PretrainedState:
    """Keys and values of the tokens so far.

    A row's tokens are its last `lengths` columns before column `end`. All columns before `first`
    are unused.
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
        # Columns before the longest remaining row are unused by all rows.
        first = self.end - (int(lengths.max()) if len(rows) else 0)
        return PretrainedState(*self.key_values.select(rows, first, self.end), lengths)


@dataclass(frozen=True)
class PretrainedPrefixStates:
    """The keys and values of whole sequences; a prefix is a range of their columns."""

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
    """A causal policy over the words and eos of a vocabulary; all are tokens of the model.

    The model's other tokens have probability 0. The tokenizer needs an eos. It needs no padding
    token, because padding is masked, and no bos, because eos replaces it. Prompt and completion
    follow each other directly.

    States carry no gradients.

    Args:
        config: settings, with the model's folder.
        vocabulary: the subword vocabulary of the same tokenizer, or words that are its tokens.

    Raises:
        ModelFolderError: the place holds no model; the tokenizer has no eos, lacks a word or has
            tokens that the model lacks; the model is not causal, or remembers a text otherwise than
            by keys and values.
    """

    drops_ended_rows = True
    ids: Int[Tensor, " id"]  # the model's id of each of the vocabulary's ids
    bias: Float[Tensor, " token"]  # 0 for tokens of the model that may be drawn, else NEVER

    def __init__(self, config: PretrainedGeneratorConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.config = config
        self.num_actions = vocabulary.num_actions
        self.bos_id = vocabulary.bos_id
        ids = torch.tensor(tokenizer_ids(vocabulary, ending_tokenizer(config.path)))
        self.model = _load(config)  # a transformers model, or a peft model with the adapter
        num_rows = min(
            len(layer.weight) for layer in (self._head, self.causal_model.get_input_embeddings())
        )
        if int(ids.max()) >= num_rows:
            raise ModelFolderError(
                f"the tokenizer in {config.path} has the id {int(ids.max())}, but the model"
                f" there has only {num_rows} tokens"
            )
        self.register_buffer("ids", ids, persistent=False)
        action_ids = ids[: self.num_actions]
        self.in_order = torch.equal(action_ids, torch.arange(len(action_ids)))
        bias = torch.full((self._head.weight.shape[0],), NEVER)
        bias[action_ids] = 0.0
        self.register_buffer("bias", bias, persistent=False)
        # The parameters that a checkpoint holds. A frozen copy keeps this set, so that its
        # checkpoint holds the same parameters although none of them trains.
        self.trained = frozenset(
            name for name, parameter in self.named_parameters() if parameter.requires_grad
        )
        self.register_state_dict_post_hook(_keep_trained)
        self.takes_positions = "position_ids" in inspect.signature(self._body.forward).parameters
        self.ends_linear = False  # True if the logits are a linear function of the last states
        self._try_out()
        self.train()

    @property
    def causal_model(self) -> Any:
        """The transformers model, with adapters inside."""
        return self.model.get_base_model() if self.config.adapter == "lora" else self.model

    @property
    def _body(self) -> Any:
        """The model without its output layer."""
        return self.causal_model.base_model

    @property
    def _head(self) -> Any:
        """The output layer; it is an `nn.Linear` unless it has an adapter of its own."""
        return self.causal_model.get_output_embeddings()

    @property
    def row_elements(self) -> int:
        """Logits, and a few columns of keys and values, in elements."""
        return len(self.bias) + self.column_elements * COUNTED_COLUMNS

    @property
    def top_size(self) -> int:
        weight: Tensor = self._head.weight
        return weight.shape[1] if self.ends_linear else weight.shape[0]

    @torch.no_grad()
    def _try_out(self) -> None:
        """Checks that the model is causal and has keys and values, and sets `ends_linear`.

        The model reads two texts of two tokens that differ in the second token.
        """
        self.eval()
        ids = torch.tensor([[0, 0], [0, 1]])
        columns = torch.ones_like(ids, dtype=torch.bool)
        name = f"{self.config.path} ({type(self.causal_model).__name__})"
        logits, layers = self._read(ids, columns)
        if not torch.allclose(logits[0, 0].float(), logits[1, 0].float(), atol=1e-4, rtol=1e-3):
            raise ModelFolderError(f"the model {name} sees later tokens, as no generator may")
        if not layers or any(keys is None or keys.shape[2] != 2 for keys, _ in layers):
            raise ModelFolderError(
                f"the model {name} does not remember a text as keys and values of all its"
                " tokens, as a pretrained generator must"
            )
        self.column_elements = sum(part[0, :, 0].numel() for layer in layers for part in layer)
        if type(self._head) is nn.Linear:
            self.ends_linear = True
            top, _ = self._read(ids, columns)
            projected = self._head(top.to(self._head.weight.dtype))
            self.ends_linear = projected.shape == logits.shape and torch.allclose(
                projected.float(), logits.float(), atol=1e-2, rtol=1e-2
            )

    def top_layer(self, sequences: Sequences) -> Float[Tensor, "batch time size"]:
        context, columns = self._context(len(sequences), sequences)
        # Nothing is predicted from the last token, so the model need not read it.
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
        """The class whose likelihood methods are used.

        `ProjectedGenerator` stores no logits, but works only if the model ends in a linear layer.
        """
        return ProjectedGenerator if self.ends_linear else Generator

    def log_probs(self, sequences: Sequences) -> Float[Tensor, "batch time"]:
        return self._kind.log_probs(self, sequences)

    def log_probs_and_entropies(
        self, sequences: Sequences
    ) -> tuple[Float[Tensor, "batch time"], Float[Tensor, "batch time"]]:
        return self._kind.log_probs_and_entropies(self, sequences)

    def negative_log_likelihood(self, sequences: Sequences) -> Float[Tensor, ""]:
        return self._kind.negative_log_likelihood(self, sequences)

    @torch.no_grad()
    def start(
        self, batch_size: int, prompts: Sequences | None = None
    ) -> tuple[Float[Tensor, "batch vocab"], PretrainedState]:
        # Equal contexts (the texts of a group, or bos alone) are read once.
        contexts = torch.stack(self._context(batch_size, prompts), dim=2)  # ids and mask
        distinct, rows = contexts.unique(dim=0, return_inverse=True)
        if len(distinct) == batch_size:
            distinct, rows = contexts, torch.arange(batch_size, device=contexts.device)
        context, columns = distinct[:, :, 0], distinct[:, :, 1] > 0
        top, layers = self._read(context, columns)
        width = context.shape[1]
        state = PretrainedState(KeyValues(layers, width), 0, width, columns.sum(dim=1))
        return self.project(top[:, -1])[rows], state.select(rows)

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

    def _inputs(self, sequences: Sequences) -> Int[Tensor, "batch time"]:
        """The tokens, with bos on padding: `ids` has no entry for pad. No earlier token sees it."""
        return sequences.tokens.masked_fill(~sequences.mask, self.bos_id)

    def _context(
        self, batch_size: int, prompts: Sequences | None
    ) -> tuple[Int[Tensor, "batch column"], Bool[Tensor, "batch column"]]:
        """Ids before each completion and their mask, left-padded: the prompt, or bos if empty."""
        if prompts is None or prompts.prompts is None or prompts.prompts.shape[1] == 0:
            bos = torch.full((batch_size, 1), self.bos_id, device=self.ids.device)
            return bos, torch.ones_like(bos, dtype=torch.bool)
        assert prompts.prompt_mask is not None
        mask = prompts.prompt_mask.clone()
        mask[:, -1] = True  # the prompt's last token, or the bos of an empty prompt
        ids = prompts.prompts.masked_fill(~prompts.prompt_mask, self.bos_id)
        width = int(mask.sum(dim=1).max()) if len(mask) else 1
        return ids[:, -width:], mask[:, -width:]

    def _read(
        self, ids: Int[Tensor, "batch column"], columns: Bool[Tensor, "batch column"]
    ) -> tuple[Float[Tensor, "batch column size"], tuple[Layer, ...]]:
        """Reads whole texts: returns the model's last states, and all keys and values."""
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
        """Returns the model's last states of new columns, or logits if not `ends_linear`.

        Args:
            ids: the model's own ids of the new columns.
            columns: True on real columns, those in the cache first, then the new ones.
        """
        arguments: dict[str, Any] = {"input_ids": ids, "attention_mask": columns.long()}
        if self.takes_positions:
            arguments["position_ids"] = positions
        arguments |= {"past_key_values": cache, "use_cache": cache is not None}
        with autocast(ids.device, self.config.precision):
            if self.ends_linear:
                states: Tensor = self._body(**arguments).last_hidden_state
                return states
            logits: Tensor = self.causal_model(**arguments).logits
            return logits

    def load_state_dict(self, state_dict: Any, strict: bool = True, assign: bool = False) -> Any:
        """Loads the `state_dict` of this generator or of a copy of it.

        Raises:
            ConfigurationError: the state has a parameter too many or too few.
        """
        if different := self.trained ^ set(state_dict):
            raise ConfigurationError(
                f"the generator's state has {len(state_dict)} parameters, but"
                f" {len(self.trained)} train; {min(different)!r} is in one of both only"
            )
        return super().load_state_dict(state_dict, strict=False, assign=assign)


def _keep_trained(module: nn.Module, state: dict[str, Any], prefix: str, _: Any) -> None:
    """Keeps only the parameters that train in a `state_dict`, each once."""
    assert isinstance(module, PretrainedGenerator)
    for name in [name for name in state if name.startswith(prefix)]:
        if name.removeprefix(prefix) not in module.trained:
            del state[name]


def _load(config: PretrainedGeneratorConfig) -> Any:
    """Loads the model with its adapter; only parameters that train require gradients."""
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
            f"the folder {config.path} lacks {len(missing)} weights of a causal language"
            f" model, {missing[0]} first"
        )
    if config.gradient_checkpointing:
        _checkpoint_layers(model, config.path)
    return _with_adapter(model, config) if frozen else model


def _with_adapter(model: Any, config: PretrainedGeneratorConfig) -> Any:
    """Adds low-rank adapters (Hu et al., 2021) to the model; the rest of it is frozen."""
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
            # peft uses the old name of an attribute that transformers has renamed.
            warnings.simplefilter("ignore", FutureWarning)
            return peft.get_peft_model(model, settings)
    except ValueError as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelFolderError(
            "generator.lora_targets are"
            f" {', '.join(config.lora_targets) or 'those usual for it'}, but must be layers"
            f" of the model: {reason}"
        ) from error


def _checkpoint_layers(model: nn.Module, path: str) -> None:
    """Makes each layer drop its activations, and compute them again in the backward pass.

    The model's own switch for that works in training mode only, which also turns dropout on. A
    policy gradient is taken without dropout.
    """
    kind = package("transformers.modeling_layers").GradientCheckpointingLayer
    layers = [layer for layer in model.modules() if isinstance(layer, kind)]
    if not layers:
        raise ModelFolderError(
            f"generator.gradient_checkpointing is on, but the layers of {path} do not allow it"
        )
    for layer in layers:
        layer.forward = MethodType(_forward_again, layer)  # a copy of the layer gets its own


def _forward_again(layer: nn.Module, *args: Any, **kwargs: Any) -> Any:
    """The `forward` of a layer that computes its activations again for the backward pass."""
    if not torch.is_grad_enabled():
        return type(layer).forward(layer, *args, **kwargs)
    return checkpoint(type(layer).forward, layer, *args, use_reentrant=False, **kwargs)
