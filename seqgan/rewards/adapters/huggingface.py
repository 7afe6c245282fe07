"""A sequence classifier from a local folder, by way of transformers (imported when one is made)."""

from pathlib import Path
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from seqgan.data.sequences import Sequences
from seqgan.rewards.base import Reward
from seqgan.system.errors import ConfigurationError

Output = Literal["log_odds", "probability"]

UNLIMITED = 10**9  # a tokenizer without a limit says some number far above this


class ClassifierReward(Reward):
    """What a frozen sequence classifier says of `prompt + completion`, with its own tokenizer.

    Args:
        folder: holds the model and its tokenizer, as `save_pretrained` writes them. Nothing is
            ever downloaded.
        label: name or number of the class that is rewarded; by default the second of two. A
            model with one output has none.
        output: `log_odds` of that class against the rest, without bound (a model's only output is
            taken for log-odds, and given as it is), or its `probability`.
        batch_size: texts that go through the model together.
        max_length: tokens after which a text is cut; 0 leaves the tokenizer's own limit.
        name: of the reward; by default the folder's.

    Raises:
        ConfigurationError: transformers is not installed, the folder holds no classifier with its
            tokenizer, or the classifier has no such label.
    """

    def __init__(
        self,
        folder: str | Path,
        label: str | int | None = None,
        output: Output = "log_odds",
        batch_size: int = 64,
        max_length: int = 0,
        device: torch.device | str = "cpu",
        name: str | None = None,
    ) -> None:
        if output not in get_args(Output):
            raise ConfigurationError(
                f"output is one of {', '.join(get_args(Output))}, got {output!r}"
            )
        if batch_size < 1:
            raise ConfigurationError(f"batch_size is at least 1, got {batch_size}")
        if max_length < 0:
            raise ConfigurationError(f"max_length is at least 0, got {max_length}")
        folder = Path(folder).expanduser()
        self.name = folder.resolve().name if name is None else name
        self.model, self.tokenizer = _load(folder)
        self.model.eval().to(device)
        self.label = _label(self.model.config, label, folder)
        self.output: Output = output
        self.batch_size = batch_size
        self.max_length = max_length
        self.device = device

    @torch.no_grad()
    def score(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        texts = [
            prompt + text
            for prompt, text in zip(_openings(sequences), sequences.texts, strict=True)
        ]
        scores = [
            self._of_texts(texts[start : start + self.batch_size])
            for start in range(0, len(texts), self.batch_size)
        ]
        return torch.cat([torch.zeros(0), *scores]).to(sequences.tokens.device)

    def _of_texts(self, texts: list[str]) -> Float[Tensor, " text"]:
        limit = {"max_length": self.max_length} if self.max_length else {}
        encoded = self.tokenizer(
            texts,
            padding=True,
            padding_side="right",
            truncation=self.max_length > 0 or self.tokenizer.model_max_length < UNLIMITED,
            return_tensors="pt",
            **limit,
        ).to(self.device)
        odds = log_odds(self.model(**encoded).logits.float(), self.label, self._independent)
        return (odds.sigmoid() if self.output == "probability" else odds).cpu()

    @property
    def _independent(self) -> bool:
        """Whether each class is a question of its own, so that its logit is its log-odds."""
        return self.model.config.problem_type == "multi_label_classification"


def log_odds(
    logits: Float[Tensor, "text label"], label: int, independent: bool = False
) -> Float[Tensor, " text"]:
    """log p / (1 - p) of one label, p from the softmax over all; a single logit as it is."""
    chosen = logits[:, label]
    if independent or logits.shape[1] == 1:
        return chosen
    others = [other for other in range(logits.shape[1]) if other != label]
    return chosen - logits[:, others].logsumexp(dim=1)


def _openings(sequences: Sequences) -> list[str]:
    """What stands before each completion: its prompt, and a space where words need one."""
    vocabulary = sequences.vocabulary
    words = vocabulary is not None and vocabulary.level == "word" and not sequences.given_texts
    return [prompt + " " if words and prompt else prompt for prompt in sequences.prompt_texts]


def _load(folder: Path) -> tuple[Any, Any]:
    """The model and its tokenizer."""
    if not folder.is_dir():
        raise ConfigurationError(f"a classifier is in a folder, got {str(folder)!r}, which is none")
    try:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer
    except ImportError as error:
        raise ConfigurationError(
            "a classifier from a folder needs transformers: pip install transformers"
        ) from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model, found = AutoModelForSequenceClassification.from_pretrained(
            folder, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise ConfigurationError(
            f"the folder {str(folder)!r} holds no classifier with its tokenizer: {reason}"
        ) from error
    if found["missing_keys"]:  # they would be random numbers
        missing = ", ".join(sorted(found["missing_keys"]))
        raise ConfigurationError(
            f"the folder {str(folder)!r} holds no classifier: it lacks {missing}"
        )
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise ConfigurationError(
                f"the tokenizer in {str(folder)!r} has a pad or eos token, got none"
            )
        tokenizer.pad_token = tokenizer.eos_token
    model.config.pad_token_id = tokenizer.pad_token_id
    return model, tokenizer


def _label(config: Any, label: str | int | None, folder: Path) -> int:
    """The number of the label; 0 is the only output's."""
    names = [str(config.id2label[number]) for number in range(config.num_labels)]
    if label is None and len(names) <= 2:
        return len(names) - 1
    if isinstance(label, int) and 0 <= label < len(names):
        return label
    if label in names:
        return names.index(str(label))
    known = ", ".join(names)
    raise ConfigurationError(
        f"label is one of {known} of the classifier {folder.name!r}, got {label!r}"
    )
