"""A sweep's YAML file, the same that `wandb sweep` takes, as frozen dataclasses.

What is read here is what Weights & Biases documents as the sweep configuration; whatever a local
sweep cannot do is refused, not ignored.
"""

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import yaml

from seqgan.sweeps.distributions import Choice, Distribution, IntUniform, Normal, Uniform
from seqgan.sweeps.hyperband import Hyperband
from seqgan.system.errors import ConfigurationError
from seqgan.tracking.metrics import METRICS, find_metric

Method = Literal["grid", "random", "bayes"]

KEYS = (
    *("name", "description", "method", "metric", "parameters", "early_terminate", "run_cap"),
    *("program", "command", "project"),
    *("entity", "controller", "apiVersion", "kind"),  # of the server alone
)
SPELLED_ALMOST = 0.9  # likeness of two names of which one is a slip of the other
LARGEST_LOGARITHM = 700  # e to this power is still a number
RANGE, SPREAD = ("min", "max"), ("mu", "sigma")
# What each distribution must have, and what it may have beside it.
DISTRIBUTIONS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "constant": (("value",), ()),
    "categorical": (("values",), ("probabilities",)),
    "categorical_w_probabilities": (("values", "probabilities"), ()),
    "int_uniform": (RANGE, ()),
    "uniform": (RANGE, ()),
    "q_uniform": (RANGE, ("q",)),
    "log_uniform": (RANGE, ()),
    "log_uniform_values": (RANGE, ()),
    "q_log_uniform": (RANGE, ("q",)),
    "q_log_uniform_values": (RANGE, ("q",)),
    "inv_log_uniform": (RANGE, ()),
    "inv_log_uniform_values": (RANGE, ()),
    "normal": ((), SPREAD),
    "q_normal": ((), (*SPREAD, "q")),
    "log_normal": ((), SPREAD),
    "q_log_normal": ((), (*SPREAD, "q")),
}


@dataclass(frozen=True)
class Objective:
    """The metric that trials are compared by."""

    name: str  # as in the metric list
    minimize: bool = True
    target: float | None = None  # once a trial has reached it, no more begin

    def cost(self, value: float) -> float:
        """The value, turned so that lower is better."""
        return value if self.minimize else -value

    def reached(self, value: float) -> bool:
        return self.target is not None and self.cost(value) <= self.cost(self.target)


@dataclass(frozen=True)
class Sweep:
    """What a sweep file says."""

    name: str
    method: Method
    metric: Objective
    parameters: dict[str, Distribution]  # by dotted name, in the order of the names
    command: tuple[str, ...]
    program: str = ""
    hyperband: Hyperband | None = None
    run_cap: int = 0  # trials at most; 0 for no limit
    project: str = ""

    @property
    def varied(self) -> list[str]:
        """The parameters that are not the same in all trials."""
        return [
            name
            for name, item in self.parameters.items()
            if not isinstance(item, Choice) or len(item.values) > 1
        ]

    @property
    def grid_size(self) -> int:
        """Points of the grid."""
        return math.prod(len(item.grid() or ()) for item in self.parameters.values())


def read_sweep(path: Path, default_name: str = "") -> Sweep:
    """Reads a sweep file.

    Args:
        default_name: of a sweep whose file has none; by default the file's own.

    Raises:
        ConfigurationError: no such file, no YAML, an unknown key (with the nearest known one), a
            value of the wrong type or out of range, something that a local sweep cannot do.
    """
    try:
        plain = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigurationError(f"a sweep is a YAML file, got {path}: no such file") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"a sweep is a readable YAML file, {path}: {error}") from error
    except yaml.YAMLError as error:
        summary = " ".join(str(error).split())
        raise ConfigurationError(f"a sweep is a YAML file, {path}: {summary}") from error
    try:
        return parse_sweep(plain, default_name or path.stem)
    except ValueError as error:
        raise ConfigurationError(f"{path}: {error}") from error


def parse_sweep(plain: Any, default_name: str = "sweep") -> Sweep:
    """A sweep from what YAML gave.

    Raises:
        ConfigurationError: as `read_sweep`.
    """
    top = _mapping(plain, "a sweep")
    _check_keys(top, KEYS, "")
    method = _one_of(top, "method", get_args(Method))
    parameters = dict(sorted(_parameters(_needed(top, "parameters", ""), "parameters", "")))
    if method == "grid":
        for name, distribution in parameters.items():
            if distribution.grid() is None:
                raise ConfigurationError(
                    "a grid takes value, values, int_uniform and q_uniform,"
                    f" got {_kind(distribution)} for {name}"
                )
    run_cap = _integer(top["run_cap"], "run_cap", 1) if "run_cap" in top else 0
    return Sweep(
        name=_text(top, "name") or default_name,
        method=method,  # type: ignore[arg-type]
        metric=_metric(_mapping(_needed(top, "metric", ""), "metric")),
        parameters=parameters,
        command=_command(_needed(top, "command", "")),
        program=_text(top, "program"),
        hyperband=_hyperband(top["early_terminate"]) if "early_terminate" in top else None,
        run_cap=run_cap,
        project=_text(top, "project"),
    )


