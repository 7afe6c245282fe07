"""Maximum likelihood on the training sequences: the start of the game, and its control."""

import math
import time
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from typing import Any

import torch

from seqgan.data.metrics import Metrics
from seqgan.data.sequences import Sequences
from seqgan.learning.optimization import AdamConfig
from seqgan.learning.players import Players
from seqgan.learning.updates import likelihood_step
from seqgan.system.errors import ConfigurationError, DivergedError
from seqgan.system.seeding import GlobalState, drawn_seed, seed_of
from seqgan.tasks.base import needs_texts
from seqgan.training.settings import PretrainConfig, TrainConfig

SEED_OF_PASSES = 2  # apart from other draws that a run's seed gives
UNIT_SECONDS = 10.0  # an epoch that takes longer is several units


class MaximumLikelihood:
    """Epochs of maximum likelihood, until the dev NLL stops falling or for a fixed number.

    With patience the learning rate falls a few times before the end, since a rate that is too high
    for the last step hides how good maximum likelihood is. The reference becomes the generator of
    the best epoch, without patience that of the last. At the end the generator becomes the
    reference.

    An epoch that takes long is cut into several units at minibatches. The cut changes no number:
    the order of the epoch and its dropout go on where they paused.

    Args:
        players: the generator that learns.
        settings: everything that is a setting.
        unit_seconds: the least time after which a unit ends within an epoch.

    Raises:
        ConfigurationError: there are too few sequences for the processes, or no texts at all.
    """

    name = "maximum_likelihood"
    title = "pretrain generator"
    shown = ("pretrain/nll_train", "pretrain/nll_dev", "losses/pretrain")
    evaluated = False

    def __init__(
        self, players: Players, settings: PretrainConfig, unit_seconds: float | int = UNIT_SECONDS
    ) -> None:
        self.settings, self.unit_seconds = settings, unit_seconds
        self.device, self.rank = players.device, players.runtime.rank
        self.total = settings.epochs
        self.epochs = 0  # that are done
        self.decays = 0
        self.stopped = False  # early
        self.finished = False  # the generator is the reference
        self.best_nll_dev = math.inf
        self.epochs_without_gain = 0
        adam = AdamConfig(weight_decay=settings.weight_decay)
        self.optimizer = adam.build(players.generator, settings.learning_rate)
        self._epoch: _Epoch | None = None  # the one in progress
        self._seconds: float | None = None  # of a step in the last unit
        if settings.epochs > 0:
            needs_texts(
                players.task, f"pretrain.epochs is {settings.epochs}, which", "give --epochs 0"
            )
        check_processes(players, settings)

    @property
    def count(self) -> float:
        part = 0.0 if self._epoch is None else self._epoch.steps / max(self._epoch.size, 1)
        return self.epochs + min(part, 1.0)

    def done(self) -> bool:
        return self.finished

    def unit(self, players: Players, rng: torch.Generator) -> Metrics:
        """Goes on with the epoch; at its end measures the dev NLL, and decays or stops.

        Raises:
            DivergedError: a loss, a gradient or the dev NLL is not finite.
        """
        players.average.forget()
        if self.epochs >= self.settings.epochs or self.stopped:
            players.generator.load_state_dict(players.reference.state_dict())
            self.finished = True
            return {}
        epoch = self._epoch or _Epoch.begun(players, self.settings, self.epochs, rng)
        self._epoch = epoch
        started, before = time.perf_counter(), epoch.steps
        over = epoch.go_on(players, self.optimizer, self.settings, self._unit_steps(players))
        self._seconds = (time.perf_counter() - started) / max(epoch.steps - before, 1)
        if not over:
            return {}
        self._epoch = None
        self.epochs += 1
        nll_dev = players.runtime.from_main(players.nll_dev())
        if not math.isfinite(nll_dev):
            raise DivergedError(f"the dev NLL is {nll_dev}, not finite")
        self._compare(players, nll_dev)
        return {
            **epoch.metrics(players),
            "pretrain/epoch": self.epochs,
            "pretrain/nll_dev": nll_dev,
            "pretrain/best_nll_dev": self.best_nll_dev,
        }

    def meanwhile(self) -> Metrics:
        """The mean loss of the epoch in progress."""
        return {} if self._epoch is None else {"pretrain/nll_train": self._epoch.mean_nll}

    def why_early(self) -> str:
        """The patience that ran out; empty where it did not."""
        count = self.settings.patience
        return (
            f"no better dev NLL for {count} epoch{'s' if count > 1 else ''}" if self.stopped else ""
        )

    def _unit_steps(self, players: Players) -> int:
        """Minibatches of the next unit, by the pace of the last one: one, until that is known."""
        steps = 1
        if self._seconds is not None:
            steps = max(int(self.unit_seconds / max(self._seconds, 1e-9)), 1)
        return int(players.runtime.from_main(steps))

    def expected_seconds(self, players: Players) -> Mapping[str, float]:
        """Seconds of the epochs that are left, with the dev NLL after each."""
        settings, pace = self.settings, players.pace
        if settings.epochs == 0:
            return {}
        steps = num_minibatches(players, settings) * pace.learn(settings.batch_size)
        epoch = steps + pace.score(players.task.size("dev"))
        left = 0 if self.stopped or self.finished else settings.epochs - self.epochs
        return {"pretraining": left * epoch}

    def _compare(self, players: Players, nll_dev: float) -> None:
        """Keeps the generator if it is the best so far; on a plateau decays or stops."""
        settings = self.settings
        better = nll_dev < self.best_nll_dev
        self.best_nll_dev = min(nll_dev, self.best_nll_dev)
        self.epochs_without_gain = 0 if better else self.epochs_without_gain + 1
        if better or settings.patience == 0:
            players.reference.load_state_dict(players.generator.state_dict())
        if not 0 < settings.patience <= self.epochs_without_gain:
            return
        if self.decays == settings.decays:
            self.stopped = True
            return
        self.decays += 1
        self.epochs_without_gain = 0
        players.generator.load_state_dict(players.reference.state_dict())
        for group in self.optimizer.param_groups:
            group["lr"] /= 3

    def state_dict(self) -> dict[str, Any]:
        return {
            "epochs": self.epochs,
            "decays": self.decays,
            "stopped": self.stopped,
            "finished": self.finished,
            "best_nll_dev": self.best_nll_dev,
            "epochs_without_gain": self.epochs_without_gain,
            "optimizer": self.optimizer.state_dict(),
            "epoch": None if self._epoch is None else self._epoch.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name in ("epochs", "decays", "stopped", "finished", "best_nll_dev"):
            setattr(self, name, state[name])
        self.epochs_without_gain = state["epochs_without_gain"]
        self.optimizer.load_state_dict(state["optimizer"])
        self._epoch = None
        if state["epoch"] is not None:
            self._epoch = _Epoch.continued(state["epoch"], self.device, self.rank)


def build(players: Players, config: TrainConfig) -> MaximumLikelihood:
    """The maximum likelihood of a run."""
    return MaximumLikelihood(players, config.pretrain)


class _Epoch:
    """An epoch in progress: its order, its dropout, and the sums behind its metrics.

    Args:
        number: epochs that were done before it.
        size: its minibatches.
        order: the state of the run's `rng` from which the order is drawn.
        dropout: the global random state of its dropout.
        sums: of the minibatches that are done; empty before the first.
    """

    def __init__(
        self,
        number: int,
        size: int,
        order: torch.Tensor,
        dropout: GlobalState,
        sums: Mapping[str, float | int] | None = None,
    ) -> None:
        self.number, self.size, self.order, self.dropout = number, size, order, dropout
        # Minibatches, their real tokens, the sum of their tokens' negative log-likelihood in nats;
        # mean and real tokens of the last one.
        self.sums = {"steps": 0, "tokens": 0.0, "nll": 0.0, "last_nll": 0.0, "last_tokens": 0.0}
        self.sums |= sums or {}
        self._batches: Iterator[Sequences] | None = None

    @classmethod
    def begun(
        cls, players: Players, settings: PretrainConfig, number: int, rng: torch.Generator
    ) -> "_Epoch":
        """The next epoch before its first step; takes from `rng` its order and its dropout."""
        order = rng.get_state()
        batches = epoch_batches(players, settings, number, rng)
        dropout = GlobalState(players.device, drawn_seed(rng))
        epoch = cls(number, num_minibatches(players, settings, number), order, dropout)
        epoch._batches = batches
        return epoch

    @classmethod
    def continued(cls, state: Mapping[str, Any], device: str, rank: int) -> "_Epoch":
        """An epoch from a checkpoint, which the main process wrote on its device.

        Other processes, and a run that goes on on another kind of device, draw their dropout anew;
        other processes begin their sums anew.
        """
        number, sums = state["number"], state["sums"]
        dropout = GlobalState(device, seed_of(number, sums["steps"], rank))
        if rank == 0 and dropout.state_dict().keys() == state["dropout"].keys():
            dropout.load_state_dict(state["dropout"])
        if rank > 0:
            sums = {"steps": sums["steps"]}
        return cls(number, state["size"], state["order"], dropout, sums)

    @property
    def steps(self) -> int:
        """Minibatches that are done."""
        return int(self.sums["steps"])

    @property
    def mean_nll(self) -> float:
        """Mean negative log-likelihood so far, nats per token of this process."""
        return self.sums["nll"] / max(self.sums["tokens"], 1.0)

    def go_on(
        self,
        players: Players,
        optimizer: torch.optim.Optimizer,
        settings: PretrainConfig,
        steps: int,
    ) -> bool:
        """Takes at most so many steps; True once the epoch is over."""
        if self._batches is None:  # after a stop
            rng = torch.Generator()
            rng.set_state(self.order)
            everything = epoch_batches(players, settings, self.number, rng)
            self._batches = islice(everything, self.steps, None)
        players.generator.train()
        sums = self.sums
        with self.dropout.resumed():
            for batch in islice(self._batches, steps):
                nll, tokens = likelihood_step(
                    players.generator,
                    optimizer,
                    batch,
                    settings.max_grad_norm,
                    players.runtime,
                    settings.micro_batch_size,
                )
                sums["nll"] += nll * tokens
                sums["tokens"] += tokens
                sums["steps"] += 1
                sums["last_nll"], sums["last_tokens"] = nll, tokens
        return self.steps >= self.size

    def metrics(self, players: Players) -> Metrics:
        """The epoch's mean with dropout on and the last minibatch's, over all processes."""
        average, sums = players.runtime.average, self.sums
        return {
            **average({"pretrain/nll_train": self.mean_nll}, sums["tokens"]),
            **average({"losses/pretrain": sums["last_nll"]}, sums["last_tokens"]),
        }

    def state_dict(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "size": self.size,
            "order": self.order,
            "sums": dict(self.sums),
            "dropout": self.dropout.state_dict(),
        }


def num_minibatches(players: Players, settings: PretrainConfig, number: int = 0) -> int:
    """Minibatches of an epoch, of which `number` were done before."""
    world_size, size = players.runtime.world_size, players.task.size("train")
    together, length = settings.batch_size * world_size, settings.epoch_size or size
    count = 0
    for _, part in parts_of_passes(number * settings.epoch_size, length, size):
        whole, rest = divmod(part.stop - part.start, together)
        count += whole + int(rest >= world_size)  # fewer rows than processes are left out
    return count


def epoch_batches(
    players: Players, settings: PretrainConfig, number: int, rng: torch.Generator
) -> Iterator[Sequences]:
    """The minibatches of an epoch.

    An epoch of `epoch_size` sequences begins where the one before ended, in an endless row of
    passes. Each pass has a seed of its own, so its number is all it takes to draw it again.

    Several processes cut the same minibatches, which are larger by their number, into parts of
    one size; so all of them make as many steps, and a few sequences at the end may be left out.

    Args:
        number: epochs that were done before.
        rng: gives the order of a whole pass of a single process, at the call.
    """
    task, world_size = players.task, players.runtime.world_size
    size, together = task.size("train"), settings.batch_size * world_size
    if settings.epoch_size == 0:
        order = rng if world_size == 1 else _pass_rng(players.seed, number)
        batches = task.batches("train", together, order)
    else:
        first = number * settings.epoch_size
        batches = chain.from_iterable(
            task.batches("train", together, _pass_rng(players.seed, which), part)
            for which, part in parts_of_passes(first, settings.epoch_size, size)
        )
    if world_size > 1:
        batches = (
            batch.select(players.runtime.own(torch.arange(len(batch))))
            for batch in batches
            if len(batch) >= world_size
        )
    return (batch.to(players.device) for batch in batches)


def _pass_rng(seed: int, number: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed_of(seed, number, SEED_OF_PASSES))


def parts_of_passes(first: int, count: int, size: int) -> Iterator[tuple[int, slice]]:
    """Finds `count` rows from row `first` on, when passes of `size` rows follow each other.

    Yields:
        The number of a pass, and a slice of its rows.
    """
    end = first + count
    while first < end:
        number, start = divmod(first, size)
        stop = min(size, start + end - first)
        yield number, slice(start, stop)
        first += stop - start


def check_processes(players: Players, settings: PretrainConfig) -> None:
    """Checks that each of several processes has sequences to train on.

    Raises:
        ConfigurationError: there are too few.
    """
    world_size, size = players.runtime.world_size, players.task.size("train")
    if world_size == 1:
        return
    if size < world_size:
        raise ConfigurationError(
            f"there are {size} training sequences for {world_size} processes, but must be"
            " one for each"
        )
    epoch = settings.epoch_size
    if 0 < epoch < 2 * world_size:  # fewer may lie on both sides of the end of a pass
        raise ConfigurationError(
            f"pretrain.epoch_size is {epoch}, but must be at least 2 for each of"
            f" {world_size} processes"
        )
