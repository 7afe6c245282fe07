"""Turns plain functions and modules into reward models."""

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
from seqgan.system.errors import ConfigurationError, described

ROWS_IN_FLIGHT = 64  # simultaneous calls of an asynchronous function that judges one row


def as_reward(
    judge: Any,
    *,
    name: str | None = None,
    takes: Takes | None = None,
    messages: bool = False,
    vocabulary: Vocabulary | None = None,
) -> RewardModel:
    """Makes a reward model of any object that can judge a text.

    - A reward model is returned unchanged.
    - A function gets the arguments that its parameters are named after: see `FunctionReward`.
    - An `nn.Module` gets padded ids: see `ModuleReward`.

    Args:
        name: the reward's name; None takes the name of the function or of the module's class.
        takes: the value for a function's first parameter, if the parameter's name does not say it.
        messages: True gives a function each prompt and completion as a list of one chat message
            (`{"role": ..., "content": text}`), not as a string.
        vocabulary: decodes sequences without a vocabulary of their own.

    Raises:
        ConfigurationError: the object is no reward, or its parameters do not say what it takes.
    """
    if isinstance(judge, type):
        raise ConfigurationError(f"a reward is an object, got the class {judge.__name__} itself")
    if isinstance(judge, RewardModel):
        return judge
    if isinstance(judge, nn.Module):
        return ModuleReward(judge, name)
    if hasattr(judge, "score"):
        missing = [field for field in ("name", "per_token") if not hasattr(judge, field)]
        raise ConfigurationError(
            f"a reward model has score, name and per_token, got a {type(judge).__name__} without"
            f" {' and '.join(missing)}"
        )
    if not callable(judge):
        raise ConfigurationError(
            f"a reward is a reward model, a function or a module, got a {type(judge).__name__}"
        )
    return FunctionReward(judge, name, takes, messages, vocabulary)


@dataclass(frozen=True)
class TrainerState:
    """The progress of a run, with the field names of transformers' `TrainerState`."""

    global_step: int = 0  # number of finished iterations
    max_steps: int = 0  # number of all iterations
    epoch: float = 0.0  # the ratio of these two
    num_input_tokens_seen: int = 0  # number of tokens that the generator has emitted


