"""Asks a reward function about texts: one convention in the environment, in runs and in TRL.

The names of a function's parameters say what it gets (`seqgan_envs.signature`), and its answers
say what they are (`seqgan_envs.answers`).
"""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from seqgan_envs.answers import UNASKED, Answers, read_answers, split_answer
from seqgan_envs.signature import Takes, read_signature

if TYPE_CHECKING:
    from seqgan_envs.background import BackgroundLoop

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


@dataclass(frozen=True)
class TrainerState:
    """The progress of a run, with the field names of transformers' `TrainerState`."""

    global_step: int = 0  # number of finished iterations
    max_steps: int = 0  # number of all iterations
    epoch: float = 0.0  # the ratio of these two
    num_input_tokens_seen: int = 0  # number of tokens that the generator has emitted


class Batch(Protocol):
    """Finished texts, in all forms that a function may ask for. Every list is a copy."""

    lengths: list[int]  # numbers of each row's tokens, eos included
    width: int  # columns of the padded batch

    @property
    def columns(self) -> Mapping[str, Sequence[Any]]:
        """Further data, an entry for each row."""
        ...

    def texts(self) -> list[str]: ...

    def prompt_texts(self) -> list[str]: ...

    def samples(self) -> list[str]:
        """Each prompt with its completion."""
        ...

    def token_ids(self) -> list[list[int]]:
        """The ids of each row, eos included, no padding."""
        ...

    def array(self, name: str) -> Any:
        """`tokens`, `lengths`, `mask`, `prompts` (None where there are none) as NumPy arrays."""
        ...

    def tensor(self, name: str) -> Any:
        """`tokens` and `mask` as tensors, or the `sequences`."""
        ...


class AskedFunction:
    """A reward function, asked about batches of texts.

    Args:
        function: judges texts.
        takes: the argument for its first parameter, if the parameter's name does not say it.
        messages: True gives prompts and completions as chat messages, False as strings; None reads
            it from the annotation of `completions`; where that says nothing, strings are tried
            first.
        in_flight: number of simultaneous calls of a function that is called once per row; 0 makes
            it 64 for an asynchronous function and 1 for any other.

    Raises:
        SignatureError: the parameters' names do not say what the function takes.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        takes: Takes | None = None,
        messages: bool | None = None,
        in_flight: int = 0,
    ) -> None:
        self.function = function
        self.signature = read_signature(function, takes)
        self.messages = self.signature.messages if messages is None else messages
        self.in_flight = in_flight
        inner = unwrapped(function)
        self.is_async = any(inspect.iscoroutinefunction(f) for f in (inner, type(inner).__call__))
        self.heads: tuple[str, ...] = ()
        self.per_token = False
        self._loop = _background() if self.is_async else None
        self._state = TrainerState()
        self._metrics: dict[str, list[float]] = {}
        self._extras: dict[str, list[Any]] = {}

    def ask(self, batch: Batch) -> Answers:
        """Asks the function about all rows, and remembers the kind of its answers.

        Raises:
            SignatureError: a parameter is no argument and no column of the data.
            AnswerError: there are more or fewer answers than rows.
        """
        columns = batch.columns
        names = self.signature.passed(columns)
        self._extras = {}
        size, parameters = len(batch.lengths), {*self.signature.places, *names}
        values = {name: self._value(name, batch) for name in parameters}
        if self.signature.by_row:
            rows = [{name: values[name][row] for name in parameters} for row in range(size)]
            entries = self._judge_rows(rows, names)
        else:
            entries = split_answer(self._combined(self._call(values, names)), size)
        answers = read_answers(entries, batch.lengths, batch.width, self.heads, self.per_token)
        self.heads, self.per_token = answers.heads, answers.per_token
        return answers

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

    def is_failure(self, error: BaseException) -> bool:
        """True for an exception that is a row's failure, and ends nothing else."""
        return isinstance(error, Exception)

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
                if not self.is_failure(error):
                    raise
                return error

        if self.in_flight > 1:
            from concurrent.futures import ThreadPoolExecutor

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
        import asyncio

        from seqgan_envs.background import contained

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
        self._loop = _background() if self._loop is None else self._loop
        return self._loop.run(answer)

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

    def _combined(self, answer: Any) -> Any:
        """A batch's answer without the parts that a function of arrays gives beside it.

        The means of the parts are reported as metrics.
        """
        match answer:
            case (rewards, Mapping() as parts) if self.signature.arrays:
                for name, values in parts.items():
                    known = np.asarray(values, dtype=np.float64)
                    known = known[~np.isnan(known)]
                    if known.size:
                        self._log_metric(str(name), known.mean())
                return rewards
        return answer

    def _value(self, name: str, batch: Batch) -> Any:
        """The argument for a parameter of that name; a list of arguments if called once per row.

        The argument is a copy, so that a function may change it; `sequences` alone are not.
        """
        if name not in self.signature.offered and name in batch.columns:
            return list(batch.columns[name])
        match name:
            case "text" | "texts" | "completion" | "completions" | "response" | "responses":
                return batch.texts()
            case "solution_str" | "outputs" | "gen_texts":
                return batch.texts()
            case "prompts" if self.signature.arrays:
                return batch.array(name)
            case "prompt" | "prompts" | "prompt_texts":
                return batch.prompt_texts()
            case "samples":
                return batch.samples()
            case "token_ids" | "completion_ids":
                return batch.token_ids()
            case "tokens" | "mask" | "lengths" if self.signature.arrays:
                return batch.array(name)
            case "tokens" | "mask" | "sequences":
                return batch.tensor(name)
            case "trainer_state":
                return self._state
            case "log_metric":
                return self._log_metric
        return self._log_extra

    def _log_metric(self, name: str, value: Any) -> None:
        self._metrics.setdefault(name, []).append(float(value))

    def _log_extra(self, column: str, values: Sequence[Any]) -> None:
        self._extras.setdefault(column, []).extend(values)


def _background() -> "BackgroundLoop":
    """A loop for an asynchronous function; asyncio takes a while to import, and few need it."""
    from seqgan_envs.background import BackgroundLoop

    return BackgroundLoop()


def _argument(name: str, value: Any, messages: bool) -> Any:
    """A copy of an argument that is a list; texts become messages where that is asked for."""
    if not messages or name not in ROLES:
        return list(value) if isinstance(value, list) else value
    if isinstance(value, str):
        return [{"role": ROLES[name], "content": value}]
    return [[{"role": ROLES[name], "content": text}] for text in value]


def unwrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function in a partial one, or in one that wraps it."""
    while True:
        if isinstance(function, functools.partial):
            function = function.func
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        else:
            return function


def name_of(function: Callable[..., Any]) -> str:
    """A function's name as the name of a reward: `lambda` for a lambda, no underscore before it."""
    function = unwrapped(function)
    name: str = getattr(function, "__name__", type(function).__name__)
    return name.strip("<>").lstrip("_") or "reward"
