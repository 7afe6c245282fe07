"""One pretraining epoch, one generator update, one pass of discriminator training.

Each function changes the module it is given and returns what it measured.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from operator import methodcaller
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqgan.data.metrics import Metrics
from seqgan.data.sequences import Sequences, Trajectories, masked_mean
from seqgan.functional.losses import PolicyGradientLoss, to_floats
from seqgan.models.generators.base import Generator
from seqgan.rewards.base import TrainableReward
from seqgan.system.errors import DivergedError
from seqgan.system.runtime import ALONE, Runtime

Reduction = Literal["mean", "sum"]


def _finite(value: Tensor, what: str) -> None:
    if not bool(torch.isfinite(value)):
        raise DivergedError(f"the {what} is finite, got {float(value.detach())}")


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
) -> tuple[float, float]:
    """One step of maximum likelihood on a minibatch, with dropout where the generator trains.

    Args:
        batch: real sequences; of several processes each has its part.
        max_grad_norm: the gradient's norm is clipped to this.

    Returns:
        This process' mean negative log-likelihood, nats per token, and its number of tokens.

    Raises:
        DivergedError: the loss or its gradient is not finite; no step was taken.
    """
    batch = batch.trimmed()
    count = float(batch.mask.sum())
    share = runtime.share(count)
    loss: Tensor = runtime.forward(generator, methodcaller("negative_log_likelihood", batch))
    _finite(loss, "pretraining loss")
    optimizer.zero_grad(set_to_none=True)
    runtime.backward(share * loss)
    norm = nn.utils.clip_grad_norm_(generator.parameters(), max_grad_norm)
    _finite(norm, "pretraining gradient's norm")
    optimizer.step()
    return float(loss.detach()), count


def pretrain_epoch(
    generator: Generator,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[Sequences],
    max_grad_norm: float,
    runtime: Runtime,
) -> Metrics:
    """Maximum likelihood, one step a minibatch.

    Args:
        batches: real sequences in random order, at least one minibatch of them; of several
            processes each has its part of every minibatch.
        max_grad_norm: the gradient's norm is clipped to this.

    Returns:
        `pretrain/nll_train`, the epoch's mean in nats per token with dropout on, and
        `losses/pretrain`, the last minibatch's; both over all processes.

    Raises:
        DivergedError: a loss or its gradient is not finite; that minibatch was not stepped.
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


@dataclass(frozen=True)
class GeneratorUpdate:
    """How one policy-gradient step is taken."""

    max_grad_norm: float = 5.0  # the gradient's norm is clipped to this
    entropy_weight: float = 0.0  # reward units per nat of the policy's entropy; below 0 sharpens
    mle_weight: float = 0.0  # weight of the NLL of as many training sequences in the loss
    reduction: Reduction = "mean"  # over real tokens; "sum" as in the reference code


def update_generator(
    generator: Generator,
    optimizer: torch.optim.Optimizer,
    loss_function: PolicyGradientLoss,
    trajectories: Trajectories,
    advantages: Float[Tensor, "batch time"],
    settings: GeneratorUpdate,
    runtime: Runtime,
    real: Sequences | None = None,
) -> Metrics:
    """One step on `loss_function` minus the entropy bonus, plus the NLL of `real`.

    Dropout is off: the policy that is improved is the one that acted.

    Args:
        trajectories: this process' own, as `real` is. The loss is that of all processes' together,
            and so are the metrics.
        real: training sequences whose likelihood is kept up, with `settings.mle_weight`; a policy
            gradient alone is free to forget what it does not sample.

    Raises:
        DivergedError: the loss or its gradient is not finite; the parameters are as they were.
    """
    generator.eval()
    mask = trajectories.mask
    count = float(mask.sum())
    share = runtime.share(count)
    scale = runtime.total(count) if settings.reduction == "sum" else 1.0
    anchor = None if real is None else real.trimmed()
    anchor_count = 0.0 if anchor is None else float(anchor.mask.sum())
    anchor_share = 0.0 if anchor is None else runtime.share(anchor_count)

    def losses(policy: Generator) -> tuple[Tensor, Metrics, dict[str, Tensor]]:
        """The whole loss, the loss function's own metrics, and means over anchor and tokens."""
        log_probs, entropies = policy.log_probs_and_entropies(trajectories.sequences)
        policy_loss, metrics = loss_function(log_probs, trajectories.log_probs, advantages, mask)
        entropy = masked_mean(entropies, mask)
        parts = {"losses/policy": policy_loss, "losses/entropy": entropy}
        loss = share * (policy_loss - settings.entropy_weight * entropy)
        if anchor is not None:
            parts["losses/mle"] = policy.negative_log_likelihood(anchor)
            loss = loss + anchor_share * settings.mle_weight * parts["losses/mle"]
        return scale * loss, metrics, parts

    loss, metrics, parts = runtime.forward(generator, losses)
    _finite(loss, "policy-gradient loss")
    optimizer.zero_grad(set_to_none=True)
    runtime.backward(loss)
    norm = nn.utils.clip_grad_norm_(generator.parameters(), settings.max_grad_norm)
    _finite(norm, "policy gradient's norm")
    optimizer.step()
    measured = to_floats({**parts, "losses/grad_norm_generator": norm})
    anchored = {name: measured.pop(name) for name in ("losses/mle",) if name in measured}
    return {
        **runtime.average({**metrics, **measured}, count),
        **runtime.average(anchored, anchor_count),
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
    """`epochs` passes over both sets, each minibatch half real and half generated.

    Where there are prompts, row i of both sets continues the same one (but for texts of earlier
    rounds), and the two stay at the same place of a minibatch: like is compared with like.

    Args:
        real, generated: this process' own; each process has as many.
        batch_size: sequences per minibatch, both kinds together.
        runtime: the one that the reward trains in.

    Returns:
        The metrics' mean over the minibatches of the last epoch, and over all processes.

    Raises:
        DivergedError: a loss is not finite; the reward's own step on that minibatch was taken.
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
            _finite(loss, "discriminator loss")
            for name, value in metrics.items():
                means[name] = means.get(name, 0.0) + value / num_batches
    return runtime.average(means, 1.0)
