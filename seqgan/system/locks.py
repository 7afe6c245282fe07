"""A lock on a folder, which ends with the process that holds it, however that process ends.

The lock is the operating system's, on a file in the folder. The file stays behind and means
nothing by itself. A network file system has to keep locks for all of its machines, as NFS 4 does;
where there are none, two processes are not kept apart, and a warning says so.
"""

import errno
import fcntl
import logging
import os
import re
import socket
import stat
from io import FileIO
from pathlib import Path

from seqgan.system.errors import ConfigurationError

logger = logging.getLogger(__name__)

LOCK = ".lock"
TAKEN = (errno.EACCES, errno.EAGAIN)
WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)


def lock(folder: Path, rule: str) -> FileIO:
    """Takes the lock of a folder for this process, until the file that this gives is closed.

    Children of the process have no part in it.

    Args:
        rule: the sentence for whoever comes second, such as "a run is trained once at a time".

    Raises:
        ConfigurationError: another process has the lock, or there can be none.
    """
    path = folder / LOCK
    try:
        # Not by `open`: this follows no link, and waits for no pipe.
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file = os.fdopen(os.open(path, flags, 0o666), "r+b", buffering=0)
    except OSError as error:
        raise ConfigurationError(f"cannot lock {path}: {error.strerror}; {rule}") from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise ConfigurationError(f"cannot lock {path}, which is no file; {rule}")
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in TAKEN:
            holder = _holder(file)
            file.close()
            raise ConfigurationError(f"{folder} is in use by {holder}; {rule}") from error
        if error.errno not in WITHOUT_LOCKS:
            file.close()
            raise
        logger.warning(
            "the file system of %s keeps no locks: see to it that no other process writes there",
            folder,
        )
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}\n".encode())
    return file


def is_locked(folder: Path) -> bool:
    """True if another process has the lock of a folder."""
    path = folder / LOCK
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            return error.errno in TAKEN
    return False


def _holder(file: FileIO) -> str:
    """The process that wrote its name into a lock file."""
    written = re.match(rb"process \d+ on [\w.-]+", file.read(300))
    return written.group().decode() if written else "another process"
