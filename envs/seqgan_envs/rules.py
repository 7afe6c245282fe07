"""The constants of an episode: the words, the lengths, the constraints, the spaces."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from gymnasium import spaces
from numpy.typing import ArrayLike, NDArray

ActionMask = Callable[[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64] | None], ArrayLike]
"""`action_mask(tokens (K, L), lengths (K,), prompts (K, P) or None) -> (K, V)` bools.

True where a token may come next. The K rows are unfinished texts; the arrays are copies.
"""

Decode = Callable[[Sequence[int]], str]
"""`decode(ids) -> text`; the ids are those of words alone."""

ObservationLayout = Literal["dict", "tokens", "one_hot"]
Observation: TypeAlias = dict[str, Any] | NDArray[Any]

DEFAULT_WORDS = (
    *("the", "a", "small", "old", "red", "cat"),
    *("dog", "bird", "sees", "likes", "and", "sleeps"),
)


@dataclass(frozen=True)
class Rules:
    """The fixed part of the environment, validated; `checked_rules` makes it.

    Args:
        words: the emittable words in id order.
        max_length: number of tokens of the longest text, eos included.
        eos_id: the action that ends a text, one past the words; None without such an action.
        pad_id: fills tokens on the right and prompts on the left; not an action.
        prompts: int64 start states, (number of prompts, P), or None.
        action_mask: a fixed bool mask (V,), or a function of the state.
        invalid_action_penalty: the reward of a forbidden action.
        observation: "dict", "tokens" for the bare token array, or "one_hot" for one flat vector.
        separator: string between the words of a decoded text.
        decode_words: decodes ids of words to a text; None joins the words with `separator`.
    """

    words: tuple[str, ...]
    max_length: int
    eos_id: int | None
    pad_id: int
    prompts: NDArray[np.int64] | None
    action_mask: NDArray[np.bool_] | ActionMask
    invalid_action_penalty: float
    observation: ObservationLayout
    separator: str
    decode_words: Decode | None = None

    @property
    def num_actions(self) -> int:
        """V: the number of words, plus one for eos if the rules have it."""
        return len(self.words) + (self.eos_id is not None)

    def action_space(self) -> spaces.Discrete:
        """The emittable tokens, 0 to V-1."""
        return spaces.Discrete(self.num_actions)

    def observation_space(self) -> spaces.Space[Any]:
        """The space of one row's observation, in the chosen layout."""
        tokens = spaces.Box(0, self.pad_id, (self.max_length,), np.int64)
        if self.observation == "tokens":
            return tokens
        if self.observation == "one_hot":
            prompt_length = 0 if self.prompts is None else self.prompts.shape[1]
            width = self.max_length * self.num_actions + prompt_length * self.pad_id
            return spaces.Box(0.0, 1.0, (width,), np.float32)
        members: dict[str, spaces.Space[Any]] = {
            "tokens": tokens,
            "length": spaces.Discrete(self.max_length + 1),
            "action_mask": spaces.MultiBinary(self.num_actions),
        }
        if self.prompts is not None:
            members["prompt"] = spaces.Box(0, self.pad_id, self.prompts.shape[1:], np.int64)
        return spaces.Dict(members)

    def draw_prompts(self, rng: np.random.Generator, count: int) -> NDArray[np.int64] | None:
        """Draws indices of `count` prompts, all equally likely; None, without a draw, if there are
        no prompts.
        """
        return None if self.prompts is None else rng.integers(len(self.prompts), size=count)

    def checked_prompt_indices(
        self, indices: ArrayLike, shape: tuple[int, ...]
    ) -> NDArray[np.int64]:
        """Checks a user's indices of prompts and returns them as an array.

        Raises:
            ValueError: there are no prompts, the shape is wrong, or an index is out of range.
        """
        if self.prompts is None:
            raise ValueError(f"prompt_index is {indices!r}, but the environment has no prompts")
        array, count = np.asarray(indices), len(self.prompts)
        if array.shape != shape or array.dtype.kind not in "iu":
            raise ValueError(
                f"prompt_index is {array.dtype} of shape {array.shape}, but must be"
                f" integers of shape {shape}"
            )
        if np.any((array < 0) | (array >= count)):
            raise ValueError(f"prompt_index is {array}, but must be from 0 to {count - 1}")
        return array.astype(np.int64)

    def decode(self, ids: Sequence[int]) -> str:
        """Joins the words of the ids; eos, pad and other special ids are left out."""
        words, num_words = self.words, len(self.words)
        if self.decode_words is not None:
            return self.decode_words([int(i) for i in ids if i < num_words])
        return self.separator.join([words[i] for i in ids if i < num_words])


