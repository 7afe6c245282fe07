"""Streams that no command dies of, whatever they lead to."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from seqgan.system.streams import json_line

SAYS = """
import sys
from seqgan.system.streams import secure_streams
secure_streams()
"""


def process(code: str, tail: str = "", **variables: str) -> subprocess.CompletedProcess[bytes]:
    """A Python program with safe streams; `tail` is what a shell does with them."""
    return subprocess.run(
        ["bash", "-c", f'"$0" -c "$1" {tail}', sys.executable, SAYS + code],
        capture_output=True,
        env={**os.environ, **variables},
    )


@pytest.mark.parametrize(
    ("encoding", "shown"),
    [
        ("utf-8", "né 😀 ".encode()),
        ("ascii", rb"n\xe9 \U0001f600 "),
        ("latin-1", b"n\xe9 \\U0001f600 "),
        ("ascii:replace", b"n? ? "),
    ],
)
def test_a_stream_shows_all_characters_in_its_encoding(encoding: str, shown: bytes) -> None:
    ended = process("print('n\\xe9 \\U0001f600 ')", PYTHONIOENCODING=encoding)
    assert (ended.returncode, ended.stdout) == (0, shown + b"\n")


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_file_name_that_is_not_utf_8_is_shown_byte_for_byte(stream: str) -> None:
    ended = process(f"print('caf\\udce9.txt', file=sys.{stream})", PYTHONIOENCODING="utf-8")
    assert (ended.returncode, getattr(ended, stream)) == (0, b"caf\xe9.txt\n")


@pytest.mark.parametrize("tail", ["2>&-", "2>/dev/full", "2> >(exec true)", ">&- 2>&- <&-"])
def test_a_program_goes_on_whatever_its_standard_error_is(tail: str, tmp_path: Path) -> None:
    code = (
        "import time\n"
        "for count in range(20):\n    print('x' * 5000, file=sys.stderr)\n    time.sleep(0.005)\n"
        f"open({str(tmp_path / 'done')!r}, 'w').write('all of it')\n"
    )
    ended = process(code, tail)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")
    assert (tmp_path / "done").read_text() == "all of it"  # and no line of the log in it


def test_standard_output_may_lose_its_reader_but_not_its_disk() -> None:
    code = "for count in range(1000):\n    print('x' * 500)\nsys.stdout.flush()"
    assert process(code, "| head -1 >/dev/null; exit ${PIPESTATUS[0]}").returncode == 0
    full = process(code, ">/dev/full")
    assert full.returncode == 1
    assert b"No space left on device" in full.stderr
    assert b"Exception ignored" not in full.stderr  # at the end, it does not try again


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("close", ["{}.close()", "with {}:\n    pass", "{}.close(); {}.close()"])
def test_a_stream_that_code_of_a_user_closes_stays_open(stream: str, close: str) -> None:
    closing = close.replace("{}", f"sys.{stream}")
    ended = process(f"{closing}\nprint('all of it', file=sys.{stream})")
    assert (ended.returncode, getattr(ended, stream)) == (0, b"all of it\n")


def test_children_inherit_streams_that_were_closed() -> None:
    code = (
        "import subprocess\nsys.exit(subprocess.run(['sh', '-c', 'echo x; echo y >&2']).returncode)"
    )
    assert process(code, ">&- 2>&-").returncode == 0


def test_a_pipe_that_does_not_block_gets_all_of_a_text() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    with subprocess.Popen([sys.executable, "-c", SAYS + "print('x' * 10**6)"], stdout=write) as one:
        os.close(write)
        with os.fdopen(read, "rb") as file:
            said = file.read()
    assert (one.returncode, len(said)) == (0, 10**6 + 1)


def test_json_is_valid_in_any_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    value = {"text": "né 😀"}
    assert json_line(value) == '{"text": "né 😀"}'

    class Ascii:
        encoding = "ascii"

    monkeypatch.setattr("seqgan.system.streams.sys.stdout", Ascii())
    assert json_line(value).isascii()
    assert json.loads(json_line(value)) == value


def test_json_has_a_file_name_that_is_not_utf_8() -> None:
    assert json.loads(json_line({"path": "caf\udce9"}).encode()) == {"path": "caf\udce9"}


def test_a_log_file_that_refuses_a_line_costs_that_line_alone(tmp_path: Path) -> None:
    code = (
        f"import logging\nlogging.basicConfig(filename={str(tmp_path / 'log')!r}, encoding='ascii',"
        " errors='strict')\nlogging.warning('caf\\udce9')\nlogging.warning('next')\n"
    )
    ended = process(code)
    assert (ended.returncode, ended.stderr) == (0, b"")
    assert "next" in (tmp_path / "log").read_text()
