"""The contract of a task: it holds real sequences, and knows facts about their distribution.

A task knows no learning rule. Evaluation never asks for a task's name: it looks at `exact`,
`measures` and `quality`, and uses those that the task has.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.models.generators.base import GeneratorConfig
from seqgan.system.errors import ConfigurationError

Split = Literal["train", "dev", "test"]
SHARE = "share of samples"  # the unit of a yes-or-no check

# From this many rows on, a few of them are drawn without shuffling all.
MANY_ROWS = 2**20


@runtime_checkable
class ExactDistribution(Protocol):
    """A true model p, whose probabilities, samples and entropy are known."""

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


@dataclass(frozen=True)
class Measure:
    """One number for each text. Evaluation reports the mean.

    Args:
        score: gives (batch,) floats for whole sequences: texts, prompts, and all columns of the
            data, such as references. NaN says that the measure does not apply to a text.
        unit: the numbers' unit, as reports write it; empty for a pure number.
        higher_is_better: the direction in which a generator improves; None where nobody says one.
    """

    score: Callable[[Sequences], Float[Tensor, " batch"]]
    unit: str = ""
    higher_is_better: bool | None = True

    @property
    def best(self) -> str:
        """The better end of its values: max, min, or nothing."""
        return {True: "max", False: "min", None: ""}[self.higher_is_better]


def share_of(check: Callable[[Sequence[str]], Sequence[bool]]) -> Measure:
    """The measure of a yes-or-no check: 1 for a text that passes, 0 for another."""

    def score(sequences: Sequences) -> Float[Tensor, " batch"]:
        return torch.tensor([float(passed) for passed in check(sequences.texts)])

    return Measure(score, SHARE)


@runtime_checkable
class Task(Protocol):
    """Real sequences in three splits, and known facts about the distribution behind them."""

    @property
    def vocabulary(self) -> Vocabulary: ...

    @property
    def max_length(self) -> int:
        """Tokens of the longest sequence, eos included."""
        ...

    @property
    def max_prompt_length(self) -> int:
        """Tokens of the longest prompt; 0 if texts have no prompts."""
        ...

    @property
    def exact(self) -> ExactDistribution | None:
        """The true distribution, None if it is unknown."""
        ...

    @property
    def measures(self) -> Mapping[str, Measure]:
        """Named measures of texts; evaluation reports their means."""
        ...

    @property
    def quality(self) -> str:
        """The name of the measure that stands for the quality of texts; empty if none does."""
        ...

    def size(self, split: Split) -> int:
        """Number of sequences in a pass over the split."""
        ...

    def real(self, split: Split, n: int, rng: torch.Generator) -> Sequences:
        """n sequences of a split in random order."""
        ...

    def rows(self, split: Split, numbers: Int[Tensor, " rows"]) -> Sequences:
        """The given rows of a split, by their places in the stored order; a row may repeat."""
        ...

    def batches(
        self, split: Split, batch_size: int, rng: torch.Generator, part: slice = slice(None)
    ) -> Iterator[Sequences]:
        """A pass over the split in random order, or a part of that pass, in minibatches.

        The call draws from `rng`, and later steps do not; minibatches are made one at a time.
        """
        ...

    def chunks(self, split: Split, chunk_size: int) -> Iterator[Sequences]:
        """Every sequence of the split once, always in the same order, `chunk_size` at a time."""
        ...


@runtime_checkable
class TaskConfig(Protocol):
    """The settings of a task: a frozen dataclass that loads or makes the real sequences.

    Settings of a task with prompts may have `encode_prompts(texts, vocabulary, generator)` too: it
    makes `Sequences` of a user's own prompts, for `seqgan sample --prompt`.
    """

    def build(self, generator: GeneratorConfig) -> Task:
        """The task, for a generator with these settings.

        A pretrained model cuts texts by its own tokenizer and reads a limited number of tokens at
        once: see `tokenizer_folder` and `context_window` of `seqgan.models.generators.base`.

        Raises:
            DataError: a file cannot be read, or holds too little.
            ModelFolderError: a tokenizer cannot be read.
        """
        ...


@runtime_checkable
class Rows(Protocol):
    """Sequences that are read by their row numbers: `Sequences`, or rows on a disk."""

    def __len__(self) -> int: ...

    def select(self, rows: Int[Tensor, " rows"]) -> Sequences:
        """The given rows, in the given order; a row may repeat."""
        ...


def random_rows(size: int, n: int, rng: torch.Generator) -> Int[Tensor, " n"]:
    """n of `size` row numbers in random order, none repeated before all were used equally often."""
    if size >= MANY_ROWS and n <= size // 16:
        # Distinct rows among 2 n independent draws, in the order drawn: there are always n.
        drawn = torch.randint(size, (2 * n,), generator=rng)
        _, first = np.unique(drawn.numpy(), return_index=True)
        return drawn[torch.from_numpy(np.sort(first))][:n]
    passes = -(-n // size)
    return torch.cat([torch.randperm(size, generator=rng) for _ in range(passes)])[:n]


def has_texts(task: Task) -> bool:
    """False for a task of prompts alone, whose rows hold no token after the prompt."""
    return bool(task.rows("train", torch.tensor([0])).mask.any())


# The remedy where a reward needs real texts.
JUDGE = "name a reward that judges a text alone: --reward ./my_reward.py:my_function"


def needs_texts(task: Task, what: str, remedy: str) -> None:
    """Checks that a task has real texts, where something learns from them or compares with them.

    Args:
        what: it, as the subject of a sentence with "needs".
        remedy: a setting that does without.

    Raises:
        ConfigurationError: the task has prompts alone.
    """
    if not has_texts(task):
        raise ConfigurationError(
            f"{what} needs real continuations, but the data are prompts alone; {remedy}"
        )


def stand_ins(sequences: Sequences, max_length: int) -> Sequences:
    """Prompts with texts of `max_length` tokens to try things on: their own words, over and over.

    Raises:
        ValueError: the sequences carry no prompts or no vocabulary.
    """
    vocabulary = sequences.vocabulary
    if sequences.prompts is None or sequences.prompt_mask is None or vocabulary is None:
        raise ValueError("texts that stand in for others are made of prompts, but there are none")
    width, lengths = sequences.prompts.shape[1], sequences.prompt_mask.sum(dim=1)[:, None]
    places = torch.arange(max_length, device=lengths.device) % lengths.clamp(min=1)
    tokens = sequences.prompts.gather(1, width - lengths + places)
    tokens = tokens.clamp(max=vocabulary.num_actions - 1)  # a prompt may have special tokens
    if vocabulary.eos_id is not None:
        tokens[:, -1] = vocabulary.eos_id
    return replace(sequences, tokens=tokens, mask=torch.ones_like(tokens, dtype=torch.bool))


def whole_length(task: Task) -> int:
    """Tokens of the longest text that a discriminator reads: prompt, bos and completion."""
    prompt = task.max_prompt_length
    return task.max_length + (prompt + 1 if prompt else 0)


def prompts_of(
    task: Task, split: Split, n: int, rng: torch.Generator, device: torch.device | str = "cpu"
) -> Sequences | None:
    """Draws n rows of a split, for their prompts; without prompts it draws none, and gives None."""
    return task.real(split, n, rng).to(device) if task.max_prompt_length else None


def heldout_prompts(
    task: Task, n: int, device: torch.device | str = "cpu", split: Split = "test"
) -> Sequences | None:
    """`prompts_of` of a held-out split, always the same ones."""
    return prompts_of(task, split, n, torch.Generator().manual_seed(0), device)


@dataclass(frozen=True)
class FixedTask:
    """A task whose splits are fixed sets, in memory or on a disk.

    `description` says in a line what was loaded (counts, dropped lines); it is printed
    when a run starts and stored in its configuration.

    Raises:
        ConfigurationError: `quality` names none of the measures.
    """

    vocabulary: Vocabulary
    max_length: int
    splits: Mapping[Split, Rows]
    exact: ExactDistribution | None = None
    measures: Mapping[str, Measure] = field(default_factory=dict)
    quality: str = ""
    description: str = ""
    max_prompt_length: int = 0

    def __post_init__(self) -> None:
        if self.quality and self.quality not in self.measures:
            raise ConfigurationError(
                f"quality is {self.quality!r}, but must be one of the task's measures"
                f" ({', '.join(self.measures) or 'none'})"
            )

    def size(self, split: Split) -> int:
        return len(self.splits[split])

    def real(self, split: Split, n: int, rng: torch.Generator) -> Sequences:
        """n rows in random order, none repeated before every other was used equally often."""
        return self.rows(split, random_rows(self.size(split), n, rng))

    def rows(self, split: Split, numbers: Int[Tensor, " rows"]) -> Sequences:
        return self.splits[split].select(numbers)

    def batches(
        self, split: Split, batch_size: int, rng: torch.Generator, part: slice = slice(None)
    ) -> Iterator[Sequences]:
        data = self.splits[split]
        order = torch.randperm(len(data), generator=rng)[part]
        return (data.select(rows) for rows in order.split(batch_size))

    def chunks(self, split: Split, chunk_size: int) -> Iterator[Sequences]:
        data = self.splits[split]
        return (data.select(rows) for rows in torch.arange(len(data)).split(chunk_size))
