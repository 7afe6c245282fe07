"""Sweeps without processes: what a file says, where values lie, who is stopped, who is best."""

import json
import math
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from matplotlib.image import imread
from wandb.sdk.launch.sweeps import utils as agent

from seqgan.commands.train import configuration
from seqgan.sweeps.distributions import Choice, Normal, Uniform
from seqgan.sweeps.hyperband import Hyperband, to_stop
from seqgan.sweeps.launching import train_arguments, trial_environment, without_overridden
from seqgan.sweeps.picture import draw_parallel, numeric_scale, parameter_scale
from seqgan.sweeps.proposals import grid_proposal, random_proposal
from seqgan.sweeps.ranking import conclusion, rank, ranking_dict, short_names, table_lines
from seqgan.sweeps.reading import Sweep, parse_sweep, read_sweep
from seqgan.sweeps.trials import (
    SweepFolder,
    Trial,
    last_row_with,
    metric_values,
    why_without_value,
)

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "experiments" / "sweeps").glob("*.yaml"))

BASE: dict[str, Any] = {
    "name": "tiny",
    "method": "random",
    "metric": {"name": "eval/nll_heldout"},
    "command": ["seqgan", "train", "captions", "${args}"],
    "parameters": {"rule.kl_weight": {"min": 0.0, "max": 1.0}},
}


def parameters_of(**given: dict[str, Any]) -> dict[str, Any]:
    return parse_sweep(BASE | {"parameters": given}).parameters


def one(**spec: Any) -> Any:
    return parameters_of(x=spec)["x"]


# -------------------------------------------------------------------- distributions


@pytest.mark.parametrize(
    ("spec", "values"),
    [
        ({"value": 5}, {0.0: 5, 0.99: 5}),
        ({"values": ["a", "b", "c", "d"]}, {0.0: "a", 0.24: "a", 0.26: "b", 0.99: "d", 1.0: "d"}),
        (
            {"values": ["a", "b", "c"], "probabilities": [0.1, 0.0, 0.9]},
            {0.0: "a", 0.09: "a", 0.11: "c", 1.0: "c"},
        ),
        ({"min": 3, "max": 6}, {0.0: 3, 0.24: 3, 0.26: 4, 0.99: 6, 1.0: 6}),
        ({"min": 1.0, "max": 3.0}, {0.0: 1.0, 0.25: 1.5, 1.0: 3.0}),
        ({"min": 1, "max": 2.5}, {0.0: 1.0, 0.5: 1.75}),
        ({"distribution": "uniform", "min": 1, "max": 3}, {0.25: 1.5}),
        ({"distribution": "q_uniform", "min": 0, "max": 10, "q": 4}, {0.1: 0, 0.3: 4, 0.7: 8}),
        ({"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": 0.25}, {0.4: 0.5, 0.9: 1.0}),
        (
            {"distribution": "log_uniform_values", "min": 0.0001, "max": 1.0},
            {0.0: 1e-4, 0.25: 1e-3, 0.5: 1e-2, 1.0: 1.0},
        ),
        ({"distribution": "inv_log_uniform_values", "min": 0.01, "max": 1.0}, {0.5: 0.1}),
        ({"distribution": "log_uniform", "min": -2, "max": 4}, {0.5: math.e, 1.0: math.e**4}),
        (
            {"distribution": "inv_log_uniform", "min": 1, "max": 3},
            {0.0: math.e**-3, 0.5: math.e**-2},
        ),
        (
            {"distribution": "q_log_uniform_values", "min": 1, "max": 10000, "q": 30},
            {0.5: 90, 0.75: 990},
        ),
        ({"distribution": "normal", "mu": 2.0, "sigma": 0.5}, {0.5: 2.0, 0.975: 2.979982}),
        ({"distribution": "normal"}, {0.5: 0.0, 0.025: -1.959964}),
        ({"distribution": "q_normal", "mu": 10, "sigma": 5, "q": 2}, {0.5: 10, 0.975: 20}),
        ({"distribution": "log_normal", "mu": 1.0, "sigma": 0.5}, {0.5: math.e}),
        ({"distribution": "q_log_normal", "mu": 2.0, "sigma": 1.0, "q": 0.5}, {0.5: 7.5}),
    ],
)
def test_quantiles_by_value(spec: dict[str, Any], values: dict[float, Any]) -> None:
    distribution = one(**spec)
    for u, value in values.items():
        found = distribution.quantile(u)
        assert found == (value if isinstance(value, str) else pytest.approx(value, rel=1e-6))
        assert type(found) is type(value)


