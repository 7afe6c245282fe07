"""Reading files of texts: one text a line, one JSON object a line, or CSV with a header.

A file is read once, a block at a time, and its texts are handed on one by one.

A line of a file ends at a newline and nowhere else: the other characters that Unicode calls line
ends (U+2028 and its kin) stay inside their text. Files are UTF-8; a byte order mark at the start
and carriage returns before newlines are dropped. A line that is a JSON string of a text which
cannot be a line by itself is that text (`seqgan.data.lines`), as `seqgan sample` prints it.
"""

import codecs
import csv
import json
import reprlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from seqgan.data.lines import from_line
from seqgan.system.errors import DataError
from seqgan.system.files import digest_of
from seqgan.system.inputs import csv_rows, open_file

BLOCK = 2**20  # bytes that are read and decoded at a time, and then the rest of the last line


class TextFileError(DataError):
    """A file of texts cannot be used. The message gives the place, the fault and the rule."""


class NoColumnError(TextFileError):
    """A record has no column of the name that was asked for."""


def read_texts(path: Path, column: str = "text") -> list[str]:
    """The texts of a file in its order, without its blank lines.

    Raises:
        TextFileError: the file cannot be read or decoded, a record is malformed, or all lines are
            blank.
    """
    return full_texts(path, stream_lines(path, column))


def full_texts(path: Path, lines: Iterable[str | None]) -> list[str]:
    """The texts of `stream_lines` without blank lines. Raises TextFileError if all are blank."""
    texts = [text for text in lines if text is not None]
    if not any(text.strip() for text in texts):
        raise TextFileError(f"{path} has blank lines only, but must hold texts")
    return texts


def stream_texts(path: Path, column: str = "text") -> Iterator[str]:
    """The text of every record in file order, blank ones and blank lines included.

    Raises:
        TextFileError: as `stream_lines`.
    """
    return (text or "" for text in stream_lines(path, column))


def stream_lines(path: Path, column: str = "text") -> Iterator[str | None]:
    """The text of every record in file order, None for a blank line.

    A file is .jsonl or .csv by its name; under any other name it holds one text a line.

    Raises:
        TextFileError: the file cannot be read or decoded, or a record is malformed. What comes
            before the place of an error is handed out first.
    """
    if path.is_dir():
        raise TextFileError(f"{path} is a folder, but must be a text file")
    lines = file_lines(path)
    match path.suffix.lower():
        case ".jsonl":
            return (
                _json_text(f"{path}, line {i}", line, column) for i, line in enumerate(lines, 1)
            )
        case ".csv":
            return _csv_texts(path, lines, column)
        case _:
            return _plain_texts(path, lines)


