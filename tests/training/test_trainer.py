"""The order of things, and that every setting of it does something.

The worlds are the toys': three words, at most four tokens. A run takes a fraction of a second.
"""

import contextlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from jaxtyping import Float
from tiny_runs import (
    TINY,
    changed,
    final_weights,
    make_trainer,
    toy_task,
    trained,
    weights_of,
)
from torch import Tensor
from toys import ENDING, every_sequence

from seqgan.data.metrics import Metrics
from seqgan.data.sequences import Sequences, Trajectories
from seqgan.data.vocabulary import Vocabulary
from seqgan.evaluation.game.health import Trouble
from seqgan.learning.adversary import adversary_round
from seqgan.learning.optimization import AdamConfig
from seqgan.learning.players import Players
from seqgan.learning.policy_updates import GeneratorUpdate
from seqgan.learning.rules.policy_gradient import PolicyGradientConfig
from seqgan.models.discriminators.causal import CausalDiscriminatorConfig
from seqgan.report.summary import information_sentence, results_dict
from seqgan.rewards.adapters.functions import as_reward
from seqgan.rewards.base import RewardError, RewardModel
from seqgan.rewards.guard import FailurePolicy
from seqgan.rewards.weighted import WeightedSum
from seqgan.system.errors import ConfigurationError, DivergedError
from seqgan.tasks.base import FixedTask
from seqgan.tasks.captions import CaptionsConfig, captions_task
from seqgan.tasks.oracle import OracleConfig, oracle_task
from seqgan.tracking.base import MemoryTracker
from seqgan.tracking.progress import Progress
from seqgan.training import start
from seqgan.training.checkpoints import flatten, load_checkpoint, read_checkpoint, unflatten
from seqgan.training.final import final_evaluation
from seqgan.training.observers import Evaluation
from seqgan.training.phases.base import Phase
from seqgan.training.phases.maximum_likelihood import epoch_batches, parts_of_passes
from seqgan.training.result import About
from seqgan.training.settings import (
    AdversarialConfig,
    DiscriminatorTrainingConfig,
    PretrainConfig,
    TrainConfig,
)
from seqgan.training.trainer import Trainer


@cache
@cache
def played_weights(config: TrainConfig) -> Float[Tensor, " weights"]:
    """The same without the measuring, which is most of the time that a tiny run takes."""
    trainer, _ = make_trainer(config)
    trainer.observers = []
    trainer.run(trainer.phase("maximum_likelihood"))
    trainer.run(trainer.phase("adversary"))
    trainer.run(trainer.phase("game"))
    return weights_of(trainer)


@cache
def tiny_weights() -> Float[Tensor, " weights"]:
    return final_weights(TINY)


# The same and another


def test_the_same_seed_is_the_same_run() -> None:
    (first, first_memory), (second, second_memory) = make_trainer(), make_trainer()
    result, again = trained(first), trained(second)
    assert torch.equal(weights_of(first), weights_of(second))
    assert first_memory.rows == second_memory.rows
    assert result.final.metrics == again.final.metrics
    returns = first_memory.values("charts/episodic_return")
    assert returns == second_memory.values("charts/episodic_return")


@pytest.mark.slow
def test_another_seed_is_another_run() -> None:
    assert not torch.equal(final_weights(replace(TINY, seed=2)), tiny_weights())


def test_the_global_random_state_is_neither_used_nor_changed() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert torch.equal(final_weights(TINY), tiny_weights())
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("every", 3),
        ("num_samples", 40),
        ("num_final", 40),
        ("num_heldout", 20),
        ("num_shown", 0),
        ("num_shown", 4),
        ("temperatures", (1.0, 0.9, 0.5)),
        ("embeddings", ()),
        ("mauve", True),
    ],
)
def test_measuring_does_not_change_training(name: str, value: Any) -> None:
    """`num_samples` apart, which is also what the discriminator's rounds are measured on."""
    config = changed(TINY, {f"evaluation.{name}": value})
    if name == "num_samples":
        config = changed(config, {"discriminator_training.pretrain_rounds": 0})
        base = final_weights(changed(TINY, {"discriminator_training.pretrain_rounds": 0}))
        assert torch.equal(final_weights(config), base)
    else:
        assert torch.equal(final_weights(config), tiny_weights())


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, {"eval/frechet_hashed", "eval/frechet_hashed_floor"}),
        ({"evaluation.embeddings": ()}, set()),
        (
            {"evaluation.mauve": True},
            {"eval/frechet_hashed", "eval/frechet_hashed_floor", "eval/mauve_hashed"},
        ),
    ],
)
def test_an_evaluation_says_what_its_settings_ask(
    settings: dict[str, Any], names: set[str]
) -> None:
    trainer, _ = make_trainer(changed(TINY, settings))
    found = trainer.observer("evaluation").measure(trainer.players.generator, 20).metrics
    assert {name for name in found if name.startswith(("eval/frechet", "eval/mauve"))} == names
    assert {"eval/bleu_2", "eval/lm_score", "eval/copied_spans"} <= found.keys()


def test_no_texts_are_compared_where_the_exact_distribution_says_more() -> None:
    task = captions_task(CaptionsConfig(train_size=60, dev_size=30, test_size=30))
    trainer, _ = make_trainer(TINY, task)
    found = trainer.observer("evaluation").measure(trainer.players.generator, 20).metrics
    assert not any(name.startswith(("eval/bleu", "eval/rouge", "eval/frechet")) for name in found)
    assert {"eval/grammatical", "eval/copied_spans"} <= found.keys()


# No setting that does nothing

