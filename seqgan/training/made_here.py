"""A private record of the runs that this user has made, by which their own code is known again.

Whoever sends a folder can put into it whatever our own folders have. So the record lies outside of
it, in the user's state directory: one empty file for each run with code of its own, named by a
digest of all its settings, as they are written, and of the code that they name, with its place. A
folder that agrees with one of them runs files that the same user has run with the same arguments
before. What such a file imports lies where that user keeps the file, and is compared with the run's
other inputs (`inputs.py`). A record of anybody else counts for nothing, as root may have the home
of the user who called it.
"""

import hashlib
import json
import os
import stat
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from seqgan.system.errors import SeqganError
from seqgan.system.plugins import is_file
from seqgan.training.config_files import read_settings
from seqgan.training.trust import FLAG, TRAINING, code_in_settings

FOLDER = "seqgan/runs-made-here"


def remember_made(config: Path, plain: Mapping[Any, Any]) -> None:
    """Writes down that this user has made a run; without a state directory nothing is.

    Args:
        config: the run's `config.yaml`.
        plain: the nested settings that it holds.
    """
    if (records := _records()) and (mark := _mark(config, plain)):
        with suppress(OSError):
            records.mkdir(mode=0o700, parents=True, exist_ok=True)
            (records / mark).touch()


def is_made_here(config: Path, plain: Mapping[Any, Any]) -> bool:
    """True if this user has made a run with the same settings and the same code, at this place.

    Args:
        config, plain: see `remember_made`; the code as it would run now, perhaps from elsewhere.
    """
    records = _records()
    return records is not None and bool(mark := _mark(config, plain)) and _is_own(records / mark)


def trust_flag(config: Path, runs: Collection[str] = TRAINING) -> str:
    """The flag that a run's code needs in order to run again, after a space; empty for none.

    Args:
        config: the run's `config.yaml`.
        runs: settings beside the slots whose code will run.
    """
    plain = read_settings(config)
    needed = code_in_settings(plain, runs) and not is_made_here(config, plain)
    return f" {FLAG}" if needed else ""


def _records() -> Path | None:
    """A folder in the state directory of the XDG Base Directory Specification.

    None for a user without a home: a path that is not absolute could lie in somebody's folder.
    """
    given = os.environ.get("XDG_STATE_HOME", "")
    state = given if os.path.isabs(given) else os.path.expanduser("~/.local/state")
    return Path(state, FOLDER) if os.path.isabs(state) else None


def _is_own(record: Path) -> bool:
    """True for a file, and no link, of the user whom this process runs as."""
    try:
        found = record.lstat()
    except OSError:
        return False
    user = os.geteuid() if hasattr(os, "geteuid") else found.st_uid  # Windows has none
    return stat.S_ISREG(found.st_mode) and found.st_uid == user


def _mark(config: Path, plain: Mapping[Any, Any]) -> str:
    """The name of a run's record; empty for a run that has no code, or any but files.

    A module's code is many files, and which they are depends on the working directory.
    """
    try:
        code = code_in_settings(plain, TRAINING)
        content = [(setting, spec, _digest(spec)) for setting in code for spec in code[setting]]
        parts: Sequence[Any] = [hashlib.sha256(config.read_bytes()).hexdigest(), *content]
    except (OSError, SeqganError):
        return ""
    if not content or not all(digest for _, _, digest in content):
        return ""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _digest(spec: str) -> str:
    """The digest of the file that a specification names; empty for a module's."""
    place, _, _ = spec.rpartition(":")
    return hashlib.sha256(Path(place).read_bytes()).hexdigest() if is_file(place) else ""
