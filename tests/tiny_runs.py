"""Runs that take a fraction of a second: three words, at most four tokens."""

from functools import cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from toys import ENDING, every_sequence

from seqgan.learning.rules.policy_gradient import PolicyGradientConfig
from seqgan.models.discriminators.recurrent import RecurrentDiscriminatorConfig
from seqgan.models.generators.recurrent import RecurrentGeneratorConfig
from seqgan.rewards.base import RewardModel
from seqgan.tasks.base import FixedTask
from seqgan.tracking.base import MemoryTracker, Trackers
from seqgan.tracking.progress import Progress
from seqgan.training import start
from seqgan.training.final import final_evaluation
from seqgan.training.result import Result
from seqgan.training.settings import (
    AdversarialConfig,
    DiscriminatorTrainingConfig,
    EvaluationConfig,
    PretrainConfig,
    TrainConfig,
)
from seqgan.training.trainer import Trainer

TINY = TrainConfig(
    generator=RecurrentGeneratorConfig(embedding_size=4, hidden_size=4),
    discriminator=RecurrentDiscriminatorConfig(embedding_size=3, hidden_size=3),
    pretrain=PretrainConfig(epochs=2, batch_size=16),
    discriminator_training=DiscriminatorTrainingConfig(
        pretrain_rounds=1, num_sequences=16, batch_size=8
    ),
    rule=PolicyGradientConfig(num_rollouts=1),
    adversarial=AdversarialConfig(iterations=3, batch_size=4),
    evaluation=EvaluationConfig(
        every=1, num_samples=20, num_final=20, num_heldout=10, num_shown=1, temperatures=(1.0, 0.8)
    ),
)


@cache
def toy_task() -> FixedTask:
    """A task with all 121 sequences, divided among the splits."""
    everything = every_sequence(ENDING)
    order = torch.randperm(121, generator=torch.Generator().manual_seed(0))
    train, dev, test = order.split([61, 30, 30])
    splits = {"train": train, "dev": dev, "test": test}
    return FixedTask(ENDING, 4, {name: everything.select(rows) for name, rows in splits.items()})


def changed(config: TrainConfig, settings: dict[str, Any]) -> TrainConfig:
    """The configuration with `part.field` (or `part.part.field`) set."""
    return config.with_(**settings)


def make_trainer(
    config: TrainConfig = TINY, task: FixedTask | None = None, reward: RewardModel | None = None
) -> tuple[Trainer, MemoryTracker]:
    memory = MemoryTracker()
    tracker = Trackers({"memory": memory})  # rejects a name that is not in the list
    return start.make_trainer(
        config, task or toy_task(), tracker, Progress(), rewards=reward
    ), memory


def trained(trainer: Trainer) -> Result:
    """The end of a whole run."""
    trainer.train()
    return final_evaluation(trainer)


def final_weights(config: TrainConfig, task: FixedTask | None = None) -> Float[Tensor, " weights"]:
    """All parameters of both players after a run, in a row."""
    trainer, _ = make_trainer(config, task)
    trainer.train()
    return weights_of(trainer)


def weights_of(trainer: Trainer) -> Float[Tensor, " weights"]:
    modules = [trainer.players.generator]
    if trainer.players.discriminator is not None:
        modules.append(trainer.players.discriminator.discriminator)
    rows = [parameter.detach().flatten() for module in modules for parameter in module.parameters()]
    return torch.cat(rows)
