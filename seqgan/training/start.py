"""From settings to a trainer: the players, the phases and the observers of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from seqgan.evaluation.measure import as_measure
from seqgan.learning.averaging import WeightAverage
from seqgan.learning.players import Players
from seqgan.learning.replay import Replay
from seqgan.models.generators.base import frozen_copy
from seqgan.models.shared_weights import share_frozen_weights
from seqgan.rewards.base import RewardModel
from seqgan.system.errors import ConfigurationError
from seqgan.system.plugins import built, check_takes, make, parse_spec
from seqgan.system.runtime import ALONE, Runtime
from seqgan.system.seeding import seed_of, seeded_from
from seqgan.tasks.base import Measure, Task
from seqgan.tracking.base import Tracker
from seqgan.tracking.progress import Progress
from seqgan.training.early_stop import EarlyStop
from seqgan.training.networks import build_generator, check_window
from seqgan.training.observers import (
    Alerts,
    BestCheckpoint,
    Evaluation,
    FunctionObserver,
    Observer,
    Samples,
)
from seqgan.training.phases.base import Phase
from seqgan.training.run_rewards import build_reward, named_rewards
from seqgan.training.settings import TrainConfig
from seqgan.training.slots import SHIPPED_PHASES
from seqgan.training.trainer import Trainer
from seqgan.training.warmed import Warmed

SEED_OF_PHASES = 1  # beside those of other draws that a run's seed gives
PARTS_OF_PHASE = (
    "name",
    "title",
    "shown",
    "evaluated",
    "total",
    "count",
    "done",
    "unit",
    "state_dict",
    "load_state_dict",
)


def make_players(
    config: TrainConfig,
    task: Task,
    rng: torch.Generator,
    rewards: RewardModel | None = None,
    found: Mapping[str, RewardModel] | None = None,
    runtime: Runtime = ALONE,
) -> Players:
    """An untrained generator and its rewards, or those of model folders.

    It waits for no other process: the main one may do it first, and report what is wrong.

    Args:
        rng: the run's; initialisation takes its draws.
        rewards: anything with `score`; None for those that `config.reward` names.
        found: the rewards by those names, where `named_rewards` was called before.

    Raises:
        ModelFolderError: a model folder cannot be used.
        ConfigurationError: the rewards do not go together, or cannot learn in several processes.
    """
    check_window(config, task)
    generator = build_generator(config, task.vocabulary, rng)
    if rewards is None:
        found = named_rewards(config, task) if found is None else found
        rewards = build_reward(config, task, rng, found)
    training = config.discriminator_training
    players = Players(
        task,
        generator,
        frozen_copy(generator),
        rewards,
        config.adversarial.batch_size,
        config.seed,
        config.device,
        runtime,
        Replay(training.replay, training.replay_size),
        config.adversarial.group_size,
        WeightAverage(config.adversarial.ema_decay),
    )
    if players.discriminator is not None:
        share_frozen_weights(players.discriminator.discriminator, generator)
    learning = players.rewards.learning
    if runtime.world_size > 1 and learning is not None and not hasattr(learning, "train_in"):
        raise ConfigurationError(
            f"{learning.name!r} has no method train_in, which a reward that learns in"
            " several processes must have, as the discriminator has"
        )
    return players


def join_processes(players: Players) -> None:
    """Lets the networks that learn do so in all processes; every process waits for the others."""
    runtime, learning = players.runtime, players.rewards.learning
    for module in players.learning:
        runtime.prepare(module)
    if runtime.world_size > 1:
        players.reference.load_state_dict(players.generator.state_dict())  # the main process'
        if learning is not None:
            learning.train_in(runtime)  # type: ignore[attr-defined]  # checked by make_players


def make_phases(config: TrainConfig, players: Players) -> list[Phase]:
    """The phases that the settings name, in their order.

    A phase is a function of (players, config) that gives it, or a dataclass whose `build` does. It
    is built with PyTorch's global state seeded from the run's seed. It waits for no other process.

    Raises:
        ConfigurationError: no such phase, one that lacks a part, or two of one name.
    """
    phases: list[Phase] = []
    for number, spec in enumerate(config.phases):
        made = make(spec, "phase", SHIPPED_PHASES)
        seed = seed_of(config.seed, number, SEED_OF_PHASES)
        make_it = getattr(made, "build", made)
        check_takes(make_it, ("players", "config"), parse_spec(spec, "phase"))
        with seeded_from(torch.Generator().manual_seed(seed), config.device):
            phase = built(made, (players, config), "phase", spec)
        if not isinstance(phase, Phase):
            lacking = [name for name in PARTS_OF_PHASE if not hasattr(phase, name)]
            raise ConfigurationError(f"phase {spec!r} lacks {', '.join(lacking)}")
        phases.append(phase)
    _check_distinct("phases", [phase.name for phase in phases])
    return phases


def _check_distinct(what: str, names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ConfigurationError(
                f"two {what} are called {name!r}, but their names must be distinct"
            )


def trainer_for(
    config: TrainConfig,
    players: Players,
    rng: torch.Generator,
    tracker: Tracker,
    progress: Progress,
    checkpoints: Path | None = None,
    best: Path | None = None,
    phases: Sequence[Phase] | None = None,
    observers: Sequence[Observer] | None = None,
) -> Trainer:
    """A trainer with the phases and observers of the settings.

    Args:
        players: as `make_players` gives them.
        rng: the run's, after `make_players` took its draws.
        phases: as `make_phases` gives them for these players; None makes them here.
        observers: as `make_observers` gives them for these players; None makes them here.
        tracker: where metrics and samples go.
        progress: what a person sees meanwhile.
        checkpoints: folder of the run's checkpoints; None keeps none.
        best: folder for a copy of the best one; None keeps none.

    Raises:
        ConfigurationError: the settings do not go together.
    """
    phases = make_phases(config, players) if phases is None else phases
    join_processes(players)
    trainer = Trainer(
        players, phases, tracker, progress, rng, checkpoints, config.checkpoint_seconds
    )
    trainer.keep = config.checkpoint_keep
    samples = Samples(players, tracker, config.evaluation.num_shown, config.rule)
    evaluation = Evaluation(players, config.evaluation, samples, tracker, make_measures(config))
    best = best if players.runtime.is_main() else None
    trainer.observers += [
        # First, so that a game that it ends is evaluated at its end.
        *([EarlyStop(players, config.adversarial)] if config.adversarial.patience > 0 else []),
        samples,
        evaluation,
        Alerts(players, evaluation, tracker),
        Warmed(players, config.discriminator_training, config.evaluation.resampled > 0),
        BestCheckpoint(best, trainer.state_dict, tracker),
        *(make_observers(config, players) if observers is None else observers),
    ]
    return trainer


def make_trainer(
    config: TrainConfig,
    task: Task,
    tracker: Tracker,
    progress: Progress,
    checkpoints: Path | None = None,
    best: Path | None = None,
    rewards: RewardModel | None = None,
    runtime: Runtime = ALONE,
) -> Trainer:
    """A trainer with everything that the settings say; see `make_players` and `trainer_for`.

    Raises:
        ConfigurationError: the settings do not go together.
        ModelFolderError: a model folder cannot be used.
    """
    rng = torch.Generator().manual_seed(config.seed)
    players = make_players(config, task, rng, rewards, runtime=runtime)
    return trainer_for(config, players, rng, tracker, progress, checkpoints, best)


def make_measures(config: TrainConfig) -> dict[str, Measure]:
    """The user's own measures, by the names of their functions.

    Raises:
        ConfigurationError: there is none of that name, it does not say what it takes, or two have
            one name.
    """
    names = [parse_spec(spec, "measure").attribute for spec in config.evaluation.measures]
    _check_distinct("measures", names)
    made = [make(spec, "measure", {}) for spec in config.evaluation.measures]
    measures: dict[str, Measure] = {}
    for spec, name, each in zip(config.evaluation.measures, names, made, strict=True):
        try:
            measures[name] = as_measure(each)
        except ConfigurationError as error:
            raise ConfigurationError(f"measure {spec!r}: {error}") from error
    return measures


def make_observers(config: TrainConfig, players: Players) -> list[Observer]:
    """The user's own observers.

    Raises:
        ConfigurationError: there is none of that name; or two with a state, perhaps one of the
            library, have one name.
    """
    observers = [make_observer(spec, config, players) for spec in config.observers]
    own = [observer.name for observer in observers if observer.state_dict()]
    kinds = (Samples, Evaluation, Alerts, Warmed, BestCheckpoint, EarlyStop)
    library = [kind.name for kind in kinds]
    _check_distinct("observers with a state", library + own)
    return observers


def make_observer(spec: str, config: TrainConfig, players: Players) -> Observer:
    """A user's observer.

    It is an `Observer`, a dataclass whose `build(players, config)` gives one, or a function of
    (phase, metrics, players).

    Raises:
        ConfigurationError: there is none of that name.
    """
    made: Any = make(spec, "observer", {})
    written = parse_spec(spec, "observer")
    if hasattr(made, "build"):
        made = built(made, (players, config), "observer", spec)
    if isinstance(made, Observer):
        return made
    if hasattr(made, "after") or not callable(made):
        raise ConfigurationError(
            f"observer {spec!r} is {made!r}, but must be an Observer or a function of"
            " (phase, metrics, players)"
        )
    check_takes(made, ("phase", "metrics", "players"), written)
    return FunctionObserver(made, players, spec)
