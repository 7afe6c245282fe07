"""`seqgan train`: a preset or a file, changed by flags; or a run to continue or fork."""

import contextlib
import difflib
import io
import json
import os
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from seqgan.commands.parsing import InputError, take, unknown_flag

if TYPE_CHECKING:
    from seqgan.configuration import TrainConfig
    from seqgan.runs import RunFolder
    from seqgan.trainer import Result, Trainer


def run(given: list[str]) -> int:
    """Trains, and gives the exit code."""
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
    if run is not None:
        if flags:
            raise InputError(f"--resume continues a run as it was, got {flags[0]} beside it")
        return _resume(Path(run))
    if parent is not None:
        return _fork(Path(parent), flags)
    config = _parse_config(preset, path, flags)
    return _profile(config) if profiled else _start(config)


def configuration(given: list[str]) -> "TrainConfig":
    """What `seqgan train` would start with; for whoever starts it, to know before.

    Raises:
        InputError: what `seqgan train` would say.
    """
    preset = given[0] if given and not given[0].startswith("-") else None
    path, flags = take(given if preset is None else given[1:], "--config")
    return _parse_config(preset, path, flags)


def _parse_config(preset: str | None, path: str | None, flags: list[str]) -> "TrainConfig":
    from seqgan.configuration import PRESETS, load_config

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
    except ValueError as error:
        raise InputError(str(error)) from error
    return _with_flags(config, flags, preset or "PRESET")


def _with_flags(config: "TrainConfig", flags: list[str], what: str) -> "TrainConfig":
    """The configuration with what the flags change."""
    import tyro

    from seqgan.configuration import PRESETS, TrainConfig

    try:
        config = _with_kinds(config, flags)
    except ValueError as error:
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
    except ValueError as error:
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

    from seqgan.configuration import configs_by_kind

    for slot in ("task", "generator", "discriminator"):
        kinds = configs_by_kind(slot)
        for index, flag in enumerate(flags):
            name, _, value = flag.partition("=")
            if name != f"--{slot}.kind":
                continue
            kind = value or (flags[index + 1] if index + 1 < len(flags) else "")
            if kind not in kinds:
                raise ValueError(f"--{slot}.kind is one of {', '.join(kinds)}, got {kind!r}")
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
    from seqgan.build import build_task, check_models, named_rewards, try_rewards
    from seqgan.runs import create_run

    try:
        _use_machine(config)
        task = build_task(config)
        check_models(config, task)
        found = named_rewards(config, task)
        try_rewards(config, task, found)
        folder = create_run(config, task)
    except ValueError as error:
        raise InputError(str(error)) from error
    return _run(config, task, found, folder, {})


def _profile(config: "TrainConfig") -> int:
    """Prints where the time of an iteration goes, after one epoch of pretraining."""
    from dataclasses import replace

    from seqgan.build import build_task, check_models, named_rewards
    from seqgan.profiling import profile_iteration
    from seqgan.tracking.base import MemoryTracker
    from seqgan.tracking.progress import Progress
    from seqgan.trainer import Trainer
    from seqgan.updates import DivergedError

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
    except ValueError as error:
        raise InputError(str(error)) from error
    with Progress() as progress:
        trainer = Trainer(config, task, MemoryTracker(), progress, found=found)
        try:
            trainer.pretrain_generator()
            measured = profile_iteration(trainer)
        except (DivergedError, OSError, ValueError) as error:
            progress.message(f"seqgan: {error}")
            return 1
    print("\n".join(measured.lines()))
    return 0


def _resume(path: Path) -> int:
    from seqgan.build import build_task, check_models, named_rewards
    from seqgan.checkpoints import CheckpointError, load_checkpoint
    from seqgan.runs import open_run
    from seqgan.tracking.jsonl import KINDS

    try:
        folder, config = open_run(path)
        if folder.results.is_file():
            return _present_stored(folder)
        _use_machine(config)
        task = build_task(config)
        check_models(config, task)
        found = named_rewards(config, task)
    except ValueError as error:
        raise InputError(str(error)) from error
    try:
        checkpoint, state = load_checkpoint(folder.checkpoints)
    except CheckpointError as error:
        if folder.checkpoints.is_dir() and any(folder.checkpoints.glob("[0-9]*")):
            raise InputError(str(error)) from error  # all are damaged: not ours to throw away
        # Killed before its first checkpoint: nothing is lost by starting over.
        for kind in KINDS:
            (folder.path / f"{kind}.jsonl").unlink(missing_ok=True)
        print(f"{path} has no checkpoint yet; starting from the beginning", file=sys.stderr)
        return _run(config, task, found, folder, {})
    print(f"continuing from {checkpoint}", file=sys.stderr)
    return _run(config, task, found, folder, state)


