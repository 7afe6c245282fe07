"""Critics: the value of every prefix of a text, for advantages without rollouts.

`values[:, t]` is the value of the state before token t: of the prompt (or of nothing) at t = 0. So
it knows nothing of token t, and is a baseline that leaves the expected gradient unchanged.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from seqgan.data.sequences import Sequences, masked_mean
from seqgan.data.vocabulary import Vocabulary
from seqgan.models.discriminators.head import Head
from seqgan.models.generators.base import Generator
from seqgan.models.generators.recurrent import RecurrentGeneratorConfig
from seqgan.system.checks import Count, Rate, Size, Weight, WholeShare, check_settings
from seqgan.system.errors import ConfigurationError

CriticKind = Literal["none", "head", "network"]
SMALLEST_DEVIATION = 1e-6  # returns that vary less are constant


@dataclass(frozen=True)
class CriticConfig:
    kind: CriticKind = "none"  # a head on the generator's states, or a network of its own (GRU)
    size: Size = 64  # units of the head's hidden layer, or of the network
    learning_rate: Rate = 2e-3  # Adam's
    gae_lambda: WholeShare = 0.95  # of the advantages; 1 trusts the rewards alone, 0 the critic
    target_lambda: WholeShare = 1.0  # of the returns that it learns; 1 is the reward to go
    warmup: Count = 10  # updates in which the critic alone learns, before the generator moves
    epochs: Size = 4  # passes over each batch
    minibatch_size: Count = 64  # texts of a step, in each process; 0 takes the whole batch
    clip_values: Weight = (
        0.0  # most that a batch moves a value, in deviations of the returns; 0: any
    )

    def __post_init__(self) -> None:
        check_settings("rule.critic", self)

    def build(self, generator: Generator, vocabulary: Vocabulary) -> "Critic":
        """An untrained critic of the generator's prefixes, on the CPU.

        Raises:
            ConfigurationError: a head for a generator without states that it could read.
        """
        if self.kind == "network":
            return NetworkCritic(self.size, vocabulary)
        if not isinstance(generator, HasStates):
            raise ConfigurationError(
                f"rule.critic.kind is {self.kind}, but {type(generator).__name__} has no top_layer"
                " and top_size whose states a head could read: take network"
            )
        return HeadCritic(self.size, generator.top_size)


@runtime_checkable
class HasStates(Protocol):
    """A generator that shows its state before each token."""

    @property
    def top_size(self) -> int: ...

    def top_layer(self, sequences: Sequences) -> Float[Tensor, "batch time hidden"]: ...


class Critic(nn.Module, ABC):
    """Values in units of the returns: `center + deviation * network`.

    The network has outputs near 0 and 1, whatever the unit of the rewards is. Both numbers are
    those of the first returns that it learns.
    """

    center: Float[Tensor, ""]
    deviation: Float[Tensor, ""]

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("center", torch.zeros(()))
        self.register_buffer("deviation", torch.ones(()))

    def set_unit(
        self, returns: Float[Tensor, "batch time"], known: Bool[Tensor, "batch time"]
    ) -> None:
        """Takes mean and standard deviation of the known returns as its unit."""
        mean = masked_mean(returns, known)
        deviation = masked_mean((returns - mean).square(), known).sqrt()
        self.center.copy_(mean)
        constant = deviation < SMALLEST_DEVIATION
        self.deviation.copy_(torch.where(constant, torch.ones_like(deviation), deviation))

    @abstractmethod
    def states(
        self, generator: Generator, sequences: Sequences
    ) -> Float[Tensor, "batch time hidden"]:
        """The generator's states before each token that `forward` reads, without a gradient."""

    @abstractmethod
    def network(
        self, sequences: Sequences, states: Float[Tensor, "batch time hidden"]
    ) -> Float[Tensor, "batch time"]:
        """The network's output before each token, of any value on padding."""

    def forward(
        self, sequences: Sequences, states: Float[Tensor, "batch time hidden"]
    ) -> Float[Tensor, "batch time"]:
        """V(y_<t) before each token, in units of the rewards; 0 on padding."""
        values = self.center + self.deviation * self.network(sequences, states)
        return torch.where(sequences.mask, values, 0.0)


class HeadCritic(Critic):
    """Normalisation, a hidden layer and a value, on the generator's states.

    The states are read as they are: the value's error does not train the generator.

    Args:
        size: units of the hidden layer.
        top_size: width of the generator's states.
    """

    def __init__(self, size: int, top_size: int) -> None:
        super().__init__()
        self.head = Head(top_size, size)
        nn.init.zeros_(self.head.output.weight)
        nn.init.zeros_(self.head.output.bias)

    @torch.no_grad()
    def states(
        self, generator: Generator, sequences: Sequences
    ) -> Float[Tensor, "batch time hidden"]:
        assert isinstance(generator, HasStates)
        generator.eval()
        return generator.top_layer(sequences).float()

    def network(
        self, sequences: Sequences, states: Float[Tensor, "batch time hidden"]
    ) -> Float[Tensor, "batch time"]:
        outputs = self.head(states[sequences.mask])[:, 0]
        return outputs.new_zeros(sequences.mask.shape).masked_scatter(sequences.mask, outputs)


class NetworkCritic(Critic):
    """A GRU that reads prompt, bos and tokens: the body of a generator, with a value in place of
    logits.

    Args:
        size: width of the embedding and of the state.
    """

    def __init__(self, size: int, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.body = RecurrentGeneratorConfig("gru", size, size).build(vocabulary)
        self.body.output = nn.Linear(size, 1)
        nn.init.zeros_(self.body.output.weight)
        nn.init.zeros_(self.body.output.bias)

    def states(
        self, generator: Generator, sequences: Sequences
    ) -> Float[Tensor, "batch time hidden"]:
        return self.center.new_zeros(*sequences.mask.shape, 0)  # it reads none

    def network(
        self, sequences: Sequences, states: Float[Tensor, "batch time hidden"]
    ) -> Float[Tensor, "batch time"]:
        outputs: Tensor = self.body(sequences)
        return outputs[..., 0]
