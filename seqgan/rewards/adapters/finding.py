"""A reward by what is written on the command line: a short name, a module's, or a file's."""

import ast
import difflib
import functools
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from seqgan.rewards.adapters.functions import as_reward
from seqgan.rewards.adapters.signature import read_signature
from seqgan.rewards.base import RewardModel
from seqgan.rewards.guard import described
from seqgan.system.errors import ConfigurationError
from seqgan.tasks.base import Task

# The rewards that have a short name.
SHIPPED = {
    "constant": "seqgan.rewards.shipped.controls:ConstantReward",
    "random": "seqgan.rewards.shipped.controls:RandomReward",
    "classifier": "seqgan.rewards.adapters.huggingface:ClassifierReward",
    "fluency": "seqgan.training.runs:fluency",
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

# Other packages declare theirs in this entry-point group.
GROUP = "seqgan.rewards"

GRAMMAR = "NAME, module:attribute or file.py:attribute, and (key=literal, ...) after it"


@dataclass(frozen=True)
class Spec:
    """A reward as it was written.

    Args:
        text: all of it, as errors quote it.
        place: a module's dotted name or a file's path; empty for a short name.
        attribute: the short name, or what to take from the place.
        arguments: by name; None where no parentheses were written.
    """

    text: str
    place: str
    attribute: str
    arguments: dict[str, Any] | None


def find_rewards(specs: Sequence[str], task: Task | None = None) -> list[RewardModel]:
    """The rewards of several specifications, with names that differ: `regex`, `regex_2`.

    Raises:
        ConfigurationError: as `find_reward`; or one object is there twice.
    """
    found: list[RewardModel] = []
    for spec in specs:
        reward = find_reward(spec, task)
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


def find_reward(spec: str, task: Task | None = None) -> RewardModel:
    """The reward that a specification names.

    It is `NAME` (of `SHIPPED`, or of another package's entry point in `seqgan.rewards`),
    `package.module:attribute` or `./file.py:attribute`; any of them may have arguments,
    `regex(pattern="a+", weight=2)`, which are Python literals. The working directory and the
    file's folder are importable.

    What is found goes through `as_reward`. Before that, a class is called with the arguments, and
    so is a function that judges no texts: one with a short name, one that declares a parameter
    `task`, which gets the task, and any with parentheses after it. A function that judges texts
    gets the arguments along with each text.

    The reward's name is the one it gives itself; a function's is the attribute's.

    Raises:
        ConfigurationError: in one line, what is wrong with the specification or the user's code.
    """
    written = parse_spec(spec)
    found = _load(written)
    try:
        made = _made(found, written, task)
        if isinstance(made, RewardModel) and not isinstance(made, type):
            return made
        vocabulary = None if task is None else task.vocabulary
        return as_reward(made, name=_name(made, written), vocabulary=vocabulary)
    except ValueError as error:
        raise _wrong(written, str(error)) from error


def parse_spec(spec: str) -> Spec:
    """Splits a specification into place, attribute and arguments.

    Raises:
        ConfigurationError: it is none.
    """
    text = spec.strip()
    target, arguments = text, None
    if text.endswith(")"):
        target, call = _split_call(text)
        arguments = {}
        for keyword in call.keywords:
            try:
                if keyword.arg is None:
                    raise ValueError
                arguments[keyword.arg] = ast.literal_eval(keyword.value)
            except (ValueError, TypeError) as error:
                raise ConfigurationError(
                    f"reward {text!r}: an argument is key=literal, got {ast.unparse(keyword)!r}"
                ) from error
        if call.args:
            got = ast.unparse(call.args[0])
            raise ConfigurationError(f"reward {text!r}: an argument is key=literal, got {got!r}")
    place, colon, attribute = target.rpartition(":")
    names = attribute.split(".") if colon else [attribute.replace("-", "_")]
    if not all(name.isidentifier() for name in names) or (colon and not place):
        raise ConfigurationError(f"a reward is {GRAMMAR}, got {spec!r}")
    return Spec(text, place, attribute, arguments)


def _split_call(text: str) -> tuple[str, ast.Call]:
    """What stands before the arguments, and the arguments as a call of something."""
    for start in (place for place, character in enumerate(text) if character == "("):
        try:
            call = ast.parse("reward" + text[start:], mode="eval").body
        except (SyntaxError, ValueError):
            continue  # a parenthesis in a file's name
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name):
            return text[:start], call
    raise ConfigurationError(f"a reward is {GRAMMAR}, got {text!r}")


# ------------------------------------------------------------------------------- loading


def _load(spec: Spec) -> Any:
    """The attribute, from wherever it is."""
    if spec.place:
        return _attribute(spec, spec.place, spec.attribute)
    shipped = SHIPPED.get(spec.attribute.replace("-", "_"))
    if shipped is not None:
        place, _, attribute = shipped.partition(":")
        return _attribute(spec, place, attribute)
    declared = list(entry_points(group=GROUP))
    mine = [entry for entry in declared if entry.name == spec.attribute]
    if len(mine) > 1:
        packages = " and ".join(sorted(map(_distribution, mine)))
        raise _wrong(spec, f"a name is one package's, got it from {packages}")
    if not mine:
        raise _unknown(spec, (entry.name for entry in declared))
    try:
        return mine[0].load()
    except Exception as error:
        package = _distribution(mine[0])
        raise _wrong(spec, f"the package {package!r} fails to load it: {_told(error)}") from error


