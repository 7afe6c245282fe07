"""Commands in this process or in one of their own, on runs that take a second."""

import base64
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from seqgan import cli
from seqgan.report.page import MARK
from seqgan.training.run_folders import RunFolder

ORACLE = """
    captions --task.kind oracle --task.vocabulary-size 6 --task.hidden-size 4 --task.max-length 5
    --task.train-size 60 --task.dev-size 30 --task.test-size 30
""".split()
TINY = """
    --generator.hidden-size 8 --generator.embedding-size 8 --discriminator.hidden-size 4
    --discriminator.embedding-size 4 --pretrain.epochs 1
    --discriminator-training.pretrain-rounds 1 --discriminator-training.num-sequences 16
    --adversarial.iterations 1 --adversarial.batch-size 4 --adversarial.num-rollouts 1
    --evaluation.every 1 --evaluation.num-samples 20 --evaluation.num-final 20
    --evaluation.num-heldout 10 --evaluation.temperatures 1.0 0.8 --evaluation.num-shown 1
    --threads 1 --tracker.mode disabled
""".split()
# 96 texts, of which some 4 are held out for test.
TEXTS = "\n".join(
    f"the {size} {noun} {verb} {place} ."
    for size in ("small", "big", "old", "young")
    for noun in ("dog", "cat", "bird")
    for verb in ("sits", "runs", "waits", "sleeps")
    for place in ("here", "there")
)


@contextmanager
def process_as_before() -> Iterator[None]:
    """Restores signal handlers and threads, which the command line sets for the whole process."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers, threads = [signal.getsignal(number) for number in numbers], torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    for number, handler in zip(numbers, handlers, strict=True):
        signal.signal(number, handler)


# A picture of one white pixel, in three colours as drawn ones are.
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4//8/AAX+Av4N70a4AAAAAElFTkSuQmCC"
)


def write_drawings(folder: RunFolder) -> None:
    """Writes in place of a finished run's picture and page what takes no time."""
    for path in folder.undrawn():
        path.write_bytes(PNG if path == folder.picture else MARK.encode())


def run(*arguments: object) -> int:
    """The exit code of a command in this process."""
    with process_as_before(), pytest.raises(SystemExit) as stop:
        cli.main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


def process(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own."""
    command = [sys.executable, "-m", "seqgan", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, **options)
