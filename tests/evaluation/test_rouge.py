"""ROUGE of pairs: by hand, and against plain Python on random texts with repeated words."""

import numpy as np
import pytest
from ngram_reference import count_ngrams

from seqgan.evaluation.metrics.rouge import longest_common_subsequence, rouge_pairs


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


def random_texts(rng, num_texts, num_words, longest):
    return [
        rng.integers(num_words, size=length).tolist()
        for length in rng.integers(0, longest + 1, size=num_texts)
    ]


def test_pairs_equal_plain_python():
    rng = np.random.default_rng(0)
    texts, references = random_texts(rng, 30, 4, 9), random_texts(rng, 30, 4, 9)
    scores = np.array(list(rouge_pairs(texts, references).values())).T
    expected = [plain_rouge(*pair) for pair in zip(texts, references, strict=True)]
    assert scores.tolist() == [pytest.approx(row, abs=1e-12) for row in expected]


@pytest.mark.parametrize(
    ("text", "reference", "length"),
    [("124", "1234", 3), ("124", "4321", 1), ("124", "134", 2), ("", "12", 0), ("12", "", 0)],
)
def test_subsequences_by_hand(text, reference, length):
    assert longest_common_subsequence(text, reference) == length


def test_texts_without_words_or_pairs_of_words():
    scores = rouge_pairs([[], ["a"], [], ["a"]], [["a"], [], [], ["a"]])
    assert scores["rouge_1"].tolist() == [0, 0, 0, 1]
    assert scores["rouge_2"].tolist() == [0, 0, 0, 0]
    assert scores["rouge_l"].tolist() == [0, 0, 0, 1]


def test_each_pair_is_for_itself():
    texts = [["a", "b"], ["c", "d"]]
    assert rouge_pairs(texts, texts)["rouge_l"].tolist() == [1, 1]
    assert rouge_pairs(texts, texts[::-1])["rouge_l"].tolist() == [0, 0]


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (lambda: rouge_pairs(["a"], ["a", "b"]), "there are 2 references for 1 hypotheses"),
        (lambda: rouge_pairs([], []), "there are 0 references for 0 hypotheses"),
    ],
)
def test_errors_say_the_rule(call, rule):
    with pytest.raises(ValueError, match=rule):
        call()
