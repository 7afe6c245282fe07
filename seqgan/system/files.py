"""Files and folders that are either whole or absent, whatever moment their process is killed at.

All of them are written under a temporary name, made durable, and renamed; nothing is written
through a link, and everything has the mode that the process' umask gives. A sealed folder has a
manifest with the SHA-256 of every other file in it, so damage that comes later is noticed.
"""

import errno
import hashlib
import json
import os
import shutil
import stat
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from itertools import chain, count
from pathlib import Path
from uuid import uuid4

from seqgan.system.errors import DataError
from seqgan.system.inputs import open_file
from seqgan.system.reading import read_json, shown

MANIFEST = "manifest.json"
UNFINISHED = ".seqgan-*.tmp"  # temporary names; a killed process may leave one
DAY = 24 * 3600.0  # seconds; an unfinished file or folder that is older has no owner any more


def digest_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal digits. Raises DataError for a pipe."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Makes a file's content durable, or the names in a folder."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Yields an empty temporary file beside `path`, which takes its place once the body is through.

    An error in the body leaves what was there. A link of that name is replaced, and the file that
    it leads to is left alone.

    Raises:
        OSError: the disk is full or refuses.
    """
    temporary = _temporary_beside(path)
    try:
        temporary.open("xb").close()
        mode = stat.S_IMODE(temporary.stat().st_mode)
        yield temporary
        temporary.chmod(mode)  # some libraries replace the file by one that only its owner reads
        sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a file in place of one that is there; raises as `writing` does."""
    with writing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Writes a file in UTF-8, in place of one that is there; raises as `writing` does.

    Bytes of a file name that are not UTF-8 become escapes, which JSON reads back as they were.
    """
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


@contextmanager
def making(target: Path) -> Iterator[Path]:
    """Yields a temporary folder that gets the name `target` once the body is through.

    It is whole and durable by then. Folders above it are made; an error leaves none of them.

    Raises:
        FileExistsError: there is something of that name, perhaps by now.
        OSError: the disk is full or refuses.
    """
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    missing = [parent for parent in target.parents if not parent.exists()]  # innermost first
    temporary = _temporary_beside(target)
    try:
        if missing:
            try:
                target.parent.mkdir(
                    parents=True, exist_ok=True
                )  # `a/../b` makes a, and .. is there
            except FileExistsError as error:  # a link that leads nowhere
                raise NotADirectoryError(
                    errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(target.parent)
                ) from error
        temporary.mkdir()
        yield temporary
        settle(temporary)
        try:
            temporary.rename(target)
        except OSError as error:
            if os.path.lexists(target):
                raise FileExistsError(
                    errno.EEXIST, os.strerror(errno.EEXIST), str(target)
                ) from error
            raise
        sync(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if not target.exists():
            for parent in missing:
                with suppress(OSError):  # it is not there, or somebody else has written into it
                    parent.rmdir()


def make_folder(target: Path, fill: Callable[[Path], None], numbered: bool = False) -> Path:
    """Makes a folder by `making` and gives its path.

    Args:
        fill: writes into the temporary folder; asked again where somebody else took the name.
        numbered: whether the next free name is taken, of `target`, `target-2`, `target-3` and so
            on: for a name that nobody has chosen.

    Raises:
        FileExistsError: there is something of that name, and it is not numbered.
        OSError: the disk is full or refuses.
    """
    while True:
        path = next_free(target) if numbered else target
        try:
            with making(path) as temporary:
                fill(temporary)
            return path
        except FileExistsError:
            if not (numbered and os.path.lexists(path)):
                raise


def next_free(path: Path) -> Path:
    """The path, or the first of `path-2`, `path-3` and so on that does not exist."""
    names = (path.with_name(f"{path.name}-{number}") for number in count(2))
    return next(name for name in chain([path], names) if not os.path.lexists(name))


def _temporary_beside(path: Path) -> Path:
    """A new name in a file's folder, for what is not whole yet.

    Removes what processes that were killed a day ago or earlier left under such names.
    """
    for old in path.parent.glob(UNFINISHED):
        with suppress(OSError):
            if time.time() - old.lstat().st_mtime > DAY:
                shutil.rmtree(old) if old.is_dir() and not old.is_symlink() else old.unlink()
    return path.with_name(UNFINISHED.replace("*", uuid4().hex))


def settle(folder: Path) -> None:
    """Gives all files in a folder the mode of new files, and makes them and their names durable."""
    mode = stat.S_IMODE(folder.stat().st_mode) & 0o666
    for path in sorted(folder.iterdir()):
        if path.is_symlink():
            continue
        if path.is_dir():
            settle(path)
        else:
            path.chmod(mode)
            sync(path)
    sync(folder)


def append_to(path: Path) -> FileIO:
    """Opens a file at its end, without a buffer; there need be none yet.

    A file that has other names, as in a backup by `cp -al`, keeps its content under those.

    Raises:
        DataError: it is a link, or no file.
        OSError: it cannot be written.
    """
    handle = _own_file(path, os.O_APPEND | os.O_CREAT)
    found = os.fstat(handle)
    if found.st_nlink > 1:
        os.close(handle)
        _copy_in_place(path, found.st_size)
        handle = _own_file(path, os.O_APPEND)
    return os.fdopen(handle, "ab", buffering=0)


def cut(path: Path, length: int) -> None:
    """Shortens a file to its first `length` bytes, for good; other names of it as `append_to`.

    Raises:
        DataError: it is a link, or no file.
        OSError: it cannot be written.
    """
    handle = _own_file(path)
    try:
        alone = os.fstat(handle).st_nlink == 1
        if alone:
            os.ftruncate(handle, length)
            os.fsync(handle)
    finally:
        os.close(handle)
    if not alone:
        _copy_in_place(path, length)


def _copy_in_place(path: Path, length: int) -> None:
    with writing(path) as temporary:
        copy_start(path, temporary, length)


def copy_start(source: Path, target: Path, length: int) -> None:
    """Copies the first `length` bytes of a file, or all of them, over another file.

    Raises:
        OSError: a file cannot be read or written.
    """
    with source.open("rb") as read, target.open("wb") as written:
        while piece := read.read(min(length, 2**20)):
            length -= written.write(piece)


def _own_file(path: Path, flags: int = 0) -> int:
    """A handle for writing to a file that is neither a link nor a pipe or device."""
    flags |= os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    fault = f"{path} is a link, pipe or folder, but must be a file to be written"
    try:
        handle = os.open(path, flags, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise DataError(fault) from error
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise DataError(fault)
    return handle


def seal(folder: Path) -> None:
    """Writes the manifest of a folder's files, and makes the folder and its files durable."""
    paths = sorted(path for path in folder.iterdir() if path.name != MANIFEST)
    digests = {path.name: digest_of(path) for path in paths}
    (folder / MANIFEST).write_text(json.dumps(digests), encoding="utf-8")
    settle(folder)


