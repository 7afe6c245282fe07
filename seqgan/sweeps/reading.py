"""A sweep's YAML file, the same that `wandb sweep` takes, in optuna's words.

A local sweep reads the keys of Weights & Biases that optuna can follow. It refuses all others.
"""

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from seqgan.system.errors import ConfigurationError, DataError
from seqgan.system.reading import LARGEST_YAML, clipped, parse_yaml, read_text, shown
from seqgan.tracking.metrics import METRICS, find_metric

NEEDED = ("method", "metric", "parameters", "command")
EXAMPLES = {
    "method": "grid",
    "metric": "{name: eval/nll_heldout, goal: minimize}",
    "parameters": "{rule.kl_weight: {values: [0.05, 0.2]}}",
    "command": '["${program}", train, captions, "${args}"]',
}
OPTIONAL = ("name", "description", "project", "program", "run_cap", "early_terminate")
# The keys that each distribution needs beside its name.
DISTRIBUTIONS: Mapping[str, tuple[str, ...]] = {
    "constant": ("value",),
    "categorical": ("values",),
    "int_uniform": ("min", "max"),
    "uniform": ("min", "max"),
    "q_uniform": ("min", "max", "q"),
    "log_uniform_values": ("min", "max"),
}
LONGEST_NAME = 100
SPELLED_ALMOST = 0.9  # likeness of two names of which one is a slip of the other


@dataclass(frozen=True)
class Sweep:
    """The content of a sweep file."""

    name: str  # of the file, where the file gives none
    method: str  # grid, random or bayes
    metric: str  # name in the metric list
    goal: str  # minimize or maximize
    space: dict[str, Any]  # optuna's distribution of each swept parameter, by its dotted name
    fixed: dict[str, Any]  # the parameters of one value
    command: tuple[str, ...]  # words, with `${program}` replaced
    hyperband: dict[str, Any]  # arguments of optuna's pruner, empty for none
    run_cap: int = 0  # trials at most; 0 for no limit
    project: str = ""
    text: str = field(default="", compare=False)  # of the file

    def grid(self) -> dict[str, list[Any]]:
        """The values of each swept parameter, for a grid over all of them."""
        return {name: _grid_values(name, item) for name, item in self.space.items()}


def read_sweep(path: Path) -> Sweep:
    """Reads a sweep file.

    Raises:
        ConfigurationError: no such file, no YAML, an unknown key (with the nearest known one), a
            value of the wrong type or out of range, a distribution that no local sweep draws.
    """
    try:
        text = read_text(path, LARGEST_YAML)  # once, since it may be a pipe
        plain = parse_yaml(text, path)
    except DataError as error:
        raise ConfigurationError(str(error)) from error
    try:
        return replace(parse_sweep(plain, path.stem), text=text)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from error


def parse_sweep(plain: Any, default_name: str = "sweep") -> Sweep:
    """A sweep from the values of its YAML.

    Raises:
        ConfigurationError: as `read_sweep`.
    """
    top = _mapping(plain, "", NEEDED, OPTIONAL)
    given, command = top["parameters"], top["command"]
    _must(isinstance(given, dict), f"parameters is {shown(given)}, but must be a mapping")
    items = {str(name): _distribution(item, f"parameters.{name}") for name, item in given.items()}
    space = {name: item for name, item in items.items() if not item.single()}
    _must(
        space,
        f"the parameters with several values are {', '.join(items) or 'none'}, but must be"
        " at least one",
    )
    _must(
        isinstance(command, list) and command,
        f"command is {shown(command)}, but must be a list of words",
    )
    metric = _mapping(top["metric"], "metric", ("name",), ("goal",))
    program = str(_scalar(top.get("program", ""), "program"))
    sweep = Sweep(
        name=check_name(str(_scalar(top.get("name", ""), "name")) or default_name),
        method=_one_of(top["method"], "method", ("grid", "random", "bayes")),
        metric=_metric(str(metric["name"])),
        goal=_one_of(metric.get("goal", "minimize"), "metric.goal", ("minimize", "maximize")),
        space=space,
        fixed={name: item.choices[0] for name, item in items.items() if item.single()},
        command=tuple(program if word == "${program}" else str(word) for word in command),
        hyperband=_hyperband(top["early_terminate"]) if "early_terminate" in top else {},
        run_cap=_count(top["run_cap"], "run_cap") if "run_cap" in top else 0,
        project=str(_scalar(top.get("project", ""), "project")),
    )
    if sweep.method == "grid":
        sweep.grid()
    return sweep


def check_name(name: str) -> str:
    """A sweep's name, if it can be the name of a folder and stand in a line.

    Raises:
        ConfigurationError: it cannot.
    """
    plain = 0 < len(name) <= LONGEST_NAME and name.isprintable() and name.strip() == name
    rule = f"but must be a folder's: up to {LONGEST_NAME} characters without /"
    fault = f"the sweep's name is {shown(name)}, {rule}"
    _must(plain and "/" not in name and name[0] not in ".-", fault)
    return name


