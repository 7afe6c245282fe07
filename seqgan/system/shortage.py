"""Too little memory, told in one line: libraries tell it in errors of many kinds, with a page each.

Where a limit is so low that PyTorch cannot start, its C++ code ends the process without an error
that Python could catch; the limit is therefore looked at before PyTorch is imported.
"""

import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager

from seqgan.system.errors import SeqganError

LEAST = 10**9  # bytes of addresses (ulimit -v) with which PyTorch starts and trains something small
# Parts of the messages of NumPy, PyTorch, oneDNN and the loader of shared libraries.
SIGNS = (
    "allocate memory",
    "out of memory",
    "Storage size calculation overflowed",
    "integer multiplication overflow",
    "could not create a primitive",
    "can't start new thread",
    "failed to map segment",
)


class MemoryShortError(SeqganError):
    """The machine, or a limit on the process, has not the memory that was asked for."""


@contextmanager
def shortage_in_one_line() -> Iterator[None]:
    """Turns the errors of too little memory into a `MemoryShortError`, and lets others through."""
    try:
        yield
    except (MemoryError, RuntimeError, ImportError) as error:
        if isinstance(error, MemoryError) or any(sign in str(error) for sign in SIGNS):
            raise MemoryShortError(_line(error)) from error
        raise


def check_limit() -> None:
    """Checks that a limit on this process' memory leaves enough to begin with.

    Raises:
        MemoryShortError: it does not.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < LEAST:
        raise MemoryShortError(
            f"the limit on memory is {_spelt(limit)} (ulimit -v), but a command needs at"
            f" least {_spelt(LEAST)}"
        )


def _line(error: BaseException) -> str:
    message = " ".join(str(error).split())
    found = re.search(r"tried to allocate (\d+) bytes|Unable to allocate ([\d.]+ \w+)", message)
    if found is None:
        wanted = f": {message[:200]}" if message else ""
    else:
        wanted = f" for another {found[2] or _spelt(int(found[1]))}"
    return f"there is not enough memory{wanted}; smaller networks, batches and samples need less"


def _spelt(size: int) -> str:
    """A number of bytes for reading: `2.05 TB`."""
    number = float(size)
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if number < 1000 or unit == "TB":
            break
        number /= 1000
    return f"{number:.3g} {unit}"
