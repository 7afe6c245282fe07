"""Rewards that read the text: a pattern, a list of words."""

import re
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import split_words
from seqgan.rewards.base import Reward
from seqgan.system.errors import ConfigurationError


class TextReward(Reward):
    """A base for rewards that look at the texts alone, each by itself."""

    @abstractmethod
    def judge(self, texts: Sequence[str]) -> list[float]:
        """The reward of each text, NaN where it does not apply."""

    def score(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        return torch.tensor(
            self.judge(sequences.texts), dtype=torch.float32, device=sequences.tokens.device
        )


class Regex(TextReward):
    """1 where a regular expression matches the text, 0 elsewhere.

    Args:
        pattern: Python's syntax; flags stand inside, as in `(?i)dog`.
        where: `search` looks for a match anywhere, `fullmatch` for one of the whole text.

    Raises:
        ConfigurationError: `pattern` is no regular expression, or `where` another one.
    """

    name = "regex"

    def __init__(self, pattern: str, where: str = "search") -> None:
        if where not in ("search", "fullmatch"):
            raise ConfigurationError(f"regex's where is search or fullmatch, got {where!r}")
        try:
            compiled = re.compile(pattern)
        except re.error as error:
            raise ConfigurationError(
                f"regex's pattern is a regular expression, got {pattern!r}: {error}"
            ) from error
        self.match = compiled.search if where == "search" else compiled.fullmatch

    def judge(self, texts: Sequence[str]) -> list[float]:
        return [float(self.match(text) is not None) for text in texts]


class Lexicon(TextReward):
    """The weights of a text's words: their mean or their sum. A word that is not listed weighs 0.

    Words are split as the task's own (`split_words`), in lower case. The mean does not apply to a
    text without words (NaN); its sum is 0.

    Args:
        weights: the weight of each listed word.
        reduction: `mean` lies between the smallest and the largest weight (or 0), `sum` grows
            with the text.

    Raises:
        ConfigurationError: no word is listed, a listed one is no single word, or `reduction`
            another one.
    """

    name = "lexicon"

    def __init__(self, weights: Mapping[str, float], reduction: str = "mean") -> None:
        if reduction not in ("mean", "sum"):
            raise ConfigurationError(f"lexicon's reduction is mean or sum, got {reduction!r}")
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
    """A penalty for a text with a listed word in it, 0 for any other.

    The list is the user's: which words are not to be said depends on who speaks to whom. None
    comes with the library.

    Args:
        words: the listed ones.
        penalty: the reward of a text that has one of them or more.

    Raises:
        ConfigurationError: no word is listed, a listed one is no single word, or `penalty` is above
            0.
    """

    name = "toxicity"

    def __init__(self, words: Iterable[str], penalty: float = -1.0) -> None:
        if penalty > 0:
            raise ConfigurationError(f"toxicity's penalty is at most 0, got {penalty}")
        self.words = _lowercase(dict.fromkeys(words, 1.0)).keys()
        self.penalty = penalty

    def judge(self, texts: Sequence[str]) -> list[float]:
        return [0.0 if self.words.isdisjoint(split_words(text)) else self.penalty for text in texts]


def lexicon(
    words: Mapping[str, float] | Sequence[str] = (), path: str = "", reduction: str = "mean"
) -> Lexicon:
    """A `Lexicon` of the given words, or of those in a file.

    Args:
        words: weights by word, or words that each weigh 1.
        path: a UTF-8 file with a `word<TAB>weight` or a `word` (of weight 1) on each line; empty
            lines are skipped.

    Raises:
        ConfigurationError: both or none of `words` and `path` are given, or the file breaks its
            form.
    """
    if isinstance(words, str):
        raise ConfigurationError(f"lexicon's words are a mapping or a list, got {words!r}")
    if bool(words) == bool(path):
        raise ConfigurationError(
            f"lexicon takes one of words and path, got words {words!r}, path {path!r}"
        )
    if path:
        return Lexicon(read_weights(Path(path)), reduction)
    listed = words if isinstance(words, Mapping) else dict.fromkeys(words, 1.0)
    return Lexicon(listed, reduction)


def toxicity(path: str, penalty: float = -1.0) -> Toxicity:
    """A `Toxicity` of the words in a file, one a line; a weight behind a tab is not looked at."""
    return Toxicity(read_weights(Path(path)), penalty)


def read_weights(path: Path) -> dict[str, float]:
    """The words of a file and their weights: `word<TAB>weight` or `word` (weight 1) a line.

    Raises:
        ConfigurationError: the file cannot be read, or a line has another form.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"a word list is a UTF-8 file, got {path}: {error}") from error
    weights = {}
    for number, line in enumerate(lines, start=1):
        word, tab, weight = line.strip().partition("\t")
        try:
            if word:
                weights[word] = float(weight) if tab else 1.0
        except ValueError as error:
            raise ConfigurationError(
                f"{path}, line {number}: a line is a word, or a word, a tab and a number,"
                f" got {line!r}"
            ) from error
    return weights


def _lowercase(weights: Mapping[str, float]) -> dict[str, float]:
    """The same weights by words in lower case, as `split_words` gives them."""
    if not weights:
        raise ConfigurationError("a word list has at least one word, got none")
    for word in weights:
        if len(split_words(word)) != 1:
            raise ConfigurationError(
                f"a listed word is one word without spaces or hyphens, got {word!r}"
            )
    return {word.strip().lower(): float(weight) for word, weight in weights.items()}