# Settings whose base is not TINY: where another one has to be on for them to matter.
PATIENT = {"pretrain.epochs": 8, "pretrain.learning_rate": 0.5}
# A policy that leaves, within a batch, the bounds of its ratio.
FAR = {"rule.epochs": 4, "rule.learning_rate": 0.1, "rule.update.max_grad_norm": 1e3}
TURNED: Sequence[tuple[str, Any, dict[str, Any]]] = (
    ("pretrain.epochs", 3, {}),
    ("pretrain.epoch_size", 50, {}),
    ("pretrain.patience", 2, {**PATIENT, "pretrain.patience": 1, "pretrain.decays": 0}),
    ("pretrain.decays", 1, {**PATIENT, "pretrain.patience": 1, "pretrain.decays": 0}),
    ("pretrain.batch_size", 7, {}),
    ("pretrain.micro_batch_size", 5, {}),
    ("pretrain.learning_rate", 1e-2, {}),
    ("pretrain.weight_decay", 0.1, {}),
    ("pretrain.max_grad_norm", 1e-2, {}),
    ("discriminator_training.pretrain_rounds", 2, {}),
    ("discriminator_training.patience", 1, {"discriminator_training.pretrain_rounds": 8}),
    ("discriminator_training.pretrain_epochs", 2, {}),
    ("discriminator_training.d_steps", 2, {}),
    ("discriminator_training.every", 2, {}),
    ("discriminator_training.d_epochs", 2, {}),
    ("discriminator_training.num_sequences", 24, {}),
    ("discriminator_training.batch_size", 4, {}),
    ("discriminator_training.micro_batch_size", 2, {}),
    ("discriminator_training.learning_rate", 1e-2, {}),
    ("discriminator_training.schedule", "linear", {}),
    ("discriminator_training.schedule", "cosine", {}),
    ("discriminator_training.warmup", 2, {}),
    ("discriminator_training.adam.beta1", 0.5, {}),
    ("discriminator_training.adam.beta2", 0.5, {}),
    ("discriminator_training.adam.epsilon", 1e-2, {}),
    ("discriminator_training.adam.weight_decay", 0.5, {}),
    ("discriminator_training.l2", 0.5, {}),
    ("discriminator_training.max_grad_norm", 1e-2, {}),
    ("discriminator_training.precision", "bfloat16", {}),
    ("discriminator_training.loss", "pairwise", {}),
    ("discriminator_training.label_smoothing", 0.1, {}),
    ("discriminator_training.spectral_norm", True, {}),
    ("discriminator_training.gradient_penalty", 1.0, {}),
    ("discriminator_training.max_accuracy", 0.1, {}),
    ("discriminator_training.replay", 0.5, {}),
    ("discriminator_training.replay_size", 1, {"discriminator_training.replay": 0.5}),
    ("adversarial.iterations", 4, {}),
    ("adversarial.g_steps", 2, {}),
    ("adversarial.batch_size", 6, {}),
    ("rule.learning_rate", 1e-2, {}),
    ("rule.schedule", "linear", {}),
    ("rule.schedule", "cosine", {}),
    ("rule.warmup", 2, {}),
    ("rule.adam.beta1", 0.5, {}),
    ("rule.adam.beta2", 0.5, {}),
    ("rule.adam.epsilon", 1e-2, {}),
    ("rule.adam.weight_decay", 0.5, {}),
    ("rule.num_rollouts", 2, {}),
    ("rule.num_rollouts", 0, {}),
    ("rule.rollout_decay", 0.9, {"rule.learning_rate": 0.5}),
    ("rule.rollout_stride", 2, {}),
    ("rule.rollout_chunk", 1, {}),
    ("adversarial.reward_shape", "probability", {}),
    ("adversarial.reward_shape", "log_probability", {}),
    ("adversarial.reward_shape", "minimax", {}),
    ("adversarial.reward_shape", "centred", {}),
    ("adversarial.reward_clip", 1e-3, {}),
    ("rule.aggregation", "normalize_then_sum", {}),
    ("rule.baseline", "none", {}),
    ("rule.baseline", "batch_mean", {}),
    ("rule.baseline", "moving_average", {}),
    ("rule.baseline_decay", 0.1, {"rule.baseline": "moving_average"}),
    ("rule.rescale", "rank", {}),
    ("rule.rescale", "bootstrapped_rank", {}),
    ("rule.rescale", "maligan", {}),
    ("rule.baseline", "group_mean", {}),
    ("rule.baseline", "group_leave_one_out", {}),
    ("rule.baseline", "self_critical", {}),
    ("rule.baseline", "prefix", {"rule.kl_in": "loss"}),
    ("rule.scale", "batch", {}),
    ("rule.scale", "group", {}),
    ("rule.scale", "whiten", {}),
    ("rule.kl_weight", 0.5, {}),
    ("rule.kl_target", 1e-4, {}),
    ("rule.reference_every", 1, {"rule.learning_rate": 0.1}),
    ("rule.kl_in", "loss", {"rule.learning_rate": 0.1}),
    ("rule.kl_estimator", "k2", {"rule.kl_in": "loss", "rule.learning_rate": 0.1}),
    ("rule.loss", "ppo", FAR),
    ("rule.loss", "gspo", FAR),
    ("rule.loss", "cispo", FAR),
    ("rule.clip_low", 0.3, {**FAR, "rule.loss": "ppo"}),
    ("rule.clip_high", 0.3, {**FAR, "rule.loss": "ppo"}),
    ("rule.epochs", 2, {}),
    ("rule.minibatch_size", 2, {}),
    ("rule.stop_kl", 1e-9, {"rule.epochs": 3}),
    ("rule.gamma", 0.5, {"rule.num_rollouts": 0}),
    ("rule.mask_truncated", True, {}),
    ("rule.update.max_grad_norm", 1e-3, {}),
    ("rule.update.entropy_weight", 1.0, {}),
    ("rule.update.mle_weight", 0.5, {}),
    ("rule.update.reduction", "sum", {}),
    ("rule.update.micro_batch_size", 1, {}),
)


@pytest.mark.parametrize(
    ("name", "value", "base"), TURNED, ids=[f"{name}={value}" for name, value, _ in TURNED]
)
@pytest.mark.slow
def test_a_turned_setting_changes_the_run(name: str, value: Any, base: dict[str, Any]) -> None:
    config = changed(TINY, base)
    turned = changed(config, {name: value})
    assert turned != config
    assert not torch.equal(played_weights(turned), played_weights(config))


def test_what_is_compared_there_is_a_whole_run() -> None:
    assert torch.equal(played_weights(TINY), tiny_weights())


