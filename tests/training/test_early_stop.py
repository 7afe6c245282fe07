"""A game ends where its metric has not got better for long; and how many checkpoints are kept."""

from pathlib import Path
from typing import Any

import pytest
from tiny_runs import TINY, changed, make_trainer, toy_task

from seqgan.system.errors import ConfigurationError
from seqgan.tracking.base import Tracker
from seqgan.tracking.progress import Progress
from seqgan.training import start
from seqgan.training.early_stop import EarlyStop
from seqgan.training.settings import AdversarialConfig
from seqgan.training.trainer import Trainer

LONG = {"adversarial.iterations": 6, "evaluation.every": 2}


def stopped_after(metric: str, patience: int, values: list[float | None]) -> int:
    """Iterations of a game in which the metric has these values."""
    settings: dict[str, Any] = {"adversarial.patience": patience, "adversarial.stop_metric": metric}
    trainer, _ = make_trainer(changed(TINY, settings))
    game, stop = trainer.phase("game"), trainer.observer("early_stop")
    for number, value in enumerate(values):
        if game.ended:
            return number
        stop.logged(game, {} if value is None else {metric: value})
    return len(values)


def test_it_ends_after_so_many_values_without_a_better_one() -> None:
    falling = [3.0, 2.0, 2.0, 1.0, 1.5, 1.0, 9.0]
    assert stopped_after("checkpoint/loss", 2, falling) == 6
    assert stopped_after("checkpoint/loss", 1, falling) == 3
    assert stopped_after("checkpoint/loss", 4, falling) == 7
    assert stopped_after("charts/episodic_return", 2, falling) == 3  # where more is better


def test_iterations_without_a_value_do_not_count_and_nan_is_no_better() -> None:
    nan = float("nan")
    assert stopped_after("checkpoint/loss", 2, [1.0, None, None, nan, None, nan, None]) == 6


def test_other_phases_are_left_alone() -> None:
    trainer, _ = make_trainer(changed(TINY, {"adversarial.patience": 1}))
    stop = trainer.observer("early_stop")
    for _ in range(3):
        stop.logged(trainer.phase("adversary"), {"checkpoint/loss": 1.0})
    assert stop.since == 0


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("losses/policy", "^adversarial.stop_metric is losses/policy, but must be a metric with a"),
        ("losses/nonsense", "^unknown metric 'losses/nonsense' "),
    ],
)
def test_a_metric_without_a_better_end_is_refused(metric: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        EarlyStop(make_trainer()[0].players, AdversarialConfig(patience=1, stop_metric=metric))


@pytest.mark.parametrize("metric", ["pretrain/nll_dev", "result/difference"])
def test_a_metric_that_no_game_has_is_refused(metric: str) -> None:
    with pytest.raises(ConfigurationError, match="must be a metric of the game"):
        EarlyStop(make_trainer()[0].players, AdversarialConfig(patience=1, stop_metric=metric))


def test_a_game_that_a_metric_of_training_ends_is_evaluated_at_its_end() -> None:
    settings = {**LONG, "evaluation.every": 100, "adversarial.iterations": 40}
    settings |= {"adversarial.patience": 1, "adversarial.stop_metric": "charts/episodic_return"}
    trainer, tracker = make_trainer(changed(TINY, settings))
    trainer.train()
    game = trainer.phase("game")
    assert game.iterations < 40
    evaluated = [at["iteration"] for at in tracker.logged if "checkpoint/loss" in at]
    assert evaluated[-1] == game.iterations


@pytest.mark.slow
def test_a_run_says_why_it_ended_and_stays_ended() -> None:
    """No learning rate, so the NLL stays what it was: two evaluations after the first."""
    settings = {**LONG, "adversarial.patience": 2, "rule.learning_rate": 1e-12}
    settings |= {"adversarial.iterations": 40}
    trainer, _ = make_trainer(changed(TINY, settings))
    trainer.train()
    game = trainer.phase("game")
    assert game.iterations < 40
    assert game.why_early() == "no better checkpoint/loss for 2 of its values"
    other, _ = make_trainer(changed(TINY, settings))
    other.load_state_dict(trainer.state_dict())
    assert other.phase("game").done()
    assert other.observer("early_stop").state_dict() == trainer.observer("early_stop").state_dict()
    game.forked(changed(TINY, settings), changed(TINY, settings))
    assert not game.done()


def test_a_game_that_had_ended_goes_on_where_it_is_given_more_iterations() -> None:
    def of(iterations: int) -> Trainer:
        settings: dict[str, Any] = {"adversarial.patience": 2}
        settings["adversarial.iterations"] = iterations
        return make_trainer(changed(TINY, settings))[0]

    ended = of(4)
    ended.phase("game").end("no better checkpoint/loss for 2 of its values")
    ended.observer("early_stop").since = 2
    state = ended.state_dict()
    same, longer = of(4), of(5)
    for other in (same, longer):
        other.load_state_dict(state)
        other.observer("early_stop").before(other.phase("game"))
    assert same.phase("game").done()
    assert not longer.phase("game").done()
    assert longer.observer("early_stop").since == 0  # else the next value would end it again


def test_a_metric_without_a_value_is_told_of_at_the_first_evaluation() -> None:
    settings = {"adversarial.patience": 1, "adversarial.stop_metric": "losses/explained_variance"}
    trainer, _ = make_trainer(changed(TINY, settings))
    game, stop, told = trainer.phase("game"), trainer.observer("early_stop"), list[str]()
    trainer.players.tell = told.append
    game.iterations = 2
    stop.logged(game, {"charts/episodic_return": 1.0})
    assert told == []
    for _ in range(2):
        stop.logged(game, {"time/evaluate": 1.0, "checkpoint/loss": 1.0})
    assert told == [
        "adversarial.stop_metric is losses/explained_variance, which has had no value by iteration"
        " 2, and without one it ends no game; this run has checkpoint/loss"
    ]
    assert not game.done()


@pytest.mark.slow
@pytest.mark.parametrize("keep", [1, 4])
def test_so_many_checkpoints_are_kept(keep: int, tmp_path: Path) -> None:
    config = changed(TINY, {"checkpoint_keep": keep, "checkpoint_seconds": 0.0})
    trainer = start.make_trainer(config, toy_task(), Tracker(), Progress(), tmp_path)
    trainer.train()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == keep
    assert int(names[-1]) == sum(int(phase.count) for phase in trainer.phases)
