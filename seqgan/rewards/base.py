"""The contract of a reward model, which judges finished sequences, and the error that it raises."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from seqgan.data.metrics import Metrics
from seqgan.data.sequences import Sequences
from seqgan.system.checks import HUGE
from seqgan.system.errors import SeqganError, described


@runtime_checkable
class RewardModel(Protocol):
    """Judges finished sequences.

    A reward is a function of the row alone: `score(x)[i] == score(x[i])`. So scoring in chunks
    changes nothing, and equal rows are scored once. NaN says that the reward does not apply to a
    row; such a row gives no learning signal.
    """

    name: str
    per_token: bool  # declared, never guessed from a shape

    def score(self, sequences: Sequences) -> Float[Tensor, " *shape"]:
        """(batch,) rewards; or (batch, time) increments that sum to the return, 0 on padding."""
        ...


@runtime_checkable
class TrainableReward(Protocol):
    """A reward model that learns along with the generator. It owns its module and optimiser."""

    name: str
    per_token: bool

    def score(self, sequences: Sequences) -> Float[Tensor, " *shape"]: ...

    def update(self, real: Sequences, generated: Sequences) -> Metrics:
        """Takes one optimiser step on a minibatch of real and one of generated sequences."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


@runtime_checkable
class Reporting(Protocol):
    """A reward model that reports numbers besides its rewards, and is told how far the run is."""

    def follow(self, global_step: int, iteration: int, iterations: int) -> None:
        """Takes note of the run's position: tokens emitted, iterations done, iterations in all."""
        ...

    def take_metrics(self) -> dict[str, float]:
        """Returns the mean of each metric that was logged since the last call, and forgets it."""
        ...

    def take_extras(self) -> dict[str, list[Any]]:
        """Returns the columns that the last scoring wrote, one entry for each row, and drops them.

        A second call returns none.
        """
        ...


@runtime_checkable
class SeveralHeads(Protocol):
    """A reward model that gives several rewards at once, say of a judge with several questions."""

    name: str
    heads: tuple[str, ...]  # names of the rewards; empty until they are known, or for a single one

    def score_heads(self, sequences: Sequences) -> Float[Tensor, "batch head"]:
        """One column for each head, NaN where it does not apply; one column without heads."""
        ...


class Reward(ABC):
    """A base class for reward models with one number per sequence. Using it is optional."""

    name: str
    per_token: bool = False

    @abstractmethod
    def score(self, sequences: Sequences) -> Float[Tensor, " *shape"]:
        """(batch,) rewards, NaN where the reward does not apply."""


class RewardError(SeqganError):
    """A reward model could not judge, or returned something that is no reward.

    Args:
        name: the reward's name.
        problem: what happened, in one line.
        row: index of the row in the scored batch, where one row is to blame.
        text: that row's text.
    """

    def __init__(
        self, name: str, problem: str, row: int | None = None, text: str | None = None
    ) -> None:
        self.name, self.problem, self.row, self.text = name, problem, row, text
        place = "" if row is None else f" on row {row}"
        quoted = "" if text is None else f" ({text!r})"
        super().__init__(" ".join(f"reward {name!r} failed{place}{quoted}: {problem}".split()))


class SomeFailed(RewardError):
    """A reward model judged some rows of a batch, and failed on others.

    Whoever called it keeps the scores, and asks again about the failed rows only.

    Args:
        name: the reward's name.
        sequences: the batch.
        scores: of all rows, in the shape that the model declares; rows that failed, and those that
            were not asked about, hold anything.
        failures: what happened, by row: an exception, or a line.
        unasked: rows that were not asked about.
    """

    def __init__(
        self,
        name: str,
        sequences: Sequences,
        scores: Shaped[Tensor, "batch *shape"],
        failures: Mapping[int, BaseException | str],
        unasked: Collection[int] = (),
    ) -> None:
        self.sequences, self.scores = sequences, scores
        self.failures, self.unasked = dict(failures), tuple(unasked)
        first = min(self.failures)
        problem = self.failures[first]
        super().__init__(name, _line(problem), first, text_of(sequences, first))
        if isinstance(problem, BaseException):
            self.__cause__ = problem

    @property
    def answered(self) -> list[int]:
        """The rows that were judged."""
        others = {*self.failures, *self.unasked}
        return [row for row in range(len(self.sequences)) if row not in others]

    def rescored(self, scores: Shaped[Tensor, "batch *shape"]) -> "SomeFailed":
        """The same failures beside scores of another shape."""
        return SomeFailed(self.name, self.sequences, scores, self.failures, self.unasked)

    def failure(self, row: int) -> RewardError:
        """The failure of one row, without its place."""
        problem = self.failures[row]
        error = RewardError(self.name, _line(problem))
        if isinstance(problem, BaseException):
            error.__cause__ = problem
        return error


