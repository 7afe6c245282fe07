"""Keeping freed memory for the next tensor, instead of giving it back to the kernel each time.

By default glibc gives a large buffer back to the kernel when it is freed. A training step frees
and asks for the same few buffers over and over, and the kernel has to zero their pages every time:
on the paper's vocabulary of 5,000 that can cost more than the arithmetic. Only the very large ones
still go back, because holes of many sizes between them would make the process grow without end.
"""

import ctypes
import sys

# From malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
KEPT_BELOW = 16 * 2**20  # bytes of a buffer that is kept
KEEP_FREE = 2**31 - 1  # bytes at the top of the heap that are kept before any is given back
GROW_BY = 64 * 2**20  # bytes that the heap grows by at a time


def keep_freed_memory() -> bool:
    """Tells glibc to serve large buffers from its heap and to keep them when they are freed.

    For programs, at their start: it changes the whole process. Returns whether anything was
    changed; elsewhere than on Linux with glibc nothing is.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    settings = (
        (M_MMAP_THRESHOLD, KEPT_BELOW),
        (M_TRIM_THRESHOLD, KEEP_FREE),
        (M_TOP_PAD, GROW_BY),
    )
    return all(mallopt(name, value) == 1 for name, value in settings)
