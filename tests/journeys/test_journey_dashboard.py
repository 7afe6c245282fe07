"""A dashboard person: the offline record of wandb, other trackers, and a dashboard as code."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from typed import SMALL, Shown, captions, typed
from wandb_records import history, inspect, summary, the_run, wandb_runs

pytestmark = pytest.mark.slow

TRAIN = f"seqgan train captions.txt --epochs 2 --output runs/captions {SMALL}"
RUN = Path("runs/captions")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("dashboard")
    (place / "captions.txt").write_text(captions(), encoding="utf-8")
    return place


@pytest.fixture(scope="module")
def trained(folder: Path) -> Shown:
    trackers = ["wandb", *["tensorboard"] * bool(find_spec("tensorboard")), "csv"]
    shown = typed(f"{TRAIN} --trackers {' '.join(trackers)}", folder)
    assert shown.code == 0, shown.text
    return shown


def test_a_tracker_that_is_none_is_answered(folder: Path) -> None:
    shown = typed("seqgan train captions.txt --trackers wand", folder)
    assert shown.code == 2
    assert all(word in shown.said for word in ("wand", "wandb", "tensorboard", "csv"))


def test_the_terminal_says_where_the_record_is(trained: Shown, folder: Path) -> None:
    (offline,) = wandb_runs(folder / RUN)
    assert f"wandb run, offline: {offline.relative_to(folder)}" in trained.said


def test_the_record_has_the_name_the_verdict_and_the_pictures(trained: Shown, folder: Path) -> None:
    (offline,) = wandb_runs(folder / RUN)
    assert the_run(folder / RUN)["display_name"] == "captions"
    last = summary(offline)
    assert any("verdict" in name for name in last), sorted(last)
    names = {name for row in history(inspect(offline)) for name in row}
    assert "eval/bleu_4" in names
    media = [path.name for path in (offline / "files" / "media").rglob("*") if path.is_file()]
    assert any(name.endswith(".png") for name in media)
    assert any(name.endswith(".html") for name in media)
    log = (offline / "files" / "output.log").read_text(encoding="utf-8")
    assert "adversarial game" in log


def test_the_other_trackers_wrote_their_files(trained: Shown, folder: Path) -> None:
    files = [path.name for path in (folder / RUN).rglob("*") if path.is_file()]
    assert any(name.endswith(".csv") for name in files)
    if find_spec("tensorboard"):
        assert any("tfevents" in name for name in files)


def test_the_dashboard_is_written_or_its_extra_is_named(trained: Shown, folder: Path) -> None:
    shown = typed("seqgan dashboard runs/captions", folder)
    if find_spec("wandb_workspaces"):
        assert shown.code == 0, shown.text
        assert "runs/captions" in shown.said
        written = (folder / RUN / "dashboard.json").read_text(encoding="utf-8")
        (heads,) = (line for line in trained.lines if line.split()[:2] == ["MLE", "MLE"])
        columns = re.split(" {2,}", heads.strip())
        assert len(columns) > 3
        assert f"| {' | '.join(columns)} |" in written  # the table that the terminal showed
    else:
        assert (shown.code, "seqgan[dashboards]" in shown.said) == (2, True)
