"""`seqgan train`: a preset or a file, changed by flags; or a run to continue or fork."""

import contextlib
import io
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

from seqgan.commands.parsing import InputError, given_path, take, unknown_flag
from seqgan.system.errors import SeqganError
from seqgan.system.plugins import nearest

if TYPE_CHECKING:
    import torch

    from seqgan.learning.players import Players
    from seqgan.system.runtime import Runtime
    from seqgan.tasks.base import Task
    from seqgan.tracking.base import Trackers
    from seqgan.training.final import Result
    from seqgan.training.observers import Observer
    from seqgan.training.phases.base import Phase
    from seqgan.training.runs import RunFolder
    from seqgan.training.settings import TrainConfig
    from seqgan.training.trainer import Trainer

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


def run(given: list[str]) -> int:
    """Trains, and gives the exit code."""
    with _reported_once():
        preset = given[0] if given and not given[0].startswith("-") else None
        flags = given if preset is None else given[1:]
        path, flags = take(flags, "--config")
        resumed, flags = take(flags, "--resume")
        parent, flags = take(flags, "--fork")
        profiled, flags = "--profile" in flags, [flag for flag in flags if flag != "--profile"]
        trusted, flags = _trusted(flags)
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
            config = _parse_config(preset, path, flags, trusted)
    if resumed is not None:
        return _resume(given_path(resumed), others, device, trusted)
    if parent is not None:
        return _fork(given_path(parent), others, device, trusted)
    return _profile(config, trusted) if profiled else _start(config, trusted)


def _check_alone() -> None:
    from seqgan.system.runtime import launched_processes

    if launched_processes() > 1:
        raise InputError(f"--profile is for one process, got {launched_processes()}")


@contextlib.contextmanager
def _reported_once() -> Iterator[None]:
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


def configuration(given: list[str]) -> "TrainConfig":
    """The settings with which `seqgan train` would start, for whoever starts it later.

    Raises:
        SeqganError: what `seqgan train` would report.
    """
    preset = given[0] if given and not given[0].startswith("-") else None
    path, flags = take(given if preset is None else given[1:], "--config")
    trusted, flags = _trusted(flags)
    return _parse_config(preset, path, flags, trusted)


def _trusted(flags: list[str]) -> tuple[bool, list[str]]:
    """True if code that files name may run, and the other flags."""
    from seqgan.training.trust import FLAG, is_trusted

    return is_trusted(FLAG in flags), [flag for flag in flags if flag != FLAG]


def _parse_config(
    preset: str | None, path: str | None, flags: list[str], trusted: bool
) -> "TrainConfig":
    from seqgan.training.config_files import load_config
    from seqgan.training.presets import PRESETS
    from seqgan.training.trust import TRAINING

    asks_help = any(flag in ("-h", "--help") for flag in flags)
    if preset is None and path is None and not asks_help:
        raise InputError(
            f"train takes a preset ({', '.join(PRESETS)}), --config FILE, --resume RUN or"
            " --fork RUN"
        )
    if preset is not None and preset not in PRESETS:
        raise InputError(
            f"a preset is one of {', '.join(PRESETS)}, got {preset!r}{nearest(preset, PRESETS)}"
        )
    if path:
        config = load_config(given_path(path), trusted, TRAINING, flags)
    else:
        config = PRESETS[preset or "captions"]()
    return _with_flags(config, flags, preset or "PRESET")


def _with_flags(config: "TrainConfig", flags: list[str], what: str) -> "TrainConfig":
    """The configuration with what the flags change."""
    import tyro

    from seqgan.training.moved import present_flags
    from seqgan.training.presets import PRESETS
    from seqgan.training.settings import TrainConfig

    config, flags = _with_kinds(config, present_flags(flags))
    _check_given(config, flags)
    errors = io.StringIO()
    asks_help = any(flag in ("-h", "--help") for flag in flags)
    unbroken = contextlib.nullcontext() if asks_help else _wide_terminal()
    try:
        with contextlib.redirect_stderr(errors), unbroken:
            parsed, unknown = tyro.cli(
                TrainConfig,
                prog=f"seqgan train {what}",
                description=(
                    f"Presets: {', '.join(PRESETS)}. Instead of a preset: --config FILE (YAML),"
                    " --resume RUN, or --fork RUN for a new run that goes on from RUN's newest"
                    " checkpoint with RUN's settings. --trust-run-code runs the files and"
                    " modules of Python that FILE or RUN names."
                ),
                default=config,
                args=flags,
                config=(tyro.conf.AvoidSubcommands,),
                return_unknown_args=True,
            )
    except SystemExit as stop:
        if not stop.code:
            raise
        raise InputError(_first_line_of_box(errors.getvalue())) from stop
    if unknown:
        raise InputError(unknown_flag(unknown[0], _flag_names(config)))
    return parsed


