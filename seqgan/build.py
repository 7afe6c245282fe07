"""From configuration to objects: the one place where a `kind` becomes a class."""

import torch

from seqgan.configuration import TrainConfig
from seqgan.discriminators.base import Discriminator
from seqgan.discriminators.cnn import CNNDiscriminator, CNNDiscriminatorConfig
from seqgan.discriminators.recurrent import RecurrentDiscriminator
from seqgan.generators.base import Generator
from seqgan.generators.recurrent import RecurrentGenerator
from seqgan.rewards.base import RewardModel
from seqgan.rewards.controls import ConstantReward, RandomReward
from seqgan.rewards.discriminator import DiscriminatorReward
from seqgan.seeding import seeded_from
from seqgan.tasks.base import Task
from seqgan.tasks.captions import CaptionsConfig, captions_task
from seqgan.tasks.oracle import OracleConfig, oracle_task
from seqgan.tasks.text import text_task
from seqgan.vocabulary import Vocabulary


def build_task(config: TrainConfig) -> Task:
    """Loads or makes the real sequences."""
    if isinstance(config.task, CaptionsConfig):
        return captions_task(config.task)
    if isinstance(config.task, OracleConfig):
        return oracle_task(config.task)
    return text_task(config.task)


def build_generator(config: TrainConfig, vocabulary: Vocabulary, rng: torch.Generator) -> Generator:
    """An untrained generator on the run's device."""
    with seeded_from(rng):
        return RecurrentGenerator(config.generator, vocabulary).to(config.device)


def build_discriminator(
    config: TrainConfig, vocabulary: Vocabulary, max_length: int, rng: torch.Generator
) -> Discriminator:
    """An untrained discriminator on the run's device."""
    settings = config.discriminator
    with seeded_from(rng):
        if isinstance(settings, CNNDiscriminatorConfig):
            return CNNDiscriminator(settings, vocabulary, max_length).to(config.device)
        return RecurrentDiscriminator(settings, vocabulary, max_length).to(config.device)


def build_reward(config: TrainConfig, task: Task, rng: torch.Generator) -> RewardModel:
    """The discriminator with its optimiser, or one of the controls."""
    if config.reward == "constant":
        return ConstantReward()
    if config.reward == "random":
        return RandomReward(config.seed)
    discriminator = build_discriminator(config, task.vocabulary, task.max_length, rng)
    training = config.discriminator_training
    return DiscriminatorReward(
        discriminator,
        torch.optim.Adam(discriminator.parameters(), training.learning_rate, fused=True),
        config.adversarial.reward_shape,
        config.adversarial.reward_clip,
        training.l2,
        training.max_grad_norm,
        training.precision,
    )
