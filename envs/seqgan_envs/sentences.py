"""A reward for trying out agents: small sentences from the environment's default words."""

import numpy as np
from numpy.typing import NDArray

from seqgan_envs.rules import DEFAULT_WORDS

_EOS = len(DEFAULT_WORDS)
_COMPLETE, _WRONG = 5, 6
# A sentence is a noun phrase and "sleeps", or two noun phrases with "sees" or "likes" between them.
# "and" joins sentences. Each row: a state, words, and the state after one of these words.
_STEPS = (
    (0, "the a", 1),
    (1, "small old red", 1),
    (1, "cat dog bird", 2),
    (2, "sees likes", 3),
    (2, "sleeps", _COMPLETE),
    (3, "the a", 4),
    (4, "small old red", 4),
    (4, "cat dog bird", _COMPLETE),
    (_COMPLETE, "and", 0),
)


def _transitions() -> NDArray[np.int64]:
    """The table of the state after each word, (states, words and eos)."""
    table = np.full((_WRONG + 1, _EOS + 1), _WRONG)
    for state, words, following in _STEPS:
        table[state, [DEFAULT_WORDS.index(word) for word in words.split()]] = following
    table[_COMPLETE, _EOS] = _COMPLETE
    return table


_TABLE = _transitions()


def small_sentences(
    tokens: NDArray[np.int64], lengths: NDArray[np.int64], prompts: NDArray[np.int64] | None
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """The mean of three parts, each in [0, 1]; for the default `words` with eos.

    `grammatical` is the number of tokens before the first mistake, `varied` the number of distinct
    ones among them, both divided by the maximum length. `complete` is 1 for whole sentences with an
    eos, else 0. With 8 tokens "the small cat sees a red dog" earns 1.
    """
    num_rows, max_length = tokens.shape
    state = np.zeros(num_rows, dtype=np.int64)
    right = np.zeros(num_rows)
    seen = np.zeros((num_rows, _EOS + 1), dtype=np.bool_)
    complete = np.zeros(num_rows)
    rows = np.arange(num_rows)
    for position in range(max_length):
        written = position < lengths
        token = np.where(written, tokens[:, position], 0)
        state = np.where(written, _TABLE[state, token], state)
        good = written & (state != _WRONG)
        right += good
        seen[rows[good], token[good]] = True
        complete[good & (token == _EOS)] = 1.0
    parts = {
        "grammatical": right / max_length,
        "varied": seen.sum(axis=1) / max_length,
        "complete": complete,
    }
    return sum(parts.values()) / len(parts), parts