def stream_records(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every record of a .jsonl or .csv file that is not a blank line, with its place.

    Raises:
        TextFileError: the file cannot be read or decoded, or a record is malformed. What comes
            before the place of an error is handed out first.
    """
    lines = file_lines(path)
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
        raise NoColumnError(f"{place} has no column {column!r} (it has {_names(record)})")
    text = record[column]
    if not isinstance(text, str):
        raise TextFileError(
            f"{place}: the column {column!r} has {reprlib.repr(text)}, but must have a string"
        )
    return _valid(f"{place}: the column {column!r}", text)


def check_file(path: Path) -> None:
    """Raises TextFileError for a folder, and for a name that is not that of a text file."""
    if path.is_dir():
        raise TextFileError(f"{path} is a folder, but must be a text file")
    if path.suffix.lower() not in (".txt", ".jsonl", ".csv"):
        raise TextFileError(f"{path} is not named *.txt, *.jsonl or *.csv, as a text file must be")


def hash_file(path: Path) -> str:
    """SHA-256 of a file's bytes.

    Raises:
        DataError: the file cannot be read, or it is a pipe, which can be read only once.
    """
    try:
        return digest_of(path)
    except OSError as error:
        raise _unreadable(path, error) from error


def file_lines(path: Path) -> Iterator[str]:
    """The lines of a file without their ends and without the byte order mark.

    Raises:
        TextFileError: the file cannot be read or decoded, or is empty.
    """
    first = 1  # the number of a block's first line
    for block in _blocks(path):
        yield from _decode(path, block, first).removesuffix("\n").split("\n")
        first += block.count(b"\n")


def _blocks(path: Path) -> Iterator[bytes]:
    """The bytes of a file after the byte order mark, cut at ends of lines; never an empty one."""
    try:
        with open_file(path, once=True) as file:
            first = file.read(len(codecs.BOM_UTF8))
            block = first.removeprefix(codecs.BOM_UTF8) + file.read(BLOCK)
            if not block:
                raise TextFileError(f"{path} is empty, but must hold texts")
            while block:
                yield block if block.endswith(b"\n") else block + file.readline()
                block = file.read(BLOCK)
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> TextFileError:
    return TextFileError(f"cannot read {path}: {error.strerror}")


def _decode(path: Path, block: bytes, first: int) -> str:
    """UTF-8 to text, every line end a single newline; `first` numbers the block's first line."""

    def place(offset: int) -> str:
        line = first + block.count(b"\n", 0, offset)
        return f"{path}, line {line}"

    nul = block.find(b"\0")
    if nul >= 0:
        raise TextFileError(
            f"{place(nul)} has a NUL byte, but must be UTF-8 (is it a binary or UTF-16 file?)"
        )
    try:
        return block.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise TextFileError(
            f"{place(error.start)} has the byte 0x{block[error.start]:02x}, which is not"
            f" UTF-8 ({error.reason})"
        ) from error


def _valid(name: str, text: str) -> str:
    """The text, if it is valid Unicode: half a surrogate pair is taken by no file or tracker."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise TextFileError(
            f"{name} has {text[error.start]!r}, which is not Unicode ({error.reason})"
        ) from error
    return text


def _plain_texts(path: Path, lines: Iterable[str]) -> Iterator[str | None]:
    """The text of every line, None for a blank one."""
    for number, line in enumerate(lines, 1):
        if line.startswith('"'):
            yield _valid(f"{path}, line {number}", from_line(line))
        else:
            yield line if line.strip() else None


def _json_text(place: str, line: str, column: str) -> str | None:
    """The text of one line of JSON, None for a blank line."""
    return text_of(place, _json_record(place, line), column) if line.strip() else None


def _json_record(place: str, line: str) -> dict[str, Any]:
    """The object that a line of JSON holds."""
    fault = f"{place} is no JSON object: {reprlib.repr(line)}"
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise TextFileError(f"{fault} ({error.msg} at column {error.colno})") from error
    except (ValueError, RecursionError) as error:  # an endless integer, a bottomless nesting
        raise TextFileError(f"{fault} ({error})") from error
    if not isinstance(record, dict):
        raise TextFileError(fault)
    return record


def _csv_texts(path: Path, lines: Iterable[str], column: str) -> Iterator[str | None]:
    """The texts of a CSV file's records, None for an empty line."""
    line, header, records = _csv_table(path, lines)
    if column not in header:
        raise NoColumnError(
            f"{path}, line {line} has no column {column!r} (it has {_names(header)})"
        )
    if header.count(column) > 1:
        raise TextFileError(f"{path}, line {line} has the column {column!r} more than once")
    index = header.index(column)
    for _, fields in records:
        yield fields[index] if fields else None


def _csv_dicts(path: Path, lines: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The records of a CSV file by the header's names, empty lines left out."""
    line, header, records = _csv_table(path, lines)
    if len(set(header)) < len(header):
        raise TextFileError(f"{path}, line {line}: the header has a column twice: {_names(header)}")
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
                    f"{path}, line {line} has {len(fields)} fields, but the header has"
                    f" {len(header)}{_other_mark(header)}"
                )
            yield line, fields

    return line, header, checked()


def _other_mark(header: Sequence[str]) -> str:
    """A hint for a table whose columns other marks than commas separate; empty for none."""
    for mark, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
        if len(header) == 1 and mark in header[0]:
            return f"; {name} separate its columns, but commas must"
    return ""


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
        for fields in csv_rows(reader):
            yield start, fields
            start = reader.line_num + 1
            record.clear()
    except csv.Error as error:
        raise TextFileError(
            f"{path}, line {start} is not well-formed CSV: {reprlib.repr(record[0])} ({error})"
        ) from error


def _names(columns: Mapping[str, object] | Sequence[str]) -> str:
    return ", ".join(map(repr, columns)) or "no columns"
