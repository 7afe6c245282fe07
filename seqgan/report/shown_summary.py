"""The end of a run for its readers: text at a terminal, HTML in a notebook, Markdown in wandb."""

import html
import sys
from collections.abc import Mapping
from typing import Any

from seqgan.report.summary import closing_sentences, stored_table
from seqgan.system.markdown import code_span, plain_name, prose
from seqgan.system.terminal import arrow, columns_of, wrapped


class Summary(str):
    """The final table and its sentences: as text, and as a table where a notebook shows it.

    The text is as wide as the terminal of this process; nothing is broken where it has none.
    """

    __slots__ = ("_results",)

    _results: Mapping[str, Any]

    @classmethod
    def of(cls, results: Mapping[str, Any]) -> "Summary":
        """The summary of what `results_dict` has stored, or an older version of it."""
        columns = columns_of(sys.stdout)
        lines = [*stored_table(results).lines(sys.stdout, with_bold=False), ""]
        for sentence in closing_sentences(results):
            lines += wrapped(sentence, columns)
        summary = cls("\n".join(lines))
        summary._results = results
        return summary

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return results_html(self._results)


def results_html(results: Mapping[str, Any]) -> str:
    """The final table, the best of a row in bold type, and its sentences."""
    table = stored_table(results)
    right, left = "style='text-align:right'", "style='text-align:left'"
    heads = "".join(f"<th {right}>{html.escape(name)}</th>" for name, _ in table.rows)
    lines = [f"<tr><th></th>{heads}</tr>"]
    for index, column in enumerate(table.columns):
        name = f"{column} {arrow(table.better[index], None)}".rstrip()
        cells = "".join(
            f"<td {right}>{f'<b>{cell}</b>' if best else cell}</td>"
            for cell, best in zip(table.cells(index), table.best(index), strict=True)
        )
        lines.append(f"<tr><td {left}>{html.escape(name)}</td>{cells}</tr>")
    sentences = "".join(f"<p>{html.escape(each)}</p>" for each in closing_sentences(results))
    return f"<table>{''.join(lines)}</table>{sentences}"


def results_markdown(name: str, results: Mapping[str, Any]) -> str:
    """The final table of a run, the best of a row in bold type, and its sentences.

    Args:
        name: the run's.
    """
    table = stored_table(results)
    rows = [f"| {' | '.join(['', *(head for head, _ in table.rows)])} |"]
    rows.append("|---" + "|---:" * len(table.rows) + "|")
    for index, column in enumerate(table.columns):
        named = f"{code_span(column)} {arrow(table.better[index], None)}".rstrip()
        cells = [
            f"**{cell}**" if best else cell
            for cell, best in zip(table.cells(index), table.best(index), strict=True)
        ]
        rows.append(f"| {' | '.join([named, *cells])} |")
    sentences = map(prose, closing_sentences(results))
    return "\n\n".join([f"Run {plain_name(name)} and its controls.", "\n".join(rows), *sentences])
