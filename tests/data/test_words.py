"""Words of many scripts, whole; and a pattern that cuts the same elsewhere."""

# ruff: noqa: RUF001 (letters of other scripts are what is tested)

import re
import sys
import unicodedata

import pytest

from seqgan.data import words
from seqgan.data.words import (
    normalized,
    portable_letters,
    portable_pattern,
    portable_spaces,
    split_clusters,
    split_text,
    split_words,
)

# Texts whose words are those between their spaces, in lower case and in NFC.
WHOLE = {
    "Hindi": "हिन्दी किताब लड़की पढ़ता क़लम",
    "Bengali": "গাই তুমি বাংলায়",
    "Tamil": "தமிழ் மொழி கொடுத்தான்",
    "Telugu": "తెలుగు భాష క్షేత్రం",
    "Sinhala": "ශ්\u200dරී ලංකාව",
    "Thai": "เธอ ที่ น้ำ โรงเรียน วันนี้",
    "Lao": "ພາສາລາວ ນ້ຳ",
    "Khmer": "ភាសា ខ្មែរ",
    "Burmese": "မြန်မာ ဘာသာ",
    "Tibetan letters": "བོད སྐད",
    "Arabic with vowels": "قَلَمٌ بَيْتٌ كِتَابٌ يَكْتُبُ",
    "Persian": "می\u200cروم کتاب\u200cها نمی\u200cدانم",
    "Urdu": "مَیں ہُوں",
    "Hebrew with points": "שָׁלוֹם עֲלֵיכֶם",
    "Hebrew abbreviations": "צה״ל ג׳ירפה",
    "French in NFD": unicodedata.normalize("NFD", "où déjà français élève"),
    "Vietnamese in NFD": unicodedata.normalize("NFD", "tiếng việt được người"),
    "Korean": "한국어 말",
    "Korean in letters": unicodedata.normalize("NFD", "한국어 말"),
    "Turkish": "İSTANBUL IĞDIR İ",
    "Lithuanian": "i\u0307\u0301 J\u0300 ė",
    "Greek": "ὁ ΛΌΓΟΣ λόγος",
    "Yoruba": "o\u0323\u0301\u0300 ṣẹ́",
    "Cyrillic with stress": "за\u0301мок замо\u0301к",
    "math": "x\u20d7 x̂ α\u0302",
    "apostrophes": "don't don\u2019t o\u2018zbek rock'n'roll l'e\u0301te\u0301",
    "digits": "1 23 ٣٤ ३४ ½ x²",
    "joined emoji": (
        "👩\u200d💻 👨\u200d👩\u200d👧\u200d👦 🏳️\u200d🌈 ❤️\u200d🔥"
        " 🙂\u200d↔️ 🧑🏽\u200d🚀 🐻\u200d❄️ 👁️\u200d🗨️"
    ),
    "skin tones": "👍🏽 👋🏿 ✊🏻",
    "flags": "🇫🇷 🇩🇪 🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "keycaps": "1️⃣ 9\u20e3 #️⃣ *️⃣",
    "variation selectors": "☂️ ☂︎ 葛\U000e0100",
    "marks alone": "\u0301 \u0915\u0941 \u0941 🏽",
}


@pytest.mark.parametrize("text", WHOLE.values(), ids=WHOLE)
def test_a_word_keeps_its_marks_and_joiners(text: str) -> None:
    expected = [unicodedata.normalize("NFC", word.lower()) for word in text.split()]
    assert split_words(text) == expected
    assert split_words(" ".join(expected)) == expected
    assert split_words(text, lowercase=False) == unicodedata.normalize("NFC", text).split()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("हिन्दी, किताब।", ["हिन्दी", ",", "किताब", "।"]),
        ("\u05d1\u05bc\u05b0\u05e8\u05b5\u05d0\u05be\u05d9", None),  # a maqaf is a hyphen
        ("🇫🇷🇩🇪🇫", ["🇫🇷", "🇩🇪", "🇫"]),
        ("👍🏽👍ok👩\u200d💻.", ["👍🏽", "👍", "ok", "👩\u200d💻", "."]),
        ("12️⃣3", ["12️⃣3"]),  # one number (UAX #29, WB8)
        ("a\u200d.", ["a\u200d", "."]),  # a joiner joins emoji only
        ("x-ray", ["x", "-", "ray"]),
        ("¡Hola! ¿Qué?", ["¡", "hola", "!", "¿", "qué", "?"]),
        ("«é\u0301»", ["«", "é\u0301", "»"]),
    ],
)
def test_what_ends_a_word(text: str, expected: list[str] | None) -> None:
    found = split_words(text)
    assert found == expected if expected else len(found) == 3


