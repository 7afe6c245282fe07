"""Turns plain functions and modules into reward models."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.functional.rescaling import weighted_sum
from seqgan.rewards.adapters.huggingface import openings
from seqgan.rewards.adapters.modules import ModuleReward
from seqgan.rewards.base import Reward, RewardError, RewardModel, SomeFailed
from seqgan.system.errors import ConfigurationError
from seqgan.system.surroundings import is_failure
from seqgan_envs.answers import AnswerError, Answers
from seqgan_envs.functions import AskedFunction, TrainerState, name_of
from seqgan_envs.signature import SignatureError, Takes


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
        raise ConfigurationError(
            f"the class {judge.__name__} itself is given as a reward, but a reward must be"
            " an object"
        )
    if isinstance(judge, RewardModel):
        return judge
    if isinstance(judge, nn.Module):
        return ModuleReward(judge, name)
    if hasattr(judge, "score"):
        missing = [field for field in ("name", "per_token") if not hasattr(judge, field)]
        raise ConfigurationError(
            f"the {type(judge).__name__} has no {' and '.join(missing)}, but a reward model"
            " must have score, name and per_token"
        )
    if not callable(judge):
        raise ConfigurationError(
            f"the {type(judge).__name__} is no reward: it must be a reward model, a"
            " function or a module"
        )
    return FunctionReward(judge, name, takes, messages, vocabulary)


class FunctionReward(AskedFunction, Reward):
    """Makes a reward model of a plain function, whose parameter names choose its arguments.

    A function with a parameter `text` (a string) or `token_ids` (a list of ints, eos included, no
    padding) is called once per row. It may also take `prompt`, and returns a number or None.

    A function with a parameter `texts` or `completions` (a list of strings), `completion_ids` (a
    list of lists of ints), `prompts`, `sequences` (the `Sequences` themselves), `tokens` and `mask`
    (tensors of shape (batch, time)), or `lengths` (then `tokens`, `mask` and `prompts` are NumPy
    arrays of ids, as in the environment) is called once per batch. It returns one number or None
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
        try:
            super().__init__(function, takes, messages, in_flight)
        except SignatureError as error:
            raise ConfigurationError(str(error)) from error
        self.name = name_of(function) if name is None else name
        self.vocabulary = vocabulary

    @property
    def reads_ids(self) -> bool:
        """False for a function of texts and columns alone."""
        return self.signature.ids

    def score(self, sequences: Sequences) -> Float[Tensor, " *shape"]:
        """(batch,) or (batch, time) rewards; the sum of the heads, where there are several."""
        answers, scores = self._answers(sequences)
        if answers.heads:
            scores = weighted_sum(scores.T, torch.ones(len(answers.heads)))
        return self._given(scores, answers, sequences)

    def score_heads(self, sequences: Sequences) -> Float[Tensor, "batch head"]:
        """The rewards by head, NaN where one does not apply; one column without heads."""
        answers, scores = self._answers(sequences)
        if answers.per_token:
            scores = scores.sum(dim=1)
        return self._given(scores if answers.heads else scores[:, None], answers, sequences)

    def follow(self, global_step: int, iteration: int, iterations: int) -> None:
        """Sets the progress that `trainer_state` reports."""
        epoch = iteration / max(iterations, 1)
        self._state = TrainerState(iteration, iterations, epoch, global_step)

    def is_failure(self, error: BaseException) -> bool:
        return is_failure(error)

    def _given(
        self, scores: Float[Tensor, "batch *shape"], answers: Answers, sequences: Sequences
    ) -> Float[Tensor, "batch *shape"]:
        if answers.failures:
            raise SomeFailed(self.name, sequences, scores, answers.failures, answers.unasked)
        return scores

    def _answers(self, sequences: Sequences) -> tuple[Answers, Float[Tensor, "batch *shape"]]:
        """The function's answers about all rows, and their values on the sequences' device."""
        if sequences.vocabulary is None:
            sequences = replace(sequences, vocabulary=self.vocabulary)
        try:
            answers = self.ask(SequencesBatch(sequences))
        except (SignatureError, AnswerError) as error:
            raise RewardError(self.name, str(error)) from error
        return answers, torch.from_numpy(answers.values).to(sequences.tokens.device)


class SequencesBatch:
    """Sequences, in all forms that a function may ask for."""

    def __init__(self, sequences: Sequences) -> None:
        self.sequences = sequences
        self.lengths: list[int] = sequences.lengths.tolist()
        self.width = sequences.tokens.shape[1]
        self.columns = sequences.columns

    def texts(self) -> list[str]:
        return list(self.sequences.texts)

    def prompt_texts(self) -> list[str]:
        return list(self.sequences.prompt_texts)

    def samples(self) -> list[str]:
        pairs = zip(openings(self.sequences), self.sequences.texts, strict=True)
        return [opening + text for opening, text in pairs]

    def token_ids(self) -> list[list[int]]:
        rows = zip(self.sequences.tokens.tolist(), self.lengths, strict=True)
        return [row[:length] for row, length in rows]

    def array(self, name: str) -> Any:
        tensor = {
            "tokens": self.sequences.tokens,
            "lengths": self.sequences.lengths,
            "mask": self.sequences.mask,
            "prompts": self.sequences.prompts,
        }[name]
        return None if tensor is None else tensor.clone().numpy(force=True)

    def tensor(self, name: str) -> Any:
        if name == "sequences":
            return self.sequences
        return (self.sequences.tokens if name == "tokens" else self.sequences.mask).clone()