def _distribution(plain: Any, where: str) -> Any:
    """Optuna's distribution of a parameter; Weights & Biases infers a kind that is not named."""
    named = isinstance(plain, dict) and "distribution" in plain
    kind = plain["distribution"] if named else _inferred(plain, where)
    keys = DISTRIBUTIONS[_one_of(kind, f"{where}.distribution", tuple(DISTRIBUTIONS))]
    _mapping(plain, where, keys, ("distribution",))
    if kind == "constant":
        return CategoricalDistribution([_scalar(plain["value"], f"{where}.value")])
    if kind == "categorical":
        values = plain["values"]
        _must(
            isinstance(values, list) and values,
            f"{where}.values is {shown(values)}, but must be a list of values",
        )
        values = [_scalar(value, f"{where}.values") for value in values]
        _must(
            len(set(values)) == len(values),
            f"{where}.values is {shown(values)}, but all must be distinct",
        )
        return CategoricalDistribution(values)
    low, high, *steps = (_number(plain[key], f"{where}.{key}") for key in keys)
    _must(low < high, f"{where}.min is {low} and max is {high}, but min must be below max")
    if kind == "log_uniform_values":
        _must(low > 0, f"{where}.min is {low}, but must be above 0 under a logarithm")
        return FloatDistribution(low, high, log=True)
    if kind == "uniform":
        return FloatDistribution(low, high)
    step = steps[0] if steps else 1
    _must(step > 0, f"{where}.q is {step}, but must be above 0")
    count = (high - low) / step
    _must(
        math.isclose(count, round(count)),
        f"{where}.max is {high}, but must be {low} and a number of steps of {step}",
    )
    if all(isinstance(number, int) for number in (low, high, step)):
        return IntDistribution(low, high, step=step)
    _must(
        kind == "q_uniform",
        f"{where}.min is {low} and max is {high}, but both must be whole numbers",
    )
    return FloatDistribution(low, high, step=step)


def _inferred(plain: Any, where: str) -> str:
    _must(
        isinstance(plain, dict),
        f"{where} is {shown(plain)}, but must have value, values, or min and max",
    )
    if "value" in plain:
        return "constant"
    if "values" in plain:
        return "categorical"
    given = clipped(", ".join(map(str, plain))) or "nothing"
    _must(
        {"min", "max"} <= set(plain),
        f"{where} has {given}, but must have value, values, or min and max",
    )
    return "int_uniform" if {type(plain["min"]), type(plain["max"])} == {int} else "uniform"


def _grid_values(name: str, item: Any) -> list[Any]:
    if isinstance(item, CategoricalDistribution):
        return list(item.choices)
    fault = f"{name} is {item.low:g} to {item.high:g} without steps"
    _must(item.step, f"{fault}, but a grid takes value, values, int_uniform and q_uniform")
    count = round((item.high - item.low) / item.step) + 1
    return [item.low + index * item.step for index in range(count)]


def _hyperband(plain: Any) -> dict[str, Any]:
    """The arguments of optuna's pruner. Its resources are values of the sweep's metric."""
    keys = ("min_iter", "max_iter", "s", "eta")
    given = _mapping(plain, "early_terminate", ("type",), keys)
    _one_of(given["type"], "early_terminate.type", ("hyperband",))
    counts = {key: _count(given[key], f"early_terminate.{key}") for key in keys if key in given}
    eta, most = counts.pop("eta", 3), counts.get("max_iter", 0)
    _must(eta > 1, f"early_terminate.eta is {eta}, but must be at least 2")
    _must(
        set(counts) in ({"min_iter"}, {"min_iter", "max_iter"}, {"max_iter", "s"}),
        f"early_terminate has {', '.join(counts) or 'neither'}, but must have min_iter, or"
        " max_iter and s",
    )
    first = counts["min_iter"] if "min_iter" in counts else max(1, most // eta ** counts["s"])
    return {"min_resource": first, "max_resource": most or "auto", "reduction_factor": eta}


def _metric(name: str) -> str:
    """The name, if runs log such a metric."""
    # Any name at all fits a pattern such as eval/<measure>, a misspelt one too.
    listed = [metric.name for metric in METRICS]
    near = ", ".join(difflib.get_close_matches(name, listed, n=1, cutoff=SPELLED_ALMOST))
    _must(
        not (find_metric(name).is_pattern and near),
        f"unknown metric.name {shown(name)}; did you mean {near}? (docs/metrics.md lists all)",
    )
    return name


def _mapping(
    plain: Any, where: str, needed: Sequence[str], optional: Sequence[str]
) -> Mapping[str, Any]:
    """The mapping, if it has the needed keys and no others than the optional ones."""
    _must(
        isinstance(plain, dict), f"{where or 'the sweep'} is {shown(plain)}, but must be a mapping"
    )
    known, prefix = (*needed, *optional), f"{where}." if where else ""
    for key in plain:
        near = difflib.get_close_matches(str(key)[:80], known, n=1) or [
            f"one of {', '.join(known)}"
        ]
        _must(
            key in known,
            f"unknown key {prefix}{clipped(str(key))}; did you mean {near[0]}?",
        )
    for key in needed:
        example = EXAMPLES.get(prefix + key)
        hint = "" if example is None else f", for instance {key}: {example}"
        _must(key in plain, f"{prefix}{key} is missing, but needed{hint}")
    return plain


def _one_of(value: Any, where: str, known: Sequence[str]) -> str:
    _must(value in known, f"{where} is {shown(value)}, but must be one of {', '.join(known)}")
    return str(value)


def _scalar(value: Any, where: str) -> Any:
    is_scalar = isinstance(value, str | int | float)
    _must(is_scalar, f"{where} is {shown(value)}, but must be a text, a number, true or false")
    return value


def _number(value: Any, where: str) -> Any:
    hint = "; YAML writes 1e-3 as 1.0e-3" if isinstance(value, str) else ""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    fault = f"{where} is {shown(value)}, but must be a finite number{hint}"
    _must(is_number and math.isfinite(value), fault)
    return value


def _count(value: Any, where: str) -> int:
    is_count = type(value) is int and value > 0
    _must(is_count, f"{where} is {shown(value)}, but must be a whole number of at least 1")
    return int(value)


def _must(holds: object, fault: str) -> None:
    if not holds:
        raise ConfigurationError(fault)
