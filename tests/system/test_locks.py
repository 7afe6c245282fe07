"""Locks on folders: one holder, no trace of a dead one, no way through a link."""

import logging
import os
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from locked_folders import locked_elsewhere

from seqgan.system import locks
from seqgan.system.errors import ConfigurationError
from seqgan.system.locks import is_locked, lock

RULE = "a folder has one owner"


def test_the_second_process_is_told_who_is_first(tmp_path: Path) -> None:
    with locked_elsewhere(tmp_path) as first:
        with pytest.raises(ConfigurationError) as told:
            lock(tmp_path, RULE)
        assert str(told.value).startswith(f"{tmp_path} is in use by process {first.pid} on ")
        assert is_locked(tmp_path)
    assert not is_locked(tmp_path)
    lock(tmp_path, RULE).close()


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_dead_process_holds_nothing(tmp_path: Path, kind: signal.Signals) -> None:
    with locked_elsewhere(tmp_path) as first:
        os.kill(first.pid, kind)
        first.wait()
        with lock(tmp_path, RULE):
            assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} on ")


def test_a_child_that_outlives_its_parent_holds_nothing(tmp_path: Path) -> None:
    """Workers of a user's reward may be forked, and live on after `kill -9` of the run."""
    script = """
        import os, signal, sys
        from pathlib import Path
        from seqgan.system.locks import lock
        file = lock(Path(sys.argv[1]), "")
        child = os.fork()
        if child:
            print(child, flush=True)
        signal.pause()
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    try:
        assert is_locked(tmp_path)
        parent.kill()
        parent.wait()
        os.kill(child, 0)  # it lives
        assert not is_locked(tmp_path)
    finally:
        os.kill(child, signal.SIGKILL)
        parent.stdout.close()


def test_a_folder_without_a_lock_file_is_not_locked(tmp_path: Path) -> None:
    assert not is_locked(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["link", "dangling link", "pipe", "folder"])
def test_something_else_in_the_place_of_the_file(tmp_path: Path, kind: str) -> None:
    folder, other = tmp_path / "folder", tmp_path / "other"
    folder.mkdir()
    place = folder / ".lock"
    match kind:
        case "link":
            other.write_text("precious")
            place.symlink_to(other)
        case "dangling link":
            place.symlink_to(other)
        case "pipe":
            os.mkfifo(place)
        case "folder":
            place.mkdir()
    with pytest.raises(ConfigurationError, match=f"^cannot lock .*; {RULE}$"):
        lock(folder, RULE)
    assert not is_locked(folder)
    assert other.exists() == (kind == "link")
    if kind == "link":
        assert other.read_text() == "precious"


def test_a_file_that_names_nobody(tmp_path: Path) -> None:
    with locked_elsewhere(tmp_path):
        (tmp_path / ".lock").write_text("\x1b[31m nobody")
        with pytest.raises(ConfigurationError, match="is in use by another process"):
            lock(tmp_path, RULE)


def test_a_file_system_without_locks_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(locks.WITHOUT_LOCKS[0], "No locks available")

    monkeypatch.setattr(locks.fcntl, "lockf", refuse)
    with caplog.at_level(logging.WARNING):
        lock(tmp_path, RULE).close()
    assert f"the file system of {tmp_path} keeps no locks" in caplog.text


def test_the_file_has_the_mode_of_new_files(tmp_path: Path) -> None:
    lock(tmp_path, RULE).close()
    (tmp_path / "new").touch()
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(modes) == 1
