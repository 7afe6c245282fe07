"""The user's own text file as a task: read, tokenised, split, and counted in one line.

The splits are drawn over *distinct* texts, where two texts are the same if their tokens are
(before rare words become `<unk>`). All copies of a text land in one split, so no text of dev or
test was trained on, and the copies stay, so a common text is as common in training as in the
file. The vocabulary comes from the training split alone. Two texts that differ in unknown words
only decode to the same text, and may do so from different splits.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Literal, get_args

import torch

from seqgan.sequences import Sequences
from seqgan.tasks.base import FixedTask, Split
from seqgan.tasks.text_files import TextFileError, parse_texts, read_file
from seqgan.vocabulary import Level, Vocabulary, split_words

# No text holds it as a token: splitting cuts it into "<", "unk" and ">", or into characters.
UNKNOWN = "<unk>"

Tokens = tuple[str, ...]


@dataclass(frozen=True)
class TextConfig:
    """Which file to read, and how to cut it into tokens and splits.

    Raises:
        ValueError: a field breaks the rule that its comment states.
    """

    kind: Literal["text"] = "text"
    # The file: .txt (one text a line), .jsonl (one object a line) or .csv (with a header).
    path: str = ""
    # The field that holds the text, in .jsonl and .csv files.
    column: str = "text"
    # What a token is: a word (punctuation split off) or a character.
    level: Level = "word"
    # Whether upper case becomes lower case.
    lowercase: bool = True
    # Character level: whether white space counts as characters. Off for a file whose characters
    # are separated by spaces.
    spaces: bool = True
    # Words (or characters) that the training split holds fewer times become <unk>; at least 1.
    min_count: int = 2
    # Longest sequence in tokens, eos included, at least 2; longer texts are dropped and counted.
    max_length: int = 40
    # Share of the distinct texts held out for dev: above 0, and with test_fraction below 1.
    dev_fraction: float = 0.05
    # Share of the distinct texts held out for test: above 0, and with dev_fraction below 1.
    test_fraction: float = 0.05
    # Decides which texts fall into which split; 0 to 2**63 - 1.
    seed: int = 0

    def __post_init__(self) -> None:
        if self.level not in get_args(Level):
            raise ValueError(
                f"task.level is one of {', '.join(get_args(Level))}, got {self.level!r}"
            )
        if self.min_count < 1:
            raise ValueError(f"task.min_count is at least 1, got {self.min_count}")
        if self.max_length < 2:
            raise ValueError(f"task.max_length is at least 2 (a token, eos), got {self.max_length}")
        if not 0 < self.dev_fraction < 1:
            raise ValueError(f"task.dev_fraction is between 0 and 1, got {self.dev_fraction}")
        if not 0 < self.test_fraction < 1:
            raise ValueError(f"task.test_fraction is between 0 and 1, got {self.test_fraction}")
        if not self.dev_fraction + self.test_fraction < 1:
            raise ValueError(
                "task.dev_fraction and test_fraction sum to less than 1,"
                f" got {self.dev_fraction} + {self.test_fraction}"
            )
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"task.seed is 0 to 2**63 - 1, got {self.seed}")


def text_task(config: TextConfig) -> FixedTask:
    """Reads a file into train, dev and test splits; within a split, texts keep the file's order.

    The words of the vocabulary are `<unk>`, then those of the training split by falling count,
    equal counts in code-point order. `<unk>` can be emitted, because the training data hold it
    (with `min_count=1` they do not, and only dev and test can). Sequences are padded to
    `config.max_length` and end with eos. The description counts copies among its texts, `<unk>`
    among its words, and no eos among its test tokens.

    Raises:
        TextFileError: the file cannot be read or decoded, a record is malformed, or too little is
            left: fewer than 3 distinct texts, or fewer than 2 words beside `<unk>`.
    """
    if not config.path:
        raise TextFileError("task.path names a text file, got nothing")
    path = Path(config.path)
    data = read_file(path)
    records = parse_texts(path, data, config.column)
    texts = [_tokenize(text, config) for text in records if text.strip()]
    kept = [tokens for tokens in texts if len(tokens) < config.max_length]  # one place is eos's
    num_blank, num_long = len(records) - len(texts), len(texts) - len(kept)
    if texts and not kept:
        raise TextFileError(
            f"{path}: max_length is at least the length of the shortest text,"
            f" {min(map(len, texts)) + 1} tokens with eos, got {config.max_length}"
        )
    num_distinct = len(set(kept))
    dropped = f"{num_blank} blank and {num_long} too long (over {config.max_length} tokens) dropped"
    if num_distinct < 3:
        raise TextFileError(
            f"{path}: at least 3 distinct texts are needed, one for each of train, dev and test,"
            f" got {num_distinct} ({dropped})"
        )
    splits = _split(kept, config)
    vocabulary = _build_vocabulary(path, splits["train"], config)
    sequences = {split: _encode(rows, vocabulary, config) for split, rows in splits.items()}
    sizes = ", ".join(f"{len(rows)} {split}" for split, rows in splits.items())
    description = (
        f"{path.name}: {len(kept)} texts ({num_distinct} distinct), {dropped}; {sizes};"
        f" {len(vocabulary.words)} {config.level}s,"
        f" {_unknown_share(splits['test'], vocabulary):.1%} of test tokens unknown;"
        f" sha256 {hashlib.sha256(data).hexdigest()[:12]}"
    )
    return FixedTask(vocabulary, config.max_length, sequences, description=description)


def _tokenize(text: str, config: TextConfig) -> Tokens:
    if config.level == "word":
        return tuple(split_words(text, config.lowercase))
    characters = text.lower() if config.lowercase else text
    return tuple(characters if config.spaces else "".join(characters.split()))


def _split(texts: Sequence[Tokens], config: TextConfig) -> dict[Split, list[Tokens]]:
    """Splits at least 3 distinct texts, at least one in each split, copies kept together."""
    distinct = list(dict.fromkeys(texts))
    num_dev = min(max(round(config.dev_fraction * len(distinct)), 1), len(distinct) - 2)
    num_test = min(max(round(config.test_fraction * len(distinct)), 1), len(distinct) - num_dev - 1)
    rng = torch.Generator().manual_seed(config.seed)
    order = torch.randperm(len(distinct), generator=rng).tolist()
    dev = {distinct[index] for index in order[:num_dev]}
    test = {distinct[index] for index in order[num_dev : num_dev + num_test]}
    return {
        "train": [tokens for tokens in texts if tokens not in dev and tokens not in test],
        "dev": [tokens for tokens in texts if tokens in dev],
        "test": [tokens for tokens in texts if tokens in test],
    }


def _build_vocabulary(path: Path, texts: Sequence[Tokens], config: TextConfig) -> Vocabulary:
    counts = Counter(chain.from_iterable(texts))
    words = sorted(
        (word for word, count in counts.items() if count >= config.min_count),
        key=lambda word: (-counts[word], word),
    )
    if len(words) < 2:
        raise TextFileError(
            f"{path}: at least 2 {config.level}s occur min_count={config.min_count} times or more"
            f" in the training texts, got {len(words)} of {len(counts)}"
        )
    return Vocabulary((UNKNOWN, *words), level=config.level, unk_word=UNKNOWN)


def _encode(texts: Sequence[Tokens], vocabulary: Vocabulary, config: TextConfig) -> Sequences:
    eos = [] if vocabulary.eos_id is None else [vocabulary.eos_id]
    rows = [vocabulary.encode(tokens) + eos for tokens in texts]
    return Sequences.from_rows(rows, vocabulary, config.max_length)


def _unknown_share(texts: Sequence[Tokens], vocabulary: Vocabulary) -> float:
    """Fraction of tokens without an id of their own, eos not counted."""
    known = frozenset(vocabulary.words)
    tokens = list(chain.from_iterable(texts))
    return sum(token not in known for token in tokens) / len(tokens)
