"""The contract of rewards for finished texts, a small default, and the checks of the contract."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Judgement: TypeAlias = ArrayLike | tuple[ArrayLike, Mapping[str, ArrayLike]]
"""(K,) finite floats; or a pair of those and of their parts, each (K,) floats by name.

NaN in a part means that the part does not apply to the row. Parts are for inspection: the infos
show them as `reward_components`. The function itself combines the parts to the reward.
"""

Reward = Callable[..., Any]
"""A function that judges finished texts. The names of its parameters say what it gets.

`reward(text)`, `reward(texts)`, `reward(token_ids)`, ... see `seqgan_envs.functions`; with `prompt`
or `prompts` beside it. It returns a number for each text, or None where it does not apply.

`reward(tokens (K, L), lengths (K,), prompts (K, P) or None) -> (K,)` finite floats: arrays.
Or a pair `(rewards, parts)`, see `Judgement`. `tokens` are right-padded, `lengths` count the eos,
`prompts` are left-padded. The K rows are the texts that have just ended. The arrays are copies, so
the function may write to them.

A function with a parameter `prompt_index` also gets the index of each row's prompt among the
environment's prompts: of arrays (K,), or None without prompts. With it, the function can look up
further data of a prompt, for instance a reference answer.
"""

DEFAULT_REWARD = "seqgan_envs.rewards:distinct_token_fraction"


def distinct_token_fraction(
    tokens: NDArray[np.int64], lengths: NDArray[np.int64], prompts: NDArray[np.int64] | None
) -> NDArray[np.float64]:
    """Distinct tokens of each row, eos included, divided by the maximum length: in (0, 1].

    Only a text of full length without repeated tokens earns 1.
    """
    max_length = tokens.shape[1]
    real = np.arange(max_length) < lengths[:, None]
    ordered = np.sort(np.where(real, tokens, -1), axis=1)
    # In a sorted row, a value that differs from the one before is new; -1 stands for padding.
    new = np.diff(ordered, axis=1, prepend=-1) != 0
    return new.sum(axis=1) / max_length


class NamedReward:
    """A reward function that was loaded by its name, so that it can be pickled by what was loaded.

    pickle finds a function by its module, and a file is no module. So the pickle of a file's reward
    holds the file's source: it is the same reward in another process, in another working directory
    and after a change of the file. Variables that the function changed are as in the file again.

    Args:
        function: the loaded function.
        load: returns the same reward, called with `arguments`.
    """

    def __init__(
        self, function: Reward, load: Callable[..., "NamedReward"], *arguments: object
    ) -> None:
        self.__wrapped__ = function  # `inspect.signature` reads it
        self._load = (load, arguments)

    def __call__(self, *arguments: Any, **numbers: Any) -> Judgement:
        return self.__wrapped__(*arguments, **numbers)

    def __reduce__(self) -> tuple[Callable[..., "NamedReward"], tuple[object, ...]]:
        return self._load

    def __deepcopy__(self, memo: object) -> "NamedReward":
        return self  # as every function


def load_reward(reward: Reward | str) -> Reward:
    """Returns a reward function unchanged, or loads the one that a string names.

    The string is `package.module:attribute` or `path/to/file.py:attribute`. A relative path starts
    at the working directory.

    Raises:
        ValueError: `reward` is neither a callable nor the name of one.
        ImportError: the named module cannot be imported.
        OSError: the named file cannot be read.
    """
    if isinstance(reward, str):
        place, _, attribute = reward.rpartition(":")
        if place.endswith(".py"):
            path = Path(place).absolute()
            return _reward_of_source(path.read_bytes(), str(path), reward)
        if place and attribute:
            loaded = getattr(import_module(place), attribute, None)
            return NamedReward(_checked_function(loaded, reward), load_reward, reward)  # type: ignore[arg-type]
    return _checked_function(reward, reward)


def _reward_of_source(source: bytes, path: str, name: str) -> NamedReward:
    """Runs the source of a file, and returns the reward with this name, `file.py:attribute`."""
    module = ModuleType("<reward>")
    module.__file__ = path
    before = sys.modules.get(module.__name__)
    sys.modules[module.__name__] = module  # dataclasses look for their module while it runs
    try:
        exec(compile(source, path, "exec"), vars(module))
    finally:
        del sys.modules[module.__name__]
        if before is not None:
            sys.modules[module.__name__] = before
    function = _checked_function(vars(module).get(name.rpartition(":")[2]), name)
    return NamedReward(function, _reward_of_source, source, path, name)


def _checked_function(loaded: object, named: object) -> Reward:
    if not callable(loaded):
        raise ValueError(
            f"reward is {named!r}, but must be a callable, 'package.module:attribute' or"
            " 'file.py:attribute'"
        )
    return loaded


def checked_judgement(
    judgement: Judgement, rows: NDArray[np.int64]
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]] | None]:
    """Checks a reward function's result for these rows; returns (K,) rewards, (K,) parts by name.

    The parts are None if the function returned rewards alone.

    Raises:
        ValueError: a shape is not (K,), a reward is NaN or infinite, a part is infinite, or a name
            is not usable in Gymnasium's infos.
    """
    match judgement:
        case (values, Mapping() as parts):
            return _checked_rewards(values, rows), {
                _checked_name(name): _checked_part(name, part, rows) for name, part in parts.items()
            }
    return _checked_rewards(judgement, rows), None


def _checked_rewards(values: object, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    rewards = _floats("the reward function", values, rows)
    finite = np.isfinite(rewards)
    if not finite.all():
        first = int(np.argmin(finite))
        raise ValueError(
            f"the reward is {rewards[first]} for row {rows[first]}, but must be a finite number"
        )
    return rewards


def _checked_name(name: object) -> str:
    # In the infos of a vector environment, `_name` is the mask of `name`.
    if not isinstance(name, str) or not name or name.startswith("_"):
        raise ValueError(
            f"the name of a part of the reward is {name!r}, but must be a string that does"
            " not begin with '_'"
        )
    return name


def _checked_part(name: str, values: object, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    part = _floats(f"part {name!r} of the reward", values, rows)
    infinite = np.isinf(part)
    if infinite.any():
        first = int(np.argmax(infinite))
        raise ValueError(
            f"part {name!r} of the reward is {part[first]} for row {rows[first]}, but must"
            " be finite or NaN"
        )
    return part


def _floats(what: str, values: object, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    rule = f"but must give one float per ended row, shape {rows.shape}"
    try:
        floats = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{what} gives {values!r}, {rule}") from error
    if floats.shape != rows.shape:
        raise ValueError(f"{what} gives shape {floats.shape} for rows {rows.tolist()}, {rule}")
    return floats
