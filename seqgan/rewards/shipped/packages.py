"""Rewards that other packages compute: `pip install 'seqgan[rewards]'`."""

from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType

from seqgan.rewards.base import RewardError
from seqgan.rewards.shipped.texts import TextReward


class Sentiment(TextReward):
    """Rewards positive texts by VADER's compound score (Hutto and Gilbert, 2014).

    In [-1, 1]; 0 for a neutral or empty text. VADER uses a lexicon of English words and rules.

    Raises:
        RewardError: the package vaderSentiment is missing.
    """

    name = "sentiment"

    def __init__(self) -> None:
        vader = _package(self.name, "vaderSentiment.vaderSentiment")
        self.scores: Callable[[str], dict[str, float]] = (
            vader.SentimentIntensityAnalyzer().polarity_scores
        )

    def judge(self, texts: Sequence[str]) -> list[float]:
        return [self.scores(text)["compound"] for text in texts]


class Profanity(TextReward):
    """Minus the probability that a text is profane or offensive, by alt-profanity-check.

    In [-1, 0]. The judge is a linear classifier over the words of English comments. It learned from
    annotators' labels and shares their mistakes.

    Raises:
        RewardError: the package alt-profanity-check is missing.
    """

    name = "profanity"

    def __init__(self) -> None:
        self.probabilities: Callable[[Sequence[str]], Sequence[float]] = _package(
            self.name, "profanity_check", "alt-profanity-check"
        ).predict_prob

    def judge(self, texts: Sequence[str]) -> list[float]:
        # The classifier refuses an empty list.
        return [-float(value) for value in self.probabilities(texts)] if texts else []


def _package(reward: str, module: str, distribution: str = "") -> ModuleType:
    """Imports an optional package; an error names the reward and the package to install."""
    try:
        return import_module(module)
    except ImportError as error:
        package = distribution or module.partition(".")[0]
        raise RewardError(
            reward,
            f"the package {package} is missing, which it needs: pip install"
            f" 'seqgan[rewards]' ({error})",
        ) from error
