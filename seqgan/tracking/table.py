"""The metrics of a run as a table in Python: rows in the order of logging, columns by name."""

import html
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, overload

from seqgan.system.plugins import nearest

Value = float | int
SHOWN = 60  # names in a notebook


class MetricTable(Sequence[Mapping[str, Value]]):
    """The logged metrics, a row for each time of logging. Rows have different names.

    `table[3]` is a row, `table["eval/nll_heldout"]` the values of a name in their order, and
    `table.columns("iteration", "eval/nll_heldout")` those of several names, for a plot.
    `pandas.DataFrame(table)` has a column for each name, with NaN where a row lacks it.
    """

    def __init__(self, rows: Sequence[Mapping[str, Value]]) -> None:
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Mapping[str, Value]]:
        return iter(self._rows)

    @overload
    def __getitem__(self, key: int) -> Mapping[str, Value]: ...

    @overload
    def __getitem__(self, key: slice) -> "MetricTable": ...

    @overload
    def __getitem__(self, key: str) -> list[Value]: ...

    def __getitem__(self, key: int | slice | str) -> Any:
        """Row, rows, or the values of a name. Raises KeyError for a name that no row has."""
        if isinstance(key, str):
            return self.columns(key)[0]
        return MetricTable(self._rows[key]) if isinstance(key, slice) else self._rows[key]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, MetricTable) and list(self) == list(other)

    @property
    def names(self) -> list[str]:
        """All names, in the order of their first row."""
        return list(dict.fromkeys(name for row in self._rows for name in row))

    def columns(self, *names: str) -> tuple[list[Value], ...]:
        """The values of these names, of the rows that have all of them.

        Raises:
            KeyError: no row has one of the names.
        """
        known = self.names
        for name in names:
            if name not in known:
                raise KeyError(f"{name} was never logged{nearest(name, known)}")
        rows = [row for row in self._rows if all(name in row for name in names)]
        return tuple([row[name] for row in rows] for name in names)

    def __repr__(self) -> str:
        return f"<metrics: {len(self)} rows, {len(self.names)} names>"

    def _repr_html_(self) -> str:
        """In a notebook: for each name the number of its values, the first and the last."""
        lines = []
        for name in self.names[:SHOWN]:
            values = self[name]
            cells = (str(len(values)), f"{values[0]:.4g}", f"{values[-1]:.4g}")
            numbers = "".join(f"<td style='text-align:right'>{cell}</td>" for cell in cells)
            lines.append(f"<tr><td style='text-align:left'>{html.escape(name)}</td>{numbers}</tr>")
        more = len(self.names) - SHOWN
        note = f"<p>... and {more} names more: <code>.names</code></p>" if more > 0 else ""
        head = "<tr><th>metric</th><th>values</th><th>first</th><th>last</th></tr>"
        return f"<p>{len(self)} rows</p><table>{head}{''.join(lines)}</table>{note}"
