"""Makes a reward of a sequence classifier in a local folder.

transformers is imported only when such a reward is made.
"""

from pathlib import Path
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from seqgan.data.sequences import Sequences
from seqgan.rewards.base import Reward
from seqgan.system.checks import Count, Size, checked
from seqgan.system.errors import ConfigurationError

Output = Literal["log_odds", "probability"]

UNLIMITED = 10**9  # a tokenizer without a limit reports a number far above this


class ClassifierReward(Reward):
    """Rewards `prompt + completion` by a frozen sequence classifier with its own tokenizer.

    Args:
        folder: folder with the model and its tokenizer, as `save_pretrained` writes them. Nothing
            is ever downloaded.
        label: name or number of the rewarded class; None is the second of two. A model with one
            output has no label.
        output: `log_odds` of that class against the rest, without bound (the only output of a model
            counts as log-odds), or its `probability`.
        batch_size: number of texts that go through the model together.
        max_length: texts are cut after this many tokens; 0 means the tokenizer's own limit.
        name: the reward's name; None takes the folder's.

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
        checked("batch_size", batch_size, Size)
        checked("max_length", max_length, Count)
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
            prompt + text for prompt, text in zip(openings(sequences), sequences.texts, strict=True)
        ]
        scores = [
            self._score_texts(texts[start : start + self.batch_size])
            for start in range(0, len(texts), self.batch_size)
        ]
        return torch.cat([torch.zeros(0), *scores]).to(sequences.tokens.device)

    def _score_texts(self, texts: list[str]) -> Float[Tensor, " text"]:
        """The rewards of one batch of texts."""
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
        """True if each class is a yes-or-no question, so that its logit is its log-odds."""
        return self.model.config.problem_type == "multi_label_classification"


def log_odds(
    logits: Float[Tensor, "text label"], label: int, independent: bool = False
) -> Float[Tensor, " text"]:
    """log p / (1 - p) of one label, with p from the softmax over all labels.

    Args:
        independent: True if each logit is a log-odds already; a single logit always is.
    """
    own = logits[:, label]
    if independent or logits.shape[1] == 1:
        return own
    others = [other for other in range(logits.shape[1]) if other != label]
    return own - logits[:, others].logsumexp(dim=1)


def openings(sequences: Sequences) -> list[str]:
    """The text before each completion: its prompt, and a space if the vocabulary has words."""
    vocabulary = sequences.vocabulary
    words = vocabulary is not None and vocabulary.level == "word" and not sequences.given_texts
    return [prompt + " " if words and prompt else prompt for prompt in sequences.prompt_texts]


def _load(folder: Path) -> tuple[Any, Any]:
    """Loads the model and its tokenizer from the folder."""
    if not folder.is_dir():
        raise ConfigurationError(f"a classifier is in a folder, got {str(folder)!r}, which is none")
    try:
        from transformers import AutoModelForSequenceClassification, AutoTokenizer
    except ImportError as error:
        raise ConfigurationError(
            "a classifier from a folder needs transformers: pip install transformers"
        ) from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        model, report = AutoModelForSequenceClassification.from_pretrained(
            folder, local_files_only=True, output_loading_info=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        reason = " ".join(str(error).split())
        raise ConfigurationError(
            f"the folder {str(folder)!r} holds no classifier with its tokenizer: {reason}"
        ) from error
    if report["missing_keys"]:  # these weights would be random numbers
        missing = ", ".join(sorted(report["missing_keys"]))
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
    """The number of the label; 0 for a model with one output."""
    names = [str(config.id2label[number]) for number in range(config.num_labels)]
    if label is None and len(names) <= 2:
        return len(names) - 1
    if isinstance(label, int) and 0 <= label < len(names):
        return label
    if label in names:
        return names.index(str(label))
    listed = ", ".join(names)
    raise ConfigurationError(
        f"label is one of {listed} of the classifier {folder.name!r}, got {label!r}"
    )
