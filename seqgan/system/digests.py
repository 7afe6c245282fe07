"""Digests by which a file, a folder or a program's source is known again, wherever it lies then."""

import ast
import hashlib
import os
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from pathlib import Path

from seqgan.system.files import digest_of

# A place of so many bytes or more is not read again while its files' times and sizes stay.
LARGE = 64 * 2**20
WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".h5", ".msgpack", ".onnx", ".gguf")
NOTES = (".md", ".lock", ".pyc")  # files that decide nothing
OURS = ("seqgan", "seqgan_envs")  # packages that have versions, perhaps in a checkout
MOST_LOOKED_AT = 5000  # files that are looked at where one is missing


def exists(place: str) -> bool:
    """True for a regular file or a folder; a pipe, which is read once, is neither."""
    path = Path(os.path.expanduser(place))
    return bool(place) and (path.is_file() or path.is_dir())


def parts_of(place: Path, weights: bool = True) -> dict[str, Path]:
    """The files of a place by their names in it.

    A file stands under "", and with it what a Python file imports. Hidden files, notes and caches
    of a folder are left out. Of a run's folder, which may grow, its settings, its task and its
    newest checkpoint count.

    Args:
        weights: False leaves a model's weights out, for a tokenizer's folder.
    """
    if place.is_file():
        return {"": place, **(imported_files(place) if place.suffix == ".py" else {})}
    if (place / "task.json").is_file() and (place / "checkpoints").is_dir():
        return _parts_of_run(place)
    parts = {}
    for path in sorted(place.rglob("*")):
        name = path.relative_to(place)
        hidden = any(part.startswith((".", "cache-")) for part in name.parts)
        left_out = NOTES if weights else (*NOTES, *WEIGHTS)
        if not hidden and path.suffix not in left_out and path.is_file():
            parts[name.as_posix()] = path
    return parts


def _parts_of_run(folder: Path) -> dict[str, Path]:
    names = [folder / "config.yaml", folder / "task.json"]
    steps = [path for path in (folder / "checkpoints").iterdir() if path.name.isdecimal()]
    if steps:
        names.append(max(steps, key=lambda path: int(path.name)) / "manifest.json")
    return {path.relative_to(folder).as_posix(): path for path in names if path.is_file()}


def digests(parts: Mapping[str, Path]) -> dict[str, str]:
    """The SHA-256 of each file; raises OSError where one cannot be read."""
    return {name: digest_of(path) for name, path in parts.items()}


def stamp(parts: Mapping[str, Path]) -> str:
    """A digest of the files' sizes and times; "" for a few bytes, which are quickly read again.

    No program sets the time of a file's last change of any kind (ctime), so that a file that was
    written over has another stamp.
    """
    seen = {name: path.stat() for name, path in parts.items()}
    if sum(one.st_size for one in seen.values()) < LARGE:
        return ""
    row = [
        (name, one.st_size, one.st_mtime_ns, one.st_ctime_ns, one.st_ino)
        for name, one in sorted(seen.items())
    ]
    return hashlib.sha256(repr(row).encode()).hexdigest()


def imported_files(source: Path) -> dict[str, Path]:
    """The files beside a Python file that it imports, and those that they import, by their names.

    A file that is no Python, or cannot be read, imports none.
    """
    found: dict[str, Path] = {}
    waiting, folder = [source], source.parent
    while (folder / "__init__.py").is_file():  # a package's files import each other by its name
        folder = folder.parent
    while waiting:
        for path in _imports(waiting.pop(), folder):
            name = path.relative_to(folder).as_posix()
            if name not in found and path != source:
                found[name] = path
                waiting.append(path)
    return dict(sorted(found.items()))


def _imports(source: Path, folder: Path) -> Iterator[Path]:
    """The files in a folder, and below it, that a file imports by its import statements."""
    try:
        tree = ast.parse(source.read_bytes())
    except (OSError, SyntaxError, ValueError, RecursionError):
        return
    for node in ast.walk(tree):
        names: list[str] = []
        bases = [folder, source.parent]
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                bases = [source.parents[min(node.level, len(source.parents)) - 1]]
            module = node.module or ""
            names = [f"{module}.{alias.name}".strip(".") for alias in node.names]
            names += [module] if module else []
        for name in names:
            if name.partition(".")[0] in OURS:
                continue
            for path in chain.from_iterable(_files_of(base, name) for base in bases):
                if path.is_relative_to(folder):
                    yield path


def module_file(module: str) -> Path | None:
    """The source of a module of the user's own, found without importing it; None of installed ones.

    The places are those of an import, and the working directory after them.
    """
    installed = {
        sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")
    }
    for base in (*sys.path, os.getcwd()):
        for path in _files_of(Path(base or "."), module):
            inside = any(path.is_relative_to(place) for place in installed)
            return None if inside else path.resolve()
    return None


def _files_of(base: Path, module: str) -> Iterator[Path]:
    """The source of a module, or of a package, in a folder of an import path."""
    stem = base.joinpath(*module.split("."))
    if stem.name:
        for path in (stem.with_name(f"{stem.name}.py"), stem / "__init__.py"):
            if path.is_file():
                yield path


def hub_revision(name: str) -> str:
    """The commit that a name on Hugging Face's hub stands for in the local cache; "" for none."""
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    cache = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
    for kind in ("models", "datasets"):
        folder = "--".join((kind, *name.partition(":")[0].split("/")))
        try:
            return (cache / folder / "refs" / "main").read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            continue
    return ""


def moved_files(name: str, num_bytes: int, folders: list[Path]) -> list[Path]:
    """Files of a size and of a name's ending, in these folders and in the folders in them.

    A person who looks for a file that has moved would look there first. A file of the same name
    comes before others.
    """
    seen = chain.from_iterable(
        folder.glob(pattern) for folder in dict.fromkeys(folders) for pattern in ("*", "*/*")
    )
    found = [
        path
        for path in islice(seen, MOST_LOOKED_AT)
        if path.suffix == Path(name).suffix and path.is_file() and path.stat().st_size == num_bytes
    ]
    return sorted(found, key=lambda path: (path.name != name, path))
