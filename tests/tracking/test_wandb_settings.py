"""Settings of a record: checked by wandb's own rules before training; flags, environment, ours."""

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
import wandb
from wandb_records import definitions, history, inspect, of_kind, summary, the_run, wandb_runs

from seqgan import cli
from seqgan.system.errors import ConfigurationError
from seqgan.tracking import wandb_tracker
from seqgan.tracking.base import Ending
from seqgan.tracking.wandb_settings import TrackerConfig, check_settings
from seqgan.tracking.wandb_tracker import WandbTracker

pytestmark = pytest.mark.usefixtures("home")

KEY = "0" * 40  # what looks like an API key
OFFLINE = TrackerConfig(mode="offline")


def refused(config: TrackerConfig) -> str:
    with pytest.raises(ConfigurationError) as error:
        check_settings(config)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("WANDB_MODE", "", " '' breaks wandb's rules: Input should be 'online', 'offline', "),
        ("WANDB_MODE", "of-line", " 'of-line' breaks wandb's rules: Input should be 'online', "),
        (
            "WANDB_PROJECT",
            "a/b",
            " 'a/b' breaks wandb's rules: Invalid project name 'a/b': cannot contain",
        ),
        ("WANDB_PROJECT", "x" * 129, "breaks wandb's rules: Invalid project name 'xxx"),
        ("WANDB_TAGS", "x" * 65, "is 65 characters. Tags must be between 1 and 64 characters"),
        ("WANDB_TAGS", "a,,b", "Tag at index 1 is empty"),
        ("WANDB_RUN_ID", "a/b", "Run ID cannot contain"),
        ("WANDB_RUN_ID", " a", "Run ID cannot start or end with whitespace"),
        ("WANDB_RESUME", "maybe", " 'maybe' breaks wandb's rules: Input should be 'allow', "),
        ("WANDB_BASE_URL", "here", " 'here' breaks wandb's rules: Input should be a valid URL"),
        (
            "WANDB_INIT_TIMEOUT",
            "soon",
            " 'soon' breaks wandb's rules: Input should be a valid number",
        ),
        ("WANDB_NAME", "caf\udce9", "can't encode character"),
    ],
)
def test_a_variable_that_wandb_refuses_is_found_before_training(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, reason: str
) -> None:
    monkeypatch.setenv(name, value)
    said = refused(TrackerConfig() if name == "WANDB_MODE" else OFFLINE)
    assert said.startswith(name)
    assert " wandb's rules" in said
    assert reason in said


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"tags": ("a", "x" * 65)}, "tracker.tags breaks wandb's rules: Tag 'xxxxx"),
        ({"tags": ("",)}, "Tag at index 0 is empty"),
        ({"project": "a/b"}, "tracker.project 'a/b' breaks wandb's rules"),
        ({"project": "50%"}, "cannot contain characters"),
        ({"name": "\udcff"}, "tracker.name '\\udcff' breaks wandb's rules"),
    ],
)
def test_a_setting_that_wandb_refuses_is_found_before_training(
    settings: dict[str, Any], reason: str
) -> None:
    assert reason in refused(TrackerConfig(mode="offline", **settings))


def test_the_value_of_a_secret_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", f" {KEY}")
    assert KEY not in refused(OFFLINE)


def test_settings_that_exclude_one_another_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_RESUME", "must")
    monkeypatch.setenv("WANDB_FORK_FROM", "abc?_step=3")
    assert "mutually exclusive" in refused(OFFLINE)


@pytest.mark.parametrize(
    ("service", "said"),
    [
        ("3-999999-unix-/nowhere/socket", "is '3-999999-unix-/nowhere/socket', where no process"),
        ("3-999999-tcp-localhost-1", "is '3-999999-tcp-localhost-1', where no process"),
        ("2-12345-tcp-localhost-1", "Failed to parse WANDB_SERVICE='2-12345-tcp-localhost-1'"),
        ("rubbish", "Failed to parse WANDB_SERVICE='rubbish'"),
    ],
)
def test_a_process_of_wandb_that_has_ended_is_named(
    monkeypatch: pytest.MonkeyPatch, service: str, said: str
) -> None:
    wandb.teardown()
    monkeypatch.setenv("WANDB_SERVICE", service)
    assert said in refused(OFFLINE)


