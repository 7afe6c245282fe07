"""Files and folders that are either whole or absent, whatever moment their process is killed at.

All of them are written under a temporary name, made durable, and renamed. A sealed folder has a
manifest with the SHA-256 of every other file in it, so damage that comes later is noticed.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Collection
from pathlib import Path
from uuid import uuid4

from seqgan.system.inputs import open_file
from seqgan.system.reading import read_json, shown

MANIFEST = "manifest.json"


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


def write_text(path: Path, text: str) -> None:
    """Writes a file in UTF-8, in place of one that is there.

    Raises:
        OSError: the disk is full or refuses. The file that was there stays.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        temporary.write_text(text, encoding="utf-8")
        sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


def seal(folder: Path) -> None:
    """Writes the manifest of a folder's files, and makes the folder and its files durable."""
    paths = sorted(path for path in folder.iterdir() if path.name != MANIFEST)
    digests = {path.name: digest_of(path) for path in paths}
    (folder / MANIFEST).write_text(json.dumps(digests), encoding="utf-8")
    for path in (*paths, folder / MANIFEST, folder):
        sync(path)


def find_fault(folder: Path, names: Collection[str]) -> str:
    """The damage of a sealed folder; "" where there is none.

    Args:
        names: files that the manifest lists, perhaps among others.
    """
    try:
        digests = read_json(folder / MANIFEST, {"*": str})
        for name in names:
            if name not in digests:
                return f"{MANIFEST} does not list {name}"
        for name, digest in digests.items():
            if name in ("", ".", "..") or "/" in name or not (folder / name).is_file():
                return f"{MANIFEST} lists files beside it, got {shown(name)}"
            if digest_of(folder / name) != digest:
                return f"{name} was altered or truncated"
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
