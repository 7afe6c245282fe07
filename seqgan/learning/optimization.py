"""Optimisers of both players: AdamW's settings, and the course of the learning rate in the game."""

import math
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import nn

from seqgan.learning.updates import set_learning_rate
from seqgan.system.checks import Positive, Share, Weight, check_settings

ScheduleKind = Literal["constant", "linear", "cosine"]


@dataclass(frozen=True)
class AdamConfig:
    """AdamW (Loshchilov & Hutter, 2019); without weight decay it is Adam."""

    beta1: Share = 0.9  # decay of the gradients' moving average
    beta2: Share = 0.999  # decay of the moving average of their squares
    epsilon: Positive = 1e-8  # added to the root of the latter
    weight_decay: Weight = 0.0  # decoupled: a step takes this times the learning rate off weights

    def __post_init__(self) -> None:
        check_settings("adam", self)

    def build(self, module: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
        """The optimiser of all parameters that are not frozen."""
        trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        return torch.optim.AdamW(
            trained,
            learning_rate,
            (self.beta1, self.beta2),
            self.epsilon,
            self.weight_decay,
            fused=True,
        )

    def take_up(self, optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
        """Gives these settings to an optimiser whose state is of a run with others."""
        for group in optimizer.param_groups:
            group["lr"] = learning_rate
            group["betas"] = (self.beta1, self.beta2)
            group["eps"], group["weight_decay"] = self.epsilon, self.weight_decay


@runtime_checkable
class Scheduled(Protocol):
    """Settings with a learning rate and its course over the game's iterations."""

    @property
    def learning_rate(self) -> float: ...

    @property
    def schedule(self) -> ScheduleKind: ...

    @property
    def warmup(self) -> int: ...


@runtime_checkable
class Course(Protocol):
    """A place in the game; `players.position` is one."""

    iteration: int  # iterations that are done
    iterations: int  # iterations in all; 0 before the game


def scheduled_rate(settings: Scheduled, iteration: int, iterations: int) -> float:
    """The learning rate of one iteration.

    In the first `warmup` iterations it rises in equal steps to r. Of the n iterations after them,
    the one that has k before it has r (constant), r (1 - k / n) (linear) or
    r (1 + cos(pi k / n)) / 2 (cosine): the rate would be 0 after the last. Before the game
    (`iterations` 0) it is r.

    Args:
        iteration: iterations that are done.
        iterations: iterations in all.
    """
    rate, warmup = settings.learning_rate, settings.warmup
    if iterations == 0:
        return rate
    if iteration < warmup:
        return rate * (iteration + 1) / warmup
    if settings.schedule == "constant":
        return rate
    done = min((iteration - warmup) / max(iterations - warmup, 1), 1.0)
    left = 1 - done if settings.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
    return rate * left


def follow_schedule(optimizer: torch.optim.Optimizer, settings: Scheduled, course: Course) -> None:
    """Gives the optimiser the learning rate of the iteration in progress."""
    set_learning_rate(optimizer, scheduled_rate(settings, course.iteration, course.iterations))
