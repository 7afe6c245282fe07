"""Published points from a CSV file, matched to the axes of a plane by the names of its columns."""

import csv
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from seqgan.evaluation.axes import Axis
from seqgan.evaluation.planes.points import Panel
from seqgan.system.errors import DataError
from seqgan.system.inputs import csv_rows, read_table

MODEL = "model"
# Other names of the axes. NLL_gen is not among them: papers compute it on training data.
ALIASES = {"nlltest": "nllheldout"}


@dataclass(frozen=True)
class PublishedCurve:
    """A model's points in the order of the file, each with the axes that have a number."""

    model: str
    points: tuple[dict[str, float], ...]

    def on(self, panel: Panel) -> list[tuple[float, float]]:
        """The pairs (quality, diversity) of the points that have both."""
        names = panel.quality.name, panel.diversity.name
        return [
            (point[names[0]], point[names[1]])
            for point in self.points
            if all(name in point for name in names)
        ]


def read_points(path: Path, panels: Sequence[Panel]) -> list[PublishedCurve]:
    """Reads points: a line each, a column for each axis, and a column `model` for several models.

    Case, `_`, `-` and an `eval/` in front are no part of a column's name. `nll_test` stands for
    `nll_heldout`. Other columns are passed over. A point with an empty cell, or one that is not
    finite, lacks that axis.

    Raises:
        DataError: there is no such file, it is no CSV, the columns fill no plane, a cell is no
            number (with the line), or no plane can show a point.
    """
    try:
        text = read_table(path)
    except FileNotFoundError as error:
        raise DataError(f"cannot read the points {path}: no such file") from error
    except (OSError, DataError) as error:
        raise DataError(f"cannot read the points: {error}") from error
    try:
        with StringIO(text, newline="") as file:
            reader = csv.reader(file, strict=True)
            rows = csv_rows(reader)
            header = [name.strip() for name in next(rows, [])]
            columns = _columns(path, header, panels)
            curves: dict[str, list[dict[str, float]]] = {}
            for row in rows:
                if not any(cell.strip() for cell in row):
                    continue
                where = f"{path} line {reader.line_num}"
                if len(row) != len(header):
                    raise DataError(
                        f"{where} has {len(row)} cells, but the header has {len(header)} columns"
                    )
                model = next(
                    (
                        cell.strip()
                        for name, cell in zip(header, row, strict=True)
                        if _plain(name) == MODEL
                    ),
                    path.stem,
                )
                point = {
                    axis: _number(row[index], f"{where}: {header[index]}")
                    for axis, index in columns.items()
                }
                curves.setdefault(model, []).append(
                    {axis: value for axis, value in point.items() if math.isfinite(value)}
                )
    except csv.Error as error:
        where = f"{path} line {reader.line_num}"
        raise DataError(f"{where} is not well-formed CSV: {error}") from error
    published = [PublishedCurve(model, tuple(points)) for model, points in curves.items()]
    if not any(curve.on(panel) for curve in published for panel in panels):
        raise DataError(f"{path} has no point with both axes, but must have at least one")
    return published


def _columns(path: Path, header: Sequence[str], panels: Sequence[Panel]) -> dict[str, int]:
    """The place of each axis' column, for the axes that the file has."""
    axes = {axis.name: axis for panel in panels for axis in (panel.quality, panel.diversity)}
    columns: dict[str, int] = {}
    for name in axes:
        places = [index for index, column in enumerate(header) if _matches(column, axes[name])]
        if len(places) > 1:
            both = " and ".join(repr(header[index]) for index in places)
            raise DataError(f"{path} has more than one column for {name}: {both}")
        if places:
            columns[name] = places[0]
    if not any({panel.quality.name, panel.diversity.name} <= set(columns) for panel in panels):
        needed = " or ".join(f"{panel.quality.name} and {panel.diversity.name}" for panel in panels)
        raise DataError(
            f"{path} has the columns {', '.join(header) if header else 'none'}, but must"
            f" have {needed}"
        )
    return columns


def _matches(column: str, axis: Axis) -> bool:
    plain = _plain(column)
    return ALIASES.get(plain, plain) == _plain(axis.name)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower().removeprefix("eval/"))


def _number(cell: str, where: str) -> float:
    """The number in a cell; NaN for an empty one."""
    if not cell.strip():
        return math.nan
    try:
        return float(cell)
    except ValueError as error:
        raise DataError(f"{where} is {cell!r}, but must be a number") from error
