"""Rewards for text that is not copied from the training set."""

import torch
from jaxtyping import Float
from torch import Tensor

from seqgan.data.sequences import Sequences
from seqgan.rewards.base import Reward
from seqgan.rewards.shipped.hashing import hash_rows
from seqgan.rewards.shipped.ngram_table import NgramTable, word_mask, words_of
from seqgan.system.errors import ConfigurationError
from seqgan.tasks.base import Task

CHUNK = 2**16  # training sequences that are read at a time


class SpanNovelty(Reward):
    """1 minus the share of a text that its longest span copied from a training text makes up.

    In [0, 1]: 0 for a text that stands as a whole in a training text. It does not apply to a text
    without words (NaN).

    Args:
        training: the training texts' n-grams; a copied span is at most `max_order` words long.
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
    """The share of a text's n-grams that stand in no training text.

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
        num_known = torch.zeros_like(lengths)
        for order, (texts, _) in enumerate(self.training.find(words, lengths), start=1):
            known = torch.bincount(texts, minlength=len(lengths))
            num_known = torch.where(orders == order, known, num_known)
        novelty = 1 - num_known / (lengths - orders + 1)
        return torch.where(lengths > 0, novelty, torch.nan)


class TextNovelty(Reward):
    """0 for a text that stands word for word among the training texts, 1 for any other.

    Texts are compared by 64 bits of them, so one in billions of new ones passes for a copy.

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
    """How little of a text is copied from the training set, all of which is read.

    Args:
        measure: `span` is `SpanNovelty`, `ngrams` is `NgramNovelty`, `text` is `TextNovelty`.
            A table takes about 16 bytes for every training word and order: the orders are those
            up to the longest text for `span`, up to `ngram_size` for `ngrams`.
        ngram_size: words of an n-gram, for `ngrams` alone.

    Raises:
        ConfigurationError: `measure` is another one, or `ngram_size` is below 1.
    """
    chunks = task.chunks("train", CHUNK)
    if measure == "text":
        hashes = [hash_rows(chunk.tokens, word_mask(chunk)) for chunk in chunks]
        return TextNovelty(torch.cat(hashes))
    if ngram_size < 1:
        raise ConfigurationError(f"novelty's ngram_size is at least 1, got {ngram_size}")
    if measure == "span":
        return SpanNovelty(NgramTable.of_sequences(chunks, task.vocabulary.size, task.max_length))
    if measure == "ngrams":
        return NgramNovelty(NgramTable.of_sequences(chunks, task.vocabulary.size, ngram_size))
    raise ConfigurationError(f"novelty's measure is span, ngrams or text, got {measure!r}")
