"""A run under way: its progress, its trackers, its signals, and its results."""

import os
import shlex
import signal
import sys
from types import FrameType
from typing import TYPE_CHECKING, Any

from seqgan.commands.ending import present
from seqgan.commands.prepared import Prepared
from seqgan.system.errors import SeqganError
from seqgan.system.terminal import say

if TYPE_CHECKING:
    from seqgan.training.result import Result
    from seqgan.training.run_folders import RunFolder
    from seqgan.training.trainer import Trainer


def train_run(prepared: Prepared, folder: "RunFolder", state: dict[str, Any]) -> int:
    """Trains from the beginning (an empty `state`) or from a checkpoint's state.

    Of several processes, only the main one touches the folder.
    """
    from seqgan.report.summary import ending, results_dict
    from seqgan.rewards.base import RewardError
    from seqgan.system.errors import DivergedError, Interrupted, ProcessLostError
    from seqgan.system.shortage import shortage_in_one_line
    from seqgan.tracking.base import Tracker, Trackers
    from seqgan.tracking.progress import Progress, silent_progress
    from seqgan.training.checkpoints import fitting, last_good_checkpoint
    from seqgan.training.final import final_evaluation
    from seqgan.training.identity import identity_of
    from seqgan.training.made_here import trust_flag
    from seqgan.training.run_folders import RunFolder
    from seqgan.training.run_trackers import make_trackers
    from seqgan.training.start import trainer_for

    config, players = prepared.config, prepared.players
    placed = RunFolder(folder.path.absolute())  # wherever the working directory goes
    runtime = players.runtime
    is_main = runtime.is_main()
    code, result = 1, None
    with Progress() if is_main else silent_progress() as progress:
        progress.message(f"run {folder.path}")
        progress.message(getattr(players.task, "description", ""))
        trackers: dict[str, Tracker] = {}
        if is_main:
            trackers = make_trackers(config, players, placed.path, placed.origin(), state)
        tracker = Trackers(trackers)
        if progress.is_live:
            progress.log_to(tracker.line)
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
                from seqgan.learning.pace import is_own
                from seqgan.training.estimate import estimate, reward_calls
                from seqgan.training.phases.game import Game

                own = [part.name for part in players.rewards.parts if is_own(part)]
                task = players.task
                calls = reward_calls(
                    config, task.max_length, runtime.world_size, task.max_prompt_length > 0
                )
                if own and calls is not None and not state:
                    progress.message(calls.sentence(own))
                for phase in trainer.phases:
                    if isinstance(phase, Game) and (note := phase.note(players)) and not state:
                        progress.message(note)
                progress.message(estimate(trainer).sentence())
            runtime.barrier()  # the others wait here, and not in the midst of a step
            with shortage_in_one_line():
                trainer.train()
                result = final_evaluation(trainer)
            if is_main:
                _save(placed, result)
                files = {"report": placed.page, "report_picture": placed.picture}
                there = {name: file for name, file in files.items() if file.is_file()}
                tracker.results(ending(results_dict(result), there))
            code = 0
        except Interrupted:
            code = 128 + trainer.stop_signal
            again = f"seqgan train --resume {folder.path}{trust_flag(folder.config)}"
            progress.message(f"stopped; continue with: {again}")
        except (DivergedError, ProcessLostError, OSError, SeqganError) as error:
            named = last_good_checkpoint(folder.checkpoints)
            message = str(error)
            if named not in message:
                message = f"{message}; {named}"
            if runtime.world_size > 1:
                message = f"process {runtime.rank} of {runtime.world_size}: {message}"
            if is_main:
                progress.message(f"seqgan: {message}")
                if isinstance(error, RewardError) and folder.checkpoints.is_dir():
                    for line in _after_failure(folder):
                        progress.message(line)
            else:
                say(f"seqgan: {message}", sys.stderr)
        finally:
            tracker.close(code)
    if result is not None and is_main:
        present(folder, results_dict(result), tracker.offline_record)
    return code


def _after_failure(folder: "RunFolder") -> list[str]:
    """The commands with which a run goes on whose reward has failed."""
    from seqgan.training.config_files import read_settings
    from seqgan.training.made_here import trust_flag
    from seqgan.training.trust import FLAG, code_in_settings

    run, flag = shlex.quote(str(folder.path)), trust_flag(folder.config)
    lines = [f"next: seqgan train --resume {run}{flag}"]
    if code_in_settings(read_settings(folder.config), ("reward",)):
        lines[0] += " (with the code as it is)"
        lines.append(f"next: seqgan train --fork {run} {FLAG} (once it is mended)")
    return lines


def _save(folder: "RunFolder", result: "Result") -> None:
    from seqgan.report.summary import results_dict
    from seqgan.training.run_results import save_results

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


def present_stored(folder: "RunFolder") -> int:
    """Prints the stored results of a run that is finished already, and completes its folder."""
    from seqgan.training.run_folders import lock_run
    from seqgan.training.run_results import read_results

    results = read_results(folder)
    if folder.undrawn() and os.access(folder.path, os.W_OK):  # killed before it had drawn them
        with lock_run(folder):
            _draw(folder)
    say(f"{folder.path} is finished; --fork goes on from it", sys.stderr)
    present(folder, results)
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
