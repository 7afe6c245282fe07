"""Calls of parts that may be the user's own: what they change for the whole process is put back."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import torch
from torch import Tensor

from seqgan.data.metrics import Metrics
from seqgan.data.sequences import Sequences
from seqgan.learning.players import Players
from seqgan.system.surroundings import Tell, kept_surroundings
from seqgan.tasks.base import Measure
from seqgan.training.phases.base import Phase


def kept_unit(phase: Phase, players: Players, rng: torch.Generator) -> Metrics:
    """Does a unit of a phase; its rule may be the user's own, too. Both may draw as they like."""
    with kept_surroundings(f"phase {phase.name!r}", players.failures.changed, "left"):
        return phase.unit(players, rng)


def watching(observer: object, players: Players) -> AbstractContextManager[None]:
    """A context around a call of an observer, which keeps the surroundings if it is a user's."""
    spec = getattr(observer, "spec", None)  # of a function
    if spec is None and type(observer).__module__.startswith("seqgan."):
        return nullcontext()
    who = getattr(observer, "name", "") if spec is None else spec
    return kept_surroundings(f"observer {who!r}", players.failures.changed)


def kept_measure(name: str, measure: Measure, tell: Tell) -> Measure:
    """A measure of the user's own that puts back what it changes."""

    def score(samples: Sequences) -> Tensor:
        with kept_surroundings(f"measure {name!r}", tell):
            return measure.score(samples)

    return replace(measure, score=score)
