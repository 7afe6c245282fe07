"""A reward model as the environment's NumPy reward, and its texts as sequences."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor

from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.functional.rescaling import weighted_sum
from seqgan.rewards.base import RewardModel
from seqgan.rewards.weighted import as_weighted_sum

RowsByNumber = Callable[[Int[Tensor, " rows"]], Sequences]


def as_sequences(
    tokens: NDArray[np.int64],
    lengths: NDArray[np.int64],
    prompts: NDArray[np.int64] | None,
    vocabulary: Vocabulary,
) -> Sequences:
    """Makes sequences of the environment's texts: tokens (K, L), lengths (K,), prompts (K, P).

    A text may be finished or not.
    """
    ids = torch.from_numpy(tokens)
    mask = torch.arange(ids.shape[1])[None, :] < torch.from_numpy(lengths)[:, None]
    contexts = None if prompts is None else torch.from_numpy(prompts)
    return Sequences(
        torch.where(mask, ids, vocabulary.pad_id),
        mask,
        contexts,
        None if contexts is None else contexts != vocabulary.pad_id,
        vocabulary=vocabulary,
    )


class EnvReward:
    """A reward model as the environment's NumPy reward: `reward(tokens, lengths, prompts)`.

    It returns the rewards and the unweighted reward of each part. For a text to which a reward
    does not apply, the first is 0 and the second is NaN.

    Args:
        data: gives rows of the data by the numbers of their prompts in the environment, so that
            rewards see their columns; None if there are no columns.
    """

    def __init__(
        self,
        reward_model: RewardModel,
        vocabulary: Vocabulary,
        device: torch.device | str,
        data: RowsByNumber | None = None,
    ) -> None:
        self.rewards = as_weighted_sum(reward_model)
        self.vocabulary = vocabulary
        self.device = device
        self.data = data

    def __call__(
        self,
        tokens: NDArray[np.int64],
        lengths: NDArray[np.int64],
        prompts: NDArray[np.int64] | None,
        prompt_index: NDArray[np.int64] | None = None,
    ) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
        sequences = as_sequences(tokens, lengths, prompts, self.vocabulary)
        if self.data is not None and prompt_index is not None:
            rows = self.data(torch.from_numpy(prompt_index))
            sequences = rows.with_completions(sequences)
        sequences = sequences.to(self.device)
        scores = self.rewards.score_parts(sequences)
        total = weighted_sum(scores, self.rewards.weights).nan_to_num(nan=0.0)
        parts = dict(zip(self.rewards.names, scores.double().cpu().numpy(), strict=True))
        return total.double().cpu().numpy(), parts


def as_env_reward(
    reward_model: RewardModel,
    vocabulary: Vocabulary,
    device: torch.device | str = "cpu",
    data: RowsByNumber | None = None,
) -> EnvReward:
    """Adapts a reward model to the environment's contract; per-token increments are summed.

    Args:
        data: see `EnvReward`.
    """
    return EnvReward(reward_model, vocabulary, device, data)