def test_every_setting_of_training_is_turned() -> None:
    names = set()
    for part, config in (
        ("pretrain", PretrainConfig),
        ("discriminator_training", DiscriminatorTrainingConfig),
        ("adversarial", AdversarialConfig),
        ("rule", PolicyGradientConfig),
        ("rule.update", GeneratorUpdate),
        ("rule.adam", AdamConfig),
        ("discriminator_training.adam", AdamConfig),
    ):
        names |= {f"{part}.{field.name}" for field in fields(config)}
    assert {name for name, _, _ in TURNED} == names - {
        *("rule.kind", "rule.update", "rule.adam", "discriminator_training.adam"),
        "rule.critic",  # see test_critic.py
        "adversarial.group_size",  # matters where there are prompts: see test_groups.py
        # What ends a game is in test_early_stop.py.
        *("adversarial.patience", "adversarial.stop_metric"),
        "adversarial.ema_decay",  # changes what is kept, and no training: see test_averaging.py
    }


# The discriminator's training

REGULARISED = {
    "discriminator_training.label_smoothing": 0.1,
    "discriminator_training.spectral_norm": True,
    "discriminator_training.gradient_penalty": 0.5,
    "discriminator_training.replay": 0.5,
    "discriminator_training.replay_size": 20,
}
CAUSAL = CausalDiscriminatorConfig(width=8, num_layers=1, num_heads=2)


def gone_on(config: TrainConfig) -> Trainer:
    """A run of three iterations that was stopped after two, and went on from its state."""
    stopped, _ = make_trainer(changed(config, {"adversarial.iterations": 2}))
    stopped.run(stopped.phase("maximum_likelihood"))
    stopped.run(stopped.phase("adversary"))
    stopped.run(stopped.phase("game"))
    resumed, _ = make_trainer(config)
    plain, tensors = flatten(stopped.state_dict())
    resumed.load_state_dict(unflatten(plain, {n: t.clone() for n, t in tensors.items()}))
    return resumed


@pytest.mark.slow
@pytest.mark.parametrize("discriminator", [TINY.discriminator, CAUSAL], ids=["gru", "causal"])
def test_what_regularises_goes_on_bit_for_bit(discriminator: Any) -> None:
    """The vectors of the power iteration and the older sequences are part of the state."""
    config = replace(changed(TINY, REGULARISED), discriminator=discriminator)
    resumed = gone_on(config)
    assert resumed.players.replay.kept is not None
    assert len(resumed.players.replay.kept) == 20
    resumed.run(resumed.phase("game"))
    assert torch.equal(weights_of(resumed), played_weights(config))


@pytest.mark.slow
def test_half_precision_goes_on_bit_for_bit() -> None:
    half = {"generator.precision": "bfloat16", "discriminator_training.precision": "bfloat16"}
    config = changed(TINY, {**half, "generator.dropout": 0.2, "rule.epochs": 2})
    resumed = gone_on(config)
    resumed.run(resumed.phase("game"))
    found = weights_of(resumed)
    assert torch.equal(found, played_weights(config))
    assert found.dtype == torch.float32
    for name in half:
        assert not torch.equal(found, played_weights(changed(config, {name: "float32"})))


