"""Vocabulary: the layout of the ids, text to ids and back, and words from text."""

import json

import pytest

from seqgan.data.vocabulary import Vocabulary, split_words

WORDS = ("a", "b", "c")


@pytest.mark.parametrize(
    ("settings", "num_actions", "eos_id", "bos_id", "pad_id", "size"),
    [
        ({}, 4, 3, 4, 5, 6),
        ({"has_eos": False}, 3, None, 3, 4, 5),
        ({"bos_word": 1}, 4, 3, 1, 4, 5),
        ({"has_eos": False, "bos_word": 0}, 3, None, 0, 3, 4),  # the paper's oracle
    ],
)
def test_layout_of_the_ids(settings, num_actions, eos_id, bos_id, pad_id, size):
    vocabulary = Vocabulary(WORDS, **settings)
    assert vocabulary.num_actions == num_actions
    assert vocabulary.eos_id == eos_id
    assert vocabulary.bos_id == bos_id
    assert vocabulary.pad_id == pad_id
    assert vocabulary.size == size
    assert vocabulary.unk_id is None


def test_encode_and_decode():
    vocabulary = Vocabulary(WORDS)
    assert vocabulary.encode(["c", "a", "a"]) == [2, 0, 0]
    assert vocabulary.encode([]) == []
    assert vocabulary.decode([2, 0, 0]) == "c a a"
    assert vocabulary.decode([2, 0, 3, 1]) == "c a"  # up to eos
    assert vocabulary.decode([2, 5, 1]) == "c"  # up to padding
    assert vocabulary.decode([3]) == ""


def test_characters_are_joined_by_nothing():
    assert Vocabulary((*WORDS, " "), level="character").decode([1, 3, 0]) == "b a"


def test_a_word_that_is_bos_is_decoded():
    assert Vocabulary(WORDS, has_eos=False, bos_word=0).decode([0, 1, 0]) == "a b a"


def test_unknown_words():
    with pytest.raises(KeyError, match="d"):
        Vocabulary(WORDS).encode(["a", "d"])
    vocabulary = Vocabulary(WORDS, unk_word="b")
    assert vocabulary.unk_id == 1
    assert vocabulary.encode(["a", "d", "c"]) == [0, 1, 2]


@pytest.mark.parametrize(
    ("words", "settings", "rule"),
    [
        (("a",), {}, "the vocabulary has too few words, 1, but must have at least 2"),
        (("a", "b", "a"), {}, "distinct"),
        (WORDS, {"bos_word": 3}, "bos_word is 3, but must be the id of a word"),
        (WORDS, {"bos_word": -1}, "bos_word is -1, but must be the id of a word"),
        (WORDS, {"unk_word": "d"}, "unk_word is 'd', but must be one of the words"),
    ],
)
def test_what_is_no_vocabulary(words, settings, rule):
    with pytest.raises(ValueError, match=rule):
        Vocabulary(words, **settings)


def test_survives_json():
    vocabulary = Vocabulary(
        ("a", "\u6625", "<unk>"), level="character", has_eos=False, bos_word=1, unk_word="<unk>"
    )
    copy = Vocabulary.from_dict(json.loads(json.dumps(vocabulary.to_dict())))
    assert copy == vocabulary
    assert copy.encode(["\u6625", "x"]) == [1, 2]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A man, riding.", ["a", "man", ",", "riding", "."]),
        ("don't stop", ["don't", "stop"]),
        ("don\u2019t", ["don\u2019t"]),
        ("rock'n'roll's", ["rock'n'roll's"]),
        ("the dogs' 'bowl'", ["the", "dogs", "'", "'", "bowl", "'"]),
        ("3.5 x-ray", ["3", ".", "5", "x", "-", "ray"]),
        ("wait...", ["wait", ".", ".", "."]),
        ("caf\u00e9 \u00c9t\u00e9", ["caf\u00e9", "\u00e9t\u00e9"]),
        # Chinese has no spaces: only the punctuation splits (characters are another level).
        (
            "\u4f60\u597d\uff0c\u4e16\u754c\u3002",
            ["\u4f60\u597d", "\uff0c", "\u4e16\u754c", "\u3002"],
        ),
        ("\u6625 \u7720", ["\u6625", "\u7720"]),
        (" \t\u3000\n", []),
        ("", []),
    ],
)
def test_split_words(text, words):
    assert split_words(text) == words


def test_split_words_can_keep_the_case():
    assert split_words("A Man", lowercase=False) == ["A", "Man"]


@pytest.mark.parametrize(
    ("vocabulary", "shown"),
    [
        (Vocabulary(("a", "b")), "<vocabulary of 2 words: 'a', 'b'>"),
        (
            Vocabulary(tuple("abcdefghi"), level="character", has_eos=False),
            "<vocabulary of 9 characters: 'a', 'b', 'c', 'd', 'e', 'f', ..., no eos>",
        ),
    ],
)
def test_a_vocabulary_fits_in_a_line(vocabulary, shown):
    assert repr(vocabulary) == shown
