"""The preset `distill`: a language model learns answers from an adversary on its own base."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pretrained_models import BOS, EOS, UNKNOWN, save_model, save_tokenizer, small_config
from recorded_runs import read_lines
from safetensors.torch import load_file
from tiny_commands import run

from seqgan.models.discriminators.pretrained import PretrainedDiscriminator
from seqgan.models.generators.base import frozen_copy
from seqgan.models.generators.pretrained import PretrainedGenerator
from seqgan.tracking.base import MemoryTracker
from seqgan.tracking.progress import Progress
from seqgan.training.checkpoints import load_checkpoint
from seqgan.training.presets import distill_preset
from seqgan.training.start import make_trainer
from seqgan.training.trainer import Trainer

pytestmark = pytest.mark.integration

WORDS = ("red", "blue", "green", "one", "two", "three", "and")
SETTINGS: dict[str, Any] = {
    "task.max_length": 6,
    "task.max_prompt_length": 4,
    "task.dev_fraction": 0.2,
    "task.test_fraction": 0.2,
    "discriminator.max_tokens": 16,
    "discriminator_training.pretrain_rounds": 1,
    "discriminator_training.num_sequences": 16,
    "adversarial.iterations": 3,
    "adversarial.batch_size": 16,
    "evaluation.num_samples": 20,
    "evaluation.num_final": 20,
    "evaluation.num_heldout": 10,
    "evaluation.num_shown": 1,
    "evaluation.resampled": 0,
}
FLAGS = [
    *(f"--{name.replace('_', '-')}={value}" for name, value in SETTINGS.items()),
    *("--threads=1", "--tracker.mode=disabled", "--checkpoint-seconds=0"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that knows nothing, and demonstrations: the answer repeats the prompt's colour."""
    place = tmp_path_factory.mktemp("distill")
    tokens = (UNKNOWN, EOS, BOS, *WORDS)
    save_tokenizer(place / "model", tokens, eos_token=EOS, bos_token=BOS, unk_token=UNKNOWN)
    save_model(place / "model", small_config("llama", len(tokens), eos_token_id=1, bos_token_id=2))
    colours, numbers = WORDS[:3], WORDS[3:6]
    rows = [
        {"prompt": f"{number} {colour} {other}", "completion": f"{colour} and {colour}"}
        for number in numbers
        for colour in colours
        for other in WORDS
    ]
    (place / "answers.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return place


def test_one_base_is_in_memory_for_generator_reference_and_discriminator(folder: Path) -> None:
    paths = {"generator.path": str(folder / "model"), "task.path": str(folder / "answers.jsonl")}
    config = distill_preset().with_(**SETTINGS, **paths)
    assert config.discriminator.path == str(folder / "model")  # type: ignore[attr-defined]
    task = config.task.build(config.generator)
    players = make_trainer(config, task, MemoryTracker(), Progress()).players
    assert isinstance(players.generator, PretrainedGenerator)
    assert players.discriminator is not None
    judge = players.discriminator.discriminator
    assert isinstance(judge, PretrainedDiscriminator)

    def frozen(network: torch.nn.Module) -> set[int]:
        return {each.data_ptr() for each in network.parameters() if not each.requires_grad}

    owned = frozen(players.generator)
    assert frozen(judge) <= owned
    base = sum(each.numel() for each in players.generator.parameters() if not each.requires_grad)
    assert sum(each.numel() for each in judge.parameters() if not each.requires_grad) >= base / 2
    trained = {each.data_ptr() for each in judge.parameters() if each.requires_grad}
    assert trained
    assert not trained & {each.data_ptr() for each in players.generator.parameters()}
    reference = frozen_copy(players.generator)
    assert owned <= {each.data_ptr() for each in reference.parameters()}


def test_a_stopped_distillation_ends_with_the_same_numbers(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = ["--model", str(folder / "model")]

    def train(name: str) -> int:
        output = ["--output", str(tmp_path / name)]
        return run("train", "distill", folder / "answers.jsonl", *model, *FLAGS, *output)

    assert train("whole") == 0
    assert "brings settings of its own" not in capsys.readouterr().err
    logged = read_lines(tmp_path / "whole" / "metrics.jsonl")
    games = [row for row in logged if "losses/policy" in row]
    assert len(games) == 3
    for row in games:
        assert 0 <= row["discriminator/accuracy_pairs"] <= 1
        assert row["discriminator/steps"] in (0, 0.5, 1)
        assert "discriminator/information_heldout" in row or row["iteration"] % 10
    asked = Trainer.asked_to_stop

    def stops(trainer: Any) -> bool:
        trainer.stop_requested = trainer.players.position.iteration == 1
        return asked(trainer)

    monkeypatch.setattr(Trainer, "asked_to_stop", stops)
    assert train("stopped") != 0
    monkeypatch.undo()
    assert run("train", "--resume", tmp_path / "stopped") == 0
    one, other = (
        load_file(load_checkpoint(tmp_path / name / "checkpoints")[0] / "tensors.safetensors")
        for name in ("whole", "stopped")
    )
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def test_the_word_for_the_generators_folder_needs_one(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    body = ["--discriminator.kind", "pretrained", "--discriminator.path", "generator"]
    assert run("train", "captions", *body) == 2
    said = capsys.readouterr().err
    assert "discriminator.path is generator, but must be a folder" in said
    assert "a generator of kind lstm has none" in said
