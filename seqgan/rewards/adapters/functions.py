"""Plain functions and modules as reward models."""

import asyncio
import functools
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.rewards.adapters.background import BackgroundLoop, contained
from seqgan.rewards.adapters.modules import ModuleReward
from seqgan.rewards.adapters.signature import Takes, read_signature
from seqgan.rewards.base import Reward, RewardError, RewardModel, text_of
from seqgan.rewards.guard import described
from seqgan.system.errors import ConfigurationError

ROWS_IN_FLIGHT = 64  # rows that an asynchronous function of one row is asked about at a time


def as_reward(
    judge: Any,
    *,
    name: str | None = None,
    takes: Takes | None = None,
    messages: bool = False,
    vocabulary: Vocabulary | None = None,
) -> RewardModel:
    """Makes a reward model of whatever can judge a text.

    - A reward model is returned as it is.
    - A function is called with what the names of its parameters ask for: see `FunctionReward`.
    - An `nn.Module` is called with padded ids: see `ModuleReward`.

    Args:
        name: of the reward; by default the function's or the module's class's.
        takes: what a function's first parameter gets, where its name does not say so.
        messages: a function's prompts and completions are lists of one chat message
            (`{"role": ..., "content": text}`), not strings.
        vocabulary: decodes sequences that carry none.

    Raises:
        ConfigurationError: it cannot be a reward, or it is not clear how.
    """
    if isinstance(judge, type):
        raise ConfigurationError(f"a reward is an object, got the class {judge.__name__} itself")
    if isinstance(judge, RewardModel):
        return judge
    if isinstance(judge, nn.Module):
        return ModuleReward(judge, name)
    if hasattr(judge, "score"):
        lacking = [each for each in ("name", "per_token") if not hasattr(judge, each)]
        raise ConfigurationError(
            f"a reward model has score, name and per_token, got a {type(judge).__name__} without"
            f" {' and '.join(lacking)}"
        )
    if not callable(judge):
        raise ConfigurationError(
            f"a reward is a reward model, a function or a module, got a {type(judge).__name__}"
        )
    return FunctionReward(judge, name, takes, messages, vocabulary)


@dataclass(frozen=True)
class TrainerState:
    """How far a run is, in the words of transformers' `TrainerState`."""

    global_step: int = 0  # iterations done
    max_steps: int = 0  # iterations in all
    epoch: float = 0.0  # their ratio
    num_input_tokens_seen: int = 0  # tokens that the generator has emitted


