"""`seqgan train --resume` and `--fork`: a run goes on, or another begins at its checkpoint."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqgan.commands.given import with_flags
from seqgan.commands.parsing import InputError
from seqgan.commands.prepared import (
    Prepared,
    locked,
    main_first,
    prepare,
    processes,
    reported_once,
)
from seqgan.commands.train_run import present_stored, train_run
from seqgan.system.terminal import say

if TYPE_CHECKING:
    from seqgan.learning.players import Players
    from seqgan.system.runtime import Runtime
    from seqgan.training.run_folders import RunFolder
    from seqgan.training.settings import TrainConfig


def resume(path: Path, flags: list[str], device: str | None, trusted: bool) -> int:
    """Goes on with a run; flags may say where its inputs lie now, or change no number of it.

    A finished run remembers where its inputs lie, for commands that read them, and is shown.
    """
    from seqgan.system.runtime import launched_rank
    from seqgan.training.runs import EVERYTHING, check_task, open_run, remember_inputs, usable
    from seqgan.training.trust import TRAINING

    with reported_once():
        folder, read = open_run(path, trusted, TRAINING, flags)
        finished = folder.results.is_file()
        if flags or not finished:
            given = with_flags(read, flags, f"--resume {path}") if flags else read
            given = usable(folder, given, EVERYTHING, device)
            _check_continued(folder, read, given)
        if finished:
            if launched_rank() > 0:
                return 0
            if flags:
                remember_inputs(folder, given)
            return present_stored(folder)
    runtime, config = processes(given)
    with locked(folder, runtime):
        checkpoint, state = main_first(runtime, lambda: _newest_state(folder, read))
        prepared = main_first(
            runtime,
            lambda: prepare(config, runtime, trusted, check=lambda task: check_task(folder, task)),
        )
        if state:
            _check_weights(folder, prepared.players, state)
        runtime.barrier()  # everybody has read it before the main process writes the next
        if runtime.is_main():
            remember_inputs(folder, config)
            _say_where(folder, checkpoint)
        return train_run(prepared, folder, state)


def _check_continued(folder: "RunFolder", config: "TrainConfig", given: "TrainConfig") -> None:
    """Checks that a run goes on with settings that give its numbers.

    Raises:
        InputError: a flag would change them.
    """
    from seqgan.training.runs import edits

    for name, value, other in edits(folder, config, given):
        raise InputError(
            f"{name} is {value!r} in {folder.path}, not {other!r}, and --resume continues a"
            " run as it was; begin a new run from it with other settings: seqgan train"
            f" --fork {folder.path}"
        )


def _check_weights(folder: "RunFolder", players: "Players", state: Mapping[str, Any]) -> None:
    """Checks that the networks of a run take its weights, before anything else is read."""
    from seqgan.training.networks import load_weights

    load_weights(players.generator, state["players"]["generator"], folder.path)
    if (judge := players.discriminator) is not None and judge.name in state["players"]["rewards"]:
        weights = state["players"]["rewards"][judge.name]["module"]
        load_weights(judge.discriminator, weights, folder.path)


def _newest_state(folder: "RunFolder", config: "TrainConfig") -> tuple[Path | None, dict[str, Any]]:
    """The newest checkpoint and its state; None and an empty one where there was none yet.

    Args:
        config: as `config.yaml` holds it.

    Raises:
        ConfigurationError: `config.yaml` or `task.json` was edited since.
        CheckpointError: all checkpoints are damaged, or those of a fork are gone.
        DataError: a part of the run is a link.
    """
    from seqgan.system.errors import CheckpointError
    from seqgan.training.checkpoints import check_state, load_checkpoint
    from seqgan.training.run_folders import check_own
    from seqgan.training.runs import check_settings

    check_own(folder)
    try:
        checkpoint, state = load_checkpoint(folder.checkpoints)
        check_state(state, checkpoint)
    except CheckpointError:
        if folder.checkpoints.exists() and not folder.checkpoints.is_dir():
            raise
        if any(folder.checkpoints.glob("[0-9]*")):
            raise  # all are damaged: not ours to throw away
        if folder.fork.is_file():
            raise  # from the beginning, it would be another run
        return None, {}
    check_settings(folder, config, state)
    return checkpoint, state


def _say_where(folder: "RunFolder", checkpoint: Path | None) -> None:
    """Says where a run goes on; without a checkpoint whatever was recorded is removed."""
    from seqgan.tracking.jsonl import KINDS

    if checkpoint is not None:
        say(f"continuing from {checkpoint}", sys.stderr)
        return
    # Killed before its first checkpoint: nothing is lost by starting over.
    for kind in KINDS:
        (folder.path / f"{kind}.jsonl").unlink(missing_ok=True)
    say(f"{folder.path} has no checkpoint yet; starting from the beginning", sys.stderr)


def fork(path: Path, flags: list[str], device: str | None, trusted: bool) -> int:
    """A new run that begins as another one's newest checkpoint, with settings that flags change."""
    from seqgan.system.runtime import ALONE, launched_processes
    from seqgan.training.runs import open_run, usable
    from seqgan.training.trust import TRAINING

    if launched_processes() == 1:
        prepared, folder, state = _branch_off(path, flags, device, ALONE, trusted)
        with locked(folder, ALONE):
            return train_run(prepared, folder, state)
    with reported_once():
        before = usable(*open_run(path, trusted, TRAINING, flags), (), device)
        config = with_flags(before, flags, f"--fork {path}")
    runtime, _ = processes(config)
    made = main_first(
        runtime,
        lambda: _branch_off(path, flags, device, ALONE, trusted)[1] if runtime.is_main() else None,
    )
    # The flags that made its settings are those of this command.
    return resume(runtime.from_main(made).path, [], device, trusted=True)


