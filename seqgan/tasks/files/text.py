"""The user's own text file as a task: read, tokenised, split, and counted in one line.

The splits are drawn over *distinct* texts; texts with equal tokens (before rare words become
`<unk>`) are the same. Dev and test get a share of them each, at most `max_heldout`. All copies of
a text land in one split, so no text of dev or test was trained on. Copies stay, so a common text
is as common in training as in the file. The vocabulary comes from the training split alone. Texts
that differ only in unknown words decode to the same text, and may be in different splits.
"""

import reprlib
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from seqgan.data.vocabulary import Vocabulary, subword_vocabulary
from seqgan.models.generators.base import GeneratorConfig, tokenizer_folder
from seqgan.system.checks import MOST, Portion, Range, Seed, Size, check_settings, expand_home
from seqgan.system.errors import DataError
from seqgan.tasks.base import FixedTask, Split
from seqgan.tasks.files.packed import PackedFile, PackedRows, id_type
from seqgan.tasks.files.subwords import Subwords
from seqgan.tasks.files.text_cache import (
    Facts,
    Files,
    FolderFiles,
    MemoryFiles,
    cache_folder,
    cache_key,
    read_or_make,
)
from seqgan.tasks.files.text_files import (
    NoColumnError,
    TextFileError,
    check_file,
    hash_file,
    stream_texts,
)
from seqgan.tasks.files.text_numbering import NumberedTexts, number_texts
from seqgan.tasks.files.text_splits import (
    SPLITS,
    Labels,
    check_fractions,
    count_words,
    draw_splits,
    first_copies,
    new_ids,
    rank_words,
    split_chunks,
    subword_ids,
)

# No text holds this token: splitting cuts its letters into "<", "unk" and ">", or into characters.
UNKNOWN = "<unk>"

CACHE_FROM = 50_000_000  # bytes of the smallest file that is cached; smaller ones take seconds
CACHE_FORMAT = 2  # raised whenever a change of the code changes the content of a cache


@dataclass(frozen=True)
class TextConfig:
    """Settings of a task from a text file: the file, and its tokens and splits.

    Raises:
        DataError: a field breaks the rule that its comment states.
    """

    kind: Literal["text"] = "text"
    # The file: .txt (one text a line), .jsonl (one object a line) or .csv (with a header).
    path: str = ""
    # The field that holds the text, in .jsonl and .csv files.
    column: str = "text"
    # A model folder (or hub name) whose tokenizer cuts the texts into subwords; empty: words or
    # characters, or the tokenizer of a pretrained generator.
    tokenizer: str = ""
    # A token, if there is no tokenizer: a word (in NFC, punctuation split off) or a character.
    level: Literal["word", "character"] = "word"
    # Whether upper case becomes lower case, without a tokenizer.
    lowercase: bool = True
    # Whether white space counts as characters, at character level. Turn it off for a file whose
    # characters are separated by spaces.
    spaces: bool = True
    # Words (or characters) that the training split holds fewer times become <unk>; at least 1.
    min_count: Size = 2
    # Longest sequence in tokens, eos included, at least 2; longer texts are dropped and counted.
    max_length: Annotated[int, Range("at least 2 (a token, eos)", 2, MOST)] = 40
    # Share of the distinct texts held out for dev: above 0, and with test_fraction below 1.
    dev_fraction: Portion = 0.05
    # Share of the distinct texts held out for test: above 0, and with dev_fraction below 1.
    test_fraction: Portion = 0.05
    # Distinct texts that dev and test have at most, each; the rest is for training; at least 1.
    max_heldout: Size = 10_000
    # Decides which texts fall into which split; 0 to 2**63 - 1.
    seed: Seed = 0
    # Folder for the token caches of large files; empty: seqgan/texts in $XDG_CACHE_HOME, or in
    # ~/.cache.
    cache: str = ""

    def __post_init__(self) -> None:
        check_settings("task", self, DataError)
        expand_home(self, "path", "tokenizer", "cache")
        check_fractions(self.dev_fraction, self.test_fraction)

    @property
    def unit(self) -> str:
        """The name of a token: word, character or subword."""
        return "subword" if self.tokenizer else self.level

    def build(self, generator: GeneratorConfig) -> FixedTask:
        """Reads the task. The texts are cut by `tokenizer`, else by the generator's own, if any."""
        tokenizer = self.tokenizer or tokenizer_folder(generator)
        return text_task(replace(self, tokenizer=tokenizer))


