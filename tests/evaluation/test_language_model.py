"""The n-gram model: by hand, by summing over the vocabulary, and against NLTK's Kneser-Ney."""

import math

import numpy as np
import pytest
from nltk.lm.models import InterpolatedLanguageModel
from nltk.lm.smoothing import KneserNey

from seqgan.evaluation.metrics.language_model import LanguageModel

CORPUS = [text.split() for text in ("a b a b c", "a b b", "c a b", "b", "", "a b a b c d")]
WORDS = ("a", "b", "c", "d", "never seen")
START, END, UNKNOWN = "<s>", "</s>", "<unk>"


class Discounted(KneserNey):
    """NLTK's smoothing, whose single words are discounted too, down to the uniform distribution."""

    def unigram_score(self, word):
        count, total = self._continuation_counts(word)
        left = self.discount * len(self.counts[1]) / (len(WORDS) + 2)
        return (max(count - self.discount, 0) + left) / total


def nltk_model(texts, order, discount):
    """Fitted on the n-grams that end in a word or an end: what is predicted, never a start."""
    ngrams = []
    for text in texts:
        padded = [START] * (order - 1) + known(text) + [END]
        for end in range(order - 1, len(padded)):
            ngrams += [tuple(padded[end + 1 - n : end + 1]) for n in range(1, order + 1)]
    params = {"order": order, "discount": discount}
    model = InterpolatedLanguageModel(Discounted, order, params=params)
    model.fit([ngrams], vocabulary_text=[*WORDS, UNKNOWN, START, END])
    return model


def known(text):
    return [word if word in WORDS else UNKNOWN for word in text]


def nltk_log_prob(model, text):
    padded = [START] * (model.order - 1) + known(text) + [END]
    return math.fsum(
        math.log(model.score(padded[end], padded[end + 1 - model.order : end]))
        for end in range(model.order - 1, len(padded))
    )


TEXTS = [*CORPUS, *(text.split() for text in ("b a", "d d d", "c c a b x", "x", "a b c a y b c"))]


@pytest.mark.parametrize("discount", [0.1, 0.75])
@pytest.mark.parametrize("order", [2, 3, 4])
def test_equals_nltk(order, discount):
    corpus = [*CORPUS, ["a", "x", "b"]]  # with an unknown word in it
    model = LanguageModel(corpus, WORDS, order, discount)
    reference = nltk_model(corpus, order, discount)
    expected = [nltk_log_prob(reference, text) for text in TEXTS]
    assert model.log_probs(TEXTS) == pytest.approx(expected, abs=1e-10)


def test_by_hand():
    """Texts "a" and "a b", order 2, D = 1/2; the vocabulary is a, b, so 4 words with <unk>, </s>.

    Single words by what stands in front: a after <s>; b after a; the end after a and after b.
    """
    uniform = 1 / 4
    single = {
        "a": (0.5 + 0.5 * 3 * uniform) / 4,
        "b": (0.5 + 0.5 * 3 * uniform) / 4,
        "end": (1.5 + 0.5 * 3 * uniform) / 4,
        "unknown": (0.0 + 0.5 * 3 * uniform) / 4,
    }
    assert sum(single.values()) == 1
    after_start = {"a": (1.5 + 0.5 * single["a"]) / 2, "b": 0.5 * single["b"] / 2}
    after_a = {"b": (0.5 + 0.5 * 2 * single["b"]) / 2, "end": (0.5 + 0.5 * 2 * single["end"]) / 2}
    after_b = {"end": (0.5 + 0.5 * single["end"]) / 1}
    model = LanguageModel([["a"], ["a", "b"]], ["a", "b"], order=2, discount=0.5)
    expected = {
        "a": after_start["a"] * after_a["end"],
        "ab": after_start["a"] * after_a["b"] * after_b["end"],
        "b": after_start["b"] * after_b["end"],
        # After an unknown word, which was never seen, the single words are all there is to know.
        "?": 0.5 * single["unknown"] / 2 * single["end"],
        "": 0.5 * single["end"] / 2,
    }
    assert np.exp(model.log_probs(list(expected))) == pytest.approx(list(expected.values()))


@pytest.mark.parametrize("order", [1, 2, 3])
def test_probabilities_sum_to_one(order):
    """After every context, over the words, the unknown one and the end."""
    model = LanguageModel(CORPUS, WORDS, order)
    for context in ([], ["a"], ["a", "b"], ["d", "c"], ["x"], ["never seen", "a"]):
        after = [model.token_log_probs([[*context, word]])[-2] for word in (*WORDS, "x")]
        after.append(model.token_log_probs([context])[-1])
        assert np.exp(after).sum() == pytest.approx(1, abs=1e-12)


def test_single_words_by_hand():
    """Order 1 counts occurrences: a twice, b once, two ends; D = 1/2, and 4 words."""
    model = LanguageModel([["a"], ["a", "b"]], ["a", "b"], order=1, discount=0.5)
    left = 0.5 * 3 / 4
    expected = np.array([1.5 + left, 0.5 + left, 1.5 + left]) / 5
    assert np.exp(model.token_log_probs([["a", "b"]])) == pytest.approx(expected)
    assert np.exp(model.log_probs([["a", "b"]])) == pytest.approx(expected.prod())


def test_an_unknown_word_is_one_class():
    model = LanguageModel(CORPUS, WORDS)
    first, second = model.log_probs([["a", "x"], ["a", "another"]])
    assert first == second
    assert first < model.log_probs([["a", "b"]])[0]


def test_a_shared_vocabulary_makes_models_comparable():
    """Words that a model has not learnt stay dear, where its own vocabulary would hide them."""
    poor, rich = LanguageModel([["a", "b"]] * 6, WORDS), LanguageModel(CORPUS, WORDS)
    assert poor.log_probs(CORPUS).sum() < rich.log_probs(CORPUS).sum()
    assert poor.num_words == rich.num_words == len(WORDS) + 2


def test_no_text_to_judge():
    assert LanguageModel(CORPUS, WORDS).log_probs([]).shape == (0,)


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        (
            {"texts": []},
            "there are no texts to learn a language model from, but at least one is needed",
        ),
        ({"order": 0}, "order is 0, but must be at least 1"),
        ({"discount": 1.0}, "discount is 1.0, but must be above 0 and below 1"),
        ({"discount": 0.0}, "discount is 0.0, but must be above 0 and below 1"),
    ],
)
def test_errors_say_the_rule(settings, rule):
    with pytest.raises(ValueError, match=rule):
        LanguageModel(**{"texts": CORPUS, "vocabulary": WORDS} | settings)
