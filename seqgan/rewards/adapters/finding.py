"""A reward by what is written on the command line: a short name, a module's, or a file's.

`seqgan.system.plugins` reads the specification and loads the code; here stands what is particular
to rewards: the short names, and what becomes a reward and how.
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from seqgan.rewards.adapters.functions import as_reward
from seqgan.rewards.adapters.signature import read_signature
from seqgan.rewards.base import RewardModel
from seqgan.system.errors import ConfigurationError, SeqganError
from seqgan.system.plugins import Spec, call, check_arguments, load, parse_spec, wrong
from seqgan.tasks.base import Task

# The rewards that have a short name.
SHIPPED = {
    "constant": "seqgan.rewards.shipped.controls:ConstantReward",
    "random": "seqgan.rewards.shipped.controls:RandomReward",
    "classifier": "seqgan.rewards.adapters.huggingface:ClassifierReward",
    "length": "seqgan.rewards.shipped.length:Length",
    "lexicon": "seqgan.rewards.shipped.texts:lexicon",
    "ngram_precision": "seqgan.rewards.shipped.ngrams:ngram_precision",
    "novelty": "seqgan.rewards.shipped.novelty:novelty",
    "profanity": "seqgan.rewards.shipped.packages:Profanity",
    "rankgan": "seqgan.rewards.shipped.ranking:rankgan",
    "regex": "seqgan.rewards.shipped.texts:Regex",
    "repetition": "seqgan.rewards.shipped.ngrams:Repetition",
    "sentiment": "seqgan.rewards.shipped.packages:Sentiment",
    "toxicity": "seqgan.rewards.shipped.texts:toxicity",
    "true_likelihood": "seqgan.rewards.shipped.likelihood:true_likelihood",
}

# A short name too, but of a reward that a run makes of its own settings.
DISCRIMINATOR = "discriminator"

# Other packages declare theirs in this entry-point group.
GROUP = "seqgan.rewards"

NO_OTHERS: Mapping[str, str] = MappingProxyType({})


def find_rewards(
    specs: Sequence[str], task: Task | None = None, others: Mapping[str, str] = NO_OTHERS
) -> list[RewardModel]:
    """The rewards of several specifications, with names that differ: `regex`, `regex_2`.

    Args:
        others: as for `find_reward`.

    Raises:
        ConfigurationError: as `find_reward`; or one object is there twice.
    """
    found: list[RewardModel] = []
    for spec in specs:
        reward = find_reward(spec, task, others)
        if any(reward is other for other in found):
            raise ConfigurationError(
                f"reward {spec!r}: a reward is given once, got the same object twice"
            )
        taken, name, number = {other.name for other in found}, reward.name, 2
        while reward.name in taken:
            reward.name = f"{name}_{number}"
            number += 1
        found.append(reward)
    return found


def find_reward(
    spec: str, task: Task | None = None, others: Mapping[str, str] = NO_OTHERS
) -> RewardModel:
    """The reward that a specification names.

    It is `NAME` (of `SHIPPED`, of `others`, or of another package's entry point in
    `seqgan.rewards`), `package.module:attribute` or `./file.py:attribute`; any of them may have
    arguments, `regex(pattern="a+", weight=2)`, which are Python literals. The working directory
    and the file's folder are importable.

    What is found goes through `as_reward`. Before that, a class is called with the arguments, and
    so is a function that judges no texts: one with a short name, one that declares a parameter
    `task`, which gets the task, and any with parentheses after it. A function that judges texts
    gets the arguments along with each text.

    The reward's name is the one it gives itself; a function's is the attribute's.

    Args:
        others: further short names, each with its `module:attribute`: rewards that need what only
            the caller knows, as `fluency` needs runs.

    Raises:
        ConfigurationError: in one line, what is wrong with the specification or the user's code.
    """
    written = parse_spec(spec, "reward")
    found = load(written, {**SHIPPED, **others}, GROUP, (DISCRIMINATOR,))
    made = _made(found, written, task)
    if isinstance(made, RewardModel) and not isinstance(made, type):
        return made
    vocabulary = None if task is None else task.vocabulary
    try:
        return as_reward(made, name=_name(made, written), vocabulary=vocabulary)
    except SeqganError as error:
        raise wrong(written, str(error)) from error


def _made(found: Any, spec: Spec, task: Task | None) -> Any:
    """What was found, called with the arguments where that is what they are for."""
    if not isinstance(found, type):
        if spec.arguments is None and not _makes_rewards(found, spec):
            return found
        if callable(found) and _judges_texts(found):
            arguments = spec.arguments or {}
            check_arguments(found, arguments, spec, partial=True)
            return functools.partial(found, **arguments)
    arguments = dict(spec.arguments or {})
    if "task" in _parameters(found) and "task" not in arguments:
        arguments["task"] = task
    return call(found, arguments, spec)


def _makes_rewards(found: Any, spec: Spec) -> bool:
    """Whether it is a function to be called for a reward, though no arguments were written."""
    if not inspect.isfunction(found) or _judges_texts(found):
        return False
    return not spec.place or "task" in _parameters(found)


def _judges_texts(function: Callable[..., Any]) -> bool:
    """Whether the parameters' names say so; `**kwargs` alone says nothing."""
    try:
        signature = read_signature(function)
    except ConfigurationError:
        return False
    return bool(signature.places or signature.names)


def _parameters(function: Any) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(function).parameters)
    except (ValueError, TypeError):  # none that can be read
        return {}


def _name(made: Any, spec: Spec) -> str | None:
    """A function's is what it was asked for by; anything else names itself."""
    if spec.arguments is None or isinstance(made, functools.partial):
        return spec.attribute.rpartition(".")[2]
    return None
