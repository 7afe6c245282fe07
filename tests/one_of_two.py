"""A process of `test_distributed.py`: trains on fixed data, with the other process and alone.

Prints a line of JSON for each check: how far the parameters and the metrics of both ways are apart.
All optimizers are plain SGD: Adam divides by the size of a gradient, so it blows up the rounding
errors of tiny gradients, and it hides a gradient of the wrong scale.
"""

import copy
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from toys import ENDING, MAX_LENGTH, as_trajectories, every_sequence, seeded

from seqgan.data.metrics import Metrics
from seqgan.data.sequences import Sequences
from seqgan.functional.baselines import group_mean, leave_one_out
from seqgan.functional.groups import group_ids
from seqgan.functional.policy_losses import ppo, reinforce
from seqgan.functional.scaling import by_group, standardize
from seqgan.learning.collection import gathered, groups_of_batch
from seqgan.learning.policy_updates import GeneratorUpdate, KLTerm, update_generator
from seqgan.learning.updates import pretrain_epoch, train_discriminator
from seqgan.models.discriminators.base import Discriminator
from seqgan.models.discriminators.cnn import CNNDiscriminator, CNNDiscriminatorConfig
from seqgan.models.discriminators.recurrent import (
    RecurrentDiscriminator,
    RecurrentDiscriminatorConfig,
)
from seqgan.models.generators.base import Generator
from seqgan.models.generators.recurrent import RecurrentGenerator, RecurrentGeneratorConfig
from seqgan.models.generators.transformer import TransformerGenerator, TransformerGeneratorConfig
from seqgan.rewards.discriminator import DiscriminatorReward
from seqgan.rewards.discriminator_step import DiscriminatorUpdate
from seqgan.system.accelerated import runtime_for
from seqgan.system.runtime import ALONE, Runtime
from seqgan.system.seeding import seeded_from

SHARED = runtime_for("cpu")
ORDER = every_sequence(ENDING).lengths.argsort(stable=True)
# The first process has short sequences, the second one long ones.
PARTS = [every_sequence(ENDING).select(ORDER[:12]), every_sequence(ENDING).select(ORDER[-12:])]
WHOLE = every_sequence(ENDING).select(torch.cat([ORDER[:12], ORDER[-12:]]))
MINE, OTHER = PARTS[SHARED.rank], PARTS[1 - SHARED.rank]


def tell(**facts: Any) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")


def compare(
    name: str,
    module: torch.nn.Module,
    alone: Callable[[torch.nn.Module, Runtime], Metrics],
    together: Callable[[torch.nn.Module, Runtime], Metrics],
) -> None:
    """Trains copies of a module both ways; the other process starts with other parameters."""
    first, second = copy.deepcopy(module), copy.deepcopy(module)
    if SHARED.rank == 1:
        with torch.no_grad():
            for parameter in second.parameters():
                parameter.add_(1.0)
    expected, found = alone(first, ALONE), together(second, SHARED)
    pairs = [*zip(first.parameters(), second.parameters(), strict=True)]
    parameters = max(float((a - b).detach().abs().max()) for a, b in pairs)
    moved = max(
        float((a - b).detach().abs().max())
        for a, b in zip(first.parameters(), module.parameters(), strict=True)
    )
    assert expected.keys() == found.keys()
    metrics = max(abs(expected[key] - found[key]) / max(abs(expected[key]), 1) for key in expected)
    tell(check=name, apart=parameters, metrics=metrics, moved=moved)


def pretrained(batch: Sequences) -> Callable[[torch.nn.Module, Runtime], Metrics]:
    def train(generator: Generator, runtime: Runtime) -> Metrics:
        optimizer = torch.optim.SGD(generator.parameters(), 0.1)
        runtime.prepare(generator)
        return pretrain_epoch(generator, optimizer, [batch] * 3, 0.5, runtime)

    return train


def played(
    sequences: Sequences, anchor: Sequences, settings: GeneratorUpdate
) -> Callable[[torch.nn.Module, Runtime], Metrics]:
    """Takes three updates with fixed rewards, whose baseline is over all processes."""

    def train(generator: Generator, runtime: Runtime) -> Metrics:
        optimizer = torch.optim.SGD(generator.parameters(), 0.1)
        runtime.prepare(generator)
        rewards = sequences.tokens.sum(dim=1).float() + sequences.lengths
        given = as_trajectories(generator, sequences, rewards)
        everyones = gathered(given, runtime)
        values = everyones.returns[:, None].expand(-1, MAX_LENGTH)
        centred = values - leave_one_out(values, everyones)
        advantages = runtime.own(standardize(centred, everyones.mask))
        for _ in range(3):
            metrics = update_generator(
                generator, optimizer, reinforce, given, advantages, settings, runtime, anchor
            )
        return metrics

    return train


