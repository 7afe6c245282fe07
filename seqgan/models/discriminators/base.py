"""The discriminator's contract: a binary classifier over whole sequences."""

from abc import ABC, abstractmethod
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from seqgan.data.mixtures import Mixtures
from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary


class Discriminator(nn.Module, ABC):
    """Computes log D/(1-D), where D is the probability that a sequence is real.

    `output` is the last linear layer, which the paper regularises. `embedding` maps a text to
    vectors, so that a gradient with respect to the input exists.
    """

    output: nn.Linear
    embedding: nn.Module
    twice_differentiable = False  # True if `forward` must support gradients of gradients

    @property
    def randomly_initialized(self) -> nn.Module:
        """The part with a random start: the whole network, or the head of a pretrained body."""
        return self

    @abstractmethod
    def features(self, sequences: Sequences) -> Float[Tensor, "batch feature"]:
        """The input of `output`: a vector per row, after dropout."""

    @abstractmethod
    def forward(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        """One logit per row. It depends on the row alone: not on padding, not on other rows."""


class TokenDiscriminator(Discriminator):
    """A discriminator that judges every prefix of a text, so that each token gets a logit.

    A row's logit is the one at its last token, which judges the whole text.
    """

    @abstractmethod
    def token_logits(self, sequences: Sequences) -> Float[Tensor, "batch time"]:
        """log D/(1-D) of the prefix that ends with each token; 0 on padding."""


@runtime_checkable
class JudgesMixtures(Protocol):
    """A discriminator through which a gradient passes to the tokens that it reads."""

    def mixture_logits(self, mixtures: Mixtures) -> Float[Tensor, " batch"]:
        """`forward` of texts whose tokens are mixtures; of single tokens the same number."""
        ...


def normalize_spectrally(discriminator: Discriminator) -> None:
    """Divides the weight of each linear and convolutional layer by its largest singular value
    (Miyato et al., 2018).

    Each forward pass in training takes one step of power iteration; its vectors are buffers, and
    part of `state_dict`. Recurrent layers, embeddings and pretrained layers stay unchanged.

    Call this before making an optimiser, because it replaces the parameters.
    """
    for module in list(discriminator.randomly_initialized.modules()):
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
    """Tells from the settings if their discriminator will be a `TokenDiscriminator`."""
    return bool(getattr(settings, "judges_prefixes", False))
