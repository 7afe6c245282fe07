"""`seqgan train`: a preset or a file, changed by flags; or a run to continue or fork."""

import contextlib
import difflib
import io
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

from seqgan.commands.parsing import InputError, take, unknown_flag
from seqgan.system.errors import ConfigurationError, SeqganError

if TYPE_CHECKING:
    from seqgan.system.runtime import Runtime
    from seqgan.tracking.base import Trackers
    from seqgan.training.final import Result
    from seqgan.training.runs import RunFolder
    from seqgan.training.settings import TrainConfig
    from seqgan.training.trainer import Trainer

Made = TypeVar("Made")

# For the main process to say what is wrong: a launcher ends all as soon as the first one has ended.
SECONDS_FOR_MAIN = 10.0


def run(given: list[str]) -> int:
    """Trains, and gives the exit code."""
    with _said_once():
        preset = given[0] if given and not given[0].startswith("-") else None
        flags = given if preset is None else given[1:]
        path, flags = take(flags, "--config")
        run, flags = take(flags, "--resume")
        parent, flags = take(flags, "--fork")
        profiled, flags = "--profile" in flags, [flag for flag in flags if flag != "--profile"]
        if sum(choice is not None for choice in (preset, path, run, parent)) > 1:
            raise InputError(
                "train takes one of a preset, --config, --resume and --fork, got more than one"
            )
        continued = "--resume" if run is not None else "--fork" if parent is not None else ""
        if profiled and continued:
            raise InputError(f"--profile is for a preset or --config, got it beside {continued}")
        if run is not None and flags:
            raise InputError(f"--resume continues a run as it was, got {flags[0]} beside it")
        if profiled:
            _check_alone()
        if run is None and parent is None:
            config = _parse_config(preset, path, flags)
    if run is not None:
        return _resume(Path(run))
    if parent is not None:
        return _fork(Path(parent), flags)
    return _profile(config) if profiled else _start(config)


def _check_alone() -> None:
    from seqgan.system.runtime import launched_processes

    if launched_processes() > 1:
        raise InputError(f"--profile is for one process, got {launched_processes()}")


@contextlib.contextmanager
def _said_once() -> Iterator[None]:
    """What is wrong in each of several processes is said by the main one.

    Which ends the others with it; one that goes on has something of its own to say.
    """
    try:
        yield
    except InputError:
        from seqgan.system.runtime import launched_rank

        if launched_rank() > 0:
            time.sleep(SECONDS_FOR_MAIN)
        raise


def configuration(given: list[str]) -> "TrainConfig":
    """What `seqgan train` would start with; for whoever starts it, to know before.

    Raises:
        InputError: what `seqgan train` would say.
    """
    preset = given[0] if given and not given[0].startswith("-") else None
    path, flags = take(given if preset is None else given[1:], "--config")
    return _parse_config(preset, path, flags)


def _parse_config(preset: str | None, path: str | None, flags: list[str]) -> "TrainConfig":
    from seqgan.training.config_files import load_config
    from seqgan.training.presets import PRESETS

    asks_help = any(flag in ("-h", "--help") for flag in flags)
    if preset is None and path is None and not asks_help:
        raise InputError(
            f"train takes a preset ({', '.join(PRESETS)}), --config FILE, --resume RUN or"
            " --fork RUN"
        )
    if preset is not None and preset not in PRESETS:
        near = difflib.get_close_matches(preset, PRESETS, n=1)
        hint = f"; the nearest one is {near[0]}" if near else ""
        raise InputError(f"a preset is one of {', '.join(PRESETS)}, got {preset!r}{hint}")
    try:
        config = load_config(Path(path)) if path else PRESETS[preset or "captions"]()
    except SeqganError as error:
        raise InputError(str(error)) from error
    return _with_flags(config, flags, preset or "PRESET")


def _with_flags(config: "TrainConfig", flags: list[str], what: str) -> "TrainConfig":
    """The configuration with what the flags change."""
    import tyro

    from seqgan.training.presets import PRESETS
    from seqgan.training.settings import TrainConfig

    try:
        config = _with_kinds(config, flags)
    except SeqganError as error:
        raise InputError(str(error)) from error
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            parsed, unknown = tyro.cli(
                TrainConfig,
                prog=f"seqgan train {what}",
                description=(
                    f"Presets: {', '.join(PRESETS)}. Instead of a preset: --config FILE (YAML),"
                    " --resume RUN, or --fork RUN for a new run that goes on from RUN's newest"
                    " checkpoint with RUN's settings."
                ),
                default=config,
                args=flags,
                config=(tyro.conf.AvoidSubcommands,),
                return_unknown_args=True,
            )
    except SeqganError as error:
        raise InputError(str(error)) from error
    except SystemExit as stop:
        if not stop.code:
            raise
        raise InputError(_first_line_of_box(errors.getvalue())) from stop
    if unknown:
        raise InputError(unknown_flag(unknown[0], _flag_names(config)))
    return parsed