def _branch_off(
    path: Path, flags: list[str], device: str | None, runtime: "Runtime", trusted: bool
) -> tuple[Prepared, "RunFolder", dict[str, Any]]:
    """The parts, the folder and the state of a fork; the folder has its first checkpoint."""
    from seqgan.system.files import name_of, write_text
    from seqgan.tracking.base import MemoryTracker
    from seqgan.tracking.progress import Progress
    from seqgan.training.checkpoints import fitting, save_checkpoint
    from seqgan.training.forking import check_fork, copy_record, forked_state
    from seqgan.training.identity import identity_of
    from seqgan.training.run_folders import check_new, create_run
    from seqgan.training.runs import (
        EVERYTHING,
        before_edits,
        check_task_of,
        check_vocabulary,
        checkpoint_state,
        open_run,
        usable,
    )
    from seqgan.training.start import trainer_for
    from seqgan.training.trust import TRAINING

    parent, before = open_run(path, trusted, TRAINING, flags)
    config = with_flags(before, flags, f"--fork {path}")
    check_new(config)
    config = usable(parent, config, EVERYTHING, device, forking=True)
    checkpoint, state = checkpoint_state(parent)
    check_task_of(parent, state)
    before = before_edits(parent, before, state, trusted, flags)
    with fitting(checkpoint):
        check_fork(before, config, state)
    prepared = prepare(
        config, runtime, trusted, tried=True, check=lambda task: check_vocabulary(parent, task)
    )
    players = prepared.players
    trainer = trainer_for(
        config,
        players,
        prepared.rng,
        MemoryTracker(),
        Progress(),
        phases=prepared.phases,
        observers=prepared.observers,
    )
    with fitting(checkpoint):
        state = forked_state(state, trainer, before, config)
    done = {phase.name: phase.count for phase in prepared.phases}
    axes, name = players.position.axes(), name_of(checkpoint)
    note = {"run": str(path.resolve()), "checkpoint": name, **axes, **done}

    def fill(folder: "RunFolder") -> None:
        copy_record(parent.path, folder.path, state["tracker"].get("jsonl", {}))
        # The fork's first checkpoint: from here on it is a run like any other.
        state["identity"] = identity_of(config, folder.task)
        save_checkpoint(folder.checkpoints, int(name), state)
        write_text(folder.fork, json.dumps(note))

    folder = create_run(config, players.task, fill)
    say(f"branching off from {checkpoint}", sys.stderr)
    return prepared, folder, state
