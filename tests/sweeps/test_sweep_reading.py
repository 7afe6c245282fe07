"""Sweep files: their values, their errors, and the command that they make."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from wandb.sdk.launch.sweeps import utils as agent

from seqgan.sweeps.reading import Sweep, parse_sweep, read_sweep
from seqgan.sweeps.trials import train_arguments, trial_environment

FILES = sorted((Path(__file__).parents[2] / "experiments" / "sweeps").glob("*.yaml"))
BASE: dict[str, Any] = {
    "method": "random",
    "metric": {"name": "eval/nll_heldout"},
    "command": ["seqgan", "train", "captions", "${args}"],
    "parameters": {"rule.kl_weight": {"min": 0.0, "max": 1.0}},
}


def changed(**given: Any) -> dict[str, Any]:
    return {key: value for key, value in (BASE | given).items() if value is not None}


def swept(**spec: Any) -> dict[str, Any]:
    return changed(parameters={"x": spec})


@pytest.mark.parametrize(
    ("spec", "distribution"),
    [
        ({"values": ["a", 2, True]}, CategoricalDistribution(["a", 2, True])),
        ({"min": 3, "max": 6}, IntDistribution(3, 6)),
        ({"min": 1, "max": 2.5}, FloatDistribution(1, 2.5)),
        ({"distribution": "uniform", "min": 1, "max": 3}, FloatDistribution(1, 3)),
        (
            {"distribution": "q_uniform", "min": 0, "max": 8, "q": 4},
            IntDistribution(0, 8, step=4),
        ),
        (
            {"distribution": "q_uniform", "min": 0.1, "max": 0.7, "q": 0.2},
            FloatDistribution(0.1, 0.7, step=0.2),
        ),
        (
            {"distribution": "log_uniform_values", "min": 0.001, "max": 1},
            FloatDistribution(0.001, 1, log=True),
        ),
    ],
)
def test_distributions_by_value(spec: dict[str, Any], distribution: Any) -> None:
    assert parse_sweep(swept(**spec)).space == {"x": distribution}


def test_a_grid_has_all_values() -> None:
    sweep = parse_sweep(
        changed(
            method="grid",
            parameters={
                "a": {"values": ["x", "y"]},
                "b": {"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": 0.25},
                "c": {"min": 3, "max": 5},
                "d": {"value": 9},
                "e": {"values": [7]},
            },
        )
    )
    assert sweep.grid() == {"a": ["x", "y"], "b": [0.0, 0.25, 0.5, 0.75, 1.0], "c": [3, 4, 5]}
    assert sweep.fixed == {"d": 9, "e": 7}


def test_a_file_by_value(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        """
        program: seqgan
        method: bayes
        run_cap: 7
        project: there
        command: ["${env}", "${program}", train, captions, "${args}"]
        metric: {name: eval/grammatical, goal: maximize}
        early_terminate: {type: hyperband, max_iter: 27, s: 2}
        parameters: {seed: {values: [1, 2]}}
        """
    )
    assert read_sweep(path) == Sweep(
        *("mine", "bayes", "eval/grammatical", "maximize"),
        space={"seed": CategoricalDistribution([1, 2])},
        fixed={},
        command=("${env}", "seqgan", "train", "captions", "${args}"),
        hyperband={"min_resource": 3, "max_resource": 27, "reduction_factor": 3},
        run_cap=7,
        project="there",
    )


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_an_agent_of_wandb_would_start_the_same_training(path: Path) -> None:
    """Its own functions make the command of a trial of a shipped file."""
    sweep = read_sweep(path)
    assert sweep.hyperband
    ends = {name: getattr(item, "low", item) for name, item in sweep.space.items()}
    values = sweep.fixed | {name: getattr(end, "choices", [end])[0] for name, end in ends.items()}
    plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    given = {"args": {name: {"value": value} for name, value in values.items()}}
    macros = agent.create_sweep_command_args(given)
    macros |= {"env": ["/usr/bin/env"], "program": [plain["program"]]}
    words: list[str] = []
    for word in agent.create_sweep_command(plain["command"]):
        words += macros[word[2:-1]] if word.startswith("${") else [word]
    assert words == ["/usr/bin/env", "seqgan", "train", *train_arguments(sweep, values)]


@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ([], "the sweep is [], but must be a mapping"),
        (changed(metod="grid"), "unknown key metod; did you mean method"),
        (changed(entity="me"), "unknown key entity; did you mean "),
        (changed(method=None), "method is missing, but needed, for instance method: grid"),
        (
            changed(command=None),
            'command is missing, but needed, for instance command: ["${program}", train,',
        ),
        (changed(method="gird"), "method is 'gird', but must be one of grid, random, bayes"),
        (changed(method=["grid"]), "method is ['grid'], but must be one of grid, random, bayes"),
        (changed(name=["a"]), "name is ['a'], but must be a text, a number, true or false"),
        (changed(command="seqgan train"), "command is 'seqgan train', but must be a list of words"),
        (changed(metric="eval/nll_heldout"), "metric is 'eval/nll_heldout', but must be a mapping"),
        (changed(metric={"goal": "minimize"}), "metric.name is missing"),
        (changed(metric={"name": "eval/nll_heldou"}), "did you mean eval/nll_heldout"),
        (changed(metric={"name": "loss"}), "unknown metric "),
        (
            changed(metric={"name": "eval/nll_heldout", "goal": "min"}),
            "metric.goal is 'min', but must be one of minimize, maximize",
        ),
        (changed(metric={"name": "eval/nll_heldout", "target": 1}), "unknown key metric.target"),
        (changed(run_cap=0), "run_cap is 0, but must be a whole number of at least 1"),
        (changed(run_cap="3"), "run_cap is '3', but must be a whole number of at least 1"),
        (changed(parameters={}), "the parameters with several values are none"),
        (changed(parameters=[1]), "parameters is [1], but must be a mapping"),
        (swept(value=1), "the parameters with several values are x, but must be at least one"),
        (
            changed(parameters={"x": 3}),
            "parameters.x is 3, but must have value, values, or min and max",
        ),
        (
            swept(parameters={"y": {"value": 1}}),
            " has parameters, but must have value, values, or min and max",
        ),
        (swept(), "parameters.x has nothing, but must have value, values, or min and max"),
        (swept(min=1), "has min, but must"),
        (
            swept(min=2.0, max=1.0),
            "parameters.x.min is 2.0 and max is 1.0, but min must be below max",
        ),
        (
            swept(min="1e-3", max=1.0),
            "is '1e-3', but must be a finite number; YAML writes 1e-3 as 1.0e-3",
        ),
        (swept(min=float("nan"), max=1.0), "is nan, but must be a finite number"),
        (swept(min=True, max=2), "is True, but must be a finite number"),
        (swept(distribution="normal", mu=1), "is 'normal', but must be one of"),
        (swept(distribution=["uniform"], min=1, max=2), "is ['uniform'], but must be one of"),
        (swept(distribution="log_uniform_values", min=0.0, max=1.0), "but must be above 0 under"),
        (
            swept(distribution="int_uniform", min=1.5, max=3.5),
            ".min is 1.5 and max is 3.5, but both must be whole numbers",
        ),
        (swept(distribution="q_uniform", min=1, max=3, q=0), "x.q is 0, but must be above 0"),
        (
            swept(distribution="q_uniform", min=1, max=4, q=2),
            "but must be 1 and a number of steps of 2",
        ),
        (swept(min=0.0, max=1.0, q=2), "unknown key parameters.x.q"),
        (swept(values=[]), "parameters.x.values is [], but must be a list of values"),
        (swept(values=[1, 1]), "parameters.x.values is [1, 1], but all must be distinct"),
        (swept(values=[[1, 2]]), " is [1, 2], but must be a text, a number, true or false"),
        (swept(values=[1, 2], probabilities=[0.5, 0.5]), "unknown key parameters.x.probabilities"),
        (changed(method="grid"), "rule.kl_weight is 0 to 1 without steps, but"),
        (
            changed(early_terminate={"type": "median"}),
            "early_terminate.type is 'median', but must be one of hyperband",
        ),
        (
            changed(early_terminate={"type": "hyperband"}),
            "early_terminate has neither, but must have min_iter, or max_iter and s",
        ),
        (
            changed(early_terminate={"type": "hyperband", "max_iter": 9}),
            "early_terminate has max_iter, but must have min_iter, or max_iter and s",
        ),
        (
            changed(early_terminate={"type": "hyperband", "s": 1, "min_iter": 1}),
            "has min_iter, s, but must",
        ),
        (
            changed(early_terminate={"type": "hyperband", "min_iter": 0}),
            "min_iter is 0, but must be a whole numb",
        ),
        (
            changed(early_terminate={"type": "hyperband", "min_iter": 1, "eta": 1}),
            "eta is 1, but must be",
        ),
        (changed(early_terminate={"type": "hyperband", "strict": True}), "unknown key early_term"),
    ],
)
def test_a_wrong_file_is_one_line(plain: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(plain))
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        read_sweep(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", ["a: [1", "\udcff", None])
def test_a_file_that_is_none(content: str | None, tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    if content is not None:
        path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=r"^(cannot read )?.*sweep\.yaml( is not YAML)?: "):
        read_sweep(path)


# -------------------------------------------------------------------- the command of a trial


@pytest.mark.parametrize(
    "words",
    [
        ("seqgan", "train", "captions", "--seed", "3", "${args}"),
        ("${env}", "${program}", "train", "captions", "--seed", "3", "${args}"),
        ("${env}", "${interpreter}", "-m", "seqgan", "train", "captions", "--seed", "3", "${args}"),
        ("python", "-m", "/opt/bin/seqgan", "train", "captions", "--seed", "3", "${args}"),
    ],
)
def test_every_way_to_write_the_command(words: tuple[str, ...]) -> None:
    sweep = parse_sweep(changed(command=[*words], program="seqgan"))
    assert train_arguments(sweep, {"a.b_c": 0.5, "on": True}, ["--x", "1"]) == [
        *("captions", "--seed", "3", "--a.b_c=0.5", "--on=True", "--x", "1"),
    ]


@pytest.mark.parametrize(
    ("words", "extra", "message"),
    [
        (
            ("sh", "train.sh"),
            (),
            "command is [sh, train.sh], but must be [seqgan, train, ..., ${args}]",
        ),
        (("seqgan", "train", "captions"), (), "but must be [seqgan, train, ..., ${args}]"),
        (("seqgan", "sample", "${args}"), (), "but must be [seqgan, train, ..., ${args}]"),
        (
            ("python", "-m"),
            (),
            "command is [python, -m], but must be [seqgan, train, ..., ${args}]",
        ),
        (("seqgan", "train", "--output=x", "${args}"), (), "trial has its own folder"),
        (("seqgan", "train", "${args}"), ("--resume", "x"), "trial has its own folder"),
        (
            ("seqgan", "train", "${args}"),
            ("--a.b-c", "1"),
            "--a.b-c is given beside the sweep, but is in it",
        ),
        (
            ("seqgan", "train", "--a.b_c=1", "${args}"),
            (),
            "--a.b_c is given beside the sweep, but is in it",
        ),
    ],
)
def test_a_command_that_a_sweep_cannot_run(
    words: tuple[str, ...], extra: tuple[str, ...], message: str
) -> None:
    sweep = parse_sweep(changed(command=[*words]))
    with pytest.raises(ValueError, match=re.escape(message)):
        train_arguments(sweep, {"a.b_c": 0.5}, extra)


@pytest.mark.parametrize(
    ("environment", "project", "expected"),
    [
        ({}, "", {"WANDB_MODE": "offline", "WANDB_PROJECT": "seqgan"}),
        ({"WANDB_MODE": "online"}, "mine", {"WANDB_MODE": "offline", "WANDB_PROJECT": "mine"}),
        ({"WANDB_MODE": "disabled", "WANDB_PROJECT": "p"}, "", {"WANDB_PROJECT": "p"}),
        ({"WANDB_MODE": "disabled"}, "", {"WANDB_MODE": "disabled"}),
        ({}, "", {"WANDB_RUN_GROUP": "sweep-abc", "WANDB_NAME": "sweep-007"}),
        ({"WANDB_RUN_GROUP": "g", "HOME": "h"}, "", {"WANDB_RUN_GROUP": "g", "HOME": "h"}),
        ({}, "", {"WANDB_SWEEP_ID": "abc"}),
    ],
)
def test_the_environment_makes_offline_runs_of_one_sweep(
    environment: dict[str, str], project: str, expected: dict[str, str], tmp_path: Path
) -> None:
    sweep = parse_sweep(changed(project=project))
    found = trial_environment(environment, sweep, "abc", 7, tmp_path / "7.yaml")
    assert found | expected == found
    assert found["WANDB_SWEEP_PARAM_PATH"] == str(tmp_path / "7.yaml")


@pytest.mark.parametrize("name", ["WANDB_RUN_ID", "WANDB_RESUME", "WANDB_FORK_FROM"])
def test_no_two_trials_have_the_record_of_one_run(name: str, tmp_path: Path) -> None:
    sweep = parse_sweep(changed(project="mine"))
    assert name not in trial_environment({name: "abc"}, sweep, "id", 7, tmp_path / "7.yaml")


def test_a_file_from_a_pipe_is_read_once_and_kept() -> None:
    text = yaml.safe_dump(BASE)
    reading, writing = os.pipe()
    os.write(writing, text.encode())
    os.close(writing)
    assert read_sweep(Path(f"/dev/fd/{reading}")).text == text
    os.close(reading)
