"""The start, resampled, beside the trained generator; and a discriminator warmed with patience."""

import copy
import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from tilted_worlds import World
from tiny_commands import run
from tiny_runs import TINY, changed, make_trainer, toy_task, trained, weights_of
from toys import ENDING, FIXED, seeded

from seqgan.commands.short_names import long_names
from seqgan.decoding.measured import measure_tilted
from seqgan.decoding.samplers import Resample
from seqgan.decoding.tilt import DiscriminatorLogit, Tilt
from seqgan.decoding.tilted import Tilted
from seqgan.evaluation.changes import Change
from seqgan.evaluation.planes.points import Knob, Point
from seqgan.report.summary import closing_sentences, results_dict, stored_table, summary_metrics
from seqgan.rewards.adapters.functions import as_reward
from seqgan.rewards.shipped.controls import ConstantReward
from seqgan.system.errors import ConfigurationError, Interrupted
from seqgan.training.estimate import RESAMPLED, estimate
from seqgan.training.final import NO_GAME, final_evaluation
from seqgan.training.phases.adversary import has_settled
from seqgan.training.presets import captions_preset, prompts_preset
from seqgan.training.resampling import (
    ALL_ALIKE,
    NAME,
    NOT_KEPT,
    Resampled,
    beta_of_kl,
    place_of_reward,
    reward_beside_resampling,
)
from seqgan.training.result import Result
from seqgan.training.settings import EvaluationConfig, TrainConfig
from seqgan.training.tilting import OF, OF_PROMPT
from seqgan.training.trainer import Trainer
from seqgan.training.warmed import against_start

PATIENT = changed(
    TINY, {"discriminator_training.pretrain_rounds": 60, "discriminator_training.patience": 2}
)
# Few texts tell little; 64 draws are enough for a likelihood.
ENOUGH = {"evaluation.num_final": 64, "evaluation.num_heldout": 30}


# Patience.


@pytest.mark.parametrize(
    ("information", "patience", "settled"),
    [
        ([0.1, 0.2, 0.3, 0.4], 2, False),  # .35 after .15
        ([0.1, 0.4, 0.3, 0.2], 2, True),  # .25 after .25
        ([0.1, 0.4, 0.3, 0.3], 2, False),  # one worse round is noise
        ([0.4, 0.3, 0.2], 2, False),  # too few to say
        ([0.9, 0.1, 0.1, 0.2, 0.2], 2, False),  # what was long ago does not count
        ([0.9, 0.8], 1, True),
        ([0.9, 0.8, 0.7], 0, False),
    ],
)
def test_information_has_settled_when_its_mean_is_no_higher_than_before(
    information: list[float], patience: int, settled: bool
) -> None:
    assert has_settled(information, patience) == settled


@pytest.mark.slow
def test_warming_ends_by_patience_and_says_why() -> None:
    trainer, memory = make_trainer(PATIENT)
    trainer.train()
    warming = trainer.phase("adversary")
    known = memory.values("pretrain/discriminator_information_heldout")
    assert 4 <= warming.rounds == len(known) < 60
    assert has_settled(known, 2)
    assert not any(has_settled(known[:count], 2) for count in range(len(known)))
    assert warming.why_early() == "held-out information has not risen for 2 rounds"
    assert warming.information == known[-4:]


@pytest.mark.slow
def test_a_warming_that_goes_on_ends_at_the_same_round() -> None:
    whole, _ = make_trainer(PATIENT)
    whole.train()
    rounds = whole.phase("adversary").rounds
    first, _ = make_trainer(PATIENT)
    first.run(first.phases[0])
    for _ in range(rounds - 1):
        first.unit(first.phase("adversary"))
    second, _ = make_trainer(PATIENT)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    second.train()
    assert second.phase("adversary").rounds == rounds
    assert torch.equal(weights_of(second), weights_of(whole))


@pytest.mark.slow
def test_patience_that_does_not_run_out_changes_no_weight() -> None:
    patient = changed(TINY, {"discriminator_training.patience": 9})
    pair = [make_trainer(config)[0] for config in (TINY, patient)]
    for trainer in pair:
        trainer.train()
        assert trainer.phase("adversary").why_early() == ""
    assert torch.equal(*map(weights_of, pair))


def test_a_checkpoint_without_patience_has_none_behind_it() -> None:
    trainer, _ = make_trainer(PATIENT)
    trainer.phase("adversary").load_state_dict({"rounds": 1})
    assert trainer.phase("adversary").information == []


@pytest.mark.slow
def test_the_expected_time_of_a_patient_warming_is_at_most_that() -> None:
    parts = estimate(make_trainer(PATIENT)[0]).parts
    assert "discriminator pretraining at most" in parts
    assert "discriminator pretraining" not in parts


# Settings.


