"""Text to token ids and back, and the layout of the ids.

The ids are laid out so that the first `num_actions` are exactly what a generator may emit:

    0 .. num_words-1   words (or characters)
    eos_id             the end of a text, where the task has one
    bos_id             the generator's first input; may instead equal a word (the paper's oracle)
    pad_id             fills the right of shorter rows, in observations and batches only
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

Level = Literal["word", "character"]

_WORD = re.compile(r"\w+(?:['\u2019]\w+)*|[^\w\s]")


def split_words(text: str, lowercase: bool = True) -> list[str]:
    """Words with punctuation split off; an apostrophe inside a word stays (`don't`)."""
    return _WORD.findall(text.lower() if lowercase else text)


@dataclass(frozen=True)
class Vocabulary:
    """The emittable words and the special ids around them.

    Args:
        words: every word, or every character, in id order; all distinct.
        level: decides what joins the tokens of a decoded text, a space or nothing.
        has_eos: whether a text ends with an emitted end token.
        bos_word: id of the word that also starts every text; by default bos is an id of its own.
        unk_word: the word that stands for any unknown word; without it, unknown words raise.

    Raises:
        ValueError: fewer than two words, a repeated word, or a special word that is not a word.
    """

    words: tuple[str, ...]
    level: Level = "word"
    has_eos: bool = True
    bos_word: int | None = None
    unk_word: str | None = None

    def __post_init__(self) -> None:
        if len(self.words) < 2:
            raise ValueError(f"a vocabulary has at least 2 words, got {len(self.words)}")
        if len(self._ids) != len(self.words):
            raise ValueError("the words of a vocabulary are distinct, got a repeated one")
        if self.bos_word is not None and not 0 <= self.bos_word < len(self.words):
            raise ValueError(f"bos_word is the id of a word, got {self.bos_word}")
        if self.unk_word is not None and self.unk_word not in self._ids:
            raise ValueError(f"unk_word is one of the words, got {self.unk_word!r}")

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: index for index, word in enumerate(self.words)}

    @property
    def num_actions(self) -> int:
        """How many tokens can be emitted: the words, and eos where there is one."""
        return len(self.words) + self.has_eos

    @property
    def eos_id(self) -> int | None:
        return len(self.words) if self.has_eos else None

    @property
    def bos_id(self) -> int:
        return self.num_actions if self.bos_word is None else self.bos_word

    @property
    def pad_id(self) -> int:
        return max(self.num_actions, self.bos_id + 1)

    @property
    def unk_id(self) -> int | None:
        return None if self.unk_word is None else self._ids[self.unk_word]

    @property
    def size(self) -> int:
        """Number of ids in all, specials included: one more than the largest, `pad_id`."""
        return self.pad_id + 1

    def encode(self, tokens: Sequence[str]) -> list[int]:
        """Ids of a tokenised text, without eos. Raises KeyError for a word without an id."""
        if self.unk_word is None:
            return [self._ids[token] for token in tokens]
        unknown = self._ids[self.unk_word]
        return [self._ids.get(token, unknown) for token in tokens]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of a row of ids, up to its eos or its padding."""
        tokens = []
        for index in ids:
            if index >= len(self.words):
                break
            tokens.append(self.words[index])
        return (" " if self.level == "word" else "").join(tokens)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Vocabulary":
        return cls(**{**fields, "words": tuple(fields["words"])})
