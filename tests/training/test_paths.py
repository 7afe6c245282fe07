"""Paths as people give them: `~` is the home folder wherever no shell has replaced it."""

from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from seqgan.commands.given import configuration
from seqgan.commands.parsing import given_path
from seqgan.judging.sources import parse_file, parse_run
from seqgan.rewards.shipped.texts import toxicity
from seqgan.system.errors import ConfigurationError
from seqgan.tasks.files.prompts import PromptsConfig
from seqgan.tasks.files.text import TextConfig
from seqgan.tasks.oracle import OracleConfig
from seqgan.training.config_files import load_config, save_config
from seqgan.training.run_folders import create_run
from seqgan.training.settings import TrainConfig
from seqgan.training.slots import SLOTS, settings_class

# Fields of settings that are paths by their names, in whatever slot.
PATHS = ("path", "tokenizer", "cache", "output")


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")


def path_fields(chosen: type) -> list[str]:
    return [item.name for item in fields(chosen) if item.name in PATHS]


def slot_kinds() -> list[tuple[str, str]]:
    return [(slot, kind) for slot, kinds in SLOTS.items() for kind in kinds]


@pytest.mark.parametrize(("slot", "kind"), slot_kinds())
def test_every_path_of_the_settings_begins_at_home(slot: str, kind: str) -> None:
    chosen = settings_class(slot, kind)
    assert is_dataclass(chosen)
    for name in path_fields(chosen):
        settings: Any = chosen(**{name: "~/texts/a.txt"})
        assert getattr(settings, name) == "/home/ada/texts/a.txt"


def test_by_flag_and_in_a_file(tmp_path: Path) -> None:
    flags = ["text", "--task.path=~/a.txt", "--output=~/runs/x"]
    config = configuration(flags)
    assert isinstance(config.task, TextConfig)
    assert (config.task.path, config.output) == ("/home/ada/a.txt", "/home/ada/runs/x")
    path = tmp_path / "config.yaml"
    path.write_text("task: {kind: prompts, path: ~/p.jsonl}\noutput: ~/runs/y\n")
    read = load_config(path)
    assert isinstance(read.task, PromptsConfig)
    assert (read.task.path, read.output) == ("/home/ada/p.jsonl", "/home/ada/runs/y")


def test_of_the_other_commands() -> None:
    assert given_path("~/runs/x") == Path("/home/ada/runs/x")
    assert parse_run("~/runs/x").folder == Path("/home/ada/runs/x")
    assert parse_run("mine=~/runs/x:pretrained@0.8").folder == Path("/home/ada/runs/x")
    assert parse_file("mine=~/a.txt").path == Path("/home/ada/a.txt")


def test_of_a_reward(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "words.txt").write_text("damn\n")
    assert toxicity("~/words.txt").penalty == -1.0


@pytest.mark.parametrize("path", ["a~b.txt", "./~/a.txt", "runs/~x", "~nobody_of_that_name/x", ""])
def test_any_other_tilde_is_part_of_a_name(path: str) -> None:
    assert TextConfig(path=path).path == path


@pytest.mark.parametrize(
    "name",
    [
        "caf\udce9.txt",
        "cost_$\\frac$",
        ":fire:",
        "[bold]x",
        "a b",
        "50%",
        "{x}",
        "a\nb",
        "'\"",
        "#1",
    ],
)
def test_a_name_is_the_same_when_it_is_read_again(name: str, tmp_path: Path) -> None:
    config = TrainConfig(task=TextConfig(path=name), output=name)
    save_config(config, tmp_path / "config.yaml")
    read = load_config(tmp_path / "config.yaml")
    assert isinstance(read.task, TextConfig)
    assert (read.task.path, read.output) == (name, name)


def test_runs_that_nobody_named_begin_in_one_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("seqgan.training.run_folders.time.strftime", lambda form: "20260101-120000")
    settings = OracleConfig(vocabulary_size=4, train_size=8, dev_size=4, test_size=4, max_length=3)
    config = TrainConfig(task=settings)
    task = settings.build(config.generator)
    made = [create_run(config, task).path for _ in range(3)]
    name = "runs/oracle-20260101-120000"
    assert [str(path) for path in made] == [name, f"{name}-2", f"{name}-3"]
    with pytest.raises(ConfigurationError, match="exists already"):
        create_run(config.with_(output=name), task)
