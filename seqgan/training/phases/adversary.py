"""Warming the discriminator: it learns to tell the start's texts from real ones before the game."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from seqgan.data.metrics import Metrics
from seqgan.learning.adversary import adversary_round, round_seconds
from seqgan.learning.players import Players
from seqgan.system.seeding import atomic
from seqgan.training.settings import DiscriminatorTrainingConfig, TrainConfig

AT_MOST = " at most"  # behind the name of a part whose time is a bound


class Adversary:
    """Rounds of training for the reward that learns, against a generator that stands still.

    With patience it ends once the discriminator's held-out information has stopped rising. A reward
    of another kind has no such measurement, and trains for all rounds.

    Args:
        players: whose rewards may hold one that learns; without one the phase is empty.
        settings: sizes of a round.
        num_heldout: generated sequences on which each round is measured.
    """

    name = "adversary"
    title = "pretrain discriminator"
    shown = ("pretrain/discriminator_loss", "pretrain/discriminator_information_heldout")
    evaluated = False

    def __init__(
        self, players: Players, settings: DiscriminatorTrainingConfig, num_heldout: int
    ) -> None:
        self.settings, self.num_heldout = settings, num_heldout
        self.total = settings.pretrain_rounds if players.rewards.learning is not None else 0
        self.rounds = 0  # that are done
        # Held-out information after each of the last rounds, nats: as many as patience looks at.
        self.information: list[float] = []

    @property
    def count(self) -> int:
        return self.rounds

    def done(self) -> bool:
        return self.rounds >= self.total or self.settled

    @property
    def settled(self) -> bool:
        """True where the discriminator's held-out information has stopped rising."""
        return has_settled(self.information, self.settings.patience)

    def why_early(self) -> str:
        """The patience that ran out; empty where it did not."""
        if not self.settled:
            return ""
        return f"held-out information has not risen for {self.settings.patience} rounds"

    def unit(self, players: Players, rng: torch.Generator) -> Metrics:
        """One round, and what the discriminator knows about unseen sequences after it."""
        with atomic(rng):
            metrics = adversary_round(players, self.settings, self.settings.pretrain_epochs, rng)
            heldout = players.heldout_information(players.unseen(self.num_heldout, rng))
        self.rounds += 1
        if heldout and self.settings.patience:
            known = players.runtime.from_main(heldout["discriminator/information_heldout"])
            self.information = [*self.information, known][-2 * self.settings.patience :]
        return {
            "pretrain/round": self.rounds,
            "pretrain/discriminator_loss": metrics.get("losses/discriminator", 0.0),
            **{
                f"pretrain/discriminator_{name}": heldout[f"discriminator/{name}"]
                for name in ("accuracy_heldout", "information_heldout")
                if heldout
            },
        }

    def expected_seconds(self, players: Players) -> Mapping[str, float]:
        """Seconds of the rounds that are left, each with its measurement."""
        if not self.total:
            return {}
        seconds = round_seconds(players, self.settings, self.settings.pretrain_epochs)
        measured = players.pace.draw(self.num_heldout) + players.pace.judge(2 * self.num_heldout)
        left = 0 if self.done() else self.total - self.rounds
        return {self.part: left * (seconds + measured)}

    @property
    def part(self) -> str:
        """Its name among the parts of the expected time."""
        return f"discriminator pretraining{AT_MOST if self.settings.patience else ''}"

    def state_dict(self) -> dict[str, Any]:
        return {"rounds": self.rounds, "information": self.information}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.rounds = state["rounds"]
        self.information = list(state.get("information", ()))  # none in an older checkpoint


def has_settled(information: Sequence[float], patience: int) -> bool:
    """True if a noisy measurement has stopped rising; never with a patience of 0.

    It has, if its mean over the last `patience` rounds is not above that over as many before them.

    Args:
        information: after each round.
    """
    if patience == 0 or len(information) < 2 * patience:
        return False
    before, last = information[-2 * patience : -patience], information[-patience:]
    return sum(last) <= sum(before)


def build(players: Players, config: TrainConfig) -> Adversary:
    """The warming of a run's discriminator."""
    return Adversary(players, config.discriminator_training, config.evaluation.num_samples)