def _with_kinds(config: "TrainConfig", flags: list[str]) -> "TrainConfig":
    """The configuration with other dataclasses where a `--slot.kind` flag asks for them."""
    from dataclasses import replace

    from seqgan.training.config_files import configs_by_kind

    for slot in ("task", "generator", "discriminator"):
        kinds = configs_by_kind(slot)
        for index, flag in enumerate(flags):
            name, _, value = flag.partition("=")
            if name != f"--{slot}.kind":
                continue
            kind = value or (flags[index + 1] if index + 1 < len(flags) else "")
            if kind not in kinds:
                raise ConfigurationError(
                    f"--{slot}.kind is one of {', '.join(kinds)}, got {kind!r}"
                )
            if not isinstance(getattr(config, slot), kinds[kind]):
                config = replace(config, **{slot: kinds[kind]()})
    return config


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
    said = " ".join(message) or " ".join(text.split())
    return re.sub(r"^Error parsing [\w.-]+: (?=.* (is|are|has|names) )", "", said)  # our own rule


def _start(config: "TrainConfig") -> int:
    from seqgan.training.build import try_rewards
    from seqgan.training.runs import create_run

    runtime, config = _processes(config)

    def prepare() -> tuple[Any, Mapping[str, Any]]:
        task, found = _task_and_rewards(config)
        try_rewards(config, task, found)
        return task, found

    task, found = _main_first(runtime, prepare)
    folder = _main_first(runtime, lambda: create_run(config, task) if runtime.is_main() else None)
    return _run(config, task, found, runtime.from_main(folder), {}, runtime)


def _processes(config: "TrainConfig") -> tuple["Runtime", "TrainConfig"]:
    """How this process trains with others, if there are any, and the settings of this one."""
    from dataclasses import replace

    from seqgan.system.accelerated import Accelerated, runtime_for

    with _said_once():
        try:
            runtime = runtime_for(config.device)
        except SeqganError as error:
            raise InputError(str(error)) from error
    if isinstance(runtime, Accelerated):
        config = replace(config, device=str(runtime.device))
    return runtime, config


def _main_first(runtime: "Runtime", make: Callable[[], Made]) -> Made:
    """What `make` gives, in the main process first: it fills the caches and says what is wrong."""
    made, error = None, None
    if runtime.is_main():
        try:
            made = make()
        except (SeqganError, InputError) as refused:
            error = refused
    if runtime.from_main(error is not None):
        if error is not None:
            raise InputError(str(error)) from error
        time.sleep(SECONDS_FOR_MAIN)
        raise SystemExit(2)
    try:
        return make() if made is None else made
    except SeqganError as refused:
        raise InputError(str(refused)) from refused


def _task_and_rewards(config: "TrainConfig") -> tuple[Any, Mapping[str, Any]]:
    from seqgan.training.build import build_task, check_models, named_rewards

    _use_machine(config)
    task = build_task(config)
    check_models(config, task)
    return task, named_rewards(config, task)


def _profile(config: "TrainConfig") -> int:
    """Prints where the time of an iteration goes, after one epoch of pretraining."""
    from dataclasses import replace

    from seqgan.system.errors import DivergedError
    from seqgan.tracking.base import MemoryTracker
    from seqgan.tracking.progress import Progress
    from seqgan.training.build import build_task, check_models, named_rewards
    from seqgan.training.profiling import profile_iteration
    from seqgan.training.trainer import Trainer

    epochs = min(config.pretrain.epochs, 1)
    config = replace(
        config,
        pretrain=replace(config.pretrain, epochs=epochs),
        evaluation=replace(config.evaluation, num_shown=0),
    )
    try:
        _use_machine(config)
        task = build_task(config)
        check_models(config, task)
        found = named_rewards(config, task)
    except SeqganError as error:
        raise InputError(str(error)) from error
    with Progress() as progress:
        trainer = Trainer(config, task, MemoryTracker(), progress, found=found)
        try:
            trainer.pretrain_generator()
            measured = profile_iteration(trainer)
        except (DivergedError, OSError, SeqganError) as error:
            progress.message(f"seqgan: {error}")
            return 1
    print("\n".join(measured.lines()))
    return 0


