"""Copies from the training data, against the plain definition on lists."""

import pytest
import torch
from toys import ENDING, FIXED, every_sequence

from seqgan.evaluation.copies import copied_from_training
from seqgan.evaluation.measure import token_rows
from seqgan.evaluation.ngrams import copied_rate
from seqgan.sequences import Sequences
from seqgan.tasks.base import FixedTask

LENGTH = 4
EOS = ENDING.eos_id


def task_of(train: Sequences) -> FixedTask:
    return FixedTask(train.vocabulary or ENDING, LENGTH, {"train": train})


def drawn(everything: Sequences, n: int, seed: int) -> Sequences:
    rng = torch.Generator().manual_seed(seed)
    return everything.select(torch.randint(len(everything), (n,), generator=rng))


@pytest.mark.parametrize("vocabulary", [ENDING, FIXED], ids=["with an eos", "without"])
@pytest.mark.parametrize("chunk_size", [1, 7, 1000])
def test_equals_the_plain_definition(vocabulary, chunk_size):
    everything = every_sequence(vocabulary)
    rates = set()
    for seed in range(8):
        train, samples = drawn(everything, 40, seed), drawn(everything, 30, 100 + seed)
        rate = copied_from_training(samples, task_of(train), chunk_size)
        assert rate == pytest.approx(copied_rate(token_rows(samples), token_rows(train)))
        rates.add(rate)
    assert len(rates) > 3


def test_only_words_are_compared():
    """A row that ends with eos, one that was cut, and rows of another width."""
    train = Sequences.from_rows([[0, 1, EOS], [1, 0]], ENDING, LENGTH)
    samples = Sequences.from_rows([[0, 1], [1, 0, EOS], [0, EOS], [0, 1, 0]], ENDING, 3)
    assert copied_from_training(samples, task_of(train)) == 2 / 4


def test_repeated_samples_count_each_time():
    train = Sequences.from_rows([[0, 1, EOS]] * 3, ENDING, LENGTH)
    samples = Sequences.from_rows([[0, 1, EOS]] * 3 + [[EOS]], ENDING, LENGTH)
    assert copied_from_training(samples, task_of(train)) == 3 / 4


def test_equal_sums_are_no_copies(monkeypatch):
    """The sum only says what to compare: with all weights 1, a row's permutations have its sum."""

    class Ones:
        def integers(self, low, high, size):
            return torch.zeros(size, dtype=torch.long).numpy()

    monkeypatch.setattr("numpy.random.default_rng", lambda seed: Ones())
    train = Sequences.from_rows([[0, 1, 2, EOS], [2, 0, 1, EOS]], ENDING, LENGTH)
    samples = Sequences.from_rows([[2, 1, 0, EOS], [2, 0, 1, EOS]], ENDING, LENGTH)
    assert copied_from_training(samples, task_of(train)) == 1 / 2


def test_no_sample():
    train = Sequences.from_rows([[0, EOS]], ENDING, LENGTH)
    with pytest.raises(ValueError, match="the copied rate needs at least one sample, got none"):
        copied_from_training(train.select(torch.arange(0)), task_of(train))
