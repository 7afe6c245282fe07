"""Trackers by their names: checked before training, and continued, forked and filled by runs."""

import csv
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tiny_commands import TINY, run

from seqgan import train
from seqgan.system.errors import ConfigurationError, SeqganError
from seqgan.tracking.base import MemoryTracker
from seqgan.tracking.jsonl import JsonlTracker, read_rows
from seqgan.training.run_trackers import check_trackers, replay
from seqgan.training.settings import TrainConfig

OWN = """
from dataclasses import dataclass
from seqgan import Tracker

@dataclass(frozen=True)
class Numbers:
    name: str = "numbers.txt"

    def build(self, folder, settings, position):
        assert settings["seed"] == 1
        return NumbersTracker(folder / self.name, position.get("bytes", 0))

class NumbersTracker(Tracker):
    def __init__(self, path, length):
        path.touch()
        content = path.read_bytes()
        path.write_bytes(content[:length])
        self.file = path.open("ab", buffering=0)

    def log(self, metrics):
        for name in ("losses/entropy", "pretrain/nll_dev", "eval/entropy"):
            if name in metrics:
                self.file.write(f"{name} {metrics[name]!r}\\n".encode())

    def position(self):
        return {"bytes": self.file.tell()}

    def close(self, exit_code=0):
        self.file.close()

class NoTracker:
    def build(self, folder, settings, position):
        return 3

class Other:
    def build(self, players):
        return 3

@dataclass(frozen=True)
class csv:
    def build(self, folder, settings, position):
        return Tracker()
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text(OWN, encoding="utf-8")
    return path


def refused(*trackers: str) -> str:
    with pytest.raises(SeqganError) as error:
        check_trackers(TrainConfig(trackers=trackers))
    assert "\n" not in str(error.value)
    return str(error.value)


def test_none_is_no_tracker() -> None:
    assert TrainConfig(trackers=("none",)).trackers == ()
    assert TrainConfig(trackers=()).trackers == ()
    with pytest.raises(ConfigurationError, match="must be none or name trackers"):
        TrainConfig(trackers=("none", "csv"))
    check_trackers(TrainConfig(trackers=()))


def test_what_is_no_tracker_is_found_before_training(own: Path) -> None:
    assert refused("tensorbord").startswith(
        "there is no tracker 'tensorbord', only wandb, tensorboard, csv, none, and your own, "
    )
    assert "there is no file ./nowhere.py" in refused("./nowhere.py:Config")
    assert "there is no 'Nobody'" in refused(f"{own}:Nobody")
    assert "folder, settings, position" in refused(f"{own}:Other")
    assert "'csv' twice" in refused("csv", f"{own}:csv")
    assert "'csv' twice" in refused("csv", "csv")
    check_trackers(TrainConfig(trackers=("csv", f"{own}:Numbers(name='x.txt')")))


def test_tensorboard_that_is_not_installed_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    assert 'pip install "seqgan[tensorboard]"' in refused("tensorboard")


def test_wandb_that_is_not_named_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "nonsense")
    check_trackers(TrainConfig(trackers=("csv",)))
    assert "WANDB_MODE" in refused("wandb", "csv")


def test_a_record_is_replayed_as_it_was(tmp_path: Path) -> None:
    from seqgan.tracking.base import Histogram

    whole, again = MemoryTracker(), MemoryTracker()
    record = JsonlTracker(tmp_path)
    for tracker in (whole, record):
        tracker.log({"global_step": 10, "losses/policy": float("nan")})
        tracker.log({"global_step": 20, "iteration": 2})
        for step in (10, 20):
            one = {f"advantage/0{place}": Histogram((step, 1), (0.0, 1.0, 2.0)) for place in "12"}
            one = {f"{name}-0{name[-1]}": histogram for name, histogram in one.items()}
            tracker.histograms(one, {"global_step": step, "iteration": step // 10})
            rows = [{"step": step, "phase": "game", "text": text} for text in "ab"]
            tracker.samples(rows)
        tracker.alert("mode collapse", "one text")
    record.close()
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"losses/of_another_version": 1.0}\n')
    replay(tmp_path, again)
    assert repr(again.logged) == repr(whole.logged)  # NaN is not itself
    assert again.histogram_rows == whole.histogram_rows
    assert again.rows == whole.rows
    assert again.alerts == whole.alerts


# Runs


LONG = "--adversarial.iterations 6 --checkpoint-seconds 0 --pretrain.epochs 2".split()
TRACKERS = ("tensorboard", "csv")


def flags(own: Path, folder: Path) -> list[str]:
    named = [*TRACKERS, f"{own}:Numbers"]
    size = ["--task.train-size", "60", "--task.dev-size", "20", "--task.test-size", "20"]
    return ["captions", *size, *TINY, *LONG, "--trackers", *named, "--output", str(folder)]


def rows_of(path: Path) -> list[dict[str, str]]:
    """Without what depends on the clock."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if not re.match("time/|charts/SPS", k)} for row in rows]


