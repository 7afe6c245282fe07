"""The allocator setting: on in a Linux process with glibc, and nowhere else."""

import os
import platform
import subprocess
import sys

import pytest

from seqgan.system import memory

PROGRAM = """
import ctypes
import resource

from seqgan.system.memory import keep_freed_memory

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = (ctypes.c_size_t,)
libc.free.argtypes = (ctypes.c_void_p,)
libc.memset.argtypes = (ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t)


def new_pages(megabytes):
    # Pages that the kernel has to give while four buffers are taken, filled and freed five times.
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        buffers = [libc.malloc(megabytes * 2**20) for _ in range(4)]
        for buffer in buffers:
            libc.memset(buffer, 1, megabytes * 2**20)
        for buffer in buffers:
            libc.free(buffer)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


print(new_pages(15), int(keep_freed_memory()), new_pages(15), new_pages(15), new_pages(32))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc is not the C library here")
def test_large_buffers_are_kept_when_they_are_freed_but_very_large_ones_are_not():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60
    )
    by_default, changed, first, again, very_large = map(int, done.stdout.split())
    assert changed
    assert first > 0
    assert again < by_default / 10
    assert very_large > by_default / 2


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


SHAPES = """
import ctypes
import sys

import torch

from seqgan.system.memory import bound_cached_shapes


class Used(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in "abcdefghij"]  # struct mallinfo2


mallinfo2 = ctypes.CDLL(None).mallinfo2
mallinfo2.restype = Used
if sys.argv[1] == "bounded":
    bound_cached_shapes()
torch.set_num_threads(1)
lstm = torch.nn.LSTM(8, 8, batch_first=True)
used = []
with torch.no_grad():
    for size in range(1, 701):
        lstm(torch.ones(size, 1, 8))
        if size in (300, 700):
            used.append(mallinfo2().h)
print(used[1] - used[0])
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc is not the C library here")
def test_new_shapes_of_an_operation_do_not_let_a_process_grow() -> None:
    grown = {}
    environment = {name: value for name, value in os.environ.items() if name != memory.CAPACITY}
    for which in ("unbounded", "bounded"):
        command = [sys.executable, "-c", SHAPES, which]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, timeout=300, env=environment
        )
        grown[which] = int(done.stdout)
    assert grown["unbounded"] > 10 * 2**20
    assert grown["bounded"] < grown["unbounded"] / 10


def test_a_number_of_kept_shapes_that_a_person_chose_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(memory.CAPACITY, "7")
    memory.bound_cached_shapes()
    assert os.environ[memory.CAPACITY] == "7"
    monkeypatch.delenv(memory.CAPACITY)
    memory.bound_cached_shapes()
    assert os.environ.pop(memory.CAPACITY) == str(memory.KEPT_SHAPES)
