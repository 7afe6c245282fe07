"""A folder whose lock another process holds, for tests of whoever comes second."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOLDER = """
import sys
from pathlib import Path
from seqgan.system.locks import lock
file = lock(Path(sys.argv[1]), "held by a test")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked_elsewhere(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Yields a process that holds the lock of a folder until it ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()
