"""The allocator setting: on in a Linux process with glibc, and nowhere else."""

import platform
import subprocess
import sys

import pytest

from seqgan.system import memory

PROGRAM = """
import ctypes
from seqgan.system.memory import keep_freed_memory

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = (ctypes.c_size_t,)
libc.free.argtypes = (ctypes.c_void_p,)


def heap_holds(address):
    lines = open("/proc/self/maps").read().splitlines()
    start, end = next(line.split()[0].split("-") for line in lines if line.endswith("[heap]"))
    return int(start, 16) <= address < int(end, 16)


def from_heap(megabytes):
    # Whether a buffer is of the heap, and whether its address still is when it is freed.
    address = libc.malloc(megabytes * 2**20)
    held = heap_holds(address)
    libc.free(address)
    return held, heap_holds(address)


print(from_heap(15), keep_freed_memory(), from_heap(15), from_heap(256))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc is not the C library here")
def test_large_buffers_come_from_the_heap_and_stay_but_very_large_ones_do_not():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "(False, False) True (True, True) (False, False)\n"


@pytest.mark.parametrize("name", ["darwin", "win32", "freebsd14"])
def test_nothing_on_other_platforms(monkeypatch, name):
    def refuse(*arguments):
        raise AssertionError("no library is opened")

    monkeypatch.setattr(sys, "platform", name)
    monkeypatch.setattr(memory.ctypes, "CDLL", refuse)
    assert memory.keep_freed_memory() is False


@pytest.mark.parametrize("library", [object(), None], ids=["no mallopt", "no library"])
def test_nothing_with_another_c_library(monkeypatch, library):
    def load(name):
        if library is None:
            raise OSError("cannot open")
        return library

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(memory.ctypes, "CDLL", load)
    assert memory.keep_freed_memory() is False


@pytest.mark.parametrize(("answer", "changed"), [(1, True), (0, False)])
def test_says_whether_the_library_agreed(monkeypatch, answer, changed):
    class Library:
        def mallopt(self, name, value):
            return answer

    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: Library())
    assert memory.keep_freed_memory() is changed
