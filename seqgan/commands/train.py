"""`seqgan train`: a preset or a file, changed by flags; or a run to continue or fork."""

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from seqgan.commands.continuing import fork, resume
from seqgan.commands.given import Given, parse_config, read_given, trusted_flags
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
        read = read_given(given)
        resumed, flags = take(read.flags, "--resume")
        parent, flags = take(flags, "--fork")
        profiled, flags = "--profile" in flags, [flag for flag in flags if flag != "--profile"]
        trusted, flags = trusted_flags(flags)
        ways = {"--config": read.config, "--resume": resumed, "--fork": parent}
        chosen = [read.preset] * bool(read.preset) + [way for way, path in ways.items() if path]
        if len(chosen) > 1:
            raise InputError(f"{' and '.join(chosen)} together; train takes one of them")
        if profiled and (resumed or parent):
            raise InputError(f"--profile and {chosen[0]} together; --profile is for new runs")
        device, others = take(flags, "--device")
        if profiled:
            _check_alone()
        if not (resumed or parent):
            config = parse_config(replace(read, flags=flags), trusted)
            _say_preset(read)
    if resumed is not None:
        return resume(given_path(resumed), others, device, trusted)
    if parent is not None:
        return fork(given_path(parent), others, device, trusted)
    return _profile(config, trusted) if profiled else _start(config, trusted)


def _say_preset(read: Given) -> None:
    """Says which preset a file's columns chose."""
    from seqgan.system.runtime import launched_rank

    if read.note and launched_rank() == 0:
        print(read.note, file=sys.stderr)


def _check_alone() -> None:
    from seqgan.system.runtime import launched_processes

    if launched_processes() > 1:
        raise InputError(f"--profile in {launched_processes()} processes; it is for one")


def _start(config: "TrainConfig", trusted: bool) -> int:
    from seqgan.training.runs import check_new, create_run

    with reported_once():
        check_new(config)
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
