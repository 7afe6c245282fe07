"""The end of a run in words: a table that lines up, plain sentences, and JSON."""

import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from recorded_runs import results as recorded_results
from terminals import Terminal
from toys import ENDING

from seqgan.data.sequences import Sequences
from seqgan.evaluation.axes import NLL_HELDOUT, Axis
from seqgan.evaluation.changes import change
from seqgan.evaluation.measure import Measurement
from seqgan.evaluation.metrics.intervals import PerText
from seqgan.evaluation.planes.points import Knob, Panel, Point, Rate
from seqgan.evaluation.planes.verdict import Comparison, compare
from seqgan.report.summary import (
    Table,
    closing_sentences,
    information_sentence,
    result_table,
    results_dict,
    reward_sentence,
    stored_table,
)
from seqgan.system.terminal import bold
from seqgan.training.final import NO_GAME
from seqgan.training.result import About, Price, Result, Row

VALID = Axis("valid", "valid rate", "share of samples", True)
PLANE = Panel(VALID, NLL_HELDOUT)


def texts(value, wobble=0.1, num_texts=100):
    """Texts whose mean is a number."""
    return PerText.mean_of(value + wobble * np.resize([1.0, -1.0], num_texts))


def row(name, temperature, nll, valid, polite=None):
    metrics = {
        "eval/valid": valid,
        "eval/nll_heldout": nll,
        "eval/distinct_2": 0.25,
        "eval/duplicate_rate": 0.5,
        "eval/temperature": temperature,
        "eval/other_check": 0.5,
    }
    measured = Measurement(metrics, VALID, Sequences.from_rows([[0]], ENDING, 2))
    return Row(name, temperature, measured, {} if polite is None else {"polite": texts(polite)})


def point(temperature, valid, nll):
    rates = {"valid": valid, "nll_heldout": nll}
    made = {
        name: Rate(texts(value).values, np.ones(100), over=over)
        for (name, value), over in zip(rates.items(), ("samples", "heldout"), strict=True)
    }
    return Point(Knob("temperature", temperature), made)


ADVERSARY = About(True, "discriminator", (), ())
OWN = About(True, "", ("polite",), ())
BOTH = About(True, "discriminator", ("polite",), ())
CONTROL = About(True, "", (), ("random",))


def finished(about=ADVERSARY, information=((0, 0.2, 0.01), (1, 0.1, 0.02))):
    polite = (0.25, 0.5, 0.8125, 0.875) if about.rewards else (None,) * 4
    mle = [point(0.5, 0.75, 2.5), point(1.0, 0.5, 2.0)]
    game = [point(0.5, 0.875, 2.375), point(1.0, 0.751, 1.75)]
    changes, price = {}, None
    if about.rewards:
        changes = {"polite": change(texts(0.25), texts(0.8125))}
        price = Price(change(texts(2.0), texts(2.25), paired=True), (0.01, 0.5), texts(3.0))
    return Result(
        about,
        row("MLE", 1.0, 2.0, 0.5, polite[0]),
        row("MLE at 0.5", 0.5, 2.5, 0.75, polite[1]),
        row(about.title, 1.0, 2.25, 0.7512345, polite[2]),
        row(f"{about.title} at 0.5", 0.5, 2.375, 0.875, polite[3]),
        compare(game, mle, PLANE, about.subject),
        mle,
        game,
        changes,
        price,
        list(information) if about.adversary else [],
    )


# The table.


def test_table_has_the_quality_first_and_known_columns_only():
    table = result_table(finished())
    assert table.columns == ("valid", "nll_heldout", "distinct_2", "duplicate_rate")
    assert table.rows == (
        ("MLE", (0.5, 2.0, 0.25, 0.5)),
        ("MLE at 0.5", (0.75, 2.5, 0.25, 0.5)),
        ("game", (0.7512345, 2.25, 0.25, 0.5)),
        ("game at 0.5", (0.875, 2.375, 0.25, 0.5)),
    )


def test_an_own_reward_is_the_first_of_all():
    table = result_table(finished(OWN))
    assert table.columns[:2] == ("reward polite", "valid")
    assert [name for name, _ in table.rows] == ["MLE", "MLE at 0.5", "trained", "trained at 0.5"]
    paid = [values[0] for _, values in table.rows]
    assert paid == pytest.approx([0.25, 0.5, 0.8125, 0.875])


