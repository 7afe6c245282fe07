"""The number of texts that a run asks a reward about, beside the number that was said before."""

from typing import Any

import pytest
from tiny_runs import TINY, make_trainer, toy_task, trained

from seqgan.learning.pace import is_own
from seqgan.rewards.adapters.functions import as_reward
from seqgan.rewards.shipped.controls import ConstantReward
from seqgan.training.estimate import RewardCalls, reward_calls
from seqgan.training.settings import TrainConfig

OWN = TINY.with_(reward=("constant",))


def asked(config: TrainConfig) -> dict[str, int]:
    """Texts that a reward is asked about in each iteration, in all evaluations, and in all."""
    counts = {"all": 0}

    def judge(texts: list[str]) -> list[float]:
        counts["all"] += len(texts)
        return [float(len(text)) for text in texts]

    trainer, _ = make_trainer(config, reward=as_reward(judge))
    game = trainer.phase("game")
    unit, of_iterations = game.unit, []

    def counted(*arguments: Any) -> Any:
        before = counts["all"]
        metrics = unit(*arguments)
        of_iterations.append(counts["all"] - before)
        return metrics

    game.unit = counted
    trained(trainer)
    return {"all": counts["all"], "iteration": max(of_iterations), "least": min(of_iterations)}


@pytest.mark.parametrize(("rollouts", "stride"), [(0, 1), (3, 1), (2, 2)])
def test_no_more_texts_are_asked_about_than_was_said(rollouts: int, stride: int) -> None:
    config = OWN.with_(**{"rule.num_rollouts": rollouts, "rule.rollout_stride": stride})
    config = config.with_(**{"evaluation.num_shown": 4, "evaluation.every": 2})
    expected = reward_calls(config, toy_task().max_length)
    assert expected is not None
    counted = asked(config)
    assert counted["iteration"] <= expected.iteration
    assert counted["all"] <= expected.total
    if rollouts == 0:  # no completions that may be equal, and at most four generators at the end
        assert counted["iteration"] == counted["least"] == expected.iteration == 4
        assert expected.evaluation == 4
        assert expected.total - counted["all"] <= 2 * 20 + 4


def test_shown_texts_have_as_many_completions_as_those_of_the_game() -> None:
    """20 texts of at most 4 tokens: with 16 completions of each prefix there were 980 texts."""
    counted = [
        asked(OWN.with_(**{"rule.num_rollouts": n, "evaluation.num_shown": 20}))["all"]
        for n in (0, 1)
    ]
    # 5 evaluations and the end; 3 iterations of 4 texts
    assert 0 < counted[1] - counted[0] <= (6 * 20 + 3 * 4) * 3


def test_the_numbers_by_hand() -> None:
    config = TrainConfig().with_(
        **{"rule.num_rollouts": 8, "rule.rollout_stride": 2, "adversarial.iterations": 25}
    )
    calls = reward_calls(config, max_length=20)
    # 10 prefixes of each text, those with 1, 3, ..., 19 tokens, with 8 completions each
    # and of the start, resampled: some to choose beta, 4 draws of each, the chosen, held out
    resampled = 4000 + 4 * 4000 + 4000 + 2000
    assert calls == RewardCalls(64 * 81, 8 * 81, 8 * 81 + 4 * 4000 + resampled, 25, 5)
    assert calls.total == 25 * 5184 + 5 * 648 + 42648
    assert calls.sentence(["judge", "second"]) == (
        "rewards are asked about at most 5,184 texts in an iteration, 648 in an evaluation, 42,648"
        " at the end, 175,488 in all: 'judge' and 'second'"
    )
    plain = reward_calls(config.with_(**{"evaluation.resampled": 0}), max_length=20)
    assert plain is not None
    assert calls.end - plain.end == resampled
    prompted = reward_calls(config, max_length=20, prompts=True)
    assert prompted is not None
    assert prompted.end - calls.end == 4 * 2000
    doubled = reward_calls(config, max_length=20, processes=2)
    assert doubled is not None
    assert doubled.iteration == 2 * 5184


def test_greedy_texts_are_counted_one_for_each_prompt() -> None:
    settings = {"rule.num_rollouts": 0, "rule.baseline": "self_critical"}
    config = TrainConfig().with_(**settings, **{"adversarial.group_size": 4})
    calls, prompted = (reward_calls(config, 20, prompts=prompts) for prompts in (False, True))
    assert calls is not None
    assert prompted is not None
    assert (calls.iteration, prompted.iteration) == (64 + 1, 64 + 16)
    counted = asked(OWN.with_(**settings))
    assert counted["iteration"] == counted["least"] == 4 + 1


def test_without_a_game_only_the_end_asks() -> None:
    calls = reward_calls(TrainConfig().with_(**{"adversarial.iterations": 0}), 20)
    assert calls is not None
    assert calls.total == calls.end == 8 * (1 + 19 * 8) + 4000


def test_phases_of_ones_own_ask_in_ways_of_their_own() -> None:
    assert reward_calls(TrainConfig().with_(phases=("game", "mine:phase")), 20) is None


def test_rewards_of_the_package_are_not_told_of() -> None:
    assert is_own(as_reward(len, takes="text"))
    assert not is_own(ConstantReward())
