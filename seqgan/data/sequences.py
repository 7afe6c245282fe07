"""The two data types that flow through the library: `Sequences` and `Trajectories`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor
from torch.nn.functional import pad

from seqgan.data.vocabulary import Vocabulary


def masked_mean(values: Shaped[Tensor, "*axes"], mask: Bool[Tensor, "*axes"]) -> Float[Tensor, ""]:
    """Mean of `values` over the cells where `mask` is True; 0 for an empty mask.

    Padding has no weight.
    """
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp(min=1)


@dataclass(frozen=True, eq=False)
class Sequences:
    """A batch of completions, padded on the right. Their prompts are tensors of their own.

    Args:
        tokens: int64 ids, `pad_id` where `mask` is False.
        mask: True on real tokens, the eos included; True cells are a prefix of each row.
        prompts: int64 ids of the contexts, left-padded, or None.
        prompt_mask: True on real prompt tokens, or None.
        columns: further fields of the data rows, one entry per row.
        vocabulary: decodes the ids; without it `texts` raises ValueError.
        given_texts: the completions as their source spelled them, one per row; `texts` then returns
            these instead of decoding the ids.
        given_prompt_texts: the same for the prompts.
        eos_id: the id that ends a text, if there is no vocabulary to tell it.
    """

    tokens: Int[Tensor, "batch time"]
    mask: Bool[Tensor, "batch time"]
    prompts: Int[Tensor, "batch prompt_time"] | None = None
    prompt_mask: Bool[Tensor, "batch prompt_time"] | None = None
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    vocabulary: Vocabulary | None = None
    given_texts: Sequence[str] | None = None
    given_prompt_texts: Sequence[str] | None = None
    eos_id: int | None = None

    def __len__(self) -> int:
        return self.tokens.shape[0]

    @cached_property
    def lengths(self) -> Int[Tensor, " batch"]:
        """Number of real tokens of each row, eos included."""
        return self.mask.sum(dim=1)

    @property
    def finished(self) -> Bool[Tensor, " batch"]:
        """True for each row with an eos, and for every row if no eos is known."""
        eos_id = self.eos_id if self.vocabulary is None else self.vocabulary.eos_id
        if eos_id is None:
            return torch.ones(len(self), dtype=torch.bool, device=self.mask.device)
        return ((self.tokens == eos_id) & self.mask).any(dim=1)

    @cached_property
    def texts(self) -> list[str]:
        """The completions as text, decoded on first use."""
        if self.given_texts is not None:
            return list(self.given_texts)
        vocabulary = self._known_vocabulary()
        return [vocabulary.decode(row) for row in self.tokens.tolist()]

    @cached_property
    def prompt_texts(self) -> list[str]:
        """The prompts as text, decoded on first use; empty strings without prompts."""
        if self.given_prompt_texts is not None:
            return list(self.given_prompt_texts)
        if self.prompts is None or self.prompt_mask is None:
            return [""] * len(self)
        vocabulary = self._known_vocabulary()
        rows = zip(self.prompts, self.prompt_mask, strict=True)
        return [vocabulary.decode_prompt(prompt[real].tolist()) for prompt, real in rows]

    def _known_vocabulary(self) -> Vocabulary:
        if self.vocabulary is None:
            raise ValueError(
                "these sequences carry no vocabulary, without which they cannot be decoded"
            )
        return self.vocabulary

    def select(self, rows: Int[Tensor, " rows"]) -> "Sequences":
        """Returns the rows with these indices, in this order; a row may repeat."""
        texts, prompt_texts = self.given_texts, self.given_prompt_texts
        has_lists = bool(self.columns) or texts is not None or prompt_texts is not None
        index = rows.tolist() if has_lists else []  # lists, unlike tensors, need plain integers
        return replace(
            self,
            tokens=self.tokens[rows],
            mask=self.mask[rows],
            prompts=None if self.prompts is None else self.prompts[rows],
            prompt_mask=None if self.prompt_mask is None else self.prompt_mask[rows],
            columns={name: [values[i] for i in index] for name, values in self.columns.items()},
            given_texts=None if texts is None else [texts[i] for i in index],
            given_prompt_texts=None if prompt_texts is None else [prompt_texts[i] for i in index],
        )

    def trimmed(self) -> "Sequences":
        """Cuts off the last time steps, in which every row is padding."""
        width = max(int(self.lengths.max()), 1) if len(self) else self.tokens.shape[1]
        return replace(self, tokens=self.tokens[:, :width], mask=self.mask[:, :width])

    def whole(self) -> "Sequences":
        """Joins prompt, bos and completion of each row to one text, padded on the right.

        Discriminators read conditional texts in this form; bos marks the start of the completion.
        Sequences without prompts are returned unchanged.
        """
        if self.prompts is None or self.prompt_mask is None:
            return self
        if self.vocabulary is None:
            raise ValueError("the vocabulary has no bos, which joins prompts and completions")
        bos = torch.full_like(self.tokens[:, :1], self.vocabulary.bos_id)
        tokens = torch.cat([self.prompts, bos, self.tokens], dim=1)
        mask = torch.cat([self.prompt_mask, torch.ones_like(bos, dtype=torch.bool), self.mask], 1)
        # A stable sort by "is padding" moves real tokens to the front and keeps their order.
        order = (~mask).long().argsort(dim=1, stable=True)
        tokens, mask = tokens.gather(1, order), mask.gather(1, order)
        return Sequences(
            tokens.masked_fill(~mask, self.vocabulary.pad_id), mask, vocabulary=self.vocabulary
        )

    def with_completions(self, completions: "Sequences") -> "Sequences":
        """Replaces the completions; prompts and columns stay."""
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
                raise ValueError(
                    f"row {index} has {len(row)} tokens, but must have 1 to {max_length}"
                )
            tokens[index, : len(row)] = torch.tensor(row, dtype=torch.long)
        mask = torch.arange(max_length)[None, :] < lengths[:, None]
        return cls(tokens, mask, vocabulary=vocabulary)


def joined(parts: Sequence[Sequences]) -> Sequences:
    """Concatenates the completions of all parts, which have one width, and their prompts.

    The result has no columns. If only some parts have prompts, the others get empty ones. If only
    some parts have given texts, the others' are decoded, unless one of them lacks a vocabulary.
    """
    prompts, prompt_mask = _joined_prompts(parts)
    can_spell = [part.vocabulary is not None or part.given_texts is not None for part in parts]
    spelt = all(can_spell) and any(part.given_texts is not None for part in parts)
    with_prompts = all(
        part.vocabulary is not None or part.prompts is None or part.given_prompt_texts is not None
        for part in parts
    ) and any(part.given_prompt_texts is not None for part in parts)
    return Sequences(
        torch.cat([part.tokens for part in parts]),
        torch.cat([part.mask for part in parts]),
        prompts,
        prompt_mask,
        vocabulary=parts[0].vocabulary,
        given_texts=[text for part in parts for text in part.texts] if spelt else None,
        given_prompt_texts=(
            [text for part in parts for text in part.prompt_texts] if with_prompts else None
        ),
        eos_id=parts[0].eos_id,
    )


def _joined_prompts(parts: Sequence[Sequences]) -> tuple[Tensor | None, Tensor | None]:
    """Pads all prompts on the left to one width; (None, None) if no part has prompts."""
    width = max(0 if part.prompts is None else part.prompts.shape[1] for part in parts)
    if all(part.prompts is None for part in parts):
        return None, None
    ids, masks = [], []
    for part in parts:
        prompts, mask = part.prompts, part.prompt_mask
        if prompts is None or mask is None:
            prompts = part.tokens.new_zeros(len(part), 0)
            mask = part.mask.new_zeros(len(part), 0)
        fill = 0 if part.vocabulary is None else part.vocabulary.pad_id
        ids.append(pad(prompts, (width - prompts.shape[1], 0), value=fill))
        masks.append(pad(mask, (width - mask.shape[1], 0), value=False))
    return torch.cat(ids), torch.cat(masks)


@dataclass(frozen=True, eq=False)
class Trajectories:
    """Collected episodes: the emitted tokens, their log-probabilities and their rewards.

    Args:
        sequences: the emitted tokens.
        log_probs: log pi(y_t | y_<t) at collection, nats; 0 on padding.
        rewards: the environment's reward of each step; 0 on padding.
        parts: the unweighted reward of each part of the reward, by the part's name; NaN if the part
            does not apply to a sequence. None if the environment does not report parts.
        groups: a number for each row, the same for the completions of one prompt that are compared
            with each other. None if rows were not drawn in groups.
    """

    sequences: Sequences
    log_probs: Float[Tensor, "batch time"]
    rewards: Float[Tensor, "batch time"]
    parts: Mapping[str, Float[Tensor, " batch"]] | None = None
    groups: Int[Tensor, " batch"] | None = None

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
        """The reward that one part gave each sequence; the return if parts were not reported."""
        if self.parts is None:
            return self.returns
        return self.parts.get(name, torch.full_like(self.returns, torch.nan))
