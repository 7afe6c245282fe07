"""The discriminator as a reward model: the one owner of its training."""

import math
from collections.abc import Mapping
from operator import methodcaller
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from seqgan.discriminators.base import Discriminator
from seqgan.losses import minimax_discriminator_loss, to_floats
from seqgan.rewards.base import Reward, RewardError
from seqgan.runtime import ALONE, Runtime
from seqgan.sequences import Sequences, joined
from seqgan.tracking.metrics import Metrics

RewardShape = Literal["probability", "log_probability", "minimax", "logit"]
Precision = Literal["float32", "bfloat16"]


def shape_reward(
    logits: Float[Tensor, " batch"], shape: RewardShape, clip: float
) -> Float[Tensor, " batch"]:
    """A reward from the discriminator's logit, D = sigmoid(logit).

    - `probability`: D, as in SeqGAN (Yu et al., 2017). Bounded; flat when D is sure.
    - `log_probability`: log D, the non-saturating generator objective (Goodfellow et al., 2014).
    - `minimax`: -log(1 - D), the generator's side of the value function.
    - `logit`: log D/(1-D), clipped to +-clip. For the optimal D it is log p/q, and policy
      gradient then ascends exactly -KL(generator || data).

    Both logarithms are clipped to [-clip, clip] as well, so that one sure D cannot make a reward
    without bound.
    """
    if shape == "probability":
        return torch.sigmoid(logits)
    value = {"log_probability": logsigmoid(logits), "minimax": -logsigmoid(-logits)}.get(
        shape, logits
    )
    return value.clamp(-clip, clip)


def discriminator_step(
    discriminator: Discriminator,
    optimizer: torch.optim.Optimizer,
    real: Sequences,
    generated: Sequences,
    l2: float = 0.0,
    max_grad_norm: float = math.inf,
    precision: Precision = "float32",
    runtime: Runtime = ALONE,
) -> Metrics:
    """One optimiser step on the minimax discriminator loss of two minibatches.

    Args:
        l2: weight of half the squared norm of the output layer, as in the paper.
        max_grad_norm: the gradient's norm is clipped to this.
        precision: of the products of matrices and of what they give, the logit included; the
            parameters, their gradients and the loss stay float32.
        runtime: with other processes, each of which has as many rows of each kind, the step is
            that of all their rows together; the metrics are of this process' rows.
    """
    discriminator.train()
    with autocast(discriminator, precision):
        judge = methodcaller("__call__", joined([real, generated]))
        logits = runtime.forward(discriminator, judge).float()
    real_logits, generated_logits = logits[: len(real)], logits[len(real) :]
    loss = minimax_discriminator_loss(real_logits, generated_logits)
    penalty = torch.stack([p.square().sum() for p in discriminator.output.parameters()]).sum()
    norm = descend(loss + 0.5 * l2 * penalty, discriminator, optimizer, max_grad_norm, runtime)
    return to_floats(
        {
            "losses/discriminator": loss,
            "losses/grad_norm_discriminator": norm,
            "discriminator/accuracy_real": (real_logits > 0).float().mean(),
            "discriminator/accuracy_generated": (generated_logits <= 0).float().mean(),
        }
    )


def descend(
    loss: Float[Tensor, ""],
    discriminator: Discriminator,
    optimizer: torch.optim.Optimizer,
    max_grad_norm: float,
    runtime: Runtime = ALONE,
) -> Float[Tensor, ""]:
    """One optimiser step down the loss; the norm of its gradient before it was clipped."""
    optimizer.zero_grad(set_to_none=True)
    runtime.backward(loss)
    gradients = [p.grad for p in discriminator.parameters() if p.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    if max_grad_norm < math.inf:
        nn.utils.clip_grads_with_norm_(discriminator.parameters(), max_grad_norm, norm)
    optimizer.step()
    return norm


def autocast(discriminator: Discriminator, precision: Precision) -> torch.autocast:
    """A context in which the discriminator multiplies matrices in that precision."""
    device = discriminator.output.weight.device.type
    return torch.autocast(device, torch.bfloat16, enabled=precision == "bfloat16")


class DiscriminatorReward(Reward):
    """Scores with a discriminator in evaluation mode, and trains it."""

    name = "discriminator"

    def __init__(
        self,
        discriminator: Discriminator,
        optimizer: torch.optim.Optimizer,
        shape: RewardShape = "probability",
        clip: float = 5.0,
        l2: float = 0.0,
        max_grad_norm: float = math.inf,
        precision: Precision = "float32",
    ) -> None:
        self.discriminator = discriminator
        self.optimizer = optimizer
        self.shape: RewardShape = shape
        self.clip = clip
        self.l2 = l2
        self.max_grad_norm = max_grad_norm
        self.precision: Precision = precision
        self.runtime: Runtime = ALONE

    def train_in(self, runtime: Runtime) -> None:
        """From here on, each `update` is one step of all processes together."""
        runtime.prepare(self.discriminator, self.optimizer)
        self.runtime = runtime

    @torch.no_grad()
    def logits(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        """log D/(1-D) of each row, without dropout."""
        self.discriminator.eval()
        with autocast(self.discriminator, self.precision):
            return self.discriminator(sequences).float()

    def score(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        logits = self.logits(sequences)
        if bool(logits.isnan().any()):  # as a reward, NaN would only say "does not apply"
            row = int(logits.isnan().nonzero()[0, 0])
            raise RewardError(self.name, "its logit is a number, got nan", row)
        return shape_reward(logits, self.shape, self.clip)

    def update(self, real: Sequences, generated: Sequences) -> Metrics:
        return discriminator_step(
            self.discriminator,
            self.optimizer,
            real,
            generated,
            self.l2,
            self.max_grad_norm,
            self.precision,
            self.runtime,
        )

    def state_dict(self) -> dict[str, Any]:
        return {
            "module": self.discriminator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.discriminator.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
