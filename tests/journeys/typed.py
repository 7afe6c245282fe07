"""A terminal of a certain width: a line is typed into a shell, and its picture is read."""

import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from dataclasses import dataclass
from fcntl import ioctl
from pathlib import Path

# What a README's command takes minutes for, in seconds.
SMALL = (
    "--iterations 2 --rollouts 1 --batch-size 8 --max-length 10 --hidden-size 32"
    " --discriminator.hidden-size 8 --discriminator.embedding-size 8"
    " --discriminator-training.num-sequences 32 --evaluation.num-samples 40"
    " --evaluation.num-final 40 --evaluation.num-heldout 20 --evaluation.num-shown 2"
    " --evaluation.temperatures 1.0 0.8 --threads 1"
)
COLUMNS = 80
SECONDS = 240.0  # after which a line is given up
_PIECES = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|([\r\n\b])|([^\x1b\r\n\b]+)")


@dataclass(frozen=True)
class Shown:
    """A terminal's picture and exit code after a line was typed.

    Args:
        code: the exit code of the shell.
        lines: the rows of the terminal, those that have scrolled away included.
        raw: all that was written, with its escape sequences.
    """

    code: int
    lines: list[str]
    raw: str

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def said(self) -> str:
        """The text with its line breaks and indents as single spaces."""
        return " ".join(self.text.split())

    @property
    def next_lines(self) -> list[str]:
        """The commands that the run says come next."""
        return [line.removeprefix("next: ") for line in self.lines if line.startswith("next: ")]


def typed(line: str, folder: Path, columns: int = COLUMNS, interrupt_at: str = "") -> Shown:
    """Types a line into bash in a folder, in a terminal of so many columns.

    Args:
        interrupt_at: Ctrl-C is pressed as soon as the terminal gets this; never, where empty.
    """
    read, write = pty.openpty()
    ioctl(write, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        ["bash", "-c", f'seqgan() {{ "$PYTHON" -m seqgan "$@"; }}\n{line}'],
        cwd=folder,
        stdin=write,
        stdout=write,
        stderr=write,
        start_new_session=True,
        env=_environment(folder) | {"TERM": "xterm-256color"},
    )
    os.close(write)
    try:
        raw = _everything(read, process, interrupt_at).decode()
    finally:
        os.close(read)
    return Shown(process.wait(), picture(raw, columns), raw)


def captions() -> str:
    """192 captions, one a line."""
    return "".join(
        f"a {size} {animal} {verb} in the {place} .\n"
        for size in ("small", "big", "red", "old")
        for animal in ("dog", "cat", "bird", "horse")
        for verb in ("sits", "runs", "sleeps", "waits")
        for place in ("park", "garden", "field")
    )


def narrow_enough(shown: Shown, columns: int) -> bool:
    """True where the terminal had to break nothing but a word that is too long for any line."""
    whole = picture(shown.raw, 1000)
    return all(len(line) <= columns or " " not in line.strip() for line in whole)


def _environment(folder: Path) -> dict[str, str]:
    """A person's variables: nothing of wandb, no width, no home that holds credentials."""
    strange = ("WANDB_", "SEQGAN_", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "NETRC", "XDG_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(strange)}
    home = folder / ".home"
    home.mkdir(exist_ok=True)
    return kept | {"PYTHON": sys.executable, "HOME": str(home), "WANDB_MODE": "offline"}


def _everything(read: int, process: subprocess.Popen[bytes], interrupt_at: str) -> bytes:
    """All that a process writes to its terminal. A line that takes too long is ended."""
    written, until = b"", time.monotonic() + SECONDS
    while True:
        if time.monotonic() > until:
            os.killpg(process.pid, signal.SIGKILL)
            raise TimeoutError(written[-4000:].decode(errors="replace"))
        if not select.select([read], [], [], 1.0)[0]:
            continue
        try:
            piece = os.read(read, 65536)
        except OSError:  # as Linux says that nobody has the terminal open
            piece = b""
        if not piece:
            return written
        written += piece
        if interrupt_at and interrupt_at.encode() in written:
            os.killpg(process.pid, signal.SIGINT)
            interrupt_at = ""


def picture(raw: str, columns: int) -> list[str]:
    """The rows that a terminal shows: what was drawn over is gone, what is too long goes on below.

    It knows what the progress bars use: return, line feed, up, and the erasing of a row.
    """
    rows, row, column = [[" "] * columns], 0, 0

    def down() -> None:
        nonlocal row
        row += 1
        if row == len(rows):
            rows.append([" "] * columns)

    for argument, letter, control, text in _PIECES.findall(raw):
        if control:
            column = {"\r": 0, "\n": column, "\b": max(column - 1, 0)}[control]
            if control == "\n":
                down()
        elif letter == "A":
            row = max(row - int(argument or 1), 0)
        elif letter == "K":
            start = 0 if argument == "2" else column
            rows[row][start:] = [" "] * (columns - start)
        for character in text:
            if column == columns:
                column = 0
                down()
            rows[row][column] = character
            column += 1
    return ["".join(row).rstrip() for row in rows]