def test_replayed_sequences_are_of_earlier_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the second round on half of them are, and as many fewer are drawn."""
    trainer, _ = make_trainer(changed(TINY, {"discriminator_training.replay": 0.5}))
    rounds: list[Sequences] = []
    fresh: list[Sequences] = []
    draw = trainer.players.draw

    def watched(n: int, rng: torch.Generator) -> Sequences:
        fresh.append(draw(n, rng))
        return fresh[-1]

    monkeypatch.setattr(trainer.players, "draw", watched)
    monkeypatch.setattr(
        "seqgan.learning.adversary.train_discriminator",
        lambda reward, real, generated, *rest, **settings: rounds.append(generated) or {},
    )
    for _ in range(3):
        adversary_round(trainer.players, TINY.discriminator_training, 1, trainer.rng)
    assert [len(part) for part in fresh] == [16, 8, 8]
    assert [len(part) for part in rounds] == [16, 16, 16]
    before: set[str] = set()
    for mixed, new in zip(rounds, fresh, strict=True):
        assert mixed.texts[: len(new)] == new.texts
        assert set(mixed.texts[len(new) :]) <= before
        before |= set(new.texts)


@pytest.mark.parametrize("num_rollouts", [0, 2])
def test_a_token_is_credited_with_what_it_and_later_ones_earn(num_rollouts: int) -> None:
    """By a discriminator of every token. Without rollouts the value of a token is the sum of its
    own reward and of those to come. The discriminator counts half."""
    settings = {"rule.num_rollouts": num_rollouts, "rule.kl_weight": 0.0}
    settings |= {"rule.baseline": "none", "adversarial.reward_shape": "centred"}
    config = replace(changed(TINY, settings), discriminator=CAUSAL, reward_weights=(0.5,))
    trainer, _ = make_trainer(config)
    assert trainer.players.discriminator is not None
    given: list[Trajectories] = []
    rule = trainer.phase("game").rule
    whole = rule.credited

    def watched(players: Players, trajectories: Trajectories) -> Trajectories:
        given.append(whole(players, trajectories))
        torch.testing.assert_close(given[-1].returns, trajectories.returns)
        assert torch.all((trajectories.rewards != 0).sum(dim=1) == 1)  # with the last token
        return given[-1]

    rule.credited = watched
    rule.step(trainer.players, trainer.rng)
    (trajectories,) = given
    increments = 0.5 * trainer.players.discriminator.score(trajectories.sequences)
    torch.testing.assert_close(trajectories.rewards, increments, atol=1e-6, rtol=1e-5)
    to_go = increments.flip(1).cumsum(dim=1).flip(1)
    values = rule._shown["advantage"]
    mask = trajectories.mask
    last = mask & ~torch.nn.functional.pad(mask, (0, 1))[:, 1:]
    torch.testing.assert_close(values[last], to_go[last], atol=1e-6, rtol=1e-5)
    same = torch.isclose(values, to_go, atol=1e-6)[mask]
    assert bool(same.all()) == (num_rollouts == 0)


def test_values_in_another_unit_keep_the_whole_reward() -> None:
    settings = {"rule.rescale": "rank", "rule.num_rollouts": 0}
    trainer, _ = make_trainer(replace(changed(TINY, settings), discriminator=CAUSAL))
    trajectories = trainer.players.collect(trainer.rng)
    assert trainer.phase("game").rule.credited(trainer.players, trajectories) is trajectories


# Pretraining


def test_patience_keeps_the_weights_of_the_best_epoch() -> None:
    """A learning rate far too high: the dev NLL rises, and the best epoch is not the last."""
    settings = {"pretrain.epochs": 8, "pretrain.learning_rate": 0.5, "pretrain.patience": 2}
    settings |= {"pretrain.decays": 0}
    trainer, memory = make_trainer(changed(TINY, settings))
    trainer.run(trainer.phase("maximum_likelihood"))
    history = memory.values("pretrain/nll_dev")
    best = min(history)
    assert history.index(best) == len(history) - 3  # two epochs without a gain after it
    assert len(history) < 8
    assert trainer.players.nll_dev() == pytest.approx(best, abs=1e-6)
    assert memory.values("pretrain/best_nll_dev")[-1] == best


def test_a_plateau_goes_back_to_the_best_epoch_with_a_third_of_the_rate() -> None:
    settings = {"pretrain.epochs": 20, "pretrain.learning_rate": 0.5, "pretrain.patience": 1}
    trainer, memory = make_trainer(changed(TINY, settings | {"pretrain.decays": 1}))
    trainer.run(trainer.phase("maximum_likelihood"))
    history = memory.values("pretrain/nll_dev")
    assert trainer.phase("maximum_likelihood").decays == 1
    assert trainer.phase("maximum_likelihood").optimizer.param_groups[0]["lr"] == pytest.approx(
        0.5 / 3
    )
    assert trainer.players.nll_dev() == pytest.approx(min(history), abs=1e-6)


def test_without_patience_all_epochs_are_trained_and_the_last_is_kept() -> None:
    settings = {"pretrain.epochs": 8, "pretrain.learning_rate": 0.5, "pretrain.patience": 0}
    trainer, memory = make_trainer(changed(TINY, settings))
    trainer.run(trainer.phase("maximum_likelihood"))
    history = memory.values("pretrain/nll_dev")
    assert len(history) == 8
    assert min(history) < history[-1]  # so that keeping the best would show
    assert trainer.players.nll_dev() == pytest.approx(history[-1], abs=1e-6)


@pytest.mark.parametrize(
    ("first", "count", "expected"),
    [
        (0, 4, [(0, 0, 4)]),
        (4, 4, [(0, 4, 8)]),
        (8, 4, [(0, 8, 10), (1, 0, 2)]),
        (10, 10, [(1, 0, 10)]),
        (25, 27, [(2, 5, 10), (3, 0, 10), (4, 0, 10), (5, 0, 2)]),
    ],
)
def test_parts_of_passes(first: int, count: int, expected: list[tuple[int, int, int]]) -> None:
    """Passes of 10 rows."""
    parts = parts_of_passes(first, count, 10)
    assert [(number, part.start, part.stop) for number, part in parts] == expected


def test_short_epochs_go_on_through_the_data() -> None:
    """61 rows in epochs of 7: every row once before any row again, in minibatches of 3."""
    config = changed(TINY, {"pretrain.epoch_size": 7, "pretrain.batch_size": 3})
    trainer, _ = make_trainer(config)
    rows = []
    for epoch in range(20):
        batches = list(epoch_batches(trainer.players, config.pretrain, epoch, trainer.rng))
        assert sum(map(len, batches)) == 7
        assert max(map(len, batches)) == 3
        rows += [tuple(row) for batch in batches for row in batch.tokens.tolist()]
    train = sorted(map(tuple, next(trainer.players.task.chunks("train", 61)).tokens.tolist()))
    first, second = rows[:61], rows[61:122]
    assert sorted(first) == sorted(second) == train
    assert first != second


def test_short_epochs_are_counted_logged_and_followed_by_the_dev_nll() -> None:
    settings = {"pretrain.epoch_size": 7, "pretrain.epochs": 5, "pretrain.patience": 0}
    trainer, memory = make_trainer(changed(TINY, settings))
    trainer.run(trainer.phase("maximum_likelihood"))
    assert memory.values("pretrain/epoch") == [1, 2, 3, 4, 5]
    assert len(set(memory.values("pretrain/nll_dev"))) == 5


def test_the_game_starts_from_the_pretrained_generator() -> None:
    trainer, _ = make_trainer(changed(TINY, {"adversarial.iterations": 0}))
    result = trained(trainer)
    assert result.final.metrics == pytest.approx(result.start.metrics, abs=1e-6)
    state, pretrained = (
        trainer.players.generator.state_dict(),
        trainer.players.reference.state_dict(),
    )
    assert all(torch.equal(state[name], pretrained[name]) for name in state)


# The game


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["constant", "random"])
def test_a_control_has_no_adversary(kind: Any) -> None:
    trainer, memory = make_trainer(replace(TINY, reward=(kind,)))
    result = trained(trainer)
    names = {name for metrics in memory.logged for name in metrics}
    assert not [name for name in names if "discriminator" in name or "minimax" in name]
    assert f"rewards/{kind}/mean" in names
    assert result.information == []
    assert result.about == About(True, "", (), (kind,))
    assert results_dict(result)["sentences"][0].startswith("This run is a control: reward")


@pytest.mark.slow
def test_the_information_is_that_of_the_evaluations() -> None:
    trainer, memory = make_trainer(changed(TINY, {"evaluation.every": 2}))
    result = trained(trainer)
    assert [iteration for iteration, _, _ in result.information] == [0, 2, 3]
    evaluated = [metrics for metrics in memory.logged if "eval/entropy" in metrics]
    logged = [metrics["discriminator/information_heldout"] for metrics in evaluated]
    assert [value for _, value, _ in result.information] == logged
    assert "in the game was" in information_sentence([(0, 9.0, 0.1), (2, 1.0, 0.1)])


@pytest.mark.slow
def test_the_controller_moves_the_kl_weight() -> None:
    """An unreachable target above the KL: the weight falls by 2% an iteration, its largest step."""
    trainer, memory = make_trainer(changed(TINY, {"rule.kl_target": 50.0}))
    trainer.train()
    assert memory.values("kl/weight") == pytest.approx([0.1, 0.098, 0.098 * 0.98])
    fixed, fixed_memory = make_trainer()
    fixed.train()
    assert fixed_memory.values("kl/weight") == [0.1, 0.1, 0.1]


def test_the_rollout_policy_is_a_moving_average() -> None:
    """After one step from theta to theta': decay theta + (1 - decay) theta'."""
    settings = {"rule.rollout_decay": 0.75, "adversarial.iterations": 1}
    trainer, _ = make_trainer(changed(TINY, settings))
    trainer.train()
    policies = (
        trainer.phase("game").rule.credit.policy,
        trainer.players.reference,
        trainer.players.generator,
    )
    for slow, old, new in zip(*(policy.parameters() for policy in policies), strict=True):
        torch.testing.assert_close(slow, 0.75 * old + 0.25 * new)


def test_global_step_counts_the_collected_tokens() -> None:
    trainer, memory = make_trainer()
    trainer.train()
    lengths = memory.values("charts/episodic_length")
    steps = memory.values("global_step")
    assert steps[0] == 0  # the evaluation before the game
    assert steps[-1] == pytest.approx(4 * sum(lengths))


class CountOfFirst:
    """Counts word 0 in a text."""

    name = "count"
    per_token = False

    def score(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        return ((sequences.tokens == 0) & sequences.mask).sum(dim=1).float()


class CountOfFirstPerToken(CountOfFirst):
    per_token = True

    def score(self, sequences: Sequences) -> Float[Tensor, "batch time"]:
        return ((sequences.tokens == 0) & sequences.mask).float()


@pytest.mark.slow
@pytest.mark.parametrize("reward", [CountOfFirst(), CountOfFirstPerToken()], ids=["end", "token"])
@pytest.mark.parametrize("num_rollouts", [0, 2])
def test_the_game_learns_a_reward(reward: RewardModel, num_rollouts: int) -> None:
    """Five words, six tokens, uniform data: 1.2 of word 0 at the start, 6 is perfect.

    At least 3 more after forty iterations, whichever way the reward is told.
    """
    vocabulary = Vocabulary(("a", "b", "c", "d", "e"), has_eos=False, bos_word=0)
    rng = torch.Generator().manual_seed(0)
    rows = torch.randint(5, (200, 6), generator=rng).tolist()
    data = Sequences.from_rows(rows, vocabulary, 6)
    task = FixedTask(vocabulary, 6, {"train": data, "dev": data, "test": data})
    settings = {
        "adversarial.iterations": 40,
        "adversarial.batch_size": 32,
        "rule.num_rollouts": num_rollouts,
        "rule.learning_rate": 0.03,
        "rule.kl_weight": 0.0,
        "generator.hidden_size": 8,
        "evaluation.every": 40,
    }
    trainer, memory = make_trainer(changed(TINY, settings), task, reward)
    trainer.train()
    returns = memory.values("charts/episodic_return")
    assert returns[0] == pytest.approx(1.2, abs=0.6)
    assert returns[-1] > returns[0] + 3
    assert memory.values("rewards/count/mean") == returns


# Numbers that are not finite


def test_a_loss_that_is_not_finite_stops_pretraining() -> None:
    trainer, memory = make_trainer()
    with torch.no_grad():
        next(trainer.players.generator.parameters()).fill_(torch.nan)
    with pytest.raises(DivergedError, match="the pretraining loss is nan, not finite"):
        trainer.train()
    assert memory.logged == []


def test_a_dev_nll_that_is_not_finite_stops_pretraining(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the last step of an epoch breaks the weights: its loss was finite."""
    monkeypatch.setattr("seqgan.learning.players.Players.nll_dev", lambda players: float("nan"))
    trainer, memory = make_trainer()
    with pytest.raises(DivergedError, match="the dev NLL is nan, not finite"):
        trainer.train()
    assert memory.logged == []


