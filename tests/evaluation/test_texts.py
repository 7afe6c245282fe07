"""Measures beside real texts: which there are, over how many texts, and what they react to."""

import numpy as np
import pytest

from seqgan.evaluation.metrics.copies import Copies
from seqgan.evaluation.metrics.divergences import frechet_floor
from seqgan.evaluation.metrics.intervals import PerText
from seqgan.evaluation.metrics.language_model import LanguageModel
from seqgan.evaluation.metrics.ngrams import bleu_pairs
from seqgan.evaluation.metrics.rouge import rouge_pairs
from seqgan.evaluation.metrics.shapes import length_divergence, zipf_divergence
from seqgan.evaluation.texts import (
    Scores,
    TextMeasures,
    check_embeddings,
    copy_scores,
    paired_scores,
    repetition_scores,
)

ALWAYS = {
    *("lm_score", "reverse_lm_score", "lm_texts", "length_divergence", "zipf_divergence"),
}
FRECHET = {"frechet_hashed", "frechet_hashed_floor"}


def real_texts(rng, num_texts):
    """Sentences of a little grammar: 3 x 6 x 3 x 6 of them, some commoner than others."""
    parts = ("a the one", "dog cat man cow bird girl", "sees hears has", "it him her us you me")
    words = [part.split() for part in parts]
    rows = [
        [part[min(rng.geometric(0.4), len(part)) - 1] for part in words] for _ in range(num_texts)
    ]
    return [tuple(row[: rng.integers(2, 5)]) for row in rows]


def strings(texts):
    return [" ".join(text) for text in texts]


def made(references, other=(), **settings):
    return TextMeasures(references, strings(references), strings(other), **settings)


@pytest.fixture(scope="module")
def texts():
    rng = np.random.default_rng(0)
    return {name: real_texts(rng, 300) for name in ("references", "other", "fresh")}


def test_each_measure_is_that_of_its_module(texts):
    references, samples = texts["references"], texts["fresh"][:80]
    scores = made(references, embeddings=()).scores(samples, strings(samples))
    metrics = scores.metrics
    assert metrics.keys() == ALWAYS
    assert metrics["lm_texts"] == 80
    words = {word for text in references for word in text}
    reverse = LanguageModel(samples, words).log_probs(references)
    tokens = sum(len(text) + 1 for text in references)
    assert metrics["reverse_lm_score"] == pytest.approx(-reverse.sum() / tokens)
    assert metrics["length_divergence"] == length_divergence(samples, references)


def test_with_as_many_samples_as_references_both_models_learn_from_all(texts):
    references, samples = texts["references"], texts["fresh"]
    metrics = made(references, embeddings=()).scores(samples, strings(samples)).metrics
    words = {word for text in references for word in text}
    forward = LanguageModel(references, words).log_probs(samples)
    tokens = sum(len(text) + 1 for text in samples)
    assert metrics["lm_score"] == pytest.approx(-forward.sum() / tokens)
    assert metrics["zipf_divergence"] == zipf_divergence(samples, references)
    # Other real texts are as good at the one as at the other.
    assert metrics["lm_score"] == pytest.approx(metrics["reverse_lm_score"], abs=0.05)


def test_with_more_samples_than_references_equally_many_are_learnt_from_and_ranked(texts):
    references = texts["references"][:100]
    # Equal texts: whichever hundred of them are taken, they are the same.
    samples = [("the", "dog", "sees")] * 300
    metrics = made(references, embeddings=()).scores(samples, strings(samples)).metrics
    assert metrics["lm_texts"] == 100
    words = {word for text in references for word in text}
    reverse = LanguageModel(samples[:100], words).log_probs(references)
    tokens = sum(len(text) + 1 for text in references)
    assert metrics["reverse_lm_score"] == pytest.approx(-reverse.sum() / tokens)
    # Texts of a word each of its own: the curve is flat, and as long as there are texts.
    flat = [(index,) for index in range(300)]
    metrics = made(references, embeddings=()).scores(flat, ["x"] * 300).metrics
    assert metrics["zipf_divergence"] == pytest.approx(zipf_divergence(flat[:100], references))


def test_what_repeats_itself_is_fluent_and_poor(texts):
    measures = made(texts["references"], texts["other"])
    fresh, repeated = texts["fresh"], texts["fresh"][:3] * 100
    varied = measures.scores(fresh, strings(fresh)).metrics
    collapsed = measures.scores(repeated, strings(repeated)).metrics
    assert varied.keys() == collapsed.keys() == ALWAYS | FRECHET
    for name in ("reverse_lm_score", "zipf_divergence", "frechet_hashed"):
        assert collapsed[name] > 1.2 * varied[name]


def test_what_is_no_text_is_bad_everywhere(texts):
    measures = made(texts["references"], texts["other"])
    rng = np.random.default_rng(1)
    fresh = texts["fresh"]
    shuffled = [tuple(rng.permutation(text)) for text in fresh]
    good, bad = (measures.scores(side, strings(side)).metrics for side in (fresh, shuffled))
    for name in ("lm_score", "reverse_lm_score", "frechet_hashed"):
        assert bad[name] > good[name]
    assert bad["length_divergence"] == good["length_divergence"]


def test_the_seed_decides_which_texts_are_taken(texts):
    """Fewer references than samples: as many of these are learnt from."""
    references, samples = texts["references"][:50], texts["fresh"]
    measures = made(references, embeddings=())
    first, again, other = (
        measures.scores(samples, strings(samples), seed).metrics for seed in (0, 0, 1)
    )
    assert first == again
    assert first["reverse_lm_score"] != other["reverse_lm_score"]