def find_fault(folder: Path, names: Collection[str], largest: int = sys.maxsize) -> str:
    """The damage of a sealed folder; "" where there is none.

    Args:
        names: files that the manifest lists, perhaps among others.
        largest: bytes of a file; a longer one is damaged, and not read.

    Raises:
        PermissionError: a file may not be read, so there is no telling.
    """
    try:
        digests = read_json(folder / MANIFEST, {"*": str})
        for name in names:
            if name not in digests:
                return f"{MANIFEST} does not list {name}"
        for name, digest in digests.items():
            if name in ("", ".", "..") or "/" in name or not (folder / name).is_file():
                return f"{MANIFEST} lists {shown(name)}, which is no file beside it"
            if (size := (folder / name).stat().st_size) > largest:
                return f"{name} has {size} bytes, more than {largest}"
            if digest_of(folder / name) != digest:
                return f"{name} was altered or truncated"
    except PermissionError:
        raise
    except (OSError, ValueError) as error:
        return str(error)
    return ""


def replace_folder(temporary: Path, target: Path) -> None:
    """Gives a folder its name, in place of the folder that has it.

    A folder cannot be renamed over another, so the old one first gets a name of its own. Where a
    process was killed between the two renames, `standing` finds it there.
    """
    aside, old = _aside(target), standing(target)
    if old == target:
        shutil.rmtree(aside, ignore_errors=True)
        if target.exists():
            target.rename(aside)
    temporary.rename(target)
    sync(target.parent)
    shutil.rmtree(aside, ignore_errors=True)


def standing(target: Path) -> Path:
    """The folder of that name, or the old one that a killed `replace_folder` left without it."""
    aside = _aside(target)
    return aside if aside.exists() and not target.exists() else target


def name_of(folder: Path) -> str:
    """The name of a folder, also of one that a killed `replace_folder` left without it."""
    if folder.name.startswith(".") and folder.name.endswith(".replaced"):
        return folder.name[1:].removesuffix(".replaced")
    return folder.name


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.replaced")
