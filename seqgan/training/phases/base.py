"""The contract of a phase: a stretch of training, cut into units that are done or not."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch

from seqgan.data.metrics import Metrics
from seqgan.learning.players import Players


@runtime_checkable
class Phase(Protocol):
    """A stretch of training: maximum likelihood, warming the discriminator, the game, your own.

    The trainer calls `unit` until `done`. After each unit it may write a checkpoint and stop, so a
    unit is short: some seconds, a minute at most. A phase that is `evaluated` moves
    `players.position`: its iteration at each step, its tokens with `players.count_tokens`. One that
    trains the generator calls `players.average.forget()`: after a game with `ema_decay` the game's
    average would be evaluated otherwise, and not what this phase has made of it.

    Of several processes, each builds the phase and calls its units, in step with the others. The
    main one builds it first, so building waits for nobody: a module that learns is appended to
    `players.learning`, and is joined before training begins.
    """

    name: str  # its key in checkpoints
    title: str  # beside its progress bar
    shown: tuple[str, ...]  # metrics beside the bar
    evaluated: bool  # True where the generator is measured after every few steps
    total: int  # steps of the bar in all

    @property
    def count(self) -> float:
        """Steps that are done, out of `total`; a unit may be a part of a step."""
        ...

    def done(self) -> bool:
        """True where nothing is left to do."""
        ...

    def unit(self, players: Players, rng: torch.Generator) -> Metrics:
        """Does the next unit.

        Where it raises, phase, players and `rng` are as they were before (`seeding.atomic` takes
        draws back), so that the run can go on from there.

        Returns:
            Metrics to log; empty for a unit that ends in the middle of a step.

        Raises:
            RewardError: a reward failed.
            DivergedError: a loss is not finite.
        """
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


@runtime_checkable
class ShowsMeanwhile(Protocol):
    """A phase with something to show in the middle of a step, which is not logged."""

    def meanwhile(self) -> Metrics:
        """Metrics beside the progress bar; empty between two steps."""
        ...


@runtime_checkable
class EndsEarly(Protocol):
    """A phase that may end before all its steps are done."""

    def why_early(self) -> str:
        """The reason in a few words; empty where it has not ended early."""
        ...