@contextlib.contextmanager
def _wide_terminal() -> Iterator[None]:
    """Lets tyro write an error without breaking its lines, within a path for example."""
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = "100000"
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def _with_kinds(config: "TrainConfig", flags: list[str]) -> tuple["TrainConfig", list[str]]:
    """The configuration with the classes that flags choose for its slots, and the other flags.

    `--task.kind KIND` and `--task KIND` are the same. Of the kinds that come with the package, the
    flag stays: one class may stand for several kinds.
    """
    from dataclasses import replace

    from seqgan.training.slots import SLOTS, settings_class

    for slot, kinds in SLOTS.items():
        kind, flags = _take_last(flags, f"--{slot}", f"--{slot}.kind")
        if kind is None:
            continue
        chosen = settings_class(slot, kind)
        if type(getattr(config, slot)) is not chosen:
            config = replace(config, **{slot: _defaults(chosen)})
        if kind in kinds:
            flags = [*flags, f"--{slot}.kind", kind]
    return config, flags


def _take_last(flags: list[str], *names: str) -> tuple[str | None, list[str]]:
    """As `take`, of a flag with several names that may be given again; the last value counts."""
    last = None
    for name in names:
        value, others = take(flags, name)
        while value is not None:
            last, flags = value, others
            value, others = take(flags, name)
    return last, flags


def _defaults(chosen: type) -> Any:
    """The settings of a class with its defaults, and with tyro's mark for what has to be given.

    `__post_init__` is left out: it checks settings that are complete.
    """
    from dataclasses import MISSING, fields

    import tyro

    settings: Any = object.__new__(chosen)
    for item in fields(chosen):
        if item.default_factory is not MISSING:
            default = item.default_factory()
        else:
            default = tyro.MISSING if item.default is MISSING else item.default
        object.__setattr__(settings, item.name, default)
    return settings


def _check_given(config: "TrainConfig", flags: list[str]) -> None:
    """Checks that flags set all the fields without a default, where no help is asked for.

    Raises:
        InputError: one is not set; its name may have been misspelt.
    """
    import tyro

    from seqgan.training.slots import SLOTS, kind_of

    names = [flag.partition("=")[0].replace("_", "-") for flag in flags if flag.startswith("-")]
    if "-h" in names or "--help" in names:
        return
    for slot in SLOTS:
        settings = getattr(config, slot)
        for name, value in vars(settings).items():
            flag = f"--{slot}.{name.replace('_', '-')}"
            if value is tyro.MISSING and flag not in names:
                known = _flag_names(config)
                for other in names:
                    if other.startswith(f"--{slot}.") and other not in known:
                        raise InputError(unknown_flag(other, known))
                raise InputError(f"{kind_of(slot, settings)} needs {flag}, got none")


def _flag_names(config: Any, prefix: str = "--") -> list[str]:
    from dataclasses import fields, is_dataclass

    names = []
    for item in fields(config):
        value, name = getattr(config, item.name), prefix + item.name.replace("_", "-")
        names += _flag_names(value, f"{name}.") if is_dataclass(value) else [name]
    return names


def _first_line_of_box(text: str) -> str:
    """The message inside the frame that tyro draws around an error."""
    lines = [line.strip("│ ").strip() for line in text.splitlines() if line.startswith("│")]
    message = []
    for line in lines:
        if not line.strip("─"):
            break
        message.append(line)
    line = " ".join(message) or " ".join(text.split())
    return re.sub(r"^Error parsing [\w.-]+: (?=.* (is|are|has|names) )", "", line)  # our own rule


def _start(config: "TrainConfig", trusted: bool) -> int:
    from seqgan.training.runs import create_run

    runtime, config = _processes(config)
    prepared = _main_first(runtime, lambda: _prepare(config, runtime, trusted, tried=True))
    made = _main_first(
        runtime,
        lambda: create_run(config, prepared.players.task) if runtime.is_main() else None,
    )
    folder: RunFolder = runtime.from_main(made)
    with _locked(folder, runtime):
        return _run(prepared, folder, {})


