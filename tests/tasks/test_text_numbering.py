"""Texts to numbers and back, and which texts are told apart."""

import random
import tracemalloc
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import numpy as np
import pytest

from seqgan.data.vocabulary import split_words
from seqgan.tasks.files import text_numbering
from seqgan.tasks.files.text_numbering import END, NumberedTexts, number_texts

# Letters whose lower case depends on their place (final sigma) or is two characters (the dotted
# I), two apostrophes, signs, and white space beyond the usual.
ALPHABET = (
    "aAbBés月山1_- .,<>'\N{RIGHT SINGLE QUOTATION MARK}\N{GREEK CAPITAL LETTER SIGMA}"
    "\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}\t\u2028\x85\x0b\u3000"
)


def some_texts(n: int, seed: int = 0) -> list[str]:
    rng = random.Random(seed)
    return ["".join(rng.choices(ALPHABET, k=rng.randrange(25))) for _ in range(n)]


def numbered(texts: list[str], **settings: Any) -> NumberedTexts:
    settings = {"level": "word", "lowercase": True, "spaces": True, "max_words": 99} | settings
    return number_texts(iter(texts), file=BytesIO(), **settings)


def words_of(texts: NumberedTexts) -> list[list[str]]:
    """The words of each text again."""
    rows: list[list[str]] = [[]]
    for number in np.concatenate(list(texts.chunks())).tolist():
        if number == END:
            rows.append([])
        else:
            rows[-1].append(texts.words[number])
    assert rows.pop() == []
    return rows


@pytest.mark.parametrize("max_pieces", [0, 50, 2**18])
@pytest.mark.parametrize("lowercase", [True, False])
def test_words_are_those_of_the_whole_text(
    monkeypatch: pytest.MonkeyPatch, lowercase: bool, max_pieces: int
) -> None:
    monkeypatch.setattr(text_numbering, "MAX_PIECES", max_pieces)
    texts = some_texts(3000)
    expected = [split_words(text, lowercase) for text in texts]
    found = numbered(texts, lowercase=lowercase)
    assert words_of(found) == [words for words in expected if words]
    assert found.num_blank == sum(not text.strip() for text in texts) > 0
    assert len(set(found.words)) == len(found.words)


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("spaces", [True, False])
def test_characters_are_those_of_the_whole_text(lowercase: bool, spaces: bool) -> None:
    texts = some_texts(3000)
    expected = []
    for text in filter(str.strip, texts):
        characters = text.lower() if lowercase else text
        expected.append(list(characters if spaces else "".join(characters.split())))
    found = numbered(texts, level="character", lowercase=lowercase, spaces=spaces)
    assert words_of(found) == expected


@pytest.mark.parametrize("chunk", [1, 10, 1000])
def test_chunks_end_where_a_text_does(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    texts = some_texts(300)
    whole = numbered(texts)
    monkeypatch.setattr(text_numbering, "CHUNK", chunk)
    cut = numbered(texts)
    chunks = list(cut.chunks())
    assert len(chunks) > 1
    assert all(part[-1] == END for part in chunks)
    assert np.array_equal(np.concatenate(chunks), np.concatenate(list(whole.chunks())))
    assert np.array_equal(cut.digests, whole.digests)


def test_long_texts_are_counted_and_the_shortest_is_known() -> None:
    found = numbered(["a b c", "", "a b c d", "a b c d e"], max_words=3)
    assert (found.num_blank, found.num_long, found.shortest) == (1, 2, 3)
    assert words_of(found) == [["a", "b", "c"]]


def test_no_text_at_all() -> None:
    found = numbered([" ", "a b"], max_words=1)
    assert list(found.chunks()) == []
    assert len(found.digests) == 0


def test_digests_tell_texts_apart_and_copies_not() -> None:
    """Orders, lengths, repeats, and words that differ by one number."""
    rng = random.Random(1)
    texts = ["a", "a a", "a a a", "a b", "b a", "a b c", "c b a", "b", "c"]
    texts += [" ".join(rng.choices("abcdefghij", k=rng.randrange(1, 8))) for _ in range(20_000)]
    found = numbered([*texts, *(text.upper() for text in texts)])
    first, second = np.split(found.digests, 2)
    assert np.array_equal(first, second)
    assert len(set(first.tolist())) == len(set(texts))


def test_texts_pass_through_in_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_numbering, "CHUNK", 1000)

    class Nowhere(BytesIO):
        def write(self, data: Any) -> int:
            return len(data)

    def many_texts() -> Iterator[str]:
        return (f"one of {i % 7} texts of some length, number {i % 1000}" for i in range(20_000))

    assert sum(map(len, many_texts())) > 700_000
    tracemalloc.start()
    number_texts(many_texts(), "word", True, True, 99, Nowhere())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # 160,000 bytes of digests, the same again while they are joined, and the words.
    assert peak < 700_000
