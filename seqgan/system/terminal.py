"""Text for a person at a terminal: broken between words, with arrows and bold type.

A file or a pipe gets every sentence and every row as one line, without bold type, so that programs
read what was printed whatever its length.
"""

import os
import re
import sys
from collections.abc import Callable
from typing import Any

Stream = Any  # a text file; `TextIO` is too narrow for a `StringIO`
HANGING = 2  # further spaces before the lines that go on
USUAL = 80  # columns of a terminal that does not say how many it has
ARROWS = {"max": ("↑", "^"), "min": ("↓", "v")}  # and where the encoding lacks them


def columns_of(stream: Stream | None) -> int | None:
    """The width of a stream's terminal; None for a stream that is none."""
    if stream is None or not stream.isatty():
        return None
    given = os.environ.get("COLUMNS", "")
    if given.isascii() and given.isdigit() and int(given) > 0:
        return int(given)
    try:
        return os.get_terminal_size(stream.fileno()).columns or USUAL
    except OSError:
        return USUAL


def wrapped(text: str, columns: int | None, hanging: int = HANGING) -> list[str]:
    """The lines of a text, none wider than so many columns unless by a single word.

    A line that goes on is indented by `hanging` more than where it began. Without columns nothing
    is broken.
    """
    lines = text.split("\n")
    if columns is None:
        return lines
    return [part for line in lines for part in _broken(line, columns, hanging)]


def _broken(line: str, columns: int, hanging: int) -> list[str]:
    cell_len = _width_of(line)
    if cell_len(line) <= columns:
        return [line]
    first, words = re.match(" *", line)[0], re.findall(r"( *)([^ ]+)", line)  # type: ignore[index]
    indent = first + " " * hanging
    lines = [first + words[0][1]]
    for gap, word in words[1:]:
        if cell_len(lines[-1] + gap + word) <= columns:
            lines[-1] += gap + word
        else:
            lines.append(indent + word)
    return lines


def _width_of(line: str) -> Callable[[str], int]:
    """The measure of a text in columns; plain letters need no package for it."""
    if line.isascii():
        return len
    from rich.cells import cell_len

    return cell_len


def say(text: str, stream: Stream | None = None) -> None:
    """Prints a text, broken between words where the stream is a terminal.

    Args:
        stream: None for standard output.
    """
    stream = sys.stdout if stream is None else stream
    print("\n".join(wrapped(text, columns_of(stream))), file=stream)


def arrow(best: str, stream: Stream | None) -> str:
    """The direction of better values as a character that the stream can show.

    Args:
        best: the better end of a metric's values: max, min, or nothing.
    """
    if best not in ARROWS:
        return ""
    sign, plain = ARROWS[best]
    return sign if _can_show(stream, sign) else plain


def _can_show(stream: Stream | None, text: str) -> bool:
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def shows_bold(stream: Stream | None) -> bool:
    """True for a terminal, unless NO_COLOR or TERM=dumb asks for plain text."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return stream is not None and stream.isatty() and not plain


def bold(text: str) -> str:
    """The text in bold type."""
    return f"\x1b[1m{text}\x1b[22m"
