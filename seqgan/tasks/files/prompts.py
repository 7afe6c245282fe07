"""Prompts and their continuations as a task: a file with two columns, or a data set.

The splits are drawn over *distinct* prompts; prompts with equal tokens are the same. So all
continuations of a prompt land in one split, and no prompt of dev or test was trained on. The
vocabulary comes from the training split alone, or from a pretrained tokenizer. The data's other
columns go along with each row, for rewards that ask for them by name.

Prompts alone make rows without a single token behind the prompt (`seqgan.tasks.base.has_texts`), of
which nothing can be learnt but by a reward.

A tokenizer cuts prompts and continuations apart from each other, and adds no space. For most
tokenizers a word begins with its space. So where a prompt ends in a word, its continuation begins
with a space (" blue."), as in the prompt-completion data of TRL.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch

from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.data.words import split_text
from seqgan.models.generators.base import GeneratorConfig, context_window, tokenizer_folder
from seqgan.system.checks import Portion, Seed, Size, at_least, check_settings, expand_home
from seqgan.system.errors import DataError
from seqgan.tasks.base import FixedTask, Split
from seqgan.tasks.files.prompt_columns import read_pair
from seqgan.tasks.files.prompt_cutting import SubwordNumbers, WordNumbers
from seqgan.tasks.files.prompt_rows import PromptRows, ReadRows, left_padded
from seqgan.tasks.files.prompt_sources import Record, open_records
from seqgan.tasks.files.subwords import Subwords
from seqgan.tasks.files.text_files import TextFileError, read_texts, stream_records, text_of
from seqgan.tasks.files.text_numbering import END
from seqgan.tasks.files.text_splits import SPLITS, Labels, check_fractions, draw_splits

TOGETHER = 1024  # records that are cut into tokens at a time


@dataclass(frozen=True)
class PromptsConfig:
    """Settings of a task with prompts: the data, and their tokens and splits.

    Raises:
        DataError: a field breaks the rule that its comment states.
    """

    kind: Literal["prompts"] = "prompts"
    # The data: .jsonl (one object a line), .csv (with a header), a folder that `save_to_disk` of
    # Hugging Face's datasets wrote, or a hub name, as user/name or user/name:split; or .txt, a
    # prompt alone in each line.
    path: str = ""
    # The column of the prompts, which are to be continued: texts, or chat messages, of which the
    # last is the continuation where there is no other column.
    prompt_column: str = "prompt"
    # The column of the continuations; where there is none of the default name, `completion`; empty:
    # prompts alone. Other columns are there for rewards.
    continuation_column: str = "continuation"
    # A model folder (or hub name) whose tokenizer cuts the texts into subwords; empty: words or
    # characters, or the tokenizer of a pretrained generator.
    tokenizer: str = ""
    # Whether prompts are put into the tokenizer's chat template: a text is the user's message.
    chat_template: bool = False
    # A token, if there is no tokenizer: a word (in NFC, punctuation split off) or a character.
    level: Literal["word", "character"] = "word"
    # Whether upper case becomes lower case, without a tokenizer.
    lowercase: bool = True
    # Words (or characters) that the training split holds fewer times become <unk>; at least 1.
    min_count: Size = 2
    # Longest prompt in tokens, at least 1; a longer one is an error.
    max_prompt_length: Size = 512
    # Longest continuation in tokens, eos included, at least 2; longer ones are dropped and counted.
    max_length: Annotated[int, at_least(2)] = 64
    # Share of the distinct prompts held out for dev: above 0, and with test_fraction below 1.
    dev_fraction: Portion = 0.05
    # Share of the distinct prompts held out for test: above 0, and with dev_fraction below 1.
    test_fraction: Portion = 0.05
    # Distinct prompts that dev and test have at most, each; the rest is for training; at least 1.
    max_heldout: Size = 10_000
    # Decides which prompts fall into which split; 0 to 2**63 - 1.
    seed: Seed = 0

    def __post_init__(self) -> None:
        check_settings("task", self, DataError)
        expand_home(self, "path", "tokenizer")
        if self.prompt_column == self.continuation_column:
            raise DataError(
                "task.prompt_column and task.continuation_column are both"
                f" {self.prompt_column!r}, but must be two columns"
            )
        check_fractions(self.dev_fraction, self.test_fraction)

    def build(self, generator: GeneratorConfig) -> FixedTask:
        """Reads the task. The texts are cut by `tokenizer`, else by the generator's own, if any."""
        tokenizer = self.tokenizer or tokenizer_folder(generator)
        return prompts_task(replace(self, tokenizer=tokenizer), context_window(generator))

    def encode_prompts(
        self, texts: Sequence[str], vocabulary: Vocabulary, generator: GeneratorConfig
    ) -> Sequences:
        """Makes sequences of a user's own prompts, in the vocabulary of a task with these settings.

        Raises:
            DataError: there is no prompt, or one is blank, or too long for the window.
            ModelFolderError: the tokenizer cannot be read, or has become another.
        """
        return encode_prompts(texts, self, vocabulary, context_window(generator))