def test_a_normal_quantile_is_finite_at_both_ends() -> None:
    assert math.isfinite(Normal(0.0, 1.0).quantile(0.0))
    assert math.isfinite(Normal(0.0, 1.0).quantile(1.0))


@pytest.mark.parametrize("probabilities", [(), (0.1, 0.6, 0.3)])
def test_the_middle_of_a_choice_is_that_choice(probabilities: tuple[float, ...]) -> None:
    choice = Choice(("a", "b", "c"), probabilities)
    assert [choice.index(choice.middle(index)) for index in range(3)] == [0, 1, 2]


# -------------------------------------------------------------------- proposals


def test_a_grid_in_the_order_of_names_with_the_last_one_fastest() -> None:
    parameters = parameters_of(
        b={"values": [1, 2]},
        a={"values": ["x", "y"]},
        c={"distribution": "q_uniform", "min": 0, "max": 4, "q": 2},
        d={"value": 9},
    )
    proposed = [grid_proposal(parameters, index).parameters for index in range(8)]
    assert [(p["a"], p["b"], p["c"]) for p in proposed] == [
        (a, b, c) for a in ("x", "y") for b in (1, 2) for c in (0, 2)
    ]
    assert {p["d"] for p in proposed} == {9}
    with pytest.raises(IndexError):
        grid_proposal(parameters, 8)


def test_random_proposals_depend_on_seed_and_index_alone() -> None:
    parameters = parameters_of(a={"min": 0.0, "max": 1.0}, b={"min": 0.0, "max": 1.0})
    proposals = [random_proposal(parameters, 0, index).parameters for index in range(20)]
    assert proposals == [random_proposal(parameters, 0, index).parameters for index in range(20)]
    numbers = [value for proposal in proposals for value in proposal.values()]
    assert len(set(numbers)) == 40
    assert random_proposal(parameters, 1, 0).parameters not in proposals


def test_random_proposals_follow_probabilities() -> None:
    parameters = parameters_of(a={"values": ["x", "y"], "probabilities": [0.2, 0.8]})
    drawn = Counter(random_proposal(parameters, 0, index).parameters["a"] for index in range(1000))
    assert 150 < drawn["x"] < 250  # four standard errors are 51


# -------------------------------------------------------------------- hyperband


@pytest.mark.parametrize(
    ("settings", "brackets"),
    [
        ({"min_iter": 3, "eta": 2}, (3, 6, 12, 24)),  # the examples of its documentation
        ({"max_iter": 27, "s": 2, "eta": 3}, (3, 9)),
        ({"min_iter": 3}, (3, 9, 27, 81)),  # eta is 3
        ({"max_iter": 10, "s": 5, "eta": 3}, (1, 3)),  # below 1 there are none
        ({"min_iter": 2, "eta": 1.5}, (2, 3, 4, 6)),  # 2, 3, 4.5, 6.75
    ],
)
def test_brackets(settings: dict[str, Any], brackets: tuple[int, ...]) -> None:
    assert Hyperband(**settings).brackets[: len(brackets)] == brackets


