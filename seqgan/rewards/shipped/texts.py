"""Rewards that read the text: a pattern, a list of words."""

import os
import re
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from seqgan.data.sequences import Sequences
from seqgan.data.words import split_words
from seqgan.rewards.base import Reward
from seqgan.system.checks import Penalty, Signed, checked
from seqgan.system.errors import ConfigurationError, DataError
from seqgan.tasks.files.text_files import file_lines


class TextReward(Reward):
    """Base class of rewards that read only the text, each text by itself."""

    reads_ids = False

    @abstractmethod
    def judge(self, texts: Sequence[str]) -> list[float]:
        """Returns the reward of each text; NaN if it does not apply to the text."""

    def score(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        return torch.tensor(
            self.judge(sequences.texts), dtype=torch.float32, device=sequences.tokens.device
        )


class Regex(TextReward):
    """1 if a regular expression matches the text, else 0.

    Args:
        pattern: a regular expression in Python's syntax; it contains its flags, as in `(?i)dog`.
        where: `search` looks for a match anywhere, `fullmatch` matches the whole text.

    Raises:
        ConfigurationError: `pattern` is no regular expression, or `where` is unknown.
    """

    name = "regex"
    most = 1.0  # the largest reward

    def __init__(self, pattern: str, where: str = "search") -> None:
        if where not in ("search", "fullmatch"):
            raise ConfigurationError(f"regex's where is {where!r}, but must be search or fullmatch")
        try:
            compiled = re.compile(pattern)
        except re.error as error:
            raise ConfigurationError(
                f"regex's pattern {pattern!r} is no regular expression: {error}"
            ) from error
        self.match = compiled.search if where == "search" else compiled.fullmatch

    def judge(self, texts: Sequence[str]) -> list[float]:
        return [float(self.match(text) is not None) for text in texts]


class Lexicon(TextReward):
    """The mean or the sum of the weights of a text's words. Words without a weight count 0.

    `split_words` splits the text, in lower case, as it splits the task's own texts. The mean does
    not apply to a text without words (NaN); its sum is 0.

    Args:
        weights: weights by word.
        reduction: `mean` lies between the smallest and the largest weight (or 0), `sum` grows
            with the text.

    Raises:
        ConfigurationError: `weights` is empty, a key is no single word, or `reduction` is unknown.
    """

    name = "lexicon"

    def __init__(self, weights: Mapping[str, float], reduction: str = "mean") -> None:
        if reduction not in ("mean", "sum"):
            raise ConfigurationError(
                f"lexicon's reduction is {reduction!r}, but must be mean or sum"
            )
        self.weights = _lowercase(weights)
        self.reduction = reduction

    def judge(self, texts: Sequence[str]) -> list[float]:
        return [self._judge(split_words(text)) for text in texts]

    def _judge(self, words: Sequence[str]) -> float:
        total = sum((self.weights.get(word, 0.0) for word in words), 0.0)
        if self.reduction == "sum":
            return total
        return total / len(words) if words else float("nan")


class Toxicity(TextReward):
    """Penalises a text that contains a listed word; other texts get 0.

    The library contains no list, because the right words depend on who speaks to whom.

    Args:
        words: the listed words.
        penalty: the reward of a text that contains one or more of them.

    Raises:
        ConfigurationError: `words` is empty, an entry is no single word, or `penalty` is above 0.
    """

    name = "toxicity"

    def __init__(self, words: Iterable[str], penalty: float = -1.0) -> None:
        self.words = _lowercase(dict.fromkeys(words, 1.0)).keys()
        self.penalty = checked("toxicity's penalty", penalty, Penalty)

    def judge(self, texts: Sequence[str]) -> list[float]:
        return [0.0 if self.words.isdisjoint(split_words(text)) else self.penalty for text in texts]


def lexicon(
    words: Mapping[str, float] | Sequence[str] = (), path: str = "", reduction: str = "mean"
) -> Lexicon:
    """Makes a `Lexicon` of the argument's words, or of the words in a file.

    Args:
        words: weights by word, or a list of words with weight 1.
        path: a UTF-8 file with `word<TAB>weight` or `word` (weight 1) on each line; empty lines
            are skipped.

    Raises:
        ConfigurationError: not exactly one of `words` and `path` is given, or a line of the file
            has another form.
    """
    if isinstance(words, str):
        raise ConfigurationError(f"lexicon's words are {words!r}, but must be a mapping or a list")
    if bool(words) == bool(path):
        raise ConfigurationError(
            f"lexicon's words are {words!r} and its path is {path!r}, but it takes one of them"
        )
    if path:
        return Lexicon(read_weights(Path(os.path.expanduser(path))), reduction)
    weights = words if isinstance(words, Mapping) else dict.fromkeys(words, 1.0)
    return Lexicon(weights, reduction)


def toxicity(path: str, penalty: float = -1.0) -> Toxicity:
    """Makes a `Toxicity` of the words in a file, one per line; weights behind a tab are ignored."""
    return Toxicity(read_weights(Path(os.path.expanduser(path))), penalty)


def read_weights(path: Path) -> dict[str, float]:
    """Reads words and weights from a file: `word<TAB>weight` or `word` (weight 1) on each line.

    Raises:
        ConfigurationError: the file cannot be read, or a line has another form.
    """
    try:
        lines = list(file_lines(path))
    except DataError as error:
        raise ConfigurationError(f"cannot read the word list {path}: {error}") from error
    weights = {}
    for number, line in enumerate(lines, start=1):
        word, tab, weight = line.strip().partition("\t")
        try:
            if word:
                weights[word] = float(weight) if tab else 1.0
        except ValueError as error:
            raise ConfigurationError(
                f"{path}, line {number} is {line!r}, but must be a word, or a word, a tab"
                " and a number"
            ) from error
    return weights


def _lowercase(weights: Mapping[str, float]) -> dict[str, float]:
    """Turns the words of a list to lower case, as `split_words` returns them, and checks them."""
    if not weights:
        raise ConfigurationError("the word list is empty, but must have at least one word")
    lowercase = {}
    for word, weight in weights.items():
        if len(words := split_words(word)) != 1:
            raise ConfigurationError(
                f"the word list has {word!r}, but each must be one word without spaces or hyphens"
            )
        lowercase[words[0]] = float(checked(f"the weight of {word!r}", weight, Signed))
    return lowercase
