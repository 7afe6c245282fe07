"""Maximum likelihood in units: cutting an epoch changes no number, and a cut epoch goes on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import TINY, changed, make_trainer, toy_task, weights_of

from seqgan.data.metrics import Metrics
from seqgan.learning.players import Players
from seqgan.system.errors import Interrupted
from seqgan.tracking.base import MemoryTracker
from seqgan.tracking.progress import Progress, silent_progress
from seqgan.training import start
from seqgan.training.checkpoints import flatten, load_checkpoint
from seqgan.training.phases.maximum_likelihood import _pass_rng
from seqgan.training.settings import TrainConfig
from seqgan.training.trainer import Trainer

# 61 sequences in minibatches of 8: 8 units an epoch. With patience the dev NLL decides something.
SETTINGS = {
    "generator.dropout": 0.4,
    "pretrain.epochs": 3,
    "pretrain.batch_size": 8,
    "pretrain.learning_rate": 0.05,
}
EPOCH_SIZES = (0, 25)


def config_of(epoch_size: int) -> TrainConfig:
    return changed(TINY, {**SETTINGS, "pretrain.epoch_size": epoch_size})


def pretraining(
    config: TrainConfig, unit_seconds: float | int, checkpoints: Path | None = None
) -> tuple[Trainer, MemoryTracker]:
    """A trainer whose units of maximum likelihood last that long."""
    memory = MemoryTracker()
    trainer = start.make_trainer(config, toy_task(), memory, silent_progress(), checkpoints)
    trainer.phase("maximum_likelihood").unit_seconds = unit_seconds
    return trainer, memory


def after_units(trainer: Trainer, call: Callable[[float], None]) -> None:
    """Calls with how far maximum likelihood is after each of its units, cuts included."""
    phase = trainer.phase("maximum_likelihood")
    unit = phase.unit

    def watched(players: Players, rng: torch.Generator) -> Metrics:
        metrics: Metrics = unit(players, rng)
        call(phase.count)
        return metrics

    phase.unit = watched


def everything_of(trainer: Trainer) -> dict[str, Any]:
    plain, tensors = flatten(trainer.state_dict())
    return {"plain": plain, **tensors}


def assert_same(trainer: Trainer, expected: Trainer) -> None:
    """Weights, optimiser and random state, bit for bit."""
    found, wanted = everything_of(trainer), everything_of(expected)
    assert found.keys() == wanted.keys()
    assert found.pop("plain") == wanted.pop("plain")
    for name in found:
        assert torch.equal(found[name], wanted[name]), name


@pytest.mark.parametrize("epoch_size", EPOCH_SIZES)
def test_a_minibatch_a_unit_is_the_same_as_an_epoch_a_unit(epoch_size: int) -> None:
    """The unit after the last epoch, which puts the best weights in place, is one more."""
    (cut, cut_memory), (whole, memory) = (
        pretraining(config_of(epoch_size), seconds) for seconds in (0, 1e9)
    )
    counts: list[float] = []
    after_units(cut, counts.append)
    cut.run(cut.phase("maximum_likelihood"))
    whole.run(whole.phase("maximum_likelihood"))
    steps = 8 if epoch_size == 0 else 4  # of an epoch
    expected = [step / steps for step in range(1, 3 * steps + 1)]
    assert counts == pytest.approx([*expected, 3])
    assert len(memory.logged) == 3
    assert cut_memory.logged == memory.logged
    assert_same(cut, whole)


@pytest.mark.parametrize("epoch_size", EPOCH_SIZES)
@pytest.mark.parametrize("units", [1, 3, 6, 11])
def test_a_stop_within_an_epoch_changes_no_number(
    units: int, epoch_size: int, tmp_path: Path
) -> None:
    """Through a checkpoint's files, with dropout, into a fresh trainer."""
    config = changed(config_of(epoch_size), {"checkpoint_seconds": 1e9})
    whole, memory = pretraining(config, 1e9)
    whole.run(whole.phase("maximum_likelihood"))
    stopped, before = pretraining(config, 0, tmp_path)
    counts: list[float] = []

    def stop_after_units(count: float) -> None:
        counts.append(count)
        stopped.stop_requested = len(counts) == units

    after_units(stopped, stop_after_units)
    with pytest.raises(Interrupted):
        stopped.train()
    steps = 8 if epoch_size == 0 else 4
    assert stopped.phase("maximum_likelihood").count == pytest.approx(units / steps)
    torch.manual_seed(units)  # what is outside of a unit is nothing to the dropout within
    resumed, after = pretraining(config, 0)
    resumed.load_state_dict(load_checkpoint(tmp_path)[1])
    resumed.run(resumed.phase("maximum_likelihood"))
    assert before.logged + after.logged == memory.logged
    assert_same(resumed, whole)


def test_dropout_is_on_in_these_runs() -> None:
    """Without it the runs above would agree however the global state was kept."""
    dropped, _ = pretraining(config_of(0), 0)
    dry, _ = pretraining(changed(config_of(0), {"generator.dropout": 0.0}), 0)
    for trainer in (dropped, dry):
        trainer.run(trainer.phase("maximum_likelihood"))
    assert not torch.equal(weights_of(dropped), weights_of(dry))


class Watched(Progress):
    """Keeps the steps by which the bar moved."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[float | int] = []

    def advance(self, steps: float | int = 1, metrics: Metrics | None = None) -> None:
        self.steps.append(steps)
        super().advance(steps, metrics)


def test_the_bar_moves_within_an_epoch() -> None:
    trainer, _ = make_trainer(config_of(0))
    trainer.progress = watched = Watched()
    phase = trainer.phase("maximum_likelihood")
    phase.unit_seconds = 0
    trainer.run(phase)
    assert watched.steps == pytest.approx([1 / 8] * 24)


def test_no_pass_shares_its_draws_with_an_evaluation() -> None:
    trainer, _ = make_trainer(TINY)
    players = trainer.players
    states = set()
    for number in range(20):
        players.position.iteration = number
        states.add(bytes(players.rng_of_evaluation().get_state().numpy()))
        states.add(bytes(_pass_rng(players.seed, number).get_state().numpy()))
    assert len(states) == 40
