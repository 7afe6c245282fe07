"""Storage for the arrays of a text file: in memory, or in a cache folder that later runs reuse.

A cache folder is either whole or absent: it is written under a temporary name, synced and renamed,
and its manifest has the SHA-256 of every file. Nothing is ever unpickled. A deleted folder costs
no more than the time to make it again. Processes may make one cache at the same time: the first
one that finishes gives the folder its name, and the others use it.
"""

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from io import BufferedIOBase, BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from seqgan.system.files import find_fault, seal, sync

logger = logging.getLogger(__name__)

FACTS = "facts.json"

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
        raise CacheError(
            "there is no home folder for the cache of texts; name a folder with --task.cache FOLDER"
        ) from error


def cache_key(settings: dict[str, Any]) -> str:
    """A cache's name: a hash of the settings that its content is made from."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:32]


def read_or_make(folder: Path, make: Callable[[Files], Facts]) -> Facts:
    """Returns the facts in a cache. If there is no whole cache, `make` fills one.

    Raises:
        CacheError: the folder cannot be written, as on a full disk. Nothing is left behind.
    """
    existed = folder.exists()
    try:
        fault = find_fault(folder, (FACTS,))
    except PermissionError as error:
        raise CacheError(
            f"cannot read the cache {error.filename}: {error.strerror}; name another folder"
            " with --task.cache FOLDER"
        ) from error
    if fault:
        if existed:
            logger.warning("the cache %s is damaged (%s); making it again", folder, fault)
        _make(folder, make)
    facts: Facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    return facts


def _make(folder: Path, make: Callable[[Files], Facts]) -> None:
    """Makes a cache in place of a damaged one, or leaves that to a faster process."""
    temporary, damaged = (folder.with_name(f".{folder.name}.{uuid4().hex}") for _ in range(2))
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        if folder.exists():
            folder.rename(damaged)
            shutil.rmtree(damaged, ignore_errors=True)
        facts = make(FolderFiles(temporary))
        (temporary / FACTS).write_text(json.dumps(facts, ensure_ascii=False), encoding="utf-8")
        seal(temporary)
        temporary.rename(folder)
        sync(folder.parent)
        # Nobody needs the half caches of killed processes, nor those of slower ones.
        for other in folder.parent.glob(f".{folder.name}.*"):
            shutil.rmtree(other, ignore_errors=True)
    except OSError as error:
        if find_fault(folder, (FACTS,)):  # no faster process was the reason
            raise CacheError(
                f"cannot write the cache {folder}: {error.strerror or error}; name another"
                " folder with --task.cache FOLDER"
            ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
