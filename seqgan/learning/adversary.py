"""One round of training for a reward that learns: fresh generated texts against real ones."""

from typing import Protocol, runtime_checkable

import torch

from seqgan.data.metrics import Metrics
from seqgan.learning.players import Players
from seqgan.learning.updates import train_discriminator
from seqgan.system.seeding import seeded_from
from seqgan.system.timing import profiled


@runtime_checkable
class RoundSettings(Protocol):
    """Sizes of a round."""

    @property
    def num_sequences(self) -> int:
        """Real sequences, and as many generated ones."""

    @property
    def batch_size(self) -> int:
        """Sequences per minibatch, half of them real."""


def adversary_round(
    players: Players, settings: RoundSettings, epochs: int, rng: torch.Generator
) -> Metrics:
    """Trains the reward that learns on fresh generated sequences and real training sequences.

    Where there are prompts, both sets continue the same ones. A part of the generated sequences
    may be of earlier rounds (`players.replay`).

    Args:
        epochs: passes over both sets.

    Returns:
        The metrics of `train_discriminator`.
    """
    learning, replay, count = players.rewards.learning, players.replay, settings.num_sequences
    assert learning is not None
    with profiled("update_discriminator / draw"):
        fresh = count - replay.num_older(count)
        if players.task.max_prompt_length:
            real = players.real("train", count, rng)
            generated = players.continued(real.select(torch.arange(fresh)), rng)
        else:
            generated = players.draw(fresh, rng)
            real = players.real("train", count, rng)
        if replay.share > 0:
            generated = replay.mixed(generated, count, rng)
    with profiled("update_discriminator / train"), seeded_from(rng, players.device):
        return train_discriminator(
            learning,
            real,
            generated,
            epochs,
            settings.batch_size,
            rng,
            runtime=players.runtime,
        )


def round_seconds(players: Players, settings: RoundSettings, epochs: int) -> float:
    """The time that a round will take: its draws, and its minibatches."""
    half = settings.batch_size // 2
    minibatches = max(settings.num_sequences // half, 1)
    steps = epochs * minibatches * players.pace.teach(half)
    return players.pace.draw(settings.num_sequences) + steps
