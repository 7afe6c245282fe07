"""Generators that end in a linear layer and a softmax share cheap likelihoods, without logits."""

from abc import abstractmethod

from jaxtyping import Bool, Float
from torch import Tensor, nn

from seqgan.data.sequences import Sequences
from seqgan.models.generators.base import Generator
from seqgan.models.generators.projection import (
    chosen_log_probs,
    chosen_log_probs_and_entropies,
    mean_negative_log_likelihood,
)


class ProjectedGenerator(Generator):
    """A network that projects its top layer to logits.

    The likelihood methods project real tokens only and store no logits, because those of a large
    vocabulary would fill the memory.
    """

    dropout: nn.Dropout  # between the top layer and the output layer
    output: nn.Linear

    @property
    def top_size(self) -> int:
        """Width of the states of `top_layer`."""
        return self.output.in_features

    @abstractmethod
    def top_layer(self, sequences: Sequences) -> Float[Tensor, "batch time hidden"]:
        """Teacher-forced hidden states: `project` turns `[:, t]` into the logits of token t."""

    def project(self, top: Float[Tensor, "*axes hidden"]) -> Float[Tensor, "*axes vocab"]:
        return self.output(self.dropout(top))

    def forward(self, sequences: Sequences) -> Float[Tensor, "batch time vocab"]:
        return self.project(self.top_layer(sequences))

    def log_probs(self, sequences: Sequences) -> Float[Tensor, "batch time"]:
        return _at_tokens(sequences.mask, chosen_log_probs(*self.real_tokens(sequences)))

    def log_probs_and_entropies(
        self, sequences: Sequences
    ) -> tuple[Float[Tensor, "batch time"], Float[Tensor, "batch time"]]:
        parts = chosen_log_probs_and_entropies(*self.real_tokens(sequences))
        log_probs, entropies = (_at_tokens(sequences.mask, part) for part in parts)
        return log_probs, entropies

    def negative_log_likelihood(self, sequences: Sequences) -> Float[Tensor, ""]:
        return mean_negative_log_likelihood(*self.real_tokens(sequences))

    def real_tokens(self, sequences: Sequences) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns the inputs of the likelihood kernels for the real tokens.

        These are hidden states (token, hidden), output weight, output bias and target ids (token,).
        """
        hidden = self.dropout(self.top_layer(sequences))[sequences.mask]
        output = self.output
        return hidden, output.weight, output.bias, sequences.tokens[sequences.mask]


def _at_tokens(
    mask: Bool[Tensor, "batch time"], values: Float[Tensor, " token"]
) -> Float[Tensor, "batch time"]:
    """Puts the values of real tokens into their places; 0 on padding."""
    return values.new_zeros(mask.shape).masked_scatter(mask, values)
