"""Files that somebody has made up: one line about each, in bounded time, and no code of theirs."""

import os
import stat
import time
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from campaign.hostile import CASES, Case

from seqgan import cli
from seqgan.system.errors import DataError
from seqgan.system.reading import (
    LARGEST_YAML,
    check_shape,
    parse_json,
    read_bytes,
    read_yaml,
    shown,
)

FEW = 15  # of so many cases one is a fast test
SECONDS = 20.0

pytestmark = pytest.mark.usefixtures("process_as_before")


def named(case: Case) -> str:
    return f"{case.name[:40]}, {' '.join(case.command)[:20]}".encode("ascii", "replace").decode()


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=named(case), marks=[pytest.mark.slow] if number % FEW else [])
        for number, case in enumerate(CASES)
    ],
)
def test_what_somebody_made_up_is_one_line(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if case.extra and not find_spec(case.extra):
        pytest.skip(f"{case.extra} is not installed")
    monkeypatch.chdir(tmp_path)
    case.prepare(tmp_path)
    started = time.monotonic()
    with pytest.raises(SystemExit) as stop:
        cli.main(list(case.command))
    assert time.monotonic() - started < SECONDS
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("seqgan: ")]
    assert stop.value.code in (1, 2)
    assert len(lines) == 1
    assert len(lines[0]) < 2000
    assert not (tmp_path.parent / "x").exists()


def test_there_are_many_cases_and_each_is_another() -> None:
    assert len(CASES) >= 400
    pairs = [(case.name, tuple(case.command)) for case in CASES]
    assert len(set(pairs)) > 0.98 * len(pairs)


def test_a_file_is_a_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name, kind in (
        ("pipe", " is a pipe, "),
        ("zero", " is a device, but"),
        (".", "Is a directory"),
    ):
        with pytest.raises(DataError, match=kind):
            read_bytes(tmp_path / name)
    with pytest.raises(DataError, match="null byte"):
        read_bytes(tmp_path / "a\0b")
    (tmp_path / "sparse").touch()
    os.truncate(tmp_path / "sparse", 2**40)
    with pytest.raises(DataError, match=f" has {2**40} bytes, more than the 1000 that are read"):
        read_bytes(tmp_path / "sparse", 1000)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_aliases_are_understood_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("a: &a [1, 2]\nb: *a\nc: {<<: &m {x: 1}, y: 2}\nd: *m\n")
    assert read_yaml(path) == {"a": [1, 2], "b": [1, 2], "c": {"x": 1, "y": 2}, "d": {"x": 1}}
    deep = "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 150))
    path.write_text(deep)
    with pytest.raises(DataError, match=" is too large with its aliases written out: more than "):
        read_yaml(path)
    path.write_text(yaml.safe_dump({"a": "x" * LARGEST_YAML}))
    with pytest.raises(DataError, match=f"more than the {LARGEST_YAML} that are read"):
        read_yaml(path)


def test_json_keeps_what_json_writes() -> None:
    plain = b'{"a": [NaN, Infinity, 1e5, -3, 18446744073709551615, "\\ud83d\\ude00", null]}'
    value = parse_json(plain, "here")["a"]
    assert value[1:] == [float("inf"), 1e5, -3, 2**64 - 1, "\U0001f600", None]
    with pytest.raises(DataError, match=r"^here is not whole JSON: 21 digits"):
        parse_json(b"9" * 21, "here")


SHAPE = {"name": str, "size?": float, "items?": [int], "*": (str, type(None))}


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ({"name": "a", "size": 3, "items": [1, 2], "more": None}, ""),
        ({"name": "a", "size": 2.5}, ""),
        ({}, "^it has no name"),
        ({"name": 3}, "^it: name is 3, but must be of type str"),
        ({"name": "a", "size": True}, "^it: size is True, but must be of type float"),
        ({"name": "a", "items": [1, "b"]}, r"^it: items\[1\] is 'b', but must be of type int"),
        ({"name": "a", "items": (1,)}, r"^it: items is .*, but must be a list"),
        ({"name": "a", "more": 3}, "^it: more is 3, but must be of type str or null"),
        ([], r"^it is .*, but must be a mapping"),
    ],
)
def test_a_value_has_the_shape_that_was_asked_for(value: object, rule: str) -> None:
    if not rule:
        check_shape(value, SHAPE, "it")
        return
    with pytest.raises(DataError, match=rule):
        check_shape(value, SHAPE, "it")


def test_quoted_values_are_short() -> None:
    assert shown("ab") == "'ab'"
    assert len(shown("x" * 10**6)) < 100
    assert len(shown([["x" * 10**5] * 10**4] * 100)) < 2000
    assert len(shown(10**4000)) < 100
