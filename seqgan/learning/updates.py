"""One step and one epoch of maximum likelihood, and passes of discriminator training.

Each function trains the module that it gets and returns metrics.
"""

from collections.abc import Iterable
from operator import methodcaller

import torch
from torch import Tensor, nn

from seqgan.data.metrics import Metrics
from seqgan.data.sequences import Sequences
from seqgan.models.generators.base import Generator
from seqgan.rewards.base import TrainableReward
from seqgan.system.errors import DivergedError
from seqgan.system.runtime import ALONE, Runtime


def check_finite(value: Tensor, what: str) -> None:
    """Raises DivergedError if the value is not finite."""
    if not bool(torch.isfinite(value)):
        raise DivergedError(f"the {what} is {float(value.detach())}, not finite")


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Gives every group of parameters the same learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def likelihood_step(
    generator: Generator,
    optimizer: torch.optim.Optimizer,
    batch: Sequences,
    max_grad_norm: float,
    runtime: Runtime,
    micro_batch_size: int = 0,
) -> tuple[float, float]:
    """One step of maximum likelihood on a minibatch, with dropout where the generator trains.

    Args:
        batch: real sequences; of several processes each has its part.
        max_grad_norm: the gradient's norm is clipped to this.
        micro_batch_size: sequences whose gradient is computed at once, which bounds memory; the
            step is that of the whole minibatch. 0 takes all at once.

    Returns:
        This process' mean negative log-likelihood, nats per token, and its number of tokens.

    Raises:
        DivergedError: the loss or its gradient is not finite; no step was taken.
    """
    batch = batch.trimmed()
    count = float(batch.mask.sum())
    share = runtime.share(count)
    optimizer.zero_grad(set_to_none=True)
    total = 0.0
    for rows in torch.arange(len(batch)).split(micro_batch_size or len(batch)):
        part = batch if len(rows) == len(batch) else batch.select(rows).trimmed()
        of_part = float(part.mask.sum()) / max(count, 1.0)
        loss: Tensor = runtime.forward(generator, methodcaller("negative_log_likelihood", part))
        check_finite(loss, "pretraining loss")
        runtime.backward(share * of_part * loss)
        total += of_part * float(loss.detach())
    norm = nn.utils.clip_grad_norm_(generator.parameters(), max_grad_norm)
    check_finite(norm, "pretraining gradient's norm")
    optimizer.step()
    return total, count


def pretrain_epoch(
    generator: Generator,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[Sequences],
    max_grad_norm: float,
    runtime: Runtime,
) -> Metrics:
    """Maximises the likelihood of real sequences, one step per minibatch.

    Args:
        batches: real sequences in random order, at least one minibatch; each of several processes
            gets its part of every minibatch.
        max_grad_norm: the gradient's norm is clipped to this.

    Returns:
        `pretrain/nll_train`, the epoch's mean in nats per token with dropout on, and
        `losses/pretrain`, the last minibatch's loss; both over all processes.

    Raises:
        DivergedError: a loss or its gradient is not finite; that minibatch changes no parameter.
    """
    generator.train()
    total, tokens = 0.0, 0.0
    for batch in batches:
        loss, count = likelihood_step(generator, optimizer, batch, max_grad_norm, runtime)
        total, tokens = total + loss * count, tokens + count
    return {
        **runtime.average({"pretrain/nll_train": total / tokens}, tokens),
        **runtime.average({"losses/pretrain": loss}, count),
    }


def train_discriminator(
    reward: TrainableReward,
    real: Sequences,
    generated: Sequences,
    epochs: int,
    batch_size: int,
    rng: torch.Generator,
    runtime: Runtime = ALONE,
) -> Metrics:
    """Trains the reward for `epochs` passes over both sets; minibatches are half real.

    With prompts, row i of both sets continues the same prompt (except for texts of earlier rounds).
    Both rows keep the same place in a minibatch, so that the discriminator compares texts of the
    same prompt.

    Args:
        real, generated: this process' own sequences; all processes have equally many.
        batch_size: sequences per minibatch, real and generated together.
        runtime: the runtime in which the reward trains.

    Returns:
        The metrics' mean over the minibatches of the last epoch and over all processes.

    Raises:
        DivergedError: a loss is not finite; the reward has already taken that step.
    """
    half = max(batch_size // 2, 1)
    num_batches = max(min(len(real), len(generated)) // half, 1)
    paired = real.prompts is not None and len(real) == len(generated)
    means: dict[str, float] = {}
    for _ in range(epochs):
        means = {}
        real_order = generated_order = torch.randperm(len(real), generator=rng)
        if not paired:
            generated_order = torch.randperm(len(generated), generator=rng)
        for index in range(num_batches):
            rows = slice(index * half, (index + 1) * half)
            metrics = reward.update(
                real.select(real_order[rows]), generated.select(generated_order[rows])
            )
            loss = torch.tensor(metrics.get("losses/discriminator", 0.0))
            check_finite(loss, "discriminator loss")
            for name, value in metrics.items():
                means[name] = means.get(name, 0.0) + value / num_batches
    return runtime.average(means, 1.0)