def test_only_adversary_is_short_for_settings() -> None:
    assert long_names(["--only-adversary", "--seed", "2"]) == [
        *("--seed", "2", "--adversarial.iterations", "0"),
        *("--discriminator-training.pretrain-rounds", "400"),
        *("--discriminator-training.patience", "20"),
    ]
    given = ["--discriminator_training.patience=5", "--only-adversary"]
    assert long_names(given) == [
        *("--discriminator_training.patience=5", "--adversarial.iterations", "0"),
        *("--discriminator-training.pretrain-rounds", "400"),
    ]


def test_only_adversary_needs_a_discriminator(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "captions", "--reward", "length(5)", "--only-adversary") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "--only-adversary with --reward length(5); it is for a discriminator" in said
    assert "seqgan sample RUN --sampler resample --tilt REWARD" in said


@pytest.mark.parametrize("flag", ["--iterations", "--adversarial.iterations"])
def test_only_adversary_plays_no_iterations(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "captions", "--only-adversary", flag, "5") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert f"{flag} is 5, but --only-adversary plays no game; leave one of them out" in said


def test_each_prompt_has_as_many_draws_as_when_it_is_sampled() -> None:
    assert prompts_preset().evaluation.resampled == OF_PROMPT
    assert captions_preset().evaluation.resampled == OF


def test_a_single_draw_has_no_choice() -> None:
    with pytest.raises(ConfigurationError, match=r"evaluation\.resampled is 1, but must be 0, or"):
        EvaluationConfig(resampled=1)


# The row.


def shown(result: Result) -> tuple[list[str], list[str]]:
    """The heads of the table, and the sentences, from what is stored."""
    stored = json.loads(json.dumps(results_dict(result), allow_nan=False))
    return [name for name, _ in stored_table(stored).rows], closing_sentences(stored)


@pytest.mark.slow
def test_every_game_has_its_start_resampled_beside_it() -> None:
    trainer, memory = make_trainer(changed(TINY, ENOUGH))
    result = trained(trainer)
    heads, said = shown(result)
    assert NAME in heads
    assert result.resampled is not None
    assert result.resampled.comparison is not None
    assert result.resampled.sentence in said
    assert result.resampled.sentence.startswith("Training bought ")
    assert said.index(result.comparison.sentence) + 1 == said.index(result.resampled.sentence)
    stored = results_dict(result)
    share, metrics = result.resampled.resampled.share, summary_metrics(stored)
    assert f"An effective text takes {1 / share:.1f} draws." in result.resampled.sentence
    assert metrics["result/resampling/effective_share"] == share
    assert metrics["result/resampling/verdict"] == result.resampled.comparison.verdict
    assert metrics["result/resampled/nll_heldout"] == stored["resampled"]["eval/nll_heldout"]
    assert memory.values("losses/discriminator")  # of the game alone:
    assert len(memory.values("losses/discriminator")) == 3


@pytest.mark.slow
def test_the_row_is_that_of_the_discriminator_that_met_the_start_alone() -> None:
    """Its likelihood is the start's, tilted by that discriminator and by no other."""
    trainer, _ = make_trainer(changed(TINY, ENOUGH))
    result = trained(trainer)
    players, warmed = trainer.players, trainer.observer("warmed")
    heldout = toy_task().real("test", 30, seeded())
    tilt = Tilt(DiscriminatorLogit(warmed.judge))
    model = Tilted(players.reference, players.task.vocabulary, 4, tilt)
    changes = []
    with against_start(trainer, warmed):
        changes.append(model.held_out_change(heldout, model.propose(20_000, seeded())).value)
    changes.append(model.held_out_change(heldout, model.propose(20_000, seeded())).value)
    assert result.resampled is not None
    found = result.resampled.resampled.found.change
    assert found is not None
    assert found.value == pytest.approx(changes[0], abs=1e-3)
    assert abs(changes[0] - changes[1]) > 1e-5  # that of the game is another


@pytest.mark.slow
def test_the_run_itself_is_as_it_was() -> None:
    config = changed(TINY, ENOUGH)
    with_row, without = (
        make_trainer(changed(config, {"evaluation.resampled": count}))[0] for count in (4, 0)
    )
    for trainer in (with_row, without):
        trainer.train()
    before = weights_of(with_row)
    state = with_row.rng.get_state()
    results = [final_evaluation(trainer) for trainer in (with_row, without)]
    assert torch.equal(weights_of(with_row), before)
    assert torch.equal(weights_of(without), before)
    assert torch.equal(with_row.rng.get_state(), state)
    assert results[0].final.metrics == results[1].final.metrics
    assert results[1].resampled is None
    assert NAME not in shown(results[1])[0]
    assert without.observer("warmed").state_dict() == {}
    assert RESAMPLED not in estimate(without).parts


