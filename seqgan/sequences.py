"""The two things that flow through the library: token sequences, and sequences with rewards."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from seqgan.vocabulary import Vocabulary


def masked_mean(values: Shaped[Tensor, "*axes"], mask: Bool[Tensor, "*axes"]) -> Float[Tensor, ""]:
    """Mean of `values` where `mask` is True; 0 where nothing is. Padding has no weight."""
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp(min=1)


@dataclass(frozen=True, eq=False)
class Sequences:
    """Completions, right-padded; their prompts stand beside them, never mixed in.

    Args:
        tokens: int64 ids, `pad_id` where `mask` is False.
        mask: True on real tokens, the eos included; True cells are a prefix of each row.
        prompts: int64 ids of the contexts, left-padded, or None.
        prompt_mask: True on real prompt tokens, or None.
        columns: whatever else the data rows carried, one entry a row.
        vocabulary: what decodes the ids; without it `texts` raises ValueError.
        given_texts: the completions as somebody else spelt them, one a row; `texts` are then these.
        given_prompt_texts: the same of the prompts.
    """

    tokens: Int[Tensor, "batch time"]
    mask: Bool[Tensor, "batch time"]
    prompts: Int[Tensor, "batch prompt_time"] | None = None
    prompt_mask: Bool[Tensor, "batch prompt_time"] | None = None
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    vocabulary: Vocabulary | None = None
    given_texts: Sequence[str] | None = None
    given_prompt_texts: Sequence[str] | None = None

    def __len__(self) -> int:
        return self.tokens.shape[0]

    @cached_property
    def lengths(self) -> Int[Tensor, " batch"]:
        """Number of real tokens of each row, eos included."""
        return self.mask.sum(dim=1)

    @cached_property
    def texts(self) -> list[str]:
        """The completions as text, decoded on first use."""
        if self.given_texts is not None:
            return list(self.given_texts)
        return self._decode(self.tokens.tolist())

    @cached_property
    def prompt_texts(self) -> list[str]:
        """The prompts as text, decoded on first use; empty where there are none."""
        if self.given_prompt_texts is not None:
            return list(self.given_prompt_texts)
        if self.prompts is None or self.prompt_mask is None:
            return [""] * len(self)
        rows = zip(self.prompts, self.prompt_mask, strict=True)
        return self._decode([prompt[real].tolist() for prompt, real in rows])

    def _decode(self, rows: Sequence[Sequence[int]]) -> list[str]:
        if self.vocabulary is None:
            raise ValueError("only sequences that carry a vocabulary can be decoded")
        return [self.vocabulary.decode(row) for row in rows]

    def select(self, rows: Int[Tensor, " rows"]) -> "Sequences":
        """The given rows, in the given order; a row may repeat."""
        given, given_prompts = self.given_texts, self.given_prompt_texts
        by_number = bool(self.columns) or given is not None or given_prompts is not None
        index = rows.tolist() if by_number else []
        return replace(
            self,
            tokens=self.tokens[rows],
            mask=self.mask[rows],
            prompts=None if self.prompts is None else self.prompts[rows],
            prompt_mask=None if self.prompt_mask is None else self.prompt_mask[rows],
            columns={name: [values[i] for i in index] for name, values in self.columns.items()},
            given_texts=None if given is None else [given[i] for i in index],
            given_prompt_texts=None if given_prompts is None else [given_prompts[i] for i in index],
        )

    def trimmed(self) -> "Sequences":
        """The same rows without the columns in which every row is padding."""
        width = max(int(self.lengths.max()), 1) if len(self) else self.tokens.shape[1]
        return replace(self, tokens=self.tokens[:, :width], mask=self.mask[:, :width])

    def with_completions(self, completions: "Sequences") -> "Sequences":
        """The same prompts and columns with other completions."""
        return replace(
            self,
            tokens=completions.tokens,
            mask=completions.mask,
            given_texts=completions.given_texts,
        )

    def to(self, device: torch.device | str) -> "Sequences":
        return replace(
            self,
            tokens=self.tokens.to(device),
            mask=self.mask.to(device),
            prompts=None if self.prompts is None else self.prompts.to(device),
            prompt_mask=None if self.prompt_mask is None else self.prompt_mask.to(device),
        )

    @classmethod
    def from_rows(
        cls, rows: Sequence[Sequence[int]], vocabulary: Vocabulary, max_length: int
    ) -> "Sequences":
        """Pads rows of ids (eos already included) on the right to `max_length`.

        Raises:
            ValueError: a row is empty or longer than `max_length`.
        """
        tokens = torch.full((len(rows), max_length), vocabulary.pad_id, dtype=torch.long)
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.long)
        for index, row in enumerate(rows):
            if not 1 <= len(row) <= max_length:
                raise ValueError(f"row {index} has 1 to {max_length} tokens, got {len(row)}")
            tokens[index, : len(row)] = torch.tensor(row, dtype=torch.long)
        mask = torch.arange(max_length)[None, :] < lengths[:, None]
        return cls(tokens, mask, vocabulary=vocabulary)


def joined(parts: Sequence[Sequences]) -> Sequences:
    """The completions of all parts, of one width, in one batch; without prompts and columns."""
    return Sequences(
        torch.cat([part.tokens for part in parts]),
        torch.cat([part.mask for part in parts]),
        vocabulary=parts[0].vocabulary,
    )


@dataclass(frozen=True, eq=False)
class Trajectories:
    """Collected episodes: what the generator emitted, how likely it was, what came back.

    Args:
        sequences: the emitted tokens.
        log_probs: log pi(y_t | y_<t) at collection, nats; 0 on padding.
        rewards: the environment's reward of each step; 0 on padding.
        parts: the unweighted reward of each part of the reward, by its name; NaN where that part
            does not apply to a sequence. None where the environment does not tell.
    """

    sequences: Sequences
    log_probs: Float[Tensor, "batch time"]
    rewards: Float[Tensor, "batch time"]
    parts: Mapping[str, Float[Tensor, " batch"]] | None = None

    @property
    def tokens(self) -> Int[Tensor, "batch time"]:
        return self.sequences.tokens

    @property
    def mask(self) -> Bool[Tensor, "batch time"]:
        return self.sequences.mask

    @cached_property
    def returns(self) -> Float[Tensor, " batch"]:
        """Undiscounted sum of each row's rewards."""
        return self.rewards.sum(dim=1)

    def part(self, name: str) -> Float[Tensor, " batch"]:
        """The reward that one part gave each sequence; the return where nobody told parts apart."""
        if self.parts is None:
            return self.returns
        return self.parts.get(name, torch.full_like(self.returns, torch.nan))
