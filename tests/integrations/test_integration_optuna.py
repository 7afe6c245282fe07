"""Bayesian proposals, which optuna makes."""

import builtins
import math
from typing import Any

import pytest

from seqgan.sweeps.proposals import Outcome, Point, Proposal, bayes_proposal, import_optuna
from seqgan.sweeps.reading import parse_sweep

pytestmark = pytest.mark.integration

SWEEP = parse_sweep(
    {
        "method": "bayes",
        "metric": {"name": "eval/nll_heldout"},
        "command": ["seqgan", "train", "captions", "${args}"],
        "parameters": {
            "rate": {"distribution": "log_uniform_values", "min": 1e-5, "max": 1.0},
            "kind": {"values": ["bad", "good", "worse"]},
            "width": {"min": 1, "max": 64},
            "noise": {"distribution": "normal"},
        },
    }
)


def cost(proposal: Proposal) -> float:
    """Lowest at a rate of 1e-3 and the good kind."""
    given = proposal.parameters
    kinds = {"bad": 1.0, "good": 0.0, "worse": 2.0}
    return abs(math.log10(given["rate"]) + 3) + kinds[given["kind"]]


def search(count: int, outcomes: list[Outcome] | None = None) -> list[Proposal]:
    outcomes = list(outcomes or [])
    proposals = []
    for index in range(len(outcomes), count):
        proposals.append(bayes_proposal(SWEEP.parameters, 0, index, outcomes))
        outcomes.append(Outcome(proposals[-1].point, cost(proposals[-1])))
    return proposals


def test_it_finds_the_good_region_and_every_kind_of_parameter_has_its_values() -> None:
    proposals = search(40)
    early = sum(map(cost, proposals[:10])) / 10
    late = sum(map(cost, proposals[-10:])) / 10
    assert late < early / 2
    assert sum(p.parameters["kind"] == "good" for p in proposals[-10:]) >= 8
    for proposal in proposals:
        given = proposal.parameters
        assert 1e-5 <= given["rate"] <= 1.0
        assert type(given["width"]) is int
        assert 1 <= given["width"] <= 64
    assert any(p.parameters["noise"] < 0 for p in proposals)


def test_the_same_results_give_the_same_proposals() -> None:
    """A sweep that was killed after 15 trials goes on as the one that was not."""
    whole = search(20)
    outcomes = [Outcome(proposal.point, cost(proposal)) for proposal in whole[:15]]
    assert search(20, outcomes) == whole[15:]


def test_trials_that_run_or_failed_are_taken_along() -> None:
    middle: Point = {"rate": 0.5, "kind": SWEEP.parameters["kind"].middle(1)} | {  # type: ignore[union-attr]
        "width": 0.5,
        "noise": 0.5,
    }
    outcomes = [Outcome(middle, running=True), Outcome(middle), Outcome(middle, 1.0)]
    proposals = [bayes_proposal(SWEEP.parameters, 0, index, outcomes) for index in (3, 4)]
    assert proposals[0] != proposals[1]


def test_without_optuna_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "optuna":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(ValueError, match=r'optuna.*pip install "seqgan\[sweeps\]"'):
        import_optuna()
