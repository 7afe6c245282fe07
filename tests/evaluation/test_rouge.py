"""ROUGE: by hand, and against plain Python on random texts with repeated words and ties."""

import numpy as np
import pytest
from ngram_reference import count_ngrams

from seqgan.evaluation.metrics.rouge import (
    RougeReferences,
    longest_common_subsequences,
    rouge_pairs,
)


def plain_lcs(some, others):
    """The recursion, one cell at a time."""
    lengths = [[0] * (len(others) + 1) for _ in range(len(some) + 1)]
    for i, word in enumerate(some, start=1):
        for j, other in enumerate(others, start=1):
            lengths[i][j] = (
                lengths[i - 1][j - 1] + 1
                if word == other
                else max(lengths[i - 1][j], lengths[i][j - 1])
            )
    return lengths[-1][-1]


def plain_rouge(text, reference):
    """F1 of ROUGE-1, 2 and L from precision and recall."""
    scores = []
    for order in (1, 2):
        counts, real = count_ngrams(text, order), count_ngrams(reference, order)
        scores.append(f1((counts & real).total(), counts.total(), real.total()))
    return [*scores, f1(plain_lcs(text, reference), len(text), len(reference))]


def f1(shared, size, reference_size):
    if shared == 0:
        return 0.0
    precision, recall = shared / size, shared / reference_size
    return 2 * precision * recall / (precision + recall)


def test_by_hand():
    scores = rouge_pairs([["the", "cat", "sat"]], [["the", "cat", "on", "the", "mat"]])
    assert {name: values.tolist() for name, values in scores.items()} == {
        "rouge_1": [pytest.approx(4 / 8)],  # the, cat
        "rouge_2": [pytest.approx(2 / 6)],  # the cat
        "rouge_l": [pytest.approx(4 / 8)],
    }


def test_each_score_has_its_own_best_reference():
    references = RougeReferences(["ab", "xcyb", "cba"])
    scores = references.best(["abc"])
    assert scores["rouge_1"].tolist() == [1.0]  # cba: all words
    assert scores["rouge_2"].tolist() == [pytest.approx(2 / 3)]  # ab: one pair of two, and of one
    assert scores["rouge_l"].tolist() == [pytest.approx(4 / 5)]  # ab


def random_texts(rng, num_texts, num_words, longest):
    return [
        rng.integers(num_words, size=length).tolist()
        for length in rng.integers(0, longest + 1, size=num_texts)
    ]


@pytest.mark.parametrize("first_block", [1, 3, 64])
@pytest.mark.parametrize("num_words", [2, 5, 30])
def test_the_best_equals_plain_python(monkeypatch, num_words, first_block):
    monkeypatch.setattr("seqgan.evaluation.metrics.rouge.FIRST_BLOCK", first_block)
    rng = np.random.default_rng(num_words)
    references = random_texts(rng, 25, num_words, 12)
    texts = [*random_texts(rng, 20, num_words + 1, 12), [], ["unseen"]]
    scores = RougeReferences(references).best(texts)
    for place, text in enumerate(texts):
        expected = np.max([plain_rouge(text, real) for real in references], axis=0)
        found = [values[place] for values in scores.values()]
        assert found == pytest.approx(expected.tolist(), abs=1e-12)


def test_pairs_equal_plain_python():
    rng = np.random.default_rng(0)
    texts, references = random_texts(rng, 30, 4, 9), random_texts(rng, 30, 4, 9)
    scores = np.array(list(rouge_pairs(texts, references).values())).T
    expected = [plain_rouge(*pair) for pair in zip(texts, references, strict=True)]
    assert scores.tolist() == [pytest.approx(row, abs=1e-12) for row in expected]


def test_subsequences_of_many_rows_at_once():
    rows = np.array([[1, 2, 3, 4], [4, 3, 2, 1], [1, 3, 4, -1], [-1, -1, -1, -1]])
    assert longest_common_subsequences([1, 2, 4], rows).tolist() == [3, 1, 2, 0]
    assert longest_common_subsequences([], rows).tolist() == [0, 0, 0, 0]


def test_references_of_very_different_lengths():
    """One long reference: only the blocks that hold it are wide."""
    references = [["a"], ["b", "c"], [*"abc"] * 500]
    scores = RougeReferences(references).best([[*"abc"], ["b", "c"]])
    assert scores["rouge_l"].tolist() == [pytest.approx(4 / 5), 1.0]


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (lambda: RougeReferences([]), "ROUGE needs at least one reference, got none"),
        (lambda: rouge_pairs(["a"], ["a", "b"]), "one reference for each .*, got 2 for 1"),
        (lambda: rouge_pairs([], []), "one reference for each .*, got 0 for 0"),
    ],
)
def test_errors_say_the_rule(call, rule):
    with pytest.raises(ValueError, match=rule):
        call()
