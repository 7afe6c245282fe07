"""The memory of a process: freed buffers that are kept, and a cache that is bounded.

By default glibc returns a large buffer to the kernel when the buffer is freed. A training step
frees and requests the same few buffers over and over, and the kernel zeroes their pages each time.
With the paper's vocabulary of 5,000 words that can cost more than the arithmetic. Very large
buffers are still returned: holes of many sizes between them would let the process grow forever.

oneDNN, which does PyTorch's arithmetic on a CPU, keeps the code that it made for each shape of an
operation, by default for 1,024 shapes. Batches of texts that end at different times have many
shapes: a small run grew by some 200 MB over its first 200 iterations, most of them for shapes that
never came again. A quarter of them costs no time that could be measured, and 50 MB.
"""

import ctypes
import os
import sys

# From malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
KEPT_BELOW = 16 * 2**20  # bytes of a buffer that is kept
KEEP_FREE = 2**31 - 1  # bytes at the top of the heap that are kept before any is given back
GROW_BY = 64 * 2**20  # bytes that the heap grows by at a time

KEPT_SHAPES = 256  # of operations whose code oneDNN keeps
CAPACITY = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"  # where it reads that number, once


def bound_cached_shapes() -> None:
    """Lets oneDNN keep the code for KEPT_SHAPES shapes, if nobody has said how many.

    Call this before the first operation, which makes oneDNN read the number.
    """
    os.environ.setdefault(CAPACITY, str(KEPT_SHAPES))


def keep_freed_memory() -> bool:
    """Tells glibc to serve large buffers from its heap and to keep freed ones there.

    Call this at the start of a program, because it changes the whole process. Returns True if the
    settings were changed, and False on any system but Linux with glibc.
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
