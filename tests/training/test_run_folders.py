"""Who may train a run, and what a kill left out of one: of a run that an older version made."""

import json
import shutil
from pathlib import Path

import pytest
from locked_folders import locked_elsewhere

from seqgan import cli

RUN = Path(__file__).parents[1] / "fixtures" / "run-0.1.0"

pytestmark = pytest.mark.usefixtures("process_as_before")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that is not finished."""
    shutil.copytree(RUN, tmp_path / "run")
    (tmp_path / "run" / "results.json").unlink(missing_ok=True)
    return tmp_path / "run"


def said(capfd: pytest.CaptureFixture[str], code: int, *arguments: str | Path) -> str:
    """All that a command with that exit code says."""
    with pytest.raises(SystemExit) as stop:
        cli.main([str(argument) for argument in arguments])
    told = capfd.readouterr()
    assert stop.value.code == code, told.err
    assert "Traceback" not in told.err
    return told.err if code else told.out


def test_a_run_that_trains_is_not_continued(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows = (run / "metrics.jsonl").read_bytes()
    with locked_elsewhere(run) as holder:
        error = said(capfd, 2, "train", "--resume", run)
        assert f"{run} is in use by process " in error
        assert f" {holder.pid} on " in error
        assert error.count("\n") == 1
        assert (run / "metrics.jsonl").read_bytes() == rows
        assert said(capfd, 0, "sample", run, "-n", "2").count("\n") == 2


@pytest.mark.parametrize("name", ["metrics.jsonl", "checkpoints", "best", "report.html", "more"])
def test_a_run_that_holds_a_link_is_not_continued(
    run: Path, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    elsewhere, place = run.with_name("elsewhere"), run / name
    if place.exists():
        place.rename(elsewhere)
    place.symlink_to(elsewhere)
    before = {path: path.read_bytes() for path in elsewhere.rglob("*") if path.is_file()}
    assert f"{place} is a link, but" in said(capfd, 2, "train", "--resume", run)
    assert {path: path.read_bytes() for path in elsewhere.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("gone", ["the folder", "what is in it"])
def test_a_fork_without_checkpoints_does_not_begin_from_the_beginning(
    run: Path, gone: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (run / "fork.json").write_text(json.dumps({"run": "runs/other", "checkpoint": "00000003"}))
    shutil.rmtree(run / "checkpoints")
    if gone == "what is in it":
        (run / "checkpoints").mkdir()
    rows = (run / "metrics.jsonl").read_bytes()
    error = said(capfd, 2, "train", "--resume", run)
    assert " has no intact checkpoint to resume from" in error
    assert (run / "metrics.jsonl").read_bytes() == rows