class FunctionReward(Reward):
    """Makes a reward model of a plain function, whose parameter names choose its arguments.

    A function with a parameter `text` (a string) or `token_ids` (a list of ints, eos included, no
    padding) is called once per row. It may also take `prompt`, and returns a number or None.

    A function with a parameter `texts` or `completions` (a list of strings), `completion_ids` (a
    list of lists of ints), `prompts`, `sequences` (the `Sequences` themselves), or `tokens` and
    `mask` (tensors of shape (batch, time)) is called once per batch. It returns one number or None
    per text, or a tensor of shape (batch,). It may also take TRL's `trainer_state`, `log_metric`
    and `log_extra`.

    Both kinds may take columns of the data by name, and get all arguments with `**kwargs`. Both may
    be asynchronous.

    None means that the reward does not apply; NaN and infinity are errors. Texts are decoded only
    for functions that take them.
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
            inspect.iscoroutinefunction(f) for f in (function, type(function).__call__)
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
        except ConfigurationError as error:
            raise RewardError(self.name, str(error)) from error
        self._extras = {}
        parameters = {*self.signature.places, *names}
        values = {name: self._value(name, sequences) for name in parameters}
        if self.signature.by_row:
            rows = [
                {name: values[name][row] for name in parameters} for row in range(len(sequences))
            ]
            answer: Any = self._judge_rows(rows, names, sequences)
        else:
            answer = self._call(values, names)
            answer = answer if self._loop is None else self._loop.run(answer)
        return self._checked(answer, sequences)

    def follow(self, global_step: int, iteration: int, iterations: int) -> None:
        """Sets the progress that `trainer_state` reports."""
        epoch = iteration / max(iterations, 1)
        self._state = TrainerState(iteration, iterations, epoch, global_step)

    def take_metrics(self) -> dict[str, float]:
        """The mean of each metric that the function logged since the last call."""
        logged, self._metrics = self._metrics, {}
        return {name: sum(values) / len(values) for name, values in logged.items()}

    def take_extras(self) -> dict[str, list[Any]]:
        """Returns the values that the function logged with `log_extra` in the last scoring.

        Values are lists by column, and each value is returned once.
        """
        extras, self._extras = self._extras, {}
        return extras

    def _call(self, values: Mapping[str, Any], names: Sequence[str]) -> Any:
        """Calls the function, with some arguments by place and those in `names` by name."""
        places = [values[name] for name in self.signature.places]
        return self.function(*places, **{name: values[name] for name in names})

    def _judge_rows(
        self, rows: Sequence[Mapping[str, Any]], names: Sequence[str], sequences: Sequences
    ) -> list[Any]:
        """Calls the function once per row. An exception becomes a RewardError with the row."""
        answers: list[Any] = []
        try:
            if self._loop is None:
                for row in rows:
                    answers.append(self._call(row, names))
                return answers
            for value in self._loop.run(self._ask_all(rows, names)):
                if isinstance(value, BaseException):
                    raise value
                answers.append(value)
            return answers
        except Exception as error:
            row_number = len(answers)
            text = text_of(sequences, row_number)
            raise RewardError(self.name, described(error), row_number, text) from error

    async def _ask_all(
        self, rows: Sequence[Mapping[str, Any]], names: Sequence[str]
    ) -> list[Any | BaseException]:
        """Awaits an asynchronous function for all rows, ROWS_IN_FLIGHT at a time.

        Returns an answer or an exception for each row.
        """
        room = asyncio.Semaphore(ROWS_IN_FLIGHT)

        async def ask(row: Mapping[str, Any]) -> Any:
            async with room:
                return await contained(self._call(row, names))

        return await asyncio.gather(*map(ask, rows), return_exceptions=True)

    def _value(self, name: str, sequences: Sequences) -> Any:
        """The argument for a parameter of that name; a list of arguments if called once per row.

        The argument is a copy, so that a function may change it; `sequences` alone are not.
        """
        if name not in self.signature.offered:
            return list(sequences.columns[name])
        match name:
            case "text" | "texts":
                return list(sequences.texts)
            case "completions":
                return self._as_messages("assistant", sequences.texts)
            case "prompt" | "prompts":
                return self._as_messages("user", sequences.prompt_texts)
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

    def _as_messages(self, role: str, texts: Sequence[str]) -> list[Any]:
        """The texts, or with `messages` each text as a conversation of one message."""
        if self.messages:
            return [[{"role": role, "content": text}] for text in texts]
        return list(texts)

    def _log_metric(self, name: str, value: Any) -> None:
        self._metrics.setdefault(name, []).append(float(value))

    def _log_extra(self, column: str, values: Sequence[Any]) -> None:
        self._extras.setdefault(column, []).extend(values)

    def _checked(self, answer: Any, sequences: Sequences) -> Float[Tensor, " batch"]:
        """Checks the function's answer and turns it into a tensor, with NaN for None."""
        size, device = len(sequences), sequences.tokens.device
        if isinstance(answer, Tensor) and answer.dim() != 1:
            rule = "gives a tensor of one value per text"
            raise RewardError(self.name, f"{rule}, ({size},), got {tuple(answer.shape)}")
        try:
            if isinstance(answer, str | bytes | Mapping):
                raise TypeError
            values = answer.tolist() if hasattr(answer, "tolist") else list(answer)
            count = len(values)
        except TypeError as error:
            problem = f"gives one value per text, {size}, got a {type(answer).__name__}"
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
    """The value as a float; NaN if it is no number."""
    try:
        return math.nan if isinstance(value, str) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _name_of(function: Callable[..., Any]) -> str:
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__name__", type(function).__name__)
    return name.strip("<>")  # <lambda>
