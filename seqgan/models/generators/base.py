"""The generator's contract: a policy over token sequences with reusable states of prefixes.

Code that samples, rolls out or scores never looks into a state. So a recurrent network may index
stored hidden vectors, and a transformer may crop its cache.
"""

import copy
from abc import ABC, abstractmethod
from typing import Any, Protocol, TypeVar, runtime_checkable

from jaxtyping import Float, Int
from torch import Tensor, nn

from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.functional.losses import negative_log_likelihood, token_entropies, token_log_probs


@runtime_checkable
class State(Protocol):
    """A generator's memory of a batch of prefixes."""

    def select(self, rows: Int[Tensor, " rows"]) -> "State":
        """Returns the states of these rows; a row may repeat (rollouts) or be missing (ended)."""
        ...


@runtime_checkable
class PrefixStates(Protocol):
    """The states of every prefix of a batch, from one pass over it."""

    def gather(
        self, rows: Int[Tensor, " prefixes"], lengths: Int[Tensor, " prefixes"]
    ) -> tuple[Float[Tensor, "prefixes vocab"], State]:
        """Returns next-token logits and states of the prefixes `tokens[rows, :lengths]`.

        Lengths may differ and are from 0 (the empty prefix) to `time`.
        """
        ...


class Generator(nn.Module, ABC):
    """A policy pi(y_t | y_<t) over the first `num_actions` token ids.

    The caller may overwrite the logits of `start`, `step` and `PrefixStates.gather`: they are no
    view of a parameter or of a state.
    """

    num_actions: int
    # Rows whose text has ended leave a batch that is collected. For a large model that saves more
    # than the copy of the other rows' states costs.
    drops_ended_rows = False

    @property
    def row_elements(self) -> int:
        """Numbers in memory per advancing row: its logits, and its state if that is large.

        `rows_in_flight` divides a memory budget by this number.
        """
        return self.num_actions

    @abstractmethod
    def forward(self, sequences: Sequences) -> Float[Tensor, "batch time vocab"]:
        """Teacher-forced logits: `[:, t]` is the distribution of `tokens[:, t]` given the rest."""

    def log_probs(self, sequences: Sequences) -> Float[Tensor, "batch time"]:
        """log pi(y_t | y_<t) of every token, nats; 0 on padding.

        Evaluation needs only this part of `forward`, and a generator may compute it without storing
        all logits.
        """
        return token_log_probs(self(sequences), sequences.tokens, sequences.mask)

    def log_probs_and_entropies(
        self, sequences: Sequences
    ) -> tuple[Float[Tensor, "batch time"], Float[Tensor, "batch time"]]:
        """`log_probs`, and the entropy of pi(. | y_<t) at every token, nats; 0 on padding.

        A policy-gradient update needs only this part of `forward`.
        """
        logits = self(sequences)
        log_probs = token_log_probs(logits, sequences.tokens, sequences.mask)
        return log_probs, token_entropies(logits, sequences.mask)

    def negative_log_likelihood(self, sequences: Sequences) -> Float[Tensor, ""]:
        """The loss of maximum likelihood: minus the mean of `log_probs` over real tokens, nats."""
        return negative_log_likelihood(self.log_probs(sequences), sequences.mask)

    @abstractmethod
    def start(
        self, batch_size: int, prompts: Sequences | None = None
    ) -> tuple[Float[Tensor, "batch vocab"], State]:
        """Returns logits of the first token and the state before it.

        Args:
            prompts: sequences whose prompts are the contexts, one per row; None means no context.
        """

    @abstractmethod
    def step(
        self, tokens: Int[Tensor, " batch"], state: State
    ) -> tuple[Float[Tensor, "batch vocab"], State]:
        """Returns logits after one more token, and the new state. The old state stays valid."""

    @abstractmethod
    def encode(self, sequences: Sequences) -> PrefixStates:
        """Returns the states of all prefixes, from one pass over the whole batch."""


@runtime_checkable
class ReadsMixtures(Protocol):
    """A generator through which a gradient passes to the tokens that it reads."""

    def step_mixed(
        self, weights: Float[Tensor, "batch vocab"], state: State
    ) -> tuple[Float[Tensor, "batch vocab"], State]:
        """`step` after a mixture of the tokens that can be emitted: their mean embedding."""
        ...


Copied = TypeVar("Copied", bound=nn.Module)


def frozen_copy(module: Copied) -> Copied:
    """Copies a module for use without training.

    The copy shares the memory of parameters that are already frozen. So of a large model with a
    small adapter only the adapter is copied.
    """
    shared = {id(p): p for p in module.parameters() if not p.requires_grad}
    copied: Copied = copy.deepcopy(module, shared)
    return copied.requires_grad_(False)


@runtime_checkable
class GeneratorConfig(Protocol):
    """The settings of a generator: a frozen dataclass that builds it.

    Settings of a pretrained model have two things more, which tasks ask for by the functions
    `tokenizer_folder` and `context_window`: an attribute and a method of these names.
    """

    def build(self, vocabulary: Vocabulary) -> Generator:
        """A generator over the vocabulary, on the CPU; initialised from PyTorch's global state.

        Raises:
            ModelFolderError: a pretrained model cannot be read, or does not know the vocabulary.
        """
        ...


def tokenizer_folder(settings: GeneratorConfig) -> str:
    """The model folder whose tokenizer cuts texts for such a generator; empty for any tokens."""
    folder: str = getattr(settings, "tokenizer_folder", "")
    return folder


def context_window(settings: GeneratorConfig) -> int | None:
    """Tokens that such a generator reads at once, prompt and completion; None sets no limit.

    Raises:
        ModelFolderError: its model cannot be read.
    """
    window: Any = getattr(settings, "context_window", None)
    return None if window is None else window()
