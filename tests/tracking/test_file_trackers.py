"""Trackers that write files beside a run's record, read back by Python's reader of CSV and by
TensorBoard's own accumulator; and the guard of a tracker of the user's own."""

import csv
import logging
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from seqgan.system.errors import DataError
from seqgan.tracking.base import Ending, Histogram, Tracker
from seqgan.tracking.csv_tracker import CsvTracker
from seqgan.tracking.guard import GuardedTracker
from seqgan.tracking.tensorboard_tracker import FILES, TensorboardTracker

HISTOGRAM = Histogram((3, 1), (-0.5, 0.0, 2.5))
ENDING = Ending(
    {"result/verdict": "better", "result/difference": -0.25, "result/final/entropy": 1.5},
    ["          MLE  game", "entropy  1.25   1.5"],
    table=[
        {"generator": "MLE", "entropy": 1.25},
        {"generator": "game", "entropy": 1.5, "user/mine": 2},
    ],
    curve=[{"generator": "mle", "temperature": 0.5, "quality": 0.5, "diversity": 2.0}],
)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


# CSV


def test_a_row_of_each_log_has_the_counters_first(tmp_path: Path) -> None:
    tracker = CsvTracker(tmp_path / "run")
    tracker.log({"pretrain/nll_dev": 2.5, "pretrain/epoch": 1})
    tracker.log({"global_step": 20, "iteration": 1, "losses/policy": math.nan})
    tracker.log({"global_step": 40, "iteration": 2, "losses/policy": 0.1, "user/a,b": math.inf})
    # Every row is there at once, and so is every column.
    lines = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert lines == [
        'pretrain/epoch,pretrain/round,iteration,global_step,pretrain/nll_dev,losses/policy,"user/a,b"',
        "1,,,,2.5,,",
        ",,1,20,,nan,",
        ",,2,40,,0.1,inf",
    ]
    tracker.close()
    tracker.close()


def test_texts_come_back_as_they_were(tmp_path: Path) -> None:
    texts = ['a "quoted", text', "two\nlines", "caf\u00e9", ""]
    tracker = CsvTracker(tmp_path)
    for step, text in enumerate(texts):
        rows = [{"step": step, "phase": "game", "text": text, "tokens": ["a"], "reward": 0.5}]
        tracker.samples(rows if step else [{**rows[0], "reward_length": None}])
    tracker.close()
    rows = table(tmp_path / "samples.csv")
    assert [row["text"] for row in rows] == texts
    assert rows[0] == {
        "step": "0",
        "phase": "game",
        "text": texts[0],
        "reward": "0.5",
        "reward_length": "",
    }


def test_the_end_is_two_tables(tmp_path: Path) -> None:
    tracker = CsvTracker(tmp_path)
    tracker.results(ENDING)
    assert table(tmp_path / "results.csv") == [
        {"generator": "MLE", "entropy": "1.25", "user/mine": ""},
        {"generator": "game", "entropy": "1.5", "user/mine": "2"},
    ]
    (point,) = table(tmp_path / "curve.csv")
    assert point == {
        "generator": "mle",
        "temperature": "0.5",
        "quality": "0.5",
        "diversity": "2.0",
    }
    tracker.close()


def test_tables_begin_anew_and_no_link_is_followed(tmp_path: Path) -> None:
    precious, folder = tmp_path / "precious.txt", tmp_path / "run"
    precious.write_text("mine")
    folder.mkdir()
    (folder / "metrics.csv").symlink_to(precious)
    (folder / "samples.csv").write_text("of the same run, before it goes on")
    tracker = CsvTracker(folder)
    tracker.log({"global_step": 1})
    tracker.close()
    assert precious.read_text() == "mine"
    assert [row["global_step"] for row in table(folder / "metrics.csv")] == ["1"]
    assert table(folder / "samples.csv") == []


# TensorBoard


def read_events(folder: Path) -> Any:
    accumulator = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator"
    ).EventAccumulator
    kinds = ("scalars", "histograms", "tensors", "images")
    found = accumulator(str(folder), size_guidance=dict.fromkeys(kinds, 0))
    return found.Reload()


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    found = read_events(folder)
    return {
        name: [(event.step, event.value) for event in found.Scalars(name)]
        for name in found.Tags()["scalars"]
    }


def texts(folder: Path) -> dict[str, list[tuple[int, str]]]:
    found = read_events(folder)
    return {
        name.removesuffix("/text_summary"): [
            (event.step, event.tensor_proto.string_val[0].decode()) for event in found.Tensors(name)
        ]
        for name in found.Tags()["tensors"]
        if name.endswith("/text_summary")
    }


