"""The runner with trials that take milliseconds: ends, pruning, kills, signals, proposals."""

import io
import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from sweeping import about, make_runner, starts, sweep_of, values_of

from seqgan.sweeps.reading import Sweep, parse_sweep
from seqgan.sweeps.runner import sampler_for, suggest
from seqgan.sweeps.trials import trial_lives, trial_path

DRIVER = """
import sys, yaml
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from sweeping import make_runner, sweep_of
sys.exit(128 + make_runner(sweep_of(yaml.safe_load(sys.argv[1])), Path(sys.argv[2]), 3, 2).run())
"""


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def start_driver(parameters: dict[str, Any], folder: Path) -> "subprocess.Popen[bytes]":
    """A sweep in a process of its own, with two trials at a time that wait at a step."""
    given = [yaml.safe_dump(parameters), str(folder), str(Path(__file__).parent)]
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, *given])
    wait_for(lambda: (folder / "journal.log").is_file())
    wait_for(lambda: (folder / "journal.log").read_text().count('"pid"') == 2)
    runs = [trial_path(folder, number) for number in (0, 1)]
    wait_for(lambda: all((run / "metrics.jsonl").is_file() for run in runs))
    wait_for(lambda: all(len(values_of(run)) == 2 for run in runs))
    return driver


def test_a_grid_runs_to_its_end_and_a_failing_trial_is_one_of_them(tmp_path: Path) -> None:
    sweep = sweep_of({"x": [3.0, 1.0, 2.0], "fail": [99, 1], "slope": 0.25})
    output = io.StringIO()
    runner = make_runner(sweep, tmp_path, 6, 2, output)
    assert runner.run() == 0
    assert about(runner) == [
        *[(1.0, "COMPLETE", 0.5), (1.0, "FAIL", None), (2.0, "COMPLETE", 1.5)],
        *[(2.0, "FAIL", None), (3.0, "COMPLETE", 2.5), (3.0, "FAIL", None)],
    ]
    complete = [trial for trial in runner.study.trials if trial.value == 2.5]
    assert complete[0].intermediate_values == {1: 3.0, 2: 2.75, 3: 2.5}  # without iteration 0
    said = output.getvalue()
    assert said.count("failed: the loss is nan, not finite (exit code 1)") == 3
    assert said.count("sweep 6/6") == 1


def test_hyperband_stops_the_trial_that_is_behind(tmp_path: Path) -> None:
    """The worse trials wait at the first comparison for the signal, or the test never ends."""
    sweep = sweep_of(
        {"x": [float(x) for x in range(1, 6)], "steps": 4},
        early_terminate={"type": "hyperband", "min_iter": 2, "max_iter": 3, "eta": 3},
    )
    runner = make_runner(sweep, tmp_path, 5)
    launch, best = runner.launch, [math.inf]

    def waiting(number: int, values: Any, resume: bool) -> "subprocess.Popen[bytes]":
        behind = values["x"] > best[0]
        best[0] = min(best[0], values["x"])
        return launch(number, dict(values) | {"wait": 2 if behind else 0}, resume)

    runner.launch = waiting
    assert runner.run() == 0
    states = [(trial.params["x"], trial.state.name) for trial in runner.study.trials]
    lowest = [min(x for x, _ in states[: index + 1]) for index in range(5)]
    assert [state for _, state in states] == [
        "COMPLETE" if x == low else "PRUNED" for (x, _), low in zip(states, lowest, strict=True)
    ]
    pruned = [trial for trial in runner.study.trials if trial.state.name == "PRUNED"]
    assert pruned
    assert all([*trial.intermediate_values] == [1, 2] for trial in pruned)


def test_a_metric_that_is_never_logged_ends_the_sweep(tmp_path: Path) -> None:
    runner = make_runner(sweep_of({"x": [3.0, 1.0], "silent": True}), tmp_path, 2)
    runner.run()
    assert runner.broken == "trial 0 ended without a value of eval/nll_heldout"
    assert [trial.state.name for trial in runner.study.trials] == ["FAIL"]


def test_a_trial_that_was_killed_goes_on_with_the_sweep(tmp_path: Path) -> None:
    """The second step's row and checkpoint are there; no step is lost, and none repeated."""
    sweep = sweep_of({"x": [1.0, 2.0], "steps": 5, "kill": 2, "slope": 0.25})
    runner = make_runner(sweep, tmp_path, 2)
    assert runner.run() == 0
    assert {trial.state.name for trial in runner.study.trials} == {"RUNNING"}
    again = make_runner(sweep, tmp_path, 2)
    assert again.run() == 0
    assert about(again) == [(1.0, "COMPLETE", 0.0), (2.0, "COMPLETE", 1.0)]
    assert starts(tmp_path) == [["new", "resume"]] * 2
    assert [*again.study.trials[0].intermediate_values] == [1, 2, 3, 4, 5]
    assert make_runner(sweep, tmp_path, 2).run() == 0
    assert starts(tmp_path) == [["new", "resume"]] * 2  # nothing is left to do