def text_task(config: TextConfig) -> FixedTask:
    """Reads a file into train, dev and test splits; within a split, texts keep the file's order.

    The words of the vocabulary are `<unk>`, then those of the training split by falling count,
    equal counts in code-point order. The training data hold `<unk>`, so a generator can emit it
    (with `min_count=1` only dev and test can hold it). With a tokenizer, the words are all its
    tokens but the special ones. Sequences are padded to `config.max_length` and end with eos. The
    description counts copies among its texts, `<unk>` among its words, and no eos among its test
    tokens.

    A file of `CACHE_FROM` bytes or more is read once into a cache. Later tasks from the same bytes
    with the same settings read the cache, row by row. A damaged cache is made again, with a
    warning.

    Raises:
        TextFileError: the file cannot be read or decoded, a record is malformed, or too little is
            left: fewer than 3 distinct texts, or fewer than 2 words beside `<unk>`.
        ModelFolderError: the tokenizer cannot be read, or has no end-of-text token.
        CacheError: the cache cannot be written, as on a full disk.
    """
    if not config.path:
        raise TextFileError("task.path is empty: name a text file with --task.path FILE")
    path = Path(config.path)
    check_file(path)
    digest = hash_file(path)

    def check_unchanged() -> None:
        if hash_file(path) != digest:
            raise TextFileError(f"{path} was changed while it was read")

    texts = partial(stream_texts, path, config.column)
    make = partial(_pack, str(path), texts, check_unchanged, config)
    if path.stat().st_size < CACHE_FROM:
        memory = MemoryFiles()
        return _task(config, path.name, make(memory), memory, "")
    folder = cache_folder(config.cache) / cache_key(_cached_settings(path, digest, config))
    facts = read_or_make(folder, make)
    return _task(config, path.name, facts, FolderFiles(folder), f"; cached in {folder}")


def as_strings(texts: Any) -> list[str]:
    """The texts of a list, an array, a column of a table, or anything else that has an order.

    Raises:
        TextFileError: something is no text, or has no order.
    """
    if isinstance(texts, str | Mapping | Set) or not isinstance(texts, Iterable):
        raise TextFileError(
            f"the texts are of the type {type(texts).__name__}, but must be a list of strings"
        )
    strings = list(texts)
    for number, text in enumerate(strings, 1):
        if not isinstance(text, str):
            raise TextFileError(f"text {number} is {reprlib.repr(text)}, but must be a string")
    return strings


def task_of_texts(texts: Iterable[str], config: TextConfig | None = None) -> FixedTask:
    """Makes a task of texts in memory, split and numbered like the texts of a file.

    Args:
        texts: one string for each text, in an order: a list, an array, a column of a table.
        config: settings of tokens, lengths and splits; `path` is not read.

    Raises:
        TextFileError: something is no text, or too little is left, as `text_task` says.
    """
    strings = as_strings(texts)
    config = TextConfig(min_count=1) if config is None else config
    files = MemoryFiles()
    facts = _pack("the list of texts", lambda: iter(strings), lambda: None, config, files)
    return _task(config, "texts", facts, files, "")


def _cached_settings(path: Path, digest: str, config: TextConfig) -> Facts:
    """Everything that a cache depends on."""
    settings = asdict(config)
    for place in ("path", "cache", "tokenizer"):
        del settings[place]
    if config.tokenizer:
        settings["subwords"] = Subwords(subword_vocabulary(config.tokenizer)).digest
    # Unicode decides which characters are letters, spaces and lower case.
    settings |= {"format": CACHE_FORMAT, "unicode": unicodedata.unidata_version}
    return settings | {"sha256": digest, "suffix": path.suffix.lower()}


def _task(config: TextConfig, name: str, facts: Facts, files: Files, note: str) -> FixedTask:
    vocabulary = _vocabulary(config, facts["words"])
    splits: dict[Split, PackedRows] = {}
    for split in SPLITS:
        ids, starts = map(files.load, _names(split))
        splits[split] = PackedRows(ids, starts, vocabulary, config.max_length)
    sizes = ", ".join(f"{len(rows)} {split}" for split, rows in splits.items())
    description = (
        f"{name}: {facts['num_texts']} texts ({facts['num_distinct']} distinct),"
        f" {facts['dropped']}; {sizes}; {len(vocabulary.words)} {config.unit}s,"
        f" {facts['unknown_share']:.1%} of test tokens unknown{note}"
    )
    return FixedTask(vocabulary, config.max_length, splits, description=description)


def _vocabulary(config: TextConfig, words: list[str]) -> Vocabulary:
    if config.tokenizer:
        return subword_vocabulary(config.tokenizer)
    return Vocabulary((UNKNOWN, *words), level=config.level, unk_word=UNKNOWN)


def _names(split: Split) -> tuple[str, str]:
    """The names of the files with a split's ids and with the starts of its rows."""
    return f"{split}_ids.npy", f"{split}_starts.npy"


