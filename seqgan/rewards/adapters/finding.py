"""Rewards by their specification: a short name, or an attribute of a module or of a file.

`seqgan.system.plugins` reads the specification and loads the code. This module knows the short
names of rewards, and makes a reward of the loaded object.
"""

import ast
import functools
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from seqgan.rewards.adapters.functions import as_reward
from seqgan.rewards.base import RewardModel
from seqgan.system.errors import ConfigurationError, SeqganError
from seqgan.system.plugins import (
    Spec,
    call,
    check_arguments,
    load,
    parse_spec,
    split_call,
    wrong,
)
from seqgan.tasks.base import Task
from seqgan_envs.signature import SignatureError, Takes, read_signature

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

# These short names stand for a reward that a run makes of its own settings, and of another run.
DISCRIMINATOR, FLUENCY = "discriminator", "fluency"

NAMES = (*SHIPPED, DISCRIMINATOR, FLUENCY)

# Other packages declare their rewards in this entry-point group.
GROUP = "seqgan.rewards"

# Arguments of `as_reward` that may stand among those of a function.
HOW = ("messages", "takes")

# Parameters of rewards that the run itself fills in.
OF_THE_RUN = ("task", "device")

NO_OTHERS: Mapping[str, str] = MappingProxyType({})


def find_rewards(
    specs: Sequence[str],
    task: Task | None = None,
    others: Mapping[str, str] = NO_OTHERS,
    device: str = "cpu",
) -> list[RewardModel]:
    """Loads the rewards of several specifications, with distinct names: `regex`, `regex_2`.

    Args:
        others: see `find_reward`.
        device: see `find_reward`.

    Raises:
        ConfigurationError: see `find_reward`; or two specifications load the same object.
    """
    rewards: list[RewardModel] = []
    for spec in specs:
        reward = find_reward(spec, task, others, device)
        if any(reward is other for other in rewards):
            raise ConfigurationError(
                f"reward {spec!r} is the same object as another, but a reward must be given once"
            )
        names, name, number = {other.name for other in rewards}, reward.name, 2
        while reward.name in names:
            reward.name = f"{name}_{number}"
            number += 1
        rewards.append(reward)
    return rewards


def find_reward(
    spec: str,
    task: Task | None = None,
    others: Mapping[str, str] = NO_OTHERS,
    device: str = "cpu",
) -> RewardModel:
    """Loads the reward that a specification names.

    A specification is `NAME` (of `SHIPPED`, of `others`, or of another package's entry point in
    `seqgan.rewards`), `package.module:attribute` or `./file.py:attribute`; or the folder or hub
    name of a classifier, see `spelt_out`. Arguments may follow, as Python literals:
    `regex("a+", where="fullmatch")`. The working directory and the file's folder are importable.

    `as_reward` makes a reward of the loaded object. Before that, a class is called with the
    arguments. So is a function that makes a reward: one with a short name, one with a parameter
    `task` (it gets the task), or one that judges no texts and has parentheses after it. A function
    that judges texts gets the arguments along with each text. `messages` and `takes`, where the
    function has no such parameter of its own, are those of `as_reward`.

    A reward that names itself keeps its name; a function's reward is named after the attribute.

    Args:
        others: further short names, each with its `module:attribute`. Their rewards belong to the
            caller, as `fluency` does, which reads runs.
        device: where a reward that has a parameter `device` computes: a shipped one, or one whose
            parameter has no default.

    Raises:
        ConfigurationError: the specification or the user's code is wrong; the message is one line.
    """
    parsed = parse_spec(spelt_out(spec), "reward")
    loaded = load(parsed, {**SHIPPED, **others}, GROUP, (DISCRIMINATOR,))
    parsed, how = _told_apart(loaded, _by_name(loaded, parsed))
    judge = _judge(loaded, parsed, {"task": task, "device": device}, how.get("takes"))
    if isinstance(judge, RewardModel) and not isinstance(judge, type):
        if how:
            raise wrong(parsed, f"{' and '.join(how)} is for functions, but this is a reward model")
        return judge
    vocabulary = None if task is None else task.vocabulary
    try:
        return as_reward(judge, name=_name(judge, parsed), vocabulary=vocabulary, **how)
    except SeqganError as error:
        raise wrong(parsed, str(error)) from error


