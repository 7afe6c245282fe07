"""Turns plain functions and modules into reward models."""

import asyncio
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.functional.rescaling import weighted_sum
from seqgan.rewards.adapters.answers import UNASKED, Answers, read_answers, split_answer
from seqgan.rewards.adapters.background import BackgroundLoop, contained
from seqgan.rewards.adapters.huggingface import openings
from seqgan.rewards.adapters.modules import ModuleReward
from seqgan.rewards.adapters.signature import Takes, read_signature
from seqgan.rewards.base import Reward, RewardError, RewardModel, SomeFailed
from seqgan.system.errors import ConfigurationError
from seqgan.system.surroundings import is_failure

ROWS_IN_FLIGHT = 64  # simultaneous calls of an asynchronous function that judges one row
NO_MESSAGES = "string indices must be integers"  # Python's error of completion[0]["content"]

# Arguments that may be chat messages, and who says them.
ROLES = MappingProxyType(
    {
        "prompt": "user",
        "prompts": "user",
        "prompt_texts": "user",
        "completion": "assistant",
        "completions": "assistant",
        "responses": "assistant",
        "outputs": "assistant",
        "gen_texts": "assistant",
    }
)


def as_reward(
    judge: Any,
    *,
    name: str | None = None,
    takes: Takes | None = None,
    messages: bool | None = None,
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
            (`{"role": ..., "content": text}`), False as a string. None reads it from the
            annotation of `completions`; where that says nothing, strings are tried first.
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

    None means that the reward does not apply. NaN and infinity are failures, and so is an
    exception, raised or given in a row's place. The first answers with a list for each token make
    the reward `per_token`, the first with a mapping give its `heads`. Texts are decoded only for
    functions that take them.

    Args:
        in_flight: number of simultaneous calls of a function that is called once per row; 0 makes
            it 64 for an asynchronous function and 1 for any other.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        name: str | None = None,
        takes: Takes | None = None,
        messages: bool | None = None,
        vocabulary: Vocabulary | None = None,
        in_flight: int = 0,
    ) -> None:
        self.function = function
        self.name = _name_of(function) if name is None else name
        self.signature = read_signature(function, takes)
        self.messages = self.signature.messages if messages is None else messages
        self.vocabulary = vocabulary
        self.in_flight = in_flight
        inner = _unwrapped(function)
        self.is_async = any(inspect.iscoroutinefunction(f) for f in (inner, type(inner).__call__))
        self.heads: tuple[str, ...] = ()
        self._loop = BackgroundLoop() if self.is_async else None
        self._state = TrainerState()
        self._metrics: dict[str, list[float]] = {}
        self._extras: dict[str, list[Any]] = {}

    def score(self, sequences: Sequences) -> Float[Tensor, " *shape"]:
        """(batch,) or (batch, time) rewards; the sum of the heads, where there are several."""
        answers = self._answers(sequences)
        scores = answers.values
        if answers.heads:
            scores = weighted_sum(scores.T, torch.ones(len(answers.heads)))
        return self._given(scores, answers, sequences)

    def score_heads(self, sequences: Sequences) -> Float[Tensor, "batch head"]:
        """The rewards by head, NaN where one does not apply; one column without heads."""
        answers = self._answers(sequences)
        scores = answers.values.sum(dim=1) if answers.per_token else answers.values
        return self._given(scores if answers.heads else scores[:, None], answers, sequences)

    def _given(
        self, scores: Float[Tensor, "batch *shape"], answers: Answers, sequences: Sequences
    ) -> Float[Tensor, "batch *shape"]:
        if answers.failures:
            raise SomeFailed(self.name, sequences, scores, answers.failures, answers.unasked)
        return scores

    def _answers(self, sequences: Sequences) -> Answers:
        """Asks the function about all rows, and remembers the kind of its answers."""
        if sequences.vocabulary is None:
            sequences = replace(sequences, vocabulary=self.vocabulary)
        try:
            names = self.signature.passed(sequences.columns)
        except ConfigurationError as error:
            raise RewardError(self.name, str(error)) from error
        self._extras = {}
        size, parameters = len(sequences), {*self.signature.places, *names}
        values = {name: self._value(name, sequences) for name in parameters}
        if self.signature.by_row:
            rows = [{name: values[name][row] for name in parameters} for row in range(size)]
            entries = self._judge_rows(rows, names)
        else:
            entries = split_answer(self._call(values, names), size, self.name)
        answers = read_answers(entries, sequences, self.heads, self.per_token)
        self.heads, self.per_token = answers.heads, answers.per_token
        return answers

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

    def _judge_rows(self, rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[Any]:
        """Calls the function once per row. An exception stands in its row's place.

        Without simultaneous calls the first exception leaves the rows after it unasked.
        """
        if self._loop is not None:
            return list(self._loop.run(self._ask_all(rows, names)))

        def entry(row: Mapping[str, Any]) -> Any:
            try:
                return self._call(row, names)
            except BaseException as error:
                if not is_failure(error):
                    raise
                return error

        if self.in_flight > 1:
            with ThreadPoolExecutor(self.in_flight) as pool:
                return list(pool.map(entry, rows))
        entries: list[Any] = []
        for row in rows:
            entries.append(entry(row))
            if isinstance(entries[-1], BaseException):
                break
        return [*entries, *[UNASKED] * (len(rows) - len(entries))]

    async def _ask_all(self, rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[Any]:
        """Awaits an asynchronous function for all rows, so many at a time as may be in flight."""
        room = asyncio.Semaphore(self.in_flight or ROWS_IN_FLIGHT)

        async def ask(row: Mapping[str, Any]) -> Any:
            async with room:
                return await contained(self._awaited(row, names))

        return await asyncio.gather(*map(ask, rows), return_exceptions=True)

    def _call(self, values: Mapping[str, Any], names: Sequence[str]) -> Any:
        """Calls the function about a row or a batch.

        Where nobody said if it takes strings or messages, it gets strings, and messages once it
        failed as only functions of messages do.
        """
        if self.is_async and self._loop is not None:
            return self._loop.run(self._awaited(values, names))
        try:
            answer = self._passed(values, names, bool(self.messages))
        except TypeError as error:
            if not self._hints_at_messages(error):
                raise
            try:
                answer = self._passed(values, names, True)
            except Exception:
                raise error from None
            self.messages = True
        if not inspect.isawaitable(answer):
            return answer
        self._loop = BackgroundLoop() if self._loop is None else self._loop
        return self._loop.run(contained(answer))

    async def _awaited(self, values: Mapping[str, Any], names: Sequence[str]) -> Any:
        """As `_call`, of an asynchronous function."""
        try:
            return await self._passed(values, names, bool(self.messages))
        except TypeError as error:
            if not self._hints_at_messages(error):
                raise
            try:
                answer = await self._passed(values, names, True)
            except Exception:
                raise error from None
        self.messages = True
        return answer

    def _hints_at_messages(self, error: TypeError) -> bool:
        return self.messages is None and NO_MESSAGES in str(error)

    def _passed(self, values: Mapping[str, Any], names: Sequence[str], messages: bool) -> Any:
        """The function's answer, given some arguments by place and those in `names` by name."""
        if self.messages is not False:  # the second try needs the arguments as they were
            values = {name: _argument(name, value, messages) for name, value in values.items()}
        places = [values[name] for name in self.signature.places]
        return self.function(*places, **{name: values[name] for name in names})

    def _value(self, name: str, sequences: Sequences) -> Any:
        """The argument for a parameter of that name; a list of arguments if called once per row.

        The argument is a copy, so that a function may change it; `sequences` alone are not.
        """
        if name not in self.signature.offered and name in sequences.columns:
            return list(sequences.columns[name])
        match name:
            case "text" | "texts" | "completion" | "completions" | "response" | "responses":
                return list(sequences.texts)
            case "solution_str" | "outputs" | "gen_texts":
                return list(sequences.texts)
            case "prompt" | "prompts" | "prompt_texts":
                return list(sequences.prompt_texts)
            case "samples":
                pairs = zip(openings(sequences), sequences.texts, strict=True)
                return [opening + text for opening, text in pairs]
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

    def _log_metric(self, name: str, value: Any) -> None:
        self._metrics.setdefault(name, []).append(float(value))

    def _log_extra(self, column: str, values: Sequence[Any]) -> None:
        self._extras.setdefault(column, []).extend(values)


def _argument(name: str, value: Any, messages: bool) -> Any:
    """A copy of an argument that is a list; texts become messages where that is asked for."""
    if not messages or name not in ROLES:
        return list(value) if isinstance(value, list) else value
    if isinstance(value, str):
        return [{"role": ROLES[name], "content": value}]
    return [[{"role": ROLES[name], "content": text}] for text in value]


def _unwrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function in a partial one."""
    while isinstance(function, functools.partial):
        function = function.func
    return function


def _name_of(function: Callable[..., Any]) -> str:
    function = _unwrapped(function)
    name = getattr(function, "__name__", type(function).__name__)
    return name.strip("<>")  # <lambda>