def prompts_task(config: PromptsConfig, window: int | None = None) -> FixedTask:
    """Reads prompts and continuations into train, dev and test splits, in the order of the data.

    The words of the vocabulary are `<unk>`, then those of the training split's prompts and
    continuations by falling count. With a tokenizer they are its tokens. Continuations end with
    eos.

    Args:
        window: tokens that the generator reads at once; None for no limit.

    Raises:
        TextFileError: the data cannot be read, a record is malformed, a prompt is blank or too
            long, or too little is left: fewer than 3 distinct prompts, or fewer than 2 words; or
            there are prompts alone, but no tokenizer.
        ModelFolderError: the tokenizer cannot be read, or the package `datasets` is missing.
    """
    if window is not None and config.max_length >= window:
        raise TextFileError(
            f"task.max_length is {config.max_length}, which leaves no room for a prompt in"
            f" the model's context window of {window} tokens; give a smaller"
            " --task.max-length"
        )
    name, records = open_records(config.path)
    alone = not config.continuation_column
    if alone and not config.tokenizer:
        raise TextFileError(
            f"{name} has prompts alone, from which no generator learns words to go on with; a"
            " pretrained one has its own: --model FOLDER"
        )
    cut: SubwordNumbers | WordNumbers = WordNumbers(
        config.level, config.lowercase, config.min_count
    )
    if config.tokenizer:
        cut = SubwordNumbers(config.tokenizer, config.chat_template)
    data = ReadRows()
    for some in _batches(records):
        _read(some, config, cut, window, data)
    labels = _draw_splits(name, data, config)
    vocabulary, ids = cut.vocabulary(name, data, labels)
    splits: dict[Split, PromptRows] = {
        split: data.rows(np.flatnonzero(labels == number), ids, vocabulary, config.max_length)
        for number, split in enumerate(SPLITS)
    }
    sizes = ", ".join(f"{len(rows)} {split}" for split, rows in splits.items())
    kept = "prompts alone" if alone else _dropped(data, config)
    description = (
        f"{name}: {data.num_records} records, {kept};"
        f" {data.num_distinct} distinct prompts, {sizes}; {len(vocabulary.words)} {cut.unit}s"
        f"{'' if alone else cut.note(splits['test'], data)}"
    )
    return FixedTask(
        vocabulary,
        config.max_length,
        splits,
        description=description,
        max_prompt_length=max(map(len, data.prompts)),
    )


def encode_prompts(
    texts: Sequence[str],
    config: PromptsConfig,
    vocabulary: Vocabulary,
    window: int | None = None,
) -> Sequences:
    """Makes sequences of a user's own prompts, with empty completions, in a task's vocabulary.

    Raises:
        DataError: there is no prompt, or one is blank, or too long for the window.
        ModelFolderError: the tokenizer cannot be read, or has become another.
    """
    if vocabulary.level == "subword":
        rows = Subwords(vocabulary).prompts(texts, config.chat_template)
    else:
        rows = [
            np.array(vocabulary.encode(split_text(text, config.level, config.lowercase)), np.int64)
            for text in texts
        ]
    if not rows:
        raise DataError("there is no prompt, but at least one is needed")
    for number, (text, row) in enumerate(zip(texts, rows, strict=True), 1):
        if not text.strip() or not len(row):
            raise DataError(f"prompt {number} is {text!r}, but must be a text that is not blank")
        _check_window(f"prompt {number}", len(row), config, window)
    lengths = np.array([len(row) for row in rows])
    prompts, mask = left_padded(np.concatenate(rows), lengths, vocabulary.pad_id)
    nothing = torch.zeros(len(rows), 0, dtype=torch.long)
    return Sequences(
        nothing,
        nothing.bool(),
        prompts,
        mask,
        vocabulary=vocabulary,
        given_prompt_texts=list(texts),
    )


