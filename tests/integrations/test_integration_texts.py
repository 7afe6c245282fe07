"""Measures of texts against other packages: ROUGE by rouge-score, toxicity by its classifier."""

import numpy as np
import pytest

from seqgan.data.vocabulary import split_words
from seqgan.evaluation.metrics.rouge import RougeReferences, rouge_pairs
from seqgan.evaluation.texts import TextMeasures

pytestmark = pytest.mark.integration

WORDS = "a the cat dog sat on mat and ran , .".split()


class OurWords:
    """What rouge-score splits texts with here, so that both see the same words."""

    def tokenize(self, text):
        return split_words(text)


def random_texts(seed, num_texts):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, size=n)) for n in rng.integers(1, 15, size=num_texts)]


@pytest.fixture
def scorer():
    rouge_scorer = pytest.importorskip("rouge_score.rouge_scorer")
    return rouge_scorer.RougeScorer(["rouge1", "rouge2", "rougeL"], tokenizer=OurWords())


def of_package(scores):
    return [scores[name].fmeasure for name in ("rouge1", "rouge2", "rougeL")]


def test_the_best_reference(scorer):
    texts, references = random_texts(0, 40), random_texts(1, 60)
    found = RougeReferences([split_words(text) for text in references]).best(
        [split_words(text) for text in texts]
    )
    expected = np.array([of_package(scorer.score_multi(references, text)) for text in texts])
    assert pytest.approx(expected, abs=1e-12) == np.array(list(found.values())).T
    assert len(np.unique(expected)) > 20


def test_pairs(scorer):
    texts, references = random_texts(2, 50), random_texts(3, 50)
    found = rouge_pairs(*([split_words(text) for text in side] for side in (texts, references)))
    pairs = zip(texts, references, strict=True)
    expected = [of_package(scorer.score(reference, text)) for text, reference in pairs]
    assert pytest.approx(np.array(expected), abs=1e-12) == np.array(list(found.values())).T


def test_toxicity_is_the_share_of_texts_that_the_classifier_is_surer_of_than_not():
    check = pytest.importorskip("profanity_check")
    texts = ["have a nice day", "you are a stupid idiot", "the cat sat", "what the fuck"]
    rows = [tuple(split_words(text)) for text in texts]
    measures = TextMeasures(rows, texts, embeddings=(), with_toxicity=True)
    scores = measures.scores(rows, texts)
    expected = check.predict_prob(texts) > 0.5
    assert scores.per_text["toxicity_rate"].values.tolist() == expected.tolist()
    assert scores.metrics["toxicity_rate"] == 0.5
