"""`seqgan sweep`: its errors, and sweeps of real runs."""

import builtins
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from locked_folders import locked_elsewhere
from tiny_commands import run

from seqgan.commands.sweep import check_flags
from seqgan.sweeps.reading import read_sweep

SMALL = """
    --task.train-size 60 --task.dev-size 20 --task.test-size 20 --generator.hidden-size 8
    --generator.embedding-size 8 --discriminator.embedding-size 4 --discriminator.hidden-size 4
    --pretrain.epochs 1 --discriminator-training.pretrain-rounds 1
    --discriminator-training.num-sequences 16 --adversarial.iterations 2
    --adversarial.batch-size 4 --rule.num-rollouts 1 --evaluation.every 1
    --evaluation.num-samples 20 --evaluation.num-final 20 --evaluation.num-heldout 10
    --evaluation.num-shown 1 --evaluation.temperatures 1.0 0.8
""".split()
FILES = sorted((Path(__file__).parents[2] / "experiments" / "sweeps").glob("*.yaml"))


def write_sweep(path: Path, **given: Any) -> Path:
    plain = {
        "name": "tiny",
        "project": "tried",
        "method": "grid",
        "metric": {"name": "eval/nll_heldout"},
        "command": ["${env}", "seqgan", "train", "captions", "${args}"],
        "parameters": {"rule.kl_weight": {"values": [0.25, 0.75]}, "seed": {"value": 3}},
    }
    path.write_text(yaml.safe_dump(plain | given))
    return path


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_a_shipped_file_has_flags_that_training_takes(path: Path) -> None:
    check_flags(read_sweep(path), [], path)