def test_a_trial_without_a_checkpoint_begins_anew(tmp_path: Path) -> None:
    """A sweep killed after asking optuna, and in the middle of a row of the journal."""
    sweep = sweep_of({"x": [1.0, 2.0], "y": [0, 1]})
    runner = make_runner(sweep, tmp_path, 4)
    runner.study.sampler = sampler_for(sweep, 0, 0)
    runner.study.ask()
    trial_path(tmp_path, 0).mkdir(parents=True)
    (trial_path(tmp_path, 0) / "config.yaml").write_text("half")
    with (tmp_path / "journal.log").open("a") as file:
        file.write('{"op_code": 5, "half a ro')
    again = make_runner(sweep, tmp_path, 4)
    assert again.run() == 0
    points = {(trial.params["x"], trial.params["y"]) for trial in again.study.trials}
    assert points == {(x, y) for x in (1.0, 2.0) for y in (0, 1)}
    assert starts(tmp_path) == [["new"]] * 4


def test_a_sweep_that_was_killed_stops_its_trials_and_continues_them(tmp_path: Path) -> None:
    """Two trials outlive it. Neither runs twice at a time, and each ends with each step once."""
    folder = tmp_path / "sweep"
    parameters = {"x": [1.0, 2.0, 3.0], "steps": 5, "wait": 2, "slope": 0.25}
    driver = start_driver(parameters, folder)
    driver.kill()
    driver.wait()
    assert trial_lives(folder, 0)
    output = io.StringIO()
    runner = make_runner(sweep_of(parameters | {"wait": 9}), folder, 3, 2, output)
    assert runner.run() == 0
    assert about(runner) == [(x, "COMPLETE", x - 1.0) for x in (1.0, 2.0, 3.0)]
    assert starts(folder) == [["new", "resume"]] * 2 + [["new"]]
    assert all(len(values_of(trial_path(folder, number))) == 5 for number in range(3))
    assert output.getvalue().count("still runs") == 2


@pytest.mark.slow
def test_ctrl_c_stops_the_trials_after_a_step_and_the_sweep_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "sweep"
    parameters = {"x": [1.0, 2.0, 3.0], "steps": 5, "wait": 2, "slope": 0.25}
    driver = start_driver(parameters, folder)
    driver.send_signal(signal.SIGINT)
    assert driver.wait(timeout=60) == 130
    assert not trial_lives(folder, 0)
    runner = make_runner(sweep_of(parameters | {"wait": 9}), folder, 3, 2)
    assert {trial.state.name for trial in runner.study.trials} == {"RUNNING"}
    assert runner.run() == 0
    assert about(runner) == [(x, "COMPLETE", x - 1.0) for x in (1.0, 2.0, 3.0)]
    assert starts(folder) == [["new", "resume"]] * 2 + [["new"]]


# -------------------------------------------------------------------- proposals


def searched(method: str, count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Proposals of a search whose cost is lowest at a rate of 1e-3 and the good kind."""
    sweep = parse_sweep(
        {
            "method": method,
            "metric": {"name": "eval/nll_heldout"},
            "command": ["seqgan", "train", "captions", "${args}"],
            "parameters": {
                "rate": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1.0},
                "kind": {"values": ["bad", "good", "worse"]},
                "width": {"min": 1, "max": 64},
            },
        }
    )
    study = optuna.create_study()
    for number in range(count):
        values = propose(sweep, study, seed, number)
        study.tell(number, cost(values))
    return [trial.params for trial in study.trials]


def propose(sweep: Sweep, study: Any, seed: int, number: int) -> dict[str, Any]:
    study.sampler = sampler_for(sweep, seed, number)
    trial = study.ask()
    return {name: suggest(trial, name, item) for name, item in sweep.space.items()}


def cost(values: dict[str, Any]) -> float:
    kinds = {"bad": 1.0, "good": 0.0, "worse": 2.0}
    return abs(math.log10(values["rate"]) + 3) + kinds[values["kind"]]


@pytest.fixture(autouse=True)
def quiet_optuna() -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def test_a_random_search_draws_each_trial_by_seed_and_number() -> None:
    """Each trial has a sampler of its own, so that a resumed sweep draws what it would have."""
    drawn = searched("random", 20)
    assert drawn == searched("random", 20)
    assert len({values["rate"] for values in drawn}) == 20
    assert searched("random", 1, seed=1)[0] not in drawn
    assert {values["kind"] for values in drawn} == {"bad", "good", "worse"}
    assert all(type(v["width"]) is int and 1 <= v["width"] <= 64 for v in drawn)
    assert all(1e-5 <= values["rate"] <= 1.0 for values in drawn)


def test_a_bayesian_search_finds_the_good_region() -> None:
    costs = [cost(values) for values in searched("bayes", 40)]
    assert sum(costs[-10:]) < sum(costs[:10]) / 2
    assert searched("bayes", 15) == searched("bayes", 40)[:15]
