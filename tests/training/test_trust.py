"""Code that a file names runs only where a person has said so."""

import json
import logging
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import yaml

from seqgan import cli, load
from seqgan.learning.rules.policy_gradient import PolicyGradientConfig
from seqgan.system import plugins
from seqgan.system.errors import ConfigurationError
from seqgan.system.files import digest_of
from seqgan.training.config_files import load_config
from seqgan.training.runs import open_run
from seqgan.training.slots import settings_class
from seqgan.training.trust import TRAINING, VARIABLE, code_in_flags

OLD = Path(__file__).parents[1] / "fixtures" / "run-0.1.0"
CODE = """
from pathlib import Path
Path("it-ran").touch()

def judge(text):
    return 0.0
"""
PLACES = ("task", "generator", "discriminator", "rule")
LISTS = ("reward", "phases", "observers")
FLAGS = ["--output", "made"]

pytestmark = pytest.mark.usefixtures("process_as_before")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory with a received run, and code that leaves a trace where it runs."""
    (tmp_path / "evil.py").write_text(CODE, encoding="utf-8")
    shutil.copytree(OLD, tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if "evil" in name:
            del sys.modules[name]


def change(**settings: Any) -> None:
    path = Path("run/config.yaml")
    plain = yaml.safe_load(path.read_text()) | settings
    path.write_text(yaml.safe_dump(plain))


def drop(name: str) -> None:
    path = Path("run/config.yaml")
    plain = yaml.safe_load(path.read_text())
    del plain[name]
    path.write_text(yaml.safe_dump(plain))


def said(capsys: pytest.CaptureFixture[str], *command: str, code: int = 2) -> str:
    with pytest.raises(SystemExit) as stop:
        cli.main(list(command))
    printed = capsys.readouterr().err
    assert stop.value.code == code, printed
    return printed


def assert_refused(capsys: pytest.CaptureFixture[str], named: str, *command: str) -> None:
    printed = said(capsys, *command)
    assert len(printed.splitlines()) == 1
    assert f"names code that would run here: {named}; once" in printed
    assert "--trust-run-code" in printed
    assert not Path("it-ran").exists()


OPENING = (
    ("sample", "run"),
    ("evaluate", "run", "-n", "20"),
    ("frontier", "run", "-n", "20"),
    ("export", "run"),
    ("judge", "prepare", "run", "run:pretrained", "--output", "study"),
    ("train", "--resume", "run"),
    ("train", "--fork", "run", *FLAGS),
    ("train", "--config", "run/config.yaml", *FLAGS),
    ("train", "captions", "--reward", "fluency(run='run')", *FLAGS),
)


@pytest.mark.parametrize(
    "command", [*OPENING[:-1], pytest.param(OPENING[-1], marks=pytest.mark.slow)], ids=" ".join
)
@pytest.mark.parametrize("slot", PLACES)
def test_no_command_imports_the_class_of_a_slot(
    folder: Path, capsys: pytest.CaptureFixture[str], slot: str, command: tuple[str, ...]
) -> None:
    change(**{slot: {"kind": "./evil.py:Config"}})
    assert_refused(capsys, f"{slot} {folder}/evil.py:Config", *command)


@pytest.mark.parametrize("command", [("--resume", "run"), ("--fork", "run", *FLAGS)])
@pytest.mark.parametrize("setting", LISTS)
def test_training_imports_nothing_of_a_list(
    folder: Path, capsys: pytest.CaptureFixture[str], setting: str, command: tuple[str, ...]
) -> None:
    change(**{setting: ["./evil.py:judge(a=1)"]})
    assert_refused(capsys, f"{setting} {folder}/evil.py:judge", "train", *command)


def test_a_measure_is_not_imported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(evaluation={"measures": ["evil:judge", f"{folder}/evil.py:judge"]})
    named = f"evaluation.measures evil:judge, evaluation.measures {folder}/evil.py:judge"
    assert_refused(capsys, named, "evaluate", "run", "-n", "20")
    with pytest.raises(ConfigurationError, match="names code that would run here"):
        load("run")


@pytest.mark.parametrize(
    "spec",
    [
        "os:system(command='touch it-ran')",
        "seqgan.system.machine:subprocess.run(args=['touch', 'it-ran'])",
        "seqgan.system.plugins:make(text='./evil.py:judge', what='x', shipped={})",
        "seqgan.training.runs:trusting_fluency(run='run')",
    ],
)
def test_other_names_of_modules_are_code_too(capsys: pytest.CaptureFixture[str], spec: str) -> None:
    change(reward=[spec])
    assert_refused(capsys, f"reward {spec.partition('(')[0]}", "train", "--resume", "run")


def test_commands_that_would_run_none_of_it_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    change(reward=["./evil.py:judge"], phases=["evil:Phase"], evaluation={"measures": ["evil:x"]})
    said(capsys, "sample", "run", "-n", "1", code=0)
    assert not Path("it-ran").exists()


def claim(setting: str, path: str, code: str) -> None:
    """Lets the run say that an input of a setting was, and is, a file in its folder."""
    shutil.copy("evil.py", f"run/{code}")
    plain = json.loads(Path("run/task.json").read_text())
    plain["inputs"] = [
        {"setting": setting, "path": path, "absolute": "/gone", "beside": code, "stamp": ""}
        | {"files": {"": digest_of(Path("evil.py"))}, "num_bytes": 1}
    ]
    Path("run/task.json").write_text(json.dumps(plain))


@pytest.mark.parametrize("command", [("--resume", "run"), ("--fork", "run", *FLAGS)])
def test_a_record_of_moved_inputs_turns_no_name_into_code(
    capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    change(reward=["seqgan.rewards.shipped.length:Length"])
    claim("reward", "seqgan.rewards.shipped.length", "e.py")
    printed = said(capsys, "train", *command)
    assert "missing a required argument: 'target'" in printed  # seqgan's own class has one
    assert not Path("it-ran").exists()


def test_code_that_has_moved_is_named_where_it_would_run(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "mine.py").write_text("def judge(text):\n    return 1.0\n")
    change(reward=["./mine.py:judge"])
    claim("reward", "./mine.py", "e.py")
    printed = said(capsys, "train", "--resume", "run")
    assert f"names code that would run here: reward {folder}/run/e.py:judge; once" in printed
    with pytest.raises(SystemExit):  # the command line names the person's own file, and no other
        cli.main(["train", "--resume", "run", "--reward", "./mine.py:judge"])
    assert (
        "reward of run, has another content than when the run was made" in capsys.readouterr().err
    )
    assert not Path("it-ran").exists()


def test_code_that_the_command_line_names_runs(folder: Path) -> None:
    path = folder / "run/config.yaml"
    change(reward=["./evil.py:judge"], rule={"kind": "evil:Rule"})
    flags = ["--reward", "constant", "--rule=policy_gradient"]
    replaced = load_config(path, runs=TRAINING, flags=flags)
    assert replaced.rule == PolicyGradientConfig()
    assert not (folder / "it-ran").exists()
    with pytest.raises(ConfigurationError, match=r"run here: rule evil:Rule; once"):
        load_config(path, runs=TRAINING, flags=flags[:2])
    change(rule={"kind": f"{folder}/parts.py:Rule", "width": 3}, adversarial={})
    drop("reward_aggregation")
    (folder / "parts.py").write_text(
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass Rule:\n"
        "    width: int = 1\n    def build(self, players): ...\n"
    )
    again = load_config(path, runs=TRAINING, flags=["--rule", "./parts.py:Rule", "--reward=x"])
    assert vars(again.rule) == {"width": 3}  # named again: the file's other fields stay


def test_a_name_of_seqgans_own_makes_nothing_importable() -> None:
    before = [*sys.path]
    settings_class("task", "seqgan.tasks.captions:CaptionsConfig")
    assert sys.path == before


def test_a_fork_lies_where_its_command_says() -> None:
    change(output="../elsewhere")
    assert open_run(Path("run"))[1].output == ""


def test_the_flag_and_the_variable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    change(reward=["./evil.py:judge"])
    path = folder / "run/config.yaml"
    assert load_config(path, True, TRAINING).reward == ("./evil.py:judge",)
    monkeypatch.setenv(VARIABLE, "1")
    assert load_config(path, runs=TRAINING).reward == ("./evil.py:judge",)
    monkeypatch.setenv(VARIABLE, "0")
    with pytest.raises(ConfigurationError, match="names code"):
        load_config(path, runs=TRAINING)


def test_code_among_flags() -> None:
    flags = ["captions", "--reward", "length", "a:f", "--observers=b.c:g", "--task.kind", "d:T"]
    found = {"reward": ["a:f"], "observers": ["b.c:g"], "task": ["d:T"]}
    assert code_in_flags(flags) == found
    assert code_in_flags(["--evaluation.measures", "a:f", "--seed", "3"]) == {
        "evaluation.measures": ["a:f"]
    }


SWEEP = {
    "method": "grid",
    "metric": {"name": "eval/nll_heldout"},
    "parameters": {"seed": {"values": [1, 2]}},
    "command": ["seqgan", "train", "oracle", "${args}"],
}


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        (
            {"parameters": {"reward": {"values": ["constant", "./evil.py:f"]}}},
            "reward {}/evil.py:f",
        ),
        ({"parameters": {"rule": {"values": ["policy_gradient", "evil:R"]}}}, "rule evil:R"),
        (
            {"command": ["seqgan", "train", "oracle", "--phases", "evil:P", "${args}"]},
            "phases evil:P",
        ),
        ({"command": ["seqgan", "train", "--config", "run/config.yaml", "${args}"]}, "task evil:T"),
    ],
)
def test_a_sweep_file_runs_no_code(
    folder: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], named: str
) -> None:
    pytest.importorskip("optuna")
    change(task={"kind": "evil:T"})
    (folder / "sweep.yaml").write_text(yaml.safe_dump(SWEEP | changes))
    assert_refused(capsys, named.format(folder), "sweep", "sweep.yaml", "--output", "made")
    assert not (folder / "made").exists()


@pytest.mark.parametrize("word", ["--trust-run-code", "--trust_run_code", "--resume=run"])
def test_a_sweep_file_cannot_trust_itself(
    folder: Path, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    pytest.importorskip("optuna")
    command = {"command": ["seqgan", "train", "oracle", word, "${args}"]}
    (folder / "sweep.yaml").write_text(yaml.safe_dump(SWEEP | command))
    printed = said(capsys, "sweep", "sweep.yaml", "--output", "made")
    assert (
        f"{word.partition('=')[0]} is given, but a trial has its own folder and is trained"
        in printed
    )


@pytest.mark.parametrize("declared", ["length", "true-likelihood", "discriminator"])
def test_a_shipped_name_that_a_package_declares_too_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, declared: str
) -> None:
    entry = EntryPoint(declared, "theirs:Judge", "seqgan.rewards")
    monkeypatch.setattr(plugins, "entry_points", lambda group: [entry])
    with caplog.at_level(logging.WARNING):
        plugins.tell_shadowed(declared.replace("-", "_"), "reward", "seqgan.rewards")
    name = declared.replace("-", "_")
    (record,) = caplog.records
    assert record.getMessage() == (
        f"reward {name} is seqgan's own; that of the package theirs:Judge is theirs:Judge"
    )
