"""Text at a terminal: its lines end between words, and a pipe has them whole."""

import io

import pytest
from terminals import Terminal

from seqgan.system.terminal import arrow, columns_of, say, shows_bold, wrapped

SENTENCE = "The game is above the MLE curve at some qualities and under it at others."


@pytest.mark.parametrize("columns", [20, 50, 80, 120])
def test_lines_end_between_words_and_go_on_indented(columns: int) -> None:
    lines = wrapped(SENTENCE, columns)
    assert max(map(len, lines)) <= columns
    assert all(line.startswith("  ") and line[2] != " " for line in lines[1:])
    assert [word for line in lines for word in line.split()] == SENTENCE.split()
    assert (len(lines) == 1) == (columns >= len(SENTENCE))


def test_an_indented_line_goes_on_deeper() -> None:
    assert wrapped("  one two three", 11) == ["  one two", "    three"]


def test_spaces_within_a_line_stay() -> None:
    assert wrapped("a  b   c dddd", 9) == ["a  b   c", "  dddd"]
    assert wrapped("a\nb", 80) == ["a", "b"]
    assert wrapped("", 80) == [""]


def test_a_word_is_never_broken() -> None:
    path = "runs/" + "long" * 10
    assert wrapped(f"run {path} ends", 20) == ["run", f"  {path}", "  ends"]


def test_wide_characters_count_twice() -> None:
    assert wrapped("月月月 月月月", 12) == ["月月月", "  月月月"]
    assert wrapped("月月月 月月月", 13) == ["月月月 月月月"]


def test_a_pipe_gets_a_sentence_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    pipe = io.StringIO()
    assert columns_of(pipe) is None
    say(SENTENCE, pipe)
    assert pipe.getvalue() == SENTENCE + "\n"


def test_a_terminal_gets_lines_of_its_width(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setenv("COLUMNS", "40")
    say(SENTENCE, terminal)
    assert terminal.shown.splitlines() == wrapped(SENTENCE, 40)
    monkeypatch.setenv("COLUMNS", "none")
    assert columns_of(terminal) == 80


def test_arrows_are_ascii_where_the_encoding_has_no_others() -> None:
    known = [arrow(best, Terminal()) for best in ("max", "min", "")]
    assert known == ["↑", "↓", ""]
    assert [arrow(best, Terminal("ascii")) for best in ("max", "min", "")] == ["^", "v", ""]


def test_bold_type_is_for_terminals_that_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert shows_bold(Terminal())
    assert not shows_bold(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not shows_bold(Terminal())
    monkeypatch.setenv("NO_COLOR", "")
    monkeypatch.setenv("TERM", "dumb")
    assert not shows_bold(Terminal())