@pytest.mark.parametrize("variable", [False, True])
def test_online_without_a_login_is_refused(monkeypatch: pytest.MonkeyPatch, variable: bool) -> None:
    if variable:
        monkeypatch.setenv("WANDB_MODE", "online")
    said = refused(TrackerConfig(mode="auto" if variable else "online"))
    assert said.startswith("there is no API key for a run that is online")


def test_a_file_in_the_place_of_wandb_dir_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "file" / "below"))
    assert refused(OFFLINE).startswith("cannot make the folder of WANDB_DIR, ")


@pytest.mark.parametrize("by_flag", [True, False])
def test_where_nothing_is_recorded_nothing_is_checked(
    monkeypatch: pytest.MonkeyPatch, by_flag: bool
) -> None:
    monkeypatch.setenv("WANDB_MODE", "nonsense" if by_flag else "disabled")
    monkeypatch.setenv("WANDB_PROJECT", "a/b")
    check_settings(TrackerConfig(mode="disabled" if by_flag else "auto", tags=("x" * 65,)))


def test_train_refuses_in_one_line_and_makes_no_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_MODE", "")
    with pytest.raises(SystemExit) as stop:
        cli.main(["train", "captions", "--output", str(tmp_path / "run")])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("seqgan: WANDB_MODE '' breaks wandb's rules: ")
    assert not (tmp_path / "run").exists()


ENVIRONMENT = {
    "WANDB_PROJECT": "thesis",
    "WANDB_JOB_TYPE": "control",
    "WANDB_NAME": "first",
    "WANDB_TAGS": "a,b",
    "WANDB_NOTES": "with patience",
    "WANDB_RUN_GROUP": "seeds",
    "WANDB_ENTITY": "team",
    "WANDB_RUN_ID": "abc123",
}
FLAGS = {
    "project": "words",
    "entity": "lab",
    "job_type": "probe",
    "name": "second",
    "tags": ("c",),
    "notes": "in haste",
    "group": "others",
}
RECORDED = ("project", "job_type", "display_name", "tags", "notes", "run_group")


@pytest.mark.slow
@pytest.mark.parametrize("given", ["nothing", "environment", "environment and flags"])
def test_flags_beat_the_environment_which_beats_our_defaults(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: str
) -> None:
    if given != "nothing":
        for name, value in ENVIRONMENT.items():
            monkeypatch.setenv(name, value)
    config = TrackerConfig(mode="offline", **(FLAGS if "flags" in given else {}))
    check_settings(config)
    WandbTracker(config, tmp_path, {}).close()
    found = the_run(tmp_path)
    expected: dict[str, list[Any]] = {
        "nothing": ["seqgan", "train", tmp_path.name, None, None, None],
        "environment": ["thesis", "control", "first", ["a", "b"], "with patience", "seeds"],
        "environment and flags": ["words", "probe", "second", ["c"], "in haste", "others"],
    }
    assert [found.get(name) or None for name in RECORDED] == expected[given]
    if given != "nothing":
        entity = "lab" if "flags" in given else "team"
        assert (found["entity"], found["run_id"]) == (entity, "abc123")


@pytest.mark.slow
def test_the_record_lies_where_wandb_dir_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "records"))
    check_settings(OFFLINE)
    tracker = WandbTracker(OFFLINE, tmp_path / "run", {})
    tracker.close()
    (record,) = wandb_runs(tmp_path / "records")
    assert tracker.offline_record == record
    assert wandb_runs(tmp_path / "run") == []


@pytest.mark.slow
def test_a_continued_record_stays_itself_whatever_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "thesis")
    tracker = WandbTracker(OFFLINE, tmp_path / "first", {})
    tracker.log({"global_step": 1})
    position = json.loads(json.dumps(tracker.position()))
    tracker.close()
    monkeypatch.setenv("WANDB_PROJECT", "another")
    monkeypatch.setenv("WANDB_RUN_ID", "another")
    monkeypatch.setenv("WANDB_RESUME", "allow")
    wandb.teardown()
    check_settings(OFFLINE)
    WandbTracker(OFFLINE, tmp_path / "second", {}, position).close()
    found = the_run(tmp_path / "second")
    assert (found["project"], found["run_id"]) == ("thesis", position["run_id"])
    WandbTracker(OFFLINE, tmp_path / "fork", {}, position | {"fork": True}).close()
    assert the_run(tmp_path / "fork")["branch_point"]["run"] == position["run_id"]


