"""Where the arrays of a text file live: in memory, or in a folder that is there the next time.

A folder is either whole or absent: it is written under a temporary name, synced and renamed, and
its manifest has the SHA-256 of every file. Nothing is ever unpickled. Deleting a folder, or all
of them, costs no more than the time to make it again.
"""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from io import BufferedIOBase, BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FACTS, MANIFEST = "facts.json", "manifest.json"

Facts = dict[str, Any]  # JSON's types


class CacheError(OSError):
    """The folder of a cache cannot be written: the message names it."""


class MemoryFiles:
    """Arrays by name, written once as files in memory."""

    def __init__(self) -> None:
        self.arrays: dict[str, NDArray[Any]] = {}

    def scratch(self) -> BufferedIOBase:
        """An empty file that is gone once it is closed."""
        return BytesIO()

    @contextmanager
    def create(self, name: str) -> Iterator[BufferedIOBase]:
        """A new file for an array in NumPy's format, to be loaded once it is closed."""
        with BytesIO() as file:
            yield file
            file.seek(0)
            self.arrays[name] = np.load(file, allow_pickle=False)

    def load(self, name: str) -> NDArray[Any]:
        return self.arrays[name]


class FolderFiles:
    """Arrays by name, written once as files in a folder, and then mapped into memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def scratch(self) -> BufferedIOBase:
        return tempfile.TemporaryFile(dir=self.folder)

    def create(self, name: str) -> AbstractContextManager[BufferedIOBase]:
        return (self.folder / name).open("xb")

    def load(self, name: str) -> NDArray[Any]:
        return np.load(self.folder / name, mmap_mode="r", allow_pickle=False)


Files = MemoryFiles | FolderFiles


def cache_folder(chosen: str) -> Path:
    """The folder of all caches: the chosen one, or the place that the system has for caches."""
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME", "")
    caches = Path(base) if os.path.isabs(base) else Path("~/.cache")
    try:
        return caches.expanduser() / "seqgan" / "texts"
    except RuntimeError as error:
        raise CacheError("a cache has a folder, got no home; task.cache names one") from error


def cache_key(settings: dict[str, Any]) -> str:
    """A name for whatever is made from these settings."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:32]


def read_or_make(folder: Path, make: Callable[[Files], Facts]) -> tuple[Facts, str]:
    """The facts in a cache, and what was wrong with the one that stood there, if anything.

    Where there is no whole cache, `make` fills one; a second process waits for the first.

    Raises:
        CacheError: the folder cannot be written, as on a full disk. Nothing is left behind.
    """
    # A whole cache came to its place by a rename: it is read without a lock, even where the reader
    # may not write.
    if folder.is_dir() and not find_fault(folder):
        return json.loads((folder / FACTS).read_text(encoding="utf-8")), ""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder.parent / f".{folder.name}.lock"):
            fault = find_fault(folder) if folder.exists() else ""
            if fault or not folder.exists():
                _make(folder, make)
            return json.loads((folder / FACTS).read_text(encoding="utf-8")), fault
    except OSError as error:
        raise CacheError(
            f"the cache of a text file can be written, got {folder} ({error.strerror or error});"
            " task.cache names another folder"
        ) from error


def find_fault(folder: Path) -> str:
    """What is wrong with a cache, or nothing: every file is there and has its SHA-256."""
    try:
        digests = json.loads((folder / MANIFEST).read_bytes())
        if not isinstance(digests, dict) or FACTS not in digests:
            return f"{MANIFEST} does not list {FACTS}"
        for name, digest in digests.items():
            if _digest(folder / name) != digest:
                return f"{name} was altered or truncated"
    except (OSError, ValueError) as error:
        return str(error)
    return ""


def _make(folder: Path, make: Callable[[Files], Facts]) -> None:
    temporary = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(temporary, ignore_errors=True)  # of a process that was killed
    temporary.mkdir()
    try:
        facts = make(FolderFiles(temporary))
        (temporary / FACTS).write_text(json.dumps(facts, ensure_ascii=False), encoding="utf-8")
        digests = {path.name: _digest(path) for path in sorted(temporary.iterdir())}
        (temporary / MANIFEST).write_text(json.dumps(digests), encoding="utf-8")
        for path in (*temporary.iterdir(), temporary):
            _sync(path)
        shutil.rmtree(folder, ignore_errors=True)
        temporary.rename(folder)
        _sync(folder.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    """Makes a file, or the names in a folder, durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Inside, no other process holds the lock; the end of a process, however it comes, frees it."""
    import fcntl  # POSIX only, and only large files need it

    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
