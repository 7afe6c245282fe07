"""Processes that need not import PyTorch: one has it imported, and forks itself for each script.

A command or a script runs as in a process of its own, without the shape checks of this one, but
that finished runs are not drawn, which takes longer than all else in a tiny run.
"""

import atexit
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from campaign.commands import command as forked
from campaign.commands import preload

LIMIT = 600.0  # seconds, after which a process counts as one that hangs


def command(
    arguments: Sequence[str | Path], folder: Path, environment: Mapping[str, str] | None = None
) -> CompletedProcess[str]:
    """What came of `seqgan`, run with such arguments in a folder."""
    return _answer("command", arguments, folder, environment or {})


def script(
    path: Path,
    arguments: Sequence[str | Path],
    folder: Path,
    environment: Mapping[str, str] | None = None,
) -> CompletedProcess[str]:
    """What came of a file of Python, run with such arguments in a folder."""
    return _answer("script", [path, *arguments], folder, environment or {})


def code(text: str, folder: Path) -> CompletedProcess[str]:
    """What came of lines of Python, run in a folder."""
    return _answer("code", [text], folder, {})


def _answer(
    kind: str, arguments: Sequence[str | Path], folder: Path, environment: Mapping[str, str]
) -> CompletedProcess[str]:
    given = [str(each) for each in arguments]
    request = {"kind": kind, "given": given, "folder": str(folder), "environment": {**environment}}
    server = _server()
    assert server.stdin is not None
    assert server.stdout is not None
    print(json.dumps(request), file=server.stdin, flush=True)
    return CompletedProcess(given, **json.loads(server.stdout.readline()))


@cache
def _server() -> subprocess.Popen[str]:
    server = subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    atexit.register(server.communicate)  # it ends where its input does
    return server


def _run(kind: str, given: list[str]) -> None:
    if kind == "command":
        from seqgan.cli import main

        main(given)
    sys.path.insert(0, str(Path(given[0]).parent) if kind == "script" else "")
    sys.argv = given if kind == "script" else ["-c"]
    if kind == "script":
        runpy.run_path(given[0], run_name="__main__")
    else:
        exec(compile(given[0], "<string>", "exec"), {"__name__": "__main__"})


def _serve(request: dict[str, Any]) -> dict[str, Any]:
    outcome = forked(
        request["given"],
        Path(request["folder"]),
        prepare=lambda: os.environ.update(request["environment"]),
        limit=LIMIT,
        main=lambda given: _run(request["kind"], given),
    )
    return {"returncode": outcome.code, "stdout": outcome.output, "stderr": outcome.error}


if __name__ == "__main__":
    preload()

    from tiny_commands import write_drawings

    from seqgan.commands import train_run

    train_run._draw = write_drawings
    for line in sys.stdin:
        print(json.dumps(_serve(json.loads(line))), flush=True)
