"""The metrics of a run as a table."""

import pytest

from seqgan.tracking.table import MetricTable

ROWS = [
    {"global_step": 0, "losses/a": 1.5},
    {"global_step": 10, "iteration": 1, "rewards/<b>": 2.0},
    {"global_step": 20, "iteration": 2, "rewards/<b>": 4.0, "losses/a": 0.5},
]
TABLE = MetricTable(ROWS)


def test_rows_stand_in_the_order_of_logging():
    assert len(TABLE) == 3
    assert list(TABLE) == ROWS
    assert TABLE[-1] == ROWS[2]
    assert list(TABLE[1:]) == ROWS[1:]
    assert MetricTable(list(ROWS)) == TABLE != MetricTable(ROWS[1:])


def test_columns_are_of_the_rows_that_have_all_their_names():
    assert TABLE.names == ["global_step", "losses/a", "iteration", "rewards/<b>"]
    assert TABLE["losses/a"] == [1.5, 0.5]
    assert TABLE.columns("iteration", "rewards/<b>") == ([1, 2], [2.0, 4.0])
    assert TABLE.columns("iteration", "losses/a") == ([2], [0.5])


def test_an_unknown_name_is_named():
    with pytest.raises(KeyError, match="losses/b was never logged; did you mean losses/a"):
        TABLE["losses/b"]


def test_a_notebook_shows_first_and_last():
    assert repr(TABLE) == "<metrics: 3 rows, 4 names>"
    page = TABLE._repr_html_()
    assert "rewards/&lt;b&gt;" in page
    assert ">1.5<" in page
    many = MetricTable([{f"a/{index}": index for index in range(100)}])
    assert "40 names more" in many._repr_html_()


def test_pandas_takes_it():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(TABLE)
    assert frame.shape == (3, 4)
    assert frame["rewards/<b>"].tolist()[1:] == [2.0, 4.0]
    assert frame["iteration"].isna().tolist() == [True, False, False]