def test_who_falls_behind_is_stopped_at_a_bracket() -> None:
    """Brackets 2, 4, 8; of n trials there, one whose value is above the rank floor(n / 2)."""
    hyperband = Hyperband(min_iter=2, eta=2, strict=True)
    histories = {
        1: [9.0, 1.0, 1.0, 1.0],
        2: [9.0, 2.0, 2.0],
        3: [1.0, 3.0],  # its best is the best of all, but not at the bracket
        4: [9.0, 4.0],
        5: [0.0],  # has not reached a bracket
    }
    # At bracket 2: 1, 2, 3, 4; rank 2 is 3. At bracket 4, trial 1 is alone.
    assert to_stop(hyperband, histories, {1, 2, 3, 4, 5}) == {4}
    assert to_stop(hyperband, histories, {1, 2, 3, 5}) == set()
    lenient = Hyperband(min_iter=2, eta=2)  # as Weights & Biases where nothing is said
    assert lenient == replace(hyperband, strict=False)
    assert to_stop(lenient, histories | {6: [9.0, 2.5]}, {3, 4}) == {4}
    assert to_stop(hyperband, histories | {6: [9.0, 2.5]}, {3, 4}) == {3, 4}


def test_the_last_bracket_reached_is_the_one_that_counts() -> None:
    hyperband = Hyperband(min_iter=1, eta=2, strict=True)  # 1, 2, 4
    histories = {1: [5.0, 1.0], 2: [1.0, 2.0], 3: [1.0, 3.0], 4: [9.0]}
    # Trial 1 was worst at bracket 1 and is best at 2; 3 is behind rank 1, which is 2.
    assert to_stop(hyperband, histories, {1, 2, 3, 4}) == {3, 4}


def test_the_first_to_arrive_goes_on() -> None:
    assert to_stop(Hyperband(min_iter=1), {1: [100.0]}, {1}) == set()


# -------------------------------------------------------------------- files


def test_a_file_by_value(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        """
        program: seqgan
        method: bayes
        run_cap: 7
        project: there
        command: ["${env}", "${program}", train, captions, "${args}"]
        metric: {name: eval/grammatical, goal: maximize, target: 0.9}
        early_terminate: {type: hyperband, max_iter: 27, s: 2, strict: true}
        parameters:
          seed: {values: [1, 2]}
          adversarial:
            parameters:
              kl_weight: {min: 0.0, max: 0.5}
              update:
                parameters:
                  entropy_weight: {distribution: log_uniform_values, min: 0.001, max: 0.1}
        """
    )
    sweep = read_sweep(path)
    assert (sweep.name, sweep.method, sweep.run_cap, sweep.project) == ("mine", "bayes", 7, "there")
    assert sweep.parameters == {
        "rule.kl_weight": Uniform(0.0, 0.5),
        "rule.update.entropy_weight": Uniform(0.001, 0.1, logarithmic=True),
        "seed": Choice((1, 2)),
    }
    assert [*sweep.parameters] == sorted(sweep.parameters)
    assert sweep.hyperband == Hyperband(max_iter=27, s=2, eta=3.0, strict=True)
    assert sweep.metric.cost(0.3) == -0.3
    assert sweep.metric.reached(0.95)
    assert not sweep.metric.reached(0.85)


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_shipped_files_are_sweeps_that_the_command_takes(path: Path) -> None:
    """The ends of every parameter, each as a flag of the file's own command."""
    sweep = read_sweep(path)
    assert sweep.hyperband is not None
    middle = {name: item.quantile(0.5) for name, item in sweep.parameters.items()}
    for name, item in sweep.parameters.items():
        for value in item.extremes():
            config = configuration(train_arguments(sweep, middle | {name: value}))
            setting: Any = config
            for part in name.split("."):
                setting = getattr(setting, part)
            assert setting == pytest.approx(value)
    evaluations = config.adversarial.iterations // config.evaluation.every
    assert sweep.hyperband.brackets[1] < evaluations


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_shipped_files_have_only_what_wandb_knows(path: Path) -> None:
    """The keys of wandb's own schema of a sweep, those of them that these files use."""
    plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    needed = {"program", "method", "metric", "parameters", "command"}
    assert needed <= set(plain) <= needed | {"name", "run_cap", "early_terminate"}
    assert set(plain["metric"]) == {"name", "goal"}
    kinds = ({"value"}, {"values"}, {"min", "max"})
    kinds += ({"distribution", "min", "max"}, {"distribution", "min", "max", "q"})
    for name, parameter in plain["parameters"].items():
        assert set(parameter) in kinds, name
        # A text where a number was meant: YAML 1.1 reads 1e-3 as one.
        assert all(not isinstance(parameter.get(key, 0), str) for key in ("min", "max", "value"))


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_an_agent_of_wandb_would_start_the_same_training(path: Path) -> None:
    """Its own functions make the command of a trial."""
    sweep = read_sweep(path)
    parameters = random_proposal(sweep.parameters, 0, 0).parameters
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    given = {"args": {name: {"value": value} for name, value in parameters.items()}}
    macros = agent.create_sweep_command_args(given)
    macros |= {"env": ["/usr/bin/env"], "program": [config["program"]]}
    words: list[str] = []
    for word in agent.create_sweep_command(config["command"]):
        words += macros[word[2:-1]] if word.startswith("${") else [word]
    assert words == ["/usr/bin/env", "seqgan", "train", *train_arguments(sweep, parameters)]


