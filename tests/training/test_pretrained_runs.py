"""Runs with a pretrained generator: from a folder to a trained one, and what is refused before."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pretrained_models
import pytest
import torch
from tiny_commands import run

from seqgan.commands.notebook import train
from seqgan.data.model_folders import load_model
from seqgan.learning.rules.policy_gradient import PolicyGradientConfig
from seqgan.models.discriminators.recurrent import RecurrentDiscriminatorConfig
from seqgan.models.generators.pretrained import Adapter, PretrainedGeneratorConfig
from seqgan.tasks.captions import CaptionsConfig
from seqgan.tracking.base import MemoryTracker
from seqgan.tracking.progress import Progress
from seqgan.training.final import NO_TEXTS
from seqgan.training.presets import BESIDE
from seqgan.training.settings import (
    AdversarialConfig,
    DiscriminatorTrainingConfig,
    EvaluationConfig,
    PretrainConfig,
    TrainConfig,
)
from seqgan.training.start import make_trainer
from seqgan.training.trainer import Trainer

pytestmark = pytest.mark.integration

CAPTIONS = CaptionsConfig(train_size=80, dev_size=20, test_size=20)
TINY = TrainConfig(
    task=CAPTIONS,
    discriminator=RecurrentDiscriminatorConfig(embedding_size=4, hidden_size=4),
    pretrain=PretrainConfig(epochs=0),
    discriminator_training=DiscriminatorTrainingConfig(
        pretrain_rounds=1, num_sequences=16, batch_size=16
    ),
    rule=PolicyGradientConfig(num_rollouts=1, rollout_stride=4, learning_rate=1e-2),
    adversarial=AdversarialConfig(iterations=2, batch_size=6),
    evaluation=EvaluationConfig(
        every=2, num_samples=20, num_final=20, num_heldout=10, temperatures=(1.0, 0.8), num_shown=1
    ),
    threads=1,
)
FLAGS = """
    captions --task.train-size 80 --task.dev-size 20 --task.test-size 20
    --discriminator.hidden-size 4 --discriminator.embedding-size 4 --pretrain.epochs 0
    --discriminator-training.pretrain-rounds 1 --discriminator-training.num-sequences 16
    --adversarial.iterations 2 --adversarial.batch-size 6 --adversarial.num-rollouts 1
    --adversarial.rollout-stride 4 --evaluation.every 2 --evaluation.num-samples 20
    --evaluation.num-final 20 --evaluation.num-heldout 10 --evaluation.temperatures 1.0 0.8
    --evaluation.num-shown 1 --threads 1 --tracker.mode disabled --checkpoint-seconds 0
    --generator.kind pretrained
""".split()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def model(folder: Path) -> str:
    """A model whose tokens are the words of the captions, and some more."""
    return pretrained_models.saved(
        folder, "gpt2", TINY.task.build(TINY.generator).vocabulary.words, std=0.1
    )


def trainer_of(
    model: str, adapter: Adapter = "lora", **settings: object
) -> tuple[Trainer, MemoryTracker]:
    config = replace(TINY, generator=PretrainedGeneratorConfig(path=model, adapter=adapter))
    config = replace(config, **settings)
    memory = MemoryTracker()
    return make_trainer(config, config.task.build(config.generator), memory, Progress()), memory


@pytest.mark.parametrize("adapter", ["none", "lora"])
def test_the_reference_is_the_loaded_model_where_nothing_is_pretrained(
    model: str, adapter: Adapter
) -> None:
    trainer, memory = trainer_of(model, adapter)
    untouched, _ = trainer_of(model, adapter)
    trainer.train()
    texts = trainer.players.task.real("test", 10, torch.Generator().manual_seed(0))
    with torch.no_grad():
        reference = trainer.players.reference.log_probs(texts)
        assert torch.equal(reference, untouched.players.generator.eval().log_probs(texts))
        assert not torch.allclose(trainer.players.generator.log_probs(texts), reference, atol=1e-3)
    divergences = memory.values("kl/reference")
    assert divergences[0] == pytest.approx(0, abs=1e-5)
    assert abs(divergences[1]) > 1e-5


@pytest.mark.parametrize("adapter", ["none", "lora"])
def test_a_run_that_is_continued_ends_with_the_same_weights(
    model: str, adapter: Adapter, tmp_path: Path
) -> None:
    """Pretraining of an epoch too; a fresh trainer takes the state of one that stopped halfway."""
    settings = {"pretrain": PretrainConfig(epochs=1, patience=0, learning_rate=1e-2)}
    whole, _ = trainer_of(model, adapter, **settings)
    whole.train()
    first, _ = trainer_of(model, adapter, **settings)
    first.run(first.phase("maximum_likelihood"))
    first.run(first.phase("adversary"))
    second, _ = trainer_of(model, adapter, **settings)
    second.load_state_dict(first.state_dict())
    second.train()
    names = whole.players.generator.state_dict()
    assert all(
        torch.equal(second.players.generator.state_dict()[name], names[name]) for name in names
    )
    start, _ = trainer_of(model, adapter)
    assert not all(torch.equal(start.players.reference.state_dict()[n], names[n]) for n in names)


def test_a_preset_in_python_has_the_settings_beside_a_language_model(
    model: str, tmp_path: Path
) -> None:
    """Arguments win over them; the data are prompts alone, which ask for two arguments."""
    words = CAPTIONS.build(TINY.generator).vocabulary.words[:12]
    path = tmp_path / "asked.jsonl"
    path.write_text("\n".join(json.dumps({"prompt": word}) for word in words), encoding="utf-8")
    settings = {
        "task.path": str(path),
        "task.continuation_column": "",
        "task.max_length": 8,
        "pretrain.epochs": 0,
        "adversarial.iterations": 1,
        "evaluation.num_samples": 20,
        "evaluation.num_final": 20,
    }
    found = train(
        "prompts",
        generator=PretrainedGeneratorConfig(path=model),
        reward=lambda text: float(len(text)),
        progress=False,
        **settings,
    )
    beside = BESIDE["pretrained"]
    assert found.config.rule.num_rollouts == beside["rule.num_rollouts"] == 0
    assert found.config.adversarial.batch_size == beside["adversarial.batch_size"]
    assert found.config.adversarial.iterations == 1
    assert NO_TEXTS in found.summary()


def test_a_run_from_the_command_line_with_what_comes_after_it(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Train, sample, fork."""
    first, fork = tmp_path / "run", tmp_path / "fork"
    assert run("train", *FLAGS, "--generator.path", model, "--output", first) == 0
    assert json.loads((first / "results.json").read_text())
    checkpoint = next((first / "checkpoints").iterdir()) / "tensors.safetensors"
    whole = Path(model) / "model.safetensors"
    assert checkpoint.stat().st_size < 4 * whole.stat().st_size
    capsys.readouterr()
    assert run("sample", first, "-n", "3") == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    longer = ["--adversarial.iterations", "3", "--output", str(fork)]
    assert run("train", "--fork", first, *longer) == 0
    assert run("sample", fork, "-n", "2", "--pretrained") == 0