@pytest.mark.slow
def test_a_game_that_goes_on_has_the_same_row() -> None:
    config = changed(TINY, ENOUGH)
    whole, _ = make_trainer(config)
    expected = trained(whole)
    first, _ = make_trainer(config)
    first.run(first.phases[0])
    first.run(first.phases[1])
    first.observer("warmed").before(first.phase("game"))
    first.unit(first.phase("game"))
    second, _ = make_trainer(config)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    found = trained(second)
    assert found.resampled is not None
    assert expected.resampled is not None
    assert found.resampled.row.metrics == expected.resampled.row.metrics
    assert found.resampled.sentence == expected.resampled.sentence


@pytest.mark.slow
def test_rounds_against_the_start_are_as_many_as_the_game_had() -> None:
    trainer, _ = make_trainer(changed(TINY, {"discriminator_training.d_steps": 2}))
    trainer.train()
    warmed = trainer.observer("warmed")
    updates: list[int] = []
    update = warmed.judge.update
    warmed.judge.update = lambda *texts: updates.append(1) or update(*texts)
    with against_start(trainer, warmed):
        assert len(updates) == 3 * 2 * 4  # iterations, rounds, minibatches of 4 in 16
    assert warmed.rounds(settled=True, iterations=3) == 0


@pytest.mark.slow
def test_a_discriminator_has_a_turn_after_every_few_iterations() -> None:
    trainer, _ = make_trainer(changed(TINY, {"discriminator_training.every": 2}))
    updates: list[int] = []
    judge = trainer.observer("warmed").judge
    update = judge.update
    judge.update = lambda *texts: (
        updates.append(trainer.players.position.iteration) or update(*texts)
    )
    trainer.train()
    in_game = [iteration for iteration in updates if iteration]
    assert set(in_game) == {1}  # of iterations 1, 2, 3 the second has it, while one is done
    assert trainer.observer("warmed").rounds(settled=False, iterations=3) == 1


@pytest.mark.slow
def test_a_discriminator_that_had_learnt_all_is_not_trained_on() -> None:
    trainer, _ = make_trainer(PATIENT)
    trainer.train()
    warmed = trainer.observer("warmed")
    with against_start(trainer, warmed):
        kept, now = warmed.kept["module"], warmed.judge.state_dict()["module"]
        assert all(torch.equal(kept[name], now[name]) for name in kept)


@pytest.mark.slow
def test_a_stop_among_these_rounds_puts_the_discriminator_back() -> None:
    trainer, _ = make_trainer()
    trainer.train()
    before, trainer.stop_requested = weights_of(trainer), True
    with (
        pytest.raises(Interrupted),
        against_start(trainer, trainer.observer("warmed")),
    ):
        pass
    assert torch.equal(weights_of(trainer), before)


@pytest.mark.slow
def test_an_older_checkpoint_leaves_the_row_out_and_says_so() -> None:
    trainer, _ = make_trainer(changed(TINY, ENOUGH))
    trainer.train()
    trainer.observer("warmed").kept = {}
    heads, said = shown(final_evaluation(trainer))
    assert NAME not in heads
    assert NOT_KEPT in said


@pytest.mark.slow
def test_without_a_game_the_verdict_is_that_of_resampling() -> None:
    trainer, _ = make_trainer(changed(TINY, {**ENOUGH, "adversarial.iterations": 0}))
    result = trained(trainer)
    heads, said = shown(result)
    assert heads == ["MLE", NAME]
    assert result.comparison.sentence.startswith("The start, resampled, is ")
    assert said == [result.comparison.sentence]
    assert result.comparison.verdict != "unknown"


@pytest.mark.slow
def test_a_discriminator_that_never_trained_resamples_nothing() -> None:
    config = changed(
        TINY, {"adversarial.iterations": 0, "discriminator_training.pretrain_rounds": 0}
    )
    trainer, _ = make_trainer(config)
    heads, said = shown(trained(trainer))
    assert (heads, said) == (["MLE"], [NO_GAME])
    assert RESAMPLED not in estimate(trainer).parts


# Rewards that do not learn.


def earns_for_a(text: str) -> float:
    return float(text.count("a"))


def paid(config: TrainConfig = TINY, reward: Any = earns_for_a) -> tuple[Trainer, Result]:
    trainer, _ = make_trainer(changed(config, ENOUGH), reward=as_reward(reward))
    return trainer, trained(trainer)


def test_beta_of_the_enumerated_model_is_found_from_its_kl() -> None:
    world = World(FIXED)
    rewards = world.model.propose(200_000, seeded(4)).log_tilts * world.tilt.beta
    assert beta_of_kl(rewards, world.kl) == pytest.approx(world.tilt.beta, rel=0.02)
    counted = world.start.repeat(2, 1)  # two prompts: the mean over them
    assert beta_of_kl(torch.zeros_like(counted), world.kl) is None


