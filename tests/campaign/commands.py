"""Commands in forked processes, which need no second import of PyTorch, and what came of them."""

import codecs
import importlib
import os
import pkgutil
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

LIMIT = 120.0  # seconds until a command counts as one that hangs


@dataclass(frozen=True)
class Outcome:
    """The end of a command.

    Args:
        code: its exit code; minus the number of the signal that ended it; None where it hung.
    """

    code: int | None
    output: str
    error: str

    @property
    def said(self) -> list[str]:
        """The lines on standard error."""
        return [line for line in self.error.splitlines() if line.strip()]

    def fault(self, *expected: int) -> str:
        """The reason why this is no orderly end; "" where it is one."""
        last = self.said[-1][:200] if self.said else "nothing said"
        if self.code is None:
            return f"hung: {last}"
        if "Traceback" in self.error:
            return f"a traceback: {last}"
        return "" if self.code in expected else f"exit {self.code}: {last}"

    def refusal_fault(self, *codes: int) -> str:
        """The reason why this is no refusal in one line, with such a code; "" where it is one."""
        if fault := self.fault(*codes):
            return fault
        ours = [line for line in self.said if line.startswith("seqgan: ")]
        return "" if len(ours) == 1 and len(ours[0]) < 2000 else f"{len(ours)} lines of its own"


def preload() -> None:
    """Imports everything that commands import later, once for all of them."""
    import torch

    import seqgan

    torch.set_num_threads(1)
    for module in pkgutil.walk_packages(seqgan.__path__, "seqgan."):
        if module.name == "seqgan.__main__":
            continue
        try:
            importlib.import_module(module.name)
        except ImportError:
            continue  # of an extra that is not installed
    for name in ("utf-16-le", "utf-16-be", "utf-8-sig", "latin-1", "idna"):
        codecs.lookup(name)  # from a folder that another user may not be allowed to read
    for name in ("tyro", "matplotlib.backends.backend_agg", "matplotlib.font_manager"):
        importlib.import_module(name)


def without_drawing() -> None:
    """Leaves out the drawing of pictures and pages, most of a tiny run's time; not the writing."""
    from seqgan.report import page, picture
    from seqgan.system.files import write_text

    def draw(folder: Path) -> Path:
        write_text(folder / "report.png", "a picture")
        return folder / "report.png"

    picture.draw_report = draw
    page.render = lambda runs: f"<!-- {page.MARK} --> {len(runs)}"


def command(
    arguments: Sequence[str | Path],
    folder: Path,
    prepare: Callable[[], None] = without_drawing,
    stop: tuple[float, int] | None = None,
    limit: float = LIMIT,
    main: Callable[[list[str]], object] | None = None,
) -> Outcome:
    """Runs `seqgan` in a process of its own.

    Args:
        folder: the working directory.
        prepare: called in the process before the command.
        stop: seconds after which the process gets a signal, and its number.
        main: what is run in place of the command line.
    """
    with (folder / ".output").open("w+b") as output, (folder / ".error").open("w+b") as error:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            _child([str(each) for each in arguments], folder, prepare, main, output, error)
        code = _wait(pid, stop, limit)
        texts = []
        for file in (output, error):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    for name in (".output", ".error"):
        (folder / name).unlink()
    return Outcome(code, *texts)


def _child(arguments, folder, prepare, main, output, error) -> NoReturn:  # type: ignore[no-untyped-def]
    code = 99
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # as in a process of its own
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output.fileno(), 1)
        os.dup2(error.fileno(), 2)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False, buffering=1)
        os.chdir(folder)
        os.environ |= {"WANDB_MODE": "disabled", "OMP_NUM_THREADS": "1", "COLUMNS": "300"}
        if main is None:
            from seqgan.cli import main as main
        prepare()
        main(arguments)
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)


def _wait(pid: int, stop: tuple[float, int] | None, limit: float) -> int | None:
    started, hung = time.monotonic(), False
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return None if hung else os.waitstatus_to_exitcode(status)
        passed = time.monotonic() - started
        if stop is not None and passed >= stop[0]:
            os.kill(pid, stop[1])
            stop = None
        if passed > limit and not hung:
            hung = True
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.002)


def empty(folder: Path) -> Path:
    """A folder with nothing in it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