@pytest.mark.slow
@pytest.mark.parametrize("which", ["a new run", "a run of the user's id", "a continued run"])
def test_an_unreachable_server_makes_the_record_an_offline_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture, which: str
) -> None:
    if which == "a run of the user's id":
        monkeypatch.setenv("WANDB_RUN_ID", "abc")
    position = {"run_id": "abc", "step": 7} if which == "a continued run" else None
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # discard: nothing listens there
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    monkeypatch.setattr(wandb_tracker, "INIT_TIMEOUT", 1.0)
    check_settings(TrackerConfig())
    tracker = WandbTracker(TrackerConfig(), tmp_path, {"seed": 1}, position)
    tracker.log({"kl/weight": 1.0})
    tracker.close()
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.getMessage().startswith(
        "wandb cannot be reached, so this run is recorded offline ("
    )
    assert "\n" not in warning.getMessage()
    (record,) = wandb_runs(tmp_path)
    row = history(inspect(record))[0]
    assert (row["kl/weight"], row["_step"]) == (1.0, 0 if position is None else 8)
    if which != "a new run":
        assert the_run(tmp_path)["run_id"] == "abc"
    assert list(tmp_path.glob("wandb/run-*")) == []  # what the vain attempt had begun


@pytest.mark.slow
def test_the_end_of_a_run_is_in_its_summary_and_beside_it(tmp_path: Path) -> None:
    data, page = tmp_path / "texts.txt", tmp_path / "report.html"
    data.write_text("a cat\n")
    page.write_text("<h1>the end</h1>")
    digest = "ab" * 32
    tracker = WandbTracker(OFFLINE, tmp_path / "run", {}, data={data: digest})
    for step, nll in ((10, 3.0), (20, 2.0), (30, 2.5)):
        tracker.log({"global_step": step, "eval/nll_heldout": nll, "eval/entropy": nll})
    ending = {"result/verdict": "better", "result/game/0.8/nll_heldout": 2.25}
    curve = [
        {"generator": generator, "temperature": 0.8, "quality": 0.5, "diversity": diversity}
        for generator, diversity in (("mle", 2.5), ("game", 2.25))
    ]
    tracker.results(Ending(ending, curve=curve, files={"report": page}))
    tracker.close()
    (record,) = wandb_runs(tmp_path / "run")
    found = summary(record)
    assert found["eval/nll_heldout"] == {"min": 2.0, "last": 2.5}
    assert found["eval/entropy"] == 2.5
    assert {name: found[name] for name in ending} == ending
    assert (record / "files" / found["report"]["path"]).read_text() == page.read_text()
    table = json.loads((record / "files" / found["curve_table"]["path"]).read_text())
    assert table["columns"] == ["generator", "temperature", "quality", "diversity"]
    assert table["data"] == [["mle", 0.8, 0.5, 2.5], ["game", 0.8, 0.5, 2.25]]
    records = inspect(record)
    assert ("eval/nll_heldout", "global_step", "last min") in definitions(records)
    (used,) = [one for one in of_kind(records, "artifact") if one["type"] == "dataset"]
    assert used["name"] == f"data-{digest[:12]}"
    assert used["use_after_commit"] is True  # read by the run, not made by it
    assert json.loads(used["metadata"]) == {"sha256": digest, "file": "texts.txt"}
    assert [entry["ref"] for entry in used["manifest"]["contents"]] == [data.as_uri()]


@pytest.mark.slow
def test_in_a_sweep_of_wandbs_the_latest_value_has_the_plain_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WANDB_SWEEP_ID", "sweep1")
    tracker = WandbTracker(OFFLINE, tmp_path, {})
    for nll in (2.0, 2.5):
        tracker.log({"eval/nll_heldout": nll})
    tracker.close()
    (record,) = wandb_runs(tmp_path)
    assert summary(record)["eval/nll_heldout"] == 2.5
    assert os.environ["WANDB_SWEEP_ID"] == "sweep1"
