"""What judges a finished text: the contract, the small default, and how the contract is checked."""

from collections.abc import Callable
from importlib import import_module

import numpy as np
from numpy.typing import ArrayLike, NDArray

Reward = Callable[[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64] | None], ArrayLike]
"""`reward(tokens (K, L), lengths (K,), prompts (K, P) or None) -> (K,)` finite floats.

`tokens` are right-padded, `lengths` count the eos, `prompts` are left-padded. The K rows are the
texts that have just ended; the arrays are copies, the function may write to them.
"""

DEFAULT_REWARD = "seqgan_envs.rewards:distinct_token_fraction"


def distinct_token_fraction(
    tokens: NDArray[np.int64], lengths: NDArray[np.int64], prompts: NDArray[np.int64] | None
) -> NDArray[np.float64]:
    """Distinct tokens of each row, eos included, divided by the maximum length: in (0, 1].

    Only a text of full length that repeats nothing earns 1.
    """
    max_length = tokens.shape[1]
    real = np.arange(max_length) < lengths[:, None]
    ordered = np.sort(np.where(real, tokens, -1), axis=1)
    # In sorted order a value is new where it differs from the one before; -1 stands for padding.
    new = np.diff(ordered, axis=1, prepend=-1) != 0
    return new.sum(axis=1) / max_length


def load_reward(reward: Reward | str) -> Reward:
    """The reward function itself, or the one that `package.module:attribute` names.

    Raises:
        ValueError: it is neither a callable nor the name of one.
        ImportError: the named module cannot be imported.
    """
    loaded: object = reward
    if isinstance(reward, str):
        module, _, attribute = reward.partition(":")
        if module and attribute:
            loaded = getattr(import_module(module), attribute, None)
    if not callable(loaded):
        raise ValueError(f"reward is a callable or 'package.module:attribute', got {reward!r}")
    return loaded


def checked_rewards(values: ArrayLike, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """What a reward function returned for the given rows, as (K,) floats.

    Raises:
        ValueError: the shape is not (K,), or a reward is NaN or infinite.
    """
    rewards = np.asarray(values, dtype=np.float64)
    if rewards.shape != rows.shape:
        raise ValueError(
            f"a reward function returns one float per ended row, shape {rows.shape},"
            f" got shape {rewards.shape} for rows {rows.tolist()}"
        )
    finite = np.isfinite(rewards)
    if not finite.all():
        first = int(np.argmin(finite))
        raise ValueError(f"a reward is a finite number, got {rewards[first]} for row {rows[first]}")
    return rewards
