"""The last lines of a run: what to type next, and what its picture lacks."""

from pathlib import Path

import pytest
from recorded_runs import results, samples_of_both_ends, write_run

from seqgan.commands.ending import opening, present
from seqgan.training.run_folders import RunFolder


@pytest.fixture(autouse=True)
def desktop(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Linux with a browser."""
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}")


def last_lines(folder: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    present(RunFolder(folder), results())
    lines = capsys.readouterr().out.splitlines()
    return lines[lines.index(f"results: {folder}/results.json") + 1 :]


def test_a_run_ends_with_what_to_type_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run(tmp_path / "a run", samples=samples_of_both_ends(["a man ."]))
    assert last_lines(folder, capsys) == [
        f"next: seqgan sample '{folder}'",
        f"next: seqgan frontier '{folder}'",
        f"next: xdg-open '{folder}/report.html'",
    ]


def test_a_run_with_code_of_its_own_says_the_flag(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run(tmp_path / "run")
    text = folder.joinpath("config.yaml").read_text(encoding="utf-8")
    assert "kind: captions" in text
    text = text.replace("kind: captions", "kind: ./my_task.py:Mine")
    folder.joinpath("config.yaml").write_text(text, encoding="utf-8")
    first, second, _ = last_lines(folder, capsys)
    assert first == f"next: seqgan sample {folder} --trust-run-code"
    assert second == f"next: seqgan frontier {folder} --trust-run-code"


def test_the_package_of_a_font_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seqgan.report.charts.WIDE_FONTS", ())
    folder = write_run(tmp_path / "run", samples=samples_of_both_ends(["床前明月光"]))
    (hint, *_) = last_lines(folder, capsys)
    assert hint.startswith(f"{folder}/report.png has some characters as numbers. No font here has")
    assert hint.endswith("package fonts-noto-cjk.")


@pytest.mark.parametrize(
    ("platform", "found", "line"),
    [
        ("linux", True, "xdg-open 'a run/report.html'"),
        ("linux", False, "look at a run/report.html in a browser"),
        ("darwin", True, "open 'a run/report.html'"),
        ("win32", False, "start 'a run/report.html'"),
    ],
)
def test_the_page_is_opened_by_what_the_machine_has(
    platform: str, found: bool, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr("shutil.which", lambda name: name if found else None)
    assert opening(Path("a run/report.html")) == line