@pytest.mark.parametrize("invisible", "\u00ad\u200e\u200f\u2060\ufeff\u061c\u202a\u2066")
def test_an_invisible_character_leaves_the_word_it_stands_in(invisible: str) -> None:
    text = f"{invisible}the{invisible} c{invisible}at{invisible}, {invisible} sat"
    assert split_words(text) == ["the", "cat", ",", "sat"]
    assert split_words(f"e{invisible}\u0301") == ["\u00e9"]
    assert split_words(invisible * 3) == []


def test_a_zero_width_space_is_a_space() -> None:
    assert split_words("ភាសា\u200bខ្មែរ \u200bcat\u200b") == ["ភាសា", "ខ្មែរ", "cat"]


@pytest.mark.parametrize("unseen", ["\u200c", "\u200d", "\ufe0f", "\u034f", "\U000e007f"])
def test_a_mark_that_nobody_sees_is_no_word(unseen: str) -> None:
    assert split_words(f"{unseen}cat {unseen} {unseen}.") == ["cat", "."]


def test_one_spelling_for_what_looks_the_same() -> None:
    for text in ("d\u00e9j\u00e0 \u1ebf \ud55c\uad6d \u0958", "\u212b \u2126 \u212a"):
        forms = {unicodedata.normalize(form, text) for form in ("NFC", "NFD")} | {text}
        assert len(forms) > 1
        assert len({tuple(split_words(form)) for form in forms}) == 1
    assert split_words("J\u030c") == ["\u01f0"]  # lower case first: it is one character then


def test_ascii_is_cut_as_it_always_was() -> None:
    """The ASCII pattern and the full one agree on each pair of characters."""
    old = re.compile(r"\w+(?:['\u2019]\w+)*|[^\w\s]")
    text = "".join(f"{a}{b}a{a} " for a in map(chr, range(128)) for b in map(chr, range(128)))
    assert split_words(text) == old.findall(text.lower())
    assert split_words(text, lowercase=False) == old.findall(text)
    assert split_words(text + "\u00e9") == [*old.findall(text.lower()), "\u00e9"]


def test_the_portable_pattern_spells_out_the_members_of_the_classes() -> None:
    """Each character of Unicode is in its class and in no other, so both patterns are one."""
    codes = (*range(0xD800), *range(0xE000, sys.maxunicode + 1))
    everything = "".join(map(chr, codes))
    for name, members in ((r"\w", portable_letters()), (r"\s", portable_spaces())):
        assert re.findall(name, everything) == re.findall(f"[{members}]", everything)
    assert words._pattern(r"\w", r"\s") == words._word().pattern
    assert portable_pattern() == words._pattern(portable_letters(), portable_spaces())


def test_characters_keep_their_code_points() -> None:
    text = "E\u0301t\u200d \u00ad\ufeffİ\n"
    assert split_text(text, "character", False) == list(text)
    assert split_text(text, "character", True) == list(text.lower())
    assert split_text(text, "character", True, spaces=False) == list(
        "e\u0301t\u200d\u00ad\ufeffi\u0307"
    )


def test_clusters_are_characters_with_their_marks() -> None:
    parts = ["हि", "न्", "दी", " ", "👩\u200d💻", "\n", "e\u0301", "x"]
    assert split_clusters("".join(parts)) == parts
    assert split_clusters("\u0301a") == ["\u0301", "a"]


def test_normalized_is_stable() -> None:
    for text in WHOLE.values():
        once = normalized(text, True)
        assert normalized(once, True) == once
