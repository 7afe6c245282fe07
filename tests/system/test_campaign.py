"""The campaign's own judgement: it finds what a product that loses things would do."""

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import pytest
import torch
from campaign.commands import Outcome, command
from campaign.damages import judge
from campaign.kills import Base, continued, watch
from campaign.runs import RECORDS, differences
from campaign.table import Table, Verdict
from safetensors.torch import save_file

from seqgan.system.files import write_text


def idle() -> None:
    """Nothing is prepared."""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A folder that looks like a finished run."""
    folder = tmp_path / "reference" / "run"
    for name in ("checkpoints/00000001", "checkpoints/00000002", "best"):
        (folder / name).mkdir(parents=True)
        save_file({"weight": torch.arange(3.0)}, folder / name / "tensors.safetensors")
    for name in ("config.yaml", "task.json", "results.json", "report.png", "report.html"):
        (folder / name).write_text("{}")
    for name in RECORDS:
        rows = [{"iteration": 1, "time/update": 0.1}, {"iteration": 2, "loss": float("nan")}]
        (folder / name).write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return folder


def copied(run: Path, folder: Path) -> Path:
    shutil.copytree(run, folder / "run")
    return folder / "run"


def test_the_same_end_is_the_same(run: Path, tmp_path: Path) -> None:
    other = copied(run, tmp_path)
    first, second = (other / "metrics.jsonl").read_text().splitlines(keepends=True)
    (other / "metrics.jsonl").write_text(first.replace("0.1", "0.2") + second)
    (other / ".lock").touch()
    assert differences(other, run) == []


def test_every_other_end_is_another(run: Path, tmp_path: Path) -> None:
    other = copied(run, tmp_path)
    rows = (other / "metrics.jsonl").read_text().splitlines(keepends=True)
    (other / "metrics.jsonl").write_text(rows[0])
    (other / "samples.jsonl").write_text("".join(rows).replace("2", "3"))
    (other / "results.json").write_text("[]")
    save_file(
        {"weight": torch.tensor([0.0, 1.0, 2.0000002])},
        other / "checkpoints/00000002/tensors.safetensors",
    )
    assert differences(other, run) == [
        "00000002: weight differs",
        "metrics.jsonl has 1 rows in place of 2",
        "samples.jsonl, row 2 differs",
        "results.json differs",
    ]
    (other / "report.html").unlink()
    (other / "stray").touch()
    assert differences(other, run) == ["report.html is missing", "stray is left over"]


@pytest.mark.parametrize(
    ("code", "error", "fault"),
    [
        (2, "seqgan: a fault, but a rule\n", ""),
        (1, "a warning\nseqgan: a fault, but a rule\n", ""),
        (0, "", "exit 0"),
        (2, "", "0 lines"),
        (2, "seqgan: one\nseqgan: two\n", "2 lines"),
        (1, "Traceback (most recent call last):\nKeyError: 'x'\n", "a traceback: KeyError"),
        (-9, "", "exit -9"),
        (None, "", "hung"),
    ],
)
def test_a_refusal_is_one_line(code: int | None, error: str, fault: str) -> None:
    found = Outcome(code, "", error).refusal_fault(1, 2)
    assert found.startswith(fault)
    assert bool(found) == bool(fault)


def test_bad_input_is_refused_with_exit_code_2() -> None:
    assert Outcome(1, "", "seqgan: a fault, but a rule\n").refusal_fault(2).startswith("exit 1: ")


def writer(lose: bool) -> None:
    """A product that writes a row, and perhaps loses one when it is continued."""
    metrics = Path("run/metrics.jsonl")
    rows = metrics.read_text().splitlines(keepends=True)
    write_text(metrics, "".join(rows[:1] if lose else rows))


def test_a_command_is_killed_in_the_middle_of_a_write(run: Path, tmp_path: Path) -> None:
    copied(run, tmp_path)

    def prepare() -> None:
        def then(label: str) -> None:
            if label.startswith("campaign.half"):
                os.kill(os.getpid(), signal.SIGKILL)

        watch(tmp_path, then)

    outcome = command((), tmp_path, prepare, main=lambda given: writer(lose=False))
    assert outcome.code == -signal.SIGKILL
    (half,) = (tmp_path / "run").glob(".seqgan-*.tmp")
    whole = (run / "metrics.jsonl").read_bytes()
    assert half.read_bytes() == whole[: len(whole) // 2]
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == whole


@pytest.mark.parametrize("lose", [False, True])
def test_a_lost_row_is_reported(
    run: Path, tmp_path: Path, lose: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied(run, tmp_path / "case")
    base = Base("fake", (), run, None, (), 1.0)
    monkeypatch.setattr(
        "campaign.kills.command",
        lambda given, folder: command(
            given, folder, idle, main=lambda arguments: writer(lose=lose)
        ),
    )
    fault = continued(tmp_path / "case", base)
    assert fault == ("metrics.jsonl has 1 rows in place of 2" if lose else "")


def test_what_a_killed_command_leaves_visible_is_reported(run: Path, tmp_path: Path) -> None:
    (tmp_path / "case" / "run.half").mkdir(parents=True)
    base = Base("fake", (), run, None, (), 1.0)
    assert continued(tmp_path / "case", base) == "left run.half"


def test_a_command_that_hangs_is_ended(tmp_path: Path) -> None:
    def main(arguments: list[str]) -> None:
        signal.pause()

    assert command((), tmp_path, idle, limit=0.2, main=main).code is None
    after = command((), tmp_path, idle, (0.1, signal.SIGTERM), main=main)
    assert after.code == -signal.SIGTERM


def test_a_command_of_a_bug_has_a_traceback(tmp_path: Path) -> None:
    def main(arguments: list[str]) -> None:
        print("so far")
        sys.exit(int(arguments[0]) // 0)

    outcome = command(("5",), tmp_path, idle, main=main)
    assert outcome.output == "so far\n"
    assert outcome.refusal_fault(2).startswith("a traceback: ZeroDivisionError")


def test_damage_is_found_or_does_no_harm(run: Path, tmp_path: Path) -> None:
    place = copied(run, tmp_path / "case").parent
    base = Base("fake", (), run, None, (), 1.0)
    file = Path("checkpoints/00000001/state.json")

    def judged(code: int, output: str, error: str) -> tuple[str, str]:
        intact = Outcome(0, "texts", "")
        return judge(Outcome(code, output, error), file, [file.name], place, base, intact)

    assert judged(2, "", "seqgan: got run/checkpoints/00000001/state.json") == ("", "")
    assert judged(2, "", "seqgan: something is wrong")[0].startswith("the file is not named")
    assert judged(1, "", "Traceback\nKeyError")[0].startswith("a traceback")
    assert judged(0, "texts", "")[1] != ""
    assert judged(0, "other texts", "")[0] == "other texts without a word"
    assert judged(0, "", "")[1].startswith("an older checkpoint")
    (place / "run" / "metrics.jsonl").write_text("")
    assert judged(0, "", "")[0] == "goes on with metrics.jsonl has 0 rows in place of 2"
    file = Path("metrics.jsonl")
    assert judged(0, "", "")[0] == "goes on with metrics.jsonl has 0 rows in place of 2"
    rows = (run / "metrics.jsonl").read_text()
    (place / "run" / "metrics.jsonl").write_text(rows.replace("NaN", "1.0"))
    assert "no digest" in judged(0, "", "")[1]
    assert judged(0, "", "a warning about metrics.jsonl") == ("", "")
    file = Path("task.json")
    assert judged(0, "", "")[0] == "goes on with metrics.jsonl, row 2 differs"
    assert judged(2, "", "seqgan: 1.5 is wrong.")[0].startswith("the file is not named")


def test_the_table_counts(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table()
    table.take([Verdict("kill", "a"), Verdict("kill", "b", "lost"), Verdict("bad", "c", "", "why")])
    assert capsys.readouterr().out == "FAILED  kill: b: lost\n"
    assert table.failed == 1
    assert [row.split()[:4] for row in table.rows()] == [
        ["kind", "given", "held", "failed"],
        ["kill", "2", "1", "1"],
        ["bad", "1", "1", "0"],
        ["all", "3", "2", "1"],
        ["harmless,", "1:", "why"],
    ]
