"""One step of a discriminator's training, of whole texts, of prefixes or of pairs."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import methodcaller
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from seqgan.data.metrics import Metrics
from seqgan.data.sequences import Sequences, joined
from seqgan.functional.losses import (
    minimax_discriminator_loss,
    offset_penalty,
    pairwise_discriminator_loss,
    to_floats,
    token_discriminator_loss,
)
from seqgan.models.discriminators.base import (
    Discriminator,
    TokenDiscriminator,
)
from seqgan.models.precision import Precision, autocast
from seqgan.system.runtime import ALONE, Runtime

DiscriminatorLoss = Literal["binary", "pairwise"]


@dataclass(frozen=True)
class DiscriminatorUpdate:
    """Settings of one step of a discriminator's training."""

    l2: float = 0.0  # weight of half the squared norm of the output layer, as in the paper
    max_grad_norm: float = math.inf  # the gradient's norm is clipped to this
    # The type of matrix products and of their results, the logit included. The parameters, their
    # gradients and the loss stay float32.
    precision: Precision = "float32"
    # `binary` judges each row for itself, `pairwise` real row i against generated row i.
    loss_kind: DiscriminatorLoss = "binary"
    label_smoothing: float = 0.0  # taken off the real rows' label of 1; with the binary loss only
    gradient_penalty: float = 0.0  # weight of half the two means of `squared_gradient_norms`
    micro_batch_size: int = 0  # rows whose gradient is computed at once, half real; 0: all
    max_accuracy: float = 1.0  # minibatches of a higher accuracy make no step


def discriminator_step(
    discriminator: Discriminator,
    optimizer: torch.optim.Optimizer,
    real: Sequences,
    generated: Sequences,
    settings: DiscriminatorUpdate,
    runtime: Runtime = ALONE,
) -> Metrics:
    """Takes one optimiser step on the loss of two minibatches.

    The metric `losses/discriminator` is the loss without regularisation: the binary cross-entropy,
    or the pairwise loss. No step is taken where the discriminator already tells a larger share of
    the texts (with the pairwise loss: of the pairs) apart than `max_accuracy`.

    Args:
        runtime: several processes take one step on the rows of all of them, and each has as many
            rows of each kind. Only the middle of the pairwise loss is each process' own, and
            each micro-batch's. The metrics are about this process' rows.
    """
    discriminator.train()
    per_token = isinstance(discriminator, TokenDiscriminator)
    share = 1.0  # the weight of this process' loss in the mean over processes
    if per_token:
        masks = real.mask, generated.mask
        share = runtime.share(sum(int(mask.sum()) / max(len(mask), 1) for mask in masks))
    parts = _parts(real, generated, settings.micro_batch_size)
    optimizer.zero_grad(set_to_none=True)
    means: dict[str, Tensor] = {}
    for part in parts:
        of_rows = _count(*part) / _count(real, generated)
        of_loss = _count(*part, per_token) / _count(real, generated, per_token)
        with twice_differentiable(discriminator, settings.gradient_penalty > 0) as embeddings:
            loss, regularisation, metrics = _losses(
                discriminator, *part, embeddings, settings, runtime
            )
            runtime.backward(of_loss * share * loss + of_rows * regularisation)
        weighted = {name: of_rows * value for name, value in metrics.items()}
        weighted["losses/discriminator"] = of_loss * loss.detach()
        means = {name: means.get(name, 0.0) + value for name, value in weighted.items()}
    if settings.max_accuracy >= 1:
        norm = _clipped_step(discriminator, optimizer, settings.max_grad_norm)
        return to_floats({**means, "losses/grad_norm_discriminator": norm})
    accuracy = runtime.average({"": told_apart(to_floats(means))}, 1.0)[""]
    learns = accuracy <= settings.max_accuracy
    norm = _clipped_step(discriminator, optimizer, settings.max_grad_norm, learns)
    steps = {"discriminator/steps": float(learns)}
    return to_floats({**means, **steps, "losses/grad_norm_discriminator": norm})


def told_apart(metrics: Metrics) -> float:
    """The share of the pairs that a step's metrics say were told apart, or of the texts."""
    of_texts = [metrics[f"discriminator/accuracy_{kind}"] for kind in ("real", "generated")]
    return metrics.get("discriminator/accuracy_pairs", sum(of_texts) / 2)


