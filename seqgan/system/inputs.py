"""Opens what a person names as a file, and reads CSV whose fields may be long.

A named pipe is not opened: whoever opens one waits until somebody writes, perhaps for ever. A pipe
that a shell has opened already (`<(command)`, /dev/stdin) is a file that can be read once.
"""

import csv
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

from seqgan.system.errors import DataError

LONGEST_FIELD = 2**27  # characters in a field of CSV; Python's own limit is 131,072
OPENED = ("/dev/", "/proc/")  # where a system keeps what a process has open


def open_file(path: Path, once: bool = False) -> BufferedReader:
    """Opens a file for reading, and never waits for a writer.

    Args:
        once: True if the file is read from its beginning to its end one time, as a pipe can be.

    Raises:
        OSError: there is no such file, it is a folder, or it may not be read.
        DataError: it is a named pipe or a device, or a pipe where `once` is False.
    """
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        mode = os.fstat(handle).st_mode
        if stat.S_ISFIFO(mode) and once and str(path).startswith(OPENED):
            os.set_blocking(handle, True)
        elif not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            kind = "a pipe" if stat.S_ISFIFO(mode) else "a device"
            raise DataError(f"{path} is {kind}, but must be a regular file")
        return open(handle, "rb")  # raises for a folder
    except BaseException:
        os.close(handle)
        raise


def read_table(path: Path) -> str:
    """The text of a CSV file, with the ends of its lines, without a byte order mark.

    Raises:
        OSError, DataError: as `open_file`; DataError too where a byte is no UTF-8, with its line.
    """
    with open_file(path, once=True) as file:
        content = file.read()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        byte = error.object[error.start]
        raise DataError(
            f"{path}, line {line}: the byte 0x{byte:02x} is not UTF-8, as a CSV file must be"
        ) from error


def csv_rows(reader: Any) -> Iterator[list[str]]:
    """The rows of a `csv.reader`, with fields of up to `LONGEST_FIELD` characters.

    The limit belongs to the whole process, so that it is put back after each row.

    Raises:
        csv.Error: a row is malformed.
    """
    while True:
        limit = csv.field_size_limit(LONGEST_FIELD)
        try:
            row = next(reader, None)
        finally:
            csv.field_size_limit(limit)
        if row is None:
            return
        yield row