def spelt_out(spec: str) -> str:
    """The specification with the folder, or hub name, of a classifier as `classifier`'s argument.

    `models/tone` is `classifier('models/tone')`, and `models/tone(label="polite")` is
    `classifier('models/tone', label='polite')`. Other specifications are given back as they are.
    """
    target, written = spec.strip(), ""
    if target.endswith(")"):
        target, given = split_call(target, "reward")
        written = "".join(f", {ast.unparse(each)}" for each in (*given.args, *given.keywords))
    if ":" in target or target.endswith(".py") or target.replace("-", "_") in NAMES:
        return spec
    is_place = "/" in target or target.startswith((".", "~"))
    if is_place or (Path(target) / "config.json").is_file():
        return f"classifier({os.path.expanduser(target)!r}{written})"
    return spec


def _by_name(loaded: Any, spec: Spec) -> Spec:
    """The specification with a name for each of its arguments.

    Those without a name go to the parameters in their order, but for those that the run fills in;
    of a function that judges texts, to its options, the parameters with a default.

    Raises:
        ConfigurationError: there are more of them than such parameters.
    """
    if not spec.in_order:
        return spec
    judges = not isinstance(loaded, type) and callable(loaded) and _judges_texts(loaded)
    names = [
        name
        for name, parameter in _parameters(loaded).items()
        if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and (parameter.default is not parameter.empty if judges else name not in OF_THE_RUN)
    ]
    values = spec.in_order
    if len(values) > len(names):
        takes = ", ".join(names) or "none"
        raise wrong(spec, f"{values[len(names)]!r} is one argument too many; it takes {takes}")
    given = dict(zip(names, values, strict=False))
    if twice := given.keys() & (spec.arguments or {}).keys():
        raise wrong(spec, f"{min(twice)} has two values")
    return replace(spec, arguments={**given, **(spec.arguments or {})}, in_order=())


def _told_apart(loaded: Any, spec: Spec) -> tuple[Spec, dict[str, Any]]:
    """Tells the arguments of `as_reward` (`messages`, `takes`) from the loaded object's own.

    Returns:
        The specification without the former, and them.

    Raises:
        ConfigurationError: one has a value that it cannot have.
    """
    own = _parameters(loaded)
    how = {name: v for name, v in (spec.arguments or {}).items() if name in HOW and name not in own}
    if how.get("messages") not in (None, True, False):
        raise wrong(spec, f"messages is {how['messages']!r}, but must be True or False")
    if not how or spec.arguments is None:
        return spec, {}
    rest = {name: value for name, value in spec.arguments.items() if name not in how}
    return replace(spec, arguments=rest), how


def _judge(
    loaded: Any, spec: Spec, of_the_run: Mapping[str, Any], takes: Takes | None = None
) -> Any:
    """Returns the object that judges: the loaded one, or the result of calling it."""
    if not isinstance(loaded, type):
        if spec.arguments is None and not _makes_rewards(loaded, spec):
            return loaded
        if callable(loaded) and (takes is not None or _judges_texts(loaded)):
            arguments = spec.arguments or {}
            check_arguments(loaded, arguments, spec, partial=True)
            return functools.partial(loaded, **arguments)
    arguments = dict(spec.arguments or {})
    parameters = _parameters(loaded)
    for name, value in of_the_run.items():
        if name in parameters and name not in arguments:
            own = parameters[name].default is not inspect.Parameter.empty and spec.place
            if name == "task" or not own:
                arguments[name] = value
    return call(loaded, arguments, spec)


def _makes_rewards(loaded: Any, spec: Spec) -> bool:
    """Tells a function that has to be called for a reward, though no arguments were written."""
    if not inspect.isfunction(loaded) or _judges_texts(loaded):
        return False
    return not spec.place or "task" in _parameters(loaded)


def _judges_texts(function: Callable[..., Any]) -> bool:
    """Tells by the parameters' names if a function judges texts; `**kwargs` alone says nothing."""
    try:
        signature = read_signature(function)
    except SignatureError:
        return False
    return bool(signature.places or signature.names)


def _parameters(function: Any) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(function).parameters)
    except (ValueError, TypeError):  # its signature cannot be read
        return {}


def _name(judge: Any, spec: Spec) -> str | None:
    """Returns a function's name in the specification; None for an object that names itself."""
    if spec.arguments is None or isinstance(judge, functools.partial):
        return spec.attribute.rpartition(".")[2]
    return None