def _resume(path: Path, flags: list[str], device: str | None, trusted: bool) -> int:
    """Goes on with a run; flags may say where its inputs lie now, or change no number of it."""
    from seqgan.system.runtime import launched_rank
    from seqgan.training.runs import (
        EVERYTHING,
        check_task,
        open_run,
        remember_inputs,
        usable,
    )
    from seqgan.training.trust import TRAINING

    with _reported_once():
        folder, read = open_run(path, trusted, TRAINING, flags)
        if folder.results.is_file():
            return _present_stored(folder) if launched_rank() == 0 else 0
        given = _with_flags(read, flags, f"--resume {path}") if flags else read
        given = usable(folder, given, EVERYTHING, device)
        _check_continued(folder, read, given)
    runtime, config = _processes(given)
    with _locked(folder, runtime):
        checkpoint, state = _main_first(runtime, lambda: _newest_state(folder, read))
        prepared = _main_first(
            runtime,
            lambda: _prepare(config, runtime, trusted, check=lambda task: check_task(folder, task)),
        )
        if state:
            _check_weights(folder, prepared.players, state)
        runtime.barrier()  # everybody has read it before the main process writes the next
        if runtime.is_main():
            remember_inputs(folder, config)
            _say_where(folder, checkpoint)
        return _run(prepared, folder, state)


def _locked(folder: "RunFolder", runtime: "Runtime") -> contextlib.AbstractContextManager[object]:
    """Lets nobody else train a run meanwhile; the main one of several processes has the lock."""
    from seqgan.training.runs import lock_run

    return _main_first(
        runtime, lambda: lock_run(folder) if runtime.is_main() else contextlib.nullcontext()
    )


def _check_continued(folder: "RunFolder", config: "TrainConfig", given: "TrainConfig") -> None:
    """Checks that a run goes on with settings that give its numbers.

    Raises:
        InputError: a flag would change them.
    """
    from seqgan.training.runs import edits

    for name, value, other in edits(folder, config, given):
        raise InputError(
            f"--resume continues a run as it was, with {name} {value!r}, got {other!r}; a new run"
            f" goes on from it with other settings: seqgan train --fork {folder.path}"
        )


def _check_weights(folder: "RunFolder", players: "Players", state: Mapping[str, Any]) -> None:
    """Checks that the networks of a run take its weights, before anything else is read."""
    from seqgan.training.networks import load_weights

    load_weights(players.generator, state["players"]["generator"], folder.path)
    if (judge := players.discriminator) is not None and judge.name in state["players"]["rewards"]:
        weights = state["players"]["rewards"][judge.name]["module"]
        load_weights(judge.discriminator, weights, folder.path)


def _fork(path: Path, flags: list[str], device: str | None, trusted: bool) -> int:
    """A new run that begins as another one's newest checkpoint, with settings that flags change."""
    from seqgan.system.runtime import ALONE, launched_processes
    from seqgan.training.runs import open_run, usable
    from seqgan.training.trust import TRAINING

    if launched_processes() == 1:
        prepared, folder, state = _branch_off(path, flags, device, ALONE, trusted)
        with _locked(folder, ALONE):
            return _run(prepared, folder, state)
    with _reported_once():
        before = usable(*open_run(path, trusted, TRAINING, flags), (), device)
        config = _with_flags(before, flags, f"--fork {path}")
    runtime, _ = _processes(config)
    made = _main_first(
        runtime,
        lambda: _branch_off(path, flags, device, ALONE, trusted)[1] if runtime.is_main() else None,
    )
    # The flags that made its settings are those of this command.
    return _resume(runtime.from_main(made).path, [], device, trusted=True)


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
    prepared = _prepare(config, ALONE, trusted)
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


def _processes(config: "TrainConfig") -> tuple["Runtime", "TrainConfig"]:
    """The runtime that joins this process with others, if any, and this process' settings."""
    from dataclasses import replace

    from seqgan.system.accelerated import Accelerated, runtime_for

    with _reported_once():
        runtime = runtime_for(config.device)
    if isinstance(runtime, Accelerated):
        config = replace(config, device=str(runtime.device))
    return runtime, config