def _metric(plain: Mapping[str, Any]) -> Objective:
    _check_keys(plain, ("name", "goal", "target"), "metric.")
    name = str(_needed(plain, "name", "metric."))
    try:
        listed = not find_metric(name).is_pattern
    except ValueError:
        listed, cutoff = False, 0.0
    else:  # any name at all fits eval/<check>, a misspelt one too
        cutoff = SPELLED_ALMOST
    names = [metric.name for metric in METRICS]
    near = difflib.get_close_matches(name, names, n=1, cutoff=cutoff)
    if not listed and near:
        raise ConfigurationError(
            f"metric.name is a metric that runs log (docs/metrics.md), got {name!r};"
            f" the nearest one is {near[0]}"
        )
    minimize = True
    if "goal" in plain:
        minimize = _one_of(plain, "goal", ("minimize", "maximize"), "metric.") == "minimize"
    target = _number(plain["target"], "metric.target") if "target" in plain else None
    return Objective(name, minimize, target)


def _hyperband(plain: Any) -> Hyperband:
    given = _mapping(plain, "early_terminate")
    _check_keys(given, ("type", "min_iter", "max_iter", "s", "eta", "strict"), "early_terminate.")
    _one_of(given, "type", ("hyperband",), "early_terminate.")
    settings: dict[str, Any] = {
        name: _integer(given[name], f"early_terminate.{name}", 1)
        for name in ("min_iter", "max_iter", "s")
        if name in given
    }
    if "eta" in given:
        settings["eta"] = _number(given["eta"], "early_terminate.eta")
    if "strict" in given:
        if not isinstance(given["strict"], bool):
            raise ConfigurationError(
                f"early_terminate.strict is true or false, got {given['strict']!r}"
            )
        settings["strict"] = given["strict"]
    return Hyperband(**settings)


def _command(plain: Any) -> tuple[str, ...]:
    if not isinstance(plain, list) or not plain:
        raise ConfigurationError(f"command is a list of words, got {plain!r}")
    return tuple(str(word) for word in plain)


def _parameters(plain: Any, where: str, prefix: str) -> list[tuple[str, Distribution]]:
    """The parameters of a mapping and of those nested in it, with their dotted names."""
    given = _mapping(plain, where)
    if not given:
        raise ConfigurationError(f"{where} has at least one parameter, got none")
    found: list[tuple[str, Distribution]] = []
    for key, value in given.items():
        here, name = f"{where}.{key}", f"{prefix}{key}"
        if "parameters" in _mapping(value, here):
            _check_keys(value, ("parameters",), f"{here}.")
            found += _parameters(value["parameters"], f"{here}.parameters", f"{name}.")
        else:
            found.append((name, _distribution(value, here)))
    names = [name for name, _ in found]
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(f"{where} has each parameter once, got {name} twice")
    return found


def _distribution(plain: Mapping[str, Any], where: str) -> Distribution:
    kind = str(plain.get("distribution", "")) or _inferred(plain, where)
    if kind not in DISTRIBUTIONS:
        near = difflib.get_close_matches(kind, DISTRIBUTIONS, n=1)
        hint = f"; the nearest one is {near[0]}" if near else ""
        known = ", ".join(DISTRIBUTIONS)
        raise ConfigurationError(f"{where}.distribution is one of {known}, got {kind!r}{hint}")
    required, optional = DISTRIBUTIONS[kind]
    _check_keys(plain, ("distribution", *required, *optional), f"{where}.")
    for key in required:
        _needed(plain, key, f"{where}.")
    if kind == "constant":
        return Choice((_scalar(plain["value"], f"{where}.value"),))
    if kind.startswith("categorical"):
        return _choice(plain, where)
    step = _step(plain, where) if kind.startswith("q_") else None
    if "normal" in kind:
        mu = float(_number(plain.get("mu", 0.0), f"{where}.mu"))
        sigma = float(_number(plain.get("sigma", 1.0), f"{where}.sigma"))
        if sigma < 0:
            raise ConfigurationError(f"{where}.sigma is at least 0, got {sigma:g}")
        return Normal(mu, sigma, "log" in kind, step)
    low, high = (_number(plain[key], f"{where}.{key}") for key in RANGE)
    if not low < high:
        raise ConfigurationError(f"{where}.min is below max, got {low} and {high}")
    if kind == "int_uniform":
        return IntUniform(_integer(low, f"{where}.min"), _integer(high, f"{where}.max"))
    if "log" not in kind:
        return Uniform(low, high, step=step)
    if kind.endswith("_values"):
        # That 1 / X is log-uniform says the same of X: inv_log_uniform_values is no other.
        if low <= 0:
            raise ConfigurationError(
                f"{where}.min is above 0 where values are logarithmic, got {low}"
            )
        return Uniform(low, high, True, step)
    # The older distributions give the natural logarithms of the ends.
    if max(abs(low), abs(high)) > LARGEST_LOGARITHM:
        raise ConfigurationError(
            f"{where}.min and max are natural logarithms in {kind}, got {low} and {high};"
            f" {kind}_values takes the values themselves"
        )
    if kind.startswith("inv_"):
        low, high = -high, -low
    return Uniform(math.exp(low), math.exp(high), True, step)


