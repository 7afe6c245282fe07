"""Reading files of texts: one text a line, one JSON object a line, or CSV with a header.

A file is read a block at a time, and its texts are handed on one by one.

A line of a file ends at a newline and nowhere else: the other characters that Unicode calls line
ends (U+2028 and its kin) stay inside their text. Files are UTF-8; a byte order mark at the start
and carriage returns before newlines are dropped.
"""

import codecs
import csv
import json
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from seqgan.system.errors import DataError
from seqgan.system.files import digest_of

BLOCK = 2**20  # bytes that are read and decoded at a time, and then the rest of the last line


class TextFileError(DataError):
    """A file of texts cannot be used. The message gives the place, the rule and the value."""


def read_texts(path: Path, column: str = "text") -> list[str]:
    """The texts of a file that are not blank, in file order.

    Raises:
        TextFileError: the file cannot be read or decoded, a record is malformed, or all are blank.
    """
    return full_texts(path, stream_texts(path, column))


def full_texts(path: Path, texts: Iterable[str]) -> list[str]:
    """The texts of a file that are not blank. Raises TextFileError if all are blank."""
    full = [text for text in texts if text.strip()]
    if not full:
        raise TextFileError(f"{path}: a text file holds texts, got blank lines only")
    return full


def stream_texts(path: Path, column: str = "text") -> Iterator[str]:
    """The text of every record in file order, blank ones included.

    A file is .jsonl or .csv by its name; under any other name it holds one text a line.

    Raises:
        TextFileError: the file cannot be read or decoded, or a record is malformed. What comes
            before the place of an error is handed out first.
    """
    if path.is_dir():
        raise TextFileError(f"a text file is no folder, got {path}")
    lines = _lines(path)
    match path.suffix.lower():
        case ".jsonl":
            return (
                _json_text(f"{path}, line {i}", line, column) for i, line in enumerate(lines, 1)
            )
        case ".csv":
            return _csv_texts(path, lines, column)
        case _:
            return lines


def stream_records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every record of a .jsonl or .csv file that is not a blank line, with its place.

    Raises:
        TextFileError: the file cannot be read or decoded, or a record is malformed. What comes
            before the place of an error is handed out first.
    """
    lines = _lines(path)
    if path.suffix.lower() == ".csv":
        yield from _csv_dicts(path, lines)
        return
    for number, line in enumerate(lines, 1):
        place = f"{path}, line {number}"
        if line.strip():
            yield place, _json_record(place, line)


def text_of(place: str, record: Mapping[str, Any], column: str) -> str:
    """The text in a record's column.

    Raises:
        TextFileError: there is no such column, or it holds no string of valid Unicode.
    """
    if column not in record:
        raise TextFileError(f"{place}: the column is {column!r}, got {_names(record)}")
    text = record[column]
    if not isinstance(text, str):
        raise TextFileError(f"{place}: the column {column!r} is a string, got {reprlib.repr(text)}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:  # half a surrogate pair, which no file or tracker takes
        raise TextFileError(
            f"{place}: the column {column!r} is valid Unicode, got {text[error.start]!r}"
            f" ({error.reason})"
        ) from error
    return text


def check_file(path: Path) -> None:
    """Raises TextFileError for a folder, and for a name that is not that of a text file."""
    if path.is_dir():
        raise TextFileError(f"a text file is no folder, got {path}")
    if path.suffix.lower() not in (".txt", ".jsonl", ".csv"):
        raise TextFileError(f"a text file's name ends in .txt, .jsonl or .csv, got {path}")


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes. Raises TextFileError where the file cannot be read."""
    try:
        return digest_of(path)
    except OSError as error:
        raise _unreadable(path, error) from error


def _lines(path: Path) -> Iterator[str]:
    """The lines of a file without their ends and without the byte order mark."""
    first = 1  # the number of a block's first line
    for block in _blocks(path):
        yield from _decode(path, block, first).removesuffix("\n").split("\n")
        first += block.count(b"\n")


