"""What a task is: where real sequences come from, and what is known about them.

How one learns from them is none of a task's business, and evaluation never asks for a task's
name: it looks at `exact` and `checks` and uses what is there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from seqgan.sequences import Sequences
from seqgan.vocabulary import Vocabulary

Split = Literal["train", "dev", "test"]
Check = Callable[[Sequence[str]], Sequence[bool]]


@runtime_checkable
class ExactDistribution(Protocol):
    """A true model p of which everything is known."""

    full_support: bool  # whether every sequence has p > 0, so that KL(generator || p) is finite

    def log_prob(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        """log p(sequence), nats per sequence; -inf outside the support."""
        ...

    def sample(self, n: int, rng: torch.Generator) -> Sequences:
        """n independent draws."""
        ...

    def entropy(self) -> float:
        """H(p), nats per sequence."""
        ...


@runtime_checkable
class Task(Protocol):
    """Real sequences in three splits, and what is known about the distribution behind them."""

    @property
    def vocabulary(self) -> Vocabulary: ...

    @property
    def max_length(self) -> int:
        """Tokens of the longest sequence, eos included."""
        ...

    @property
    def exact(self) -> ExactDistribution | None:
        """The true distribution, where it is known."""
        ...

    @property
    def checks(self) -> Mapping[str, Check]:
        """Named yes-or-no questions about texts; evaluation reports the rate of yes."""
        ...

    def size(self, split: Split) -> int:
        """Number of sequences in a pass over the split."""
        ...

    def real(self, split: Split, n: int, rng: torch.Generator) -> Sequences:
        """n sequences of a split in random order."""
        ...


@dataclass(frozen=True)
class FixedTask:
    """A task whose splits are fixed sets that fit in memory.

    `description` says in a line what was loaded (counts, dropped lines, a hash); it is printed
    when a run starts and stored in its configuration.
    """

    vocabulary: Vocabulary
    max_length: int
    splits: Mapping[Split, Sequences]
    exact: ExactDistribution | None = None
    checks: Mapping[str, Check] = field(default_factory=dict)
    description: str = ""

    def size(self, split: Split) -> int:
        return len(self.splits[split])

    def real(self, split: Split, n: int, rng: torch.Generator) -> Sequences:
        """n rows in random order, none repeated before every other was used equally often."""
        data = self.splits[split]
        passes = -(-n // len(data))
        order = torch.cat([torch.randperm(len(data), generator=rng) for _ in range(passes)])
        return data.select(order[:n])
