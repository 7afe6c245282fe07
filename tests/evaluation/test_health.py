"""Rules that tell a game gone wrong: each fires where it should, and nowhere else."""

from typing import Any

import pytest

from seqgan.evaluation.game.health import find_trouble

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