def _fork(path: Path, flags: list[str]) -> int:
    """A new run that begins as another one's newest checkpoint, with settings that flags change."""
    from seqgan.build import build_task, check_models, named_rewards, try_rewards
    from seqgan.checkpoints import CheckpointError, load_checkpoint, save_checkpoint
    from seqgan.forking import check_fork, copy_record, forked_state
    from seqgan.runs import check_vocabulary, create_run, open_run
    from seqgan.tracking.base import MemoryTracker
    from seqgan.tracking.progress import Progress
    from seqgan.trainer import Trainer

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
    except (ValueError, CheckpointError) as error:
        raise InputError(str(error)) from error
    trainer = Trainer(config, task, MemoryTracker(), Progress(), found=found)
    try:
        state = forked_state(state, trainer.state_dict(), before, config)
        trainer.load_state_dict(state)
    except (RuntimeError, KeyError, ValueError) as error:
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
    except (ValueError, CheckpointError, OSError) as error:
        raise InputError(str(error)) from error
    print(f"branching off from {checkpoint}", file=sys.stderr)
    return _run(config, task, found, folder, state)


def _use_machine(config: "TrainConfig") -> None:
    import torch

    from seqgan.memory import keep_freed_memory

    keep_freed_memory()
    if config.threads:
        torch.set_num_threads(config.threads)
    try:
        torch.empty(0, device=config.device)
    except (RuntimeError, AssertionError) as error:
        summary = str(error).splitlines()[0]
        rule = f"device is one that PyTorch can use, got {config.device!r}"
        raise ValueError(f"{rule}: {summary}") from error


def _run(
    config: "TrainConfig",
    task: Any,
    found: Mapping[str, Any],
    folder: "RunFolder",
    state: dict[str, Any],
) -> int:
    """Trains from the beginning (an empty `state`) or from a checkpoint's state."""
    from seqgan.build import reward_files
    from seqgan.checkpoints import CheckpointError, last_good_checkpoint
    from seqgan.facts import run_facts
    from seqgan.runs import config_to_dict
    from seqgan.summary import results_dict
    from seqgan.tracking.base import Trackers
    from seqgan.tracking.jsonl import JsonlTracker
    from seqgan.tracking.progress import Progress
    from seqgan.tracking.wandb_tracker import WandbTracker
    from seqgan.trainer import Interrupted, Trainer
    from seqgan.updates import DivergedError

    position = state.get("tracker", {}) if state else {}
    code, result = 1, None
    with Progress() as progress:
        progress.message(f"run {folder.path}")
        progress.message(getattr(task, "description", ""))
        try:
            jsonl = JsonlTracker(folder.path, position.get("jsonl"))
        except ValueError as error:
            raise InputError(str(error)) from error
        known = config_to_dict(config) | run_facts(config, task) | folder.origin()
        files = reward_files(config.reward)
        tracker = Trackers(
            {
                "jsonl": jsonl,
                "wandb": WandbTracker(
                    config.tracker, folder.path, known, position.get("wandb"), files
                ),
            }
        )
        try:
            trainer = Trainer(
                config,
                task,
                tracker,
                progress,
                folder.checkpoints,
                found=found,
                best=folder.best,
            )
            if state:
                trainer.load_state_dict(state)
            _stop_on_signals(trainer, progress)
            if config.estimate_time:
                from seqgan.estimate import estimate

                progress.message(estimate(trainer).sentence())
            result = trainer.train()
            _save(folder, result)
            code = 0
        except Interrupted:
            code = 128 + trainer.stop_signal
            progress.message(f"stopped; continue with: seqgan train --resume {folder.path}")
        except (DivergedError, CheckpointError, OSError, ValueError) as error:
            # ValueError: sampling and rewards refuse numbers that are not finite.
            named = last_good_checkpoint(folder.checkpoints)
            message = str(error)
            if named not in message:
                message = f"{message}; {named}"
            progress.message(f"seqgan: {message}")
        finally:
            tracker.close(code)
    if result is not None:
        _present(folder, results_dict(result))
    return code


def _save(folder: "RunFolder", result: "Result") -> None:
    from seqgan.report.page import write_page
    from seqgan.report.picture import draw_report
    from seqgan.runs import save_results
    from seqgan.summary import results_dict

    save_results(folder, results_dict(result))
    draw_report(folder.path)
    write_page([folder.path], folder.page)


def _present(folder: "RunFolder", results: Mapping[str, Any]) -> None:
    """The end of a run on standard output: the table, and what it means in plain sentences.

    Args:
        results: what `results.json` holds.
    """
    from seqgan.summary import reward_sentences, stored_table

    print("\n".join(stored_table(results).lines()))
    print(results["comparison"]["sentence"])
    for sentence in (*reward_sentences(results["rewards"]), results["information_sentence"]):
        print(sentence)
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
    """The first SIGINT or SIGTERM stops after the current unit; the second stops at once."""

    def stop(number: int, frame: FrameType | None) -> None:
        if trainer.stop_requested:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        trainer.stop_signal = number
        trainer.stop_requested = True
        progress.message("stopping after this step (once more to stop at once)")

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
