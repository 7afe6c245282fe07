"""Reads raters' answers from the CSV files that the page exports, and checks them by the key."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from io import StringIO
from pathlib import Path

from seqgan.judging.study import Key
from seqgan.system.errors import DataError
from seqgan.system.inputs import csv_rows, read_table

COLUMNS = ("rater", "item", "answer", "seconds", "time", "page")
ANSWERS = ("left", "right", "tie", "bad")


@dataclass(frozen=True)
class Rating:
    """One answer of one rater.

    Args:
        answer: left, right, tie, or bad (both texts are bad).
        seconds: time from the display of the item to the answer.
    """

    rater: str
    item: str
    answer: str
    seconds: float


def read_ratings(paths: Sequence[Path], key: Key) -> tuple[list[Rating], list[str]]:
    """Reads the answers of all files, one per rater and item.

    If a rater has answered an item several times, in one file or in several, the latest answer
    counts.

    Returns:
        The answers in the order of the files, and a sentence about every file with repeated
        answers.

    Raises:
        DataError: a file cannot be read, lacks a column or has no answers; a row is malformed,
            belongs to another page, names an unknown item, or has an answer that the page does not
            offer. The message names the line.
    """
    latest: dict[tuple[str, str], tuple[datetime, Rating]] = {}
    notes = []
    for path in paths:
        repeats = 0
        for time, rating in _read(path, key):
            earlier = latest.get((rating.rater, rating.item))
            repeats += earlier is not None
            if earlier is None or time >= earlier[0]:
                latest[rating.rater, rating.item] = time, rating
        if repeats:
            notes.append(
                f"{path}: rows that answer an item again: {repeats}; of a rater's answers to an"
                " item the latest counts"
            )
    return [rating for _, rating in latest.values()], notes


def _read(path: Path, key: Key) -> list[tuple[datetime, Rating]]:
    """The answers of one file with their times."""
    try:
        with StringIO(read_table(path), newline="") as file:
            reader = csv.reader(file, strict=True)
            rows_read = csv_rows(reader)
            header = next(rows_read, [])
            missing = [column for column in COLUMNS if column not in header]
            if missing:
                raise DataError(
                    f"{path}, line 1 has no column {missing[0]!r}, but must have"
                    f" {', '.join(COLUMNS)}"
                )
            rows = []
            for fields in rows_read:
                if fields:
                    place = f"{path}, line {reader.line_num}"
                    rows.append(_rating(place, header, fields, key))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except csv.Error as error:
        raise DataError(
            f"{path}, line {reader.line_num} is not well-formed CSV: {error}"
        ) from error
    if not rows:
        raise DataError(f"{path} is empty, but must hold answers")
    return rows


def _rating(
    place: str, header: Sequence[str], fields: Sequence[str], key: Key
) -> tuple[datetime, Rating]:
    """Parses and checks one row; `place` is its file and line, for messages."""
    if len(fields) != len(header):
        raise DataError(f"{place} has {len(fields)} fields, but the header has {len(header)}")
    row = {name: field.strip() for name, field in zip(header, fields, strict=True)}
    if row["page"] != key.page:
        raise DataError(
            f"{place}: the answer is for page {row['page']!r}, but the key is for page {key.page}"
        )
    if row["item"] not in key.placements:
        raise DataError(f"{place}: the item {row['item']!r} is not on the page")
    offered = [answer for answer in ANSWERS if key.both_bad or answer != "bad"]
    if row["answer"] not in offered:
        raise DataError(
            f"{place}: the answer is {row['answer']!r}, but must be one of {', '.join(offered)}"
        )
    if not row["rater"]:
        raise DataError(f"{place}: the name of the rater is blank")
    try:
        seconds = float(row["seconds"])
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise DataError(f"{place}: seconds is {row['seconds']!r}, but must be 0 or more")
    try:
        time = datetime.fromisoformat(row["time"])
    except ValueError as error:
        raise DataError(f"{place}: the time is {row['time']!r}, but must be of ISO 8601") from error
    if time.tzinfo is None:
        raise DataError(f"{place}: the time {row['time']!r} has no time zone")
    return time, Rating(row["rater"], row["item"], row["answer"], seconds)