@pytest.mark.parametrize(
    "kind", ["none", "empty", "missing", "hub", "words", "eos", "window", "weights"]
)
def test_a_wrong_model_is_one_line_before_anything_is_made(
    kind: str,
    model: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    constants = pytest.importorskip("huggingface_hub").constants
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)  # no minutes of retries
    words = TINY.task.build(TINY.generator).vocabulary.words
    place = tmp_path / "model"
    place.mkdir()
    given, rule = str(place), ""
    if kind == "empty":
        rule = f"{place} is no model folder: it has no config.json"
    if kind == "none":
        given, rule = (
            "",
            "generator.path is empty: name a model folder or a hub name with --generator.path",
        )
    if kind == "missing":
        given, rule = "./nowhere", "cannot read ./nowhere: no such folder"
    if kind == "hub":
        given, rule = "somebody/no-such-model", "no such folder, and HF_HUB_OFFLINE forbids"
    if kind in ("words", "eos", "window", "weights"):
        tokens = ("<|end|>", *(words[1:] if kind == "words" else words))
        special = {} if kind == "eos" else {"eos_token": "<|end|>"}
        pretrained_models.save_tokenizer(place, tokens, **special)
        size = {"n_positions": 8} if kind == "window" else {}
        config = pretrained_models.small_config("gpt2", len(tokens), **size)
        pretrained_models.save_model(place, config)
    if kind == "words":
        rule = f"1 words of the task are no tokens of the model's tokenizer, {words[0]!r} first"
    if kind == "eos":
        rule = "has no end-of-text token (eos_token)"
    if kind == "window":
        rule = "and at least 1 before them do not fit into the 8 that the generator reads"
    if kind == "weights":
        (place / "model.safetensors").unlink()
        rule = f"cannot read the model in {place}"
    output = tmp_path / "run"
    assert run("train", *FLAGS, "--generator.path", given, "--output", output) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert rule in said[0]
    assert not output.exists()


def test_a_model_is_read_once_per_start(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []

    def counted(place: str, *arguments: Any, **more: Any) -> Any:
        read.append(place)
        return load_model(place, *arguments, **more)

    monkeypatch.setattr("seqgan.models.generators.pretrained.load_model", counted)
    first, fork = tmp_path / "first", tmp_path / "fork"
    assert run("train", *FLAGS, "--generator.path", model, "--output", str(first)) == 0
    assert read == [model]
    (first / "results.json").unlink()
    assert run("train", "--resume", str(first)) == 0
    assert read == [model] * 2
    longer = ["--adversarial.iterations", "3", "--output", str(fork)]
    assert run("train", "--fork", str(first), *longer) == 0
    assert read == [model] * 3
    assert run("train", *FLAGS, "--generator.path", model, "--profile") == 0
    assert read == [model] * 4
