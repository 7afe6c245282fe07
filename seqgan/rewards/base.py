"""The reward model's contract, and the two rewards that every experiment needs as controls."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from seqgan.sequences import Sequences
from seqgan.tracking.metrics import Metrics
from seqgan.vocabulary import Vocabulary


@runtime_checkable
class RewardModel(Protocol):
    """Judges finished sequences.

    A reward is a function of the row alone: `score(x)[i] == score(x[i])`, so that scoring in chunks
    changes nothing and equal rows are scored once.
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


def returns(reward_model: RewardModel, sequences: Sequences) -> Float[Tensor, " batch"]:
    """The reward of each finished sequence: per-token increments are summed.

    Raises:
        ValueError: the model gave another shape than it declares, or a value that is not finite.
    """
    scores = reward_model.score(sequences)
    if not isinstance(scores, Tensor):
        kind = type(scores).__name__
        raise ValueError(f"reward {reward_model.name!r} gives a tensor, got a {kind}")
    shape = sequences.tokens.shape if reward_model.per_token else sequences.tokens.shape[:1]
    if scores.shape != shape:
        raise ValueError(
            f"reward {reward_model.name!r} gives shape {tuple(shape)}, got {tuple(scores.shape)}"
        )
    finite = torch.isfinite(scores)
    if not bool(finite.all()):
        row = int((~finite).nonzero()[0, 0])
        raise ValueError(f"reward {reward_model.name!r} is finite, got {scores[row]} for row {row}")
    scores = scores.float()
    return torch.where(sequences.mask, scores, 0.0).sum(dim=1) if reward_model.per_token else scores


class ConstantReward:
    """The same reward for everything: a control.

    The expected policy gradient is exactly zero, so whatever a run with this reward shows is the
    optimiser's own drift.
    """

    name = "constant"
    per_token = False

    def __init__(self, value: float = 1.0) -> None:
        self.value = value

    def score(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        return torch.full((len(sequences),), self.value, device=sequences.tokens.device)


class RandomReward:
    """A number in [0, 1) hashed from the tokens: a control that carries no meaning.

    The same sequence always gets the same number (rows stay independent of their batch, runs can
    be resumed), and two different sequences get unrelated ones.
    """

    name = "random"
    per_token = False

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def score(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        # Scrambled first: neighbouring seeds would give each other's numbers for neighbouring
        # tokens.
        value = _scramble(torch.full_like(sequences.lengths, self.seed))
        for tokens, mask in zip(
            sequences.tokens.unbind(dim=1), sequences.mask.unbind(dim=1), strict=True
        ):
            value = torch.where(mask, _scramble(value * 31 + tokens + 1), value)
        return (_scramble(value) >> 11 & 0xFFFFFF).float() / 2**24


def _scramble(value: Int[Tensor, " batch"]) -> Int[Tensor, " batch"]:
    """The finaliser of SplitMix64 (Steele et al., 2014), on wrapping signed integers."""
    value = (value ^ (value >> 30)) * -0x40A7B892E31B1A47
    value = (value ^ (value >> 27)) * -0x6B2FB644ECCEEE15
    return value ^ (value >> 31)


class EnvReward:
    """A reward model as the environment's NumPy reward: `reward(tokens, lengths, prompts)`."""

    def __init__(
        self, reward_model: RewardModel, vocabulary: Vocabulary, device: torch.device | str
    ) -> None:
        self.reward_model = reward_model
        self.vocabulary = vocabulary
        self.device = device

    def __call__(
        self,
        tokens: NDArray[np.int64],
        lengths: NDArray[np.int64],
        prompts: NDArray[np.int64] | None,
    ) -> NDArray[np.float64]:
        ids = torch.from_numpy(tokens)
        mask = torch.arange(ids.shape[1])[None, :] < torch.from_numpy(lengths)[:, None]
        contexts = None if prompts is None else torch.from_numpy(prompts)
        sequences = Sequences(
            torch.where(mask, ids, self.vocabulary.pad_id),
            mask,
            contexts,
            None if contexts is None else contexts != self.vocabulary.pad_id,
            vocabulary=self.vocabulary,
        ).to(self.device)
        return returns(self.reward_model, sequences).double().cpu().numpy()


def as_env_reward(
    reward_model: RewardModel, vocabulary: Vocabulary, device: torch.device | str = "cpu"
) -> EnvReward:
    """Adapts a reward model to the environment's contract; per-token increments are summed."""
    return EnvReward(reward_model, vocabulary, device)
