"""Checks of single states and of ends of episodes; a broken promise is an error of one line."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.utils.env_checker import data_equivalence
from numpy.typing import NDArray

from seqgan_envs.one_hot import ids_of
from seqgan_envs.rules import Rules

STYLES = ("any", "short", "long", "forbidden")
"""Styles of playing an episode. Together they end texts in every possible way; see `choose`."""


def require(kept: object, rule: str, got: object, place: str) -> None:
    """Raises an AssertionError of one line unless the rule is kept."""
    if not kept:
        raise AssertionError(" ".join(f"{got} breaks the promise: {rule} {place}".split()))


def choose(
    style: str, allowed: NDArray[np.bool_], eos_id: int | None, rng: np.random.Generator
) -> int:
    """Draws the next token: a random allowed one; the style may prefer or avoid some tokens.

    "short" prefers eos, "long" avoids it, and "forbidden" prefers forbidden tokens.
    """
    tokens = np.flatnonzero(allowed)
    prefers = rng.random() < 0.5
    if style == "forbidden" and prefers and not allowed.all():
        tokens = np.flatnonzero(~allowed)
    elif style == "short" and prefers and eos_id in tokens:
        tokens = tokens[tokens == eos_id]
    elif style == "long" and np.any(tokens != eos_id):
        tokens = tokens[tokens != eos_id]
    return int(rng.choice(tokens))


def known_members(
    observation: Any, space: spaces.Space[Any], rules: Rules
) -> dict[str, NDArray[Any]]:
    """The members of one row's observation that no wrapper has changed, by name.

    Those of the layout "one_hot" are turned back into ids.
    """
    original = rules.observation_space()
    if space == original and rules.observation == "one_hot":
        num_tokens = rules.max_length * rules.num_actions
        parts = {"tokens": ids_of(observation[:num_tokens], rules.num_actions, rules.pad_id)}
        if rules.prompts is not None:
            parts["prompt"] = ids_of(observation[num_tokens:], rules.pad_id, rules.pad_id)
        return parts
    if space == original:
        return dict(observation) if isinstance(observation, dict) else {"tokens": observation}
    if not (isinstance(space, spaces.Dict) and isinstance(original, spaces.Dict)):
        return {}
    return {
        name: observation[name]
        for name, member in space.items()
        if name in original.spaces and original[name] == member
    }


def check_state(
    members: Mapping[str, Any],
    masks: Mapping[str, NDArray[Any]],
    emitted: Sequence[int],
    rules: Rules,
    place: str,
) -> None:
    """Checks an agent's view of one text, which is in progress or has just ended.

    Args:
        members: the members of the observation that no wrapper changed.
        masks: the action mask from other places, by the name of the place.
        emitted: the tokens so far.
    """
    if "tokens" in members:
        tokens = members["tokens"].tolist()
        rule = "the observed tokens are those emitted"
        require(tokens[: len(emitted)] == list(emitted), rule, tokens, place)
        padding = tokens[len(emitted) :]
        require(set(padding) <= {rules.pad_id}, f"the rest is pad_id {rules.pad_id}", tokens, place)
    if "length" in members:
        length = int(members["length"])
        require(length == len(emitted), "length counts the emitted tokens", length, place)
    if "prompt" in members and rules.prompts is not None:
        prompt = members["prompt"]
        is_known = (rules.prompts == prompt).all(axis=1).any()
        require(is_known, "the observed prompt is one of prompts", prompt, place)
    if "action_mask" in members:
        masks = {**masks, "the observation": members["action_mask"]}
    first: list[int] | None = None
    for source, mask in masks.items():
        numbers = np.asarray(mask).astype(int).tolist()
        shape = (rules.num_actions,)
        require(np.shape(mask) == shape, f"a mask has shape {shape}", np.shape(mask), place)
        dtype = np.bool_ if source == "action_masks()" else np.int8
        name = np.dtype(dtype).name
        require(mask.dtype == dtype, f"the mask in {source} is {name}", mask.dtype, place)
        require(any(numbers), f"the mask in {source} allows a token", numbers, place)
        first = numbers if first is None else first
        rule = f"the mask is the same in {' and '.join(masks)}"
        require(numbers == first, rule, f"{first} and {numbers}", place)


def check_end(
    info: Mapping[str, Any], emitted: Sequence[int], invalid: bool, rules: Rules, place: str
) -> None:
    """Checks the info of a text that has ended."""
    expected = {
        "text": rules.decode(emitted),
        "token_ids": tuple(emitted),
        "invalid_action": invalid,
    }
    for name, value in expected.items():
        require(name in info, f"the info at the end has {name!r}", sorted(info), place)
        rule = f"{name} is {value!r} at the end"
        same = type(info[name]) is type(value) or isinstance(info[name], np.bool_)
        require(same and info[name] == value, rule, repr(info[name]), place)
    components = info.get("reward_components", {})
    rule = "reward_components holds a finite float for each name"
    require(isinstance(components, dict), rule, repr(components), place)
    for name, part in components.items():
        good = isinstance(name, str) and isinstance(part, float) and np.isfinite(part)
        require(good, rule, f"{part!r} for {name!r}", place)


def check_no_end(info: Mapping[str, Any], place: str) -> None:
    """Checks that the info of an unfinished text has none of the entries of its end."""
    early = {"text", "token_ids", "invalid_action", "reward_components"} & info.keys()
    require(not early, "the info tells of a text only at its end", sorted(early), place)


def check_fresh(earlier: Sequence[Any], data: Any, place: str) -> None:
    """Checks that the data of different calls share no memory."""
    arrays = list(_arrays(data))
    shared = any(np.shares_memory(one, other) for one in _arrays(earlier) for other in arrays)
    require(not shared, "every call returns new arrays", "memory of an earlier call", place)


def _arrays(data: Any) -> Iterator[NDArray[Any]]:
    if isinstance(data, np.ndarray) and data.dtype != object:
        yield data
    elif isinstance(data, dict | list | tuple | np.ndarray):
        for member in data.values() if isinstance(data, dict) else data:
            yield from _arrays(member)


def check_refused(step: Callable[[], Any], error: type[Exception], rule: str, place: str) -> None:
    """Checks that the step raises this error and no other."""
    try:
        step()
    except error:
        return
    except Exception as other:
        named = type(other).__name__
        raise AssertionError(f"{named} breaks the promise: {rule} {place}") from other
    require(False, rule, "no error", place)


def check_equal(one: Any, other: Any, rule: str, place: str) -> None:
    """Checks that two structures of data are equal, numbers up to rounding."""
    require(data_equivalence(one, other), rule, f"{one} and {other}", place)


def as_arrays(data: Any) -> Any:
    """Turns numbers into arrays, which `check_equal` compares up to rounding.

    The entry `episode` of `RecordEpisodeStatistics` is left out, because its time always differs.
    """
    if isinstance(data, dict):
        return {name: as_arrays(value) for name, value in data.items() if name != "episode"}
    if isinstance(data, tuple | list):
        return tuple(as_arrays(value) for value in data)
    return np.asarray(data) if isinstance(data, int | float | np.number) else data


def bad_actions(rules: Rules) -> Iterator[Any]:
    """Yields actions outside the space, and one of another type."""
    yield from (-1, rules.num_actions, 0.5)