def test_beta_by_hand() -> None:
    """Two texts, one of reward 1: weights w and 1 - w have the KL log 2 - H(w)."""
    weight = 0.8
    kl = math.log(2) + weight * math.log(weight) + (1 - weight) * math.log(1 - weight)
    beta = 1 / math.log(weight / (1 - weight))
    rewards = torch.tensor([[0.0, 1.0], [6.0, 5.0]]).double()
    assert beta_of_kl(rewards, kl) == pytest.approx(beta, rel=1e-6)


@pytest.mark.slow
def test_a_fixed_reward_is_compared_at_the_kl_that_training_reached() -> None:
    config = changed(TINY, {"adversarial.iterations": 6, "rule.learning_rate": 0.03})
    _, result = paid(config)
    control = result.resampled
    assert control is not None
    assert result.price is not None
    assert control.resampled.found.kl == pytest.approx(result.price.kl.value, abs=0.25)
    assert control.reward is not None
    assert control.reward.after == pytest.approx(result.final.rewards["earns_for_a"].value)
    assert control.reward.before == pytest.approx(control.row.rewards["earns_for_a"].value)
    assert control.reward.before > result.start.rewards["earns_for_a"].value
    assert "at the KL to the start that it reached" in control.sentence
    assert control.sentence in shown(result)[1]


@pytest.mark.slow
def test_training_that_is_too_far_away_for_draws_says_so() -> None:
    config = changed(TINY, {"adversarial.iterations": 25, "rule.learning_rate": 0.1})
    _, result = paid(config)
    assert result.resampled is None
    heads, said = shown(result)
    assert NAME not in heads
    (left_out,) = [each for each in said if each.startswith("The start, resampled, is left out: ")]
    assert "of its draws count at the KL that training reached" in left_out


@pytest.mark.slow
def test_a_reward_that_judges_all_alike_has_no_row() -> None:
    _, result = paid(reward=lambda text: 1.0)
    assert result.resampled is None
    assert ALL_ALIKE in shown(result)[1]
    trainer, _ = make_trainer(reward=ConstantReward())
    assert shown(trained(trainer))[0][0] == "MLE"
    assert not any("resampled" in said for said in shown(final_evaluation(trainer))[1])


@pytest.mark.slow
def test_a_likelihood_that_is_not_known_is_a_dash() -> None:
    trainer, _ = make_trainer(changed(TINY, ENOUGH))
    stored = results_dict(trained(trainer))
    del stored["resampled"]["eval/nll_heldout"]
    table = stored_table(stored)
    index = table.columns.index("nll_heldout")
    row = [name for name, _ in table.rows].index(NAME)
    assert table.cells(index)[row] == "-"
    assert math.isnan(table.rows[row][1][index])
    assert np.isfinite([values[index] for name, values in table.rows if name != NAME]).all()


@pytest.mark.slow
def test_mixed_rewards_are_the_tilt_together() -> None:
    from seqgan.rewards.weighted import WeightedSum

    plain, _ = make_trainer(changed(TINY, ENOUGH))
    judge = plain.players.rewards.learning
    assert judge is not None
    trainer, _ = make_trainer(
        changed(TINY, ENOUGH), reward=WeightedSum([judge, as_reward(earns_for_a)])
    )
    result = trained(trainer)
    assert result.resampled is not None
    assert not result.resampled.resampled.by_discriminator
    assert result.resampled.comparison is not None
    assert "by its discriminator" not in result.resampled.sentence


@pytest.mark.slow
def test_without_a_game_the_discriminator_judges_alone() -> None:
    from seqgan.rewards.weighted import WeightedSum

    config = changed(TINY, {**ENOUGH, "adversarial.iterations": 0})
    judge = make_trainer(config)[0].players.rewards.learning
    assert judge is not None
    trainer, _ = make_trainer(config, reward=WeightedSum([judge, as_reward(earns_for_a)]))
    result = trained(trainer)
    assert result.resampled is not None
    assert result.resampled.resampled.by_discriminator
    assert result.resampled.resampled.beta == 1


def test_too_few_draws_of_a_prompt_may_win_but_not_lose() -> None:
    model = World(ENDING).model
    found = measure_tilted(Resample(model), toy_task(), 40, 30, seeded())
    for missing, places in [("", ["above", "on", "under"]), ("few", [None, None, "under"])]:
        point = Point(Knob("beta", 1.0), {})
        few = Resampled(replace(found, missing=missing), point, 1.0, by_discriminator=False)
        changes = [Change(0.0, 1.0, ends) for ends in ((1.0, 2.0), (-1.0, 1.0), (-2.0, -1.0))]
        assert [place_of_reward(each, few) for each in changes] == places
        said = [reward_beside_resampling(each, few) for each in changes]
        assert [each.startswith("Training cannot") for each in said] == [not p for p in places]
