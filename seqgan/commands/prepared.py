"""The parts of a run, made in each of its processes before anything is trained."""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from seqgan.system.errors import SeqganError

if TYPE_CHECKING:
    import torch

    from seqgan.learning.players import Players
    from seqgan.system.runtime import Runtime
    from seqgan.tasks.base import Task
    from seqgan.training.observers import Observer
    from seqgan.training.phases.base import Phase
    from seqgan.training.run_folders import RunFolder
    from seqgan.training.settings import TrainConfig

Made = TypeVar("Made")

# For the main process to report an error: a launcher ends all as soon as the first one has ended.
SECONDS_FOR_MAIN = 10.0


@dataclass(frozen=True)
class Prepared:
    """The parts of a run, made before anything is trained or written.

    Args:
        rng: the run's, after the players took their draws.
    """

    config: "TrainConfig"
    players: "Players"
    phases: "list[Phase]"
    observers: "list[Observer]"
    rng: "torch.Generator"


def prepare(
    config: "TrainConfig",
    runtime: "Runtime",
    trusted: bool,
    tried: bool = False,
    check: "Callable[[Task], None]" = lambda task: None,
) -> Prepared:
    """Makes the parts of a run. Each model folder is read here, once.

    Args:
        trusted: whether another run, which a reward reads, may name code that runs.
        tried: whether each reward is asked about some texts.
        check: of the task, before networks are built for it.

    Raises:
        SeqganError: a setting, a file, a model folder or a reward cannot be used.
    """
    import torch

    from seqgan.tasks.base import Task
    from seqgan.training.run_rewards import named_rewards, try_rewards
    from seqgan.training.run_trackers import check_trackers
    from seqgan.training.slots import built
    from seqgan.training.start import make_measures, make_observers, make_phases, make_players

    _use_machine(config)
    if runtime.is_main():
        check_trackers(config)
    task = built("task", config.task, Task, generator=config.generator)
    check(task)
    rewards = named_rewards(config, task, trusted)
    rng = torch.Generator().manual_seed(config.seed)
    players = make_players(config, task, rng, found=rewards, runtime=runtime)
    phases = make_phases(config, players)
    make_measures(config)
    observers = make_observers(config, players)
    if tried:
        try_rewards(config, task, list(rewards.values()))
    return Prepared(config, players, phases, observers, rng)


def _use_machine(config: "TrainConfig") -> None:
    import torch

    from seqgan.system.devices import check_device
    from seqgan.system.memory import bound_cached_shapes, keep_freed_memory

    keep_freed_memory()
    bound_cached_shapes()
    if config.threads:
        torch.set_num_threads(config.threads)
    check_device(config.device)


def processes(config: "TrainConfig") -> tuple["Runtime", "TrainConfig"]:
    """The runtime that joins this process with others, if any, and this process' settings."""
    from dataclasses import replace

    from seqgan.system.accelerated import Accelerated, runtime_for

    with reported_once():
        runtime = runtime_for(config.device)
    if isinstance(runtime, Accelerated):
        config = replace(config, device=str(runtime.device))
    return runtime, config


def main_first(runtime: "Runtime", make: Callable[[], Made]) -> Made:
    """The result of `make`; the main process goes first, to fill caches and to report errors."""
    made, error = None, None
    if runtime.is_main():
        try:
            made = make()
        except SeqganError as refused:
            error = refused
    if runtime.from_main(error is not None):
        if error is not None:
            raise error
        time.sleep(SECONDS_FOR_MAIN)
        raise SystemExit(2)
    return make() if made is None else made


@contextlib.contextmanager
def reported_once() -> Iterator[None]:
    """Lets only the main one of several processes report an input error.

    Others wait SECONDS_FOR_MAIN for the launcher to end them, then report their own.
    """
    try:
        yield
    except SeqganError:
        from seqgan.system.runtime import launched_rank

        if launched_rank() > 0:
            time.sleep(SECONDS_FOR_MAIN)
        raise


def locked(folder: "RunFolder", runtime: "Runtime") -> contextlib.AbstractContextManager[object]:
    """Lets nobody else train a run meanwhile; the main one of several processes has the lock."""
    from seqgan.training.run_folders import lock_run

    return main_first(
        runtime, lambda: lock_run(folder) if runtime.is_main() else contextlib.nullcontext()
    )