def checked_rules(
    *,
    words: Sequence[str],
    max_length: int,
    eos: bool,
    pad_id: int | None,
    prompts: ArrayLike | None,
    action_mask: ArrayLike | ActionMask | None,
    invalid_action_penalty: float,
    observation: ObservationLayout,
    separator: str,
    decode: Decode | None = None,
) -> Rules:
    """Checks the constructor arguments of the environments and makes rules of them.

    Raises:
        ValueError: an argument breaks its rule; the message gives the value, then the rule.
    """
    checked_words = _checked_words(words)
    if not isinstance(eos, bool):
        raise ValueError(f"eos is {eos!r}, but must be True or False")
    num_actions = len(checked_words) + eos
    pad_id = num_actions if pad_id is None else pad_id
    check_at_least("pad_id (outside the action space)", num_actions, pad_id)
    check_at_least("max_length", 1, max_length)
    if not math.isfinite(invalid_action_penalty):
        raise ValueError(f"invalid_action_penalty is {invalid_action_penalty}, but must be finite")
    if observation not in get_args(ObservationLayout):
        layouts = ", ".join(map(repr, get_args(ObservationLayout)))
        raise ValueError(f"observation is {observation!r}, but must be one of {layouts}")
    if not isinstance(separator, str):
        raise ValueError(f"separator is {separator!r}, but must be a string")
    if decode is not None and not callable(decode):
        raise ValueError(f"decode is {decode!r}, but must be a function of ids or None")
    return Rules(
        words=checked_words,
        max_length=int(max_length),
        eos_id=len(checked_words) if eos else None,
        pad_id=int(pad_id),
        prompts=None if prompts is None else _checked_prompts(prompts, int(pad_id)),
        action_mask=_checked_action_mask(action_mask, num_actions),
        invalid_action_penalty=float(invalid_action_penalty),
        observation=observation,
        separator=separator,
        decode_words=decode,
    )


def check_at_least(name: str, minimum: int, value: int) -> None:
    """Raises ValueError for a value that is not an integer of at least the minimum."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < minimum:
        raise ValueError(f"{name} is {value!r}, but must be at least {minimum}")


def _checked_words(words: Sequence[str]) -> tuple[str, ...]:
    if isinstance(words, str):
        raise ValueError(f"words is the string {words!r}, but must be a sequence of strings")
    if len(words) == 0:
        raise ValueError("words is empty, but must have at least 1 word")
    seen: set[str] = set()
    for word in words:
        if not isinstance(word, str):
            raise ValueError(f"words has {word!r}, but every word must be a string")
        if word in seen:
            raise ValueError(f"words has {word!r} twice, but all words must be distinct")
        seen.add(word)
    return tuple(words)


def _checked_prompts(prompts: ArrayLike, pad_id: int) -> NDArray[np.int64]:
    array = np.array(prompts)
    if array.ndim != 2 or 0 in array.shape or array.dtype.kind not in "iu":
        raise ValueError(
            f"prompts are {array.dtype} of shape {array.shape}, but must be integers of"
            " shape (number of prompts, prompt length), both at least 1"
        )
    foreign = ((array < 0) | (array > pad_id)).any(axis=1)
    if foreign.any():
        row = int(np.argmax(foreign))
        raise ValueError(
            f"row {row} of the prompts is {array[row]}, but its ids must be from 0 to {pad_id}"
        )
    gaps = ((array[:, 1:] == pad_id) & (array[:, :-1] != pad_id)).any(axis=1)
    if gaps.any():
        row = int(np.argmax(gaps))
        raise ValueError(
            f"row {row} of the prompts is {array[row]}, but prompts must be padded on the left only"
        )
    return array.astype(np.int64, copy=False)  # `np.array` has copied already


def _checked_action_mask(
    action_mask: ArrayLike | ActionMask | None, num_actions: int
) -> NDArray[np.bool_] | ActionMask:
    if action_mask is None:
        return np.ones(num_actions, dtype=np.bool_)
    if callable(action_mask):
        return action_mask
    array = np.array(action_mask)
    if array.shape != (num_actions,) or array.dtype != np.bool_:
        raise ValueError(
            f"action_mask is {array.dtype} of shape {array.shape}, but must be a function"
            f" or booleans of shape ({num_actions},)"
        )
    if not array.any():
        raise ValueError("action_mask allows no token, but must allow at least one")
    return array
