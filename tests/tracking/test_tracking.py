"""Metric list, trackers and progress. wandb runs are real, and read back by wandb's own reader."""

import io
import json
import logging
import math
import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb
from rich.ansi import AnsiDecoder
from rich.console import Console
from wandb_records import (
    definitions,
    files_below,
    history,
    inspect,
    of_kind,
    table_rows,
    wandb_runs,
)

from seqgan.evaluation.metrics.embeddings import EMBEDDINGS
from seqgan.system.errors import ConfigurationError, DataError
from seqgan.tracking import wandb_tracker
from seqgan.tracking.base import Ending, Histogram, MemoryTracker, Trackers
from seqgan.tracking.jsonl import KINDS, JsonlTracker
from seqgan.tracking.metrics import (
    METRICS,
    OWN,
    axis_of,
    find_metric,
    moving_metrics,
    read_list,
    to_markdown,
)
from seqgan.tracking.positions import pictures_by_position, position_of, quantiles
from seqgan.tracking.progress import LiveDisplay, Progress, format_rate
from seqgan.tracking.wandb_settings import (
    TrackerConfig,
    chosen_mode,
    continuation_of,
)
from seqgan.tracking.wandb_tracker import WandbTracker

ROOT = Path(__file__).parents[2]
KEY = "0" * 40  # what looks like an API key


# The metric list


def test_names_are_listed_once() -> None:
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names))


def test_every_axis_is_a_metric_plotted_against_itself() -> None:
    listed = {metric.name: metric for metric in METRICS}
    for axis in {metric.axis for metric in METRICS if metric.axis}:
        assert listed[axis].axis == axis
    without = [metric.name for metric in METRICS if not metric.axis]
    assert [name for name in without if not name.startswith("result/")] == [OWN]


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_entry_is_found_by_its_name(metric: Any) -> None:
    name = metric.name.replace("<name>", "discriminator").replace("<measure>", "grammatical")
    name = name.replace("<positions>", "03-04").replace("<path>", "margin")
    name = name.replace("<row>", "final").replace("<curve>", "game")
    assert find_metric(name) is metric
    assert metric.meaning
    assert metric.healthy


@pytest.mark.parametrize("embedding", EMBEDDINGS)
def test_a_distance_and_its_floor_are_two_entries(embedding: str) -> None:
    for end in ("", "_floor"):
        fitting = [m.name for m in METRICS if m.matches(f"eval/frechet_{embedding}{end}")]
        assert fitting == [f"eval/frechet_<embedding>{end}", "eval/<measure>"]


def test_exact_names_go_before_patterns() -> None:
    assert find_metric("eval/entropy").name == "eval/entropy"
    assert find_metric("eval/rhymes").name == "eval/<measure>"


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("losses/polic", "losses/policy"),
        ("globalstep", "global_step"),
        ("rewards/a/b/mean", "rewards/<name>/mean"),
        ("discriminator/acc_real", "discriminator/accuracy_real"),
    ],
)
def test_an_unlisted_name_is_rejected_with_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(f"unknown metric {name!r}")) as error:
        find_metric(name)
    assert str(error.value).endswith(f"did you mean {nearest!r}?")
    assert "named user/<name>" in str(error.value)


@pytest.mark.parametrize("name", ["user/margin", "user/a b/c.d/e", "user/eval/entropy"])
def test_a_metric_of_the_users_own_needs_no_entry(name: str) -> None:
    assert find_metric(name).name == OWN
    assert moving_metrics([name]) == set()


