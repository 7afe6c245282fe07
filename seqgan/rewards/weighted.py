"""Several rewards as one: a weighted sum that remembers its parts."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from copy import copy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from seqgan.data.sequences import Sequences
from seqgan.functional.rescaling import weighted_sum
from seqgan.rewards.base import (
    Reward,
    RewardError,
    RewardModel,
    TrainableReward,
    head_returns,
    increments,
)
from seqgan.rewards.guard import Asking, FailurePolicy, Judge, Watch
from seqgan.system.errors import ConfigurationError
from seqgan.system.surroundings import Tell, kept_surroundings


class WeightedSum(Reward):
    """A weighted sum of rewards. In each row it adds up the rewards that apply to the row.

    A row to which no reward applies has none (NaN), as in TRL. A part with several heads counts as
    several rewards, `<part>_<head>`, each with the part's weight. Its heads are known once it was
    asked for the first time; `names` and `weights` grow then.

    Args:
        parts: any number of reward models with distinct names; at most one of them learns.
        weights: one per part; 1 each by default.
        failures: the policy for parts that fail.

    Raises:
        ConfigurationError: no parts, another number of weights, a weight that is not finite, a name
            that no metric can have, two parts of one name, or two that learn.
    """

    def __init__(
        self,
        parts: Sequence[RewardModel],
        weights: Sequence[float] | None = None,
        failures: FailurePolicy | None = None,
    ) -> None:
        self.parts = tuple(parts)
        for part in self.parts:
            if not isinstance(part, RewardModel):
                raise ConfigurationError(
                    f"{part!r} is no reward model; `as_reward` makes one of a function"
                )
        names = [part.name for part in self.parts]
        self.name = "+".join(names)
        given = torch.ones(len(self.parts)) if weights is None else torch.tensor([*weights])
        self.part_weights = given
        self.failures = failures or FailurePolicy()
        self.watch: Watch = nullcontext
        self.on_skip: Callable[[RewardError], object] = lambda error: None
        self.on_change: Tell | None = None
        if not self.parts:
            raise ConfigurationError("there are no rewards, but a weighted sum needs at least one")
        if len(given) != len(self.parts):
            raise ConfigurationError(
                f"there are {len(given)} weights for {len(self.parts)} rewards, but must be"
                " one for each"
            )
        if not bool(torch.isfinite(given).all()):
            raise ConfigurationError(f"the reward weights are {given.tolist()}, but must be finite")
        for name in names:
            if not name or name.startswith("_") or "/" in name:
                raise ConfigurationError(
                    f"the reward's name is {name!r}, but must not be empty, begin with _ or"
                    " have a /, since metrics are named after it"
                )
            if names.count(name) > 1:
                raise ConfigurationError(
                    f"two rewards are called {name!r}, but their names must be distinct"
                )
        learning = [part for part in self.parts if isinstance(part, TrainableReward)]
        if len(learning) > 1:
            several = " and ".join(part.name for part in learning)
            raise ConfigurationError(
                f"more than one reward learns along with the generator: {several}"
            )
        self.learning: TrainableReward | None = learning[0] if learning else None

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the rewards: those of the parts, or of their heads."""
        return tuple(name for part in self.parts for name in _names(part))

    @property
    def weights(self) -> Float[Tensor, " reward"]:
        """The weight of each reward."""
        counts = torch.tensor([len(_names(part)) for part in self.parts])
        return self.part_weights.repeat_interleave(counts)

    def observed(
        self, watch: Watch, on_skip: Callable[[RewardError], object], on_change: Tell | None = None
    ) -> "WeightedSum":
        """Returns a copy with listeners, and with the same parts and weights.

        Each run listens to a copy of its own. Two runs can then share one sum of rewards, and each
        hears of its own calls alone.

        Args:
            watch: makes a context around each call of a part, from the part's name. A progress
                display uses it to name the reward that takes long.
            on_skip: called with each failure that was skipped.
            on_change: called with a line if a part changed what the whole process shares, which is
                then put back; by default it is a warning of the log.
        """
        observed = copy(self)
        observed.watch, observed.on_skip, observed.on_change = watch, on_skip, on_change
        return observed

    def score(self, sequences: Sequences) -> Float[Tensor, " batch"]:
        return weighted_sum(self.score_parts(sequences), self.weights)

    def score_parts(self, sequences: Sequences) -> Float[Tensor, "reward batch"]:
        """Returns each unweighted reward, in the order of `names`, NaN where it does not apply.

        Parts that wait for something outside (`is_async`), say a server, are called at the same
        time.

        Raises:
            RewardError: a part failed, and `failures` says to stop.
        """

        def ask(part: RewardModel) -> Float[Tensor, "head batch"]:
            values = self._asking(head_returns, part, sequences).values(None)
            return values.expand(-1, len(_names(part))).T  # its heads are known by now

        waiting = [part for part in self.parts if getattr(part, "is_async", False)]
        if len(waiting) < 2:
            scores = [ask(part) for part in self.parts]
        else:
            _ = sequences.texts  # decode once, before each thread would
            who = f"reward {self.name!r}"
            with (
                kept_surroundings(who, self.on_change),
                ThreadPoolExecutor(len(waiting)) as pool,
            ):
                answers = {id(part): pool.submit(ask, part) for part in waiting}
                others = {id(part): ask(part) for part in self.parts if id(part) not in answers}
                others |= {part: answer.result() for part, answer in answers.items()}
            scores = [others[id(part)] for part in self.parts]
        names = self.names
        for name in names:
            if names.count(name) > 1:
                raise RewardError(
                    self.name, f"two rewards are called {name!r}, but their names must be distinct"
                )
        return torch.cat(scores)

    def increments(self, sequences: Sequences) -> Float[Tensor, "batch time"] | None:
        """Returns the weighted rewards of single tokens, from the parts that are `per_token`.

        Summed over time they are the share of those parts in `score`. A part adds nothing to a row
        if it does not apply to the row, or failed on it and was skipped.

        Returns:
            (batch, time): 0 on padding; None where no part is `per_token`.

        Raises:
            RewardError: a part failed, and `failures` says to stop.
        """
        places = [place for place, part in enumerate(self.parts) if part.per_token]
        if not places:
            return None
        width = sequences.tokens.shape[1]
        by_part = [
            self._asking(increments, self.parts[place], sequences).values((width,))
            for place in places
        ]
        return weighted_sum(torch.stack(by_part), self.part_weights[places]).nan_to_num(nan=0.0)

    def _asking(self, judge: Judge, part: RewardModel, sequences: Sequences) -> Asking:
        listeners = (self.watch, self.on_skip, self.on_change)
        return Asking(judge, part, sequences, self.failures, *listeners)

    def state_dict(self) -> dict[str, Any]:
        """Returns the states of the parts that have one, by their names."""
        return {part.name: part.state_dict() for part in self._stateful()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for part in self._stateful():
            part.load_state_dict(state[part.name])

    def _stateful(self) -> list[Any]:
        return [part for part in self.parts if hasattr(part, "state_dict")]


def _names(part: RewardModel) -> list[str]:
    """The names of a part's rewards."""
    heads = getattr(part, "heads", ())
    return [f"{part.name}_{head}" for head in heads] or [part.name]


def as_weighted_sum(reward_model: RewardModel) -> WeightedSum:
    """Returns a sum of rewards as it is, and any other reward as a sum of one part."""
    return reward_model if isinstance(reward_model, WeightedSum) else WeightedSum([reward_model])