def test_each_metric_is_over_its_own_axis(tmp_path: Path) -> None:
    tracker = TensorboardTracker(tmp_path, {"seed": 1})
    tracker.log({"pretrain/epoch": 1, "pretrain/nll_dev": 2.5, "user/margin": 0.5})
    for step in (20, 40):
        tracker.log({"global_step": step, "iteration": step // 20, "losses/policy": step / 8})
    tracker.log({"user/alone": 1.0})
    tracker.log({"user/alone": 2.0, "losses/policy": 9.0})  # at the step before
    tracker.log({"global_step": 60, "user/margin": math.nan})
    tracker.close()
    found = scalars(tmp_path)
    nan = found["user/margin"].pop()
    assert nan[0] == 60
    assert math.isnan(nan[1])
    assert found == {
        "pretrain/nll_dev": [(1, 2.5)],
        "user/margin": [(1, 0.5)],
        "iteration": [(20, 1.0), (40, 2.0)],
        "losses/policy": [(20, 2.5), (40, 5.0), (40, 9.0)],
        "user/alone": [(1, 1.0), (2, 2.0)],
    }


def test_texts_histograms_and_the_end_are_there(tmp_path: Path) -> None:
    from matplotlib.image import imsave

    picture, page = tmp_path / "report.png", tmp_path / "report.html"
    imsave(picture, np.zeros((4, 6, 3)))
    page.write_text("a page, for which TensorBoard has no place")
    tracker = TensorboardTracker(tmp_path, {"rule": {"kl_weight": 0.25, "phases": ["a"]}})
    tracker.log({"global_step": 30, "iteration": 3})
    tracker.histograms({"advantage/01-02": HISTOGRAM}, {"global_step": 30, "iteration": 3})
    row = {"step": 30, "phase": "game", "text": "a | b\n*c* \udcff", "reward": 0.5, "tokens": []}
    tracker.samples([row, row | {"text": "d", "reward": None}])
    tracker.alert("mode collapse", "one text")
    files = {"report": page, "report_picture": picture}
    tracker.results(Ending(ENDING.metrics, ENDING.lines, files=files))
    tracker.close()
    found = read_events(tmp_path)
    (histogram,) = found.Histograms("advantage/01-02")
    value = histogram.histogram_value
    assert histogram.step == 30
    assert (value.min, value.max, value.num) == (-0.5, 2.5, 4)
    assert (value.bucket_limit, value.bucket) == ([0.0, 2.5], [3.0, 1.0])
    (image,) = found.Images("report_picture")
    assert (image.width, image.height, image.step) == (6, 4, 30)
    written = texts(tmp_path)
    ((step, samples),) = written["samples/game"]
    assert step == 30
    assert samples.splitlines()[0] == "| text | reward |"
    assert samples.splitlines()[2:] == [r"| `a \| b *c* ?` | 0.5 |", "| `d` |  |"]
    assert written["alerts"] == [(30, "`mode collapse`: `one text`")]
    assert written["result"] == [(30, "              MLE  game\n    entropy  1.25   1.5")]
    assert '"kl_weight": 0.25' in written["config"][0][1]
    numbers = scalars(tmp_path)
    assert numbers["result/difference"] == [(30, -0.25)]
    assert numbers["result/final/entropy"] == [(30, 1.5)]
    assert "result/verdict" not in numbers
    assert found.summary_metadata["_hparams_/experiment"].plugin_data.plugin_name == "hparams"


def test_a_run_that_goes_on_has_what_an_undisturbed_one_has(tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"

    def begin(tracker: TensorboardTracker) -> None:
        tracker.log({"global_step": 10, "losses/policy": 1.0, "user/alone": 0.0})
        tracker.log({"user/alone": 1.0})

    def go_on(tracker: TensorboardTracker) -> None:
        tracker.log({"losses/policy": 2.0})
        tracker.log({"user/alone": 2.0})
        tracker.log({"global_step": 20, "losses/policy": 3.0})
        tracker.close()

    undisturbed = TensorboardTracker(whole, {})
    begin(undisturbed)
    go_on(undisturbed)
    killed = TensorboardTracker(broken, {})
    begin(killed)
    position = killed.position()
    killed.log({"global_step": 20, "losses/policy": 9.0})  # after the checkpoint
    killed.close()
    (first,) = broken.glob(FILES)
    with first.open("ab") as file:
        file.write(b"half a record")
    go_on(TensorboardTracker(broken, {}, position))
    assert scalars(broken) == scalars(whole)
    assert texts(broken) == texts(whole)
    assert len(list(broken.glob(FILES))) == 2
    # Killed again, before its next checkpoint: what the second part wrote is dropped too.
    go_on(TensorboardTracker(broken, {}, position))
    assert scalars(broken) == scalars(whole)
    assert len(list(broken.glob(FILES))) == 2


def test_event_files_that_are_shorter_than_the_checkpoint_or_links_are_refused(
    tmp_path: Path,
) -> None:
    precious, folder = tmp_path / "precious.txt", tmp_path / "run"
    precious.write_text("mine, and longer")
    tracker = TensorboardTracker(folder, {})
    position = tracker.position()
    tracker.close()
    (file,) = folder.glob(FILES)
    os.truncate(file, 3)
    with pytest.raises(DataError, match="has 3 bytes, but had"):
        TensorboardTracker(folder, {}, position)
    file.unlink()
    file.symlink_to(precious)
    with pytest.raises(DataError, match="is a link, pipe or folder"):
        TensorboardTracker(folder, {}, {"files": {file.name: 4}})
    with pytest.raises(DataError, match="has 0 bytes, but had 4"):
        TensorboardTracker(folder, {}, {"files": {"../precious.txt": 4}})
    assert precious.read_text() == "mine, and longer"


# One of the user's own


class Counting(Tracker):
    """Fails at a number."""

    def __init__(self, failing: float, position: object = None) -> None:
        self.failing, self.numbers, self.given = failing, list[float](), position

    def log(self, metrics: Mapping[str, float]) -> None:
        for value in metrics.values():
            if value == self.failing:
                os.chdir("/")
                raise KeyError("no such number")
            self.numbers.append(value)

    def position(self) -> Any:
        return {"n": len(self.numbers)} if self.given is None else self.given


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]


def test_a_tracker_that_fails_costs_a_warning_and_no_run(caplog: pytest.LogCaptureFixture) -> None:
    mine, folder = Counting(3.0), Path.cwd()
    guarded = GuardedTracker("./mine.py:Mine", lambda: mine)
    for value in (1.0, 2.0):
        guarded.log({"user/a": value})
    assert guarded.position() == {"n": 2}
    for value in (3.0, 4.0):
        guarded.log({"user/a": value})
    assert mine.numbers == [1.0, 2.0]
    assert guarded.position() == {"n": 2}
    guarded.close()
    assert Path.cwd() == folder
    moved, failed = warnings_of(caplog)
    assert moved.startswith("tracker './mine.py:Mine' changed the working directory")
    assert failed.startswith(
        "tracker './mine.py:Mine' failed in log and is off from here; the run goes on (KeyError:"
        " 'no such number' ("
    )


def test_a_tracker_that_cannot_be_made_keeps_its_position(caplog: pytest.LogCaptureFixture) -> None:
    def make() -> Tracker:
        raise ConnectionError("the server is away")

    guarded = GuardedTracker("mine", make, {"n": 3})
    guarded.log({"user/a": 1.0})
    assert guarded.position() == {"n": 3}
    (warning,) = warnings_of(caplog)
    assert "failed in build" in warning


@pytest.mark.parametrize("position", [{"file": Path("x")}, None.__class__, [1, 2]])
def test_a_position_that_no_checkpoint_can_hold_turns_the_tracker_off(
    position: object, caplog: pytest.LogCaptureFixture
) -> None:
    guarded = GuardedTracker("mine", lambda: Counting(9.0, position))
    assert guarded.position() == {}
    (warning,) = warnings_of(caplog)
    assert "failed in position" in warning


def test_everything_reaches_a_tracker_of_the_users_own() -> None:
    calls = []

    class Listening(Tracker):
        def __getattribute__(self, name: str) -> Any:
            if name.startswith("_"):
                return super().__getattribute__(name)
            return lambda *arguments: calls.append((name, *arguments))

    guarded = GuardedTracker("mine", Listening)
    rows: Sequence[Mapping[str, object]] = [{"step": 1, "phase": "game", "text": "a"}]
    guarded.samples(rows)
    guarded.histograms({"user/a": HISTOGRAM}, {"global_step": 1})
    guarded.checkpoint(Path("best"), ("best",), {})
    guarded.alert("title", "text")
    guarded.line("pretrain 1/2")
    guarded.results(ENDING)
    guarded.close(3)
    assert calls == [
        ("samples", rows),
        ("histograms", {"user/a": HISTOGRAM}, {"global_step": 1}),
        ("checkpoint", Path("best"), ("best",), {}),
        ("alert", "title", "text"),
        ("line", "pretrain 1/2"),
        ("results", ENDING),
        ("close", 3),
    ]