def points_of(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found: Any = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    names = [name for name in found.Tags()["scalars"] if not re.match("time/|charts/SPS", name)]
    return {name: [(each.step, each.value) for each in found.Scalars(name)] for name in names}


def same_records(one: Path, other: Path) -> None:
    for name in ("metrics.csv", "samples.csv", "results.csv", "curve.csv"):
        assert rows_of(one / name) == rows_of(other / name), name
    assert points_of(one) == points_of(other)
    assert (one / "numbers.txt").read_bytes() == (other / "numbers.txt").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody disturbed, and its tracker beside it."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "own.py").write_text(OWN, encoding="utf-8")
    assert run("train", *flags(folder / "own.py", folder / "run")) == 0
    return folder / "run"


@pytest.mark.slow
def test_the_records_agree(whole: Path) -> None:
    logged = list(read_rows(whole / "metrics.jsonl"))
    rows = rows_of(whole / "metrics.csv")
    assert [row["losses/entropy"] for row in rows] == [
        str(row.get("losses/entropy", "")) for row in logged
    ]
    assert points_of(whole)["losses/entropy"] == [
        (row["global_step"], pytest.approx(row["losses/entropy"], rel=1e-6))
        for row in logged
        if "losses/entropy" in row
    ]
    assert len(rows_of(whole / "samples.csv")) == len(list(read_rows(whole / "samples.jsonl")))
    assert rows_of(whole / "results.csv")[0]["generator"] == "MLE"
    assert not (whole / "wandb").exists()


@pytest.mark.slow
def test_killed_and_resumed_every_record_is_that_of_an_undisturbed_run(
    whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "seqgan", "train", *flags(whole.parent / "own.py", folder)]
    started = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 300
        while not list(folder.glob("checkpoints/0000000[4-9]")):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        os.kill(started.pid, signal.SIGKILL)
        started.wait()
    assert not (folder / "results.json").exists()
    assert run("train", "--resume", folder, "--trust-run-code") == 0
    same_records(folder, whole)


@pytest.mark.slow
def test_a_fork_has_the_record_so_far(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "fork"
    more = ("--adversarial.iterations", "8", "--trust-run-code", "--output", folder)
    assert run("train", "--fork", whole, *more) == 0
    before, after = rows_of(whole / "metrics.csv"), rows_of(folder / "metrics.csv")
    assert [{k: row[k] for k in before[0]} for row in after[: len(before)]] == before
    assert len(after) == len(before) + 2
    old, new = points_of(whole)["losses/entropy"], points_of(folder)["losses/entropy"]
    assert new[: len(old)] == old
    assert len(new) == len(old) + 2
    start = (whole / "numbers.txt").read_text()
    assert (folder / "numbers.txt").read_text().startswith(start)


@pytest.mark.slow
def test_a_tracker_that_resume_adds_has_the_whole_run(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    stopping = tmp_path / "stopping.py"
    stopping.write_text(
        "import os, signal\n"
        "def stop(phase, metrics, players):\n"
        "    if phase.evaluated and phase.count == 2 and os.environ.get('STOP'):\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
    )
    given = ["captions", "--task.train-size", "60", *TINY, *LONG, "--trackers", "none"]
    given += ["--observers", f"{stopping}:stop", "--output", str(folder)]
    command = [sys.executable, "-m", "seqgan", "train", *given]
    ended = subprocess.run(command, env={**os.environ, "STOP": "1"}, capture_output=True)
    assert ended.returncode == 130, ended.stderr
    assert not list(folder.glob("*.csv"))
    assert run("train", "--resume", folder, "--trust-run-code", "--trackers", *TRACKERS) == 0
    logged = [row for row in read_rows(folder / "metrics.jsonl") if "losses/entropy" in row]
    assert len(logged) == 6
    assert [step for step, _ in points_of(folder)["losses/entropy"]] == [
        row["global_step"] for row in logged
    ]
    assert len(rows_of(folder / "metrics.csv")) == len(list(read_rows(folder / "metrics.jsonl")))


@pytest.mark.slow
def test_from_python_trackers_are_named_with_a_folder(tmp_path: Path) -> None:
    small: dict[str, Any] = {
        "task.train_size": 60,
        "pretrain.epochs": 1,
        "adversarial.iterations": 1,
        "discriminator_training.pretrain_rounds": 0,
        "rule.num_rollouts": 0,
        "evaluation.num_samples": 20,
        "evaluation.num_final": 20,
        "evaluation.temperatures": (1.0, 0.8),
    }
    with pytest.raises(ConfigurationError, match="output is empty"):
        train("captions", trackers="csv", progress=False, **small)
    folder = tmp_path / "run"
    train("captions", trackers=["csv"], output=folder, progress=False, **small)
    assert len(rows_of(folder / "metrics.csv")) == 3  # an epoch, before the game, and an iteration
    assert not (folder / "wandb").exists()
    train("captions", output=tmp_path / "other", progress=False, **small)
    assert not (tmp_path / "other" / "metrics.csv").exists()
    assert "trackers: []" in (tmp_path / "other" / "config.yaml").read_text()