def _inferred(plain: Mapping[str, Any], where: str) -> str:
    """The distribution that Weights & Biases takes where none is named."""
    if "value" in plain:
        return "constant"
    if "values" in plain:
        return "categorical"
    if "min" in plain and "max" in plain:
        return "int_uniform" if all(type(plain[key]) is int for key in RANGE) else "uniform"
    raise ConfigurationError(
        f"{where} has value, values, min and max, parameters, or a distribution,"
        f" got {', '.join(map(str, plain)) or 'nothing'}"
    )


def _choice(plain: Mapping[str, Any], where: str) -> Choice:
    values = plain["values"]
    if not isinstance(values, list) or not values:
        raise ConfigurationError(f"{where}.values is a list of at least one value, got {values!r}")
    scalars = tuple(_scalar(value, f"{where}.values") for value in values)
    if "probabilities" not in plain:
        return Choice(scalars)
    given = plain["probabilities"]
    if not isinstance(given, list) or len(given) != len(values):
        raise ConfigurationError(
            f"{where}.probabilities has one for each of {len(values)}, got {given!r}"
        )
    probabilities = tuple(float(_number(item, f"{where}.probabilities")) for item in given)
    if min(probabilities) < 0 or not math.isclose(sum(probabilities), 1.0, abs_tol=1e-8):
        raise ConfigurationError(
            f"{where}.probabilities are at least 0 and sum to 1, got {given!r}"
        )
    return Choice(scalars, probabilities)


def _step(plain: Mapping[str, Any], where: str) -> float | int:
    step = _number(plain.get("q", 1), f"{where}.q")
    if step <= 0:
        raise ConfigurationError(f"{where}.q is above 0, got {step}")
    return step


def _scalar(value: Any, where: str) -> Any:
    if not isinstance(value, str | int | float):
        raise ConfigurationError(f"{where} is a text, a number, true or false, got {value!r}")
    return value


def _number(value: Any, where: str) -> float | int:
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            pass
        else:  # YAML 1.1 takes 1e-3 for a text, and so does wandb
            raise ConfigurationError(
                f"{where} is a number, got the text {value!r}; YAML wants 1.0e-3"
            )
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ConfigurationError(f"{where} is a finite number, got {value!r}")
    return value


def _integer(value: Any, where: str, least: int | None = None) -> int:
    if type(value) is not int:
        raise ConfigurationError(f"{where} is a whole number, got {value!r}")
    if least is not None and value < least:
        raise ConfigurationError(f"{where} is at least {least}, got {value}")
    return value


def _text(plain: Mapping[str, Any], key: str) -> str:
    value = plain.get(key, "")
    if not isinstance(value, str):
        raise ConfigurationError(f"{key} is a text, got {value!r}")
    return value


def _mapping(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ConfigurationError(f"{where} is a mapping, got {value!r}")
    return value


def _needed(plain: Mapping[str, Any], key: str, prefix: str) -> Any:
    if key not in plain:
        raise ConfigurationError(f"{prefix}{key} is needed, got none")
    return plain[key]


def _one_of(plain: Mapping[str, Any], key: str, known: Sequence[str], prefix: str = "") -> str:
    value = _needed(plain, key, prefix)
    if value not in known:
        raise ConfigurationError(f"{prefix}{key} is one of {', '.join(known)}, got {value!r}")
    return str(value)


def _check_keys(plain: Mapping[str, Any], known: Sequence[str], prefix: str) -> None:
    for key in plain:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = near[0] if near else f"one of {', '.join(known)}"
            raise ConfigurationError(f"unknown key {prefix}{key}; the nearest known one is {hint}")


def _kind(distribution: Distribution) -> str:
    if isinstance(distribution, Choice):
        return "probabilities"
    return "a normal distribution" if isinstance(distribution, Normal) else "a continuous range"
