"""n-gram metrics: against plain Python, NLTK, by hand, and against a published table.

The table is the one in the README of geek-ai/Texygen: COCO captions, row MLE.
"""

import math
from pathlib import Path

import ngram_reference as plain
import numpy as np
import pytest
from nltk.translate import bleu_score

from seqgan.data.vocabulary import split_words
from seqgan.evaluation.metrics.ngrams import (
    bleu,
    distinct,
    duplicate_rate,
    self_bleu,
    sentence_bleu,
)

ORDERS = (2, 3, 4, 5)
NUM_SAMPLES = 9_984


def nltk_bleu(hypothesis, references, order):
    smoothing = bleu_score.SmoothingFunction(epsilon=0.1).method1
    weights = (1 / order,) * order
    return bleu_score.sentence_bleu(references, hypothesis, weights, smoothing_function=smoothing)


def random_texts(rng, num_texts, words, max_length, min_length=0):
    lengths = rng.integers(min_length, max_length + 1, size=num_texts)
    return [[words[index] for index in rng.integers(len(words), size=n)] for n in lengths]


# Few words and short texts give repeated n-grams, ties, duplicates, empty texts and texts shorter
# than n; many words give hypotheses without a match.
@pytest.mark.parametrize("max_order", [2, 5, 7])
@pytest.mark.parametrize("num_words", [1, 2, 4, 40])
@pytest.mark.parametrize("max_length", [1, 4, 12])
@pytest.mark.parametrize("seed", range(5))
def test_equals_plain_python(seed, max_length, num_words, max_order):
    rng = np.random.default_rng(seed)
    words = [chr(ord("a") + index) for index in range(num_words)]
    hypotheses = random_texts(rng, int(rng.integers(1, 12)), [*words, "unseen"], max_length)
    references = random_texts(rng, int(rng.integers(1, 12)), words, max_length)
    texts = [*hypotheses, *references]
    expected = plain.sentence_bleu(hypotheses, references, max_order)
    assert_equal(sentence_bleu(hypotheses, references, max_order), expected)
    assert_means_of(bleu(hypotheses, references, max_order), expected)
    leave_one_out = plain.sentence_self_bleu(texts, max_order)
    assert_means_of(self_bleu(texts, max_order), leave_one_out)
    for size in {1, len(texts) // 2, len(texts)}:
        chosen = np.random.default_rng(seed).choice(len(texts), size=size, replace=False)
        drawn = {order: np.array(scores)[chosen] for order, scores in leave_one_out.items()}
        rng = np.random.default_rng(seed)
        assert_means_of(self_bleu(texts, max_order, size, rng), drawn)
    for order in range(1, max_order + 1):
        assert distinct(texts, order) == plain.distinct(texts, order)


def assert_equal(found, expected):
    assert list(found) == list(expected)
    for order, values in expected.items():
        np.testing.assert_allclose(found[order], values, rtol=0, atol=1e-12)


def assert_means_of(found, expected):
    assert_equal(found, {order: np.mean(values) for order, values in expected.items()})


@pytest.mark.parametrize("seed", range(40))
def test_bleu_equals_nltk(seed):
    rng = np.random.default_rng(seed)
    hypotheses = random_texts(rng, 6, "abcd", max_length=9)
    references = random_texts(rng, int(rng.integers(1, 6)), "bcdef", max_length=9)
    scores = bleu(hypotheses, references)
    assert tuple(scores) == ORDERS
    for order in ORDERS:
        expected = np.mean([nltk_bleu(text, references, order) for text in hypotheses])
        assert scores[order] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("hypothesis", "references"),
    [
        ("abcdef", ["abcdef"]),  # identical
        ("a", ["abcde"]),  # one word: no n-gram of a higher order, and a large brevity penalty
        ("ab", ["ab", "abc"]),
        ("xyz", ["abc"]),  # no overlap
        ("", ["abc"]),
        ("abc", [""]),
        ("aaaaaa", ["ab", "aab"]),  # clipped at the largest count in one reference, not the sum
        ("cab", ["abc"]),  # words match, order does not
        ("abcd", ["ab", "abcdef"]),  # two lengths as near: the shorter one, no penalty
        ("abcd", ["abcdef"]),
        ("abcdefg", ["abc"]),
    ],
)
def test_bleu_equals_nltk_in_edge_cases(hypothesis, references):
    scores = bleu([hypothesis], references)
    for order in ORDERS:
        expected = nltk_bleu(list(hypothesis), [list(text) for text in references], order)
        assert scores[order] == pytest.approx(expected, abs=1e-9)


