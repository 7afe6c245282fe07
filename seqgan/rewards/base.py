"""The reward model's contract: what judges finished sequences, and how it says that it cannot."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from seqgan.data.metrics import Metrics
from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.system.errors import SeqganError

if TYPE_CHECKING:
    import seqgan.rewards.adapters.trl


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

    def as_trl(
        self,
        vocabulary: Vocabulary | None = None,
        max_length: int | None = None,
        remember: int = 0,
        eos_token_id: int | None = None,
        device: torch.device | str = "cpu",
    ) -> "seqgan.rewards.adapters.trl.TrlFunction":
        """This reward as a reward function of TRL's trainers; see `rewards.adapters.trl.as_trl`."""
        from seqgan.rewards.adapters.trl import as_trl

        return as_trl(self, vocabulary, max_length, remember, eos_token_id, device)


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
    name, scores = reward_model.name, reward_model.score(sequences)
    if not isinstance(scores, Tensor):
        raise RewardError(name, f"a reward is a tensor, got a {type(scores).__name__}")
    shape = sequences.tokens.shape if reward_model.per_token else sequences.tokens.shape[:1]
    if scores.shape != shape:
        raise RewardError(name, f"rewards have shape {tuple(shape)}, got {tuple(scores.shape)}")
    if reward_model.per_token:
        scores = torch.where(sequences.mask, scores, 0.0).sum(dim=1)
    scores = scores.float()
    infinite = torch.isinf(scores)
    if bool(infinite.any()):
        row = int(infinite.nonzero()[0, 0])
        raise RewardError(
            name, f"a reward is finite, got {float(scores[row])}", row, text_of(sequences, row)
        )
    return scores


def text_of(sequences: Sequences, row: int) -> str:
    """The text of one row, or its ids where nothing can decode them."""
    one = sequences.select(torch.tensor([row], device=sequences.tokens.device))
    if one.given_texts is None and one.vocabulary is None:
        return str(one.tokens[0, : int(one.lengths[0])].tolist())
    return one.texts[0]
