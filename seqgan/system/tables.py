"""Tables as plain text."""

from collections.abc import Collection, Iterator, Sequence

from rich.cells import cell_len

from seqgan.system.terminal import bold

GAP = 2  # spaces between columns


def aligned(
    rows: Sequence[Sequence[str]],
    left: Collection[int] = (0,),
    keys: int = 1,
    columns: int | None = None,
    strong: Collection[tuple[int, int]] = (),
) -> list[str]:
    """Formats rows of cells, all with the same number of cells, as lines.

    Args:
        left: the columns that are flush left; the others are flush right, like numbers.
        keys: the first columns, which name a row. They stand again in each block.
        columns: width of the terminal. Columns of the table that do not fit go into a block of
            their own below, after an empty line; None for one block of any width.
        strong: cells in bold type, as (row, column).
    """
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    lines: list[str] = []
    for block in _blocks(widths, min(keys, len(widths)), columns):
        lines += [""] if lines else []
        for number, row in enumerate(rows):
            cells = []
            for place in block:
                space = " " * (widths[place] - cell_len(row[place]))
                shown = bold(row[place]) if (number, place) in strong else row[place]
                cells.append(shown + space if place in left else space + shown)
            lines.append((" " * GAP).join(cells).rstrip())
    return lines


def _blocks(widths: Sequence[int], keys: int, columns: int | None) -> Iterator[list[int]]:
    """The columns of each block, by their places."""
    block = list(range(keys))
    for place in range(keys, len(widths)):
        wide = sum(widths[one] + GAP for one in block) + widths[place]
        if columns is not None and wide > columns and len(block) > keys:
            yield block
            block = list(range(keys))
        block.append(place)
    yield block
