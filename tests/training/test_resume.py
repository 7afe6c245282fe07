"""A run that was stopped goes on from its last checkpoint and ends with the same numbers.

"The same" is bit for bit: every tensor of the last checkpoint, every logged metric that is no
duration, every logged sample.
"""

import copy
import json
import math
import os
import pkgutil
import shutil
import signal
from dataclasses import replace
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from campaign.commands import Outcome, command
from campaign.runs import FLAGS as TINY_FLAGS
from safetensors.torch import load_file
from tiny_commands import run
from tiny_runs import changed
from toys import ENDING, every_sequence

from seqgan.learning.optimization import AdamConfig
from seqgan.learning.rules.policy_gradient import PolicyGradientConfig
from seqgan.models.discriminators.cnn import CNNDiscriminatorConfig
from seqgan.models.generators.recurrent import RecurrentGeneratorConfig
from seqgan.system.errors import CheckpointError, Interrupted
from seqgan.tasks.base import FixedTask
from seqgan.tracking.base import MemoryTracker
from seqgan.tracking.jsonl import JsonlTracker
from seqgan.tracking.progress import Progress
from seqgan.training.checkpoints import flatten, load_checkpoint, unflatten
from seqgan.training.final import final_evaluation
from seqgan.training.forking import forked_state
from seqgan.training.result import Result
from seqgan.training.settings import (
    AdversarialConfig,
    DiscriminatorTrainingConfig,
    EvaluationConfig,
    PretrainConfig,
    TrainConfig,
)
from seqgan.training.start import make_trainer
from seqgan.training.trainer import Trainer

# Whole runs, some of them stopped and continued.
pytestmark = pytest.mark.slow

# Logs, in order: 3 epochs, 2 rounds, the evaluation before the game, 4 iterations.
FLAGS = (
    *TINY_FLAGS,
    *("--rule.schedule", "constant"),  # so that a longer run begins as a shorter one does
    *("--pretrain.epochs", "3", "--discriminator-training.pretrain-rounds", "2"),
    *("--adversarial.iterations", "4"),
)
NUM_LOGS = 10
LOG = "seqgan.tracking.jsonl.JsonlTracker.log"


def start(folder: Path, *more: str) -> int:
    return run("train", *FLAGS, "--output", folder, *more)


def dying_process(
    place: str, number: int, kind: signal.Signals, folder: Path, *given: str
) -> Outcome:
    """The end of a process that gets a signal at the n-th call of a function."""

    def prepare() -> None:
        owner, _, name = place.rpartition(".")
        original, calls = pkgutil.resolve_name(place), count(1)

        def dying(*arguments: Any, **named: Any) -> Any:
            if next(calls) == number:
                os.kill(os.getpid(), kind)
            return original(*arguments, **named)

        setattr(pkgutil.resolve_name(owner), name, dying)

    return command(("train", *given, "--output", folder), folder.parent, prepare)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def timeless(metrics: dict[str, Any]) -> dict[str, Any]:
    """The metrics that do not depend on how fast the machine is."""
    return {
        name: value
        for name, value in metrics.items()
        if not name.startswith("time/") and name != "charts/SPS"
    }


def checkpoints_of(folder: Path) -> list[Path]:
    return sorted((folder / "checkpoints").iterdir())


