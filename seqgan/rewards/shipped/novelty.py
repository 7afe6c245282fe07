"""Rewards for text that is not copied from the training set."""

import torch
from jaxtyping import Float
from torch import Tensor

from seqgan.data.sequences import Sequences
from seqgan.rewards.base import Reward
from seqgan.rewards.shipped.hashing import hash_rows
from seqgan.rewards.shipped.ngram_table import NgramTable, word_mask, words_of
from seqgan.system.checks import Size, checked
from seqgan.system.errors import ConfigurationError
from seqgan.tasks.base import JUDGE, Task, needs_texts

CHUNK = 2**16  # number of training sequences read at a time


class SpanNovelty(Reward):
    """1 - (words of the longest span copied from a training text) / (words of the text).

    In [0, 1]: 0 if a training text contains the whole text. It does not apply to a text without
    words (NaN).

    Args:
        training: the training texts' n-grams; longer copied spans than its `max_order` count as
            `max_order` words.
    """

    name = "novelty"

    def __init__(self, training: NgramTable) -> None:
        self.training = training

    def score(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        self.training = self.training.to(sequences.tokens.device)
        words, lengths = words_of(sequences)
        longest = torch.zeros_like(lengths)
        for order, (texts, _) in enumerate(self.training.find(words, lengths), start=1):
            longest[texts] = order
        return 1 - longest / lengths  # 0 / 0 is NaN


class NgramNovelty(Reward):
    """The share of a text's n-grams that occur in no training text.

    A text shorter than n is an n-gram of its own length. In [0, 1]; it does not apply to a text
    without words (NaN).

    Args:
        training: the training texts' n-grams; n is its `max_order`.
    """

    name = "novelty"

    def __init__(self, training: NgramTable) -> None:
        self.training = training

    def score(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        self.training = self.training.to(sequences.tokens.device)
        words, lengths = words_of(sequences)
        orders = lengths.clamp(max=self.training.max_order)
        num_copied = torch.zeros_like(lengths)
        for order, (texts, _) in enumerate(self.training.find(words, lengths), start=1):
            counts = torch.bincount(texts, minlength=len(lengths))
            num_copied = torch.where(orders == order, counts, num_copied)
        novelty = 1 - num_copied / (lengths - orders + 1)
        return torch.where(lengths > 0, novelty, torch.nan)


class TextNovelty(Reward):
    """0 for a text that equals a training text, 1 for any other.

    Texts are compared by hashes of 64 bits, so one in billions of new texts passes for a copy.

    Args:
        training: `hash_rows` of the training texts' words.
    """

    name = "novelty"

    def __init__(self, training: Tensor) -> None:
        self.training = training.unique()

    def score(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        self.training = self.training.to(sequences.tokens.device)
        hashes = hash_rows(sequences.tokens, word_mask(sequences))
        return (~torch.isin(hashes, self.training)).float()


def novelty(task: Task, measure: str = "span", ngram_size: int = 4) -> Reward:
    """Makes a reward for texts that are not copied from the training set, which is read whole.

    Args:
        measure: `span` is `SpanNovelty`, `ngrams` is `NgramNovelty`, `text` is `TextNovelty`. A
            table takes about 16 bytes per training word and order. `span` has orders up to the
            longest text, `ngrams` up to `ngram_size`.
        ngram_size: number of words of an n-gram; only `ngrams` uses it.

    Raises:
        ConfigurationError: `measure` is unknown, `ngram_size` is below 1, or the task has no texts.
    """
    needs_texts(task, "reward novelty", JUDGE)
    chunks = task.chunks("train", CHUNK)
    if measure == "text":
        hashes = [hash_rows(chunk.tokens, word_mask(chunk)) for chunk in chunks]
        return TextNovelty(torch.cat(hashes))
    checked("novelty's ngram_size", ngram_size, Size)
    if measure == "span":
        return SpanNovelty(NgramTable.of_sequences(chunks, task.vocabulary.size, task.max_length))
    if measure == "ngrams":
        return NgramNovelty(NgramTable.of_sequences(chunks, task.vocabulary.size, ngram_size))
    raise ConfigurationError(f"novelty's measure is {measure!r}, but must be span, ngrams or text")
