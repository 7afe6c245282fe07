"""Commands in a pseudo-terminal: the words and numbers of a real run fit the screen."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from rich.cells import cell_len
from tiny_commands import TEXTS, TINY, run

pytestmark = pytest.mark.slow


def shown(columns: int, *arguments: str | Path, **environment: str) -> list[str]:
    """Lines of standard output on a terminal; standard error is a pipe."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        [sys.executable, "-m", "seqgan", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.PIPE,
        env={**without_settings(), "TERM": "xterm", **environment},
    )
    os.close(theirs)
    parts = []
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other side was closed
            break
        if not part:
            break
        parts.append(part)
    os.close(ours)
    _, errors = process.communicate()
    assert process.returncode == 0, errors.decode()
    return b"".join(parts).decode().replace("\r\n", "\n").splitlines()


def without_settings() -> dict[str, str]:
    """The environment without what says how a terminal looks."""
    return {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR", "TERM")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    texts = tmp_path_factory.mktemp("texts") / "captions.txt"
    texts.write_text(TEXTS, encoding="utf-8")
    folder = texts.parent / "run"
    fast = ("--rule.learning-rate", "0.1")  # so that the game changes something
    arguments = ("--task.path", texts, "--output", folder, *TINY, *fast)
    assert run("train", "text", *arguments) == 0
    return folder


@pytest.mark.parametrize("columns", [50, 80, 120])
def test_the_end_of_a_run_fits_the_screen(folder: Path, columns: int) -> None:
    lines = shown(columns, "train", "--resume", folder)
    plain = [re.sub(r"\x1b\[\d+m", "", line) for line in lines]
    for line in plain:
        assert cell_len(line) <= columns or " " not in line.strip() or str(folder) in line
    assert any("\x1b[1m" in line for line in lines)
    whole = " ".join(" ".join(plain).split())
    assert "by bootstrap over samples and held-out texts; below 0 is better)." in whole
    assert f"next: seqgan sample {folder} next: seqgan frontier {folder} next: " in whole
    assert plain[1].startswith("nll_heldout ↓")


def test_no_color_leaves_plain_text(folder: Path) -> None:
    lines = shown(80, "train", "--resume", folder, NO_COLOR="1")
    assert "nll_heldout ↓" in "\n".join(lines)
    assert not any("\x1b" in line for line in lines)


def test_a_terminal_without_arrows_has_ascii(folder: Path) -> None:
    lines = shown(80, "train", "--resume", folder, PYTHONIOENCODING="ascii")
    assert lines[1].startswith("nll_heldout v")
    assert "\n".join(lines).isascii()


@pytest.mark.parametrize("columns", [50, 80])
def test_evaluate_and_frontier_fit_the_screen(folder: Path, columns: int) -> None:
    size = ("-n", "30")
    lines = shown(columns, "evaluate", folder, *size)
    assert max(map(cell_len, lines)) <= columns
    assert "  nll_heldout ↓" in "\n".join(lines)
    more = ("--temperatures", "1.0", "0.5", "--output", folder.parent / f"{columns}.png")
    lines = shown(columns, "frontier", folder, *size, *more)
    at_end = lines.index("", [i for i, line in enumerate(lines) if "MLE curve" in line][-1])
    assert max(map(cell_len, lines[:at_end])) <= columns
    tables = [line for line in lines if line.startswith("temperature")]
    assert len(tables) == {50: 4, 80: 2}[columns]  # two blocks for each generator, or one
