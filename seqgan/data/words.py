"""Cuts texts into words or characters: one rule for training, evaluation, rewards and exports.

A word is a run of letters, digits and `_`, joined by apostrophes inside it. Any other visible
character is a word of its own. Extenders (UAX #29, rule WB4) belong to the character before them:
combining marks, the zero width joiner and non-joiner, variation selectors, skin tones and the tags
of flags. So a Hindi, Thai or pointed Hebrew word is one word, and an emoji sequence or a flag is
one, too.

Words are normalised: invisible characters such as U+00AD and U+FEFF are left out, upper case
becomes lower case where the task asks for it, and the rest is in NFC, so that a letter with its
accent is the same in one character or in two. U+200B separates words, as white space does. At
character level a text's code points are taken as they are, but for their case.

The pattern is written with `\\w` and `\\s` for Python, and with the members of these classes for
regular expressions of another kind (`portable_pattern`), which may know another Unicode. Everything
that is cut here is cut by the same pattern there.
"""

import re
import unicodedata
from collections.abc import Collection, Iterator
from functools import cache
from itertools import chain
from typing import Literal, NamedTuple

JOINER = "\u200d"  # between the parts of one emoji
# Soft hyphen, byte order mark, marks of direction and other controls of layout.
INVISIBLE = "[\u00ad\u061c\u180e\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff]"
APOSTROPHES = "'\u2018\u2019\uff07\u05f3\u05f4"  # also Hebrew's, which abbreviate
NATIONS = "\U0001f1e6-\U0001f1ff"  # two of these letters are a flag
SKIN_TONES = range(0x1F3FB, 0x1F400)
TAGS = range(0xE0020, 0xE0080)  # the letters of flags such as Scotland's
PICTOGRAPHS = range(0x1F000, 0x1FFFE)  # some of them get a meaning in a later Unicode
# Marks that nobody sees where no other character is before them.
UNSEEN = (0x034F, 0x200C, 0x200D, *range(0xFE00, 0xFE10), *TAGS, *range(0xE0100, 0xE01F0))

_ASCII = re.compile(r"\w+(?:'\w+)*|[^\w\s]")  # the words of ASCII texts, five times as fast


class _Characters(NamedTuple):
    """Sets of characters, each spelt as the inside of a pattern's brackets."""

    extenders: str  # belong to the character before them
    marks: str  # the extenders that are seen
    pictographs: str  # may stand after a joiner


def split_words(text: str, lowercase: bool = True) -> list[str]:
    """Splits a text into words and punctuation marks, but not at apostrophes inside words."""
    pattern = _ASCII if text.isascii() else _word()
    return pattern.findall(normalized(text, lowercase))


def split_text(
    text: str, level: Literal["word", "character"], lowercase: bool, spaces: bool = True
) -> list[str]:
    """The words or the characters of a text.

    Args:
        spaces: at character level, whether white space counts as characters.
    """
    if level == "word":
        return split_words(text, lowercase)
    characters = text.lower() if lowercase else text
    return list(characters if spaces else "".join(characters.split()))


def split_clusters(text: str) -> list[str]:
    """The characters of a text, each with its extenders."""
    return _cluster().findall(text)


def normalized(text: str, lowercase: bool) -> str:
    """The text in the form whose words are cut: NFC, without invisible characters."""
    if text.isascii():
        return text.lower() if lowercase else text
    text = re.sub(INVISIBLE, "", text)
    return unicodedata.normalize("NFC", text.lower() if lowercase else text)


@cache
def portable_pattern() -> str:
    """The pattern of words for any regular expressions, with no class that depends on a Unicode."""
    return _pattern(portable_letters(), portable_spaces())


@cache
def portable_final_sigma() -> str:
    r"""A pattern whose `\K` leaves the capital sigmas that become the sigma of a word's end.

    `str.lower` looks for a letter with a case before the sigma and for none behind it, and passes
    over characters without one; it tells which those are. No other letter's case has a context.
    """
    follows, passed = set(), set()
    for each in _assigned():
        if f"{each}\u03a3".lower().endswith("\u03c2"):
            follows.add(ord(each))
        elif f"a{each}\u03a3".lower().endswith("\u03c2"):
            passed.add(ord(each))
    cased, ignored = (f"[{_spelt(codes)}]" for codes in (follows, passed))
    return f"{cased}{ignored}*\\K\u03a3(?!{ignored}*{cased})"


@cache
def portable_letters() -> str:
    r"""The members of `\w`."""
    return "_" + _spelt({ord(each) for each in _assigned() if each.isalnum()})


@cache
def portable_spaces() -> str:
    r"""The members of `\s`."""
    return _spelt({ord(each) for each in _assigned() if each.isspace()})


@cache
def _word() -> re.Pattern[str]:
    return re.compile(_pattern(r"\w", r"\s"))


@cache
def _cluster() -> re.Pattern[str]:
    kinds = _characters()
    return re.compile(_symbol(f"[^{kinds.extenders}]", kinds) + f"|[{kinds.extenders}]+")


def _pattern(letters: str, spaces: str) -> str:
    kinds = _characters()
    run = f"[{letters}]+(?:[{kinds.extenders}]+[{letters}]*)*"
    word = f"{run}(?:[{APOSTROPHES}]{run})*"
    flag = f"[{NATIONS}]{{2}}[{kinds.extenders}]*"
    symbol = _symbol(f"[^{letters}{spaces}\u200b{kinds.extenders}]", kinds)
    alone = f"[{kinds.marks}][{kinds.extenders}]*"  # at the beginning of a text, or after a space
    return f"{word}|{flag}|{symbol}|{alone}"


def _symbol(first: str, kinds: _Characters) -> str:
    """A character with its extenders, and what joiners join to it (UAX #29, rule WB3c)."""
    joined = f"(?:(?<={JOINER})[{kinds.pictographs}][{kinds.extenders}]*)*"
    return f"{first}[{kinds.extenders}]*{joined}"


@cache
def _characters() -> _Characters:
    marks, symbols = set(SKIN_TONES), set()
    for each in _assigned(0x20000):
        category = unicodedata.category(each)
        if category.startswith("M"):
            marks.add(ord(each))
        elif category in ("So", "Sm"):
            symbols.add(ord(each))
    extenders = marks | set(UNSEEN)
    flags = range(ord(NATIONS[0]), ord(NATIONS[-1]) + 1)
    pictographs = {code for code in PICTOGRAPHS if not chr(code).isalnum()} | symbols
    pictographs -= {*flags, *extenders, *range(0x80)}
    return _Characters(*map(_spelt, (extenders, marks - set(UNSEEN), pictographs)))


def _assigned(end: int = 0x40000) -> Iterator[str]:
    """The planes of Unicode that hold characters, below `end`, and the marks above all of them."""
    codes = chain(range(0xD800), range(0xE000, end), range(0xE0000, 0xE0200))
    return map(chr, codes)


def _spelt(codes: Collection[int]) -> str:
    """The characters as ranges."""
    ordered = sorted(codes)
    firsts = [code for code in ordered if code - 1 not in codes]
    lasts = [code for code in ordered if code + 1 not in codes]
    return "".join(
        chr(first) if first == last else f"{chr(first)}-{chr(last)}"
        for first, last in zip(firsts, lasts, strict=True)
    )
