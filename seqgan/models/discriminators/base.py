"""The discriminator's contract: a binary classifier over whole sequences."""

from abc import ABC, abstractmethod
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary


class Discriminator(nn.Module, ABC):
    """Gives log D/(1-D), where D is the probability that a sequence is real.

    `output` is the last linear layer, the one that the paper regularises. `embedding` turns a text
    into numbers that a gradient can be taken of.
    """

    output: nn.Linear
    embedding: nn.Module
    twice_differentiable = False  # whether `forward` has to have gradients of gradients

    @property
    def untaught(self) -> nn.Module:
        """What knows nothing before the run: all of it, or a pretrained one's head."""
        return self

    @abstractmethod
    def features(self, sequences: Sequences) -> Float[Tensor, "batch feature"]:
        """What `output` reads: a vector per row, some of it dropped in training."""

    @abstractmethod
    def forward(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        """One logit per row. Padding never changes it, nor do the other rows."""


class TokenDiscriminator(Discriminator):
    """One that judges every prefix of a text, so that it has something to say of each token.

    A row's logit is that of the whole text, its last token's.
    """

    @abstractmethod
    def token_logits(self, sequences: Sequences) -> Float[Tensor, "batch time"]:
        """log D/(1-D) of each prefix, that ends with the token at this place; 0 on padding."""


def normalize_spectrally(discriminator: Discriminator) -> None:
    """Divides the weight of each linear and convolutional layer by its largest singular value
    (Miyato et al., 2018).

    One step of power iteration for each forward pass in training; its vectors are buffers, and
    part of `state_dict`. Recurrent layers, embeddings and pretrained layers stay as they are.
    Before an optimiser is made: the parameters become others.
    """
    for module in list(discriminator.untaught.modules()):
        if isinstance(module, nn.Linear | nn.Conv1d):
            spectral_norm(module)


@runtime_checkable
class DiscriminatorConfig(Protocol):
    """The settings of a discriminator: a frozen dataclass that builds it.

    Settings of a `TokenDiscriminator` also have a class attribute `judges_prefixes`, which is True;
    `judges_prefixes` asks for it.
    """

    def build(self, vocabulary: Vocabulary, max_length: int) -> Discriminator:
        """An untrained discriminator on the CPU; initialised from PyTorch's global state.

        Args:
            max_length: tokens of the longest text that it reads, prompt and bos included.

        Raises:
            ModelFolderError: a pretrained body cannot be read.
        """
        ...


def judges_prefixes(settings: DiscriminatorConfig) -> bool:
    """Whether such a discriminator is a `TokenDiscriminator`, known before it is built."""
    return bool(getattr(settings, "judges_prefixes", False))
