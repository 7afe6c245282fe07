"""The contract of a reward model, which judges finished sequences, and the error that it raises."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from seqgan.data.metrics import Metrics
from seqgan.data.sequences import Sequences
from seqgan.system.errors import SeqganError


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


def returns(reward_model: RewardModel, sequences: Sequences) -> Float[Tensor, " batch"]:
    """Returns the reward of each finished sequence. Increments of tokens are summed.

    Returns:
        (batch,): finite, or NaN where the reward does not apply.

    Raises:
        RewardError: the model gave another shape than it declares, or an infinite value.
    """
    scores = _declared_scores(reward_model, sequences)
    totals = scores.sum(dim=1) if reward_model.per_token else scores
    totals = totals.float()
    _refuse_infinity(reward_model.name, totals, sequences)
    return totals


def increments(reward_model: RewardModel, sequences: Sequences) -> Float[Tensor, "batch time"]:
    """Returns the reward of each token, from a model that is `per_token`.

    The sums of its rows are what `returns` gives.

    Returns:
        (batch, time): 0 on padding; NaN in the whole row where the reward does not apply.

    Raises:
        RewardError: as `returns`.
    """
    scores = _declared_scores(reward_model, sequences).float()
    totals = scores.sum(dim=1, keepdim=True)
    _refuse_infinity(reward_model.name, totals[:, 0], sequences)
    return torch.where(totals.isnan(), torch.nan, scores)


def _declared_scores(reward_model: RewardModel, sequences: Sequences) -> Shaped[Tensor, " *shape"]:
    """Returns the model's scores, in the shape that it declares, with increments 0 on padding."""
    name, scores = reward_model.name, reward_model.score(sequences)
    if not isinstance(scores, Tensor):
        raise RewardError(name, f"a reward is a tensor, got a {type(scores).__name__}")
    shape = sequences.tokens.shape if reward_model.per_token else sequences.tokens.shape[:1]
    if scores.shape != shape:
        raise RewardError(name, f"rewards have shape {tuple(shape)}, got {tuple(scores.shape)}")
    return torch.where(sequences.mask, scores, 0.0) if reward_model.per_token else scores


def _refuse_infinity(name: str, totals: Float[Tensor, " batch"], sequences: Sequences) -> None:
    infinite = torch.isinf(totals)
    if bool(infinite.any()):
        row = int(infinite.nonzero()[0, 0])
        problem = f"a reward is finite, got {float(totals[row])}"
        raise RewardError(name, problem, row, text_of(sequences, row))


def text_of(sequences: Sequences, row: int) -> str:
    """Returns the text of one row, or its ids where there is no vocabulary to decode them."""
    one = sequences.select(torch.tensor([row], device=sequences.tokens.device))
    if one.given_texts is None and one.vocabulary is None:
        return str(one.tokens[0, : int(one.lengths[0])].tolist())
    return one.texts[0]