def _blocks(path: Path) -> Iterator[bytes]:
    """The bytes of a file after the byte order mark, cut at ends of lines; never an empty one."""
    try:
        with path.open("rb") as file:
            if file.read(len(codecs.BOM_UTF8)) != codecs.BOM_UTF8:
                file.seek(0)
            block = file.read(BLOCK)
            if not block:
                raise TextFileError(f"{path}: a text file holds texts, got no bytes")
            while block:
                yield block if block.endswith(b"\n") else block + file.readline()
                block = file.read(BLOCK)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> TextFileError:
    return TextFileError(f"a text file can be read, got {path} ({error.strerror})")


def _decode(path: Path, block: bytes, first: int) -> str:
    """UTF-8 to text, every line end a single newline; `first` numbers the block's first line."""

    def place(offset: int) -> str:
        line = first + block.count(b"\n", 0, offset)
        return f"{path}, line {line}"

    nul = block.find(b"\0")
    if nul >= 0:
        raise TextFileError(
            f"{place(nul)}: a text file is UTF-8 without NUL bytes, got one"
            " (a binary or UTF-16 file?)"
        )
    try:
        return block.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise TextFileError(
            f"{place(error.start)}: a text file is valid UTF-8,"
            f" got the byte 0x{block[error.start]:02x} ({error.reason})"
        ) from error


def _json_text(place: str, line: str, column: str) -> str:
    """The text of one line of JSON; a blank line is a blank text."""
    return text_of(place, _json_record(place, line), column) if line.strip() else ""


def _json_record(place: str, line: str) -> dict[str, Any]:
    """The object that a line of JSON holds."""
    rule = f"{place}: a line holds one JSON object, got {reprlib.repr(line)}"
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise TextFileError(f"{rule} ({error.msg} at column {error.colno})") from error
    except (ValueError, RecursionError) as error:  # an endless integer, a bottomless nesting
        raise TextFileError(f"{rule} ({error})") from error
    if not isinstance(record, dict):
        raise TextFileError(rule)
    return record


def _csv_texts(path: Path, lines: Iterable[str], column: str) -> Iterator[str]:
    """The texts of a CSV file's records; an empty line is a blank text."""
    line, header, records = _csv_table(path, lines)
    if header.count(column) != 1:
        raise TextFileError(
            f"{path}, line {line}: the header names the column {column!r} once,"
            f" got {_names(header)}"
        )
    index = header.index(column)
    for _, fields in records:
        yield fields[index] if fields else ""


def _csv_dicts(path: Path, lines: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The records of a CSV file by the header's names, empty lines left out."""
    line, header, records = _csv_table(path, lines)
    if len(set(header)) < len(header):
        raise TextFileError(
            f"{path}, line {line}: the header names each column once, got {_names(header)}"
        )
    for line, fields in records:
        if fields:
            yield f"{path}, line {line}", dict(zip(header, fields, strict=True))


def _csv_table(
    path: Path, lines: Iterable[str]
) -> tuple[int, list[str], Iterator[tuple[int, list[str]]]]:
    """The line of the header, the header, and the records, of as many fields or none."""
    records = _csv_records(path, lines)
    line, header = next(records)

    def checked() -> Iterator[tuple[int, list[str]]]:
        for line, fields in records:
            # A comma that should have been quoted would otherwise cut its text short in silence.
            if fields and len(fields) != len(header):
                raise TextFileError(
                    f"{path}, line {line}: a record has as many fields as the header,"
                    f" {len(header)}, got {len(fields)}"
                )
            yield line, fields

    return line, header, checked()


def _csv_records(path: Path, lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
    """Every record with the number of its first line: quoted fields may span lines."""
    record: list[str] = []  # the lines of the record that is being read

    def noted() -> Iterator[str]:
        for line in lines:
            record.append(line)
            yield line + "\n"

    reader = csv.reader(noted(), strict=True)
    start = 1
    try:
        for fields in reader:
            yield start, fields
            start = reader.line_num + 1
            record.clear()
    except csv.Error as error:
        raise TextFileError(
            f"{path}, line {start}: a record is well-formed CSV,"
            f" got {reprlib.repr(record[0])} ({error})"
        ) from error


def _names(columns: Mapping[str, object] | Sequence[str]) -> str:
    return ", ".join(map(repr, columns)) or "no columns"