def assert_same_end(folder: Path, reference: Path) -> None:
    last, expected = checkpoints_of(folder)[-1], checkpoints_of(reference)[-1]
    assert last.name == expected.name
    tensors = load_file(last / "tensors.safetensors")
    expected_tensors = load_file(expected / "tensors.safetensors")
    assert tensors.keys() == expected_tensors.keys()
    for name, tensor in expected_tensors.items():
        assert torch.equal(tensors[name], tensor), name
    metrics = [timeless(line) for line in lines_of(folder / "metrics.jsonl")]
    assert metrics == [timeless(line) for line in lines_of(reference / "metrics.jsonl")]
    for name in ("samples.jsonl", "histograms.jsonl", "alerts.jsonl"):
        assert lines_of(folder / name) == lines_of(reference / name), name
    results = [json.loads((run / "results.json").read_text()) for run in (folder, reference)]
    assert results[0] == results[1]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    assert start(folder) == 0
    assert len(lines_of(folder / "metrics.jsonl")) == NUM_LOGS
    return folder


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose process was killed in the game; copied before it is used."""
    folder = tmp_path_factory.mktemp("killed") / "run"
    ended = dying_process(LOG, 9, signal.SIGKILL, folder, *FLAGS)
    assert ended.code == -signal.SIGKILL
    return folder


def test_killed_in_the_game(killed: Path, uninterrupted: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(killed, folder)
    assert [path.name for path in checkpoints_of(folder)] == ["00000005", "00000006", "00000007"]
    assert run("train", "--resume", folder) == 0
    assert_same_end(folder, uninterrupted)


@pytest.mark.parametrize(
    ("place", "number", "num_checkpoints"),
    [
        (LOG, 1, 0),
        (LOG, 2, 1),
        # Of the fourth, the content is there and the manifest is not.
        ("seqgan.training.checkpoints.seal", 4, 3),
    ],
    ids=["before the first checkpoint", "in pretraining", "while a checkpoint is written"],
)
def test_killed_at_any_moment(
    place: str,
    number: int,
    num_checkpoints: int,
    uninterrupted: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "run"
    assert dying_process(place, number, signal.SIGKILL, folder, *FLAGS).code == -signal.SIGKILL
    whole = list((folder / "checkpoints").glob("[0-9]*"))
    assert len(whole) == num_checkpoints
    assert run("train", "--resume", folder) == 0
    said = capfd.readouterr().err
    assert ("starting from the beginning" in said) == (num_checkpoints == 0)
    assert_same_end(folder, uninterrupted)


def test_sigterm_ends_with_143_and_says_how_to_continue(
    uninterrupted: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A real process; rare checkpoints, so that the one on stopping is the only one."""
    folder = tmp_path / "run"
    ended = dying_process(LOG, 8, signal.SIGTERM, folder, *FLAGS, "--checkpoint-seconds", "1000")
    assert ended.code == 143
    assert f"continue with: seqgan train --resume {folder}" in ended.error
    assert "Traceback" not in ended.error
    assert [path.name for path in checkpoints_of(folder)] == ["00000007"]
    assert len(lines_of(folder / "metrics.jsonl")) == 8
    assert run("train", "--resume", folder) == 0
    assert f"continuing from {folder / 'checkpoints' / '00000007'}" in capfd.readouterr().err
    assert_same_end(folder, uninterrupted)


def signal_at_log(number: int, kind: signal.Signals, patch: pytest.MonkeyPatch) -> None:
    """Sends this process a signal when the n-th set of metrics is logged."""
    original, calls = JsonlTracker.log, []

    def log(tracker: JsonlTracker, metrics: Any) -> None:
        calls.append(metrics)
        original(tracker, metrics)
        if len(calls) == number:
            os.kill(os.getpid(), kind)

    patch.setattr(JsonlTracker, "log", log)


