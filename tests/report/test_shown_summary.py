"""The end of a run where it is read: at a terminal, in a notebook, in wandb."""

import sys

import pytest
from recorded_runs import results
from terminals import Terminal

from seqgan.report.shown_summary import Summary, results_html, results_markdown

LONG = "The adversarial game is above the curve of maximum likelihood at some qualities."


@pytest.fixture
def long_results():
    plain = results("valid", "worse")
    plain["comparison"]["sentence"] = LONG
    return plain


def test_at_a_terminal_sentences_are_broken_between_words(long_results, monkeypatch):
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert Summary.of(long_results).splitlines() == [
        "               MLE  MLE at 0.78  after game",
        "valid ↑        0.5         0.61         0.6",  # without bold type, as it may go to a file
        "nll_heldout ↓    2          2.1         2.2",
        "",
        "The adversarial game is above the curve of maximum",
        "  likelihood at some qualities.",
        "Mean reward 'polite': 0.25 before the game, 0.8125",
        "  after it.",
        "A sentence of information.",
    ]


def test_nothing_is_broken_where_there_is_no_terminal(long_results, capsys):
    assert LONG in Summary.of(long_results).splitlines()


def test_an_interpreter_that_echoes_it_shows_its_lines(long_results, capsys):
    summary = Summary.of(long_results)
    assert repr(summary) == str(summary)


def test_a_notebook_shows_a_table():
    plain = results("valid", "worse")
    plain["comparison"]["sentence"] = "0 < 1"
    page = Summary.of(plain)._repr_html_()
    assert page == results_html(plain)
    assert page.startswith("<table><tr><th></th>")
    assert "<b>0.61</b>" in page
    assert "<p>0 &lt; 1</p>" in page


def test_wandb_shows_the_columns_of_the_final_table():
    assert results_markdown("small", results("valid", "worse")).splitlines() == [
        "Run small and its controls.",
        "",
        "|  | MLE | MLE at 0.78 | after game |",
        "|---|---:|---:|---:|",
        "| `valid` ↑ | 0.5 | **0.61** | 0.6 |",
        "| `nll_heldout` ↓ | **2** | 2.1 | 2.2 |",
        "",
        "A sentence of valid.",
        "",
        "Mean reward 'polite': 0.25 before the game, 0.8125 after it.",
        "",
        "A sentence of information.",
    ]


def test_columns_follow_the_table_that_a_run_has_stored():
    plain = results("valid", "worse") | {"table": {"MLE": "start", "game": "final"}}
    assert "|  | MLE | game |" in results_markdown("small", plain).splitlines()


def test_results_without_a_sentence_of_information_are_shown():
    plain = results("valid", "worse")
    del plain["information_sentence"]
    assert results_markdown("small", plain).endswith("0.8125 after it.")
