"""A whole life offline: a model folder, maximum likelihood, the game, resume, export, reload."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from pretrained_models import BOS, EOS, UNKNOWN, save_model, save_tokenizer, small_config
from recorded_runs import read_lines
from safetensors.torch import load_file
from tiny_commands import run

from seqgan.models.sampling import sample
from seqgan.tasks.captions import CaptionsConfig, captions_task
from seqgan.training.checkpoints import load_checkpoint
from seqgan.training.runs import load_generator, open_run
from seqgan.training.trainer import Trainer

pytestmark = pytest.mark.integration

TASK = "captions --task.train-size 1500 --task.dev-size 200 --task.test-size 200".split()
SMALL = """
    --evaluation.every 100 --evaluation.num-samples 100 --evaluation.num-final 20
    --evaluation.num-heldout 40 --evaluation.temperatures 1.0 0.8 --evaluation.num-shown 1
    --discriminator.path {path} --discriminator-training.pretrain-rounds 10
    --discriminator-training.d-steps 1 --discriminator-training.num-sequences 256
    --discriminator-training.batch-size 64
    --adversarial.batch-size 32 --adversarial.num-rollouts 1 --threads 1
    --tracker.mode disabled --checkpoint-seconds 0
"""
PRETRAIN = "--pretrain.epochs 5 --pretrain.batch-size 32 --pretrain.learning-rate 1e-2".split()
NO_GAME = "--adversarial.iterations 0 --discriminator-training.pretrain-rounds 0".split()
REWARD = """
def mentions_people(text):
    return float(any(word in text.split() for word in ("man", "woman", "men", "people")))
