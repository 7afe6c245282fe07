"""How long a run will take, from a few steps of each kind on copies of its parts."""

import copy
from dataclasses import dataclass

import torch

from seqgan.learning.rollouts import monte_carlo_action_values
from seqgan.models.sampling import sample
from seqgan.system.seeding import seeded_from
from seqgan.system.timing import fastest
from seqgan.tasks.base import heldout_prompts
from seqgan.training.trainer import Trainer


@dataclass(frozen=True)
class Estimate:
    """Expected seconds of each part of a whole run, measured on this machine just now."""

    pretrain: float
    pretrain_discriminator: float
    rollouts: float
    discriminator: float

    @property
    def total(self) -> float:
        return self.pretrain + self.pretrain_discriminator + self.rollouts + self.discriminator

    def sentence(self) -> str:
        parts = {
            "pretraining": self.pretrain,
            "discriminator pretraining": self.pretrain_discriminator,
            "rollouts": self.rollouts,
            "discriminator in the game": self.discriminator,
        }
        spelt = ", ".join(f"{name} {_duration(seconds)}" for name, seconds in parts.items())
        return (
            f"expected time of the whole run: {_duration(self.total)} at most ({spelt};"
            " evaluations apart)"
        )


def estimate(trainer: Trainer) -> Estimate:
    """Times one step of each kind and multiplies; the trainer is left as it was."""
    config, task = trainer.config, trainer.task
    rng = torch.Generator().manual_seed(0)
    generator = copy.deepcopy(trainer.generator)
    batch = task.real("train", config.pretrain.batch_size, rng).to(config.device)

    def pretrain_step() -> None:
        generator.train()
        generator.negative_log_likelihood(batch).backward()

    with seeded_from(rng, config.device):
        step = fastest(pretrain_step)
    epoch_size = config.pretrain.epoch_size or task.size("train")
    batches = -(-epoch_size // (config.pretrain.batch_size * trainer.runtime.world_size))
    game, training = config.adversarial, config.discriminator_training
    trajectories = trainer.collect(generator, rng)
    one = fastest(
        lambda: monte_carlo_action_values(
            generator,
            trainer.reward,
            trajectories,
            min(game.num_rollouts, 1),
            rng,
            stride=game.rollout_stride,
        )
    )
    round_seconds = 0.0
    if trainer.reward.learning is not None:
        reward = copy.deepcopy(trainer.reward.learning)
        half = training.batch_size // 2
        prompts = heldout_prompts(task, 1000, config.device, "train")
        arguments = (generator, task.vocabulary, 1000, task.max_length, rng, None, prompts)
        drawn = sample(*arguments)
        draw = fastest(lambda: sample(*arguments))
        with seeded_from(rng, config.device):
            rows = torch.arange(half) % min(len(batch), len(drawn))
            update = fastest(lambda: reward.update(batch.select(rows), drawn.select(rows)))
        draw_round = draw * training.num_sequences / 1000
        epoch = update * max(training.num_sequences // half, 1)
        pretrain_round = draw_round + training.pretrain_epochs * epoch
        round_seconds = draw_round + training.d_epochs * epoch
    else:
        pretrain_round = 0.0
    return Estimate(
        config.pretrain.epochs * batches * step,
        training.pretrain_rounds * pretrain_round,
        game.iterations * game.g_steps * one * max(game.num_rollouts, 1),
        game.iterations * training.d_steps * round_seconds,
    )


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