def test_bleu_by_hand():
    # Matches 3 of 4 words and 1 of 3 pairs, no triple of 2; as long as the reference.
    scores = bleu(["abxc"], ["cabd"], max_order=3)
    assert scores == pytest.approx(
        {2: math.sqrt(3 / 4 * 1 / 3), 3: (3 / 4 * 1 / 3 * 0.1 / 2) ** (1 / 3)}
    )
    # Everything matches, at half the length: the penalty exp(1 - 4/2) alone.
    assert bleu(["ab"], ["abcd"], max_order=2) == pytest.approx({2: math.exp(-1)})


def test_a_hypothesis_scores_the_same_in_any_company():
    rng = np.random.default_rng(0)
    texts = random_texts(rng, 30, "abcde", max_length=9)
    hypotheses, references = texts[:20], texts[20:]
    together = sentence_bleu(hypotheses, references)
    for index, text in enumerate(hypotheses):
        assert_equal(
            {order: scores[index] for order, scores in together.items()}, bleu([text], references)
        )


def test_tokens_are_the_same_if_they_are_equal():
    numbers, mixed = [[1, 2, 3, 1, 2]], [(True, 2.0, 3, 1, np.int64(2))]
    assert bleu(numbers, mixed) == pytest.approx(dict.fromkeys(ORDERS, 1.0))
    assert bleu([["1", "2"]], [[1, 2]]) == dict.fromkeys(ORDERS, 0.0)
    assert bleu([[("a", "b"), None]], [[("a", "b"), None]], 2) == pytest.approx({2: 1.0})


def test_bleu_takes_ids():
    words = bleu(["abxc", "ab"], ["cabd", "axe"])
    ids = [[ord(letter) for letter in text] for text in ("abxc", "ab", "cabd", "axe")]
    assert bleu(ids[:2], ids[2:]) == words


@pytest.mark.parametrize("seed", range(40))
def test_self_bleu_equals_nltk_leave_one_out(seed):
    rng = np.random.default_rng(seed)
    texts = random_texts(rng, int(rng.integers(2, 8)), "abc", max_length=8)
    texts.append(list(texts[0]))  # an exact duplicate stays a reference
    scores = self_bleu(texts)
    assert tuple(scores) == ORDERS
    for order in ORDERS:
        expected = np.mean(
            [
                nltk_bleu(text, texts[:index] + texts[index + 1 :], order)
                for index, text in enumerate(texts)
            ]
        )
        assert scores[order] == pytest.approx(expected, abs=1e-9)


def test_self_bleu_leaves_the_text_itself_out():
    assert self_bleu(["abcdef", "uvwxyz"]) == dict.fromkeys(ORDERS, 0.0)
    assert self_bleu(["abcdef", "abcdef"]) == pytest.approx(dict.fromkeys(ORDERS, 1.0))


def test_self_bleu_by_hand():
    # Counts of "a" are 3, 2 and 2, and its pairs 2, 1 and 1: the first text is clipped at what the
    # others have, the others are not clipped by it.
    first = math.sqrt(2 / 3 * 1 / 2)
    assert self_bleu(["aaa", "aa", "aa"], max_order=2) == pytest.approx({2: (first + 1 + 1) / 3})


def test_self_bleu_of_drawn_hypotheses_keeps_all_references():
    rng = np.random.default_rng(0)
    texts = random_texts(rng, 12, "abcd", max_length=9, min_length=3)
    everything = self_bleu(texts)
    drawn = self_bleu(texts, num_hypotheses=len(texts), rng=np.random.default_rng(1))
    assert drawn == pytest.approx(everything)

    singles = [
        nltk_bleu(text, texts[:index] + texts[index + 1 :], 4) for index, text in enumerate(texts)
    ]
    seen = set()
    for seed in range(30):
        score = self_bleu(texts, num_hypotheses=1, rng=np.random.default_rng(seed))[4]
        distances = np.abs(np.array(singles) - score)
        assert distances.min() < 1e-9
        seen.add(int(distances.argmin()))
    assert len(seen) > 4  # 30 draws out of 12


def test_self_bleu_draws_by_the_rng_alone():
    texts = random_texts(np.random.default_rng(0), 40, "abcd", max_length=9, min_length=3)
    first, again, other = (
        self_bleu(texts, num_hypotheses=5, rng=np.random.default_rng(seed)) for seed in (3, 3, 4)
    )
    assert first == again
    assert first != other


def test_distinct():
    texts = ["abab", "abc", "a"]
    assert distinct(texts, 1) == 3 / 8  # a b c
    assert distinct(texts, 2) == 3 / 5  # ab ba bc among ab ba ab, ab bc
    assert distinct(texts, 3) == 3 / 3  # aba bab, abc
    assert distinct(texts, 5) == 0.0  # every text is shorter
    assert distinct([[1, 1], [1, 2]], 2) == 1.0


