"""Texts of another program in the ids that a reward model reads: as a run numbers its own texts."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from seqgan.data.vocabulary import Vocabulary
from seqgan.data.words import split_text
from seqgan.tasks.files.subwords import Subwords

Message = Mapping[str, Any]


class Coding(ABC):
    """Turns texts into rows of ids."""

    eos_id: int | None  # ends a finished text
    pad_id: int

    @abstractmethod
    def text(self, text: str) -> list[int]:
        """The ids of a text without eos. Raises KeyError for a word without an id."""

    @abstractmethod
    def prompt(self, prompt: str, messages: Sequence[Message] | None) -> list[int]:
        """The ids of a prompt; there may be none.

        Args:
            messages: those of the prompt, if it is a conversation.
        """


class WordCoding(Coding):
    """Words or characters, in lower case if the vocabulary knows no capitals.

    Words of a prompt that the vocabulary lacks are left out, if no word stands for them.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.eos_id, self.pad_id = vocabulary.eos_id, vocabulary.pad_id
        words = [word for word in vocabulary.words if word != vocabulary.unk_word]
        self._known = frozenset(words)
        self._lowercase = all(word == word.lower() for word in words)
        self._spaces = any(word.isspace() for word in words)

    def text(self, text: str) -> list[int]:
        return self.vocabulary.encode(self._split(text))

    def prompt(self, prompt: str, messages: Sequence[Message] | None) -> list[int]:
        tokens = self._split(prompt)
        if self.vocabulary.unk_word is None:
            tokens = [token for token in tokens if token in self._known]
        return self.vocabulary.encode(tokens)

    def _split(self, text: str) -> list[str]:
        level = self.vocabulary.level
        assert level != "subword"
        return split_text(text, level, self._lowercase, self._spaces)


class SubwordCoding(Coding):
    """The tokens of the vocabulary's own tokenizer. A blank text has none.

    A conversation goes through the tokenizer's chat template, if it has one.

    Raises:
        ModelFolderError: the tokenizer cannot be read, or has become another.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.subwords = Subwords(vocabulary)
        self.eos_id, self.pad_id = vocabulary.eos_id, vocabulary.pad_id

    def text(self, text: str) -> list[int]:
        return self.subwords.texts([text])[0].tolist() if text.strip() else []

    def prompt(self, prompt: str, messages: Sequence[Message] | None) -> list[int]:
        if messages is not None and self.subwords.tokenizer.chat_template:
            return self.subwords.conversations([messages])[0].tolist()
        return self.subwords.prompts([prompt], chat_template=False)[0].tolist() if prompt else []


class TokenizerCoding(Coding):
    """The ids of a tokenizer of transformers as they are; prompts have none."""

    pad_id = 0

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.eos_id: int | None = tokenizer.eos_token_id

    def text(self, text: str) -> list[int]:
        ids = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return [int(index) for index in ids]

    def prompt(self, prompt: str, messages: Sequence[Message] | None) -> list[int]:
        return []


def coding_of(vocabulary: Vocabulary) -> Coding:
    """Returns the coding of a run with this vocabulary.

    Raises:
        ModelFolderError: the tokenizer of its subwords cannot be read.
    """
    return SubwordCoding(vocabulary) if vocabulary.level == "subword" else WordCoding(vocabulary)