def read_prompts(path: Path, column: str) -> list[str]:
    """Reads a file's prompts: a column of .jsonl or .csv, else the lines that are not blank.

    Raises:
        TextFileError: the file cannot be read, or a record is malformed.
    """
    if path.suffix.lower() in (".jsonl", ".csv"):
        return [text_of(place, record, column) for place, record in stream_records(path)]
    return read_texts(path)


def _batches(records: Iterator[Record]) -> Iterator[list[Record]]:
    while batch := list(islice(records, TOGETHER)):
        yield batch


def _read(
    records: Sequence[Record],
    config: PromptsConfig,
    cut: WordNumbers | SubwordNumbers,
    window: int | None,
    data: ReadRows,
) -> None:
    """Cuts records into tokens, and keeps those whose continuation is neither blank nor long."""
    pairs = [
        read_pair(place, record, config.prompt_column, config.continuation_column)
        for place, record in records
    ]
    prompts = cut.prompts([pair.messages or pair.prompt for pair in pairs])
    for (place, _), pair, row in zip(records, pairs, prompts, strict=True):
        if not pair.prompt.strip() or not len(row):
            raise TextFileError(f"{place}: the prompt is {pair.prompt!r}, but must be a text")
    continuations = cut.texts([pair.continuation for pair in pairs])
    rows = zip(records, pairs, prompts, continuations, strict=True)
    for (place, record), pair, prompt_row, continuation in rows:
        spelt = pair.continuation
        _check_length(place, len(prompt_row), config, window)
        more = {name: value for name, value in record.items() if name not in pair.columns}
        if not config.continuation_column:
            data.num_records += 1
            data.add(pair.prompt, prompt_row, np.empty(0, np.uint32), more)
            continue
        is_blank = not spelt.strip() or not len(continuation)
        data.num_records += 1
        data.num_blank += is_blank
        data.num_long += len(continuation) >= config.max_length
        if is_blank or len(continuation) >= config.max_length:
            continue
        data.num_spaced += pair.prompt[-1].isspace() or spelt[0].isspace()
        ended = np.append(continuation, np.uint32(END))
        data.add(pair.prompt, prompt_row, ended, more)


def _check_length(place: str, length: int, config: PromptsConfig, window: int | None) -> None:
    _check_window(place, length, config, window)
    if length > config.max_prompt_length:
        raise TextFileError(
            f"{place}: the prompt has {length} tokens, more than --task.max-prompt-length"
            f" {config.max_prompt_length}"
        )


def _check_window(place: str, length: int, config: PromptsConfig, window: int | None) -> None:
    if window is not None and length + config.max_length > window:
        raise TextFileError(
            f"{place}: the {length} tokens of the prompt and --task.max-length"
            f" {config.max_length} of its continuation do not fit the model's context"
            f" window of {window} tokens"
        )


def _draw_splits(name: str, data: ReadRows, config: PromptsConfig) -> Labels:
    if data.num_distinct < 3:
        dropped = f" ({_dropped(data, config)})" if config.continuation_column else ""
        raise TextFileError(
            f"{name} has {data.num_distinct} distinct prompts{dropped},"
            " but at least 3 are needed, one for each of train, dev and test"
        )
    return draw_splits(
        np.array(data.firsts),
        config.dev_fraction,
        config.test_fraction,
        config.max_heldout,
        config.seed,
    )


def _dropped(data: ReadRows, config: PromptsConfig) -> str:
    return (
        f"{data.num_blank} blank and {data.num_long} too long (over {config.max_length} tokens)"
        " dropped"
    )