def _resume(path: Path) -> int:
    from seqgan.system.runtime import launched_rank
    from seqgan.training.runs import open_run

    with _said_once():
        try:
            folder, config = open_run(path)
        except SeqganError as error:
            raise InputError(str(error)) from error
        if folder.results.is_file():
            return _present_stored(folder) if launched_rank() == 0 else 0
    runtime, config = _processes(config)
    task, found = _main_first(runtime, lambda: _task_and_rewards(config))
    state = _main_first(runtime, lambda: _state_to_resume(folder, runtime.is_main()))
    runtime.barrier()  # everybody has read it before the main process writes the next
    return _run(config, task, found, folder, state, runtime)


def _state_to_resume(folder: "RunFolder", is_main: bool) -> dict[str, Any]:
    """The state of the newest checkpoint, or an empty one, with what was recorded removed.

    Raises:
        InputError: all checkpoints are damaged.
    """
    from seqgan.system.errors import CheckpointError
    from seqgan.tracking.jsonl import KINDS
    from seqgan.training.checkpoints import load_checkpoint

    try:
        checkpoint, state = load_checkpoint(folder.checkpoints)
    except CheckpointError as error:
        if folder.checkpoints.is_dir() and any(folder.checkpoints.glob("[0-9]*")):
            raise InputError(str(error)) from error  # all are damaged: not ours to throw away
        # Killed before its first checkpoint: nothing is lost by starting over.
        if is_main:
            for kind in KINDS:
                (folder.path / f"{kind}.jsonl").unlink(missing_ok=True)
            print(
                f"{folder.path} has no checkpoint yet; starting from the beginning", file=sys.stderr
            )
        return {}
    if is_main:
        print(f"continuing from {checkpoint}", file=sys.stderr)
    return state


def _fork(path: Path, flags: list[str]) -> int:
    """A new run that begins as another one's newest checkpoint, with settings that flags change."""
    from seqgan.system.runtime import launched_processes
    from seqgan.training.runs import open_run

    if launched_processes() == 1:
        return _run(*_branch_off(path, flags))
    with _said_once():
        try:
            _, before = open_run(path)
        except SeqganError as error:
            raise InputError(str(error)) from error
        config = _with_flags(before, flags, f"--fork {path}")
    runtime, _ = _processes(config)
    folder = _main_first(
        runtime, lambda: _branch_off(path, flags)[3] if runtime.is_main() else None
    )
    return _resume(runtime.from_main(folder).path)


def _branch_off(
    path: Path, flags: list[str]
) -> tuple["TrainConfig", Any, Mapping[str, Any], "RunFolder", dict[str, Any]]:
    """What `_run` takes to go on from there; the new run's folder has its first checkpoint."""
    from seqgan.tracking.base import MemoryTracker
    from seqgan.tracking.progress import Progress
    from seqgan.training.build import build_task, check_models, named_rewards, try_rewards
    from seqgan.training.checkpoints import load_checkpoint, save_checkpoint
    from seqgan.training.forking import check_fork, copy_record, forked_state
    from seqgan.training.runs import check_vocabulary, create_run, open_run
    from seqgan.training.trainer import Trainer

    try:
        parent, before = open_run(path)
        config = _with_flags(before, flags, f"--fork {path}")
        checkpoint, state = load_checkpoint(parent.checkpoints)
        check_fork(before, config, state)
        _use_machine(config)
        task = build_task(config)
        check_vocabulary(parent, task)
        check_models(config, task)
        found = named_rewards(config, task)
        try_rewards(config, task, found)
    except SeqganError as error:
        raise InputError(str(error)) from error
    trainer = Trainer(config, task, MemoryTracker(), Progress(), found=found)
    try:
        state = forked_state(state, trainer.state_dict(), before, config)
        trainer.load_state_dict(state)
    except (RuntimeError, KeyError, SeqganError) as error:
        reason = " ".join(" ".join(str(error).splitlines()[:2]).split())
        raise InputError(
            f"a fork has networks that fit the checkpoint {checkpoint}: {reason}"
        ) from error
    try:
        folder = create_run(config, task)
        copy_record(parent.path, folder.path, state["tracker"].get("jsonl", {}))
        # The fork's first checkpoint: from here on it is a run like any other.
        save_checkpoint(folder.checkpoints, int(checkpoint.name), state)
        note = {"run": str(path.resolve()), "checkpoint": checkpoint.name, **state["counters"]}
        folder.fork.write_text(json.dumps(note), encoding="utf-8")
    except (SeqganError, OSError) as error:
        raise InputError(str(error)) from error
    print(f"branching off from {checkpoint}", file=sys.stderr)
    return config, task, found, folder, state


