"""Lines of progress show names as they were typed."""

import io
import re

import pytest
from rich.console import Console

from seqgan.system.terminal import wrapped
from seqgan.tracking.progress import Progress

NAMES = ["x:fire:y", "[bold]x[/]", "cost_$x$", "{x} 50%", "a  b", "#1 'q' \"r\"", "[link=x]"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("terminal", [False, True])
def test_a_message_is_shown_as_it_is(name: str, terminal: bool) -> None:
    file = io.StringIO()
    with Progress(Console(file=file, force_terminal=terminal, width=100)) as progress:
        progress.message(f"run runs/{name}")
    assert f"run runs/{name}" in file.getvalue()
    assert "\x1b[1m" not in file.getvalue()  # nothing is bold


@pytest.mark.parametrize("name", NAMES)
def test_a_long_path_stays_in_one_line(name: str) -> None:
    file = io.StringIO()
    with Progress(Console(file=file, width=40)) as progress:
        progress.message(f"run {'long/' * 20}{name}")
    assert file.getvalue() == f"run {'long/' * 20}{name}\n"


@pytest.mark.parametrize("name", NAMES)
def test_a_phase_and_a_wait_are_shown_as_they_are(name: str) -> None:
    file = io.StringIO()
    clock = iter(range(0, 1000, 10)).__next__
    with Progress(Console(file=file, force_terminal=True, width=150), clock=clock) as progress:
        progress.phase(name, 3)
        with progress.waiting(name):
            progress.advance()
            progress._display._bars.refresh()  # type: ignore[attr-defined]
    assert name in file.getvalue()
    assert f"waiting for {name}" in file.getvalue()


@pytest.mark.parametrize("columns", [50, 80, 120])
def test_a_message_breaks_between_words_on_a_terminal(columns: int) -> None:
    sentence = "a long sentence of many words that says something about the run " * 3
    file = io.StringIO()
    with Progress(Console(file=file, force_terminal=True, width=columns)) as progress:
        progress.message(f"  {sentence.strip()}")
    shown = re.sub(r"\x1b\[.*?[a-zA-Z]", "", file.getvalue()).strip("\r\n")
    assert shown.splitlines() == wrapped(f"  {sentence.strip()}", columns)
    assert len(shown.splitlines()) > 1


def test_a_bar_that_ends_early_is_full_and_says_why() -> None:
    file = io.StringIO()
    with Progress(Console(file=file, force_terminal=True, width=80)) as progress:
        progress.phase("pretrain generator", 60)
        progress.advance(23)
        progress.finish("no better dev NLL for 3 epochs")
        (task,) = progress._display._bars.tasks  # type: ignore[attr-defined]
        assert task.finished
    assert "generator stopped early at 23/60: no better dev NLL for 3 epochs" in file.getvalue()
    assert "23/23" in file.getvalue()


def test_numbers_of_a_phase_go_with_it() -> None:
    with Progress(Console(file=io.StringIO(), force_terminal=True, width=80)) as progress:
        bars = progress._display._bars  # type: ignore[attr-defined]
        plain = Console(file=io.StringIO(), width=80)

        def shown() -> str:
            with plain.capture() as captured:
                plain.print(bars.get_renderable())
            return captured.get()

        progress.phase("final evaluation", 1)
        progress.advance(1, {"temperature": 0.8})
        assert "temperature 0.8" in shown()
        progress.finish()
        assert "temperature" not in shown()
        assert "1/1" in shown()


def test_plain_lines_say_that_a_phase_ended_early() -> None:
    file = io.StringIO()
    with Progress(Console(file=file), clock=lambda: 0.0) as progress:
        progress.phase("pretrain", 60)
        progress.advance()
        progress.advance()
        progress.finish("why")
        progress.phase("game", 1)
        progress.advance()
        progress.finish("why")
    lines = ["pretrain 1/60", "pretrain 2/60", "pretrain stopped early at 2/60: why", "game 1/1"]
    assert file.getvalue().splitlines() == lines