def _line(problem: BaseException | str) -> str:
    return problem if isinstance(problem, str) else described(problem)


def returns(reward_model: RewardModel, sequences: Sequences) -> Float[Tensor, " batch"]:
    """Returns the reward of each finished sequence. Increments of tokens are summed.

    Returns:
        (batch,): finite, or NaN where the reward does not apply.

    Raises:
        RewardError: the model gave another shape than it declares, or a huge value.
    """
    scores, failed = _declared_scores(reward_model, sequences)
    totals = scores.sum(dim=1) if reward_model.per_token else scores
    totals = totals.float()
    _raise_failures(reward_model.name, sequences, totals, totals, failed)
    return totals


def increments(reward_model: RewardModel, sequences: Sequences) -> Float[Tensor, "batch time"]:
    """Returns the reward of each token, from a model that is `per_token`.

    The sums of its rows are what `returns` gives.

    Returns:
        (batch, time): 0 on padding; NaN in the whole row where the reward does not apply.

    Raises:
        RewardError: as `returns`.
    """
    scores, failed = _declared_scores(reward_model, sequences)
    totals = scores.float().sum(dim=1, keepdim=True)
    scores = torch.where(totals.isnan(), torch.nan, scores.float())
    _raise_failures(reward_model.name, sequences, scores, totals[:, 0], failed)
    return scores


def head_returns(reward_model: RewardModel, sequences: Sequences) -> Float[Tensor, "batch head"]:
    """Returns the reward of each finished sequence by each head; one column for a single reward.

    Raises:
        RewardError: as `returns`.
    """
    if isinstance(reward_model, SeveralHeads):
        return reward_model.score_heads(sequences)
    try:
        return returns(reward_model, sequences)[:, None]
    except SomeFailed as error:
        raise error.rescored(error.scores[:, None]) from error.__cause__


def _declared_scores(
    reward_model: RewardModel, sequences: Sequences
) -> tuple[Shaped[Tensor, " *shape"], SomeFailed | None]:
    """Returns the model's scores, in the shape that it declares, with increments 0 on padding.

    Where it failed on some rows, they are those of the other rows, and the failure comes along.
    """
    name, failed = reward_model.name, None
    try:
        scores = reward_model.score(sequences)
    except SomeFailed as error:
        scores, failed = error.scores, error
    if not isinstance(scores, Tensor):
        raise RewardError(name, f"it gave a {type(scores).__name__}, but a reward must be a tensor")
    shape = sequences.tokens.shape if reward_model.per_token else sequences.tokens.shape[:1]
    if scores.shape != shape:
        raise RewardError(
            name, f"it gave rewards of shape {tuple(scores.shape)}, but must give {tuple(shape)}"
        )
    scores = torch.where(sequences.mask, scores, 0.0) if reward_model.per_token else scores
    return scores, failed


def _raise_failures(
    name: str,
    sequences: Sequences,
    scores: Float[Tensor, "batch *shape"],
    totals: Float[Tensor, " batch"],
    failed: SomeFailed | None,
) -> None:
    """Raises SomeFailed where rows failed already or have a total that is infinite or huge."""
    failures = {} if failed is None else dict(failed.failures)
    unasked = () if failed is None else failed.unasked
    for row in (totals.abs() > HUGE).nonzero().flatten().tolist():
        if row not in failures and row not in unasked:
            rule = "finite" if bool(totals[row].isinf()) else f"at most {HUGE:g} in size"
            failures[row] = f"it gave {float(totals[row])}, but a reward must be {rule}"
    if failures:
        raise SomeFailed(name, sequences, scores, failures, unasked)


def text_of(sequences: Sequences, row: int) -> str:
    """Returns the text of one row, or its ids where there is no vocabulary to decode them."""
    one = sequences.select(torch.tensor([row], device=sequences.tokens.device))
    if one.given_texts is None and one.vocabulary is None:
        return str(one.tokens[0, : int(one.lengths[0])].tolist())
    return one.texts[0]
