"""Which parameters a trial gets: pure functions of the seed, the trial's number and the results.

So a sweep that was killed proposes the same again: a grid and a random search always, a Bayesian
one as far as the same results have come in before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from seqgan.sweeps.distributions import Choice, Distribution
from seqgan.system.errors import ConfigurationError

Point = dict[str, float]  # of each parameter, the quantile of its value


@dataclass(frozen=True)
class Proposal:
    """A trial's parameters, and where they lie in the unit cube (empty for a grid)."""

    parameters: dict[str, Any]
    point: Point


@dataclass(frozen=True)
class Outcome:
    """What became of an earlier proposal."""

    point: Point
    cost: float | None = None  # lower is better; None where there is no value
    running: bool = False


def grid_proposal(parameters: Mapping[str, Distribution], index: int) -> Proposal:
    """The point of a grid by its number: the last name moves fastest.

    Args:
        index: 0 to one less than the size of the grid.
    """
    chosen = {}
    for name, distribution in reversed([*parameters.items()]):
        values = distribution.grid()
        assert values is not None, f"{name} has no grid"
        index, position = divmod(index, len(values))
        chosen[name] = values[position]
    if index:
        raise IndexError("the grid has fewer points")
    return Proposal({name: chosen[name] for name in parameters}, {})


def random_proposal(parameters: Mapping[str, Distribution], seed: int, index: int) -> Proposal:
    """Independent draws; each trial has random numbers of its own."""
    draws = np.random.default_rng([seed, index]).random(len(parameters))
    point = {name: float(u) for name, u in zip(parameters, draws, strict=True)}
    return at_point(parameters, point)


def bayes_proposal(
    parameters: Mapping[str, Distribution], seed: int, index: int, outcomes: Sequence[Outcome]
) -> Proposal:
    """Tree-structured Parzen estimator (Bergstra et al., 2011), by optuna.

    It searches the unit cube of quantiles, so that a parameter's own distribution is the prior,
    whatever its kind; choices stay unordered. Trials that still run count as bad ones, which
    keeps parallel trials apart; those that failed say nothing.

    Args:
        outcomes: of the earlier trials, in the order of their numbers.

    Raises:
        ConfigurationError: optuna is not installed.
    """
    optuna = import_optuna()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = {
        name: optuna.distributions.CategoricalDistribution(range(len(distribution.values)))
        if isinstance(distribution, Choice)
        else optuna.distributions.FloatDistribution(0.0, 1.0)
        for name, distribution in parameters.items()
    }
    # TPE's first trials are random; each proposal gets draws of its own, as in a random search.
    state = np.random.SeedSequence([seed, index]).generate_state(1)
    sampler = optuna.samplers.TPESampler(seed=int(state[0]), constant_liar=True)
    study = optuna.create_study(sampler=sampler, direction="minimize")
    for outcome in outcomes:
        study.add_trial(_as_optuna_trial(optuna, parameters, space, outcome))
    asked = study.ask(space)
    point = {}
    for name, distribution in parameters.items():
        value = asked.params[name]
        point[name] = distribution.middle(value) if isinstance(distribution, Choice) else value
    return at_point(parameters, point)


def import_optuna() -> Any:
    """The optuna package.

    Raises:
        ConfigurationError: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise ConfigurationError(
            'method bayes needs optuna, which is not installed: pip install "seqgan[sweeps]"'
        ) from error
    return optuna


def at_point(parameters: Mapping[str, Distribution], point: Point) -> Proposal:
    values = {name: item.quantile(point[name]) for name, item in parameters.items()}
    return Proposal(values, point)


def _as_optuna_trial(
    optuna: Any, parameters: Mapping[str, Distribution], space: dict[str, Any], outcome: Outcome
) -> Any:
    states = optuna.trial.TrialState
    state = states.FAIL if outcome.cost is None else states.COMPLETE
    if outcome.running:
        state = states.RUNNING
    params = {
        name: distribution.index(outcome.point[name])
        if isinstance(distribution, Choice)
        else outcome.point[name]
        for name, distribution in parameters.items()
    }
    return optuna.trial.create_trial(
        state=state,
        params=params,
        distributions=space,
        value=outcome.cost if state == states.COMPLETE else None,
    )
