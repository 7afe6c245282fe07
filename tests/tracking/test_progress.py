"""Lines of progress show names as they were typed."""

import io

import pytest
from rich.console import Console

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
