"""The pace of a run on this machine: seconds of draws, scores and steps, timed on few texts."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import nn

from seqgan.data.sequences import Trajectories
from seqgan.learning.rollouts import monte_carlo_action_values
from seqgan.models.sampling import sequence_log_probs
from seqgan.rewards.adapters.functions import FunctionReward
from seqgan.rewards.base import RewardModel
from seqgan.rewards.shipped.controls import ConstantReward
from seqgan.rewards.weighted import WeightedSum
from seqgan.system.seeding import seeded_from
from seqgan.system.timing import seconds_at

if TYPE_CHECKING:
    from seqgan.learning.players import Players

MOST = 1024  # texts that are timed together
MANY_DRAWN = 64  # texts that stand for more of them


class Pace:
    """Seconds of what the players do again and again, each timed when it is first asked for.

    The players are left as they were. Rewards of the user's own are never asked, as they may cost
    money: their time is not in it.
    """

    def __init__(self, players: "Players") -> None:
        self.players = players
        self.together = MOST  # texts that are timed together, at most
        self._known: dict[tuple[str, int], float] = {}

    def draw(self, n: int) -> float:
        """Seconds to draw n texts."""
        each = self._each("draw", lambda count: self.players.draw(count, _rng()))
        return n * each * self._shortening

    def score(self, n: int) -> float:
        """Seconds of the likelihoods of n texts."""
        players = self.players

        def score(count: int) -> None:
            sequence_log_probs(players.generator, players.real("train", count, _rng()))

        return n * self._each("score", score)

    def judge(self, n: int) -> float:
        """Seconds of the discriminator's opinion of n texts; 0 without a discriminator."""
        players, judge = self.players, self.players.discriminator
        if judge is None:
            return 0.0
        return n * self._each("judge", lambda m: judge.logits(players.real("train", m, _rng())))

    def learn(self, n: int) -> float:
        """Seconds of the gradient of n texts' likelihood."""
        players = self.players

        def learn(count: int) -> None:
            players.generator.train()
            texts = players.real("train", count, _rng())
            players.generator.negative_log_likelihood(texts).backward()

        with _untouched(players.generator), seeded_from(_rng(), players.device):
            return self._at("learn", n, learn)

    def teach(self, n: int) -> float:
        """Seconds of a step of the reward that learns, on n real and n generated texts."""
        players, reward = self.players, self.players.rewards.learning
        if reward is None or is_own(reward):
            return 0.0
        before = copy.deepcopy(reward.state_dict())
        generated = players.draw(min(n, MANY_DRAWN), _rng())

        def teach(count: int) -> None:
            rows = torch.arange(count) % len(generated)
            real = players.real("train", count, _rng())
            reward.update(real.select(torch.arange(count) % len(real)), generated.select(rows))

        try:
            with seeded_from(_rng(), players.device):
                return self._at("teach", n, teach)
        finally:
            reward.load_state_dict(before)

    def value(self, n: int, num_rollouts: int, chunk_size: int, stride: int) -> float:
        """Seconds of the rollouts of n texts."""
        if num_rollouts == 0:
            return 0.0
        players = self.players
        known = [part for part in players.rewards.parts if not is_own(part)] or [ConstantReward()]
        rewards, texts = WeightedSum(known), players.draw(min(n, MANY_DRAWN), _rng())
        nothing = torch.zeros(texts.tokens.shape, device=texts.tokens.device)

        def value(count: int) -> None:
            rows = torch.arange(count) % len(texts)
            trajectories = Trajectories(texts.select(rows), nothing[rows], nothing[rows])
            monte_carlo_action_values(
                players.generator, rewards, trajectories, num_rollouts, _rng(), chunk_size, stride
            )

        return self._at("value", n, value) * self._shortening**2  # of shorter texts, and fewer

    @cached_property
    def _shortening(self) -> float:
        """The length of real texts by that of generated ones, which begin too long."""
        players = self.players
        real = players.real("train", min(players.task.size("train"), MOST), _rng())
        drawn = players.draw(MANY_DRAWN, _rng())
        return min(float(real.lengths.float().mean() / drawn.lengths.float().mean()), 1.0)

    def _each(self, name: str, action: Callable[[int], object]) -> float:
        """Seconds of each of many texts."""
        return self._at(name, self.together, action) / self.together

    def _at(self, name: str, n: int, action: Callable[[int], object]) -> float:
        if (name, n) not in self._known:
            self._known[name, n] = seconds_at(action, n)
        return self._known[name, n]


def is_own(reward: RewardModel) -> bool:
    """Tells code of the user's own, which may ask a server, from the rewards of this package."""
    return isinstance(reward, FunctionReward) or not type(reward).__module__.startswith("seqgan.")


def _rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@contextmanager
def _untouched(module: nn.Module) -> Iterator[None]:
    """Puts back whatever a forward and a backward pass change in a module."""
    modes = {part: part.training for part in module.modules()}
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    try:
        yield
    finally:
        module.zero_grad(set_to_none=True)
        for name, buffer in module.named_buffers():
            buffer.data.copy_(buffers[name])
        for part, mode in modes.items():
            part.training = mode
