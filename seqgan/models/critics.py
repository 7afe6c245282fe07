"""Critics: the value of every prefix of a text, for advantages without rollouts.

`values[:, t]` is the value of the state before token t: of the prompt (or of nothing) at t = 0. So
it knows nothing of token t, and is a baseline that leaves the expected gradient unchanged.
"""

from abc import ABC, abstractmethod
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import gelu

from seqgan.data.sequences import Sequences, masked_mean
from seqgan.data.vocabulary import Vocabulary
from seqgan.models.generators.base import Generator
from seqgan.models.generators.recurrent import RecurrentGeneratorConfig

SMALLEST_DEVIATION = 1e-6  # returns that vary less are constant


@runtime_checkable
class HasStates(Protocol):
    """A generator that shows its state before each token."""

    @property
    def top_size(self) -> int: ...

    def top_layer(self, sequences: Sequences) -> Float[Tensor, "batch time hidden"]: ...


@torch.no_grad()
def surprises(generator: Generator, sequences: Sequences) -> Float[Tensor, "batch time surprise"]:
    """Tells how likely the generator found the tokens so far, and how sure it is of the next one.

    With l a token's log-probability and H the entropy of the policy there, l + H has mean 0. Of l
    and of l + H: the mean and the minimum over the tokens before token t, 0 where there are none.
    Then l of token t - 1, and H at token t. A generator's slips are tokens that it found unlikely,
    and its states hardly tell.
    """
    generator.eval()
    log_probs, entropies = generator.log_probs_and_entropies(sequences)
    before, excess = (before_each(part) for part in (log_probs, log_probs + entropies))
    count = torch.arange(before.shape[1], device=before.device).clamp(min=1)
    parts = [part.cumsum(1) / count for part in (before, excess)]
    parts += [part.cummin(1).values for part in (before, excess)]
    return torch.stack([*parts, before, entropies], dim=2).float()


SURPRISES = 6  # numbers of `surprises` for each token


def before_each(values: Float[Tensor, "batch time"]) -> Float[Tensor, "batch time"]:
    """The value at the token before each token; 0 at the first."""
    return torch.cat([torch.zeros_like(values[:, :1]), values[:, :-1]], dim=1)


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
        """Reads the generator before each token, without a gradient."""

    @abstractmethod
    def network(
        self, sequences: Sequences, states: Float[Tensor, "batch time hidden"]
    ) -> Float[Tensor, " token"]:
        """The network's output for each real token."""

    def forward(
        self, sequences: Sequences, states: Float[Tensor, "batch time hidden"]
    ) -> Float[Tensor, "batch time"]:
        """V(y_<t) before each token, in units of the rewards; 0 on padding."""
        values = self.center + self.deviation * self.network(sequences, states)
        return values.new_zeros(sequences.mask.shape).masked_scatter(sequences.mask, values)


class ValueHead(nn.Module):
    """Normalised states and surprises, a hidden layer, a number that is 0 at first.

    Args:
        width: of the states, which stand before the surprises; perhaps 0.
        size: units of the hidden layer.
    """

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.width = width
        self.norm = nn.LayerNorm(width) if width else None
        self.hidden = nn.Linear(width + SURPRISES, size)
        self.output = nn.Linear(size, 1)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(self, inputs: Float[Tensor, "token input"]) -> Float[Tensor, " token"]:
        if self.norm is not None:
            states, rest = inputs[:, : self.width], inputs[:, self.width :]
            inputs = torch.cat([self.norm(states), rest], dim=1)
        outputs: Tensor = self.output(gelu(self.hidden(inputs)))
        return outputs[:, 0]


class HeadCritic(Critic):
    """A value of the generator's states, where it shows them, and of its surprises.

    The states are read as they are: the value's error does not train the generator.
    """

    def __init__(self, size: int, generator: Generator) -> None:
        super().__init__()
        self.head = ValueHead(generator.top_size if isinstance(generator, HasStates) else 0, size)

    @torch.no_grad()
    def states(
        self, generator: Generator, sequences: Sequences
    ) -> Float[Tensor, "batch time hidden"]:
        read = surprises(generator, sequences)
        if not isinstance(generator, HasStates):
            return read
        return torch.cat([generator.top_layer(sequences).float(), read], dim=2)

    def network(
        self, sequences: Sequences, states: Float[Tensor, "batch time hidden"]
    ) -> Float[Tensor, " token"]:
        outputs: Tensor = self.head(states[sequences.mask])
        return outputs


class NetworkCritic(Critic):
    """A value of the states of a GRU that reads prompt, bos and tokens, and of the surprises.

    Args:
        size: width of the embedding, of the states and of the hidden layer.
    """

    def __init__(self, size: int, vocabulary: Vocabulary) -> None:
        super().__init__()
        self.body = RecurrentGeneratorConfig("gru", size, size).build(vocabulary)
        self.body.output = nn.Linear(size, 1).requires_grad_(False)  # its logits have no use
        self.head = ValueHead(size, size)

    def states(
        self, generator: Generator, sequences: Sequences
    ) -> Float[Tensor, "batch time hidden"]:
        return surprises(generator, sequences)

    def network(
        self, sequences: Sequences, states: Float[Tensor, "batch time hidden"]
    ) -> Float[Tensor, " token"]:
        read = torch.cat([self.body.top_layer(sequences), states], dim=2)
        outputs: Tensor = self.head(read[sequences.mask])
        return outputs
