"""Reading files of texts: one text a line, one JSON object a line, or CSV with a header.

A line of a file ends at a newline and nowhere else: the other characters that Unicode calls line
ends (U+2028 and its kin) stay inside their text. Files are UTF-8; a byte order mark at the start
and carriage returns before newlines are dropped.
"""

import codecs
import csv
import json
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path


class TextFileError(ValueError):
    """A file of texts that cannot be used: the message says where, the rule, and what was found."""


def read_texts(path: Path, column: str = "text") -> list[str]:
    """The texts of a file that are not blank, in file order.

    Raises:
        TextFileError: the file cannot be read or decoded, a record is malformed, or all are blank.
    """
    texts = [text for text in parse_texts(path, read_file(path), column) if text.strip()]
    if not texts:
        raise TextFileError(f"{path}: a text file holds texts, got blank lines only")
    return texts


def read_file(path: Path) -> bytes:
    """The bytes of a file whose name and content can be those of a text file."""
    if path.is_dir():
        raise TextFileError(f"a text file is no folder, got {path}")
    if path.suffix.lower() not in (".txt", ".jsonl", ".csv"):
        raise TextFileError(f"a text file's name ends in .txt, .jsonl or .csv, got {path}")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise TextFileError(f"a text file can be read, got {path} ({error.strerror})") from error
    if not data.removeprefix(codecs.BOM_UTF8):
        raise TextFileError(f"{path}: a text file holds texts, got no bytes")
    return data


def parse_texts(path: Path, data: bytes, column: str) -> list[str]:
    """The text of every record in file order, blank ones included."""
    lines = _decode(path, data).removesuffix("\n").split("\n")
    match path.suffix.lower():
        case ".jsonl":
            return [
                _json_text(f"{path}, line {i}", line, column) for i, line in enumerate(lines, 1)
            ]
        case ".csv":
            return list(_csv_texts(path, lines, column))
        case _:
            return lines


def _decode(path: Path, data: bytes) -> str:
    """UTF-8 to text, without the byte order mark, every line end a single newline."""
    data = data.removeprefix(codecs.BOM_UTF8)
    nul = data.find(b"\0")
    if nul >= 0:
        raise TextFileError(
            f"{path}, line {_line_at(data, nul)}: a text file is UTF-8 without NUL bytes, got one"
            " (a binary or UTF-16 file?)"
        )
    try:
        return data.decode("utf-8").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise TextFileError(
            f"{path}, line {_line_at(data, error.start)}: a text file is valid UTF-8,"
            f" got the byte 0x{data[error.start]:02x} ({error.reason})"
        ) from error


def _line_at(data: bytes, offset: int) -> int:
    """Number of the line, from 1, that holds the byte at an offset."""
    return data.count(b"\n", 0, offset) + 1


def _json_text(place: str, line: str, column: str) -> str:
    """The text of one line of JSON; a blank line is a blank text."""
    if not line.strip():
        return ""
    rule = f"{place}: a line holds one JSON object, got {reprlib.repr(line)}"
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise TextFileError(f"{rule} ({error.msg} at column {error.colno})") from error
    except (ValueError, RecursionError) as error:  # an endless integer, a bottomless nesting
        raise TextFileError(f"{rule} ({error})") from error
    if not isinstance(record, dict):
        raise TextFileError(rule)
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


def _csv_texts(path: Path, lines: Sequence[str], column: str) -> Iterator[str]:
    """The texts of a CSV file's records; an empty line is a blank text."""
    records = _csv_records(path, lines)
    line, header = next(records)
    if header.count(column) != 1:
        raise TextFileError(
            f"{path}, line {line}: the header names the column {column!r} once,"
            f" got {_names(header)}"
        )
    index = header.index(column)
    for line, fields in records:
        # A comma that should have been quoted would otherwise cut its text short in silence.
        if fields and len(fields) != len(header):
            raise TextFileError(
                f"{path}, line {line}: a record has as many fields as the header, {len(header)},"
                f" got {len(fields)}"
            )
        yield fields[index] if fields else ""


def _csv_records(path: Path, lines: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Every record with the number of its first line: quoted fields may span lines."""
    reader = csv.reader((line + "\n" for line in lines), strict=True)
    start = 1
    try:
        for fields in reader:
            yield start, fields
            start = reader.line_num + 1
    except csv.Error as error:
        raise TextFileError(
            f"{path}, line {start}: a record is well-formed CSV,"
            f" got {reprlib.repr(lines[start - 1])} ({error})"
        ) from error


def _names(columns: Mapping[str, object] | Sequence[str]) -> str:
    return ", ".join(map(repr, columns)) or "no columns"
