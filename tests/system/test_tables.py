"""Tables as plain text."""

from seqgan.system.tables import aligned


def test_cells_stand_below_each_other():
    rows = [["", "a", "bcd"], ["name", "12.5", "3"], ["n", "1", ""]]
    assert aligned(rows) == ["         a  bcd", "name  12.5    3", "n        1"]
    assert aligned(rows, left=2) == ["         a  bcd", "name  12.5  3", "   n     1"]
