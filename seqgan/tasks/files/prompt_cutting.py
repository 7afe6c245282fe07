"""Prompts and continuations to numbers: words as they are met, or a tokenizer's subwords."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from seqgan.data.vocabulary import Vocabulary, subword_vocabulary
from seqgan.data.words import split_text
from seqgan.tasks.files.prompt_columns import Message, as_text
from seqgan.tasks.files.prompt_rows import Numbers, PromptRows, ReadRows
from seqgan.tasks.files.subwords import Ids, Subwords
from seqgan.tasks.files.text import UNKNOWN
from seqgan.tasks.files.text_files import TextFileError
from seqgan.tasks.files.text_numbering import END
from seqgan.tasks.files.text_splits import SPLITS, Labels, new_ids, rank_words, subword_ids

WordLevel = Literal["word", "character"]


class WordNumbers:
    """Numbers words (or characters) as they are met."""

    def __init__(self, level: WordLevel, lowercase: bool, min_count: int) -> None:
        self.level, self.lowercase, self.min_count = level, lowercase, min_count
        self.unit: str = level
        self.numbers = {"": END}

    def texts(self, texts: Sequence[str]) -> list[Numbers]:
        """The numbers of each text's words."""
        rows = []
        for text in texts:
            words = split_text(text, self.level, self.lowercase)
            numbers = [self.numbers.setdefault(word, len(self.numbers)) for word in words]
            rows.append(np.array(numbers, np.uint32))
        return rows

    def prompts(self, prompts: Sequence[str | tuple[Message, ...]]) -> list[Numbers]:
        """The numbers of each prompt's words; of messages, those of their texts."""
        return self.texts([each if isinstance(each, str) else as_text(each) for each in prompts])

    def vocabulary(
        self, name: str, rows: ReadRows, labels: Labels
    ) -> tuple[Vocabulary, NDArray[np.int64]]:
        """The vocabulary, `<unk>` and the training split's words, and the id of each number."""
        chosen = np.flatnonzero(labels == SPLITS.index("train")).tolist()
        train = [part[row] for part in (rows.prompts, rows.continuations) for row in chosen]
        counts = np.bincount(np.concatenate(train), minlength=len(self.numbers))
        counts[END] = 0
        words = list(self.numbers)
        ranked = rank_words(words, counts, self.min_count)
        if len(ranked) < 2:
            raise TextFileError(
                f"{name} has {len(ranked)} of {int((counts > 0).sum())} {self.unit}s that"
                f" occur --task.min-count {self.min_count} times or more in the training"
                " split, but at least 2 are needed"
            )
        kept = (UNKNOWN, *(words[number] for number in ranked))
        vocabulary = Vocabulary(kept, level=self.level, unk_word=UNKNOWN)
        assert vocabulary.eos_id is not None
        return vocabulary, new_ids(ranked, len(words), 0, vocabulary.eos_id)

    def note(self, test: PromptRows, rows: ReadRows) -> str:
        """A note for the description: the share of unknown words in the test split."""
        ids = test.continuations.ids
        share = np.count_nonzero(ids == 0) / (len(ids) - len(test))
        return f", {share:.1%} of the test continuations' unknown"


class SubwordNumbers:
    """Numbers the tokens of a pretrained tokenizer as `subword_ids` expects.

    Args:
        tokenizer: a model folder or hub name.
        chat_template: see `Subwords.prompts`.

    Raises:
        ModelFolderError: the tokenizer cannot be read, or has no end-of-text token.
    """

    unit = "subword"

    def __init__(self, tokenizer: str, chat_template: bool) -> None:
        self.subwords = Subwords(subword_vocabulary(tokenizer))
        self.chat_template = chat_template

    def texts(self, texts: Sequence[str]) -> list[Numbers]:
        return self._numbers(self.subwords.texts(texts))

    def prompts(self, prompts: Sequence[str | tuple[Message, ...]]) -> list[Numbers]:
        """The numbers of each prompt's tokens: of texts, or of messages in the chat template.

        Raises:
            ModelFolderError: the tokenizer has no chat template, or it refuses a prompt.
            TextFileError: there are messages, but nobody asked for the chat template.
        """
        texts = [prompt for prompt in prompts if isinstance(prompt, str)]
        if len(texts) == len(prompts):
            return self._numbers(self.subwords.prompts(texts, self.chat_template))
        if not self.chat_template:
            raise TextFileError(
                "the prompts are chat messages; --task.chat-template puts them into the chat"
                " template of the tokenizer"
            )
        as_messages = [
            [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
            for prompt in prompts
        ]
        return self._numbers(self.subwords.conversations(as_messages))

    def _numbers(self, rows: Sequence[Ids]) -> list[Numbers]:
        return [(row + END + 1).astype(np.uint32) for row in rows]

    def vocabulary(
        self, name: str, rows: ReadRows, labels: Labels
    ) -> tuple[Vocabulary, NDArray[np.int64]]:
        """The tokenizer's vocabulary, whatever the splits, and the id of each number."""
        return self.subwords.vocabulary, subword_ids(self.subwords.vocabulary)

    def note(self, test: PromptRows, rows: ReadRows) -> str:
        if self.chat_template or rows.num_spaced or not self.subwords.minds_spaces:
            return ""
        return " (no continuation begins with a space, as a word does for this tokenizer)"
