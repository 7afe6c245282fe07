"""Measures of texts against other packages: rouge-score, NLTK, the classifier of toxicity."""

import numpy as np
import pytest

from seqgan.data.vocabulary import split_words
from seqgan.evaluation.metrics.ngrams import bleu_pairs
from seqgan.evaluation.metrics.rouge import rouge_pairs
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


def test_pairs(scorer):
    texts, references = random_texts(2, 50), random_texts(3, 50)
    found = rouge_pairs(*([split_words(text) for text in side] for side in (texts, references)))
    pairs = zip(texts, references, strict=True)
    expected = [of_package(scorer.score(reference, text)) for text, reference in pairs]
    assert pytest.approx(np.array(expected), abs=1e-12) == np.array(list(found.values())).T


def test_bleu_of_pairs():
    bleu_score = pytest.importorskip("nltk.translate.bleu_score")
    smooth = bleu_score.SmoothingFunction().method1
    texts, references = ([split_words(text) for text in random_texts(seed, 50)] for seed in (4, 5))
    texts += references[:5]
    references += references[:5]
    found = bleu_pairs(texts, references)
    for order, values in found.items():
        expected = [
            bleu_score.sentence_bleu([real], text, [1 / order] * order, smooth)
            for text, real in zip(texts, references, strict=True)
        ]
        assert values.tolist() == pytest.approx(expected, abs=1e-12)
        assert len(np.unique(expected)) > 20


def test_toxicity_is_the_share_of_texts_that_the_classifier_is_surer_of_than_not():
    check = pytest.importorskip("profanity_check")
    texts = ["have a nice day", "you are a stupid idiot", "the cat sat", "what the fuck"]
    rows = [tuple(split_words(text)) for text in texts]
    measures = TextMeasures(rows, texts, embeddings=(), with_toxicity=True)
    scores = measures.scores(rows, texts)
    expected = check.predict_prob(texts) > 0.5
    assert scores.per_text["toxicity_rate"].values.tolist() == expected.tolist()
    assert scores.metrics["toxicity_rate"] == 0.5
