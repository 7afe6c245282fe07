"""Divergences of lengths and of rank-frequency curves, by hand."""

import math

import numpy as np
import pytest

from seqgan.evaluation.metrics.shapes import jensen_shannon, length_divergence, zipf_divergence

LOG_2 = math.log(2)


def entropy(*probabilities):
    return -math.fsum(p * math.log(p) for p in probabilities)


def test_jensen_shannon_by_hand():
    assert jensen_shannon(np.array([2, 2, 0]), np.array([0, 1, 3])) == pytest.approx(
        entropy(1 / 4, 3 / 8, 3 / 8) - (entropy(1 / 2, 1 / 2) + entropy(1 / 4, 3 / 4)) / 2
    )
    assert jensen_shannon(np.array([1, 0]), np.array([0, 5])) == pytest.approx(LOG_2)
    assert jensen_shannon(np.array([1, 3, 1]), np.array([2, 6, 2])) == 0.0


def test_lengths_by_hand():
    # Half of length 1 and half of length 3, against all of length 1.
    expected = entropy(3 / 4, 1 / 4) - entropy(1 / 2, 1 / 2) / 2
    assert length_divergence(["a", "abc"], ["x", "y", "z"]) == pytest.approx(expected)
    assert length_divergence(["x", "y", "z"], ["a", "abc"]) == pytest.approx(expected)
    assert length_divergence(["ab", ""], ["", "cd"]) == 0.0
    assert length_divergence(["", ""], ["a"]) == pytest.approx(LOG_2)


def test_the_curve_does_not_see_which_words_they_are():
    assert zipf_divergence(["aab", "ac"], ["xyx", "zx"]) == 0.0
    # 3, 1, 1 of five words against 2, 2 of four.
    expected = (
        entropy(11 / 20, 7 / 20, 2 / 20)
        - (entropy(3 / 5, 1 / 5, 1 / 5) + entropy(1 / 2, 1 / 2)) / 2
    )
    assert zipf_divergence(["aab", "ac"], ["xxyy"]) == pytest.approx(expected)


def test_one_repeated_word_is_far_from_a_flat_curve():
    flat = [chr(ord("a") + index) for index in range(26)]
    assert zipf_divergence(["a"] * 26, flat) > 0.5
    assert zipf_divergence(flat, flat) == 0.0


def test_texts_without_words_have_nothing_in_common_with_others():
    assert zipf_divergence(["", ""], ["a"]) == zipf_divergence(["a"], [""]) == LOG_2
    assert zipf_divergence([""], ["", ""]) == 0.0


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (
            lambda: length_divergence([], ["a"]),
            "there are 0 samples and 1 real texts, but the divergence needs texts on both sides",
        ),
        (
            lambda: zipf_divergence(["a"], []),
            "there are 1 samples and 0 real texts, but the divergence needs texts on both sides",
        ),
    ],
)
def test_errors_say_the_rule(call, rule):
    with pytest.raises(ValueError, match=rule):
        call()