def _parts(real: Sequences, generated: Sequences, size: int) -> list[tuple[Sequences, Sequences]]:
    """The rows whose gradient is computed at once: as many of both kinds, `size` together."""
    count = 1 if size == 0 else -(-min(len(real), len(generated)) // max(size // 2, 1))
    if count == 1:
        return [(real, generated)]
    rows = (torch.arange(len(each)).tensor_split(count) for each in (real, generated))
    return [(real.select(a), generated.select(b)) for a, b in zip(*rows, strict=True)]


def _count(real: Sequences, generated: Sequences, per_token: bool = False) -> float:
    """Rows of both kinds, or their tokens: the things that the mean of a part's loss is over."""
    if per_token:
        return float(real.mask.sum() + generated.mask.sum())
    return float(len(real) + len(generated))


def _losses(
    discriminator: Discriminator,
    real: Sequences,
    generated: Sequences,
    embeddings: Sequence[Tensor],
    settings: DiscriminatorUpdate,
    runtime: Runtime,
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """The loss of two minibatches, what regularises it, and metrics of their rows.

    Args:
        embeddings: filled by the discriminator, see `twice_differentiable`.
    """
    both = joined([real, generated])
    per_token = isinstance(discriminator, TokenDiscriminator)
    judge = methodcaller("token_logits" if per_token else "__call__", both)
    with autocast(device_of(discriminator), settings.precision):
        judged = runtime.forward(discriminator, judge).float()
    logits = last_of_each(judged, both.mask) if per_token else judged
    real_logits, generated_logits = logits[: len(real)], logits[len(real) :]
    penalty = torch.stack([p.square().sum() for p in discriminator.output.parameters()]).sum()
    regularisation = 0.5 * settings.l2 * penalty
    if settings.gradient_penalty > 0:
        squares = squared_gradient_norms(logits, embeddings)
        means = squares[: len(real)].mean() + squares[len(real) :].mean()
        regularisation = regularisation + 0.5 * settings.gradient_penalty * means
    metrics = {
        "discriminator/accuracy_real": (real_logits > 0).float().mean(),
        "discriminator/accuracy_generated": (generated_logits <= 0).float().mean(),
    }
    if settings.loss_kind == "pairwise":
        pairs = min(len(real), len(generated))
        loss = pairwise_discriminator_loss(real_logits[:pairs], generated_logits[:pairs])
        regularisation = regularisation + offset_penalty(real_logits, generated_logits)
        right = (real_logits[:pairs] > generated_logits[:pairs]).float().mean()
        metrics["discriminator/accuracy_pairs"] = right
    elif per_token:
        loss = token_discriminator_loss(
            judged[: len(real)],
            both.mask[: len(real)],
            judged[len(real) :],
            both.mask[len(real) :],
            settings.label_smoothing,
        )
    else:
        loss = minimax_discriminator_loss(real_logits, generated_logits, settings.label_smoothing)
    return loss, regularisation, metrics


@contextmanager
def twice_differentiable(discriminator: Discriminator, wanted: bool) -> Iterator[list[Tensor]]:
    """Makes the logits differentiable twice inside, and collects the embeddings in a list.

    Fused attention and the convolution's own gradient can be differentiated only once, so slower
    kernels take their place.
    """
    embeddings: list[Tensor] = []
    if not wanted:
        yield embeddings
        return

    def watch(module: nn.Module, _: Any, output: Tensor) -> Tensor:
        output = output if output.requires_grad else output.detach().requires_grad_()
        embeddings.append(output)
        return output

    handle = discriminator.embedding.register_forward_hook(watch)
    discriminator.twice_differentiable = True
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield embeddings
    finally:
        discriminator.twice_differentiable = False
        handle.remove()


def squared_gradient_norms(
    logits: Float[Tensor, " batch"], embeddings: Sequence[Tensor]
) -> Float[Tensor, " batch"]:
    """Returns ||gradient of a row's logit by its embeddings||^2, with a graph of its own.

    The zero-centred gradient penalty (Mescheder et al., 2018, R1 + R2) is half of its mean over
    real rows plus half of its mean over generated rows, times a weight. The gradient is the
    logit's, without the weights of Roth et al. (2017). Tokens have no points between them, so the
    gradient is taken at the rows, and not between pairs of rows as in WGAN-GP.
    """
    gradients = torch.autograd.grad(logits.sum(), embeddings, create_graph=True)
    return torch.stack([part.flatten(1).square().sum(dim=1) for part in gradients]).sum(dim=0)


def last_of_each(
    values: Float[Tensor, "batch time"], mask: Bool[Tensor, "batch time"]
) -> Float[Tensor, " batch"]:
    """Returns the value of each row's last real token."""
    last = (mask.sum(dim=1) - 1).clamp(min=0)
    return values.gather(1, last[:, None])[:, 0]


def descend(
    loss: Float[Tensor, ""],
    discriminator: Discriminator,
    optimizer: torch.optim.Optimizer,
    max_grad_norm: float,
    runtime: Runtime = ALONE,
) -> Float[Tensor, ""]:
    """Takes one optimiser step down the loss, and returns the gradient's norm before clipping."""
    optimizer.zero_grad(set_to_none=True)
    runtime.backward(loss)
    return _clipped_step(discriminator, optimizer, max_grad_norm)


def _clipped_step(
    discriminator: Discriminator,
    optimizer: torch.optim.Optimizer,
    max_grad_norm: float,
    step: bool = True,
) -> Float[Tensor, ""]:
    """Takes a step along the clipped gradient, or none; returns its norm before clipping."""
    gradients = [p.grad for p in discriminator.parameters() if p.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    if max_grad_norm < math.inf:
        nn.utils.clip_grads_with_norm_(discriminator.parameters(), max_grad_norm, norm)
    if step:
        optimizer.step()
    return norm


def device_of(discriminator: Discriminator) -> torch.device:
    """Its device, found without reading a spectrally normalised weight, which would change it."""
    return next(discriminator.parameters()).device
