"""A text as a picture of constant size, for videos and windows: black letters on white.

The font is DejaVu Sans, which comes with matplotlib: Latin, Greek, Cyrillic, Arabic, Hebrew and
many symbols, the same on every machine. Letters stand from left to right in the order of the text,
and are not joined. A character that the font lacks (Chinese, Hindi, Thai, most emoji), or that has
no picture (a tab, NUL), is written as its escape, "\\u4f60". Invisible marks are left out.
"""

import functools
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray

RENDER_MODES = ("ansi", "rgb_array")

WIDTH, HEIGHT, MARGIN = 640, 384, 20  # pixels; codecs of videos like multiples of 16
SIZES = (24, 18, 14, 11)  # of the letters, in pixels; the first at which the text fits
SPACING = 1.35  # height of a line per size of its letters
MOST = 6000  # more letters never fit, so that only the last ones are looked at
BLACK, GREY, WHITE = (0, 0, 0), (140, 140, 140), (255, 255, 255)


class _Letter(NamedTuple):
    shown: str  # one character, or an escape
    colour: tuple[int, int, int]


def check_render_mode(render_mode: str | None) -> None:
    """Checks a render mode, and that its packages are installed.

    Raises:
        ValueError: the mode is unknown.
        gymnasium.error.DependencyNotInstalled: "rgb_array" needs Pillow and matplotlib.
    """
    if render_mode not in (None, *RENDER_MODES):
        modes = ", ".join(map(repr, RENDER_MODES))
        raise ValueError(f"render_mode is {render_mode!r}, but must be None or one of {modes}")
    if render_mode == "rgb_array":
        _font(SIZES[0])


def draw(text: str, prompt: str = "") -> NDArray[np.uint8]:
    """Draws a text, with wrapped lines, as a picture (HEIGHT, WIDTH, 3).

    A long text has smaller letters. Where the smallest do not suffice, the last lines stay, after
    a line of three dots.

    Args:
        prompt: the beginning of the text that is drawn in grey.

    Raises:
        gymnasium.error.DependencyNotInstalled: Pillow or matplotlib is missing.
    """
    from PIL import Image, ImageDraw

    num_grey = len(prompt) if text.startswith(prompt) else 0
    letters = [
        _Letter(shown, GREY if place < num_grey else BLACK)
        for place, character in enumerate(text)
        if (shown := _shown(character))
    ][-MOST:]
    for size in SIZES:
        lines = list(_wrapped(letters, size))
        height = round(size * SPACING)
        fitting = (HEIGHT - 2 * MARGIN) // height
        if len(lines) <= fitting:
            break
    else:
        lines = [[_Letter("...", GREY)], *lines[1 - fitting :]]
    image = Image.new("RGB", (WIDTH, HEIGHT), WHITE)
    canvas = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        x = float(MARGIN)
        for letter in line:
            canvas.text((x, MARGIN + number * height), letter.shown, letter.colour, _font(size))
            x += _width(letter.shown, size)
    return np.array(image)


def _shown(character: str) -> str:
    """The character as it is drawn: itself, an escape, or nothing."""
    if character == "\n" or ord(character) in _drawable():
        return character
    if unicodedata.category(character) == "Cf":
        return ""
    return character.encode("unicode_escape").decode("ascii")


def _wrapped(letters: Sequence[_Letter], size: int) -> Iterator[list[_Letter]]:
    """Cuts letters of this size into lines, at line breaks and at spaces where it can."""
    line: list[_Letter] = []
    used, limit = 0.0, WIDTH - 2 * MARGIN
    for word in _words(letters):
        if word[0].shown == "\n":
            yield line
            line, used = [], 0.0
            continue
        length = sum(_width(letter.shown, size) for letter in word)
        if line and used + length > limit:
            yield line
            line, used = [], 0.0
            if word[0].shown == " ":
                continue
        for letter in word:
            width = _width(letter.shown, size)
            if line and used + width > limit:
                yield line
                line, used = [], 0.0
            line.append(letter)
            used += width
    yield line


def _words(letters: Sequence[_Letter]) -> Iterator[list[_Letter]]:
    """Cuts letters into words; each space and each line break is a word of its own."""
    word: list[_Letter] = []
    for letter in letters:
        if letter.shown not in (" ", "\n"):
            word.append(letter)
            continue
        if word:
            yield word
        yield [letter]
        word = []
    if word:
        yield word


def _file() -> str:
    try:
        import matplotlib
    except ImportError as error:
        raise _missing(error) from error
    return str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")


@functools.cache
def _font(size: int) -> Any:
    """The font with letters of this size; its basic layout is the same wherever Pillow runs."""
    try:
        from PIL import ImageFont
    except ImportError as error:
        raise _missing(error) from error
    return ImageFont.truetype(_file(), size, layout_engine=ImageFont.Layout.BASIC)


@functools.lru_cache(maxsize=2**14)
def _width(shown: str, size: int) -> float:
    return float(_font(size).getlength(shown))


@functools.cache
def _drawable() -> frozenset[int]:
    """The code points that the font draws and that are no control characters."""
    from matplotlib.ft2font import FT2Font

    codes = FT2Font(_file()).get_charmap()
    return frozenset(c for c in codes if unicodedata.category(chr(c)) not in ("Cc", "Cf"))


def _missing(error: ImportError) -> DependencyNotInstalled:
    return DependencyNotInstalled(
        f"render_mode 'rgb_array' needs two packages: pip install pillow matplotlib ({error})"
    )