def test_duplicate_rate():
    assert duplicate_rate([["a"], ["b"], ["a"], ["a"]]) == 0.5
    assert duplicate_rate([["a", "b"], ["b", "a"], ["ab"]]) == 0.0
    assert duplicate_rate([[1, 2], (1, 2)]) == 0.5  # the same tokens, whatever holds them


@pytest.mark.parametrize(
    ("call", "rule"),
    [
        (lambda: bleu([], ["a"]), "BLEU has no hypothesis, but needs at least one"),
        (lambda: bleu(["a"], []), "BLEU has no reference, but needs at least one"),
        (lambda: bleu(["a"], ["a"], max_order=1), "max_order is 1, but must be at least 2"),
        (lambda: self_bleu(["a"]), "Self-BLEU has 1 texts, but needs at least 2"),
        (lambda: self_bleu(["a", "b"], max_order=0), "max_order is 0, but must be at least 2"),
        (lambda: self_bleu(["a", "b"], num_hypotheses=1), "is given without rng"),
        (lambda: distinct([], 1), "distinct-n has no text, but needs at least one"),
        (lambda: distinct(["a"], 0), "order is 0, but must be at least 1"),
        (lambda: duplicate_rate([]), "the duplicate rate has no text, but needs at least one"),
    ],
)
def test_errors_say_the_rule(call, rule):
    with pytest.raises(ValueError, match=rule):
        call()


@pytest.mark.parametrize("num_hypotheses", [-1, 0, 4])
def test_number_of_hypotheses_out_of_range(num_hypotheses):
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=f"num_hypotheses is {num_hypotheses}, but must be 1 to 3"):
        self_bleu(["a", "b", "c"], num_hypotheses=num_hypotheses, rng=rng)


def read_lines(folder: Path, name: str) -> list[str]:
    path = folder / name
    if not path.is_file():
        pytest.skip(f"{path} is missing; it comes from the public repository geek-ai/Texygen")
    return path.read_text(encoding="utf-8").splitlines()


@pytest.fixture(scope="module")
def published_samples(reference_data):
    lines = read_lines(reference_data, "published-samples/mle-coco.txt")
    assert len(lines) == NUM_SAMPLES
    return [split_words(line) for line in lines]


# The standard error of 1,000 hypotheses is up to .007; all of them leave no noise, only whatever
# separates this tokeniser from the one behind the table.
@pytest.mark.parametrize(("num_hypotheses", "tolerance"), [(1_000, 0.02), (NUM_SAMPLES, 0.005)])
def test_published_bleu(reference_data, published_samples, num_hypotheses, tolerance):
    references = [split_words(line) for line in read_lines(reference_data, "coco/test.txt")]
    assert len(references) == 10_000
    chosen = np.random.default_rng(0).choice(NUM_SAMPLES, size=num_hypotheses, replace=False)
    scores = bleu([published_samples[index] for index in chosen], references)
    assert scores == pytest.approx({2: 0.731, 3: 0.497, 4: 0.305, 5: 0.189}, abs=tolerance)


@pytest.mark.parametrize(("num_hypotheses", "tolerance"), [(1_000, 0.02), (NUM_SAMPLES, 0.005)])
def test_published_self_bleu(published_samples, num_hypotheses, tolerance):
    rng = np.random.default_rng(0)
    scores = self_bleu(published_samples, num_hypotheses=num_hypotheses, rng=rng)
    assert scores == pytest.approx({2: 0.916, 3: 0.769, 4: 0.583, 5: 0.408}, abs=tolerance)


def test_published_sentences_equal_plain_python_and_nltk(reference_data, published_samples):
    references = [split_words(line) for line in read_lines(reference_data, "coco/test.txt")]
    hypotheses = published_samples[::100]
    scores = sentence_bleu(hypotheses, references)
    assert_equal(scores, plain.sentence_bleu(hypotheses, references))
    for index in (0, 50):
        assert scores[4][index] == pytest.approx(
            nltk_bleu(hypotheses[index], references, 4), abs=1e-9
        )
    assert_means_of(self_bleu(hypotheses), plain.sentence_self_bleu(hypotheses))


def test_published_duplicates(reference_data):
    lines = read_lines(reference_data, "published-samples/mle-coco.txt")
    unique = 9_964  # counted with `sort -u`
    assert duplicate_rate([line.split() for line in lines]) == pytest.approx(
        1 - unique / NUM_SAMPLES
    )
