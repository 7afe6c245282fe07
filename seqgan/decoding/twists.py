"""Twists: guesses of E[exp(tau) | prefix], which tell sequential Monte Carlo where a text leads.

Any positive function of a prefix is a valid twist: it changes how evenly the particles are
weighted, never what they stand for. A twist of prefixes has one number per prefix. A twist of
actions knows the number of every next token before one is drawn, and the proposal follows it.
"""

import math
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seqgan.data.sequences import Sequences
from seqgan.decoding.tilt import DiscriminatorLogit, Tilt
from seqgan.models.generators.base import Generator, State
from seqgan.models.sampling import complete


@runtime_checkable
class PrefixTwist(Protocol):
    """log psi of each of a batch of unfinished prefixes, nats.

    Attributes:
        sampled_tokens: tokens that the generator has drawn for its values so far.
    """

    sampled_tokens: int

    def log_values(
        self,
        prefixes: Sequences,
        logits: Float[Tensor, "prefix vocab"],
        state: State,
        rng: torch.Generator,
    ) -> Float[Tensor, " prefix"]:
        """Values the prefixes.

        Args:
            prefixes: real tokens only up to each prefix' end; `time` is the longest text's.
            logits, state: the generator's output after each prefix; not to be changed.
        """
        ...


@runtime_checkable
class ActionTwist(Protocol):
    """log psi of each prefix with each next token, read token by token as a generator reads."""

    def start(
        self, batch_size: int, prompts: Sequences | None = None
    ) -> tuple[Float[Tensor, "batch vocab"], State]: ...

    def step(
        self, tokens: Int[Tensor, " batch"], state: State
    ) -> tuple[Float[Tensor, "batch vocab"], State]: ...


class RolloutTwist:
    """Monte Carlo values: log of the mean of exp(tau) over completions of a prefix.

    Unbiased for every number of completions; each costs as many tokens as the text has left.
    """

    def __init__(self, generator: Generator, tilt: Tilt, num_rollouts: int = 4) -> None:
        self.generator = generator
        self.tilt = tilt
        self.num_rollouts = num_rollouts
        self.sampled_tokens = 0

    def log_values(
        self,
        prefixes: Sequences,
        logits: Float[Tensor, "prefix vocab"],
        state: State,
        rng: torch.Generator,
    ) -> Float[Tensor, " prefix"]:
        assert prefixes.vocabulary is not None
        completed = complete(
            self.generator,
            prefixes.vocabulary,
            prefixes.tokens,
            prefixes.lengths,
            logits.clone(),
            state,
            rng,
            num_completions=self.num_rollouts,
        )
        rows = torch.arange(len(prefixes), device=logits.device).repeat_interleave(
            self.num_rollouts
        )
        self.sampled_tokens += int(completed.lengths.sum() - prefixes.lengths[rows].sum())
        tilts = self.tilt(prefixes.select(rows).with_completions(completed))
        return tilts.view(-1, self.num_rollouts).logsumexp(dim=1) - math.log(self.num_rollouts)


class DiscriminatorTwist:
    """The logit of a discriminator that judges every prefix, an estimate of log q/p of a prefix."""

    sampled_tokens = 0  # it draws none

    def __init__(self, logit: DiscriminatorLogit, beta: float = 1.0) -> None:
        self.logit = logit
        self.beta = beta

    def log_values(
        self,
        prefixes: Sequences,
        logits: Float[Tensor, "prefix vocab"],
        state: State,
        rng: torch.Generator,
    ) -> Float[Tensor, " prefix"]:
        scores = self.logit.prefix_scores(prefixes.trimmed())
        last = (prefixes.lengths - 1).clamp(min=0)[:, None]
        return scores.gather(1, last)[:, 0] / self.beta
