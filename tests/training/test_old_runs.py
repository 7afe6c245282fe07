"""Runs of version 0.1.0: resumed, forked, sampled, measured and shown by this one.

The run in `fixtures/run-0.1.0` was stopped after its second of four iterations. Version 0.1.0 went
on from there to the weights and measurements that stand here.
"""

import json
import shutil
from pathlib import Path

import pytest
import torch
from tiny_commands import run

from seqgan.commands.given import configuration
from seqgan.training.checkpoints import load_checkpoint
from seqgan.training.config_files import load_config
from seqgan.training.moved import MOVED, present_flags, present_name, present_settings

OLD = Path(__file__).parents[1] / "fixtures" / "run-0.1.0"
# Of the weights in a row: how many, their sum, that of their sizes, and that of weight times place.
GENERATOR = (214, -7.191906868014485, 69.76716249948367, -216.63423167029396)
DISCRIMINATOR = (178, -6.106633696705103, 54.24007152765989, -302.45632954407483)
FINAL = {"eval/entropy": 1.7424792098999022, "eval/nll_heldout": 1.640100860595703}

pytestmark = pytest.mark.slow


@pytest.fixture
def old(tmp_path: Path) -> Path:
    return Path(shutil.copytree(OLD, tmp_path / "run"))


def numbers_of(weights: dict[str, torch.Tensor]) -> tuple[float, ...]:
    row = torch.cat([weights[name].double().flatten() for name in sorted(weights)])
    places = torch.arange(1, len(row) + 1)
    return (len(row), float(row.sum()), float(row.abs().sum()), float((row * places).sum()))


def test_it_ends_where_version_0_1_0_ended(old: Path) -> None:
    assert run("train", "--resume", old) == 0
    path, state = load_checkpoint(old / "checkpoints")
    assert path.name == "00000007"
    assert numbers_of(state["players"]["generator"]) == pytest.approx(GENERATOR, rel=1e-5)
    judge = state["players"]["rewards"]["discriminator"]["module"]
    assert numbers_of(judge) == pytest.approx(DISCRIMINATOR, rel=1e-5)
    final = json.loads((old / "results.json").read_text())["final"]
    assert {name: final[name] for name in FINAL} == pytest.approx(FINAL, rel=1e-5)
    rows = [json.loads(line) for line in (old / "metrics.jsonl").read_text().splitlines()]
    assert [row["iteration"] for row in rows if "iteration" in row] == [0, 1, 2, 3, 4]


def test_it_can_be_forked(old: Path, tmp_path: Path) -> None:
    flags = ("--adversarial.iterations", "3", "--adversarial.kl-weight", "0.5")
    assert run("train", "--fork", old, "--output", tmp_path / "fork", *flags) == 0
    assert load_config(tmp_path / "fork" / "config.yaml").rule.kl_weight == 0.5
    _, state = load_checkpoint(tmp_path / "fork" / "checkpoints")
    assert state["phases"]["game"]["iterations"] == 3


def test_it_can_be_sampled_measured_and_shown(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("sample", old, "-n", "3") == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert run("evaluate", old, "-n", "40") == 0
    assert "nll" in capsys.readouterr().out.lower()
    assert run("report", old) == 0


def test_its_settings_are_read_into_their_places() -> None:
    config = load_config(OLD / "config.yaml")
    rule = config.rule
    assert (rule.learning_rate, rule.num_rollouts, rule.rollout_decay) == (0.002, 1, 0.5)
    assert (rule.kl_weight, rule.kl_target) == (0.05, 0.01)
    assert (rule.baseline, rule.aggregation) == ("moving_average", "sum_then_normalize")
    assert (config.adversarial.iterations, config.adversarial.batch_size) == (4, 4)


@pytest.mark.parametrize(("old_name", "name"), sorted(MOVED.items()))
def test_a_flag_of_an_old_name_is_understood(old_name: str, name: str) -> None:
    assert present_name(old_name) == name
    flags, present = (f"--{each.replace('_', '-')}" for each in (old_name, name))
    assert present_flags([flags, "1"]) == [present, "1"]
    assert present_flags([f"--{old_name}=1"]) == [f"{present}=1"]
    assert present_flags([present, "1"]) == [present, "1"]


def test_a_setting_that_stands_in_both_places_keeps_the_present_one() -> None:
    plain = {"adversarial": {"kl_weight": 0.3, "iterations": 5}, "rule": {"kl_weight": 0.2}}
    assert present_settings(plain) == {
        "adversarial": {"iterations": 5},
        "rule": {"kl_weight": 0.2},
    }
    assert plain["adversarial"] == {"kl_weight": 0.3, "iterations": 5}


def test_a_run_starts_with_flags_of_old_names() -> None:
    config = configuration(["captions", "--adversarial.kl-weight", "0.25"])
    assert config.rule.kl_weight == 0.25
