"""The end of a run in words: a table that lines up, plain sentences, and JSON."""

import json
import math

import pytest
import torch
from toys import ENDING

from seqgan.data.sequences import Sequences
from seqgan.evaluation.measure import Measurement, Quality
from seqgan.evaluation.planes.temperatures import Comparison
from seqgan.report.summary import (
    Table,
    information_sentence,
    result_table,
    results_dict,
    reward_sentences,
)
from seqgan.training.final import Result


def measurement(nll, valid, quality="valid"):
    metrics = {
        "eval/valid": valid,
        "eval/nll_heldout": nll,
        "eval/distinct_2": 0.25,
        "eval/temperature": 1.0,
        "eval/other_check": 0.5,
    }
    return Measurement(
        metrics,
        Quality(quality, metrics[f"eval/{quality}"], 0.01, True),
        Sequences.from_rows([[0]], ENDING, 2),
        torch.zeros(3),
        6,
    )


def finished(quality="valid", information=((0, 0.2, 0.01), (1, 0.1, 0.02))):
    start, control, final = (
        measurement(2.0, 0.5, quality),
        measurement(2.5, 0.75, quality),
        measurement(2.25, 0.7512345, quality),
    )
    comparison = Comparison(0.8125, control, -0.25, 0.01, "better", "It beats the control.")
    rewards = {"polite": (0.25, 0.81251)}
    return Result(start, final, {1.0: start, 0.5: control}, comparison, list(information), rewards)


def test_what_became_of_each_reward():
    assert reward_sentences(finished().rewards) == [
        "Mean reward 'polite': 0.25 before the game, 0.8125 after it."
    ]


def test_table_has_the_quality_first_and_known_columns_only():
    table = result_table(finished())
    assert table.columns == ("valid", "nll_heldout", "distinct_2")
    assert table.rows == (
        ("MLE", (0.5, 2.0, 0.25)),
        ("MLE at 0.81", (0.75, 2.5, 0.25)),
        ("after game", (0.7512345, 2.25, 0.25)),
    )


def test_a_quality_that_is_a_column_anyway_appears_once():
    assert result_table(finished("nll_heldout")).columns == ("nll_heldout", "distinct_2")


def test_lines_are_aligned():
    assert result_table(finished()).lines() == [
        "              MLE  MLE at 0.81  after game",
        "valid         0.5         0.75      0.7512",
        "nll_heldout     2          2.5        2.25",
        "distinct_2   0.25         0.25        0.25",
    ]


def test_numbers_wider_than_their_head():
    table = Table(("a",), (("x", (-0.00001234,)), ("y", (math.inf,))))
    assert table.lines() == ["            x    y", "a  -1.234e-05  inf"]


def test_no_adversary():
    assert (
        information_sentence([])
        == "No discriminator was in the game: there is no held-out information to report."
    )


def test_an_adversary_that_knows_nothing():
    # Mean (0.03 - 0.01) / 2, error sqrt((0.03^2 + 0.04^2) / 2); the start does not count.
    sentence = information_sentence([(0, 0.6, 0.01), (1, 0.03, 0.03), (2, -0.01, 0.04)])
    assert "Nothing shows that in the game the discriminator knew" in sentence
    assert "+0.0100 nats (standard error 0.0354, 2 evaluations)" in sentence
    assert "next to nothing to teach" in sentence


def test_an_adversary_that_knows_something():
    sentence = information_sentence([(0, -0.3, 0.01), (5, 0.2, 0.01), (10, 0.1, 0.01)])
    assert sentence == (
        "The discriminator's held-out information in the game was +0.1500 nats"
        " (standard error 0.0100, 2 evaluations)."
    )


@pytest.mark.parametrize(("mean", "known"), [(0.0201, True), (0.0199, False), (-0.5, False)])
def test_two_standard_errors_decide(mean, known):
    assert ("Nothing shows" not in information_sentence([(1, mean, 0.01)])) == known


def test_repeated_evaluations_do_not_shrink_the_error():
    assert "Nothing shows" in information_sentence([(i, 0.015, 0.01) for i in range(1, 101)])


def test_the_start_counts_where_it_is_all_there_is():
    assert "+0.3000 nats (standard error 0.0100, 1 evaluation)" in information_sentence(
        [(0, 0.3, 0.01)]
    )


def test_results_are_json():
    result = finished()
    read = json.loads(json.dumps(results_dict(result), allow_nan=False))
    assert read["start"] == result.start.metrics
    assert read["final"] == result.final.metrics
    assert read["control"] == result.comparison.control.metrics
    assert read["comparison"] == {
        "quality": "valid",
        "temperature": 0.8125,
        "difference": -0.25,
        "error": 0.01,
        "verdict": "better",
        "sentence": "It beats the control.",
    }
    assert {float(t): row["eval/nll_heldout"] for t, row in read["curve"].items()} == {
        1.0: 2.0,
        0.5: 2.5,
    }
    assert read["rewards"] == {"polite": [0.25, 0.81251]}
    assert read["information"] == [[0, 0.2, 0.01], [1, 0.1, 0.02]]
    assert read["information_sentence"] == information_sentence(result.information)
