"""Texts to numbers in one pass, which is the only work that Python does text by text.

Every word gets a number when it is first met. A text becomes the numbers of its words and an
`END`. All texts go end to end into a file, and are read back chunk by chunk. The later steps need
all texts (copies, counts of words, ids), and work on arrays of these numbers.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from io import BufferedIOBase
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray

from seqgan.data.vocabulary import Level
from seqgan.data.words import split_text, split_words
from seqgan.tasks.files.subwords import Subwords

Numbers = NDArray[np.uint32]

END = 0  # stands after the last word of every text; words have the numbers from 1 on
CHUNK = 2**20  # numbers in memory at a time; a chunk ends at the next end of a text
TOGETHER = 1024  # texts that a tokenizer cuts at a time
MAX_PIECES = 2**18  # pieces between white space whose words are remembered


@dataclass(frozen=True)
class NumberedTexts:
    """The texts of a file that are neither blank nor too long, as numbers.

    Args:
        words: the word of each number, empty for `END`; words of dropped texts have numbers too.
        digests: 64 bits of each text, in file order; equal texts have equal digests.
        num_blank: texts that held no word.
        num_long: texts that were too long.
        shortest: words of the shortest text that was not blank, 0 where all were.
    """

    words: list[str]
    digests: NDArray[np.uint64]
    num_blank: int
    num_long: int
    shortest: int
    _file: BufferedIOBase
    _chunk_sizes: list[int]

    def chunks(self) -> Iterator[Numbers]:
        """The texts again, in file order, in chunks that end where a text does."""
        self._file.seek(0)
        for size in self._chunk_sizes:
            data = self._file.read(size * np.dtype(np.uint32).itemsize)
            yield np.frombuffer(data, np.uint32)


def number_texts(
    texts: Iterable[str],
    level: Level,
    lowercase: bool,
    spaces: bool,
    max_words: int,
    file: BufferedIOBase,
    subwords: Subwords | None = None,
) -> NumberedTexts:
    """Writes every text of 1 to `max_words` words (or characters) into `file` as numbers.

    Args:
        spaces: at character level, whether white space counts as characters.
        file: an empty file that can be read back, in memory or on a disk.
        subwords: cuts the texts by a tokenizer instead; the words are then all its subwords, in
            their order.
    """
    numbers = _Numbers()
    rows: Iterable[list[int]]
    if subwords is None:
        rows = map(_make_numberer(numbers, level, lowercase, spaces), texts)
    else:
        numbers.update((word, n) for n, word in enumerate(subwords.vocabulary.words, END + 1))
        rows = _subword_rows(texts, subwords)
    buffer: list[int] = []
    chunk_sizes: list[int] = []
    digests = [np.empty(0, np.uint64)]

    def flush() -> None:
        if not buffer:
            return
        chunk = np.array(buffer, np.uint32)
        file.write(chunk.data)
        chunk_sizes.append(len(chunk))
        digests.append(text_digests(chunk))
        buffer.clear()

    num_blank = num_long = shortest = 0
    for row in rows:
        length = len(row)
        if not length:
            num_blank += 1
            continue
        if length < shortest or not shortest:
            shortest = length
        if length > max_words:
            num_long += 1
            continue
        buffer += row
        buffer.append(END)
        if len(buffer) >= CHUNK:
            flush()
    flush()
    return NumberedTexts(
        list(numbers), np.concatenate(digests), num_blank, num_long, shortest, file, chunk_sizes
    )


def _subword_rows(texts: Iterable[str], subwords: Subwords) -> Iterator[list[int]]:
    """The numbers of each text's subwords; a blank text has none.

    A number is its id plus one, since `END` is the number 0.
    """
    remaining = iter(texts)
    while some := list(islice(remaining, TOGETHER)):
        for text, row in zip(some, subwords.texts(some), strict=True):
            yield (row + END + 1).tolist() if text.strip() else []


class _Numbers(dict[str, int]):
    """The number of every word so far; a new word gets the next. No word is empty."""

    def __init__(self) -> None:
        super().__init__({"": END})

    def __missing__(self, word: str) -> int:
        self[word] = number = len(self)
        return number


class _Pieces(dict[str, tuple[int, ...]]):
    """The numbers of the words in a piece of text without white space, remembered.

    Neither words nor the change to lower case reach across white space, so a text's words are
    those of its pieces. Looking pieces up takes half the time of splitting every text.
    """

    def __init__(self, numbers: _Numbers, lowercase: bool) -> None:
        super().__init__()
        self.numbers, self.lowercase = numbers, lowercase

    def __missing__(self, piece: str) -> tuple[int, ...]:
        words = tuple(self.numbers[word] for word in split_words(piece, self.lowercase))
        if len(self) < MAX_PIECES:
            self[piece] = words
        return words


def _make_numberer(
    numbers: _Numbers, level: Level, lowercase: bool, spaces: bool
) -> Callable[[str], list[int]]:
    """Makes a function from a text to the numbers of its words or characters.

    A blank text has no numbers.
    """
    if level == "word":
        words_of = _Pieces(numbers, lowercase).__getitem__
        return lambda text: list(chain.from_iterable(map(words_of, text.split())))

    def number_characters(text: str) -> list[int]:
        if not text.strip():
            return []
        characters = split_text(text, "character", lowercase, spaces)
        return list(map(numbers.__getitem__, characters))

    return number_characters


def text_digests(chunk: Numbers) -> NDArray[np.uint64]:
    """64 bits of each text in a chunk: a sum over its words, each mixed with its position.

    Two different texts have equal digests with a probability of about 2^-64.
    """
    ends = np.flatnonzero(chunk == END)
    starts = np.concatenate([[0], ends[:-1] + 1]).astype(np.int64)
    positions = np.arange(len(chunk)) - np.repeat(starts, ends + 1 - starts)
    keys = chunk.astype(np.uint64) | positions.astype(np.uint64) << np.uint64(32)
    return np.add.reduceat(_mix(keys), starts)


def _mix(keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): every bit depends on all."""
    keys = keys + np.uint64(0x9E3779B97F4A7C15)
    keys = (keys ^ keys >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    keys = (keys ^ keys >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return keys ^ keys >> np.uint64(31)