def _pack(
    name: str,
    stream: Callable[[], Iterator[str]],
    check_unchanged: Callable[[], None],
    config: TextConfig,
    files: Files,
) -> Facts:
    """Fills `files` with the splits' rows of ids, and returns the facts of the task.

    Args:
        name: names the texts in errors.
        stream: gives the texts, one after another.
        check_unchanged: called once the texts are read; raises if they have changed meanwhile.
    """
    subwords = Subwords(subword_vocabulary(config.tokenizer)) if config.tokenizer else None
    with files.scratch() as scratch:
        try:
            texts = number_texts(
                stream(),
                config.level,
                config.lowercase,
                config.spaces,
                config.max_length - 1,  # one place is eos's
                scratch,
                subwords,
            )
        except NoColumnError as error:
            raise TextFileError(f"{error}; name another with --task.column") from error
        check_unchanged()
        firsts = first_copies(texts.digests)
        num_distinct = int((firsts == np.arange(len(firsts))).sum())
        dropped = _check_texts(name, config, texts, num_distinct)
        labels = draw_splits(
            firsts, config.dev_fraction, config.test_fraction, config.max_heldout, config.seed
        )
        counts = dict(zip(SPLITS, count_words(texts, labels), strict=True))
        words: list[str] = []
        if subwords is None:
            ranked = rank_words(texts.words, counts["train"], config.min_count)
            length = sum(int(count.sum()) for count in counts.values()) / len(texts.digests)
            _check_spaces(name, config, length, len(ranked))
            _check_words(name, config, len(ranked), int((counts["train"] > 0).sum()))
            words = [texts.words[number] for number in ranked]
            vocabulary = _vocabulary(config, words)
            assert vocabulary.unk_id is not None
            assert vocabulary.eos_id is not None
            ids = new_ids(ranked, len(texts.words), vocabulary.unk_id, vocabulary.eos_id)
        else:
            vocabulary = subwords.vocabulary
            ids = subword_ids(vocabulary)[: len(texts.words)]
        _write_splits(texts, labels, ids, vocabulary, files)
    num_unknown = int(counts["test"][ids == vocabulary.unk_id].sum())
    return {
        "num_texts": len(firsts),
        "num_distinct": num_distinct,
        "dropped": dropped,
        "unknown_share": num_unknown / int(counts["test"].sum()),
        "words": words,
    }


def _check_texts(name: str, config: TextConfig, texts: NumberedTexts, num_distinct: int) -> str:
    """Checks that enough texts are left, and returns a note of the dropped ones."""
    if texts.num_long and not num_distinct:
        one = "; each line is a text, so break it into lines" if texts.num_long == 1 else ""
        raise TextFileError(
            f"{name} has no text within --task.max-length {config.max_length}: the shortest"
            f" has {texts.shortest + 1} tokens with eos{one}"
        )
    dropped = (
        f"{texts.num_blank} blank and {texts.num_long} too long"
        f" (over {config.max_length} tokens) dropped"
    )
    if num_distinct < 3:
        raise TextFileError(
            f"{name} has {num_distinct} distinct texts ({dropped}), but at least 3 are"
            " needed, one for each of train, dev and test"
        )
    return dropped


def _check_spaces(name: str, config: TextConfig, length: float, num_words: int) -> None:
    """Checks that texts are more than one word each, where no word occurs again.

    Args:
        length: words of a text, in the mean.
    """
    if config.level == "word" and num_words < 2 and length < 1.5:
        raise TextFileError(
            f"{name} has texts of one word that do not occur again; a language without spaces is"
            " read with --task.level character"
        )


def _check_words(name: str, config: TextConfig, num_words: int, num_seen: int) -> None:
    if num_words < 2:
        raise TextFileError(
            f"{name} has {num_words} of {num_seen} {config.level}s that occur"
            f" --task.min-count {config.min_count} times or more in the training texts, but"
            " at least 2 are needed"
        )


def _write_splits(
    texts: NumberedTexts,
    labels: Labels,
    ids: NDArray[np.int64],
    vocabulary: Vocabulary,
    files: Files,
) -> None:
    """Writes every split's rows, in the file's order, with ids in place of numbers."""
    assert vocabulary.eos_id is not None
    with ExitStack() as stack:
        packed = []
        for split in SPLITS:
            ids_file, starts_file = (
                stack.enter_context(files.create(name)) for name in _names(split)
            )
            dtype = id_type(vocabulary)
            packed.append(PackedFile(ids_file, starts_file, dtype, vocabulary.eos_id))
        for chunk in split_chunks(texts, labels):
            for file, numbers in zip(packed, chunk, strict=True):
                file.append(ids[numbers])
        for file in packed:
            file.finish()
