"""The pace of a run on this machine: seconds of draws, scores and steps, timed on few texts."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn

from seqgan.models.sampling import sample, sequence_log_probs
from seqgan.rewards.adapters.functions import FunctionReward
from seqgan.rewards.base import RewardModel
from seqgan.rewards.weighted import WeightedSum
from seqgan.system.seeding import seeded_from
from seqgan.system.timing import seconds_at
from seqgan.tasks.base import has_texts, prompts_of, stand_ins

if TYPE_CHECKING:
    from seqgan.data.sequences import Sequences
    from seqgan.learning.players import Players

Part = TypeVar("Part")
MOST = 1024  # texts that are timed together
FEW_TOKENS = 8  # of the texts that are drawn; a long text takes as many times more


class Pace:
    """Seconds of what the players do again and again, each timed when it is first asked for.

    The players are left as they were. Of several processes one may ask alone: it takes steps on
    copies, which average no gradients. Rewards of the user's own are never asked, as they may cost
    money: their time is not in it. Texts count as long as real ones are, whatever the generator
    draws before it is trained.
    """

    def __init__(self, players: "Players") -> None:
        self.players = players
        self.together = MOST  # texts that are timed together, at most
        self._known: dict[tuple[str, int], float] = {}

    def draw(self, n: float | int) -> float:
        """Seconds to draw n texts."""
        players, task = self.players, self.players.task
        length = min(task.max_length, FEW_TOKENS)

        def draw(count: int) -> None:
            prompts = prompts_of(task, "train", count, _rng(), players.device)
            sample(players.generator, task.vocabulary, count, length, _rng(), None, prompts)

        return n * self._each("draw", draw) * self.mean_length / length

    @cached_property
    def mean_length(self) -> float:
        """Tokens of a real text; the most that a text may have, where there are none."""
        size = min(self.players.task.size("train"), MOST)
        return float(self.texts(size).lengths.float().mean())

    def complete(self, n: int, stride: int, num_rollouts: int) -> float:
        """Seconds of the rollouts of n texts, half a text each, and of the rewards for them."""
        if num_rollouts == 0:
            return 0.0
        completions = n * num_rollouts * max(self.mean_length - 1, 0.0) / stride
        return self.draw(completions / 2) + self.reward(completions)

    def reward(self, n: float | int) -> float:
        """Seconds of the rewards of n texts."""
        known = [part for part in self.players.rewards.parts if not is_own(part)]
        if not known:
            return 0.0
        rewards = WeightedSum(known)
        return n * self._each("reward", lambda count: rewards.score_parts(self.texts(count)))

    def score(self, n: int) -> float:
        """Seconds of the likelihoods of n texts."""
        generator = self.players.generator
        return n * self._each("score", lambda m: sequence_log_probs(generator, self.texts(m)))

    def judge(self, n: int) -> float:
        """Seconds of the discriminator's opinion of n texts; 0 without a discriminator."""
        judge = self.players.discriminator
        if judge is None:
            return 0.0
        return n * self._each("judge", lambda count: judge.logits(self.texts(count)))

    def learn(self, n: int) -> float:
        """Seconds of the gradient of n texts' likelihood."""
        generator = self._alone(self.players.generator)

        def learn(count: int) -> None:
            generator.train()
            generator.negative_log_likelihood(self.texts(count)).backward()

        with _untouched(generator), seeded_from(_rng(), self.players.device):
            return self._at("learn", n, learn)

    def teach(self, n: int) -> float:
        """Seconds of a step of the reward that learns, on n real and n generated texts."""
        reward = self.players.rewards.learning
        if reward is None or is_own(reward):
            return 0.0
        reward = self._alone(reward)
        before = copy.deepcopy(reward.state_dict())
        try:
            with seeded_from(_rng(), self.players.device):
                return self._at(
                    "teach", n, lambda count: reward.update(self.texts(count), self.texts(count))
                )
        finally:
            reward.load_state_dict(before)

    def _alone(self, part: Part) -> Part:
        """A part that takes steps without the other processes of the run."""
        return part if self.players.runtime.world_size == 1 else copy.deepcopy(part)

    def texts(self, n: int) -> "Sequences":
        """n texts of the training split, some again where there are fewer, or `stand_ins`."""
        players, task = self.players, self.players.task
        texts = players.real("train", min(n, task.size("train")), _rng())
        if not has_texts(task):
            texts = stand_ins(texts, task.max_length)
        return texts.select(torch.arange(n) % len(texts))

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
