"""The reward model's contract: what judges finished sequences, and how it says that it cannot."""

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

    A reward is a function of the row alone: `score(x)[i] == score(x[i])`, so that scoring in chunks
    changes nothing and equal rows are scored once. NaN says that the reward does not apply to a
    row; such a row gives no learning signal.
    """

    name: str
    per_token: bool  # declared, never guessed from a shape

    def score(self, sequences: Sequences) -> Float[Tensor, " *shape"]:
        """(batch,) rewards; or (batch, time) increments that sum to the return, 0 on padding."""
        ...


@runtime_checkable
class TrainableReward(Protocol):
    """A reward model that learns along with the generator. Owns its module and optimiser."""

    name: str
    per_token: bool

    def score(self, sequences: Sequences) -> Float[Tensor, " *shape"]: ...

    def update(self, real: Sequences, generated: Sequences) -> Metrics:
        """One optimiser step on a minibatch of each kind."""
        ...

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


@runtime_checkable
class Reporting(Protocol):
    """A reward model with something to say besides its rewards, and that may follow a run."""

    def follow(self, global_step: int, iteration: int, iterations: int) -> None:
        """How far the run is: tokens emitted, iterations done, iterations in all."""
        ...

    def take_metrics(self) -> dict[str, float]:
        """The mean of each metric that was logged since the last call."""
        ...

    def take_extras(self) -> dict[str, list[Any]]:
        """What the last scoring said about its rows, by column, unless it was taken already."""
        ...


class Reward(ABC):
    """A base for reward models with one number per sequence. Inheriting from it is optional."""

    name: str
    per_token: bool = False

    @abstractmethod
    def score(self, sequences: Sequences) -> Float[Tensor, " *shape"]:
        """(batch,) rewards, NaN where the reward does not apply."""


class RewardError(SeqganError):
    """A reward model could not judge, or gave what is no reward.

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
    """The reward of each finished sequence: per-token increments are summed.

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
    """The reward of each token, from a model that is `per_token`; `returns` are its row sums.

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
    """The model's scores, in the shape that it declares; increments are 0 on padding."""
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
    """The text of one row, or its ids where nothing can decode them."""
    one = sequences.select(torch.tensor([row], device=sequences.tokens.device))
    if one.given_texts is None and one.vocabulary is None:
        return str(one.tokens[0, : int(one.lengths[0])].tolist())
    return one.texts[0]
