"""Copies, splits and counts, against plain Python on the texts."""

import random
from collections import Counter
from io import BytesIO

import numpy as np
import pytest

from seqgan.tasks.files import text_numbering
from seqgan.tasks.files.text_numbering import NumberedTexts, number_texts
from seqgan.tasks.files.text_splits import (
    SPLITS,
    count_words,
    draw_splits,
    first_copies,
    new_ids,
    rank_words,
    split_chunks,
)


def some_digests(n: int, kinds: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(2**64, size=kinds, dtype=np.uint64)[rng.integers(kinds, size=n)]


@pytest.mark.parametrize(("n", "kinds"), [(0, 1), (1, 1), (50, 1), (500, 60), (500, 10**6)])
def test_first_copies(n: int, kinds: int) -> None:
    digests = some_digests(n, kinds)
    seen: dict[int, int] = {}
    expected = [seen.setdefault(digest, place) for place, digest in enumerate(digests.tolist())]
    assert first_copies(digests).tolist() == expected


def split_sizes(firsts: np.ndarray, most: int) -> dict[str, int]:
    """Distinct texts in each split; no text may be in two."""
    labels = draw_splits(firsts, 0.1, 0.2, most, seed=3)
    assert np.array_equal(labels, labels[firsts])
    distinct = np.unique(firsts)
    return {split: int((labels[distinct] == place).sum()) for place, split in enumerate(SPLITS)}


def test_max_heldout_caps_dev_and_test_and_leaves_the_rest_to_training() -> None:
    firsts = first_copies(some_digests(3000, 100))
    assert len(np.unique(firsts)) == 100
    assert split_sizes(firsts, 1000) == {"train": 70, "dev": 10, "test": 20}
    assert split_sizes(firsts, 15) == {"train": 75, "dev": 10, "test": 15}
    assert split_sizes(firsts, 1) == {"train": 98, "dev": 1, "test": 1}


@pytest.fixture
def texts(monkeypatch: pytest.MonkeyPatch) -> NumberedTexts:
    monkeypatch.setattr(text_numbering, "CHUNK", 50)
    rng = random.Random(0)
    rows = [" ".join(rng.choices("abcdefgh", k=rng.randrange(1, 9))) for _ in range(200)]
    return number_texts(rows, "word", True, True, 99, BytesIO())


def test_splits_and_counts_equal_those_of_the_rows(texts: NumberedTexts) -> None:
    labels = np.random.default_rng(0).integers(3, size=200).astype(np.uint8)
    numbers = np.concatenate(list(texts.chunks())).tolist()
    rows: list[list[int]] = [[]]
    for number in numbers:
        rows[-1].append(number)
        if number == text_numbering.END:
            rows.append([])
    chunks = list(split_chunks(texts, labels))
    assert len(chunks) > 3
    counts = count_words(texts, labels)
    assert counts.shape == (3, 9)
    for place in range(3):
        expected = [n for row, own in zip(rows, labels, strict=False) if own == place for n in row]
        assert np.concatenate([chunk[place] for chunk in chunks]).tolist() == expected
        plain = Counter(expected)
        assert counts[place].tolist() == [0, *(plain[number] for number in range(1, 9))]


def test_words_are_ranked_by_count_then_by_code_points() -> None:
    words, counts = ["", "b", "é", "a", "z", "c"], np.array([0, 3, 3, 5, 1, 3])
    assert rank_words(words, counts, 2) == [3, 1, 5, 2]
    assert rank_words(words, counts, 1) == [3, 1, 5, 2, 4]
    assert rank_words(words, counts, 9) == []


def test_new_ids() -> None:
    assert new_ids([3, 1], 5, unk_id=0, eos_id=9).tolist() == [9, 2, 0, 1, 0]
