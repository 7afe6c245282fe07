"""Turns text into token ids and back, and lays out the ids.

The ids are laid out so that the first `num_actions` are exactly what a generator may emit:

    0 .. num_words-1   words (or characters)
    eos_id             the end of a text, where the task has one
    bos_id             the generator's first input; may instead equal a word (the paper's oracle)
    specials           tokens that prompts may hold and no generator emits
    pad_id             fills the right of shorter rows, in observations and batches only

A pretrained tokenizer orders its ids otherwise. The pretrained models translate ids by their
tokens; all other code sees only the layout above.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Literal

from seqgan.data.model_folders import ending_tokenizer, load_tokenizer
from seqgan.data.words import split_words as split_words
from seqgan.system.errors import ConfigurationError, ModelFolderError

Level = Literal["word", "character", "subword"]

SHOWN = 6  # words in a vocabulary's representation


@dataclass(frozen=True, repr=False)
class Vocabulary:
    """The emittable words and the special ids around them.

    Args:
        words: every word, or every character, in id order; all distinct.
        level: how `decode` joins tokens: words by a space, characters by nothing, subwords by
            their tokenizer.
        has_eos: True if the generator emits an end token after each text.
        bos_word: id of a word that also serves as bos; None gives bos an id of its own.
        unk_word: the word that replaces unknown words; None makes unknown words an error.
        specials: further tokens that only prompts hold; their ids lie between bos and pad.
        tokenizer: folder or hub name of the subwords' tokenizer; empty for words and characters.

    Raises:
        ConfigurationError: fewer than two words, a repeated word, a special word that is not a
            word, or subwords without a tokenizer.
    """

    words: tuple[str, ...]
    level: Level = "word"
    has_eos: bool = True
    bos_word: int | None = None
    unk_word: str | None = None
    specials: tuple[str, ...] = ()
    tokenizer: str = ""

    def __post_init__(self) -> None:
        if len(self.words) < 2:
            raise ConfigurationError(
                f"the vocabulary has too few words, {len(self.words)}, but must have at least 2"
            )
        if len(self._ids) != len(self.words):
            raise ConfigurationError(
                "the vocabulary has a word twice, but its words must be distinct"
            )
        if (self.level == "subword") != bool(self.tokenizer):
            raise ConfigurationError(
                f"level is {self.level} and tokenizer is {self.tokenizer!r}, but a"
                " vocabulary has a tokenizer only where its level is subword"
            )
        if self.bos_word is not None and not 0 <= self.bos_word < len(self.words):
            raise ConfigurationError(f"bos_word is {self.bos_word}, but must be the id of a word")
        if self.unk_word is not None and self.unk_word not in self._ids:
            raise ConfigurationError(f"unk_word is {self.unk_word!r}, but must be one of the words")

    def __repr__(self) -> str:
        """The number of words and the first of them, so that a large vocabulary fits in a line."""
        first = ", ".join(map(repr, self.words[:SHOWN]))
        more = ", ..." if len(self.words) > SHOWN else ""
        rest = f", tokenizer {self.tokenizer!r}" if self.tokenizer else ""
        ending = "" if self.has_eos else ", no eos"
        return f"<vocabulary of {len(self.words)} {self.level}s: {first}{more}{ending}{rest}>"

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: index for index, word in enumerate(self.words)}

    @property
    def num_actions(self) -> int:
        """Number of tokens a generator can emit: all words, and eos if the vocabulary has one."""
        return len(self.words) + self.has_eos

    @property
    def eos_id(self) -> int | None:
        return len(self.words) if self.has_eos else None

    @property
    def bos_id(self) -> int:
        return self.num_actions if self.bos_word is None else self.bos_word

    @property
    def pad_id(self) -> int:
        return max(self.num_actions, self.bos_id + 1) + len(self.specials)

    @property
    def special_ids(self) -> dict[str, int]:
        """Ids of the tokens that only prompts hold."""
        first = self.pad_id - len(self.specials)
        return {token: first + index for index, token in enumerate(self.specials)}

    @property
    def unk_id(self) -> int | None:
        return None if self.unk_word is None else self._ids[self.unk_word]

    @property
    def size(self) -> int:
        """Number of all ids, specials included; `pad_id` is the largest id."""
        return self.pad_id + 1

    def encode(self, tokens: Sequence[str]) -> list[int]:
        """Ids of a tokenised text, without eos. Raises KeyError for a word without an id."""
        if self.unk_word is None:
            return [self._ids[token] for token in tokens]
        unknown = self._ids[self.unk_word]
        return [self._ids.get(token, unknown) for token in tokens]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of a row of ids, up to the first eos or padding."""
        tokens = []
        for index in ids:
            if index >= len(self.words):
                break
            tokens.append(self.words[index])
        if self.level == "subword":
            return str(load_tokenizer(self.tokenizer).convert_tokens_to_string(tokens))
        return (" " if self.level == "word" else "").join(tokens)

    def decode_prompt(self, ids: Sequence[int]) -> str:
        """The text of a prompt's ids, without special tokens."""
        return self.decode([index for index in ids if index < len(self.words)])

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Vocabulary":
        lists = {name: tuple(fields.get(name, ())) for name in ("words", "specials")}
        return cls(**{**fields, **lists})


def subword_vocabulary(tokenizer: str) -> Vocabulary:
    """Makes a vocabulary of a pretrained tokenizer's tokens.

    The words are all tokens but the special ones, in the tokenizer's order. eos ends a text. bos
    starts it; a tokenizer without bos uses eos. Other special tokens occur in prompts only.

    Args:
        tokenizer: a model folder, or a hub name.

    Raises:
        ModelFolderError: the place holds no tokenizer, or one without eos.
    """
    loaded = ending_tokenizer(tokenizer)
    by_id = sorted((index, token) for token, index in loaded.get_vocab().items())
    special = set(loaded.all_special_tokens)
    special |= {token.content for token in loaded.added_tokens_decoder.values() if token.special}
    ends = {loaded.eos_token, loaded.bos_token}
    unknown = loaded.unk_token if loaded.unk_token not in ends else None
    special -= {unknown}  # the unknown token occurs in real texts, so a generator may emit it
    return Vocabulary(
        tuple(token for _, token in by_id if token not in special),
        level="subword",
        unk_word=unknown,
        specials=tuple(token for _, token in by_id if token in special - ends),
        tokenizer=tokenizer,
    )


def tokenizer_ids(vocabulary: Vocabulary, tokenizer: Any) -> list[int]:
    """Lists the tokenizer's id of each of the vocabulary's ids below `pad_id`.

    A pretrained model reads the tokenizer's ids, so its generator translates with this list.

    Args:
        tokenizer: a pretrained tokenizer with an eos, which also stands in for a missing bos.

    Raises:
        ModelFolderError: the tokenizer lacks a word, or the vocabulary has no eos.
    """
    if not vocabulary.has_eos:
        raise ModelFolderError(
            "the vocabulary has no eos, but a pretrained model must end its texts"
        )
    by_token = tokenizer.get_vocab()
    eos_token = tokenizer.eos_token
    bos = [] if vocabulary.bos_word is not None else [tokenizer.bos_token or eos_token]
    tokens = [*vocabulary.words, eos_token, *bos, *vocabulary.specials]
    missing = [token for token in tokens if token not in by_token]
    if missing:
        raise ModelFolderError(
            f"{len(missing)} words of the task are no tokens of the model's tokenizer,"
            f" {missing[0]!r} first"
        )
    return [by_token[token] for token in tokens]