def test_a_loss_that_is_not_finite_stops_the_discriminator() -> None:
    trainer, memory = make_trainer()
    assert trainer.players.discriminator is not None
    with torch.no_grad():
        trainer.players.discriminator.discriminator.output.bias.fill_(torch.nan)
    with pytest.raises(DivergedError, match="the discriminator loss is nan, not finite"):
        trainer.run(trainer.phase("adversary"))
    assert memory.logged == []


def test_a_loss_that_is_not_finite_stops_the_game_with_the_weights_as_they_were() -> None:
    settings = {"pretrain.epochs": 0, "adversarial.batch_size": 16, "rule.num_rollouts": 0}
    trainer, _ = make_trainer(changed(TINY, settings))
    trainer.phase("game").rule.anchor.weight = math.nan  # no unknown value: it stays
    before = weights_of(trainer)
    with pytest.raises(DivergedError, match=r"the policy-gradient loss is .*, not finite"):
        trainer.phase("game").rule.step(trainer.players, trainer.rng)
    assert torch.equal(weights_of(trainer), before)


class Infinite(CountOfFirst):
    def score(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        return super().score(sequences) + torch.inf


def test_a_reward_that_is_not_finite_stops_the_game() -> None:
    trainer, _ = make_trainer(reward=Infinite())
    with pytest.raises(
        ValueError, match=r"'count' failed on row 0 .*: it gave inf, but a reward must be finite"
    ):
        trainer.phase("game").rule.step(trainer.players, trainer.rng)


# Several rewards


class FirstOnly(CountOfFirst):
    """The other tokens' share, for texts that begin with token 0."""

    name = "first_only"

    def score(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        others = 1 - super().score(sequences)
        return torch.where(sequences.tokens[:, 0] == 0, others, torch.nan)


@pytest.mark.slow
def test_each_part_of_the_reward_is_logged_for_the_rows_that_it_applies_to() -> None:
    trainer, memory = make_trainer(reward=WeightedSum([CountOfFirst(), FirstOnly()], [1.0, 0.25]))
    trainer.train()
    assert len(memory.values("rewards/count/mean")) == 3
    assert memory.values("rewards/count/not_applicable") == [0.0] * 3
    shares = memory.values("rewards/first_only/not_applicable")
    assert all(0 < share <= 1 for share in shares)
    assert len(memory.values("rewards/first_only/mean")) == sum(share < 1 for share in shares)
    assert {"reward", "reward_count", "reward_first_only"} <= memory.rows[0].keys()
    assert len({tuple(row) for row in memory.rows}) == 1


@pytest.mark.slow
def test_the_discriminator_learns_beside_another_reward() -> None:
    alone, _ = make_trainer(changed(TINY, {"reward": ("discriminator",)}))
    together, memory = make_trainer(
        changed(TINY, {"reward": ("discriminator", "constant"), "reward_weights": (1.0, 5.0)})
    )
    for trainer in (alone, together):
        trainer.train()
    assert memory.values("losses/discriminator")
    assert memory.values("rewards/constant/mean") == [1.0] * 3
    # A constant is no reward to tell sequences apart by: the same game.
    torch.testing.assert_close(weights_of(together), weights_of(alone), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_a_weight_changes_the_run() -> None:
    settings = {"reward": ("discriminator", "random"), "reward_weights": (1.0, 1.0)}
    config = changed(TINY, settings)
    turned = changed(config, {"reward_weights": (1.0, 3.0)})
    normalised = changed(config, {"rule.aggregation": "normalize_then_sum"})
    assert not torch.equal(played_weights(config), played_weights(TINY))
    assert not torch.equal(played_weights(config), played_weights(turned))
    assert not torch.equal(played_weights(config), played_weights(normalised))


def test_a_row_without_a_reward_teaches_nothing() -> None:
    class Never(CountOfFirst):
        def score(self, sequences: Sequences) -> Float[Tensor, " batch"]:
            return torch.full((len(sequences),), torch.nan)

    settings = {"rule.kl_weight": 0.3, "rule.update.entropy_weight": 0.0}
    trainer, _ = make_trainer(changed(TINY, settings), reward=Never())
    before = weights_of(trainer)
    trainer.phase("game").rule.step(trainer.players, trainer.rng)
    trainer.phase("game").rule.step(trainer.players, trainer.rng)
    assert torch.equal(weights_of(trainer), before)


class Follower(CountOfFirst):
    """Knows and reports where the training is, and raises from some iteration on."""

    def __init__(self, fails_from: int = 99) -> None:
        self.fails_from = fails_from
        self.iteration = -1

    def score(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        if self.iteration >= self.fails_from:
            raise KeyError("politeness")
        return super().score(sequences)

    def follow(self, global_step: int, iteration: int, iterations: int) -> None:
        self.iteration = iteration

    def take_metrics(self) -> dict[str, float]:
        return {"iteration_seen": float(self.iteration)}

    def take_extras(self) -> dict[str, list[Any]]:
        return {}


def test_a_reward_follows_the_training_and_reports() -> None:
    trainer, memory = make_trainer(reward=Follower())
    trainer.train()
    assert memory.values("rewards/count/iteration_seen") == [0.0, 1.0, 2.0]


@pytest.mark.slow
@pytest.mark.parametrize("iteration", [0, 2])
def test_a_failing_reward_leaves_a_checkpoint_from_which_the_run_ends_the_same(
    iteration: int, tmp_path: Path
) -> None:
    config = changed(TINY, {"evaluation.num_shown": 0, "checkpoint_seconds": 1e9})
    whole, _ = make_trainer(config, reward=CountOfFirst())
    whole.train()
    failing = start.make_trainer(
        config, toy_task(), MemoryTracker(), Progress(), tmp_path, rewards=Follower(iteration)
    )
    with pytest.raises(RewardError, match=r"on row 0 .*: KeyError: 'politeness'"):
        failing.train()
    resumed, _ = make_trainer(config, reward=CountOfFirst())
    resumed.load_state_dict(load_checkpoint(tmp_path)[1])
    assert resumed.players.position.iteration == iteration
    resumed.train()
    assert torch.equal(weights_of(resumed), weights_of(whole))


class FailsOnce(CountOfFirst):
    """Raises in the given call."""

    def __init__(self, call: int) -> None:
        self.calls_left = call

    def score(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        self.calls_left -= 1
        if self.calls_left == 0:
            raise RewardError(self.name, "the server is down", 0)
        return super().score(sequences)


TWO_STEPS = changed(
    TINY,
    {
        "adversarial.g_steps": 2,
        "evaluation.num_shown": 0,
        "evaluation.every": 3,
        "checkpoint_seconds": 1e9,
    },
)


@pytest.fixture(scope="module")
def two_steps() -> Trainer:
    """A whole run of two generator steps an iteration."""
    whole, _ = make_trainer(TWO_STEPS, reward=CountOfFirst())
    whole.train()
    return whole


@pytest.mark.slow
@pytest.mark.parametrize("call", range(1, 9))
def test_a_failure_between_two_generator_steps_does_the_first_no_second_time(
    call: int, two_steps: Trainer, tmp_path: Path
) -> None:
    """A step asks twice, for the texts and for the completions: four calls are an iteration."""
    failing = start.make_trainer(
        TWO_STEPS, toy_task(), MemoryTracker(), Progress(), tmp_path, rewards=FailsOnce(call)
    )
    with pytest.raises(RewardError, match="the server is down"):
        failing.train()
    resumed, _ = make_trainer(TWO_STEPS, reward=CountOfFirst())
    resumed.load_state_dict(load_checkpoint(tmp_path)[1])
    resumed.train()
    assert torch.equal(weights_of(resumed), weights_of(two_steps))
    assert resumed.players.position.global_step == two_steps.players.position.global_step


def test_what_was_said_about_other_rows_than_those_shown_is_not_shown() -> None:
    """A batch with a failing text is scored in parts, and only of the last is anything said."""

    def picky(texts: list[str], log_extra: Any) -> list[float]:
        log_extra("length", [len(text) for text in texts])
        if any(len(text) > 5 for text in texts):
            raise KeyError("too long")
        return [1.0 for _ in texts]

    rewards = WeightedSum([as_reward(picky)], failures=FailurePolicy(on_failure="skip"))
    shown = every_sequence(ENDING).select(torch.arange(0, 121, 20))
    config = changed(TINY, {"evaluation.num_shown": len(shown)})
    trainer, memory = make_trainer(config, reward=rewards)
    assert {len(text) > 5 for text in shown.texts} == {True, False}
    trainer.observer("samples").log("game", shown)
    assert [row["text"] for row in memory.rows] == shown.texts
    assert not any("picky/length" in row for row in memory.rows)


def test_a_random_reward_keeps_the_name_that_tells_it_from_another() -> None:
    config = replace(TINY, reward=("random(seed=7)", "random"))
    assert make_trainer(config)[0].players.rewards.names == ("random", "random_2")


class Picky(CountOfFirst):
    """Raises on texts that begin with word 1."""

    def score(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        if bool((sequences.tokens[:, 0] == 1).any()):
            raise KeyError("politeness")
        return super().score(sequences)


def test_a_failing_reward_may_be_skipped(capsys: pytest.CaptureFixture[str]) -> None:
    rewards = WeightedSum([Picky()], failures=FailurePolicy(on_failure="skip"))
    settings = {"evaluation.num_shown": 0, "adversarial.batch_size": 16}
    trainer, memory = make_trainer(changed(TINY, settings), reward=rewards)
    trainer.train()
    assert all(0 < share < 1 for share in memory.values("rewards/count/not_applicable"))
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("KeyError: 'politeness'; it does not count there") == 1


def test_a_reward_that_always_fails_is_not_skipped_for_ever() -> None:
    rewards = WeightedSum([Follower(1)], failures=FailurePolicy(on_failure="skip"))
    trainer, _ = make_trainer(changed(TINY, {"evaluation.num_shown": 0}), reward=rewards)
    with pytest.raises(RewardError, match="'count' failed: it failed on all 4 texts of an iterat"):
        trainer.train()
    assert trainer.players.position.iteration == 1


class Learner(CountOfFirst):
    """Has nothing to learn, and refuses to from its n-th update on."""

    def __init__(self, updates: int = 10**9) -> None:
        self.updates = updates

    def update(self, real: Sequences, generated: Sequences) -> dict[str, float | int]:
        if self.updates == 0:
            raise RewardError(self.name, "no more")
        self.updates -= 1
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Any) -> None:
        pass


@pytest.mark.slow
def test_a_reward_that_fails_to_learn_repeats_no_generator_step(tmp_path: Path) -> None:
    settings = {"evaluation.num_shown": 0, "checkpoint_seconds": 1e9, "adversarial.g_steps": 2}
    config = changed(TINY, settings)
    whole, _ = make_trainer(config, reward=Learner())
    whole.train()
    # A round is four minibatches; the first is before the game.
    failing = start.make_trainer(
        config, toy_task(), MemoryTracker(), Progress(), tmp_path, rewards=Learner(9)
    )
    with pytest.raises(RewardError, match="no more"):
        failing.train()
    resumed, _ = make_trainer(config, reward=Learner())
    resumed.load_state_dict(load_checkpoint(tmp_path)[1])
    assert resumed.players.position.iteration == 1
    assert resumed.phase("game").generator_steps == 2
    resumed.train()
    assert torch.equal(weights_of(resumed), weights_of(whole))


# What is told, and what is kept


def alerts_of(trainer: Trainer, memory: MemoryTracker) -> list[tuple[str, str]]:
    """Trains as long as it goes; the alerts of the run."""
    with contextlib.suppress(DivergedError, RewardError):
        trainer.train()
    return memory.alerts


def test_a_loss_that_is_not_finite_is_an_alert() -> None:
    trainer, memory = make_trainer()
    with torch.no_grad():
        next(trainer.players.generator.parameters()).fill_(torch.nan)
    (alert,) = alerts_of(trainer, memory)
    assert alert == (
        "diverged",
        "pretrain generator, step 0 of 2: the pretraining loss is nan, not finite",
    )


class Mistyping(Follower):
    """Reports under a name with a part too many."""

    def take_metrics(self) -> dict[str, float]:
        return {"seen/iteration": 1.0}


def test_a_metric_that_nobody_listed_ends_the_run_and_is_no_divergence() -> None:
    trainer, memory = make_trainer(reward=Mistyping())
    with pytest.raises(ConfigurationError) as error:
        trainer.train()
    assert "unknown metric 'rewards/count/seen/iteration'" in str(error.value)
    assert memory.alerts == []


def test_a_failing_reward_is_an_alert() -> None:
    trainer, memory = make_trainer(
        changed(TINY, {"evaluation.num_shown": 0}), reward=Follower(fails_from=2)
    )
    ((title, text),) = alerts_of(trainer, memory)
    assert title == "reward failed"
    assert text.startswith("game, step 2 of 3: reward 'count' failed on row 0")


def test_trouble_is_told_once_and_not_again_after_a_stop(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = []

    def find(metrics: Any, start: Any) -> list[Trouble]:
        seen.append((metrics["iteration"], metrics["eval/entropy"], start["eval/entropy"]))
        assert "losses/policy" in metrics
        return [Trouble("mode collapse", "one text")]

    monkeypatch.setattr("seqgan.training.observers.find_trouble", find)
    trainer, memory = make_trainer()
    assert alerts_of(trainer, memory) == [("mode collapse", "iteration 1: one text")]
    assert capsys.readouterr().err.count("mode collapse: iteration 1: one text") == 1
    assert [iteration for iteration, _, _ in seen] == [1, 2, 3]
    assert len({start for _, _, start in seen}) == 1
    assert seen[0][2] not in {entropy for _, entropy, _ in seen}
    resumed, memory = make_trainer(changed(TINY, {"adversarial.iterations": 5}))
    resumed.load_state_dict(trainer.state_dict())
    assert alerts_of(resumed, memory) == []
    assert [iteration for iteration, _, _ in seen] == [1, 2, 3, 4, 5]


def test_an_untroubled_run_has_no_alerts() -> None:
    trainer, memory = make_trainer()
    assert alerts_of(trainer, memory) == []


class Clock:
    """Stands in for the `time` of the trainer's module."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


class Slow:
    """A phase of 12 units; each takes 4 seconds of a clock, and nothing is learnt."""

    name = title = "slow"
    shown: tuple[str, ...] = ()
    evaluated, total = False, 12

    def __init__(self, clock: Clock) -> None:
        self.clock, self.count = clock, 0.0

    def done(self) -> bool:
        return self.count == self.total

    def unit(self, players: Players, rng: torch.Generator) -> Metrics:
        self.count += 1
        self.clock.now += 4
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        return None


@pytest.mark.parametrize(
    ("pause", "seconds", "steps"),
    [
        (0, 1, [*range(1, 13)]),  # after every unit, however long it takes
        (0, 100, [*range(1, 13)]),
        (1, 0, [*range(1, 13)]),
        (1, 1, [1, 4, 7, 10]),  # 9 seconds and more after a second of writing
        (1, 2, [1, 6, 11]),
        (20, 1, [5, 10]),
        (20, 4, [5]),
    ],
)
def test_checkpoints_take_a_tenth_of_the_time_unless_every_unit_has_one(
    pause: float, seconds: float, steps: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    saved: list[int] = []

    def save_checkpoint(folder: Path, step: int, state: Mapping[str, Any], keep: int) -> Path:
        saved.append(step)
        clock.now += seconds
        return folder

    monkeypatch.setattr("seqgan.training.trainer.time", clock)
    monkeypatch.setattr("seqgan.training.trainer.save_checkpoint", save_checkpoint)
    players = make_trainer()[0].players
    where = (MemoryTracker(), Progress(), torch.Generator(), Path("checkpoints"))
    Trainer(players, [Slow(clock)], *where, pause).train()
    assert saved == steps


@pytest.mark.parametrize(
    ("losses", "kept"),
    [([5.0, 3.0, 4.0], [1, 2]), ([3.0, 3.0, 2.0], [1, 3]), ([math.nan, 4.0, 9.0], [2])],
)
@pytest.mark.slow
def test_the_best_evaluation_of_the_game_is_kept(
    losses: list[float], kept: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one before the game, at 0, is no candidate; of equal ones the first is kept."""
    expected = tiny_weights()
    memory, folder = MemoryTracker(), tmp_path / "checkpoints"
    trainer = start.make_trainer(TINY, toy_task(), memory, Progress(), folder, tmp_path / "best")
    original = Evaluation.evaluate

    def evaluate(self: Evaluation, phase: Phase) -> Metrics:
        loss = [0.0, *losses][self.players.position.iteration]
        return {**original(self, phase), "checkpoint/loss": loss}

    monkeypatch.setattr(Evaluation, "evaluate", evaluate)
    trained(trainer)
    *best, last = memory.checkpoints
    assert [metadata["iteration"] for _, _, metadata in best] == kept
    assert {(path, aliases) for path, aliases, _ in best} == {
        (tmp_path / "best", ("latest", "best"))
    }
    assert (last[0].parent, last[1], last[2]["iteration"]) == (folder, ("latest",), 3)
    state = read_checkpoint(tmp_path / "best")
    assert state["phases"]["game"]["iterations"] == kept[-1]
    least = losses[kept[-1] - 1]
    assert state["observers"]["best"]["loss"] == trainer.observer("best").loss == least
    # Whole: the run could go on from it.
    resumed, _ = make_trainer()
    resumed.load_state_dict(state)
    resumed.train()
    assert torch.equal(weights_of(resumed), expected)


@pytest.mark.parametrize(("every", "evaluated"), [(1, [0, 1, 2, 3]), (2, [0, 2, 3]), (9, [0, 3])])
def test_the_last_iteration_is_evaluated_and_the_best_kept(
    tmp_path: Path, every: int, evaluated: list[int]
) -> None:
    memory, config = MemoryTracker(), changed(TINY, {"evaluation.every": every})
    folder, best = tmp_path / "checkpoints", tmp_path / "best"
    trainer = start.make_trainer(config, toy_task(), memory, Progress(), folder, best)
    trainer.train()
    rows = [row["iteration"] for row in memory.logged if "checkpoint/loss" in row]
    assert rows == evaluated
    assert read_checkpoint(best)["players"]["position"]["iteration"] in evaluated[1:]


def test_without_a_game_the_end_of_pretraining_is_the_best(tmp_path: Path) -> None:
    config = changed(TINY, {"adversarial.iterations": 0})
    folder, best = tmp_path / "checkpoints", tmp_path / "best"
    trainer = start.make_trainer(config, toy_task(), MemoryTracker(), Progress(), folder, best)
    trainer.train()
    assert not best.exists()
    final_evaluation(trainer)
    kept = read_checkpoint(best)["players"]["generator"]
    expected = trainer.players.generator.state_dict()
    assert all(torch.equal(kept[name], expected[name]) for name in expected)


def test_a_best_one_that_is_there_stays_at_the_end(tmp_path: Path) -> None:
    folder, best = tmp_path / "checkpoints", tmp_path / "best"
    trainer = start.make_trainer(TINY, toy_task(), MemoryTracker(), Progress(), folder, best)
    trainer.train()
    before = (best / "manifest.json").read_bytes()
    final_evaluation(trainer)
    assert (best / "manifest.json").read_bytes() == before


def test_what_is_least_in_the_best_one() -> None:
    """The dev NLL, and the exact KL to the true model where there is one; not the test split."""
    trainer, memory = make_trainer()
    trainer.train()
    last = memory.logged[-1]
    assert last["checkpoint/loss"] == pytest.approx(trainer.players.nll_dev(), abs=1e-6)
    task = oracle_task(
        OracleConfig(
            vocabulary_size=6,
            hidden_size=4,
            max_length=5,
            train_size=60,
            dev_size=30,
            test_size=30,
        )
    )
    trainer, memory = make_trainer(TINY, task)
    trainer.train()
    last = memory.logged[-1]
    assert last["eval/kl_generator_oracle"] > 0
    assert last["checkpoint/loss"] == pytest.approx(
        trainer.players.nll_dev() + last["eval/kl_generator_oracle"], abs=1e-6
    )


def test_histograms_hold_the_tokens_of_the_last_update() -> None:
    settings = {"evaluation.every": 2, "adversarial.batch_size": 6, "adversarial.iterations": 2}
    trainer, memory = make_trainer(changed(TINY, settings))
    trainer.train()
    assert {row["iteration"] for row in memory.histogram_rows} == {2}  # not before the game
    names = [row["name"] for row in memory.histogram_rows]
    assert names[0] == "action_value/01-01"
    counts = {row["name"]: sum(row["histogram"].counts) for row in memory.histogram_rows}
    assert counts["action_value/01-01"] == counts["advantage/01-01"] == 6
    length = memory.values("charts/episodic_length")[1]
    for area in ("action_value", "advantage"):
        total = sum(count for name, count in counts.items() if name.startswith(area))
        assert total == pytest.approx(6 * length)


def test_the_spread_of_advantages_is_that_before_standardisation() -> None:
    trainer, memory = make_trainer(changed(TINY, {"rule.scale": "batch"}))
    trainer.train()
    assert all(value < 0.5 for value in memory.values("advantage/std"))
