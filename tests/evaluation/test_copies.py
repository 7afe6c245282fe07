"""Copies from the training data, against the plain definitions on lists."""

import ngram_reference as plain
import numpy as np
import pytest
import torch
from toys import ENDING, FIXED, every_sequence

from seqgan.data.sequences import Sequences
from seqgan.evaluation.measure import token_rows
from seqgan.evaluation.metrics.copies import SPAN, copies_from_texts, copies_from_training
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
def test_whole_texts_equal_the_plain_definition(vocabulary, chunk_size):
    everything = every_sequence(vocabulary)
    rates = set()
    for seed in range(8):
        train, samples = drawn(everything, 40, seed), drawn(everything, 30, 100 + seed)
        rate = copies_from_training(samples, task_of(train), chunk_size).whole.mean()
        assert rate == pytest.approx(plain.copied_rate(token_rows(samples), token_rows(train)))
        rates.add(rate)
    assert len(rates) > 3


def test_only_words_are_compared():
    """A row that ends with eos, one that was cut, and rows of another width."""
    train = Sequences.from_rows([[0, 1, EOS], [1, 0]], ENDING, LENGTH)
    samples = Sequences.from_rows([[0, 1], [1, 0, EOS], [0, EOS], [0, 1, 0]], ENDING, 3)
    copies = copies_from_training(samples, task_of(train))
    assert copies.whole.tolist() == [True, True, False, False]
    assert copies.lengths.tolist() == [2, 2, 1, 3]


def test_empty_texts_are_copies_of_empty_texts():
    assert copies_from_texts(["", "a", ""], ["b", ""]).whole.tolist() == [True, False, True]
    assert copies_from_texts(["", "a", ""], ["b", "a"]).whole.tolist() == [False, True, False]


def test_repeated_samples_count_each_time():
    train = Sequences.from_rows([[0, 1, EOS]] * 3, ENDING, LENGTH)
    samples = Sequences.from_rows([[0, 1, EOS]] * 3 + [[EOS]], ENDING, LENGTH)
    assert copies_from_training(samples, task_of(train)).whole.tolist() == [True] * 3 + [False]


def random_texts(rng, num_texts, num_words, longest):
    return [
        rng.integers(num_words, size=length).tolist()
        for length in rng.integers(0, longest + 1, size=num_texts)
    ]


# Two words only: eight of them in a row often stand elsewhere; more words make it rare.
@pytest.mark.parametrize("num_words", [2, 3])
@pytest.mark.parametrize("chunk_size", [1, 5, 1000])
def test_spans_equal_the_plain_definition(chunk_size, num_words):
    shares = set()
    for seed in range(5):
        rng = np.random.default_rng(seed)
        train, samples = (random_texts(rng, size, num_words, 40) for size in (20, 12))
        samples.append(["a word that is not in train"] * 12)
        copies = copies_from_texts(samples, iter(train), chunk_size)
        expected = plain.words_in_copied_spans(samples, train, SPAN)
        assert copies.in_spans.tolist() == expected
        assert copies.lengths.tolist() == [len(text) for text in samples]
        shares.add(sum(expected) / sum(map(len, samples)))
    assert len(shares) > 3
    assert 0 < max(shares) < 1


def test_spans_by_hand():
    train = ["abcdefghij", "lmnopqrs", "tuv"]
    samples = {
        "abcdefgh": 8,  # the first eight
        "xabcdefghijx": 10,  # three spans that overlap
        "abcdefg": 0,  # too short
        "abcdefgxefghij": 0,  # seven, and six
        "abcdefghlmnopqrs": 16,  # of two texts, side by side
        "hijlmnop": 0,  # across the end of a text
        "": 0,
    }
    assert copies_from_texts(list(samples), train).in_spans.tolist() == list(samples.values())


def test_equal_sums_are_no_copies(monkeypatch):
    """The sums only say what to compare: with a multiplier of 1, permutations have equal sums."""
    monkeypatch.setattr("seqgan.evaluation.metrics.copies.MULTIPLIER", 1)
    copies = copies_from_texts(["abcdefgh", "abcdefgi"], ["bacdefgh", "hgfedcba", "abcdefgi"])
    assert copies.whole.tolist() == [False, True]
    assert copies.in_spans.tolist() == [0, 8]


def test_training_texts_go_by_once():
    """A file of any size is read as it comes."""
    train = iter([("a", "b"), ("c",)])
    assert copies_from_texts([("c",), ("b",)], train).whole.tolist() == [True, False]
    assert list(train) == []


def test_no_sample():
    train = Sequences.from_rows([[0, EOS]], ENDING, LENGTH)
    with pytest.raises(
        ValueError, match="there are no samples to look for copies in, but at least one is needed"
    ):
        copies_from_training(train.select(torch.arange(0)), task_of(train))