def test_a_generator_at_one_temperature_has_one_row():
    result = finished()
    result = replace(result, control=result.start, best=result.final)
    assert [name for name, _ in result_table(result).rows] == ["MLE", "game"]


def test_measures_of_your_own_are_the_last():
    results = recorded_results()
    for key in ("start", "control", "final"):
        results[key] = results[key] | {"user/words": 4.5}
    assert stored_table(results).columns[-1] == "user/words"
    assert all(values[-1] == 4.5 for _, values in stored_table(results).rows)
    assert stored_table(results).lines()[-1].startswith("user/words  ")


@pytest.mark.parametrize(("end", "shown"), [("min", "user/words ↓ "), ("max", "user/words ↑ ")])
def test_a_measure_of_your_own_has_the_arrow_of_its_direction(end, shown):
    results = recorded_results() | {"better": {"user/words": end, "user/elsewhere": "max"}}
    for key in ("start", "control", "final"):
        results[key] = results[key] | {"user/words": 4.5}
    assert stored_table(results).lines()[-1].startswith(shown)


def test_a_quality_that_is_a_column_anyway_appears_once_in_its_place():
    results = results_dict(finished())
    results["comparison"]["quality"] = "nll_heldout"
    assert stored_table(results).columns == ("nll_heldout", "distinct_2", "duplicate_rate")


def test_lines_are_aligned():
    assert result_table(finished()).lines() == [
        "                 MLE  MLE at 0.5    game  game at 0.5",
        "valid ↑          0.5        0.75  0.7512        0.875",
        "nll_heldout ↓      2         2.5    2.25        2.375",
        "distinct_2      0.25        0.25    0.25         0.25",
        "duplicate_rate   0.5         0.5     0.5          0.5",
    ]


def test_a_narrow_terminal_has_the_last_generators_below(monkeypatch):
    monkeypatch.setenv("COLUMNS", "42")
    lines = result_table(finished()).lines(Terminal())
    assert lines[0] == "                 MLE  MLE at 0.5    game"
    assert lines[5:8] == [
        "",
        "                game at 0.5",
        f"valid ↑               {bold('0.875')}",
    ]
    assert len(lines) == 11