def test_sigint_ends_with_130(
    uninterrupted: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        signal_at_log(4, signal.SIGINT, patch)
        assert start(folder) == 130
    assert f"continue with: seqgan train --resume {folder}" in capfd.readouterr().err
    assert len(lines_of(folder / "metrics.jsonl")) == 4
    assert run("train", "--resume", folder) == 0
    assert_same_end(folder, uninterrupted)


def test_a_signal_in_the_final_evaluation_stops_it(
    uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    original = Progress.phase

    def phase(progress: Progress, name: str, total: int, completed: int = 0) -> None:
        original(progress, name, total, completed)
        if name == "final evaluation":
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "phase", phase)
        assert start(folder) == 143
    assert not (folder / "results.json").exists()
    assert run("train", "--resume", folder) == 0
    assert_same_end(folder, uninterrupted)


def test_a_finished_run_shows_its_end_and_is_left_as_it_is(
    uninterrupted: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(uninterrupted, folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert run("train", "--resume", folder) == 0
    said = capfd.readouterr()
    sentence = json.loads((folder / "results.json").read_text())["comparison"]["sentence"]
    assert sentence in said.out
    assert "is finished" in said.err
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    (folder / "results.json").unlink()  # killed in its final evaluation
    assert run("train", "--resume", folder) == 0
    assert_same_end(folder, uninterrupted)


def test_a_run_without_a_game_shows_its_samples_once(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    flags = ("--adversarial.iterations", "0", "--reward", "constant")
    assert start(folder, *flags) == 0
    samples = lines_of(folder / "samples.jsonl")
    assert [row["phase"] for row in samples] == ["after the game"]
    assert run("train", "--resume", folder) == 0
    assert lines_of(folder / "samples.jsonl") == samples


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def with_a_bit_flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize(
    ("file", "damage"),
    [("tensors.safetensors", truncated), ("state.json", with_a_bit_flipped)],
)
def test_a_damaged_checkpoint_is_passed_over(
    file: str,
    damage: Any,
    killed: Path,
    uninterrupted: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(killed, folder)
    *_, before, newest = checkpoints_of(folder)
    (newest / file).write_bytes(damage((newest / file).read_bytes()))
    assert run("train", "--resume", folder) == 0
    assert f"checkpoint {newest} is damaged ({file} was altered or truncated)" in caplog.text
    assert f"continuing from {before}" in capfd.readouterr().err
    assert_same_end(folder, uninterrupted)


def test_a_run_whose_checkpoints_are_all_damaged_is_left_alone(
    killed: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(killed, folder)
    for checkpoint in checkpoints_of(folder):
        (checkpoint / "manifest.json").unlink()
    logged = (folder / "metrics.jsonl").read_bytes()
    assert run("train", "--resume", folder) == 2
    assert " has no intact checkpoint to resume from" in capfd.readouterr().err
    assert (folder / "metrics.jsonl").read_bytes() == logged


def test_a_log_that_was_cut_is_one_line(
    killed: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(killed, folder)
    os.truncate(folder / "metrics.jsonl", 10)
    assert run("train", "--resume", folder) == 2
    said = capfd.readouterr().err
    assert "metrics.jsonl has 10 bytes, but had" in said
    assert "Traceback" not in said


def test_a_run_that_wandb_records_offline(
    uninterrupted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        signal_at_log(7, signal.SIGTERM, patch)
        assert run("train", *FLAGS, "--tracker.mode", "offline", "--output", folder) == 143
    _, state = load_checkpoint(folder / "checkpoints")
    assert run("train", "--resume", folder) == 0
    assert_same_end(folder, uninterrupted)
    parts = list((folder / "wandb").glob("offline-run-*"))
    run_id = state["tracker"]["wandb"]["run_id"]
    assert len(parts) == 2
    assert all(f"-{run_id}" in part.name for part in parts)  # within one second: "-1" follows


# In this process, where every piece of state matters


STATEFUL = TrainConfig(
    generator=RecurrentGeneratorConfig(embedding_size=4, hidden_size=4, dropout=0.3),
    discriminator=CNNDiscriminatorConfig(
        embedding_size=3, filter_sizes=(1, 2), num_filters=(3, 3), dropout=0.3
    ),
    pretrain=PretrainConfig(epochs=3, batch_size=16),
    discriminator_training=DiscriminatorTrainingConfig(
        pretrain_rounds=2, num_sequences=16, schedule="cosine"
    ),
    rule=PolicyGradientConfig(
        num_rollouts=1,
        rollout_decay=0.5,
        baseline="moving_average",
        kl_target=0.01,
        schedule="linear",
        warmup=2,
        adam=AdamConfig(beta1=0.5, weight_decay=0.1),
    ),
    adversarial=AdversarialConfig(iterations=5, batch_size=4, ema_decay=0.5),
    evaluation=EvaluationConfig(
        every=2, num_samples=20, num_final=20, num_heldout=10, num_shown=1, temperatures=(1.0, 0.8)
    ),
)


def toy_task() -> FixedTask:
    everything = every_sequence(ENDING)
    rows = {"train": range(0, 60), "dev": range(60, 90), "test": range(90, 121)}
    return FixedTask(
        ENDING, 4, {split: everything.select(torch.tensor(list(r))) for split, r in rows.items()}
    )


class StoppingTracker(MemoryTracker):
    """Asks the trainer to stop once this many sets of metrics are logged."""

    def __init__(self, stop_after: float = math.inf) -> None:
        super().__init__()
        self.stop_after = stop_after
        self.trainer: Trainer | None = None

    def log(self, metrics: Any) -> None:
        super().log(metrics)
        if len(self.logged) == self.stop_after and self.trainer is not None:
            self.trainer.stop_requested = True


def stoppable(tracker: StoppingTracker, config: TrainConfig = STATEFUL) -> Trainer:
    trainer = make_trainer(config, toy_task(), tracker, Progress())
    tracker.trainer = trainer
    return trainer


def tensors_of(trainer: Trainer) -> dict[str, Any]:
    plain, tensors = flatten(trainer.state_dict())
    return {"plain": json.dumps(plain), **tensors}


@cache
def whole_run(config: TrainConfig) -> tuple[Trainer, Result]:
    """A run that nothing stopped; read only."""
    trainer = stoppable(StoppingTracker(), config)
    trainer.train()
    return trainer, final_evaluation(trainer)


@pytest.mark.parametrize("stop_after", [1, 3, 4, 7, 10])
@pytest.mark.parametrize(("patience", "epoch_size"), [(0, 0), (5, 0), (5, 25)])
def test_the_state_is_everything_that_the_rest_depends_on(
    stop_after: int, patience: int, epoch_size: int
) -> None:
    """Through JSON, as a checkpoint goes; logs are 3 epochs, 2 rounds, a start, 5 iterations."""
    pretrain = replace(STATEFUL.pretrain, patience=patience, epoch_size=epoch_size)
    config = replace(STATEFUL, pretrain=pretrain)
    whole, whole_result = whole_run(config)
    first = stoppable(StoppingTracker(stop_after), config)
    with pytest.raises(Interrupted):
        first.train()
    plain, tensors = flatten(first.state_dict())
    copies = {name: tensor.clone() for name, tensor in tensors.items()}
    second = stoppable(StoppingTracker(), config)
    second.load_state_dict(unflatten(json.loads(json.dumps(plain)), copies))
    second.train()
    result = final_evaluation(second)
    assert result.final.metrics == whole_result.final.metrics
    assert result.information == whole_result.information
    expected, found = tensors_of(whole), tensors_of(second)
    assert found.keys() == expected.keys()
    assert found["plain"] == expected["plain"]
    for name in expected.keys() - {"plain"}:
        assert torch.equal(found[name], expected[name]), name
    assert isinstance(first.tracker, MemoryTracker)
    assert isinstance(second.tracker, MemoryTracker)
    assert isinstance(whole.tracker, MemoryTracker)
    logged = [timeless(metrics) for metrics in first.tracker.logged + second.tracker.logged]
    assert logged == [timeless(metrics) for metrics in whole.tracker.logged]
    assert first.tracker.rows + second.tracker.rows == whole.tracker.rows


def test_no_checkpoint_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no intact checkpoint"):
        load_checkpoint(tmp_path / "none")


# Forks


def fork(parent: Path, folder: Path, *flags: str) -> int:
    return run("train", "--fork", parent, "--output", folder, *flags)


def test_a_fork_goes_on_from_the_newest_checkpoint(uninterrupted: Path, tmp_path: Path) -> None:
    """Nothing but the number of iterations changed: it ends as one long run would have."""
    folder, longer = tmp_path / "fork", tmp_path / "longer"
    assert fork(uninterrupted, folder, "--adversarial.iterations", "6") == 0
    assert start(longer, "--adversarial.iterations", "6") == 0
    assert_same_end(folder, longer)
    iterations = [row["iteration"] for row in lines_of(folder / "metrics.jsonl")[5:]]
    assert iterations == [0, 1, 2, 3, 4, 5, 6]
    origin = json.loads((folder / "fork.json").read_text())
    assert (origin["run"], origin["checkpoint"]) == (str(uninterrupted), "00000009")
    assert origin["iteration"] == 4
    assert origin["global_step"] == lines_of(uninterrupted / "metrics.jsonl")[-1]["global_step"]


def test_a_fork_is_a_run_like_any_other(uninterrupted: Path, tmp_path: Path) -> None:
    """Killed before any checkpoint of its own, it resumes as the fork that it is."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    flags = ("--adversarial.iterations", "6", "--adversarial.learning-rate", "0.01")
    assert fork(uninterrupted, whole, *flags) == 0
    forked = ("--fork", str(uninterrupted), *flags)
    ended = dying_process(LOG, 1, signal.SIGKILL, broken, *forked)
    assert ended.code == -signal.SIGKILL
    assert [path.name for path in checkpoints_of(broken)] == ["00000009"]
    assert run("train", "--resume", broken) == 0
    assert_same_end(broken, whole)


@pytest.mark.parametrize(
    ("flags", "rule"),
    [
        ((), "adversarial.iterations is 4, which leaves nothing to play: the fork begins after 4"),
        (("--pretrain.epochs", "9"), "pretrain.epochs is 9, but was 3"),
        (
            ("--discriminator-training.pretrain-rounds", "9"),
            "discriminator_training.pretrain_rounds is 9, but was 2",
        ),
        (
            ("--adversarial.iterations", "6", "--generator.hidden-size", "9"),
            "size mismatch",
        ),
        (
            ("--adversarial.iterations", "6", "--task.vocabulary-size", "7"),
            "the task has another vocabulary (7 words) than ",
        ),
        (("--adversarial.iteratoins", "6"), "did you mean --adversarial.iterations"),
        (("--profile",), "--profile and --fork together"),
        (("--resume", "elsewhere"), "together; train takes one of them"),
    ],
)
def test_a_fork_that_cannot_be_is_one_line_and_makes_nothing(
    flags: tuple[str, ...],
    rule: str,
    uninterrupted: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert fork(uninterrupted, tmp_path / "fork", *flags) == 2
    said = capfd.readouterr().err
    assert rule in said
    assert said.count("\n") == 1
    assert not (tmp_path / "fork").exists()


def test_a_fork_of_no_run(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert fork(tmp_path, tmp_path / "fork") == 2
    assert "is no run: it has no config.yaml" in capfd.readouterr().err


def state_and_fork(change: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The state of a finished run, and that of a fork of it with settings changed."""
    after = changed(STATEFUL, {"adversarial.iterations": 9, **change})
    state = copy.deepcopy(whole_run(STATEFUL)[0].state_dict())
    return state, forked_state(state, stoppable(StoppingTracker(), after), STATEFUL, after)


def rule_of(state: dict[str, Any]) -> dict[str, Any]:
    """The state of the learning rule."""
    rule: dict[str, Any] = state["phases"]["game"]["rule"]
    return rule


def rates(optimizer: dict[str, Any]) -> set[float]:
    return {group["lr"] for group in optimizer["param_groups"]}


def test_what_a_checkpoint_keeps_follows_a_changed_setting() -> None:
    state, forked = state_and_fork({"rule.learning_rate": 0.25})
    assert max(rates(rule_of(state)["optimizer"])) < 1e-3  # by the schedule
    assert rates(rule_of(forked)["optimizer"]) == {0.25}
    assert rule_of(forked)["kl_weight"] == rule_of(state)["kl_weight"] != STATEFUL.rule.kl_weight
    _, forked = state_and_fork({"rule.kl_weight": 0.7})
    assert rule_of(forked)["kl_weight"] == 0.7
    _, forked = state_and_fork({"rule.kl_target": 0.0})
    assert rule_of(forked)["kl_weight"] == STATEFUL.rule.kl_weight
    _, forked = state_and_fork({"rule.baseline": "none"})
    assert rule_of(state).keys() - rule_of(forked).keys() == {"baseline"}
    state, forked = state_and_fork({"discriminator_training.learning_rate": 0.125})
    rewards, after = (each["players"]["rewards"]["discriminator"] for each in (state, forked))
    assert max(rates(rewards["optimizer"])) < 1e-3
    assert rates(after["optimizer"]) == {0.125}


def test_the_best_of_a_fork_is_its_own() -> None:
    state, forked = state_and_fork({})
    assert state["observers"]["best"]["loss"] < math.inf
    assert forked["observers"].get("best", {"loss": math.inf})["loss"] == math.inf
    start = state["observers"]["evaluation"]["start"]
    assert forked["observers"]["evaluation"]["start"] == start != {}


def test_a_fork_with_another_seed_draws_anew() -> None:
    trainer = stoppable(StoppingTracker())
    after = replace(STATEFUL, seed=5)
    fresh = stoppable(StoppingTracker(), after)
    forked = forked_state(trainer.state_dict(), fresh, STATEFUL, after)
    expected = torch.Generator().manual_seed(5).get_state()
    assert torch.equal(forked["rng"], expected)
    same = forked_state(trainer.state_dict(), stoppable(StoppingTracker()), STATEFUL, STATEFUL)
    assert torch.equal(same["rng"], trainer.rng.get_state())


def test_a_fork_begins_to_average_its_rollout_policy_at_the_generator() -> None:
    """After the fork's first step from theta to theta': decay theta + (1 - decay) theta'."""
    before = changed(STATEFUL, {"rule.rollout_decay": 0.0})
    trainer = stoppable(StoppingTracker(), before)
    trainer.train()
    fork = stoppable(StoppingTracker())
    forked_state(trainer.state_dict(), fork, before, STATEFUL)
    theta = [parameter.clone() for parameter in fork.players.generator.parameters()]
    rule = fork.phase("game").rule
    rule.step(fork.players, fork.rng)
    moved = fork.players.generator.parameters()
    for slow, old, new in zip(rule.credit.policy.parameters(), theta, moved, strict=True):
        assert not torch.equal(old, new)
        torch.testing.assert_close(slow, 0.5 * old + 0.5 * new)


def test_a_fork_without_a_moving_average_rolls_its_generator_out() -> None:
    _, forked = state_and_fork({"rule.rollout_decay": 0.0})
    assert "rollout_policy" not in rule_of(forked)


def test_a_fork_goes_on_with_the_moving_average_that_it_finds() -> None:
    state, forked = state_and_fork({"rule.rollout_decay": 0.9})
    kept = rule_of(forked)["rollout_policy"]
    assert kept.keys() == rule_of(state)["rollout_policy"].keys()
    for name, tensor in rule_of(state)["rollout_policy"].items():
        assert torch.equal(kept[name], tensor)


def test_a_fork_may_add_a_reward() -> None:
    """The parts of the checkpoint go on; the new reward begins as it is made."""
    trainer = stoppable(StoppingTracker(), replace(STATEFUL, reward=("constant",)))
    trainer.train()
    before = replace(STATEFUL, reward=("constant",))
    after = changed(
        STATEFUL, {"adversarial.iterations": 7, "reward": ("constant", "discriminator")}
    )
    fork = stoppable(StoppingTracker(), after)
    assert fork.players.discriminator is not None
    untrained = {
        name: tensor.clone()
        for name, tensor in fork.players.discriminator.discriminator.state_dict().items()
    }
    state = trainer.state_dict()
    forked_state(state, fork, before, after)
    for name, tensor in fork.players.discriminator.discriminator.state_dict().items():
        assert torch.equal(tensor, untrained[name]), name
    for name, tensor in fork.state_dict()["players"]["generator"].items():
        assert torch.equal(tensor, state["players"]["generator"][name]), name
    fork.train()
    assert fork.players.position.iteration == 7
    assert fork.phase("adversary").rounds == 2


def test_a_fork_may_bring_an_adversary(tmp_path: Path) -> None:
    """Pretraining once, for any number of games: the new discriminator is trained from nothing."""
    parent, folder = tmp_path / "mle", tmp_path / "game"
    assert start(parent, "--reward", "constant", "--adversarial.iterations", "0") == 0
    flags = ("--reward", "discriminator", "--adversarial.iterations", "2")
    flags += ("--discriminator-training.d-steps", "1")
    assert fork(parent, folder, *flags) == 0
    rows = lines_of(folder / "metrics.jsonl")
    assert [row["pretrain/round"] for row in rows if "pretrain/round" in row] == [1, 2]
    assert [row["iteration"] for row in rows if "iteration" in row] == [0, 1, 2]
    assert "losses/discriminator" in rows[-1]
