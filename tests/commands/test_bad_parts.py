"""Parts of the user's own that are wrong: one line says so, and no run's folder is left behind."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from seqgan.commands.train import run
from seqgan.learning.rules.base import LearningRule
from seqgan.models.discriminators.base import Discriminator
from seqgan.models.generators.base import Generator
from seqgan.system.errors import ConfigurationError, SeqganError
from seqgan.tasks.base import Task
from seqgan.training.slots import built, settings_class

PARTS = """
import enum
from dataclasses import dataclass

from seqgan.learning.rules.policy_gradient import PolicyGradientConfig
from seqgan.training.observers import Observer


@dataclass(frozen=True)
class Refuses:
    def build(self, *given):
        raise ValueError("width is 3, but must be even")


@dataclass(frozen=True)
class Broken:
    def build(self, *given):
        return {}["width"]


@dataclass(frozen=True)
class Nothing:
    def build(self, *given):
        return None


class Color(enum.Enum):
    RED = 1


@dataclass(frozen=True)
class Colored:
    color: Color = Color.RED

    def build(self, players):
        return PolicyGradientConfig(num_rollouts=0).build(players)


@dataclass(frozen=True)
class Unreadable:
    width: "Nowhere" = 1

    def build(self, players):
        return None


def refuses(players, config):
    raise ValueError("width is 3, but must be even")


class Counting(Observer):
    name = "counting"

    def state_dict(self):
        return {"count": 1}


class Alerting(Counting):
    name = "alerts"


def of_two(phase, metrics):
    return {}


def not_named(phase, metrics, players):
    return 3
"""
SMALL = (
    "captions --task.train-size 40 --task.dev-size 20 --task.test-size 20 --pretrain.epochs 1"
    " --generator.hidden-size 8 --generator.embedding-size 4 --discriminator.hidden-size 4"
    " --evaluation.num-samples 20 --evaluation.num-heldout 2 --tracker.mode disabled --output run"
).split()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "parts.py").write_text(PARTS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("slot", "part"),
    [
        ("task", Task),
        ("generator", Generator),
        ("discriminator", Discriminator),
        ("rule", LearningRule),
    ],
)
def test_settings_in_a_slot_that_refuse_or_build_something_else(slot: str, part: type) -> None:
    for name, message in (
        (
            "Refuses",
            rf"^{slot} '.*:Refuses': ValueError: width is 3, but must be even \(.*, line \d+\)$",
        ),
        (
            "Nothing",
            (
                rf"^{slot} '.*:Nothing': its method build gives None.*, but must give a"
                rf" {part.__name__}"
            ),
        ),
    ):
        settings = settings_class(slot, f"./parts.py:{name}")()
        with pytest.raises(ConfigurationError, match=message):
            built(slot, settings, part, given=None)
    with pytest.raises(KeyError, match="width"):  # a bug keeps its traceback
        built(slot, settings_class(slot, "./parts.py:Broken")(), part, given=None)
    with pytest.raises(
        ConfigurationError, match=f"^{slot} is .* must be settings with a method build"
    ):
        built(slot, "mine", part, given=None)


def test_a_field_whose_type_cannot_be_read() -> None:
    with pytest.raises(
        ConfigurationError, match="the types of its fields cannot be read: NameError: name 'Now"
    ):
        settings_class("rule", "./parts.py:Unreadable")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            "--phases ./parts.py:refuses",
            "phase './parts.py:refuses': ValueError: width is 3, but must be even",
        ),
        ("--phases", "phases is empty, but must name at least one phase"),
        ("--observers ./parts.py:Refuses", "observer './parts.py:Refuses': ValueError: width"),
        ("--observers ./parts.py:of_two", "cannot be called with (phase, metrics, players)"),
        (
            "--observers ./parts.py:Alerting",
            "two observers with a state are called 'alerts', but their names must be distinct",
        ),
        ("--observers ./parts.py:Counting ./parts.py:Counting()", "are called 'counting', but"),
        (
            "--rule ./parts.py:Colored",
            (
                "settings can hold no <Color.RED: 1>: they are numbers, strings, lists and"
                " mappings, which a file can hold"
            ),
        ),
    ],
)
def test_a_wrong_part_is_refused_before_there_is_a_folder(
    folder: Path, flags: str, message: str
) -> None:
    with pytest.raises(SeqganError, match=re.escape(message)) as refused:
        run([*SMALL, *flags.split()])
    assert "\n" not in str(refused.value)
    assert not (folder / "run").exists()


def test_an_observer_that_gives_no_metrics_ends_the_run_with_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run([*SMALL, "--observers", "./parts.py:not_named"]) == 1
    message = (
        "observer './parts.py:not_named' gives 3, but must give metrics by their names, or None"
    )
    assert message in capsys.readouterr().err


UNTYPED = """
from seqgan import train
from seqgan.tracking.base import MemoryTracker, Trackers

memory = MemoryTracker()
for call in (
    lambda: train(phases="game"),
    lambda: train(observers="./mine.py:watch"),
    lambda: train(**{"evaluation.measures": "./mine.py:length"}),
    lambda: Trackers({"memory": memory}).log({"user/x": "three"}),
):
    try:
        call()
    except ValueError as error:
        print(f"{type(error).__name__}: {error}")
assert memory.logged == []
"""


@pytest.mark.slow
def test_wrong_types_in_python() -> None:
    """In a process of its own, in which no test checks types."""
    done = subprocess.run(
        [sys.executable, "-c", UNTYPED], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "ConfigurationError: phases is the string 'game', but must be a tuple of names",
        (
            "ConfigurationError: observers is the string './mine.py:watch', but must be a"
            " tuple of names"
        ),
        "ConfigurationError: evaluation.measures is the string './mine.py:length', but must be a"
        " tuple of names",
        "ConfigurationError: metric 'user/x' is of type str, but must be a float or an int",
    ]
