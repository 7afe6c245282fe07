"""The end of a sweep: ranks, the table, the sentence, the picture."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from matplotlib.image import imread
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial
from sweeping import METRIC, sweep_of
from terminals import Terminal

from seqgan.sweeps.ranking import (
    conclusion,
    draw_parallel,
    failures,
    rank,
    scale,
    short_names,
    table_lines,
)
from seqgan.sweeps.trials import error_line, rows_with, trial_path
from seqgan.system.terminal import bold

SWEEP = sweep_of(
    {"a.rate": [0.001, 0.002], "b.rate": [0.1, 0.2, 0.3], "a.kind": ["x", "y"], "every": 3}
)


def made_trials(folder: Path, goal: str = "minimize") -> list[Any]:
    """Values 1.4, 1.2 and 1.3 (stopped early); one failed, one interrupted."""
    states = [TrialState.COMPLETE, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL]
    states.append(TrialState.RUNNING)
    values = [1.4, 1.2, 1.3, None, None]
    study = optuna.create_study(direction=goal)
    for number, (state, value) in enumerate(zip(states, values, strict=True)):
        params = {"a.rate": 0.001, "b.rate": 0.1 * (number % 3 + 1), "a.kind": "xy"[number % 2]}
        space = {name: CategoricalDistribution([given]) for name, given in params.items()}
        ends = {"state": state, "params": params, "distributions": space, "value": value}
        if state == TrialState.FAIL:
            ends["user_attrs"] = {"error": "no space left (exit code 1)"}
        study.add_trial(create_trial(**ends))
        run = trial_path(folder, number)
        run.mkdir(parents=True)
        last = {METRIC: value, "eval/entropy": 2.0 + number, "eval/duplicate_rate": 0.25}
        rows = [{METRIC: 9.0, "eval/entropy": 9.0}, last] if value else []
        (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        if state == TrialState.COMPLETE:
            comparison = {"verdict": "worse" if number == 0 else "better", "difference": 0.1}
            (run / "results.json").write_text(json.dumps({"comparison": comparison}))
    return study.trials


def test_ranks_go_by_the_value_and_numbers_against_collapse_stand_beside(tmp_path: Path) -> None:
    trials = made_trials(tmp_path)
    rows = rank(SWEEP, tmp_path, trials)
    assert [(row["rank"], row["trial"]) for row in rows] == [
        *[(1, 1), (2, 2), (3, 0), (None, 3), (None, 4)]
    ]
    assert rows[0] == {
        **{"rank": 1, "trial": 1, METRIC: 1.2, "a.rate": 0.001, "b.rate": 0.2, "a.kind": "y"},
        **{"eval/entropy": 3.0, "eval/duplicate_rate": 0.25, "against MLE": "better"},
        "status": "finished",
    }
    assert json.loads(json.dumps(rows)) == rows
    turned = rank(replace(SWEEP, goal="maximize"), tmp_path, trials)
    assert [row["trial"] for row in turned] == [0, 2, 1, 3, 4]


def test_the_table_and_the_sentence(tmp_path: Path) -> None:
    rows = rank(SWEEP, tmp_path, made_trials(tmp_path))
    table = table_lines(SWEEP, rows)
    assert table[0].split() == [
        *("rank", "trial", "nll_heldout", "↓", "a.rate", "b.rate", "kind", "entropy"),
        *("duplicate_rate", "against", "MLE", "status"),
    ]
    assert table[1].split() == "1 1 1.2 0.001 0.2 y 3 0.25 better finished".split()
    assert table[2].endswith("-  stopped early")
    assert table[4].endswith("-  failed")
    assert failures(rows) == ["Trial 3 failed: no space left (exit code 1)"]
    assert table[5].split()[:3] == ["-", "4", "-"]
    assert conclusion(SWEEP, rows) == (
        "Best: trial 1 of 5, eval/nll_heldout 1.2 with a.rate 0.001, b.rate 0.2, a.kind y."
        " Beside the MLE temperature curve it is better."
    )
    assert conclusion(SWEEP, rows[3:]) == "No trial has ended with a value of the metric."


def test_a_narrow_terminal_has_the_table_in_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = rank(SWEEP, tmp_path, made_trials(tmp_path))
    monkeypatch.setenv("COLUMNS", "50")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    lines = table_lines(SWEEP, rows, Terminal())
    blocks = "\n".join(lines).split("\n\n")
    assert len(blocks) == 3
    assert all(block.startswith("rank  trial") for block in blocks)
    assert f"   1      1            {bold('1.2')}" in blocks[0]
    assert max(map(len, blocks[1].splitlines())) <= 50
    assert blocks[2].splitlines()[1] == "   1      1  finished"


def test_equal_values_share_a_rank(tmp_path: Path) -> None:
    trials = made_trials(tmp_path)[:3]
    for trial, value in zip(trials, (1.2, 1.5, 1.2), strict=True):
        trial.value = value
    rows = rank(SWEEP, tmp_path, trials)
    assert [(row["rank"], row["trial"]) for row in rows] == [(1, 0), (1, 2), (3, 1)]
    assert conclusion(SWEEP, rows) == "Best: trials 0, 2 alike, each with eval/nll_heldout 1.2."


def test_values_are_finite_and_of_the_game(tmp_path: Path) -> None:
    rows = [{"iteration": 0, METRIC: 1.0}, {"iteration": 5, METRIC: 2.0}, {METRIC: float("nan")}]
    rows += [{"iteration": 6, "losses/kl": 7.0}, {METRIC: 3.0}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert rows_with(tmp_path, METRIC) == [rows[1], rows[4]]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a\nseqgan: no such reward\nb\n", "no such reward (exit code 2)"),
        ("a\n  KeyError: 'x'\n\n", "KeyError: 'x' (exit code 2)"),
        ("", "no output (exit code 2)"),
    ],
)
def test_the_reason_of_a_failed_trial(text: str, line: str, tmp_path: Path) -> None:
    (tmp_path / "log").write_text(text)
    assert error_line(tmp_path / "log", 2) == line


def test_short_names() -> None:
    names = ["a.rate", "b.rate", "a.kl", "seed", "eval/x"]
    assert [*short_names(names).values()] == ["a.rate", "b.rate", "kl", "seed", "x"]


@pytest.mark.parametrize(
    ("values", "item", "heights", "labels"),
    [
        ([0.01, 1.0], FloatDistribution(0.001, 10.0, log=True), [0.25, 0.75], {0.5: "0.1"}),
        ([1.0], FloatDistribution(0.0, 4.0), [0.25], {0.75: "3"}),
        ([3], IntDistribution(1, 5), [0.5], {1.0: "5"}),
        ([1, 10], CategoricalDistribution([100, 1, 10]), [0.0, 0.5], {1.0: "100"}),
        (["x"], CategoricalDistribution(["x", "y", "z"]), [0.0], {0.5: "y"}),
        ([2.0, 3.0], None, [0.0, 1.0], {0.5: "2.5"}),
        ([3.0, 3.0], None, [0.5, 0.5], {0.5: "3"}),
    ],
)
def test_axes_of_the_picture(
    values: list[Any], item: Any, heights: list[float], labels: dict[float, str]
) -> None:
    found, ticks = scale(values, item)
    assert found == pytest.approx(heights)
    assert ticks | labels == ticks


def test_the_picture_shows_the_trials_that_have_a_value(tmp_path: Path) -> None:
    rows = rank(SWEEP, tmp_path, made_trials(tmp_path))
    target = tmp_path / "parallel.png"
    for row in rows[:3]:
        row["b.rate"] = 0.2  # one of the sweep's values exactly
    assert draw_parallel(SWEEP, rows, target) == target
    assert imread(target).shape[:2] == (480, 880)
    assert draw_parallel(SWEEP, rows[3:], tmp_path / "none.png") is None
    assert not (tmp_path / "none.png").exists()
