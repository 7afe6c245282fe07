"""`seqgan train`: a preset or a file, changed by flags; or a run to continue or fork."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from seqgan.commands.continuing import fork, resume
from seqgan.commands.given import note_beside, parse_config, read_given, trusted_flags
from seqgan.commands.parsing import InputError, given_path, take
from seqgan.commands.prepared import locked, main_first, prepare, processes, reported_once
from seqgan.commands.short_names import ONLY_ADVERSARY, said_as_typed
from seqgan.commands.train_run import train_run
from seqgan.system.errors import SeqganError
from seqgan.system.terminal import columns_of, say

if TYPE_CHECKING:
    from seqgan.training.run_folders import RunFolder
    from seqgan.training.settings import TrainConfig
    from seqgan.training.trainer import Trainer


def run(given: list[str]) -> int:
    """Trains, and gives the exit code."""
    with said_as_typed(given):
        return _run(given)


def _run(given: list[str]) -> int:
    with reported_once():
        read = read_given(given)
        resumed, flags = take(read.flags, "--resume")
        parent, flags = take(flags, "--fork")
        only = [flag for flag in flags if flag in ONLY]
        flags = [flag for flag in flags if flag not in ONLY]
        trusted, flags = trusted_flags(flags)
        ways = {"--config": read.config, "--resume": resumed, "--fork": parent}
        chosen = [read.preset] * bool(read.preset) + [way for way, path in ways.items() if path]
        if len(chosen) > 1:
            raise InputError(f"{' and '.join(chosen)} together; train takes one of them")
        if only and (resumed or parent):
            raise InputError(f"{only[0]} and {chosen[0]} together; {only[0]} is for new runs")
        device, others = take(flags, "--device")
        if only:
            _check_alone(only[0])
        if not (resumed or parent):
            config = parse_config(replace(read, flags=flags), trusted)
            if ONLY_ADVERSARY in given:
                _check_adversary(config)
            notes = read.note, note_beside(replace(read, flags=flags), config)
    if resumed is not None:
        return resume(given_path(resumed), others, device, trusted)
    if parent is not None:
        return fork(given_path(parent), others, device, trusted)
    return ONLY[only[0]](config, trusted, notes) if only else _start(config, trusted, notes)


def _say(notes: tuple[str, ...]) -> None:
    """Says what was chosen for a person: a preset by a file's columns, settings by a generator.

    It is said once all parts of the run are made, so that a fault stands alone.
    """
    from seqgan.system.runtime import launched_rank

    for note in filter(None, notes):
        if launched_rank() == 0:
            say(note, sys.stderr)


def _check_adversary(config: "TrainConfig") -> None:
    from seqgan.rewards.adapters.finding import DISCRIMINATOR

    if DISCRIMINATOR not in config.reward:
        raise InputError(
            f"{ONLY_ADVERSARY} with --reward {' '.join(config.reward)}; it is for a discriminator."
            " Any other reward decodes a run without training: seqgan sample RUN --sampler resample"
            " --tilt REWARD"
        )
    if config.adversarial.iterations:
        raise InputError(
            f"--adversarial.iterations is {config.adversarial.iterations}, but {ONLY_ADVERSARY}"
            " plays no game; leave one of them out"
        )


def _check_alone(flag: str) -> None:
    from seqgan.system.runtime import launched_processes

    if launched_processes() > 1:
        raise InputError(f"{flag} in {launched_processes()} processes; it is for one")


def _start(config: "TrainConfig", trusted: bool, notes: tuple[str, ...]) -> int:
    from seqgan.training.run_folders import check_new, create_run

    with reported_once():
        check_new(config)
    runtime, config = processes(config)
    prepared = main_first(runtime, lambda: prepare(config, runtime, trusted, tried=True))
    _say(notes)
    made = main_first(
        runtime,
        lambda: create_run(config, prepared.players.task) if runtime.is_main() else None,
    )
    folder: RunFolder = runtime.from_main(made)
    with locked(folder, runtime):
        return train_run(prepared, folder, {})


def _profile(config: "TrainConfig", trusted: bool, notes: tuple[str, ...]) -> int:
    """Prints where the time of an iteration goes, after one epoch of pretraining."""
    from seqgan.training.profiling import evaluated_phase, profile_iteration

    epochs = min(config.pretrain.epochs, 1)
    config = config.with_(
        **{
            "pretrain.epochs": epochs,
            "discriminator_training.pretrain_rounds": 0,
            "evaluation.num_shown": 0,
        }
    )

    def profile(trainer: "Trainer") -> list[str]:
        before = trainer.phases.index(evaluated_phase(trainer))
        for phase in trainer.phases[:before]:
            trainer.run(phase)
        return profile_iteration(trainer).lines()

    return _print_only(config, trusted, notes, profile)


def _estimate(config: "TrainConfig", trusted: bool, notes: tuple[str, ...]) -> int:
    """Prints how long a run will take, and which of its parts takes most of it."""
    from seqgan.training.estimate import estimate

    return _print_only(
        config, trusted, notes, lambda trainer: estimate(trainer).lines(columns_of(sys.stdout))
    )


# Flags that keep nothing of a run, and what they do in its place.
ONLY: Mapping[str, Callable[["TrainConfig", bool, tuple[str, ...]], int]] = {
    "--profile": _profile,
    "--estimate-time": _estimate,
}


def _print_only(
    config: "TrainConfig",
    trusted: bool,
    notes: tuple[str, ...],
    lines: "Callable[[Trainer], list[str]]",
) -> int:
    """Prints what a trainer is good for, without a run's folder; gives the exit code."""
    from seqgan.system.errors import DivergedError
    from seqgan.system.runtime import ALONE
    from seqgan.tracking.base import MemoryTracker
    from seqgan.tracking.progress import Progress
    from seqgan.training.start import trainer_for

    config = config.with_(**{"tracker.mode": "disabled"})
    prepared = prepare(config, ALONE, trusted)
    _say(notes)
    with Progress() as progress:
        trainer = trainer_for(
            config,
            prepared.players,
            prepared.rng,
            MemoryTracker(),
            progress,
            phases=prepared.phases,
            observers=prepared.observers,
        )
        try:
            said = lines(trainer)
        except (DivergedError, OSError, SeqganError) as error:
            progress.message(f"seqgan: {error}")
            return 1
    print("\n".join(said))
    return 0
