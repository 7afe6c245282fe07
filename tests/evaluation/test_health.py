"""Rules that tell a game gone wrong: each fires where it should, and nowhere else."""

from typing import Any

import pytest

from seqgan.evaluation.game.health import (
    FLAT_ITERATIONS,
    PINNED_ITERATIONS,
    Spreads,
    Wins,
    find_trouble,
)

START = {"eval/entropy": 1.2, "eval/duplicate_rate": 0.1}
HEALTHY = {
    "eval/entropy": 0.9,
    "eval/duplicate_rate": 0.2,
    "discriminator/accuracy_real": 0.7,
    "discriminator/accuracy_generated": 0.99,
    "discriminator/accuracy_heldout": 0.65,
}
WON = {f"discriminator/accuracy_{kind}": 0.99 for kind in ("real", "generated", "heldout")}


@pytest.mark.parametrize(
    ("changed", "titles"),
    [
        ({}, []),
        ({"eval/entropy": 0.601}, []),
        ({"eval/entropy": 0.599}, ["mode collapse"]),
        ({"eval/duplicate_rate": 0.549}, []),
        ({"eval/duplicate_rate": 0.551}, ["mode collapse"]),
        ({"eval/entropy": 0.1, "eval/duplicate_rate": 0.9}, ["mode collapse"]),
        (WON, ["discriminator too strong"]),
        (WON | {"discriminator/accuracy_heldout": 0.98}, []),
        (WON | {"discriminator/accuracy_real": 0.98}, []),
        (WON | {"eval/entropy": 0.1}, ["mode collapse", "discriminator too strong"]),
    ],
)
def test_rules(changed: dict[str, float], titles: list[str]) -> None:
    assert [trouble.title for trouble in find_trouble(HEALTHY | changed, START)] == titles


def test_the_sentence_has_the_numbers() -> None:
    (trouble,) = find_trouble(HEALTHY | {"eval/entropy": 0.1, "eval/duplicate_rate": 0.9}, START)
    assert trouble.text == (
        "the generator's entropy is 0.1 nats per token, 1.2 before the game;"
        " 10.0% of its texts are distinct, 90.0% before the game"
    )


@pytest.mark.parametrize(
    ("metrics", "start"),
    [({}, {}), ({}, START), ({"eval/entropy": 0.0, "eval/duplicate_rate": 1.0}, {})],
)
def test_a_rule_without_its_metrics_is_silent(metrics: Any, start: Any) -> None:
    assert find_trouble(metrics, start) == []


def spread(name: str, mean: float, std: float) -> dict[str, float]:
    return {f"rewards/{name}/mean": mean, f"rewards/{name}/std": std}


def test_a_reward_without_spread_is_told_after_several_iterations() -> None:
    """A constant one, beside one that varies and whose values are large."""
    spreads = Spreads()
    metrics = spread("tone", -0.25, 0.0) | spread("length", -5000.0, 0.5)
    told = [[each.title for each in spreads.follow(metrics)] for _ in range(FLAT_ITERATIONS + 1)]
    assert told == [[]] * (FLAT_ITERATIONS - 1) + [["reward tone is flat"]] * 2


def test_a_reward_that_loses_its_spread_is_told() -> None:
    spreads = Spreads()
    assert spreads.follow(spread("a", 0.5, 0.4)) == []
    for _ in range(FLAT_ITERATIONS - 1):
        assert spreads.follow(spread("a", 1.0, 0.004)) == []
    again = Spreads()
    again.load_state_dict(spreads.state_dict())
    (trouble,) = again.follow(spread("a", 1.0, 0.004))
    assert "now 1 with a standard deviation of 0.004" in trouble.text
    assert spreads.follow(spread("a", 1.0, 0.1)) == []  # it tells texts apart again
    assert spreads.follow(spread("a", 1.0, 0.0)) == []
    assert Spreads().follow({"rewards/a/std": float("nan")}) == []


@pytest.mark.parametrize("of_pairs", [{}, {"discriminator/accuracy_pairs": 0.96}])
def test_a_discriminator_that_has_won_for_long_is_told_once(of_pairs: dict[str, float]) -> None:
    """Of pairs the pairs' accuracy counts: where one logit of two is on the wrong side, they may
    all be told apart."""
    half = 0.5 if of_pairs else 0.93
    accuracies = {"discriminator/accuracy_real": half, "discriminator/accuracy_generated": 1.0}
    won, wins = {"iteration": 1, **accuracies, **of_pairs}, Wins()
    for _ in range(PINNED_ITERATIONS - 1):
        assert wins.follow(won) == []
    assert wins.follow({"iteration": 2, "losses/policy": 0.1}) == []  # it had no turn
    (trouble,) = wins.follow(won)
    assert trouble.title == "discriminator pinned"
    assert f"now {96.0 if of_pairs else 96.5}%" in trouble.text
    assert wins.follow(won) == []
    wins.follow({**won, "discriminator/accuracy_real": 0.5, "discriminator/accuracy_pairs": 0.8})
    assert wins.pinned == 0
