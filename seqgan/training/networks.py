"""The networks of a run, from its settings: on its device, initialised from its random stream."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from seqgan.data.vocabulary import Vocabulary
from seqgan.models.discriminators.base import Discriminator, normalize_spectrally
from seqgan.models.generators.base import Generator, context_window
from seqgan.rewards.discriminator import DiscriminatorReward
from seqgan.rewards.discriminator_step import DiscriminatorUpdate
from seqgan.system.errors import CheckpointError, ConfigurationError, ModelFolderError
from seqgan.system.seeding import seeded_from
from seqgan.tasks.base import Task, whole_length
from seqgan.training.settings import GENERATORS_OWN, TrainConfig
from seqgan.training.slots import built, kind_of


def build_generator(config: TrainConfig, vocabulary: Vocabulary, rng: torch.Generator) -> Generator:
    """A generator: untrained, or as its model folder has it.

    Raises:
        ModelFolderError: there is no such model, or it cannot be a generator of this vocabulary.
    """
    with seeded_from(rng):
        generator: Generator = built(
            "generator", config.generator, Generator, vocabulary=vocabulary
        )
    return generator.to(config.device)


def build_discriminator(
    config: TrainConfig, vocabulary: Vocabulary, max_length: int, rng: torch.Generator
) -> Discriminator:
    """An untrained discriminator.

    Args:
        max_length: tokens of the longest text that it reads; of a task, `whole_length`.

    Raises:
        ModelFolderError: its pretrained body cannot be read.
        ConfigurationError: it is to be the generator's own model, and that has no folder.
    """
    if getattr(config.discriminator, "path", "") == GENERATORS_OWN:
        raise ConfigurationError(
            f"discriminator.path is {GENERATORS_OWN}, but must be a folder: a generator of kind"
            f" {kind_of('generator', config.generator)} has none of its own"
        )
    with seeded_from(rng):
        discriminator: Discriminator = built(
            "discriminator",
            config.discriminator,
            Discriminator,
            vocabulary=vocabulary,
            max_length=max_length,
        )
        if config.discriminator_training.spectral_norm:
            normalize_spectrally(discriminator)
    return discriminator.to(config.device)


def build_discriminator_reward(
    config: TrainConfig, task: Task, rng: torch.Generator
) -> DiscriminatorReward:
    """An untrained discriminator with its optimiser, as a reward.

    Raises:
        ModelFolderError: its pretrained body cannot be read.
    """
    discriminator = build_discriminator(config, task.vocabulary, whole_length(task), rng)
    return discriminator_reward(config, discriminator)


def discriminator_reward(config: TrainConfig, discriminator: Discriminator) -> DiscriminatorReward:
    """A discriminator with a new optimiser, as a reward."""
    training = config.discriminator_training
    return DiscriminatorReward(
        discriminator,
        training.adam.build(discriminator, training.learning_rate),
        config.adversarial.reward_shape,
        config.adversarial.reward_clip,
        DiscriminatorUpdate(
            l2=training.l2,
            max_grad_norm=training.max_grad_norm,
            precision=training.precision,
            loss_kind=training.loss,
            label_smoothing=training.label_smoothing,
            gradient_penalty=training.gradient_penalty,
            micro_batch_size=training.micro_batch_size,
            max_accuracy=training.max_accuracy,
        ),
    )


def load_weights(network: nn.Module, weights: Mapping[str, Any], run: object) -> None:
    """Gives a network the weights of a run's checkpoint.

    Raises:
        CheckpointError: they have other names or shapes than the settings say.
    """
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:  # PyTorch's, about a parameter
        reason = " ".join(" ".join(str(error).splitlines()[1:2]).split()) or str(error)
        raise CheckpointError(
            f"the checkpoint of {run} has networks of other sizes than its config.yaml: {reason}"
        ) from error


def check_window(config: TrainConfig, task: Task) -> None:
    """Checks that the generator can read the task's texts.

    Raises:
        ModelFolderError: it reads fewer tokens at once than the task's texts have.
    """
    window = context_window(config.generator)
    needed = task.max_length + 1  # at least a start token stands before a text
    if window is not None and needed > window:
        raise ModelFolderError(
            f"texts of {task.max_length} tokens and at least 1 before them do not fit into"
            f" the {window} that the generator reads"
        )