class FunctionReward(Reward):
    """A plain function as a reward model, called with what its parameters are named after.

    Once for each row, where it has a parameter `text` (a string) or `token_ids` (a list of ints,
    eos included, no padding); it may also take `prompt`, and gives a number or None.

    Once for a batch, where it has a parameter `texts` or `completions` (a list of strings),
    `completion_ids` (a list of lists of ints), `prompts`, `sequences` (the `Sequences` themselves),
    or `tokens` and `mask` (tensors of shape (batch, time)); it gives one number or None for each
    text, or a tensor of shape (batch,). TRL's `trainer_state`, `log_metric` and `log_extra` are
    there too.

    Either kind may take columns of the data by their names, and gets all there is with
    `**kwargs`. Both may be asynchronous.

    None says that the reward does not apply; NaN and infinity are errors. Text is decoded only
    for a function that asks for it.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        name: str | None = None,
        takes: Takes | None = None,
        messages: bool = False,
        vocabulary: Vocabulary | None = None,
    ) -> None:
        self.function = function
        self.name = _name_of(function) if name is None else name
        self.signature = read_signature(function, takes)
        self.messages = messages
        self.vocabulary = vocabulary
        self.is_async = any(
            inspect.iscoroutinefunction(each) for each in (function, type(function).__call__)
        )
        self._loop = BackgroundLoop() if self.is_async else None
        self._state = TrainerState()
        self._metrics: dict[str, list[float]] = {}
        self._extras: dict[str, list[Any]] = {}

    def score(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        if sequences.vocabulary is None:
            sequences = replace(sequences, vocabulary=self.vocabulary)
        try:
            names = self.signature.passed(sequences.columns)
        except ValueError as error:
            raise RewardError(self.name, str(error)) from error
        self._extras = {}
        asked = {*self.signature.places, *names}
        values = {each: self._value(each, sequences) for each in asked}
        if self.signature.by_row:
            rows = [{each: values[each][row] for each in asked} for row in range(len(sequences))]
            given: Any = self._of_rows(rows, names, sequences)
        else:
            given = self._call(values, names)
            given = given if self._loop is None else self._loop.run(given)
        return self._checked(given, sequences)

    def follow(self, global_step: int, iteration: int, iterations: int) -> None:
        """What `trainer_state` says from now on."""
        epoch = iteration / max(iterations, 1)
        self._state = TrainerState(iteration, iterations, epoch, global_step)

    def take_metrics(self) -> dict[str, float]:
        """The mean of each metric that the function logged since the last call."""
        logged, self._metrics = self._metrics, {}
        return {name: sum(values) / len(values) for name, values in logged.items()}

    def take_extras(self) -> dict[str, list[Any]]:
        """What the function said about the rows of the last scoring, by column."""
        extras, self._extras = self._extras, {}
        return extras

    def _call(self, values: Mapping[str, Any], names: Sequence[str]) -> Any:
        places = [values[name] for name in self.signature.places]
        return self.function(*places, **{name: values[name] for name in names})

    def _of_rows(
        self, rows: Sequence[Mapping[str, Any]], names: Sequence[str], sequences: Sequences
    ) -> list[Any]:
        """What the function gives for each row; its exception is the row's."""
        given: list[Any] = []
        try:
            if self._loop is None:
                for row in rows:
                    given.append(self._call(row, names))
                return given
            for value in self._loop.run(self._ask_all(rows, names)):
                if isinstance(value, BaseException):
                    raise value
                given.append(value)
            return given
        except Exception as error:
            row_number = len(given)
            text = text_of(sequences, row_number)
            raise RewardError(self.name, described(error), row_number, text) from error

    async def _ask_all(
        self, rows: Sequence[Mapping[str, Any]], names: Sequence[str]
    ) -> list[Any | BaseException]:
        """What an asynchronous function gives or raises for each row, some at a time."""
        room = asyncio.Semaphore(ROWS_IN_FLIGHT)

        async def ask(row: Mapping[str, Any]) -> Any:
            async with room:
                return await contained(self._call(row, names))

        return await asyncio.gather(*map(ask, rows), return_exceptions=True)

    def _value(self, name: str, sequences: Sequences) -> Any:
        """What a parameter of that name gets: for a function of one row, a list with each row's.

        Always a copy, so that a function may change it; `sequences` alone are what they are.
        """
        if name not in self.signature.offered:
            return list(sequences.columns[name])
        match name:
            case "text" | "texts":
                return list(sequences.texts)
            case "completions":
                return self._spoken("assistant", sequences.texts)
            case "prompt" | "prompts":
                return self._spoken("user", sequences.prompt_texts)
            case "token_ids" | "completion_ids":
                lengths = sequences.lengths.tolist()
                rows = zip(sequences.tokens.tolist(), lengths, strict=True)
                return [row[:length] for row, length in rows]
            case "sequences":
                return sequences
            case "tokens":
                return sequences.tokens.clone()
            case "mask":
                return sequences.mask.clone()
            case "trainer_state":
                return self._state
            case "log_metric":
                return self._log_metric
        return self._log_extra

    def _spoken(self, role: str, texts: Sequence[str]) -> list[Any]:
        """The texts, or each as a conversation of one message."""
        if self.messages:
            return [[{"role": role, "content": text}] for text in texts]
        return list(texts)

    def _log_metric(self, name: str, value: Any) -> None:
        self._metrics.setdefault(name, []).append(float(value))

    def _log_extra(self, column: str, values: Sequence[Any]) -> None:
        self._extras.setdefault(column, []).extend(values)

    def _checked(self, given: Any, sequences: Sequences) -> Float[Tensor, " batch"]:
        """What the function gave, as a tensor in which NaN stands for None."""
        size, device = len(sequences), sequences.tokens.device
        if isinstance(given, Tensor) and given.dim() != 1:
            rule = "gives a tensor of one value per text"
            raise RewardError(self.name, f"{rule}, ({size},), got {tuple(given.shape)}")
        try:
            if isinstance(given, str | bytes | Mapping):
                raise TypeError
            values = given.tolist() if hasattr(given, "tolist") else list(given)
            count = len(values)
        except TypeError as error:
            problem = f"gives one value per text, {size}, got a {type(given).__name__}"
            raise RewardError(self.name, problem) from error
        if count != size:
            raise RewardError(self.name, f"gives one value per text, {size}, got {count}")
        numbers = [math.nan] * size
        for row, value in enumerate(values):
            if value is None:
                continue
            numbers[row] = _number(value)
            if not math.isfinite(numbers[row]):
                rule = "a value is a finite number, or None where the reward does not apply"
                text = text_of(sequences, row)
                raise RewardError(self.name, f"{rule}, got {value!r}", row, text)
        return torch.tensor(numbers, device=device)


def _number(value: Any) -> float:
    """The value as a float; NaN for what is no number."""
    try:
        return math.nan if isinstance(value, str) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _name_of(function: Callable[..., Any]) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__name__", type(function).__name__)
    return name.strip("<>")  # <lambda>