@pytest.mark.parametrize("name", ["user", "user/", "user//a", "user/a/", "user/a//b"])
def test_no_part_of_a_users_own_name_is_empty(name: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        find_metric(name)
    assert str(error.value) == (
        f"metric {name!r} is named wrongly: one of your own is user/<name>, no part of"
        " which is empty"
    )


@pytest.mark.parametrize(
    ("row", "axis"),
    [
        ({"global_step", "iteration", "losses/policy"}, "global_step"),
        ({"pretrain/epoch", "pretrain/nll_dev"}, "pretrain/epoch"),
        ({"pretrain/round", "global_step"}, "pretrain/round"),
        ({"user/b"}, ""),
    ],
)
def test_a_users_own_metric_has_the_axis_of_the_phase_that_logs_it(
    row: set[str], axis: str
) -> None:
    assert axis_of("user/a", row | {"user/a"}) == axis
    assert axis_of("pretrain/nll_train", row) == "pretrain/epoch"  # as listed, whatever the row


LIST = """
["charts/length"]
meaning = '''
mean length of
  all texts'''
unit = "tokens"
applies = "always"
healthy = "stays"
wrong = "falls"

["eval/{kind}_rate"]
variants = [{ kind = "a", text = "one" }, { kind = "b", text = "two" }]
meaning = "rate of {text}"
axis = "pretrain/epoch"
applies = "always"
may_be_constant = true
healthy = "{text}"
wrong = "none"
"""


def test_the_list_is_read_field_by_field() -> None:
    assert [vars(metric) for metric in read_list(LIST)] == [
        {
            "name": "charts/length",
            "meaning": "mean length of all texts",
            "unit": "tokens",
            "axis": "global_step",
            "applies": "always",
            "may_be_constant": False,
            "best": "",
            "healthy": "stays",
            "wrong": "falls",
        },
        *(
            {
                "name": f"eval/{kind}_rate",
                "meaning": f"rate of {text}",
                "unit": "",
                "axis": "pretrain/epoch",
                "applies": "always",
                "may_be_constant": True,
                "best": "",
                "healthy": text,
                "wrong": "none",
            }
            for kind, text in (("a", "one"), ("b", "two"))
        ),
    ]


@pytest.mark.parametrize(
    ("old", "new"),
    [('unit = "tokens"', 'units = "tokens"'), ('wrong = "falls"', "")],
    ids=["a field that nobody knows", "a field that is missing"],
)
def test_an_entry_of_the_list_has_the_fields_of_a_metric(old: str, new: str) -> None:
    with pytest.raises(TypeError, match="unit" if "unit" in old else "wrong"):
        read_list(LIST.replace(old, new, 1))


def test_moving_metrics_leave_out_what_may_stand_still() -> None:
    names = ["losses/policy", "charts/learning_rate_generator", "rewards/length/mean"]
    assert moving_metrics(names) == {"losses/policy", "rewards/length/mean"}


def test_the_document_is_the_list() -> None:
    assert (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8") == to_markdown()


def test_every_row_of_the_document_has_nine_cells() -> None:
    listed = to_markdown().partition("## Symptoms")[0]
    rows = [line for line in listed.splitlines() if line.startswith("| `")]
    assert len(rows) == len(METRICS)
    for row in rows:
        assert row.replace("\\|", "").count("|") == 10
    (kl,) = [row for row in rows if row.startswith("| `kl/reference`")]
    assert "KL(generator \\|\\| reference policy)" in kl
    assert "nats per sequence" in kl


# Fan-out


HISTOGRAM = Histogram((3, 1), (-0.5, 0.0, 2.5))


class FailingTracker(MemoryTracker):
    def close(self, exit_code: int = 0) -> None:
        raise OSError("the disk is full")


def test_trackers_pass_everything_on() -> None:
    first, second = MemoryTracker(), MemoryTracker()
    trackers = Trackers({"first": first, "second": second})
    trackers.log({"losses/policy": math.nan, "kl/weight": math.inf})
    trackers.log({"losses/policy": 0.5, "global_step": 20})
    trackers.samples([{"step": 20, "phase": "adversarial", "text": "a cat"}])
    axes = {"global_step": 20, "iteration": 2}
    trackers.histograms({"advantage/01-02": HISTOGRAM}, axes)
    trackers.checkpoint(Path("best"), ("latest", "best"), {"iteration": 2})
    trackers.alert("mode collapse", "one text")
    trackers.close(3)
    for tracker in (first, second):
        assert math.isnan(tracker.logged[0]["losses/policy"])
        assert tracker.values("kl/weight") == [math.inf]
        assert tracker.logged[1] == {"losses/policy": 0.5, "global_step": 20}
        assert tracker.rows == [{"step": 20, "phase": "adversarial", "text": "a cat"}]
        assert tracker.histogram_rows == [
            {"name": "advantage/01-02", "histogram": HISTOGRAM, "global_step": 20, "iteration": 2}
        ]
        assert tracker.checkpoints == [(Path("best"), ("latest", "best"), {"iteration": 2})]
        assert tracker.alerts == [("mode collapse", "one text")]
        assert tracker.exit_code == 3
    assert trackers.position() == {"first": {}, "second": {}}


def test_trackers_reject_an_unlisted_name_before_anything_is_recorded() -> None:
    memory = MemoryTracker()
    trackers = Trackers({"memory": memory})
    with pytest.raises(
        ConfigurationError, match=r"unknown metric 'loss/policy' .* did you mean 'losses/pol"
    ):
        trackers.log({"kl/weight": 0.1, "loss/policy": 1.0})
    with pytest.raises(ConfigurationError, match="unknown metric 'advantage/first' "):
        trackers.histograms({"advantage/first": HISTOGRAM}, {})
    with pytest.raises(
        ConfigurationError,
        match=(
            "metric 'user//a' is named wrongly: one of your own is user/<name>, no part of"
            " which is empty"
        ),
    ):
        trackers.log({"user/a": 0.1, "user//a": 1.0})
    assert memory.logged == memory.histogram_rows == []


def test_a_metric_of_the_users_own_reaches_every_tracker(tmp_path: Path) -> None:
    memory = MemoryTracker()
    trackers = Trackers({"memory": memory, "jsonl": JsonlTracker(tmp_path)})
    trackers.log({"global_step": 20, "user/margin": 0.5, "user/margin/chosen": -1.25})
    trackers.histograms({"user/lengths": HISTOGRAM}, {"global_step": 20, "iteration": 1})
    trackers.close()
    row = {"global_step": 20, "user/margin": 0.5, "user/margin/chosen": -1.25}
    assert memory.logged == read_lines(tmp_path / "metrics.jsonl") == [row]
    assert memory.histogram_rows[0]["name"] == "user/lengths"
    assert read_lines(tmp_path / "histograms.jsonl")[0]["name"] == "user/lengths"


def test_one_failing_tracker_does_not_keep_the_others_open() -> None:
    last = MemoryTracker()
    with pytest.raises(OSError, match="the disk is full"):
        Trackers({"failing": FailingTracker(), "last": last}).close(1)
    assert last.exit_code == 1


# JSON lines


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_jsonl_lines_are_readable_at_once(tmp_path: Path) -> None:
    tracker = JsonlTracker(tmp_path / "run")
    tracker.log({"losses/policy": 0.25, "kl/weight": math.inf})
    tracker.samples([{"step": 1, "text": "caf\u00e9"}, {"step": 1, "text": "a\nb"}])
    assert read_lines(tmp_path / "run" / "metrics.jsonl") == [
        {"losses/policy": 0.25, "kl/weight": math.inf}
    ]
    assert [row["text"] for row in read_lines(tmp_path / "run" / "samples.jsonl")] == [
        "caf\u00e9",
        "a\nb",
    ]
    tracker.histograms({"advantage/01-02": HISTOGRAM}, {"global_step": 8, "iteration": 2})
    tracker.alert("diverged", "the loss is nan, not finite")
    assert read_lines(tmp_path / "run" / "histograms.jsonl") == [
        {
            "name": "advantage/01-02",
            "global_step": 8,
            "iteration": 2,
            "counts": [3, 1],
            "edges": [-0.5, 0.0, 2.5],
        }
    ]
    assert read_lines(tmp_path / "run" / "alerts.jsonl") == [
        {"title": "diverged", "text": "the loss is nan, not finite"}
    ]
    tracker.close()
    tracker.close()


def test_jsonl_resumes_to_the_byte_over_a_half_written_line(tmp_path: Path) -> None:
    whole = JsonlTracker(tmp_path / "whole")
    broken = JsonlTracker(tmp_path / "broken")
    for tracker in (whole, broken):
        tracker.log({"losses/policy": 1.0})
        tracker.samples([{"step": 1, "text": "\u00e9"}])
    position = json.loads(json.dumps(broken.position()))
    assert position == {"metrics": 23, "samples": 26, "histograms": 0, "alerts": 0}
    broken.log({"losses/policy": 9.0})
    broken.alert("diverged", "after the checkpoint")
    broken.close()
    for name in KINDS:
        with (tmp_path / "broken" / f"{name}.jsonl").open("a") as file:
            file.write('{"losses/pol')
    broken = JsonlTracker(tmp_path / "broken", position)
    for tracker in (whole, broken):
        tracker.log({"losses/policy": 2.0})
        tracker.samples([{"step": 2, "text": "b"}])
        tracker.close()
    for name in (f"{kind}.jsonl" for kind in KINDS):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert [row["losses/policy"] for row in read_lines(tmp_path / "broken" / "metrics.jsonl")] == [
        1.0,
        2.0,
    ]


def test_jsonl_without_a_position_appends(tmp_path: Path) -> None:
    for value in (1.0, 2.0):
        tracker = JsonlTracker(tmp_path)
        tracker.log({"losses/policy": value})
        tracker.close()
    assert len(read_lines(tmp_path / "metrics.jsonl")) == 2


def test_jsonl_continues_a_run_that_knew_of_fewer_files(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("{}\n")
    tracker = JsonlTracker(tmp_path, {"metrics": 3, "samples": 0})
    tracker.close()
    assert read_lines(tmp_path / "metrics.jsonl") == [{}]


def test_jsonl_refuses_files_shorter_than_the_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"metrics.jsonl has 0 bytes, but had 5 at the checkpoint"):
        JsonlTracker(tmp_path, {"metrics": 5, "samples": 0})


@pytest.fixture
def no_byte_more() -> Iterator[None]:
    """Every file is full, as on a full disk."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, before)


def test_a_full_disk_is_an_oserror_once(tmp_path: Path, no_byte_more: None) -> None:
    tracker = JsonlTracker(tmp_path)
    with pytest.raises(OSError, match="File too large"):
        tracker.log({"losses/policy": 1.0})
    tracker.close(1)


@pytest.mark.parametrize("content", ["", "{}\n{}\n"])
def test_jsonl_never_writes_through_a_link(tmp_path: Path, content: str) -> None:
    precious, place = tmp_path / "precious.txt", tmp_path / "run" / "metrics.jsonl"
    precious.write_text(content)
    place.parent.mkdir()
    place.symlink_to(precious)
    for position in (None, {"metrics": 0}, {"metrics": len(content) // 2}):
        with pytest.raises(DataError, match=f"{place} is a link, pipe or folder, but must"):
            JsonlTracker(place.parent, position)
        assert precious.read_text() == content


@pytest.mark.parametrize("position", [{"metrics": 3}, {"metrics": 6}, None])
def test_jsonl_leaves_other_names_of_its_file_alone(
    tmp_path: Path, position: dict[str, int] | None
) -> None:
    """A backup by `cp -al` has the same file under another name."""
    copy, place = tmp_path / "copy.jsonl", tmp_path / "run" / "metrics.jsonl"
    copy.write_text("{}\n{}\n")
    place.parent.mkdir()
    place.hardlink_to(copy)
    tracker = JsonlTracker(place.parent, position)
    tracker.log({"losses/policy": 1.0})
    tracker.close()
    kept = 1 if position == {"metrics": 3} else 2
    assert read_lines(place) == [{}] * kept + [{"losses/policy": 1.0}]
    assert read_lines(copy) == [{}, {}]


# wandb


@pytest.mark.slow
def test_wandb_knows_the_axis_of_a_users_own_metric(home: Path, tmp_path: Path) -> None:
    tracker = WandbTracker(TrackerConfig(mode="offline"), tmp_path, {})
    for epoch in (1, 2):
        tracker.log({"pretrain/epoch": epoch, "user/margin": 0.5, "user/first/norm": 2.0})
    for step in (10, 20):
        tracker.log({"global_step": step, "iteration": 1, "user/margin": 0.25})
    tracker.log({"user/alone": 1.0})
    tracker.histograms({"user/lengths": HISTOGRAM}, {"global_step": 30, "iteration": 3})
    tracker.close()
    (run,) = wandb_runs(tmp_path)
    records = inspect(run)
    defined = [
        (metric["name"], metric.get("step_metric"))
        for metric in of_kind(records, "metric")
        if metric.get("name", "").startswith("user/")
    ]
    assert defined == [
        ("user/margin", "pretrain/epoch"),
        ("user/first/norm", "pretrain/epoch"),
        ("user/margin", "global_step"),  # that of the phase that logs it now
        ("user/alone", None),
        ("user/lengths", "global_step"),
    ]
    logged = [row["user/margin"] for row in history(records) if "user/margin" in row]
    assert logged == [0.5, 0.5, 0.25, 0.25]


@pytest.mark.slow
def test_an_offline_run_reads_back(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    config = TrackerConfig(
        project="words",
        entity="lab",
        name="first",
        group="seeds",
        job_type="control",
        tags=("a", "b"),
        notes="with a constant reward",
    )
    reward = tmp_path / "my_reward.py"
    reward.write_text("def short(texts): ...\n")
    run_config = {"generator": {"hidden_size": 32}}
    tracker = WandbTracker(config, folder, run_config, code=[reward])
    assert tracker.position()["step"] == -1
    for step in (1, 2):
        tracker.log({"global_step": 10 * step, "rewards/length/mean": step / 2})
        row = {"step": 10 * step, "phase": "adversarial", "text": f"t{step}", "tokens": ["t"]}
        tracker.samples([row | {"reward": 0.5}] if step == 1 else [row])
    tracker.log({"kl/weight": math.nan})
    tracker.histograms({"advantage/01-02": HISTOGRAM}, {"global_step": 30, "iteration": 3})
    saved = tmp_path / "saved"
    saved.mkdir(parents=True)
    (saved / "state.json").write_text("{}")
    (folder / "task.json").write_text("[]")
    tracker.checkpoint(saved, ("latest", "best"), {"iteration": 3, "eval/entropy": math.nan})
    tracker.alert("mode collapse", "one text")
    assert tracker.url == ""
    position = tracker.position()
    tracker.close()
    tracker.close()

    (run,) = wandb_runs(folder)
    records = inspect(run)
    (settings,) = of_kind(records, "run")
    assert settings["project"] == "words"
    assert settings["display_name"] == "first"
    assert settings["run_group"] == "seeds"
    assert settings["job_type"] == "control"
    assert settings["tags"] == ["a", "b"]
    assert settings["notes"] == "with a constant reward"
    assert settings["config"]["update"]["generator"] == {"hidden_size": 32}
    assert settings["entity"] == "lab"
    assert position == {
        "run_id": settings["run_id"],
        "step": 5,
        "project": "words",
        "entity": "lab",
    }

    assert definitions(records) == [
        ("global_step", None, ""),
        ("rewards/length/mean", "global_step", "last max"),
        ("kl/weight", "global_step", ""),
        ("advantage/01-02", "global_step", ""),
    ]

    rows = [row for row in history(records) if "rewards/length/mean" in row]
    assert [(row["global_step"], row["rewards/length/mean"]) for row in rows] == [
        (10, 0.5),
        (20, 1.0),
    ]
    assert [row["kl/weight"] for row in history(records) if "kl/weight" in row] == ["NaN"]
    (shown,) = [row for row in history(records) if "advantage/01-02._type" in row]
    assert (shown["global_step"], shown["iteration"]) == (30, 3)
    assert shown["advantage/01-02._type"] == "histogram"
    assert shown["advantage/01-02.values"] == [3, 1]
    assert shown["advantage/01-02.bins"] == [-0.5, 0, 2.5]
    picture = run / "files" / shown["by_position/advantage.path"]
    assert picture.read_bytes().startswith(b"\x89PNG")
    hidden = [metric["name"] for metric in of_kind(records, "metric") if is_hidden(metric)]
    assert hidden == ["advantage/01-02"]
    (alert,) = of_kind(records, "alert")
    assert (alert["title"], alert["text"]) == ("mode collapse", "one text")
    assert table_rows(run, records) == [
        [10, "adversarial", "t1", 0.5],
        [20, "adversarial", "t2", None],
    ]
    (end,) = of_kind(records, "exit")
    assert end["exit_code"] == 0

    artifacts = of_kind(records, "artifact")
    artifacts = sorted(artifacts, key=lambda artifact: str(artifact["type"]))
    assert [artifact["type"] for artifact in artifacts] == [
        "code",
        "model",
        "wandb-run-incremental-table",
        "wandb-run-incremental-table",
    ]
    source, checkpoint, *_ = artifacts
    assert checkpoint["name"] == f"checkpoint-{settings['run_id']}"
    assert sorted(checkpoint["aliases"]) == ["best", "latest"]
    assert json.loads(checkpoint["metadata"]) == {"iteration": 3}
    assert {entry["path"] for entry in checkpoint["manifest"]["contents"]} == {
        "checkpoints/00000000/state.json",
        "task.json",
    }
    package = Path(wandb_tracker.__file__).parents[1]
    assert {entry["path"] for entry in source["manifest"]["contents"]} == {
        path.relative_to(package).as_posix()
        for kind in ("py", "toml")
        for path in package.rglob(f"*.{kind}")
    }
    assert (run / "files" / "code" / "my_reward.py").read_text() == reward.read_text()
    assert "wandb==" in (run / "files" / "requirements.txt").read_text()
    assert of_kind(records, "stats")  # of the system
    staged = [
        Path(entry["local_path"])
        for artifact in artifacts
        for entry in artifact["manifest"]["contents"]
    ]
    assert len(staged) > 4
    for path in staged:
        assert path.is_file()
        assert path.is_relative_to(folder)
    assert [path for path in files_below(home) if "matplotlib" not in path.parts] == []
    assert "WANDB_DATA_DIR" not in os.environ
    assert "WANDB_CACHE_DIR" not in os.environ


def is_hidden(metric: dict[str, Any]) -> bool:
    """From the panels that wandb makes by itself."""
    return bool(metric.get("options", {}).get("hidden"))


@pytest.mark.slow
def test_a_run_is_named_as_its_folder_and_has_a_log(
    home: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "caf\u00e9 2"
    tracker = WandbTracker(TrackerConfig(mode="offline"), folder, {})
    tracker.log({"kl/weight": 1.0})
    position = tracker.position()
    tracker.line("pretrain 1/2\npretrain 2/2")
    tracker.results(Ending({}, ["     MLE", "bleu  0.5"]))
    tracker.close()
    (run,) = wandb_runs(folder)
    records = inspect(run)
    (settings,) = of_kind(records, "run")
    assert settings["display_name"] == "caf\u00e9 2"
    assert (run / "files" / "output.log").read_text().splitlines() == [
        "pretrain 1/2",
        "pretrain 2/2",
        "     MLE",
        "bleu  0.5",
    ]
    assert "bleu" not in capfd.readouterr().err  # it is printed elsewhere
    fork = WandbTracker(
        TrackerConfig(mode="offline"), tmp_path / "other", {}, position | {"fork": True}
    )
    fork.close()
    (settings,) = of_kind(inspect(wandb_runs(tmp_path / "other")[0]), "run")
    assert settings["display_name"] == "other"


def test_a_picture_has_a_box_for_each_group_of_positions() -> None:
    histograms = {
        "advantage/04-06": Histogram((0, 0), (0.0, 1.0, 2.0)),  # without a value
        "advantage/01-03": Histogram((1, 3), (0.0, 1.0, 2.0)),
        "action_value/22-22": HISTOGRAM,
        "user/lengths": HISTOGRAM,
    }
    pictures = pictures_by_position(histograms, {"iteration": 3})
    assert pictures.keys() == {"advantage", "action_value"}
    assert pictures["advantage"].shape == (400, 800, 3)
    assert pictures["advantage"].std() > 0
    assert [position_of(name) for name in histograms] == [
        ("advantage", "4-6"),
        ("advantage", "1-3"),
        ("action_value", "22"),
        ("", ""),
    ]
    found = quantiles(histograms["advantage/01-03"], (0.125, 0.25, 0.5, 1.0))
    assert found == pytest.approx([0.5, 1.0, 4 / 3, 2.0])


@pytest.mark.slow
def test_an_offline_run_continues_after_its_checkpoint(home: Path, tmp_path: Path) -> None:
    config = TrackerConfig(mode="offline")
    tracker = WandbTracker(config, tmp_path / "first", {"seed": 1})
    for step in (1, 2):
        tracker.log({"global_step": step})
        tracker.samples([{"step": step, "text": "a"}])
    position = json.loads(json.dumps(tracker.position()))
    tracker.log({"global_step": 3})
    tracker.close(1)

    tracker = WandbTracker(config, tmp_path / "second", {"seed": 1}, position)
    assert tracker.position() == position
    tracker.log({"global_step": 30})
    tracker.samples([{"step": 30, "text": "b"}])
    assert tracker.position() == {**position, "step": position["step"] + 2}
    tracker.close()

    (first,), (second,) = wandb_runs(tmp_path / "first"), wandb_runs(tmp_path / "second")
    (end,) = of_kind(inspect(first), "exit")
    assert end["exit_code"] == 1
    records = inspect(second)
    (settings,) = of_kind(records, "run")
    assert settings["run_id"] == position["run_id"]
    assert settings["branch_point"]["value"] == position["step"] == 3
    first_row = history(records)[0]
    assert (first_row["_step"], first_row["global_step"]) == (4, 30)
    assert table_rows(second, records) == [[30, "b"]]


@pytest.mark.slow
def test_an_offline_run_branches_off_from_another(home: Path, tmp_path: Path) -> None:
    config = TrackerConfig(mode="offline", checkpoints="none")
    tracker = WandbTracker(config, tmp_path / "first", {})
    for step in (1, 2, 3):
        tracker.log({"global_step": step})
    position = tracker.position()
    tracker.close()

    tracker = WandbTracker(config, tmp_path / "fork", {}, {**position, "fork": True})
    assert tracker.position()["run_id"] != position["run_id"]
    tracker.log({"global_step": 30})
    tracker.checkpoint(tmp_path, ("latest",), {})  # which `checkpoints="none"` leaves out
    after = tracker.position()
    tracker.close()
    records = inspect(wandb_runs(tmp_path / "fork")[0])
    (settings,) = of_kind(records, "run")
    assert settings["run_id"] == after["run_id"]
    assert settings["branch_point"] == {
        "run": position["run_id"],
        "metric": "_step",
        "value": position["step"],
    }
    (row,) = history(records)
    assert (row["_step"], row["global_step"]) == (position["step"] + 1, 30)
    assert after["step"] == row["_step"] == 3
    assert [artifact["type"] for artifact in of_kind(records, "artifact")] == ["code"]


@pytest.mark.slow
def test_no_source_is_kept_where_wandb_is_told_so(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_DISABLE_CODE", "true")
    tracker = WandbTracker(TrackerConfig(mode="offline"), tmp_path, {}, code=[Path(__file__)])
    tracker.log({"global_step": 1})
    tracker.close()
    records = inspect(wandb_runs(tmp_path)[0])
    assert history(records)[0]["global_step"] == 1
    assert of_kind(records, "artifact") == []
    assert not list(tmp_path.rglob("*.py"))


@pytest.mark.parametrize(
    ("position", "offline", "expected"),
    [
        ({}, True, {}),
        ({"run_id": "abc", "step": 7}, True, {"resume_from": "abc?_step=7"}),
        ({"run_id": "abc", "step": -1}, True, {"id": "abc", "resume": "allow"}),
        ({"run_id": "abc", "step": 7}, False, {"id": "abc", "resume": "allow"}),
        ({"run_id": "abc", "step": 7, "fork": True}, True, {"fork_from": "abc?_step=7"}),
        ({"run_id": "abc", "step": 7, "fork": True}, False, {"fork_from": "abc?_step=7"}),
        ({"run_id": "abc", "step": -1, "fork": True}, True, {}),
    ],
)
def test_how_a_run_is_continued(
    position: dict[str, Any], offline: bool, expected: dict[str, str]
) -> None:
    assert continuation_of(position, offline) == expected


@pytest.mark.slow
def test_two_runs_of_one_process_stay_apart(home: Path, tmp_path: Path) -> None:
    config = TrackerConfig(mode="offline")
    trackers = [WandbTracker(config, tmp_path / str(seed), {"seed": seed}) for seed in (1, 2)]
    for tracker, value in zip(trackers, (0.1, 0.2), strict=True):
        tracker.log({"kl/weight": value})
    ids = {tracker.position()["run_id"] for tracker in trackers}
    for tracker in trackers:
        tracker.close()
    assert len(ids) == 2
    (run,) = wandb_runs(tmp_path / "2")
    assert history(inspect(run))[0]["kl/weight"] == 0.2


def test_disabled_does_not_import_wandb(tmp_path: Path) -> None:
    script = """
import sys
from pathlib import Path
from seqgan.tracking.wandb_settings import TrackerConfig, check_settings
from seqgan.tracking.wandb_tracker import WandbTracker
check_settings(TrackerConfig(mode=sys.argv[1]))
tracker = WandbTracker(TrackerConfig(mode=sys.argv[1]), Path(sys.argv[2]), {})
tracker.log({"kl/weight": 1.0})
tracker.samples([{"step": 1, "text": "a"}])
assert tracker.position() == {}
tracker.close()
assert "wandb" not in sys.modules
assert "torch" not in sys.modules
"""
    for mode, environment in (("disabled", {}), ("auto", {"WANDB_MODE": "disabled"})):
        subprocess.run(
            [sys.executable, "-c", script, mode, str(tmp_path / "run")],
            check=True,
            env=os.environ | environment,
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("variables", "netrc", "expected"),
    [
        ({}, "", "offline"),
        ({"WANDB_API_KEY": KEY}, "", "online"),
        ({"WANDB_BASE_URL": "http://here"}, f"machine here login a password {KEY}", "online"),
        ({"WANDB_BASE_URL": "http://here"}, f"machine there login a password {KEY}", "offline"),
        ({"WANDB_MODE": "offline", "WANDB_API_KEY": KEY}, "", None),
    ],
)
def test_auto_is_online_only_with_a_key(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    netrc: str,
    expected: str | None,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if netrc:
        (home / ".netrc").write_text(netrc + "\n")
        (home / ".netrc").chmod(0o600)
    assert chosen_mode(TrackerConfig()) == expected


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == wandb_tracker.__name__ and record.levelno == logging.WARNING
    ]


def test_a_failing_log_costs_one_warning(
    home: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tracker = WandbTracker(TrackerConfig(mode="offline"), tmp_path, {})
    tracker.log({"kl/weight": 1.0})
    position = tracker.position()
    wandb.teardown()  # the background process is gone, as after a crash of it
    for value in (2.0, 3.0):
        tracker.log({"kl/weight": value})
    assert tracker.position() == position
    tracker.close()
    (warning,) = warnings_of(caplog)
    assert "wandb failed while logging metrics" in warning


# Progress


class Clock:
    """A clock that stands still until it is told."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def plain_console() -> Console:
    return Console(file=io.StringIO(), width=40)


def live_console() -> Console:
    return Console(file=io.StringIO(), width=60, force_terminal=True, force_interactive=True)


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_plain_progress_shows_first_last_and_a_line_now_and_then() -> None:
    console, clock = plain_console(), Clock()
    with Progress(console, seconds_between_lines=5.0, clock=clock) as progress:
        progress.phase("pretrain", total=38)
        for epoch in range(1, 39):
            clock.now = epoch * 0.4
            progress.advance(1, {"nll_dev": 3 - epoch / 100})
        assert written(console).endswith("pretrain 38/38  nll_dev 2.62\n")  # not only at the end
    assert written(console).splitlines() == [
        "pretrain 1/38  nll_dev 2.99",
        "pretrain 14/38  nll_dev 2.86",
        "pretrain 27/38  nll_dev 2.73",
        "pretrain 38/38  nll_dev 2.62",
    ]


def test_plain_progress_of_a_phase_that_ends_early_and_a_resumed_one() -> None:
    console = plain_console()
    with Progress(console, clock=Clock()) as progress:
        progress.phase("pretrain", total=40)
        progress.advance(1, {"nll_dev": 2.5})
        progress.advance(1)
        progress.message("[the best epoch was the first one, and this line is not cut or wrapped]")
        progress.phase("adversarial", total=9, completed=6)
        progress.advance(1)
        progress.advance(1)
    assert written(console).splitlines() == [
        "pretrain 1/40  nll_dev 2.5",
        "[the best epoch was the first one, and this line is not cut or wrapped]",
        "pretrain 2/40  nll_dev 2.5",
        "adversarial 7/9",
        "adversarial 8/9",
    ]


def test_live_progress_fits_sixty_columns() -> None:
    console = live_console()
    with Progress(console) as progress:
        progress.phase("pretrain", total=2)
        progress.advance(2, {"nll_dev": 2.5})
        progress.message("[saved]")
        progress.phase("adversarial", total=2000, completed=10)
        progress.advance(
            2, {"reward": 0.5, "nll_oracle": 9.125, "discriminator/information_heldout": 0.1}
        )
    lines = [line.plain.rstrip() for line in AnsiDecoder().decode(written(console))]
    assert max(len(line) for line in lines) <= 60
    assert "[saved]" in lines
    pretrain, adversarial, *metrics = [line for line in lines if line][-4:]
    assert re.fullmatch(r"pretrain +\u2501+ +2/2 .*", pretrain)
    assert re.fullmatch(r"adversarial +[\u2501\u2578\u257a ]+ +12/2000 .*", adversarial)
    assert [line.split() for line in metrics] == [
        ["reward", "0.5", "nll_oracle", "9.125"],
        ["discriminator/information_heldout", "0.1"],
    ]


def test_live_bars_leave_plain_lines_in_a_log() -> None:
    console, clock, lines = live_console(), Clock(), list[str]()
    with Progress(console, clock=clock) as progress:
        assert progress.is_live
        progress.message("before there is a log")
        progress.log_to(lines.append)
        progress.phase("pretrain", total=40)
        for epoch in range(1, 41):
            clock.now = epoch
            progress.advance(1, {"nll_dev": epoch / 8})
        progress.message("[saved]")
    assert lines == [
        "pretrain 1/40  nll_dev 0.125",
        "pretrain 31/40  nll_dev 3.875",
        "pretrain 40/40  nll_dev 5",
        "[saved]",
    ]
    assert not Progress(plain_console()).is_live


def test_bars_in_a_terminal_stay_out_of_what_wandb_keeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """wandb puts a `write` of its own on the stream."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal, kept = Terminal(), list[str]()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(terminal, "write", kept.append)
    monkeypatch.setenv("TERM", "xterm")
    with Progress() as progress:
        assert progress.is_live
        progress.phase("pretrain", total=2)
        progress.message("[saved]")
    assert "pretrain" in terminal.getvalue()
    assert "[saved]" in terminal.getvalue()
    assert kept == []


def test_live_waits_are_shown_from_two_seconds_on() -> None:
    console, clock = live_console(), Clock()
    with Progress(console, clock=clock) as progress:
        progress.phase("adversarial", total=2)

        def shown() -> list[str]:
            """What a refresh of the bars would draw now."""
            assert isinstance(progress._display, LiveDisplay)
            plain = Console(file=io.StringIO(), width=60)
            plain.print(progress._display._bars.get_renderable())
            return [line for line in written(plain).splitlines() if line.startswith("waiting")]

        with progress.waiting("reward 'politeness'"):
            clock.now = 1.5
            assert shown() == []
            with progress.waiting("reward 'length'"):
                clock.now = 2.0
                assert shown() == ["waiting for reward 'politeness' (2 s)"]
                clock.now = 12.4
                assert shown() == [
                    "waiting for reward 'politeness' (12 s)",
                    "waiting for reward 'length' (11 s)",
                ]
            assert shown() == ["waiting for reward 'politeness' (12 s)"]
        with pytest.raises(ValueError, match=r"^no$"), progress.waiting("reward 'failing'"):
            raise ValueError("no")
        clock.now = 20.0
        assert shown() == []


def test_plain_waits_say_that_they_began_and_how_long_they_took() -> None:
    console, clock = plain_console(), Clock()
    with (
        Progress(console, seconds_between_lines=0.01, clock=clock) as progress,
        progress.waiting("reward 'politeness', which is asked far away"),
    ):
        deadline = time.monotonic() + 30
        while not written(console).endswith("\n") and time.monotonic() < deadline:
            time.sleep(0.01)
        clock.now = 7.3
    assert written(console).splitlines() == [
        "waiting for reward 'politeness', which is asked far away",
        "waited 7 s for reward 'politeness', which is asked far away",
    ]


def test_plain_waits_that_are_short_say_nothing() -> None:
    console = plain_console()
    with Progress(console) as progress:
        for _ in range(3):
            with progress.waiting("reward 'politeness'"):
                pass
    assert written(console) == ""


def test_progress_goes_to_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    with Progress() as progress:
        progress.phase("pretrain", total=1)
        progress.advance(1, {"nll_dev": 1.0})
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err == "pretrain 1/1  nll_dev 1\n"


def test_advancing_without_a_phase_is_an_error() -> None:
    with (
        Progress(plain_console()) as progress,
        pytest.raises(ValueError, match="no phase has begun"),
    ):
        progress.advance()


@pytest.mark.parametrize(
    ("rate", "text"), [(None, ""), (0.0, ""), (12.34, "12.3/s"), (0.25, "4.0s each")]
)
def test_rates(rate: float | None, text: str) -> None:
    assert format_rate(rate) == text
