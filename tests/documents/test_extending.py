"""The page on extending is true: its files make one run, which stops, goes on and is read again."""

import csv
import json
import re
import shlex
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import warm_processes
from safetensors.torch import load_file

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"```python\n# (\w+\.py)\n(.*?)```", PAGE, flags=re.DOTALL))
COMMANDS = [
    shlex.split(line)
    for block in re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)
    for line in block.splitlines()
]
SMALL = shlex.split(
    "--task.train-size 120 --pretrain.epochs 2 --discriminator-training.pretrain-rounds 1"
    " --discriminator-training.num-sequences 32 --adversarial.iterations 4"
    " --adversarial.batch-size 16 --evaluation.every 2 --evaluation.num-samples 20"
    " --evaluation.num-final 40 --evaluation.num-heldout 20 --evaluation.num-shown 1"
    " --evaluation.temperatures 1.0 0.8 --tracker.mode disabled --checkpoint-seconds 0"
)
# An observer that asks the run to stop, as Ctrl-C does, in the second iteration of the game.
STOPPING = """
import os, signal

def stop(phase, metrics, players):
    if phase.evaluated and phase.count == 2 and os.environ.get("STOP"):
        os.kill(os.getpid(), signal.SIGINT)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the page, and a whole run that was made with them."""
    folder = tmp_path_factory.mktemp("extending")
    for name, content in FILES.items():
        (folder / name).write_text(content, encoding="utf-8")
    (folder / "stopping.py").write_text(STOPPING, encoding="utf-8")
    run(folder, [*train_command("runs/mine"), *SMALL])
    return folder


def train_command(output: str) -> list[str]:
    command = [word if word != "runs/mine" else output for word in COMMANDS[0]]
    return [*command, "./stopping.py:stop"]


def run(folder: Path, command: Sequence[str], code: int = 0, **environment: str) -> str:
    assert command[0] == "seqgan"
    environment = {"XDG_STATE_HOME": str(folder / "state"), **environment}
    done = warm_processes.command(command[1:], folder, environment)
    assert done.returncode == code, done.stderr
    return done.stdout


def logged(path: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


def test_the_page_has_a_file_for_each_part() -> None:
    parts = {"ordered", "bigram", "bag", "best_of_n", "short_texts", "word_length", "watch"}
    parts.add("best_so_far")
    assert {name.removesuffix(".py") for name in FILES} == parts
    assert all(f"./{name}" in PAGE for name in FILES)


@pytest.mark.slow
def test_every_part_took_its_part(folder: Path) -> None:
    rows = logged(folder / "runs/mine")
    names = {name for row in rows for name in row}
    assert names >= {
        "user/best_of_n/nll",
        "user/best_of_n/reward",
        "user/short_texts/nll",
        "user/mean_word_length",
        "user/vocabulary_used",
        "eval/in_order",
    }
    best = max(row["user/best_of_n/reward"] for row in rows if "user/best_of_n/reward" in row)
    said = (folder / "runs/mine/best.txt").read_text(encoding="utf-8")
    assert said == f"user/best_of_n/reward {best:.4g}\n"
    with (folder / "runs/mine/metrics.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == len(rows)
    phases = json.loads((folder / "runs/mine/results.json").read_text())
    assert phases["comparison"]["quality"] == "in_order"
    lengths = [row["user/mean_word_length"] for row in rows if "user/mean_word_length" in row]
    assert all(0 < length <= 5 for length in lengths)  # "one" to "three", and empty texts


@pytest.mark.slow
def test_a_run_of_them_that_was_stopped_ends_with_the_same_numbers(folder: Path) -> None:
    run(folder, [*train_command("runs/stopped"), *SMALL], 128 + signal.SIGINT, STOP="1")
    assert not (folder / "runs/stopped/results.json").exists()
    run(folder, ["seqgan", "train", "--resume", "runs/stopped", "--trust-run-code"])
    whole, stopped = folder / "runs/mine", folder / "runs/stopped"
    assert (stopped / "best.txt").read_bytes() == (whole / "best.txt").read_bytes()
    times = re.compile(r"time/|charts/SPS")
    for one, other in zip(logged(whole), logged(stopped), strict=True):
        assert {k: v for k, v in one.items() if not times.match(k)} == {
            k: v for k, v in other.items() if not times.match(k)
        }
    first, second = (
        load_file(max((path / "checkpoints").iterdir()) / "tensors.safetensors")
        for path in (whole, stopped)
    )
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_the_other_commands_of_the_page(folder: Path) -> None:
    for command in COMMANDS[1:]:
        assert run(folder, command).strip()
    texts = run(
        folder, ["seqgan", "sample", "runs/mine", "-n", "5", "--trust-run-code"]
    ).splitlines()
    trusting = ["seqgan", "evaluate", "runs/mine", "--trust-run-code"]
    assert "user/mean_word_length" in run(folder, trusting)
    words = set(FILES["ordered.py"].split('WORDS = ("')[1].split('")')[0].split('", "'))
    assert len(texts) == 5
    assert all(set(text.split()) <= words for text in texts)


@pytest.mark.slow
def test_fields_of_yours_are_settings(folder: Path) -> None:
    text = (folder / "runs/mine/config.yaml").read_text(encoding="utf-8")
    assert "best_of_n.py:BestOfN" in text
    assert "keep: 8" in text
    command = [*train_command("runs/other"), *SMALL, "--rule.keep", "many"]
    done = warm_processes.command(command[1:], folder)
    assert done.returncode == 2
    assert "rule.keep" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_the_block_in_python(tmp_path: Path) -> None:
    (script,) = re.findall(r"```python\n(from seqgan.*?)```", PAGE, flags=re.DOTALL)
    done = warm_processes.code(script, tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "True"
