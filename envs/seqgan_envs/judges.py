"""A reward function as the environments ask it, whichever arguments it takes."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seqgan_envs.answers import AnswerError
from seqgan_envs.functions import AskedFunction, name_of
from seqgan_envs.rewards import Judgement, Reward
from seqgan_envs.rules import Rules
from seqgan_envs.signature import SignatureError, read_signature

Judge = Callable[
    [NDArray[np.int64], NDArray[np.int64], NDArray[np.int64] | None, NDArray[np.int64] | None],
    Judgement,
]
"""`judge(tokens (K, L), lengths (K,), prompts (K, P), prompt_index (K,)) -> rewards or a pair`.

`checked_judgement` checks what it returns.
"""


ARRAYS = ("tokens", "lengths", "prompts")  # arguments of a function of arrays, in this order


def judge_of(reward: Reward, rules: Rules) -> Judge:
    """Makes a judge of a reward function.

    A function whose signature cannot be read, or that takes `*arguments`, gets tokens, lengths and
    prompts by place.

    Raises:
        ValueError: the names of its parameters do not say what it gets, or it takes tensors.
    """
    try:
        parameters = list(inspect.signature(reward).parameters.values())
    except (TypeError, ValueError):  # a function of a compiled module may have no signature
        return ArrayJudge(reward, ARRAYS, ())
    others = [each.name for each in parameters if each.kind is not each.VAR_POSITIONAL]
    if len(others) < len(parameters) and {*others} <= {*ARRAYS, "prompt_index"}:
        return ArrayJudge(reward, ARRAYS, ["prompt_index"] if "prompt_index" in others else [])
    signature = read_signature(reward)
    columns = ("prompt_index",) if signature.arrays or rules.prompts is not None else ()
    names = signature.passed(columns)
    if signature.arrays and {*signature.places, *names} <= {*ARRAYS, "prompt_index"}:
        return ArrayJudge(reward, signature.places, names)
    if signature.tensors:
        raise SignatureError(
            f"the reward {name_of(reward)!r} takes tensors, but the environment has arrays: let it"
            " take (tokens, lengths, prompts), or make the environment with seqgan.make_env"
        )
    return TextJudge(reward, rules)


class ArrayJudge:
    """A function of arrays, called with these arrays themselves.

    Args:
        places: arguments passed by place.
        names: arguments passed by name.
    """

    def __init__(self, function: Reward, places: Sequence[str], names: Sequence[str]) -> None:
        self.function, self._places, self._names = function, tuple(places), tuple(names)

    def __call__(
        self,
        tokens: NDArray[np.int64],
        lengths: NDArray[np.int64],
        prompts: NDArray[np.int64] | None,
        prompt_index: NDArray[np.int64] | None,
    ) -> Judgement:
        given = {"tokens": tokens, "lengths": lengths, "prompts": prompts}
        given["prompt_index"] = prompt_index
        places, names = [given[p] for p in self._places], {n: given[n] for n in self._names}
        judgement: Judgement = self.function(*places, **names)
        if isinstance(judgement, list):  # None: the reward does not apply
            return [0.0 if value is None else value for value in judgement]
        return judgement


class TextJudge(AskedFunction):
    """A function of texts, or of anything else that the convention has but tensors.

    A text to which it does not apply is worth 0.
    """

    def __init__(self, function: Reward, rules: Rules) -> None:
        super().__init__(function)
        self._rules = rules

    def __call__(
        self,
        tokens: NDArray[np.int64],
        lengths: NDArray[np.int64],
        prompts: NDArray[np.int64] | None,
        prompt_index: NDArray[np.int64] | None,
    ) -> Judgement:
        """The rewards, and beside them the reward by its name, or its heads by theirs.

        Raises:
            ValueError: the function failed on a text, or gave too many or too few answers.
        """
        batch = ArraysBatch(self._rules, tokens, lengths, prompts, prompt_index)
        name = name_of(self.function)
        try:
            answers = self.ask(batch)
        except AnswerError as error:
            raise ValueError(f"the reward {name!r} failed: {error}") from error
        for row, problem in answers.failures.items():
            cause = problem if isinstance(problem, BaseException) else None
            said = problem if cause is None else f"{type(cause).__name__}: {cause}"
            text = batch.texts()[row]
            raise ValueError(f"the reward {name!r} failed on {text!r}: {said}") from cause
        values = answers.values.astype(np.float64)
        if answers.heads:
            heads = {f"{name}_{head}": values[:, i] for i, head in enumerate(answers.heads)}
            return np.nansum(values, axis=1), heads
        values = values.sum(axis=1) if answers.per_token else values
        return np.nan_to_num(values), {name: values}


class ArraysBatch:
    """The environment's finished texts, in all forms that a function may ask for but tensors."""

    def __init__(
        self,
        rules: Rules,
        tokens: NDArray[np.int64],
        lengths: NDArray[np.int64],
        prompts: NDArray[np.int64] | None,
        prompt_index: NDArray[np.int64] | None,
    ) -> None:
        self._rules, self._tokens, self._prompts = rules, tokens, prompts
        self.lengths: list[int] = lengths.tolist()
        self.width = tokens.shape[1]
        self.columns = {} if prompt_index is None else {"prompt_index": prompt_index.tolist()}

    def texts(self) -> list[str]:
        return [self._rules.decode(ids) for ids in self.token_ids()]

    def prompt_texts(self) -> list[str]:
        if self._prompts is None:
            return [""] * len(self.lengths)
        return [self._rules.decode(ids) for ids in self._prompts.tolist()]

    def samples(self) -> list[str]:
        pairs = zip(self.prompt_texts(), self.texts(), strict=True)
        separator = self._rules.separator if self._rules.decode_words is None else ""
        return [f"{prompt}{separator}{text}" if prompt else text for prompt, text in pairs]

    def token_ids(self) -> list[list[int]]:
        rows = zip(self._tokens.tolist(), self.lengths, strict=True)
        return [row[:length] for row, length in rows]

    def array(self, name: str) -> Any:
        if name == "prompts":
            return None if self._prompts is None else self._prompts.copy()
        lengths = np.array(self.lengths)
        if name == "mask":
            return np.arange(self.width) < lengths[:, None]
        return lengths if name == "lengths" else self._tokens.copy()

    def tensor(self, name: str) -> Any:
        raise NotImplementedError(f"{name} is refused by judge_of")