def test_paired(texts):
    references, samples = texts["references"][:60], texts["fresh"][:60]
    scores = paired_scores(samples, references)
    rouge, bleu = rouge_pairs(samples, references), bleu_pairs(samples, references)
    expected = rouge | {f"paired_bleu_{order}": values for order, values in bleu.items()}
    assert scores.per_text.keys() == expected.keys()
    assert len(expected) == 7
    for name, values in expected.items():
        assert scores.metrics[name] == pytest.approx(values.mean())
    turned = paired_scores(samples, references[1:] + references[:1])
    assert turned.metrics["rouge_1"] != scores.metrics["rouge_1"]


@pytest.mark.slow
def test_without_other_texts_an_embedding_learns_from_half_of_the_references(texts):
    references, samples = texts["references"], texts["fresh"]
    alone = made(references)
    ((_, compared),) = alone._embeddings
    assert len(compared) == 150
    # So fresh text is no further away than with other texts to learn from.
    distances = [
        measures.scores(samples, strings(samples)).metrics["frechet_hashed"]
        for measures in (alone, made(references, texts["other"]))
    ]
    assert distances[0] == pytest.approx(distances[1], rel=0.5)


def test_the_floor_is_that_of_the_references_and_of_as_many_texts(texts):
    measures = made(texts["references"], texts["other"])
    ((_, real),) = measures._embeddings
    samples = texts["fresh"]
    for n in (80, 300, 80):
        metrics = measures.scores(samples[:n], strings(samples[:n])).metrics
        assert metrics["frechet_hashed_floor"] == frechet_floor(real, n)
    # Fresh real text is at its floor.
    metrics = measures.scores(samples, strings(samples)).metrics
    assert metrics["frechet_hashed"] == pytest.approx(metrics["frechet_hashed_floor"], rel=0.5)
    few = made(texts["references"][:3], texts["other"]).scores(samples, strings(samples)).metrics
    assert few.keys() == ALWAYS | {"frechet_hashed"}


def test_an_embedding_that_learns_nothing_compares_with_all_references(texts, monkeypatch):
    class Lengths:
        name = "minilm"

        def __call__(self, texts):
            return np.array([[len(text), text.count(" ")] for text in texts], dtype=float)

    monkeypatch.setattr("seqgan.evaluation.texts.load_embedding", lambda *given: Lengths())
    ((_, real),) = made(texts["references"], embeddings=("minilm",))._embeddings
    assert np.array_equal(real, Lengths()(strings(texts["references"])))


def test_mauve_on_equally_many_texts(texts):
    measures = made(texts["references"], texts["other"], with_mauve=True)
    samples = texts["fresh"]
    good = measures.scores(samples, strings(samples)).metrics
    bad = measures.scores([("a",)] * 300, ["a"] * 300).metrics
    assert 0 < bad["mauve_hashed"] < 0.5 < good["mauve_hashed"] <= 1


def test_one_sample_and_one_reference():
    metrics = made([("a", "b")]).scores([("a", "b")], ["a b"]).metrics
    assert metrics.keys() == ALWAYS
    assert metrics["length_divergence"] == 0.0
    assert all(np.isfinite(list(metrics.values())))


def test_empty_samples_are_texts():
    metrics = made([("a", "b"), ("c",)], [("d",)]).scores([(), (), ("a",)], ["", "", "a"]).metrics
    assert all(np.isfinite(list(metrics.values())))


def test_samples_without_a_word_stop_nothing(texts):
    """What a generator that only ends its texts is like: bad in every number, but in numbers."""
    measures = made(texts["references"], texts["other"], with_mauve=True)
    metrics = measures.scores([()] * 30, [""] * 30).metrics
    assert metrics.keys() == ALWAYS | FRECHET | {"mauve_hashed"}
    assert all(np.isfinite(list(metrics.values())))
    for name in ("length_divergence", "zipf_divergence"):
        assert metrics[name] == pytest.approx(np.log(2))


def test_scores_join():
    some = Scores({"n": 3}, {"mean": PerText.mean_of(np.array([1.0, 2.0]))})
    joined = some | Scores({"m": 4.5})
    assert joined.metrics == {"n": 3.0, "m": 4.5, "mean": 1.5}
    assert joined.per_text.keys() == {"mean"}


def test_repetition_and_copies_by_hand():
    assert repetition_scores(["ab", "ab", "ac"]).metrics == {
        "distinct_1": 3 / 6,
        "distinct_2": 2 / 3,
        "distinct_3": 0.0,
        "duplicate_rate": pytest.approx(1 / 3),
    }
    copies = Copies(np.array([True, False]), np.array([9, 0]), np.array([9, 3]))
    assert copy_scores(copies).metrics == {"copied_rate": 1 / 2, "copied_spans": 9 / 12}


@pytest.mark.parametrize(
    ("embeddings", "with_mauve", "rule"),
    [
        (("hashd",), False, "has the unknown 'hashd'; did you mean hashed. .known: hashed, "),
        (("hashed", "hashed"), False, "has one twice .hashed, hashed., but must name each once"),
        ((), True, "is empty, but must name at least one for MAUVE"),
    ],
)
def test_wrong_embeddings(embeddings, with_mauve, rule):
    with pytest.raises(ValueError, match=f"^--embedding {rule}"):
        check_embeddings("--embedding", embeddings, with_mauve)


def test_known_embeddings_pass():
    check_embeddings("--embedding", ("hashed", "minilm"), True)
    check_embeddings("--embedding", (), False)


def test_no_reference():
    with pytest.raises(
        ValueError, match="there are no references, but a measure of texts needs at least one"
    ):
        made([])
