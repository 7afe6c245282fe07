"""The environment from Python, made in one call."""

import os
from collections.abc import Callable, Sequence
from inspect import isclass, signature
from typing import Any, overload

import numpy as np
from gymnasium.vector import AutoresetMode
from numpy.typing import NDArray

from seqgan.data.vocabulary import Vocabulary
from seqgan.data.words import split_words
from seqgan.rewards.adapters.coding import coding_of
from seqgan.rewards.adapters.environment import as_env_reward
from seqgan.rewards.adapters.finding import find_reward
from seqgan.rewards.adapters.functions import FunctionReward, as_reward
from seqgan.rewards.base import RewardModel
from seqgan.system.errors import ConfigurationError
from seqgan.system.plugins import nearest
from seqgan_envs import TextGenerationEnv, TextGenerationVectorEnv
from seqgan_envs.rewards import DEFAULT_REWARD, load_reward
from seqgan_envs.rules import DEFAULT_WORDS


@overload
def make_env(
    words: Vocabulary | Sequence[str] = ...,
    reward: RewardModel | Callable[..., Any] | str | None = ...,
    *,
    max_length: int = ...,
    num_envs: None = ...,
    prompts: Sequence[str] | Sequence[Sequence[int]] | NDArray[Any] | None = ...,
    device: str = ...,
    **settings: Any,
) -> TextGenerationEnv: ...


@overload
def make_env(
    words: Vocabulary | Sequence[str] = ...,
    reward: RewardModel | Callable[..., Any] | str | None = ...,
    *,
    max_length: int = ...,
    num_envs: int,
    prompts: Sequence[str] | Sequence[Sequence[int]] | NDArray[Any] | None = ...,
    device: str = ...,
    **settings: Any,
) -> TextGenerationVectorEnv: ...


def make_env(
    words: Vocabulary | Sequence[str] = DEFAULT_WORDS,
    reward: RewardModel | Callable[..., Any] | str | None = None,
    *,
    max_length: int = 8,
    num_envs: int | None = None,
    prompts: Sequence[str] | Sequence[Sequence[int]] | NDArray[Any] | None = None,
    device: str = "cpu",
    **settings: Any,
) -> TextGenerationEnv | TextGenerationVectorEnv:
    """Makes an environment in which an action is a word and an episode is a text.

    `seqgan.make_env(words=["a", "dog", "barks"], reward=lambda text: float("dog" in text))`

    Args:
        words: the words that the agent may say. Of strings with white space in them, such as
            texts, the words are taken, in lower case and each once. Or a vocabulary, such as
            `run.vocabulary`.
        reward: judges finished texts: a function, whose parameters' names say what it gets
            (`text`, `texts`, `tokens`, ...; docs/rewards.md), a module, a reward model, or a name
            as `--reward` takes it. None counts distinct words.
        max_length: tokens of the longest text, the end of the text included.
        num_envs: None makes a single environment, a number one vector environment of so many rows.
        prompts: texts to go on from, one of which is drawn for each episode; as strings, or as ids
            (number of prompts, P), left-padded.
        device: of a reward that is a network.
        settings: other arguments of `TextGenerationEnv`: `observation`, `action_mask`,
            `invalid_action_penalty`, `render_mode`; of the vector environment also
            `autoreset_mode`, by default "SameStep".

    Raises:
        ConfigurationError: the words, the prompts or the reward cannot be used.
        TypeError: there is no such argument.
        ValueError: another argument breaks its rule.
    """
    made = TextGenerationEnv if num_envs is None else TextGenerationVectorEnv
    known = [*signature(make_env).parameters, *signature(made).parameters]
    for name in settings:
        if name not in known:
            raise TypeError(f"make_env() has no argument {name}{nearest(name, known)}")
    vocabulary = words if isinstance(words, Vocabulary) else Vocabulary(_words_of(words))
    arguments: dict[str, Any] = {
        "words": vocabulary.words,
        "eos": vocabulary.has_eos,
        "pad_id": vocabulary.pad_id,
        "max_length": max_length,
        "reward": _env_reward(reward, vocabulary, device),
        "prompts": _prompt_ids(prompts, vocabulary),
        "separator": " " if vocabulary.level == "word" else "",
        "decode": vocabulary.decode if vocabulary.level == "subword" else None,
    }
    if num_envs is None:
        return TextGenerationEnv(**arguments, **settings)
    settings = {"autoreset_mode": AutoresetMode.SAME_STEP, **settings}
    return TextGenerationVectorEnv(num_envs, **arguments, **settings)


def _env_reward(
    reward: RewardModel | Callable[..., Any] | str | None, vocabulary: Vocabulary, device: str
) -> Callable[..., Any] | str:
    """A function as it is, if the environment can ask it; else what makes one of a reward model."""
    if reward is None:
        return DEFAULT_REWARD
    model = find_reward(reward, device=device) if isinstance(reward, str) else as_reward(reward)
    if isinstance(model, FunctionReward) and not model.signature.tensors:
        return _that_can_be_pickled(model.function, reward)
    return as_env_reward(model, vocabulary, device)


def _that_can_be_pickled(function: Callable[..., Any], named: object) -> Callable[..., Any]:
    """A file's function as the environment itself loads it, since pickle knows no file's module.

    Args:
        named: as the reward was given.
    """
    place, _, attribute = str(named).rpartition(":")
    if not isinstance(named, str) or not place.endswith(".py") or not attribute.isidentifier():
        return function
    loaded = load_reward(f"{os.path.expanduser(place)}:{attribute}")
    inner = getattr(loaded, "__wrapped__", loaded)
    same = [getattr(one, "__qualname__", type(one).__name__) for one in (inner, function)]
    return loaded if same[0] == same[1] and not isclass(inner) else function


def _words_of(words: Sequence[str]) -> tuple[str, ...]:
    """Distinct words in the order of their first use; texts are cut into theirs."""
    found: dict[str, None] = {}
    if isinstance(words, str) and len(words.split()) < 2:
        raise ConfigurationError(
            f"words is {words!r}, but must be a list of words or of texts; those of a file:"
            f" open({words!r}).read().splitlines()"
        )
    for each in [words] if isinstance(words, str) else words:
        if not isinstance(each, str):
            raise ConfigurationError(f"{each!r} is no word: words are strings")
        parts = each.split()
        found |= dict.fromkeys(split_words(each) if len(parts) > 1 else [each])
    return tuple(found)


def _prompt_ids(
    prompts: Sequence[str] | Sequence[Sequence[int]] | NDArray[Any] | None, vocabulary: Vocabulary
) -> NDArray[Any] | None:
    """Prompts as ids (number of prompts, P), left-padded."""
    if prompts is None:
        return None
    prompts = [prompts] if isinstance(prompts, str) else prompts
    if not (isinstance(prompts, list | tuple) and prompts and isinstance(prompts[0], str)):
        return np.asarray(prompts)
    coding = coding_of(vocabulary)
    rows = []
    for prompt in prompts:
        try:
            rows.append(coding.text(prompt))
        except KeyError as error:
            raise ConfigurationError(
                f"the prompt {prompt!r} has the word {error}, which is not among the words"
            ) from error
    width = max(map(len, rows))
    return np.array([[vocabulary.pad_id] * (width - len(row)) + row for row in rows])