"""


def train(model: Path, output: Path, *flags: str) -> int:
    kinds = ["--generator.kind", "pretrained", "--discriminator.kind", "pretrained"]
    where = ["--generator.path", str(model), "--output", str(output)]
    return run("train", *TASK, *kinds, *where, *SMALL.format(path=model).split(), *flags)


def curve(run_folder: Path, metric: str) -> list[float]:
    return [row[metric] for row in read_lines(run_folder / "metrics.jsonl") if metric in row]


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of maximum likelihood alone, of all weights of a GPT-2 that knew nothing."""
    folder = tmp_path_factory.mktemp("learnt")
    words = captions_task(CaptionsConfig(train_size=10)).vocabulary.words
    tokens = (UNKNOWN, EOS, BOS, *words)
    save_tokenizer(folder / "new", tokens, eos_token=EOS, bos_token=BOS, unk_token=UNKNOWN)
    config = small_config("gpt2", len(tokens), n_embd=32, eos_token_id=1, bos_token_id=2)
    save_model(folder / "new", config)
    full = ["--generator.adapter", "none"]
    assert train(folder / "new", folder / "run", *full, *PRETRAIN, *NO_GAME) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def model(learnt: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That run's generator as a folder, from which the others start."""
    folder = tmp_path_factory.mktemp("model") / "small"
    assert run("export", learnt, "--out", folder) == 0
    return folder


def test_maximum_likelihood_learns(learnt: Path) -> None:
    epochs = curve(learnt, "pretrain/nll_dev")
    assert len(epochs) == 5
    assert epochs[-1] < epochs[0] - 0.5
    assert epochs[-1] < 2.0  # nats per token; 5.5 for a guess, 1.04 for the grammar itself


@pytest.fixture(scope="module")
def game(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A game of an adapter of the generator against all of the discriminator."""
    folder = tmp_path_factory.mktemp("game") / "run"
    flags = "--generator.lora-rank 4 --discriminator.body full --pretrain.epochs 0"
    flags += " --adversarial.iterations 6 --adversarial.learning-rate 5e-3"
    assert train(model, folder, *flags.split()) == 0
    return folder


def test_both_sides_move(game: Path) -> None:
    divergence = curve(game, "kl/reference")
    assert divergence[0] == pytest.approx(0, abs=1e-5)  # a fresh adapter changes nothing
    assert max(divergence[2:]) > 0.05
    accuracy = curve(game, "pretrain/discriminator_accuracy_heldout")
    assert sum(accuracy[-3:]) / 3 > accuracy[0] + 0.05
    assert len(set(curve(game, "losses/discriminator"))) == 6
    assert len(set(curve(game, "losses/policy"))) == 6


def test_an_adapter_is_all_that_a_checkpoint_holds(game: Path, model: Path) -> None:
    _, state = load_checkpoint(game / "checkpoints")
    trained = sum(tensor.numel() for tensor in state["players"]["generator"].values())
    whole = sum(tensor.numel() for tensor in load_file(model / "model.safetensors").values())
    assert trained < whole / 5
    assert all("lora" in name for name in state["players"]["generator"])


@pytest.mark.parametrize("flags", [("--merge-lora",), ()])
def test_reloaded_it_is_the_same_generator(
    game: Path, model: Path, flags: tuple[str, ...], tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers")
    assert run("export", game, "--out", tmp_path / "out", *flags) == 0
    if flags:
        assert not (tmp_path / "out" / "adapter_config.json").exists()
        reloaded = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    else:
        peft = pytest.importorskip("peft")
        adapter = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
        assert adapter["base_model_name_or_path"] == str(model.resolve())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft uses a name of an older version
            reloaded = peft.AutoPeftModelForCausalLM.from_pretrained(tmp_path / "out")
    ours = load_generator(*open_run(game))
    drawn = sample(ours.generator, ours.vocabulary, 16, 22, torch.Generator().manual_seed(1))
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "out")
    ids = tokenizer.convert_tokens_to_ids([*ours.vocabulary.words, EOS])
    before = {index: place for place, index in enumerate(ids)}
    with torch.no_grad():
        expected = ours.generator(drawn)
        start = load_generator(*open_run(game), "pretrained").generator(drawn)
    differs = 0.0
    for row, text in enumerate(drawn.texts):
        read = tokenizer(BOS + " " + text, return_tensors="pt").input_ids
        assert [before[index] for index in read[0, 1:].tolist()] == drawn.tokens[
            row, : read.shape[1] - 1
        ].tolist()
        with torch.no_grad():
            logits = reloaded.eval()(read).logits[0, :, ids]
        known = min(len(logits), expected.shape[1])
        torch.testing.assert_close(logits[:known], expected[row, :known], rtol=0, atol=1e-5)
        differs = max(differs, float((logits[:known] - start[row, :known]).abs().max()))
    assert differs > 0.01  # from the generator before the game


def test_a_pipeline_says_captions(game: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    assert run("export", game, "--out", tmp_path / "out", "--merge-lora") == 0
    generate = transformers.pipeline("text-generation", model=str(tmp_path / "out"))
    transformers.set_seed(1)
    words = set(captions_task(CaptionsConfig(train_size=10)).vocabulary.words)
    texts = [one["generated_text"].removeprefix(BOS) for (one,) in generate([BOS] * 12)]
    assert len(set(texts)) > 6
    for text in texts:
        assert set(text.split()) <= words
        assert len(text.split()) <= 22


def test_the_discriminator_judges_outside(game: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    assert run("export", game, "--which", "discriminator", "--out", tmp_path / "judge") == 0
    judge = transformers.pipeline(
        "text-classification",
        model=str(tmp_path / "judge"),
        function_to_apply="sigmoid",
        trust_remote_code=True,
    )
    real = captions_task(CaptionsConfig()).splits["test"].texts[:40]
    noise = [" ".join(reversed(text.split())) for text in real]
    found = judge([*real, *noise])
    assert {one["label"] for one in found} == {"real"}
    scores = [one["score"] for one in found]
    assert sum(scores[:40]) / 40 > sum(scores[40:]) / 40 + 0.02


def test_an_informative_reward_rises(model: Path, tmp_path: Path) -> None:
    (tmp_path / "people.py").write_text(REWARD)
    flags = "--pretrain.epochs 0 --adversarial.iterations 14 --adversarial.num-rollouts 0"
    flags += " --adversarial.learning-rate 5e-3 --adversarial.batch-size 128"
    flags += " --rule.kl-weight 0.05 --rule.update.mle-weight 0"
    reward = ["--reward", f"{tmp_path / 'people.py'}:mentions_people"]
    assert train(model, tmp_path / "run", *flags.split(), *reward) == 0
    returns = curve(tmp_path / "run", "charts/episodic_return")
    assert sum(returns[-3:]) / 3 > sum(returns[:3]) / 3 + 0.15


def test_a_stopped_run_ends_with_the_same_numbers(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All weights train, and the discriminator's adapters beside them."""
    flags = "--generator.adapter none --pretrain.epochs 1 --adversarial.iterations 3"
    flags += " --discriminator.body lora --discriminator-training.pretrain-rounds 1"
    flags += " --discriminator-training.num-sequences 64 --task.train-size 200"
    flags += " --evaluation.num-samples 20"
    assert train(model, tmp_path / "whole", *flags.split()) == 0
    asked = Trainer.asked_to_stop

    def stops(trainer: Any) -> bool:
        trainer.stop_requested = trainer.players.position.iteration == 1
        return asked(trainer)

    monkeypatch.setattr(Trainer, "asked_to_stop", stops)
    assert train(model, tmp_path / "stopped", *flags.split()) != 0
    monkeypatch.undo()
    assert run("train", "--resume", tmp_path / "stopped") == 0
    (one, one_state), (other, other_state) = (
        load_checkpoint(tmp_path / name / "checkpoints") for name in ("whole", "stopped")
    )
    assert one.name == other.name
    assert one_state["players"]["position"] == other_state["players"]["position"]
    tensors = [load_file(place / "tensors.safetensors") for place in (one, other)]
    assert tensors[0].keys() == tensors[1].keys()
    for name, tensor in tensors[0].items():
        assert torch.equal(tensor, tensors[1][name]), name
