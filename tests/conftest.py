"""Shape checks on (jaxtyping + beartype), and the reference data that may be missing."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

# Tiny networks gain nothing from a second thread, and lose much where cores are busy. Set before
# torch is imported, and inherited by every command that a test starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# No test knows runs that another has made: see `seqgan/training/made_here.py`.
os.environ["XDG_STATE_HOME"] = os.devnull

import pytest
from jaxtyping import install_import_hook

install_import_hook("seqgan", "beartype.beartype")

import tiny_commands  # noqa: E402

# Where a shell started the tests in the background, they ignore Ctrl-C, which some of them send.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """The folder of reference data, or a skip that says what is missing."""
    folder = os.environ.get("SEQGAN_REFERENCE_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip(
            "SEQGAN_REFERENCE_DATA names no folder; the files it should hold come from the public"
            " repositories LantaoYu/SeqGAN, geek-ai/Texygen and pclucas14/GansFallingShort"
        )
    return Path(folder).resolve()


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Python's own handler of SIGINT, whatever a command in another test has left."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def process_as_before() -> Iterator[None]:
    """The signal handlers and threads of this process, whatever a command sets in the test."""
    with tiny_commands.process_as_before():
        yield


@pytest.fixture(scope="session", autouse=True)
def draw() -> Iterator[Callable[..., None]]:
    """Leaves out the drawing of finished runs, most of a tiny run's time; gives what draws them."""
    from seqgan.commands import train_run

    drawing = train_run._draw
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_run, "_draw", tiny_commands.write_drawings)
        yield drawing


@pytest.fixture
def error(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command with a wrong input; gives its one line."""

    def error(*arguments: object) -> str:
        assert tiny_commands.run(*arguments) == 2
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.startswith("seqgan: ")
        assert said.err.count("\n") == 1
        assert said.err.endswith("\n")
        return said.err.removeprefix("seqgan: ").rstrip("\n")

    return error


@pytest.fixture
def own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, in an interpreter that forgets what it imports from there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]
