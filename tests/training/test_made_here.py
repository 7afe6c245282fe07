"""A user's own runs need no trust again; a folder that pretends to be one of them does."""

import json
import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_runs import TINY, toy_task

from seqgan.system.errors import ConfigurationError
from seqgan.training.made_here import FOLDER, trust_flag
from seqgan.training.run_folders import create_run
from seqgan.training.runs import open_run
from seqgan.training.trust import TRAINING

CODE = "def judge(text, weight=1.0):\n    return weight\n"
RUN = Path("run")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's state directory; the working directory has a run with a reward in a file."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    Path("mine.py").write_text(CODE)
    made("run")
    return tmp_path / "state" / FOLDER


def made(output: str, reward: str = "./mine.py:judge") -> None:
    create_run(replace(TINY, reward=(reward,), output=output), toy_task())


def opened(folder: Path = RUN) -> tuple[str, ...]:
    return open_run(folder, runs=TRAINING)[1].reward


def assert_refused(folder: Path = RUN) -> None:
    with pytest.raises(ConfigurationError, match="names code that would run here"):
        opened(folder)
    assert trust_flag(folder / "config.yaml") == " --trust-run-code"


def test_a_run_that_one_has_made_goes_on(state: Path) -> None:
    assert opened() == ("./mine.py:judge",)
    assert trust_flag(RUN / "config.yaml") == ""
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert len(list(state.iterdir())) == 1
    RUN.rename("moved")
    assert opened(Path("moved")) == ("./mine.py:judge",)


def test_another_user_has_to_trust_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "theirs"))
    assert_refused()


def test_a_run_without_code_leaves_no_record(state: Path) -> None:
    made("plain", "constant")
    assert len(list(state.iterdir())) == 1
    assert trust_flag(Path("plain/config.yaml")) == ""


def test_code_of_a_module_is_asked_about_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(os.getcwd())
    made("module", "mine:judge")
    assert_refused(Path("module"))


def change(old: str, new: str) -> None:
    text = Path("run/config.yaml").read_text()
    assert old in text
    Path("run/config.yaml").write_text(text.replace(old, new))


def claim_moved() -> None:
    """Lets the folder say that the reward lies in it now, with the same content."""
    shutil.copy("mine.py", "run/mine.py")
    Path("mine.py").unlink()
    plain = json.loads(Path("run/task.json").read_text())
    (record,) = [each for each in plain["inputs"] if each["setting"] == "reward"]
    record |= {"absolute": "/gone", "beside": "mine.py"}
    Path("run/task.json").write_text(json.dumps(plain))


FORGED = {
    "its code has changed": lambda: Path("mine.py").write_text(CODE + "# evil\n"),
    "its code is gone": lambda: Path("mine.py").unlink(),
    "another function of the file": lambda: change("py:judge", "py:other"),
    "another argument": lambda: change("py:judge", "py:judge(weight=2.0)"),
    "another file": lambda: (shutil.copy("mine.py", "evil.py"), change("mine.py", "evil.py")),
    "a module": lambda: change("./mine.py:judge", "os:system(command='true')"),
    "another setting": lambda: change("seed: ", "seed: 1"),
    "code in another slot": lambda: change("kind: lstm", "kind: ./mine.py:judge"),
    "the same code in the folder": claim_moved,
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_a_forged_folder_has_to_be_trusted(forge: Callable[[], object]) -> None:
    forge()
    assert_refused()


def test_the_same_names_somewhere_else_are_other_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of the run beside a file of the same name, which has other content."""
    shutil.copytree("run", tmp_path / "theirs/run")
    (tmp_path / "theirs/mine.py").write_text("raise SystemExit\n")
    Path("mine.py").unlink()
    monkeypatch.chdir(tmp_path / "theirs")
    assert_refused()


def test_a_record_in_the_folder_itself_is_none(
    state: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(state.parents[1], "run/state")
    shutil.copytree(state, RUN / FOLDER)
    monkeypatch.setenv("XDG_STATE_HOME", "run/state")  # a relative one does not count
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert_refused()


def test_a_record_of_another_user_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """As root has that of the user who called it, with the same home."""
    mine = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: mine + 1)
    assert_refused()


def test_a_link_in_the_place_of_a_record_is_none(state: Path) -> None:
    (record,) = state.iterdir()
    record.rename(state / "other")
    record.symlink_to("other")
    assert_refused()


def test_a_user_without_a_home_has_no_records(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home that is not absolute would lie in the working directory, which somebody may send."""
    shutil.copytree(state.parents[1], ".local/state")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", ".")
    assert_refused()
    made("second")
    assert_refused(Path("second"))


def test_without_a_state_directory_a_run_is_made_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", os.devnull)
    made("second")
    assert_refused(Path("second"))
