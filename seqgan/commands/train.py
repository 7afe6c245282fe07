"""`seqgan train`: a preset or a file, changed by flags; or a run to continue or fork."""

from typing import TYPE_CHECKING

from seqgan.commands.continuing import fork, resume
from seqgan.commands.given import parse_config, trusted_flags
from seqgan.commands.parsing import InputError, given_path, take
from seqgan.commands.prepared import locked, main_first, prepare, processes, reported_once
from seqgan.commands.train_run import train_run
from seqgan.system.errors import SeqganError

if TYPE_CHECKING:
    from seqgan.training.runs import RunFolder
    from seqgan.training.settings import TrainConfig


def run(given: list[str]) -> int:
    """Trains, and gives the exit code."""
    with reported_once():
        preset = given[0] if given and not given[0].startswith("-") else None
        flags = given if preset is None else given[1:]
        path, flags = take(flags, "--config")
        resumed, flags = take(flags, "--resume")
        parent, flags = take(flags, "--fork")
        profiled, flags = "--profile" in flags, [flag for flag in flags if flag != "--profile"]
        trusted, flags = trusted_flags(flags)
        if sum(choice is not None for choice in (preset, path, resumed, parent)) > 1:
            raise InputError(
                "train takes one of a preset, --config, --resume and --fork, got more than one"
            )
        continued = "--resume" if resumed is not None else "--fork" if parent is not None else ""
        if profiled and continued:
            raise InputError(f"--profile is for a preset or --config, got it beside {continued}")
        device, others = take(flags, "--device")
        if profiled:
            _check_alone()
        if not continued:
            config = parse_config(preset, path, flags, trusted)
    if resumed is not None:
        return resume(given_path(resumed), others, device, trusted)
    if parent is not None:
        return fork(given_path(parent), others, device, trusted)
    return _profile(config, trusted) if profiled else _start(config, trusted)


def _check_alone() -> None:
    from seqgan.system.runtime import launched_processes

    if launched_processes() > 1:
        raise InputError(f"--profile is for one process, got {launched_processes()}")


def _start(config: "TrainConfig", trusted: bool) -> int:
    from seqgan.training.runs import create_run

    runtime, config = processes(config)
    prepared = main_first(runtime, lambda: prepare(config, runtime, trusted, tried=True))
    made = main_first(
        runtime,
        lambda: create_run(config, prepared.players.task) if runtime.is_main() else None,
    )
    folder: RunFolder = runtime.from_main(made)
    with locked(folder, runtime):
        return train_run(prepared, folder, {})


def _profile(config: "TrainConfig", trusted: bool) -> int:
    """Prints where the time of an iteration goes, after one epoch of pretraining."""
    from seqgan.system.errors import DivergedError
    from seqgan.system.runtime import ALONE
    from seqgan.tracking.base import MemoryTracker
    from seqgan.tracking.progress import Progress
    from seqgan.training.profiling import evaluated_phase, profile_iteration
    from seqgan.training.start import trainer_for

    epochs = min(config.pretrain.epochs, 1)
    config = config.with_(
        **{
            "pretrain.epochs": epochs,
            "discriminator_training.pretrain_rounds": 0,
            "evaluation.num_shown": 0,
            "tracker.mode": "disabled",
        }
    )
    prepared = prepare(config, ALONE, trusted)
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
            before = trainer.phases.index(evaluated_phase(trainer))
            for phase in trainer.phases[:before]:
                trainer.run(phase)
            measured = profile_iteration(trainer)
        except (DivergedError, OSError, SeqganError) as error:
            progress.message(f"seqgan: {error}")
            return 1
    print("\n".join(measured.lines()))
    return 0
