"""Makes a reward of a sequence classifier of transformers: a model folder, or a hub name.

transformers is imported only when such a reward is made.
"""

import copy
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from seqgan.data.model_folders import load_model, load_tokenizer
from seqgan.data.sequences import Sequences
from seqgan.rewards.base import Reward
from seqgan.system.checks import Count, Size, checked
from seqgan.system.errors import ConfigurationError, ModelFolderError

Output = Literal["log_odds", "probability"]

UNLIMITED = 10**9  # a tokenizer without a limit reports a number far above this


class ClassifierReward(Reward):
    """Rewards `prompt + completion` by a frozen sequence classifier with its own tokenizer.

    It does not apply (NaN) to a text in which the tokenizer finds no token. Most tokenizers add
    tokens of their own, so that the model reads something even of an empty text.

    Args:
        folder: the model and its tokenizer, as `save_pretrained` writes them; or a hub name.
        label: name or number of the rewarded class. None is the class that is called `positive`, in
            upper or lower case; of two classes without that name, the second. A model with one
            output has no label.
        output: `log_odds` of that class against the rest, without bound (the only output of a model
            counts as log-odds), or its `probability`.
        batch_size: number of texts that go through the model together.
        max_length: texts are cut after this many tokens; 0 means the most that tokenizer and model
            read.
        device: where the model computes.
        name: the reward's name; None takes the folder's.

    Raises:
        ModelFolderError: transformers is not installed, or the place holds no classifier with its
            tokenizer.
        ConfigurationError: the classifier has no such label, or a number breaks its rule.
    """

    reads_ids = False

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
                f"output is {output!r}, but must be one of {', '.join(get_args(Output))}"
            )
        checked("batch_size", batch_size, Size)
        checked("max_length", max_length, Count)
        place = str(Path(folder).expanduser())
        self.name = Path(place).resolve().name if name is None else name
        self.model, self.tokenizer = _load(place)
        self.model.eval().to(device)
        self.label = _label(self.model.config, label, self.name)
        self.output: Output = output
        self.batch_size = batch_size
        self.max_length = max_length or _window(self.model.config, self.tokenizer)
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
        """The rewards of one batch of texts; NaN for a text without tokens."""
        encoded = self.tokenizer(
            texts,
            padding=True,
            padding_side="right",
            truncation=self.max_length < UNLIMITED,
            max_length=self.max_length,
            return_attention_mask=True,
        )
        filled = [row for row, mask in enumerate(encoded["attention_mask"]) if any(mask)]
        scores = torch.full((len(texts),), torch.nan)
        if filled:
            inputs = {
                name: torch.tensor([rows[row] for row in filled], device=self.device)
                for name, rows in encoded.items()
            }
            odds = log_odds(self.model(**inputs).logits.float(), self.label, self._independent)
            scores[filled] = (odds.sigmoid() if self.output == "probability" else odds).cpu()
        return scores

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


def _load(place: str) -> tuple[Any, Any]:
    """Loads the model, and a tokenizer of its own that can pad."""
    tokenizer = copy.deepcopy(load_tokenizer(place))  # the loaded one is shared
    model, report = load_model(
        place, "AutoModelForSequenceClassification", output_loading_info=True
    )
    if report["missing_keys"]:  # these weights would be random numbers
        missing = ", ".join(sorted(report["missing_keys"]))
        raise ModelFolderError(f"{place} is no classifier: it lacks {missing}")
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise ModelFolderError(
                f"the tokenizer of the classifier {place} has neither a pad_token nor an eos_token,"
                " and needs one of them"
            )
        tokenizer.pad_token = tokenizer.eos_token
    model.config.pad_token_id = tokenizer.pad_token_id
    return model, tokenizer


def _window(config: Any, tokenizer: Any) -> int:
    """The number of tokens of the longest text that is read; UNLIMITED where nobody says."""
    if tokenizer.model_max_length < UNLIMITED:
        return int(tokenizer.model_max_length)
    return int(getattr(config, "max_position_embeddings", None) or UNLIMITED)


def _label(config: Any, label: str | int | None, name: str) -> int:
    """The number of the label; 0 for a model with one output."""
    names = [str(config.id2label[number]) for number in range(config.num_labels)]
    if label is None:
        positive = [number for number, each in enumerate(names) if each.lower() == "positive"]
        if len(positive) == 1 or len(names) <= 2:
            return positive[0] if len(positive) == 1 else len(names) - 1
        raise ConfigurationError(
            f"the classifier {name!r} has {len(names)} labels, and none is called positive; name"
            f" the rewarded one, label={names[0]!r} (of {', '.join(names)})"
        )
    if isinstance(label, int) and 0 <= label < len(names):
        return label
    if label in names:
        return names.index(str(label))
    raise ConfigurationError(
        f"the classifier {name!r} has no label {label!r}; it has {', '.join(names)}"
    )
