"""Rewards that count n-grams: those shared with real texts (PG-BLEU), and repeated ones."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seqgan.data.sequences import Sequences
from seqgan.rewards.base import Reward
from seqgan.rewards.shipped.ngram_table import NgramTable, count_ngrams, words_of
from seqgan.system.checks import Penalty, Size, checked
from seqgan.system.errors import ConfigurationError
from seqgan.tasks.base import JUDGE, Task, needs_texts

EPSILON = 0.1  # numerator of a precision without a match: smoothing


class NgramPrecision(Reward):
    """BLEU of each text against all references: the reward of PG-BLEU (Yu et al., 2017, sec. 4).

    The geometric mean of the modified precisions of the orders 1 to `max_order` (Papineni et al.,
    2002), smoothed by the first method of Chen and Cherry (2014): a precision without a match
    gets the numerator 0.1. A text that shares no word with any reference scores 0. In [0, 1].

    Args:
        references: real texts. The reward rises with their number.
        num_ids: the vocabulary's size.
        max_order: number of words of the longest n-grams.
        brevity_penalty: True penalises texts shorter than the reference of the closest length.

    Raises:
        ConfigurationError: `references` is empty, or `max_order` is below 1.
    """

    name = "ngram_precision"

    def __init__(
        self,
        references: Sequences,
        num_ids: int,
        max_order: int = 4,
        brevity_penalty: bool = True,
    ) -> None:
        if not len(references):
            raise ConfigurationError("ngram_precision has no references, but needs at least one")
        checked("ngram_precision's max_order", max_order, Size)
        self.table = NgramTable.of_sequences([references], num_ids, max_order)
        self.reference_lengths = words_of(references)[1].unique()
        self.brevity_penalty = brevity_penalty

    def score(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        self.table = self.table.to(sequences.tokens.device)
        words, lengths = words_of(sequences)
        log_precision = torch.zeros_like(lengths, dtype=torch.float64)
        shares_a_word = torch.zeros_like(lengths, dtype=torch.bool)
        for order, matches in enumerate(self.table.matches(words, lengths), start=1):
            shares_a_word |= matches > 0
            num_ngrams = (lengths - order + 1).clamp(min=1)
            log_precision += (torch.where(matches > 0, matches, EPSILON) / num_ngrams).log()
        bleu = (log_precision / self.table.max_order).exp() * shares_a_word
        if self.brevity_penalty:
            ratio = self._closest_lengths(lengths) / lengths.clamp(min=1)
            bleu *= (1 - ratio).clamp(max=0.0).exp()
        return bleu.float()

    def _closest_lengths(self, lengths: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
        """The reference length closest to each length; of two equally close ones the shorter."""
        self.reference_lengths = self.reference_lengths.to(lengths.device)
        # Twice the distance, plus one if the reference is longer, so that no two numbers tie.
        gaps = self.reference_lengths - lengths[:, None]
        return self.reference_lengths[(2 * gaps.abs() + (gaps > 0)).argmin(dim=1)]


def ngram_precision(
    task: Task,
    num_references: int = 1000,
    max_order: int = 4,
    brevity_penalty: bool = True,
    seed: int = 0,
) -> NgramPrecision:
    """Makes an `NgramPrecision` against training texts.

    Args:
        num_references: number of training texts drawn with `seed`; a smaller set is used whole.

    Raises:
        ConfigurationError: `num_references` or `max_order` is below 1, or the task has no texts.
    """
    if num_references < 1:
        raise ConfigurationError(f"num_references is {num_references}, but must be at least 1")
    needs_texts(task, "reward ngram_precision", JUDGE)
    rng = torch.Generator().manual_seed(seed)
    references = task.real("train", min(num_references, task.size("train")), rng)
    return NgramPrecision(references, task.vocabulary.size, max_order, brevity_penalty)


class Repetition(Reward):
    """Penalises texts that repeat themselves, by their share of repeated n-grams.

    max_penalty (1 - distinct / all n-grams) over the text's own n-grams (Yeo et al., 2025, app.
    C.2), as in TRL's `get_repetition_penalty_reward`, but over words alone, without eos. In
    [max_penalty, 0]; 0 for a text shorter than n.

    Args:
        ngram_size: number of words of an n-gram.
        max_penalty: the limit for a text of nothing but repeats.

    Raises:
        ConfigurationError: `ngram_size` is below 1 or `max_penalty` above 0.
    """

    name = "repetition"

    def __init__(self, ngram_size: int = 3, max_penalty: float = -1.0) -> None:
        self.ngram_size = checked("repetition's ngram_size", ngram_size, Size)
        self.max_penalty = checked("repetition's max_penalty", max_penalty, Penalty)

    def score(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        words, lengths = words_of(sequences)
        num_ids = int(words.max()) + 1 if len(words) else 1
        *_, (_, texts, numbers) = count_ngrams(words, lengths, num_ids, self.ngram_size)
        num_texts = len(lengths)
        distinct = torch.unique(numbers * num_texts + texts) % num_texts
        num_distinct = torch.bincount(distinct, minlength=num_texts)
        num_ngrams = (lengths - self.ngram_size + 1).clamp(min=0)
        repeated = (num_ngrams - num_distinct) / num_ngrams.clamp(min=1)
        return self.max_penalty * repeated
