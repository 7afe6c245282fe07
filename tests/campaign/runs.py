"""A tiny run, and everything that has to be the same in two folders of it."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

# Logs, in order: 2 epochs, 1 round, the evaluation before the game, 3 iterations.
FLAGS = """
    captions --task.kind oracle --task.vocabulary-size 6 --task.hidden-size 4 --task.max-length 5
    --task.train-size 60 --task.dev-size 30 --task.test-size 30
    --generator.hidden-size 8 --generator.embedding-size 8 --generator.dropout 0.2
    --discriminator.hidden-size 4 --discriminator.embedding-size 4 --pretrain.epochs 2
    --discriminator-training.pretrain-rounds 1 --discriminator-training.num-sequences 16
    --adversarial.iterations 3 --adversarial.batch-size 4 --adversarial.num-rollouts 1
    --adversarial.rollout-decay 0.5 --rule.baseline moving_average
    --adversarial.kl-target 0.01 --evaluation.every 2 --evaluation.num-samples 20
    --evaluation.num-final 20 --evaluation.num-heldout 10 --evaluation.temperatures 1.0 0.8
    --evaluation.num-shown 1 --threads 1 --checkpoint-seconds 0 --tracker.mode disabled
""".split()
TRAIN = ("train", *FLAGS, "--output", "run")
RESUME = ("train", "--resume", "run")
RECORDS = ("metrics.jsonl", "samples.jsonl", "histograms.jsonl", "alerts.jsonl")


def fork_of(parent: Path) -> tuple[str, ...]:
    """The command that goes on from another run, for two iterations more."""
    return ("train", "--fork", str(parent), "--adversarial.iterations", "5", "--output", "run")


def differences(run: Path, reference: Path) -> list[str]:
    """Everything that two finished runs do not have in common, bit for bit; times are left out."""
    found = []
    names, expected = _names(run), _names(reference)
    found += [f"{name} is missing" for name in sorted(expected - names)]
    found += [f"{name} is left over" for name in sorted(names - expected)]
    if found:
        return found
    for name in ("config.yaml", "task.json", "fork.json"):
        if (reference / name).exists() and _bytes(run / name) != _bytes(reference / name):
            found.append(f"{name} differs")
    last = max(name for name in expected if name.startswith("checkpoints/"))
    for folder in (last, "best"):
        found += _tensor_differences(run / folder, reference / folder)
    for name in RECORDS:
        rows, others = _rows(run / name), _rows(reference / name)
        if len(rows) != len(others):
            found.append(f"{name} has {len(rows)} rows in place of {len(others)}")
        found += [
            f"{name}, row {number} differs"
            for number, (row, other) in enumerate(zip(rows, others, strict=False), 1)
            if row != other
        ]
    if _bytes(run / "results.json") != _bytes(reference / "results.json"):
        found.append("results.json differs")
    return found


def _names(run: Path) -> set[str]:
    """The names that a person sees in a run's folder, and its checkpoints."""
    paths = [*run.iterdir(), *(run / "checkpoints").glob("*")]
    return {str(path.relative_to(run)) for path in paths if not path.name.startswith(".")}


def _bytes(path: Path) -> bytes:
    return path.read_bytes()


def _tensor_differences(folder: Path, reference: Path) -> list[str]:
    tensors, others = (load_file(each / "tensors.safetensors") for each in (folder, reference))
    if tensors.keys() != others.keys():
        return [f"{reference.name} has other tensors"]
    return [
        f"{reference.name}: {name} differs"
        for name, tensor in others.items()
        if not torch.equal(tensors[name], tensor)
    ]


def _rows(path: Path) -> list[Any]:
    """The rows of a record, without numbers that depend on the machine's speed."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [
        {
            # NaN is not itself; its text is.
            name: repr(value)
            for name, value in row.items()
            if not name.startswith("time/") and name != "charts/SPS"
        }
        for row in rows
    ]