def _main_first(runtime: "Runtime", make: Callable[[], Made]) -> Made:
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


def _prepare(
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
    from seqgan.tracking.wandb_settings import check_settings
    from seqgan.training.run_rewards import named_rewards, try_rewards
    from seqgan.training.slots import built
    from seqgan.training.start import make_measures, make_observers, make_phases, make_players

    _use_machine(config)
    if runtime.is_main():
        check_settings(config.tracker)
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
    from seqgan.training.runs import check_own, check_settings

    check_own(folder)
    try:
        checkpoint, state = load_checkpoint(folder.checkpoints)
        check_state(state, checkpoint)
    except CheckpointError:
        if folder.checkpoints.is_dir() and any(folder.checkpoints.glob("[0-9]*")):
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
        print(f"continuing from {checkpoint}", file=sys.stderr)
        return
    # Killed before its first checkpoint: nothing is lost by starting over.
    for kind in KINDS:
        (folder.path / f"{kind}.jsonl").unlink(missing_ok=True)
    print(f"{folder.path} has no checkpoint yet; starting from the beginning", file=sys.stderr)


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
    from seqgan.training.runs import (
        EVERYTHING,
        before_edits,
        check_task_of,
        check_vocabulary,
        checkpoint_state,
        create_run,
        open_run,
        usable,
    )
    from seqgan.training.start import trainer_for
    from seqgan.training.trust import TRAINING

    parent, before = open_run(path, trusted, TRAINING, flags)
    config = _with_flags(before, flags, f"--fork {path}")
    config = usable(parent, config, EVERYTHING, device, forking=True)
    checkpoint, state = checkpoint_state(parent)
    check_task_of(parent, state)
    before = before_edits(parent, before, state, trusted, flags)
    with fitting(checkpoint):
        check_fork(before, config, state)
    prepared = _prepare(
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
    print(f"branching off from {checkpoint}", file=sys.stderr)
    return prepared, folder, state


def _run(prepared: Prepared, folder: "RunFolder", state: dict[str, Any]) -> int:
    """Trains from the beginning (an empty `state`) or from a checkpoint's state.

    Of several processes, only the main one touches the folder.
    """
    from seqgan.report.summary import results_dict, summary_metrics
    from seqgan.system.errors import DivergedError, Interrupted, ProcessLostError
    from seqgan.system.shortage import shortage_in_one_line
    from seqgan.tracking.base import Trackers
    from seqgan.tracking.progress import Progress, silent_progress
    from seqgan.training.checkpoints import fitting, last_good_checkpoint
    from seqgan.training.config_files import plain_settings
    from seqgan.training.final import final_evaluation
    from seqgan.training.identity import identity_of
    from seqgan.training.runs import RunFolder
    from seqgan.training.start import trainer_for
    from seqgan.training.trust import resume_flag

    config, players = prepared.config, prepared.players
    placed = RunFolder(folder.path.absolute())  # wherever the working directory goes
    runtime = players.runtime
    is_main = runtime.is_main()
    code, result = 1, None
    with Progress() if is_main else silent_progress() as progress:
        progress.message(f"run {folder.path}")
        progress.message(getattr(players.task, "description", ""))
        tracker = _tracker(prepared, placed, state) if is_main else Trackers({})
        try:
            trainer = trainer_for(
                config,
                players,
                prepared.rng,
                tracker,
                progress,
                placed.checkpoints,
                placed.best,
                prepared.phases,
                prepared.observers,
            )
            if is_main:
                trainer.identity = state.get("identity") or identity_of(config, folder.task)
            if state:
                with fitting(folder.checkpoints):
                    trainer.load_state_dict(state)
            _stop_on_signals(trainer, progress)
            if is_main:
                from seqgan.training.estimate import estimate, is_own, reward_calls

                own = [part.name for part in players.rewards.parts if is_own(part)]
                calls = reward_calls(config, players.task.max_length, runtime.world_size)
                if own and calls is not None and not state:
                    progress.message(calls.sentence(own))
                if config.estimate_time:
                    progress.message(estimate(trainer.phases, players).sentence())
            with shortage_in_one_line():
                trainer.train()
                result = final_evaluation(trainer)
            if is_main:
                _save(placed, result)
                files = {"report": placed.page, "report_picture": placed.picture}
                there = {name: file for name, file in files.items() if file.is_file()}
                tracker.results(summary_metrics(results_dict(result)), there)
            code = 0
        except Interrupted:
            code = 128 + trainer.stop_signal
            flag = resume_flag(plain_settings(config))
            progress.message(f"stopped; continue with: seqgan train --resume {folder.path}{flag}")
        except (DivergedError, ProcessLostError, OSError, SeqganError) as error:
            named = last_good_checkpoint(folder.checkpoints)
            message = str(error)
            if named not in message:
                message = f"{message}; {named}"
            if runtime.world_size > 1:
                message = f"process {runtime.rank} of {runtime.world_size}: {message}"
            if is_main:
                progress.message(f"seqgan: {message}")
            else:
                print(f"seqgan: {message}", file=sys.stderr)
        finally:
            tracker.close(code)
    if result is not None and is_main:
        _present(folder, results_dict(result), tracker.offline_record)
    return code


def _tracker(prepared: Prepared, folder: "RunFolder", state: Mapping[str, Any]) -> "Trackers":
    """The trackers of a run, which go on where `state` says that they stood."""
    from torch import nn

    from seqgan.tracking.base import Trackers
    from seqgan.tracking.jsonl import JsonlTracker
    from seqgan.tracking.wandb_tracker import WandbTracker
    from seqgan.training.config_files import plain_settings
    from seqgan.training.facts import data_files, run_facts
    from seqgan.training.run_rewards import user_files

    config, players = prepared.config, prepared.players
    networks: dict[str, nn.Module] = {"generator": players.generator}
    if players.discriminator is not None:
        networks["discriminator"] = players.discriminator.discriminator
    position = state.get("tracker", {}) if state else {}
    jsonl = JsonlTracker(folder.path, position.get("jsonl"))
    known = plain_settings(config) | run_facts(config, players.task, networks) | folder.origin()
    files = user_files(config)
    data = data_files(config)
    wandb = WandbTracker(config.tracker, folder.path, known, position.get("wandb"), files, data)
    return Trackers({"jsonl": jsonl, "wandb": wandb})


def _save(folder: "RunFolder", result: "Result") -> None:
    from seqgan.report.summary import results_dict
    from seqgan.training.runs import save_results

    save_results(folder, results_dict(result))
    _draw(folder)


def _draw(folder: "RunFolder") -> None:
    """Draws the picture and the page of a finished run, those that it has already left out."""
    from seqgan.report.page import write_page
    from seqgan.report.picture import draw_report

    for path in folder.undrawn():
        if path == folder.picture:
            draw_report(folder.path)
        else:
            write_page([folder.path], path)


def _present(folder: "RunFolder", results: Mapping[str, Any], record: Path | None = None) -> None:
    """The end of a run on standard output: the table, and what it means in plain sentences.

    Args:
        results: what `results.json` holds.
        record: of wandb, offline, where it may lie elsewhere.
    """
    from seqgan.report.summary import closing_sentences, stored_table

    print("\n".join([*stored_table(results).lines(), *closing_sentences(results)]))
    print(f"results: {folder.results}  report: {folder.page}")
    records = sorted((folder.path / "wandb").glob("offline-run-*"))
    if record is not None and record.parents[1] != folder.path.resolve():
        records.append(record)
    for offline in records:
        print(f"wandb run, offline: {offline}")


def _present_stored(folder: "RunFolder") -> int:
    """Prints the stored results of a run that is finished already, and completes its folder."""
    from seqgan.training.runs import lock_run, read_results

    results = read_results(folder)
    if folder.undrawn() and os.access(folder.path, os.W_OK):  # killed before it had drawn them
        with lock_run(folder):
            _draw(folder)
    print(f"{folder.path} is finished; --fork goes on from it", file=sys.stderr)
    _present(folder, results)
    return 0


def _stop_on_signals(trainer: "Trainer", progress: Any) -> None:
    """The first SIGINT or SIGTERM stops after the current unit; the second stops at once.

    Not in several processes: there a launcher passes on what a terminal has sent already, and ends
    who takes too long.
    """
    several = trainer.runtime.world_size > 1

    def stop(number: int, frame: FrameType | None) -> None:
        if trainer.stop_requested:
            if several:
                return
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        trainer.stop_signal = number
        trainer.stop_requested = True
        more = "" if several else " (once more to stop at once)"
        progress.message(f"stopping after this step{more}")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