def _use_machine(config: "TrainConfig") -> None:
    import torch

    from seqgan.system.memory import keep_freed_memory

    keep_freed_memory()
    if config.threads:
        torch.set_num_threads(config.threads)
    try:
        torch.empty(0, device=config.device)
    except (RuntimeError, AssertionError) as error:
        summary = str(error).splitlines()[0]
        rule = f"device is one that PyTorch can use, got {config.device!r}"
        raise ConfigurationError(f"{rule}: {summary}") from error


def _run(
    config: "TrainConfig",
    task: Any,
    found: Mapping[str, Any],
    folder: "RunFolder",
    state: dict[str, Any],
    runtime: "Runtime | None" = None,
) -> int:
    """Trains from the beginning (an empty `state`) or from a checkpoint's state.

    Args:
        runtime: of several processes, of which only the main one touches the folder; None for one.
    """
    from seqgan.report.summary import results_dict
    from seqgan.system.errors import DivergedError, Interrupted, ProcessLostError
    from seqgan.system.runtime import ALONE
    from seqgan.tracking.base import Trackers
    from seqgan.tracking.progress import Progress, silent_progress
    from seqgan.training.checkpoints import last_good_checkpoint
    from seqgan.training.trainer import Trainer

    runtime = ALONE if runtime is None else runtime
    is_main = runtime.is_main()
    code, result = 1, None
    with Progress() if is_main else silent_progress() as progress:
        progress.message(f"run {folder.path}")
        progress.message(getattr(task, "description", ""))
        tracker = _tracker(config, task, folder, state) if is_main else Trackers({})
        try:
            trainer = Trainer(
                config,
                task,
                tracker,
                progress,
                folder.checkpoints if is_main else None,
                found=found,
                runtime=runtime,
                best=folder.best if is_main else None,
            )
            if state:
                trainer.load_state_dict(state)
            _stop_on_signals(trainer, progress)
            if config.estimate_time and is_main:
                from seqgan.training.estimate import estimate

                progress.message(estimate(trainer).sentence())
            result = trainer.train()
            if is_main:
                _save(folder, result)
            code = 0
        except Interrupted:
            code = 128 + trainer.stop_signal
            progress.message(f"stopped; continue with: seqgan train --resume {folder.path}")
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
        _present(folder, results_dict(result))
    return code


def _tracker(
    config: "TrainConfig", task: Any, folder: "RunFolder", state: Mapping[str, Any]
) -> "Trackers":
    """The trackers of a run, which go on where `state` says that they stood."""
    from seqgan.tracking.base import Trackers
    from seqgan.tracking.jsonl import JsonlTracker
    from seqgan.tracking.wandb_tracker import WandbTracker
    from seqgan.training.build import reward_files
    from seqgan.training.facts import run_facts
    from seqgan.training.runs import config_to_dict

    position = state.get("tracker", {}) if state else {}
    try:
        jsonl = JsonlTracker(folder.path, position.get("jsonl"))
    except SeqganError as error:
        raise InputError(str(error)) from error
    known = config_to_dict(config) | run_facts(config, task) | folder.origin()
    files = reward_files(config.reward)
    wandb = WandbTracker(config.tracker, folder.path, known, position.get("wandb"), files)
    return Trackers({"jsonl": jsonl, "wandb": wandb})


def _save(folder: "RunFolder", result: "Result") -> None:
    from seqgan.report.page import write_page
    from seqgan.report.picture import draw_report
    from seqgan.report.summary import results_dict
    from seqgan.training.runs import save_results

    save_results(folder, results_dict(result))
    draw_report(folder.path)
    write_page([folder.path], folder.page)


def _present(folder: "RunFolder", results: Mapping[str, Any]) -> None:
    """The end of a run on standard output: the table, and what it means in plain sentences.

    Args:
        results: what `results.json` holds.
    """
    from seqgan.report.summary import closing_sentences, stored_table

    print("\n".join([*stored_table(results).lines(), *closing_sentences(results)]))
    print(f"results: {folder.results}  report: {folder.page}")
    for offline in sorted((folder.path / "wandb").glob("offline-run-*")):
        print(f"wandb run, offline: {offline}")


def _present_stored(folder: "RunFolder") -> int:
    """What a run that is finished already has to say."""
    try:
        results = json.loads(folder.results.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InputError(
            f"a finished run has a whole results.json, {folder.path}: {error}"
        ) from error
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
