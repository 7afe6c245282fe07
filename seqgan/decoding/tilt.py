"""The tilt of a text: the logarithm of how much likelier a tilted model makes it than its start."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from seqgan.data.sequences import Sequences
from seqgan.rewards.base import Reward, RewardModel
from seqgan.rewards.discriminator import DiscriminatorReward
from seqgan.rewards.weighted import as_weighted_sum
from seqgan.system.checks import Bound, checked

JUDGED_TOGETHER = 512  # texts


class DiscriminatorLogit(Reward):
    """A discriminator's opinion of a whole text, log D/(1-D), within +-clip.

    Its optimum is log q/p, with q the real texts' distribution and p the generator's.

    Args:
        most: the largest reward, which is `clip`.
    """

    name = "discriminator"

    def __init__(self, reward: DiscriminatorReward, clip: float = 5.0) -> None:
        self.reward = reward
        self.most = checked("clip", clip, Bound)

    def score(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        return self.reward.logits(sequences).clamp(-self.most, self.most)

    def prefix_scores(self, sequences: Sequences) -> Float[Tensor, "batch time"]:
        """The same of every prefix, from a discriminator that judges prefixes."""
        return self.reward.token_logits(sequences).clamp(-self.most, self.most)


@dataclass(frozen=True)
class Tilt:
    """tau(x) = reward(x) / beta.

    The tilted model is p(x) exp(tau(x)) / Z, the optimum of E[reward] - beta KL(. || p). With the
    optimal `DiscriminatorLogit` and beta 1 it is the distribution of real texts.

    Args:
        reward: one reward, or a weighted sum of several. A text to which none applies has tau 0.
        beta: the price of a nat of KL to the start, in units of reward; infinite is the start.

    Raises:
        ConfigurationError: beta is not above 0.
    """

    reward: RewardModel
    beta: float = 1.0

    def __post_init__(self) -> None:
        checked("beta", self.beta, Bound)

    @torch.no_grad()
    def __call__(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        """tau of each text, nats, in double precision.

        Raises:
            RewardError: the reward failed.
        """
        rewards = as_weighted_sum(self.reward)
        order = sequences.lengths.argsort(stable=True)  # little padding is judged along
        parts = [
            rewards.score(sequences.select(rows).trimmed()) for rows in order.split(JUDGED_TOGETHER)
        ]
        tilts = torch.empty(len(sequences), dtype=torch.double, device=order.device)
        tilts[order] = torch.cat(parts).double().nan_to_num(nan=0.0) / self.beta
        return tilts

    @property
    def bound(self) -> float:
        """The largest tau, nats; infinite where it is not known.

        It is known if every reward says its largest (`most`) and has a weight of at least 0.
        """
        rewards = as_weighted_sum(self.reward)
        weights = rewards.part_weights.tolist()
        if min(weights) < 0:
            return math.inf
        most = [max(getattr(part, "most", math.inf), 0.0) for part in rewards.parts]
        return sum(w * each for w, each in zip(weights, most, strict=True)) / self.beta