def changed(**given: Any) -> dict[str, Any]:
    return {key: value for key, value in (BASE | given).items() if value is not None}


def swept(**spec: Any) -> dict[str, Any]:
    return changed(parameters={"rule.kl_weight": spec})


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ([], "a sweep is a mapping, got []"),
        (changed(metod="grid"), "unknown key metod; the nearest known one is method"),
        (changed(method=None), "method is needed, got none"),
        (changed(method="gird"), "method is one of grid, random, bayes, got 'gird'"),
        (changed(command=None), "command is needed"),
        (changed(command="seqgan train"), "command is a list of words, got 'seqgan train'"),
        (changed(metric=None), "metric is needed"),
        (changed(metric={"goal": "minimize"}), "metric.name is needed"),
        (changed(metric={"name": "eval/nll_heldou"}), "the nearest one is eval/nll_heldout"),
        (
            changed(metric={"name": "eval/nll_heldout", "goal": "min"}),
            "metric.goal is one of minimize, maximize, got 'min'",
        ),
        (changed(run_cap=0), "run_cap is at least 1, got 0"),
        (changed(run_cap="3"), "run_cap is a whole number, got '3'"),
        (changed(parameters={}), "parameters has at least one parameter, got none"),
        (swept(), "has value, values, min and max, parameters, or a distribution, got nothing"),
        (swept(min=1), "got min"),
        (swept(min=2.0, max=1.0), "rule.kl_weight.min is below max, got 2.0 and 1.0"),
        (swept(min="1e-3", max=1.0), "is a number, got the text '1e-3'; YAML wants 1.0e-3"),
        (swept(min=float("nan"), max=1.0), "is a finite number, got nan"),
        (swept(min=True, max=2), "is a finite number, got True"),
        (swept(distribution="log_unform_values", min=1, max=2), "nearest one is log_uniform_val"),
        (swept(distribution="log_uniform_values", min=0.0, max=1.0), "min is above 0 where"),
        (swept(distribution="log_uniform", min=1, max=1000), "are natural logarithms"),
        (swept(distribution="int_uniform", min=1.5, max=3), "min is a whole number, got 1.5"),
        (swept(distribution="q_uniform", min=1, max=3, q=0), "q is above 0, got 0"),
        (swept(distribution="normal", sigma=-1), "sigma is at least 0, got -1"),
        (swept(min=0.0, max=1.0, q=2), "unknown key parameters.rule.kl_weight.q"),
        (swept(values=[]), "values is a list of at least one value, got []"),
        (swept(values=[[1, 2]]), "is a text, a number, true or false, got [1, 2]"),
        (swept(values=[1, 2], probabilities=[0.5, 0.4]), "at least 0 and sum to 1"),
        (swept(values=[1, 2], probabilities=[1.0]), "probabilities has one for each of 2"),
        (
            changed(parameters={"a.b": {"value": 1}, "a": {"parameters": {"b": {"value": 2}}}}),
            "once",
        ),
        (
            changed(method="grid"),
            "a grid takes value, values, int_uniform and q_uniform, got a continuous range for",
        ),
        (changed(early_terminate={"type": "median"}), "early_terminate.type is one of hyperband"),
        (changed(early_terminate={"type": "hyperband"}), "has either min_iter or max_iter"),
        (changed(early_terminate={"type": "hyperband", "max_iter": 9}), "s is at least 1 beside"),
        (changed(early_terminate={"type": "hyperband", "min_iter": 0}), "min_iter is at least 1"),
        (changed(early_terminate={"type": "hyperband", "min_iter": 1, "eta": 1}), "eta is above 1"),
        (
            changed(early_terminate={"type": "hyperband", "max_iter": 2, "s": 1, "eta": 3}),
            "has a bracket at 1 or later",
        ),
        (changed(early_terminate={"type": "hyperband", "min_iter": 1, "strict": 1}), "is true or"),
    ],
)
def test_a_wrong_file_is_one_line(plain: Any, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        parse_sweep(plain)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", ["a: [1", "\udcff", None])
def test_a_file_that_is_none(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    if content is not None:
        path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=r"a sweep is a .*sweep\.yaml"):
        read_sweep(path)


# -------------------------------------------------------------------- the command


def with_command(*words: str, program: str = "") -> Sweep:
    return parse_sweep(BASE | {"command": [*words], "program": program})


@pytest.mark.parametrize(
    "words",
    [
        ("seqgan", "train", "captions", "${args}"),
        ("${env}", "${program}", "train", "captions", "${args}"),
        ("${env}", "${interpreter}", "-m", "seqgan", "train", "captions", "${args}"),
        ("python", "-m", "seqgan", "train", "captions", "${args}"),
        ("${envvar:SEQGAN_PROGRAM}", "train", "captions", "${args}"),
    ],
)
def test_every_way_to_write_the_command(
    words: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEQGAN_PROGRAM", "/opt/bin/seqgan")
    sweep = with_command(*words, program="bin/seqgan")
    arguments = train_arguments(sweep, {"rule.kl_weight": 0.25, "seed": 3}, ["--threads=2"])
    assert arguments == ["captions", "--rule.kl_weight=0.25", "--seed=3", "--threads=2"]
    config = configuration(arguments)
    assert (config.rule.kl_weight, config.seed, config.threads) == (0.25, 3, 2)


def test_the_other_forms_of_flags() -> None:
    given = {"rule.standardize": True, "estimate_time": False, "seed": 3}
    plain = with_command("seqgan", "train", "captions", "${args_no_boolean_flags}")
    config = configuration(train_arguments(plain, given))
    assert (config.rule.standardize, config.estimate_time, config.seed) == (True, False, 3)
    spaced = with_command("seqgan", "train", "captions", "${args_no_equals}")
    assert train_arguments(spaced, {"seed": 3}) == ["captions", "--seed", "3"]


@pytest.mark.parametrize(
    ("words", "extra", "message"),
    [
        (("python", "train.py", "${args}"), (), "command is [seqgan, train, ..., ${args}]"),
        (("seqgan", "sample", "${args}"), (), "command is [seqgan, train, ..., ${args}]"),
        (("seqgan", "train", "captions"), (), "command is [seqgan, train, ..., ${args}]"),
        (("seqgan", "train", "${args}", "${args_json}"), (), "got ${args_json}"),
        (("seqgan", "train", "--output=a", "${args}"), (), "--output is not for the trials"),
        (("seqgan", "train", "${args}"), ("--resume", "a"), "--resume is not for the trials"),
        (
            ("seqgan", "train", "${args}"),
            ("--adversarial.kl-weight=1",),
            "--adversarial.kl-weight is swept, got it beside the sweep too",
        ),
    ],
)
def test_a_command_that_a_local_sweep_does_not_run(
    words: tuple[str, ...], extra: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        train_arguments(with_command(*words), {"rule.kl_weight": 1.0}, extra)


@pytest.mark.parametrize(
    "extra",
    [
        ["--evaluation.num-samples", "20", "--adversarial.kl-weight=1"],
        ["--evaluation.num_samples=20", "--rule.kl_weight", "1"],
    ],
)
def test_a_flag_takes_the_place_of_a_fixed_value_alone(extra: list[str]) -> None:
    """Nothing is told wandb of a value that no trial has; what varies stays the sweep's."""
    specs = {
        "evaluation.num_samples": {"value": 40},
        "rule.kl_weight": {"values": [0.25, 0.75]},
        "seed": {"value": 3},
    }
    sweep = without_overridden(parse_sweep(BASE | {"parameters": specs}), extra)
    assert [*sweep.parameters] == ["rule.kl_weight", "seed"]
    with pytest.raises(ValueError, match=r"--adversarial.kl.weight is swept, got it beside"):
        train_arguments(sweep, grid_proposal(sweep.parameters, 1).parameters, extra)
    fixed = without_overridden(parse_sweep(BASE | {"parameters": {"seed": {"value": 3}}}), extra)
    config = configuration(train_arguments(fixed, {"seed": 3}, extra))
    assert (config.evaluation.num_samples, config.rule.kl_weight, config.seed) == (20, 1, 3)


@pytest.mark.parametrize(
    ("given", "environment", "expected"),
    [
        ({}, {}, {"WANDB_MODE": "offline", "WANDB_PROJECT": "seqgan"}),
        ({}, {"WANDB_MODE": "online"}, {"WANDB_MODE": "offline"}),
        ({}, {"WANDB_MODE": "disabled"}, {"WANDB_MODE": "disabled"}),
        ({}, {"WANDB_PROJECT": "mine"}, {"WANDB_PROJECT": "mine"}),
        ({"project": "there"}, {"WANDB_PROJECT": "mine"}, {"WANDB_PROJECT": "there"}),
        ({}, {"WANDB_RUN_GROUP": "g"}, {"WANDB_RUN_GROUP": "g", "WANDB_NAME": "tiny-004"}),
        ({}, {"PATH": "/bin"}, {"PATH": "/bin", "WANDB_RUN_GROUP": "tiny-abc"}),
    ],
)
def test_the_environment_of_a_trial(
    given: dict[str, str], environment: dict[str, str], expected: dict[str, str], tmp_path: Path
) -> None:
    sweep = parse_sweep(BASE | given)
    found = trial_environment(environment, sweep, "abc", 4, tmp_path / "p.yaml")
    assert found["WANDB_SWEEP_ID"] == "abc"
    assert found["WANDB_SWEEP_PARAM_PATH"] == str(tmp_path / "p.yaml")
    assert {name: found[name] for name in expected} == expected


# -------------------------------------------------------------------- the end


GRID = parse_sweep(
    BASE
    | {
        "method": "grid",
        "parameters": {
            "rule.learning_rate": {"values": [0.001, 0.002]},
            "pretrain.learning_rate": {"values": [0.1, 0.2]},
            "task.kind": {"values": ["captions", "oracle"]},
            "evaluation.every": {"value": 3},
        },
    }
)


def made_trials(folder: SweepFolder) -> list[Trial]:
    """Values 1.4, 1.2 and 1.3 (stopped early); one failed, one interrupted before a value."""
    about = [
        (1, "finished", (2.0, 1.4), "worse"),
        (2, "finished", (2.0, 1.2), "better"),
        (3, "stopped early", (1.3,), ""),
        (4, "failed", (1.0,), ""),
        (5, "interrupted", (), ""),
    ]
    trials = []
    for number, status, values, verdict in about:
        parameters = grid_proposal(GRID.parameters, number).parameters
        run = folder.run(number)
        run.mkdir(parents=True)
        rows = [
            {
                "eval/nll_heldout": value,
                "eval/grammatical": number / 10,
                "eval/entropy": 2.0 + number,
                "eval/duplicate_rate": 0.25,
            }
            for value in values
        ]
        (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        if verdict:
            comparison = {"quality": "grammatical", "verdict": verdict}
            comparison |= {"difference": number / 8, "error": 0.01}
            (run / "results.json").write_text(json.dumps({"comparison": comparison}))
        error = "exit code 1" if status == "failed" else ""
        trials.append(Trial(number, parameters, {}, status, error, values=values))  # type: ignore[arg-type]
    return trials


def test_ranking_by_the_last_value_with_guards_against_collapse(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path)
    rows = rank(GRID, folder, made_trials(folder))
    assert [row.trial.number for row in rows] == [2, 3, 1, 4, 5]
    assert [row.verdict for row in rows] == ["better", "", "worse", "", ""]
    assert rows[0].guards == {"grammatical": 0.2, "entropy": 4.0, "duplicate_rate": 0.25}
    turned = replace(GRID, metric=replace(GRID.metric, minimize=False))
    turned_rows = rank(turned, folder, [row.trial for row in rows])
    assert [row.trial.number for row in turned_rows] == [1, 3, 2, 4, 5]
    plain = ranking_dict(GRID, rows)
    assert json.loads(json.dumps(plain)) == plain
    assert plain["trials"][0]["value"] == 1.2
    assert plain["trials"][0]["entropy"] == 4.0
    assert (plain["trials"][0]["difference"], plain["trials"][1]["difference"]) == (0.25, None)
    assert plain["trials"][0]["run"] == "trials/002"
    assert plain["trials"][3]["error"] == "exit code 1"
    assert [trial["rank"] for trial in plain["trials"]] == [1, 2, 3, None, None]
    assert conclusion(GRID, rows) == (
        "Best: trial 2 of 5, eval/nll_heldout 1.2 with rule.learning_rate 0.001,"
        " pretrain.learning_rate 0.2, task.kind captions; at equal quality better than the MLE"
        " temperature curve."
    )
    assert "has not been compared" in conclusion(GRID, rows[1:])
    assert conclusion(GRID, rows[3:]) == "No trial has ended with a value of the metric."


def test_equal_values_share_a_rank_and_the_best_may_be_a_tie(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path)
    made = made_trials(folder)[:3]
    values = {1: 1.2, 2: 1.5, 3: 1.2}
    rows = rank(GRID, folder, [replace(trial, values=(values[trial.number],)) for trial in made])
    assert [(row.place, row.trial.number) for row in rows] == [(1, 1), (1, 3), (3, 2)]
    assert [line.split()[0] for line in table_lines(GRID, rows, 200)] == ["rank", "1", "1", "3"]
    assert [trial["rank"] for trial in ranking_dict(GRID, rows)["trials"]] == [1, 1, 3]
    assert conclusion(GRID, rows) == (
        "Best: a tie of trials 1 and 3 of 3, each with eval/nll_heldout 1.2; the metric does not"
        " tell them apart."
    )


def test_a_value_is_of_the_game(tmp_path: Path) -> None:
    """The evaluation of iteration 0 counts nowhere; a row without an iteration does."""
    metrics = tmp_path / "metrics.jsonl"
    before = {"iteration": 0, "eval/nll_heldout": 1.0, "eval/entropy": 4.0}
    rows = [before, {"iteration": 5, "eval/nll_heldout": 2.0}, {"iteration": 6, "losses/kl": 7.0}]
    metrics.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert metric_values(tmp_path, "eval/nll_heldout") == (2.0,)
    assert last_row_with(tmp_path, "eval/nll_heldout") == rows[1]
    assert last_row_with(tmp_path, "eval/entropy") == {}
    metrics.write_text('{"pretrain/epoch": 3, "pretrain/nll_dev": 1.5}\n')
    assert metric_values(tmp_path, "pretrain/nll_dev") == (1.5,)
    assert why_without_value(tmp_path, "eval/nll_heldout") == ""
    metrics.write_text('{"iteration": 1, "eval/nll_heldout": NaN}\n')
    assert why_without_value(tmp_path, "eval/nll_heldout") == "eval/nll_heldout was never finite"


def test_the_table_fits_wide_and_narrow(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path)
    rows = rank(GRID, folder, made_trials(folder))
    wide = table_lines(GRID, rows, 200)
    assert wide[0].split() == [
        *("rank", "trial", "nll_heldout", "rule.learning_rate"),
        *("pretrain.learning_rate", "kind", "grammatical", "entropy", "duplicate_rate"),
        *("NLL", "-", "MLE's", "status"),
    ]
    values = "1 2 1.2 0.001 0.2 captions 0.2 4 0.25 +0.2500 better finished"
    assert wide[1].split() == values.split()
    assert wide[4].endswith("failed: exit code 1")
    assert len(wide) == 6
    narrow = table_lines(GRID, rows, 50)
    assert max(map(len, narrow)) <= 50
    assert narrow[0] == "rank 1  trial 2  nll_heldout 1.2"
    assert "duplicate_rate 0.25" in "\n".join(narrow)


def test_short_names() -> None:
    assert short_names(["a.rate", "b.rate", "a.kl", "seed"]) == {
        "a.rate": "a.rate",
        "b.rate": "b.rate",
        "a.kl": "kl",
        "seed": "seed",
    }
    assert short_names(["x.a.r", "r"]) == {"x.a.r": "a.r", "r": "r"}


def test_axes_of_the_picture() -> None:
    """Logarithms where the distribution has them, equal steps for a choice."""
    sweep = parse_sweep(
        BASE
        | {
            "parameters": {
                "a": {"distribution": "log_uniform_values", "min": 0.001, "max": 10.0},
                "b": {"values": [100, 1, 10]},
                "c": {"values": ["x", "y", "z"]},
                "d": {"min": 0.0, "max": 4.0},
            }
        }
    )
    assert parameter_scale(sweep, "a", [0.01, 1.0]).positions == pytest.approx(
        {0.01: 0.25, 1.0: 0.75}
    )
    ticks = {label: place for place, label in parameter_scale(sweep, "a", [0.01]).ticks}
    assert ticks["0.1"] == pytest.approx(0.5)
    assert parameter_scale(sweep, "b", [1]).positions == {1: 0.0, 10: 0.5, 100: 1.0}
    assert parameter_scale(sweep, "c", ["x"]).ticks == ((0.0, "z"), (0.5, "y"), (1.0, "x"))
    assert parameter_scale(sweep, "d", [1.0]).positions == {1.0: 0.25}  # not 0.5: the whole range
    assert numeric_scale([3.0, 3.0]).positions == {3.0: 0.5}


def test_the_picture_shows_the_trials_that_have_a_value(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path)
    rows = rank(GRID, folder, made_trials(folder))
    assert draw_parallel(GRID, rows, folder.picture) == folder.picture
    height, width, _ = imread(folder.picture).shape
    assert (height, width) == (480, 880)
    assert draw_parallel(GRID, rows[3:], tmp_path / "none.png") is None
    assert not (tmp_path / "none.png").exists()