@pytest.mark.parametrize(
    ("given", "arguments", "message"),
    [
        ({}, ("--jobs", "0"), "--jobs is 0, but must be at least 1"),
        ({}, ("--runs", "-1"), "--runs is -1, but must be at least 1"),
        ({}, ("--seed", "-1"), "--seed is -1, but must be from 0 to 2**63 - 1"),
        ({}, ("--resume", "there"), "nothing to sweep: give a file, or --resume FOLDER"),
        (
            {"method": "random"},
            (),
            "the random sweep would never end: give run_cap in its file, or --runs",
        ),
        ({"metod": "random"}, (), "unknown key metod; did you mean method"),
        (
            {"parameters": {"rule.klweight": {"values": [1, 2]}}},
            (),
            "unknown flag --rule.klweight=1; did you mean --rule.kl-",
        ),
        (
            {"parameters": {"rule.kl_weight": {"values": [0.1, 0.2, -1.0]}}},
            (),
            "rule.kl_weight is -1.0, but must be at least 0",
        ),
        (
            {"parameters": {"adversarial.g_steps": {"min": 1.0, "max": 2.0}}, "method": "random"},
            ("--runs", "1"),
            "--adversarial.g-steps",
        ),
        (
            {},
            ("--", "--adversarial.iterations=0"),
            "adversarial.iterations is 0, but a sweep by eval/nll_heldout needs a game",
        ),
        ({}, ("--", "--tracker.mode", "online"), "a local sweep is recorded offline"),
        ({}, ("--", "--rule.kl-weight=1"), "--rule.kl-weight is given beside the sweep"),
        (
            {},
            ("--", "--adversarial.kl-weight=1"),
            "--adversarial.kl-weight is given beside the sweep",
        ),
        ({"command": ["seqgan", "train", "caption", "${args}"]}, (), "unknown preset 'caption'"),
        ({"command": ["sh", "train.sh"]}, (), "but must be [seqgan, train, ..., ${args}]"),
    ],
)
def test_a_wrong_input_is_one_line_before_anything_starts(
    given: dict[str, Any],
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    file = write_sweep(tmp_path / "wrong.yaml", **given)
    assert run("sweep", file, *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["wrong.yaml"]


def test_folders_that_cannot_be_resumed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def said(*arguments: str | Path) -> str:
        assert run("sweep", *arguments) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        return error

    assert "nothing to sweep: give a file, or --resume FOLDER" in said()
    assert "none.yaml: No such file" in said(tmp_path / "none.yaml")
    assert "--seed is given beside --resume" in said("--resume", tmp_path, "--seed", "0")
    assert "is no sweep: it has no sweep.yaml" in said("--resume", tmp_path)
    file = write_sweep(tmp_path / "sweep.yaml")
    assert "is no sweep: it has no journal.log" in said("--resume", tmp_path)
    assert "exists already; name another folder with --output" in said(file, "--output", tmp_path)
    (tmp_path / "journal.log").touch()
    with locked_elsewhere(tmp_path):
        assert "a sweep runs once at a time" in said("--resume", tmp_path)
    assert "has no trial yet; begin with seqgan sweep" in said("--resume", tmp_path)
    (tmp_path / "trials.jsonl").touch()
    assert f"seqgan sweep {tmp_path}/sweep.yaml" in said("--resume", tmp_path)


def test_without_optuna_the_extra_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def refuse(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "optuna":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert run("sweep", write_sweep(tmp_path / "tiny.yaml")) == 2
    assert capsys.readouterr().err == (
        'seqgan: the package optuna is missing, which sweep needs: pip install "seqgan[sweeps]"\n'
    )


def inspect(run_folder: Path) -> dict[str, Any]:
    """The record of an offline run that says what it is."""
    (wandb_run,) = (run_folder / "wandb").glob("offline-run-*")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(wandb_run)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    records = [json.loads(line) for line in output.splitlines()]
    (found,) = (record["run"] for record in records if record["type"] == "run")
    return found


@pytest.mark.slow
def test_a_real_sweep_is_one_of_offline_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    file, folder = write_sweep(tmp_path / "tiny.yaml"), tmp_path / "sweep"
    extra = ("--", *SMALL, "--seed", "4")
    assert run("sweep", file, "--jobs", "2", "--output", folder, *extra) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split()[:5] == ["rank", "trial", "nll_heldout", "↓", "kl_weight"]
    assert table[4].startswith("Best: trial")
    assert (folder / "parallel.png").is_file()
    result = json.loads((folder / "sweep.json").read_text())
    assert {trial["status"] for trial in result["trials"]} == {"finished"}
    assert {trial["against MLE"] for trial in result["trials"]} <= {
        "better",
        "level",
        "worse",
        "mixed",
        "unknown",
    }
    for trial in result["trials"]:
        about = inspect(folder / "trials" / f"{trial['trial']:03d}")
        assert about["sweep_id"] == result["id"]
        assert (about["project"], about["run_group"]) == ("tried", f"tiny-{result['id']}")
        config = about["config"]["update"]
        assert config["rule.kl_weight"] == trial["rule.kl_weight"]
        assert config["rule"]["kl_weight"] == trial["rule.kl_weight"]
        assert config["adversarial"]["batch_size"] == 4  # the rest of the mapping is still there
        assert config["seed"] == 4  # an extra flag goes before a fixed parameter

    # Nothing is left to do; the table comes again.
    assert run("sweep", "--resume", folder) == 0
    assert capsys.readouterr().out.splitlines()[:3] == table[:3]
    assert not (folder / "trials" / "002").exists()


@pytest.mark.slow
def test_every_trial_failing_is_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the reward cannot be found, which only the run itself learns."""
    monkeypatch.setenv("WANDB_MODE", "disabled")
    file, folder = write_sweep(tmp_path / "tiny.yaml"), tmp_path / "sweep"
    given = ("--runs", "1", "--output", folder, "--", *SMALL, "--reward", "no_such_reward")
    assert run("sweep", file, *given) == 1
    said = capsys.readouterr()
    assert said.out.count("failed: ") == 1
    assert "no_such_reward" in said.out
    assert "no trial has a value" in said.err
    assert not (folder / "parallel.png").exists()
