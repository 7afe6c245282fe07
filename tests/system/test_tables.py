"""Tables as plain text."""

from seqgan.system.tables import aligned
from seqgan.system.terminal import bold

ROWS = [["", "a", "bcd", "e"], ["name", "12.5", "3", "44"], ["n", "1", "", "5"]]


def test_cells_stand_below_each_other() -> None:
    rows = [["", "a", "bcd"], ["name", "12.5", "3"], ["n", "1", ""]]
    assert aligned(rows) == ["         a  bcd", "name  12.5    3", "n        1"]
    assert aligned(rows, left={2}) == ["         a  bcd", "name  12.5  3", "   n     1"]


def test_columns_that_do_not_fit_stand_in_a_block_below() -> None:
    whole = ["         a  bcd   e", "name  12.5    3  44", "n        1        5"]
    assert aligned(ROWS) == aligned(ROWS, columns=19) == whole
    first = ["         a  bcd", "name  12.5    3", "n        1"]
    second = ["       e", "name  44", "n      5"]
    assert aligned(ROWS, columns=18) == aligned(ROWS, columns=15) == [*first, "", *second]


def test_a_block_has_the_keys_and_one_column_at_least() -> None:
    lines = aligned(ROWS, keys=2, columns=1)
    assert lines[:3] == ["         a  bcd", "name  12.5    3", "n        1"]
    assert lines[4:] == ["         a   e", "name  12.5  44", "n        1   5"]


def test_wide_characters_take_two_columns() -> None:
    assert aligned([["月", "1"], ["ab", "22"]]) == ["月   1", "ab  22"]


def test_bold_type_takes_no_room() -> None:
    rows = [["a", "10"], ["bb", "7"]]
    assert aligned(rows, strong={(1, 1)}) == ["a   10", "bb   " + bold("7")]
