"""From configuration to objects: the one place where a `kind` becomes a class."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from seqgan.data.model_folders import context_window
from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.models.discriminators.base import Discriminator, normalize_spectrally
from seqgan.models.discriminators.causal import CausalDiscriminator, CausalDiscriminatorConfig
from seqgan.models.discriminators.cnn import CNNDiscriminator, CNNDiscriminatorConfig
from seqgan.models.discriminators.pretrained import (
    PretrainedDiscriminator,
    PretrainedDiscriminatorConfig,
)
from seqgan.models.discriminators.recurrent import RecurrentDiscriminator
from seqgan.models.discriminators.transformer import (
    TransformerDiscriminator,
    TransformerDiscriminatorConfig,
)
from seqgan.models.generators.base import Generator
from seqgan.models.generators.pretrained import PretrainedGenerator, PretrainedGeneratorConfig
from seqgan.models.generators.recurrent import RecurrentGenerator
from seqgan.models.generators.transformer import TransformerGenerator, TransformerGeneratorConfig
from seqgan.rewards.adapters.finding import find_rewards, parse_spec
from seqgan.rewards.base import RewardModel, TrainableReward
from seqgan.rewards.discriminator import DiscriminatorReward, DiscriminatorUpdate
from seqgan.rewards.guard import FailurePolicy, careful_returns
from seqgan.rewards.shipped.controls import RandomReward
from seqgan.rewards.weighted import WeightedSum
from seqgan.system.errors import ConfigurationError, ModelFolderError
from seqgan.system.seeding import seeded_from
from seqgan.tasks.base import Task
from seqgan.tasks.captions import CaptionsConfig, captions_task
from seqgan.tasks.files.prompts import PromptsConfig, encode_prompts, prompts_task
from seqgan.tasks.files.text import text_task
from seqgan.tasks.oracle import OracleConfig, oracle_task
from seqgan.training.settings import TrainConfig

DISCRIMINATOR = "discriminator"  # the one reward that is made of the run's own settings


def build_task(config: TrainConfig) -> Task:
    """Loads or makes the real sequences.

    Where a pretrained model writes texts of a file, they are cut by its tokenizer unless the task
    names another one.
    """
    if isinstance(config.task, CaptionsConfig):
        return captions_task(config.task)
    if isinstance(config.task, OracleConfig):
        return oracle_task(config.task)
    settings = config.task
    if not settings.tokenizer:
        settings = replace(settings, tokenizer=_pretrained_place(config))
    if isinstance(settings, PromptsConfig):
        return prompts_task(settings, _window(config))
    return text_task(settings)


def build_prompts(config: TrainConfig, texts: Sequence[str], vocabulary: Vocabulary) -> Sequences:
    """Prompts of a user's own, for the generator of a run with that vocabulary.

    Raises:
        ConfigurationError: the run is one without prompts, or a prompt is blank or too long.
    """
    if not isinstance(config.task, PromptsConfig):
        raise ConfigurationError(
            f"prompts go with a run of the task prompts, got one of {config.task.kind}"
        )
    return encode_prompts(texts, config.task, vocabulary, _window(config))


def _pretrained_place(config: TrainConfig) -> str:
    """Where a pretrained generator comes from; empty for another one."""
    generator = config.generator
    return generator.path if isinstance(generator, PretrainedGeneratorConfig) else ""


def _window(config: TrainConfig) -> int | None:
    """Tokens that the generator reads at once, where that is limited."""
    place = _pretrained_place(config)
    return context_window(place) if place else None


def whole_length(task: Task) -> int:
    """Tokens of the longest text that a discriminator reads: prompt, bos and completion."""
    prompt = task.max_prompt_length
    return task.max_length + (prompt + 1 if prompt else 0)


def build_generator(config: TrainConfig, vocabulary: Vocabulary, rng: torch.Generator) -> Generator:
    """A generator on the run's device: untrained, or as the model folder has it.

    Raises:
        ModelFolderError: there is no such model, or it cannot be a generator of this vocabulary.
    """
    settings = config.generator
    with seeded_from(rng):
        if isinstance(settings, PretrainedGeneratorConfig):
            return PretrainedGenerator(settings, vocabulary).to(config.device)
        if isinstance(settings, TransformerGeneratorConfig):
            return TransformerGenerator(settings, vocabulary).to(config.device)
        return RecurrentGenerator(settings, vocabulary).to(config.device)


def check_models(config: TrainConfig, task: Task) -> None:
    """Loads the model folders that the configuration names, before anything is made of them.

    Raises:
        ModelFolderError: one of them is none, does not go with the task's words, or reads fewer
            tokens than the task's texts have.
    """
    rng = torch.Generator().manual_seed(0)
    if isinstance(config.generator, PretrainedGeneratorConfig):
        if not config.generator.path:
            raise ModelFolderError("generator.path is a model folder or a hub name, got nothing")
        window = context_window(config.generator.path)
        needed = task.max_length + 1  # at least a start token stands before a text
        if window is not None and needed > window:
            raise ModelFolderError(
                f"a text and its prompt fit into the {window} tokens that {config.generator.path}"
                f" can read, got texts of {task.max_length} and at least 1 before them"
            )
        build_generator(config, task.vocabulary, rng)
    judged = DISCRIMINATOR in config.reward
    if judged and isinstance(config.discriminator, PretrainedDiscriminatorConfig):
        build_discriminator(config, task.vocabulary, whole_length(task), rng)


def build_discriminator(
    config: TrainConfig, vocabulary: Vocabulary, max_length: int, rng: torch.Generator
) -> Discriminator:
    """An untrained discriminator on the run's device.

    Raises:
        ModelFolderError: its pretrained body cannot be read.
    """
    with seeded_from(rng):
        discriminator = _discriminator(config.discriminator, vocabulary, max_length)
        if config.discriminator_training.spectral_norm:
            normalize_spectrally(discriminator)
    return discriminator.to(config.device)


def _discriminator(settings: Any, vocabulary: Vocabulary, max_length: int) -> Discriminator:
    if isinstance(settings, PretrainedDiscriminatorConfig):
        return PretrainedDiscriminator(settings)
    if isinstance(settings, CNNDiscriminatorConfig):
        return CNNDiscriminator(settings, vocabulary, max_length)
    if isinstance(settings, CausalDiscriminatorConfig):
        return CausalDiscriminator(settings, vocabulary, max_length)
    if isinstance(settings, TransformerDiscriminatorConfig):
        return TransformerDiscriminator(settings, vocabulary, max_length)
    return RecurrentDiscriminator(settings, vocabulary, max_length)


def build_reward(
    config: TrainConfig, task: Task, rng: torch.Generator, found: Mapping[str, RewardModel]
) -> WeightedSum:
    """The rewards that the configuration names, as one.

    Args:
        found: what `named_rewards` gives.
    """
    parts = [
        found[spec] if spec in found else build_discriminator_reward(config, task, rng)
        for spec in config.reward
    ]
    failures = FailurePolicy(config.reward_retries, config.reward_failure)
    return WeightedSum(parts, config.reward_weights or None, failures)


def named_rewards(config: TrainConfig, task: Task) -> dict[str, RewardModel]:
    """The rewards that need nothing of the run but its task, by how the configuration names them.

    Raises:
        ConfigurationError: no such reward, one that refuses its arguments, or rewards that do not
            go together.
    """
    specs = [spec for spec in config.reward if spec != DISCRIMINATOR]
    found = dict(zip(specs, find_rewards(specs, task), strict=True))
    if isinstance(control := found.get("random"), RandomReward):
        control.seed = config.seed
    if DISCRIMINATOR in config.reward:
        for spec, reward in found.items():
            if reward.name == DISCRIMINATOR or isinstance(reward, TrainableReward):
                raise ConfigurationError(
                    f"reward {spec!r} cannot stand beside the {DISCRIMINATOR}: it learns too, or"
                    " has the same name"
                )
    return found


def reward_files(specs: Sequence[str]) -> list[Path]:
    """The files that these rewards are read from, of those that are given as files."""
    places = [parse_spec(spec).place for spec in specs if spec != DISCRIMINATOR]
    return [Path(place) for place in dict.fromkeys(places) if place.endswith(".py")]


def try_rewards(config: TrainConfig, task: Task, found: Mapping[str, RewardModel]) -> None:
    """Asks each reward about two training texts and, where one can be, an empty one.

    Raises:
        RewardError: it fails, and the configuration does not say to skip that.
    """
    texts = task.real("train", 2, torch.Generator().manual_seed(0))
    batches = [texts]
    eos_id = task.vocabulary.eos_id
    if eos_id is not None and texts.prompts is None and not texts.columns:
        width = texts.tokens.shape[1]
        batches.append(Sequences.from_rows([[eos_id]], task.vocabulary, width))
    failures = FailurePolicy(config.reward_retries, config.reward_failure)
    for reward in found.values():
        for batch in batches:
            careful_returns(reward, batch.to(config.device), failures)


def build_discriminator_reward(
    config: TrainConfig, task: Task, rng: torch.Generator
) -> DiscriminatorReward:
    """An untrained discriminator with its optimiser."""
    discriminator = build_discriminator(config, task.vocabulary, whole_length(task), rng)
    training = config.discriminator_training
    return DiscriminatorReward(
        discriminator,
        torch.optim.Adam(
            [p for p in discriminator.parameters() if p.requires_grad],
            training.learning_rate,
            fused=True,
        ),
        config.adversarial.reward_shape,
        config.adversarial.reward_clip,
        DiscriminatorUpdate(
            l2=training.l2,
            max_grad_norm=training.max_grad_norm,
            precision=training.precision,
            loss_kind=training.loss,
            label_smoothing=training.label_smoothing,
            gradient_penalty=training.gradient_penalty,
        ),
    )