def _distribution(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.value


def _unknown(spec: Spec, declared: Iterable[str]) -> ConfigurationError:
    known = sorted({"discriminator", *SHIPPED, *declared})  # the first is the run's own
    near = difflib.get_close_matches(spec.attribute, known, n=1)
    hint = f"; the nearest is {near[0]}" if near else ""
    return _wrong(
        spec,
        f"a short name is one of {', '.join(known)}{hint}; one of your own is module:attribute or"
        " ./file.py:attribute",
    )


def _attribute(spec: Spec, place: str, attribute: str) -> Any:
    is_file = place.endswith(".py") or "/" in place or "\\" in place
    found: Any = _module_of_file(spec, place) if is_file else _module(spec, place)
    for name in attribute.split("."):
        if not hasattr(found, name):
            public = [each for each in vars(found) if not each.startswith("_")]
            near = difflib.get_close_matches(name, public, n=1)
            hint = f"; the nearest is {near[0]}" if near else ""
            raise _wrong(spec, f"there is no {name!r} in {place}{hint}")
        found = getattr(found, name)
    return found


def _module(spec: Spec, place: str) -> ModuleType:
    _importable(Path.cwd())
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is not None and f"{place}.".startswith(f"{error.name}."):
            problem = f"there is no module {error.name!r}, here or installed"
            raise _wrong(spec, problem) from error
        raise _wrong(spec, f"{place} fails to import: {_told(error)}") from error
    except Exception as error:
        raise _wrong(spec, f"{place} fails to import: {_told(error)}") from error


def _module_of_file(spec: Spec, place: str) -> ModuleType:
    """The module of a file: one for all the rewards that are taken from it."""
    path = Path(place).expanduser().resolve()
    if not path.is_file():
        raise _wrong(spec, f"there is no file {place}")
    name = f"reward_file:{path}"  # cannot be the name of an installed module
    if name in sys.modules:
        return sys.modules[name]
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None:
        raise _wrong(spec, f"a file's name ends in .py, got {place}")
    _importable(path.parent)
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module  # before it runs: its dataclasses look themselves up
    try:
        found.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise _wrong(spec, f"{place} fails to run: {_told(error)}") from error
    return module


def _importable(folder: Path) -> None:
    """Modules of the folder can be imported, after all installed ones."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
    importlib.invalidate_caches()


# -------------------------------------------------------------------------------- making


def _made(found: Any, spec: Spec, task: Task | None) -> Any:
    """What was found, called with the arguments where that is what they are for."""
    if not isinstance(found, type):
        if spec.arguments is None and not _makes_rewards(found, spec):
            return found
        if not callable(found):
            raise ConfigurationError(f"only what can be called takes arguments, got {found!r}")
        if _judges_texts(found):
            arguments = spec.arguments or {}
            _bind(found, arguments, partial=True)
            return functools.partial(found, **arguments)
    arguments = dict(spec.arguments or {})
    if "task" in _parameters(found) and "task" not in arguments:
        arguments["task"] = task
    _bind(found, arguments)
    try:
        return found(**arguments)
    except ValueError:
        raise
    except Exception as error:
        raise ConfigurationError(_told(error)) from error


def _makes_rewards(found: Any, spec: Spec) -> bool:
    """Whether it is a function to be called for a reward, though no arguments were written."""
    if not inspect.isfunction(found) or _judges_texts(found):
        return False
    return not spec.place or "task" in _parameters(found)


def _judges_texts(function: Callable[..., Any]) -> bool:
    """Whether the parameters' names say so; `**kwargs` alone says nothing."""
    try:
        signature = read_signature(function)
    except ValueError:
        return False
    return bool(signature.places or signature.names)


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(function).parameters)
    except (ValueError, TypeError):
        return {}


def _bind(function: Callable[..., Any], arguments: dict[str, Any], partial: bool = False) -> None:
    """Raises ValueError where the function does not take the arguments."""
    try:
        signature = inspect.signature(function)
    except (ValueError, TypeError):
        return  # it will say so itself
    try:
        signature.bind_partial(**arguments) if partial else signature.bind(**arguments)
    except TypeError as error:
        raise ConfigurationError(f"its arguments are {signature}: {error}") from error


def _name(made: Any, spec: Spec) -> str | None:
    """A function's is what it was asked for by; anything else names itself."""
    if spec.arguments is None or isinstance(made, functools.partial):
        return spec.attribute.rpartition(".")[2]
    return None


# -------------------------------------------------------------------------------- errors


def _wrong(spec: Spec, problem: str) -> ConfigurationError:
    return ConfigurationError(" ".join(f"reward {spec.text!r}: {problem}".split()))


def _told(error: BaseException) -> str:
    """An exception of the user's code, with its place there."""
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg} ({error.filename}, line {error.lineno})"
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith("<frozen") and frame.filename != __file__
    ]
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return described(error) + place
