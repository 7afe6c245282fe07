"""Standard output and standard error that no command dies of.

A run that trains for days must not end because its log cannot be written: nobody may be reading it
any more, its disk may be full, the terminal may know no UTF-8, or the program may have been started
without one of the streams. Standard output is a command's result, so an error of it counts, but for
a reader that has gone.
"""

import codecs
import errno
import io
import json
import logging
import os
import select
import sys
from typing import Any, TextIO

from seqgan.data import lines

AS_TYPED = "seqgan-as-typed"  # name of the error handler `_encode_as_typed`
DEFAULTS = ("strict", "surrogateescape", "backslashreplace")  # handlers that nobody asked for


class Unfailing(io.RawIOBase):
    """Writes to a file descriptor, which stays open, and forgives some errors of it.

    Args:
        forgiven: numbers of errors after which a text is dropped; None forgives all of them.
            After another one, which is raised, nothing more is written.
    """

    def __init__(self, descriptor: int, forgiven: frozenset[int] | None) -> None:
        self._descriptor = descriptor
        self._forgiven = forgiven
        self._failed = False

    def write(self, data: Any, /) -> int:
        content = bytes(data)
        try:
            return len(content) if self._failed else self._write(content)
        except OSError as error:
            if self._forgiven is None or error.errno in self._forgiven:
                return len(content)
            self._failed = True
            raise

    def _write(self, content: bytes) -> int:
        while True:
            try:
                return os.write(self._descriptor, content)
            except BlockingIOError:  # whoever started us has made the pipe so
                select.select([], [self._descriptor], [])

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)


class Lasting(io.TextIOWrapper):
    """A text stream that nobody closes: a user's code would close it for the whole process."""

    def close(self) -> None:
        self.flush()


def secure_streams() -> None:
    """Puts safe streams in the place of this process' `sys.stdout` and `sys.stderr`.

    Characters that a stream's encoding lacks are written as escapes, and the bytes of a file name
    that is not UTF-8 as they are. A stream that was closed at the start leads nowhere.
    """
    codecs.register_error(AS_TYPED, _encode_as_typed)
    # Else the next file that is opened would get the number of a standard stream, and its texts.
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    logging.raiseExceptions = False  # else a log that cannot be written fills a page each time
    gone = {errno.EPIPE} | ({errno.EIO} if os.isatty(1) else set())
    # It says of a font, once for each text, that a picture uses another weight of it.
    logging.getLogger("matplotlib.font_manager").setLevel(logging.ERROR)
    if sys.stdin is None:
        sys.stdin = open(0, closefd=False)  # noqa: SIM115  # as long as the process
    sys.stdout = _stream(sys.stdout, 1, frozenset(gone), lines=os.isatty(1))
    sys.stderr = _stream(sys.stderr, 2, None, lines=True)


def _stream(
    before: TextIO | None, descriptor: int, forgiven: frozenset[int] | None, lines: bool
) -> TextIO:
    encoding = "utf-8" if before is None else before.encoding
    errors = AS_TYPED if before is None or before.errors in DEFAULTS else before.errors
    raw = io.BufferedWriter(Unfailing(descriptor, forgiven))
    return Lasting(raw, encoding, errors, line_buffering=lines)


def _encode_as_typed(error: UnicodeError) -> tuple[str | bytes, int]:
    """Bytes of a file name as they are, any other character as an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    character = error.object[error.start]
    if "\udc80" <= character <= "\udcff":  # as Python reads a byte that is not UTF-8
        return bytes([ord(character) - 0xDC00]), error.start + 1
    return character.encode("ascii", "backslashreplace").decode(), error.start + 1


def json_line(value: Any) -> str:
    """A value as one line of JSON that standard output can show, escaped where it could not."""
    text = lines.json_line(value)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return json.dumps(value)
    return text