def test_the_best_of_a_row_is_bold_on_a_terminal_alone(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    table = result_table(finished())
    on_terminal = table.lines(Terminal())
    strong = [re.findall("\x1b\\[1m(.*?)\x1b\\[22m", line) for line in on_terminal]
    assert strong == [[], ["0.875"], ["2"], [], []]  # no end of distinct_2 is the better one
    assert [re.sub("\x1b.*?m", "", line) for line in on_terminal] == table.lines()
    monkeypatch.setenv("NO_COLOR", "1")
    assert table.lines(Terminal()) == table.lines()


def test_the_best_are_those_that_look_alike():
    rows = (("x", (1.00001, 3.0)), ("y", (1.00002, 3.0)), ("z", (2.0, 3.0)))
    table = Table(("a", "b"), rows, ("min", "max"), ("eval/a", "eval/b"))
    assert table.best(0) == [True, True, False]
    assert table.best(1) == [False, False, False]
    broken = replace(table, rows=(*rows, ("w", (math.nan, 3.0))))
    assert broken.best(0) == [True, True, False, False]
    assert broken.cells(0) == ["1", "1", "2", "-"]


def test_a_quality_of_which_less_is_better_points_down():
    results = results_dict(finished())
    assert stored_table(results).better[0] == "max"
    results["comparison"]["higher_is_better"] = False
    assert stored_table(results).better[0] == "min"


def test_results_of_older_versions_are_shown():
    old = recorded_results("valid", "worse")
    table = stored_table(old)
    assert table.columns == ("valid", "nll_heldout")
    assert [name for name, _ in table.rows] == ["MLE", "MLE at 0.78", "after game"]
    assert closing_sentences(old) == [
        "A sentence of valid.",
        "Mean reward 'polite': 0.25 before the game, 0.8125 after it.",
        "A sentence of information.",
    ]


# The sentences.


def test_a_game_is_told_by_its_verdict_and_its_adversary():
    verdict, information = closing_sentences(results_dict(finished()))
    assert verdict.startswith("The adversarial game is above the MLE curve (better): at equal va")
    assert information.startswith("The discriminator's held-out information in the game was +0.1")


def test_an_own_reward_and_its_price_come_first_and_no_adversary_is_named():
    reward, price, verdict = said = closing_sentences(results_dict(finished(OWN)))
    low, high = change(texts(0.25), texts(0.8125)).interval
    assert reward == (
        f"Reward 'polite' rose from 0.25 to 0.8125 (+0.5625; 95% interval {low:+.4g} to"
        f" {high:+.4g}, by bootstrap over samples)."
    )
    assert low < 0.5625 < high
    assert price.startswith("The price: held-out NLL +0.2500 nats per token (above 0 is worse; 95%")
    assert price.endswith("duplicate rate 0.01 to 0.5, KL to the start 3 nats per text.")
    assert verdict.startswith("Training with reward 'polite' is above the MLE curve (better)")
    assert not any("advers" in sentence or "discrim" in sentence for sentence in said)
    first, _, game, _ = closing_sentences(results_dict(finished(BOTH)))
    assert first == reward
    assert game.startswith("The adversarial game is")


def test_a_reward_that_noise_explains_did_not_change():
    found = change(texts(0.5, 1.0), texts(0.52, 1.0))
    assert "did not change beyond noise, from 0.5 to 0.52 (+0.02;" in reward_sentence("x", found)
    assert "Reward 'x' fell from 0.5 to 0.25" in reward_sentence(
        "x", change(texts(0.5), texts(0.25))
    )
    one = reward_sentence("x", change(texts(0.5, 0, 1), texts(0.25, 0, 1)))
    assert "single text" in one


def test_a_control_is_named_one():
    control, verdict = closing_sentences(results_dict(finished(CONTROL)))
    assert control == "This run is a control: reward 'random' says nothing of texts."
    assert verdict.startswith("The control with reward 'random' is above the MLE curve")


def test_a_run_without_a_game_says_so():
    about, result = About(False, "discriminator", (), ()), finished()
    comparison = Comparison(PLANE, None, "unknown", NO_GAME)
    result = Result(about, *[result.start] * 4, comparison, result.mle)
    results = json.loads(json.dumps(results_dict(result), allow_nan=False))
    assert closing_sentences(results) == [NO_GAME]
    assert [name for name, _ in stored_table(results).rows] == ["MLE"]
    assert results["comparison"]["difference"] is None


def test_several_rewards_are_listed():
    assert About(True, "", ("a", "b", "c"), ()).subject == "Training with rewards 'a', 'b' and 'c'"


def test_numbers_wider_than_their_head():
    table = Table(("a",), (("x", (-0.00001234,)), ("y", (math.inf,))), ("",), ("eval/a",))
    assert table.lines() == ["            x    y", "a  -1.234e-05  inf"]


def test_no_adversary():
    assert information_sentence([]) == ""


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
    result = finished(BOTH)
    read = json.loads(json.dumps(results_dict(result), allow_nan=False))
    for key in ("start", "control", "final", "best"):
        assert read[key] == getattr(result, key).metrics
    assert read["table"] == {
        "MLE": "start",
        "MLE at 0.5": "control",
        "game": "final",
        "game at 0.5": "best",
    }
    comparison = read["comparison"]
    assert (comparison["quality"], comparison["unit"]) == ("valid", "share of samples")
    assert (comparison["temperature"], comparison["best_temperature"]) == (0.5, 0.5)
    assert comparison["verdict"] == "better"
    assert comparison["interval"][0] < comparison["difference"] < comparison["interval"][1] < 0
    assert {float(t): one["eval/nll_heldout"] for t, one in read["curve"].items()} == {
        1.0: pytest.approx(2.0),
        0.5: pytest.approx(2.5),
    }
    assert set(read["game_curve"]) == {"0.5", "1.0"}
    assert read["rewards"]["polite"]["after"] == pytest.approx(0.8125)
    assert read["price"]["kl_to_start"]["value"] == pytest.approx(3.0)
    assert read["information"] == [[0, 0.2, 0.01], [1, 0.1, 0.02]]
    assert read["information_sentence"] == information_sentence(result.information)
