"""A reward model as a reward function of TRL's trainers.

TRL calls `f(prompts=..., completions=..., completion_ids=..., **columns)` and expects one number a
completion, None where the reward does not apply. Nothing of TRL is imported here.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from seqgan.data.metrics import Metrics
from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.rewards.adapters.coding import Coding, Message, TokenizerCoding, coding_of
from seqgan.rewards.adapters.finding import find_reward
from seqgan.rewards.adapters.functions import as_reward
from seqgan.rewards.base import RewardError, RewardModel, returns
from seqgan.system.errors import ConfigurationError

Text = str | Sequence[Message]  # a text in TRL: a string, or the messages of a conversation


@dataclass(frozen=True)
class Completion:
    """One completion: the text that TRL spelt, and the ids that the reward model reads."""

    prompt: str
    text: str
    prompt_ids: list[int]
    ids: list[int]  # never empty
    columns: Mapping[str, Any]


class TrlFunction:
    """A reward model as a function that `GRPOTrainer` and `RLOOTrainer` take.

    With a vocabulary, the reward model sees TRL's text in its own numbers, as a run numbers its
    real texts: in words or characters, in lower case if the vocabulary knows no capitals, or in the
    subwords of the vocabulary's tokenizer. The ids are cut at `max_length`; an eos follows if it
    fits. Without a vocabulary, the reward model sees TRL's token ids. In both cases `texts` and
    `prompt_texts` are TRL's own, and the data set's columns come along. (A `DiscriminatorReward`
    reads texts as the vocabulary spells them, since it is trained on real texts of that spelling.)

    Called by hand, a reward that reads text alone needs no `prompts` and no `completion_ids`:
    `as_trl(reward)(completions=["a dog runs"])`.

    An empty completion is read as a lone eos. The reward does not apply to a completion without
    any token, not even an eos. Words of a prompt that the vocabulary lacks (say a start symbol) are
    left out: a prompt is context, and is not judged.

    Args:
        reward: judges finished completions: a reward model, or a function or a module, of which
            `as_reward` makes one, or a name as `--reward` takes it. `__name__`, which TRL logs, is
            its name.
        vocabulary: the reward model's, if it reads numbers and not texts.
        max_length: tokens that are judged at most, eos included, and the width of each batch; by
            default a batch is as wide as its longest row.
        remember: number of the last judged completions that are kept for `take_generated`.
        eos_token_id: TRL's id of the end of a completion; a completion without it then gets no
            eos. By default the tokenizer's, or, without a tokenizer, every completion counts as
            finished.
        device: the reward model's.
        tokenizer: that of TRL's model, if there is no vocabulary. `encode` numbers real texts with
            it, so that a reward model that reads texts can learn.

    Attributes:
        sees_prompts: False hides the prompts from the reward model.

    Raises:
        ConfigurationError: a number is out of range, or there are a vocabulary and a tokenizer.
        ModelFolderError: the tokenizer of a vocabulary of subwords cannot be read.
    """

    def __init__(
        self,
        reward: RewardModel | Callable[..., Any] | str,
        vocabulary: Vocabulary | None = None,
        max_length: int | None = None,
        remember: int = 0,
        eos_token_id: int | None = None,
        device: torch.device | str = "cpu",
        tokenizer: Any = None,
    ) -> None:
        if vocabulary is not None and tokenizer is not None:
            raise ConfigurationError(
                "both a vocabulary and a tokenizer are given, but one of them must number"
                " the texts; a vocabulary of subwords knows its own tokenizer"
            )
        if max_length is not None and max_length < 1:
            raise ConfigurationError(f"max_length is {max_length}, but must be at least 1")
        if remember < 0:
            raise ConfigurationError(f"remember is {remember}, but must be at least 0")
        if isinstance(reward, str):
            reward = find_reward(reward, device=str(device))
        self.reward_model = as_reward(reward)
        self.__name__ = self.reward_model.name
        self.vocabulary = vocabulary
        self.max_length = max_length
        self.remember = remember
        self.eos_token_id = eos_token_id
        self.device = device
        self.metrics: Metrics = {}  # handed to TRL's log with the next batch
        self.sees_prompts = True
        self._coding: Coding | None = None if vocabulary is None else coding_of(vocabulary)
        if tokenizer is not None:
            self._coding = TokenizerCoding(tokenizer)
            self.eos_token_id = self._coding.eos_id if eos_token_id is None else eos_token_id
        self._judged: deque[Completion] = deque(maxlen=remember)

    def __call__(
        self,
        prompts: Sequence[Text] | None = None,
        completions: Sequence[Text] | None = None,
        completion_ids: Sequence[Sequence[int]] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """Returns one reward a completion, None where it does not apply.

        Args:
            prompts: one for each completion; None for none.
            columns: TRL's other arguments. The reward sees the lists among them that have an entry
                for each completion.

        Raises:
            TypeError: there are no completions.
            RewardError: a completion has a word that the vocabulary lacks; the reward reads ids,
                and there are neither a vocabulary nor token ids; the reward model failed.
        """
        if completions is None:
            raise TypeError(f'{self.__name__} needs completions: call it with completions=["..."]')
        prompts = [""] * len(completions) if prompts is None else prompts
        log_metric = columns.get("log_metric")
        if log_metric is not None:
            for name, value in self.metrics.items():
                log_metric(name, value)
            self.metrics = {}
        read = self._read(prompts, completions, completion_ids, columns)
        judged = [completion for completion in read if completion is not None]
        self._judged.extend(judged)
        rewards = iter(self._score(judged))
        return [None if completion is None else next(rewards) for completion in read]

    def take_generated(self) -> Sequences | None:
        """Returns the last `remember` completions judged since the last call, None if none were."""
        judged = list(self._judged)
        self._judged.clear()
        return self._batch(judged) if judged else None

    def encode(self, texts: Sequence[str], prompts: Sequence[str] | None = None) -> Sequences:
        """Numbers real texts like finished completions, to train the reward model on them.

        Args:
            prompts: one for each text, if the texts continue prompts.

        Raises:
            RewardError: there are neither a vocabulary nor a tokenizer, a word is not in the
                vocabulary, or a text has no token.
        """
        if self._coding is None:
            raise RewardError(
                self.__name__, "there is neither a vocabulary nor a tokenizer to number the texts"
            )
        rows = []
        contexts = [""] * len(texts) if prompts is None else prompts
        for index, (text, prompt) in enumerate(zip(texts, contexts, strict=True)):
            ids = self._ended(self._number(index, text))
            if not ids:
                raise RewardError(self.__name__, "the real text has no token", index, text)
            rows.append(Completion(prompt, text, self._coding.prompt(prompt, None), ids, {}))
        return self._batch(rows)

    @torch.no_grad()
    def _score(self, judged: Sequence[Completion]) -> list[float | None]:
        if not judged:
            return []
        values = returns(self.reward_model, self._batch(judged)).tolist()
        return [None if math.isnan(value) else value for value in values]

    def _read(
        self,
        prompts: Sequence[Text],
        completions: Sequence[Text],
        completion_ids: Sequence[Sequence[int]] | None,
        columns: Mapping[str, Any],
    ) -> list[Completion | None]:
        """Returns the completions in order, None for each without a token."""
        size = len(completions)
        by_row = {
            name: values
            for name, values in columns.items()
            if isinstance(values, list | tuple) and len(values) == size
        }
        read: list[Completion | None] = []
        for index, (prompt, completion) in enumerate(zip(prompts, completions, strict=True)):
            text = _text(completion, only="assistant")
            emitted = None if completion_ids is None else list(completion_ids[index])
            ids = self._ids(index, text, emitted)
            context, context_ids = self._context(prompt)
            row = {name: values[index] for name, values in by_row.items()}
            numbered = Completion(context, text, context_ids, ids, row)
            read.append(numbered if ids else None)
        return read

    def _ids(self, index: int, text: str, emitted: list[int] | None) -> list[int]:
        """Returns the ids of one completion that the reward model reads; there may be none."""
        if self.vocabulary is None:
            if emitted is None and not getattr(self.reward_model, "reads_ids", True):
                return [0]  # in place of ids that nobody reads
            if emitted is None:
                raise RewardError(
                    self.__name__,
                    "it may read token ids, but there are neither completion_ids nor a vocabulary"
                    " to make them of the text",
                    index,
                )
            return emitted[: self.max_length]
        ids = self._number(index, text)
        finished = self.eos_token_id is None or emitted is None or self.eos_token_id in emitted
        return self._ended(ids) if finished else ids[: self.max_length]

    def _ended(self, ids: list[int]) -> list[int]:
        """Returns the ids with an eos, if there is one, cut at `max_length`."""
        eos_id = self.eos_token_id if self.vocabulary is None else self.vocabulary.eos_id
        return [*ids, *([] if eos_id is None else [eos_id])][: self.max_length]

    def _number(self, index: int, text: str) -> list[int]:
        assert self._coding is not None
        try:
            return self._coding.text(text)
        except KeyError as error:
            raise RewardError(
                self.__name__,
                f"the word {error} is not in the vocabulary, which has no unk_word",
                index,
                text,
            ) from error

    def _context(self, prompt: Text) -> tuple[str, list[int]]:
        """Returns a prompt's text and ids."""
        if not self.sees_prompts:
            return "", []
        text = _text(prompt)
        if self._coding is None:
            return text, []
        return text, self._coding.prompt(text, None if isinstance(prompt, str) else prompt)

    def _batch(self, completions: Sequence[Completion]) -> Sequences:
        pad_id = 0 if self._coding is None else self._coding.pad_id
        rows = [completion.ids for completion in completions]
        width = self.max_length or max(map(len, rows))
        tokens, mask = _padded(rows, width, pad_id), _padded([[1] * len(r) for r in rows], width, 0)
        contexts = [completion.prompt_ids for completion in completions]
        width = max(map(len, contexts))
        prompts = prompt_mask = None
        if width:
            backwards = _padded([row[::-1] for row in contexts], width, pad_id)
            there = _padded([[1] * len(row) for row in contexts], width, 0)
            prompts, prompt_mask = backwards.flip(1), there.flip(1).bool()
        return Sequences(
            tokens,
            mask.bool(),
            prompts,
            prompt_mask,
            columns={
                name: [completion.columns[name] for completion in completions]
                for name in completions[0].columns
            },
            vocabulary=self.vocabulary,
            given_texts=[completion.text for completion in completions],
            given_prompt_texts=[completion.prompt for completion in completions],
            eos_id=self.eos_token_id if self.vocabulary is None else None,
        ).to(self.device)


as_trl = TrlFunction  # the name by which a reward model is made a function of TRL


def _text(text: Text, only: str | None = None) -> str:
    """Returns a string as it is, and the contents of messages one a line, of one role or of all."""
    if isinstance(text, str):
        return text
    return "\n".join(_content(m) for m in text if only is None or m.get("role") == only)


def _content(message: Message) -> str:
    """Returns a message's text: a string, or the text parts of a list; a tool call has none."""
    content = message.get("content") or ""
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part.get("type") == "text")


def _padded(rows: Sequence[Sequence[int]], width: int, fill: int) -> Int[Tensor, "batch width"]:
    """Returns the rows as one tensor, filled on the right."""
    return torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows], dtype=torch.long)
