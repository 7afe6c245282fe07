"""Shape checks on (jaxtyping + beartype), and the reference data that may be missing."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

# Tiny networks gain nothing from a second thread, and lose much where cores are busy. Set before
# torch is imported, and inherited by every command that a test starts.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch
from jaxtyping import install_import_hook

install_import_hook("seqgan", "beartype.beartype")

# Where a shell started the tests in the background, they ignore Ctrl-C, which some of them send.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def reference_data() -> Path:
    """The folder of reference data, or a skip that says what is missing."""
    folder = os.environ.get("SEQGAN_REFERENCE_DATA", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip(
            "SEQGAN_REFERENCE_DATA names no folder; the files it should hold come from the public"
            " repositories LantaoYu/SeqGAN, geek-ai/Texygen and pclucas14/GansFallingShort"
        )
    return Path(folder).resolve()


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Python's own handler of SIGINT, whatever a command in another test has left."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def process_as_before() -> Iterator[None]:
    """Restores signal handlers and threads, which the command line sets for the whole process."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers, threads = [signal.getsignal(number) for number in numbers], torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)
