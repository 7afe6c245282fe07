"""Rewards that other packages know how to give: `pip install 'seqgan[rewards]'`."""

from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType

from seqgan.rewards.base import RewardError
from seqgan.rewards.shipped.texts import TextReward


class Sentiment(TextReward):
    """How positive a text is: the compound score of VADER (Hutto and Gilbert, 2014).

    In [-1, 1], by a lexicon of English words and rules; 0 for a neutral text and for an empty one.

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

    In [-1, 0]: a linear classifier over the words of English comments, which was trained on what
    annotators found offensive and shares their mistakes.

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
    try:
        return import_module(module)
    except ImportError as error:
        wanted = distribution or module.partition(".")[0]
        raise RewardError(
            reward, f"it needs the package {wanted}: pip install 'seqgan[rewards]' ({error})"
        ) from error
