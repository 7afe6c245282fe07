"""The discriminator that has met the start alone: the judge of the control that plays no game.

A game's discriminator learns about a generator that moves. The start, resampled, is judged by one
that trained for as long against the start: the discriminator as it was before the game, trained on
for as many rounds as the game has had. The run itself is left as it was.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from seqgan.data.metrics import Metrics
from seqgan.learning.adversary import adversary_round, round_seconds
from seqgan.learning.optimization import follow_schedule
from seqgan.learning.players import Players, Position
from seqgan.learning.replay import Replay
from seqgan.rewards.discriminator import DiscriminatorReward
from seqgan.system.errors import Interrupted
from seqgan.system.seeding import seed_of
from seqgan.training.observers import Observer
from seqgan.training.phases.adversary import Adversary
from seqgan.training.phases.base import Phase
from seqgan.training.settings import DiscriminatorTrainingConfig

if TYPE_CHECKING:
    from seqgan.training.trainer import Trainer

SHOWN = "losses/discriminator"  # beside the progress bar
SEED_OF_ROUNDS = 3  # apart from other draws that a run's seed gives


class Warmed(Observer):
    """Keeps the discriminator as it was before the game.

    Args:
        players: whose discriminator it is, if they have one that learns.
        settings: of its training.
        wanted: False keeps nothing.
    """

    name = "warmed"

    def __init__(
        self, players: Players, settings: DiscriminatorTrainingConfig, wanted: bool = True
    ) -> None:
        self.players, self.settings, self.wanted = players, settings, wanted
        self.kept: dict[str, Any] = {}  # the discriminator's state

    @property
    def judge(self) -> DiscriminatorReward | None:
        """The discriminator, where it learns and the row is wanted."""
        learning = self.players.rewards.learning
        return learning if self.wanted and isinstance(learning, DiscriminatorReward) else None

    def before(self, phase: Phase) -> Metrics:
        if self.judge is not None and phase.evaluated and not phase.count and not self.kept:
            self.kept = copy.deepcopy(self.judge.state_dict())
        return {}

    def rounds(self, settled: bool, iterations: int) -> int:
        """Rounds against the start that are left at the end of a run.

        Args:
            settled: more of them would teach nothing, as the warming has found.
            iterations: of the game.
        """
        return 0 if settled or self.judge is None else self.settings.rounds(iterations)

    def expected_seconds(self, settled: bool, iterations: int) -> float:
        """The time of those rounds."""
        each = round_seconds(self.players, self.settings, self.settings.d_epochs)
        return self.rounds(settled, iterations) * each

    def state_dict(self) -> dict[str, Any]:
        return {"discriminator": self.kept} if self.kept else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.kept = dict(state["discriminator"])


def is_warming(phase: Phase) -> bool:
    """True for a phase in which a discriminator meets the start."""
    return phase.name == Adversary.name and phase.total > 0


def has_settled(trainer: "Trainer") -> bool:
    """True where the run's discriminator had learnt all that it could before the game."""
    return any(getattr(phase, "settled", False) for phase in trainer.phases)


@contextmanager
def against_start(trainer: "Trainer", warmed: Warmed) -> Iterator[None]:
    """Puts the discriminator that has met the start alone in the place of the run's, for the body.

    Its rounds have draws of their own. Of several processes each takes part in them.

    Raises:
        Interrupted: the run was asked to stop.
        DivergedError: the discriminator's loss is not finite.
    """
    players, judge = trainer.players, warmed.judge
    assert judge is not None
    settings, iterations = warmed.settings, players.position.iteration
    before = copy.deepcopy(judge.state_dict())
    opponents = Players(
        players.task,
        players.reference,
        players.reference,
        judge,
        players.batch_size,
        players.seed,
        players.device,
        players.runtime,
        Replay(settings.replay, settings.replay_size),
    )
    rng = torch.Generator().manual_seed(seed_of(players.seed, SEED_OF_ROUNDS, players.runtime.rank))
    count = warmed.rounds(has_settled(trainer), iterations)
    try:
        if iterations:
            judge.load_state_dict(copy.deepcopy(warmed.kept))
        if count:
            trainer.progress.phase("start, resampled", count)
        for number in range(count):
            turn = (number // settings.d_steps + 1) * settings.every - 1  # iterations before it
            follow_schedule(judge.optimizer, settings, Position(turn, iterations))
            metrics = adversary_round(opponents, settings, settings.d_epochs, rng)
            trainer.progress.advance(1, {SHOWN: metrics[SHOWN]})
            if trainer.asked_to_stop():
                raise Interrupted("the run was stopped in its final evaluation")
        yield
    finally:
        judge.load_state_dict(before)