def played_in_groups(
    sequences: Sequences, steps: list[torch.Tensor]
) -> Callable[[torch.nn.Module, Runtime], Metrics]:
    """GRPO by groups of four: two epochs of two minibatches, the KL in the loss."""

    def train(generator: Generator, runtime: Runtime) -> Metrics:
        optimizer = torch.optim.SGD(generator.parameters(), 0.1)
        runtime.prepare(generator)
        rewards = sequences.tokens.sum(dim=1).float() + sequences.lengths
        groups = groups_of_batch(len(sequences), 4, runtime.rank)
        given = replace(as_trajectories(generator, sequences, rewards), groups=groups)
        everyones = gathered(given, runtime)
        values = everyones.returns[:, None].expand(-1, MAX_LENGTH)
        centred = values - group_mean(values, everyones)
        advantages = by_group(centred, values, everyones.mask, group_ids(everyones))
        return update_generator(
            generator,
            optimizer,
            ppo,
            given,
            runtime.own(advantages),
            GeneratorUpdate(0.5, reduction="sequences"),
            runtime,
            kl=KLTerm(torch.where(given.mask, -1.5, 0.0), 0.1),
            steps=2 * steps,
        )

    return train


def judged(real: Sequences, generated: Sequences) -> Callable[[torch.nn.Module, Runtime], Metrics]:
    def train(discriminator: Discriminator, runtime: Runtime) -> Metrics:
        optimizer = torch.optim.SGD(discriminator.parameters(), 0.1)
        reward = DiscriminatorReward(
            discriminator, optimizer, settings=DiscriminatorUpdate(l2=0.1, max_grad_norm=0.1)
        )
        reward.train_in(runtime)
        size = 2 * len(real)
        return train_discriminator(reward, real, generated, 3, size, seeded(), runtime=runtime)

    return train


def main() -> None:
    torch.set_num_threads(1)
    with seeded_from(seeded(1)):
        generators = {
            "lstm": RecurrentGenerator(
                RecurrentGeneratorConfig(embedding_size=4, hidden_size=6, single_bias=True), ENDING
            ),
            "transformer": TransformerGenerator(
                TransformerGeneratorConfig(width=8, num_layers=1, num_heads=2, dropout=0.0), ENDING
            ),
        }
        discriminators = {
            "gru": RecurrentDiscriminator(
                RecurrentDiscriminatorConfig(embedding_size=4, hidden_size=4, dropout=0.0),
                ENDING,
                MAX_LENGTH,
            ),
            "cnn": CNNDiscriminator(
                CNNDiscriminatorConfig(filter_sizes=(1, 2), num_filters=(4, 4), dropout=0.0),
                ENDING,
                MAX_LENGTH,
            ),
        }
    for kind, generator in generators.items():
        compare(f"pretrain {kind}", generator, pretrained(WHOLE), pretrained(MINE))
        for reduction in ("mean", "sum"):
            settings = GeneratorUpdate(0.5, 0.1, mle_weight=0.3, reduction=reduction)
            compare(
                f"update {kind} {reduction}",
                generator,
                played(WHOLE, WHOLE, settings),
                # In one of them each process adds its gradient up over parts of its batch.
                played(MINE, OTHER, replace(settings, micro_batch_size=5 * (reduction == "sum"))),
            )
        first, second = torch.arange(12).split(6)
        compare(
            f"groups {kind}",
            generator,
            played_in_groups(WHOLE, [torch.cat([rows, rows + 12]) for rows in (first, second)]),
            played_in_groups(MINE, [first, second]),
        )
    fakes = every_sequence(ENDING).select(torch.arange(24) * 5)
    for kind, discriminator in discriminators.items():
        own = fakes.select(SHARED.own(torch.arange(24)))
        compare(f"discriminate {kind}", discriminator, judged(WHOLE, fakes), judged(MINE, own))
    flags = SHARED.gather(torch.tensor([SHARED.rank == 1]))
    tell(check="gather", flags=flags.tolist(), world=SHARED.world_size)
    torch.distributed.destroy_process_group()  # its threads end before the interpreter does


if __name__ == "__main__":
    main()
