"""Texts and prompts as rows of ids, cut by the pretrained tokenizer of a vocabulary."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqgan.data.model_folders import load_tokenizer
from seqgan.data.vocabulary import Vocabulary, tokenizer_ids
from seqgan.system.errors import ModelFolderError

Ids = NDArray[np.int64]


class Subwords:
    """Cuts texts into the subwords of a vocabulary's own tokenizer.

    Args:
        vocabulary: from `subword_vocabulary`.

    Raises:
        ModelFolderError: the tokenizer cannot be read, or has become another.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.tokenizer: Any = load_tokenizer(vocabulary.tokenizer)
        theirs = np.array(tokenizer_ids(vocabulary, self.tokenizer))
        self._ours = np.full(int(theirs.max()) + 1, -1)
        # In this order, so that a token that is both bos and eos is read as eos.
        self._ours[theirs[::-1]] = np.arange(len(theirs))[::-1]

    def texts(self, texts: Sequence[str]) -> list[Ids]:
        """The ids of each text, without special tokens around it.

        A text that is spelt like a special token is a text like any other.
        """
        rows = self.tokenizer(
            list(texts), add_special_tokens=False, split_special_tokens=True, verbose=False
        )
        return self._translated(rows["input_ids"])

    def prompts(self, prompts: Sequence[str], chat_template: bool) -> list[Ids]:
        """The ids of each prompt, with the special tokens that the tokenizer puts around it.

        Args:
            chat_template: whether each prompt becomes the user's message in the tokenizer's chat
                template, up to the place where the model's answer begins.

        Raises:
            ModelFolderError: there is no chat template, or it refuses the prompt.
        """
        if not chat_template:
            return self._translated(self.tokenizer(list(prompts), verbose=False)["input_ids"])
        return self.conversations([[{"role": "user", "content": prompt}] for prompt in prompts])

    def conversations(self, conversations: Sequence[Sequence[Mapping[str, Any]]]) -> list[Ids]:
        """The ids of each conversation in the tokenizer's chat template, ready for an answer.

        Args:
            conversations: the messages of each, with a `role` and a `content`.

        Raises:
            ModelFolderError: there is no chat template, or it refuses a conversation.
        """
        import jinja2

        if not self.tokenizer.chat_template:
            raise ModelFolderError(
                f"the tokenizer {self.vocabulary.tokenizer} has no chat template, which"
                " --task.chat-template asks for"
            )
        try:
            rows = self.tokenizer.apply_chat_template(
                list(conversations), add_generation_prompt=True, return_dict=True
            )
        except jinja2.TemplateError as error:
            raise ModelFolderError(
                f"the chat template of {self.vocabulary.tokenizer} refuses the messages:"
                f" {' '.join(str(error).split())}"
            ) from error
        return self._translated(rows["input_ids"])

    def _translated(self, rows: Sequence[Sequence[int]]) -> list[Ids]:
        return [self._ours[np.array(row, np.int64)] for row in rows]

    @property
    def minds_spaces(self) -> bool:
        """True if a word with a space before it is another token than the word alone."""
        bare, spaced = self.texts(["a", " a"])
        return not np.array_equal(bare, spaced)

    @property
    def digest(self) -> str:
        """A hash of all that decides how the tokenizer cuts texts."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        rules = backend.to_str() if backend is not None else str(self.tokenizer.get_vocab())
        return hashlib.sha256(rules.encode()).hexdigest()
