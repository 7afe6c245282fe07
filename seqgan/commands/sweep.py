"""`seqgan sweep`: a sweep file of Weights & Biases, run here without a server."""

import argparse
import json
import math
import secrets
import string
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqgan.commands.parsing import InputError, Parser, add_trust, given_path, number
from seqgan.system.checks import Seed, Size, checked
from seqgan.system.errors import ConfigurationError, SeqganError
from seqgan.system.files import make_folder, write_text
from seqgan.system.locks import lock
from seqgan.system.reading import check_shape
from seqgan.system.terminal import say

if TYPE_CHECKING:
    from seqgan.sweeps.reading import Sweep

ONCE = "a sweep runs once at a time"


OF_SETTINGS = {"id": str, "seed": int, "runs": int, "flags": [str]}  # in the journal


def run(given: list[str]) -> int:
    """Runs a sweep, or the rest of one, and gives the exit code."""
    place = given.index("--") if "--" in given else len(given)
    given, extra = given[:place], given[place + 1 :]
    parser = Parser(
        prog="seqgan sweep",
        examples=(
            "seqgan sweep sweep.yaml --runs 20 --jobs 2",
            "seqgan sweep sweep.yaml -- --epochs 5",
            "seqgan sweep --resume sweeps/mine",
        ),
        usage="seqgan sweep FILE [options] [-- FLAGS of every trial]\n"
        "       seqgan sweep --resume FOLDER [options]",
    )
    parser.add_argument("file", type=given_path, nargs="?", help="sweep, as `wandb sweep` takes it")
    parser.add_argument(
        "--runs", type=number(Size), help="trials at most (run_cap, or the whole grid)"
    )
    parser.add_argument("--jobs", type=number(Size), default=1, help="trials at a time (1)")
    parser.add_argument("--output", type=given_path, help="new folder (sweeps/<name>-<time>)")
    parser.add_argument("--seed", type=number(Seed), help="the same seed, the same proposals (0)")
    parser.add_argument("--resume", type=given_path, help="folder of a sweep that was stopped")
    add_trust(parser)
    options = parser.parse_all(given)
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise InputError(
            'the package optuna is missing, which sweep needs: pip install "seqgan[sweeps]"'
        ) from error
    if (options.file is None) == (options.resume is None):
        raise InputError("nothing to sweep: give a file, or --resume FOLDER")
    if options.resume is None:
        return _start(options, tuple(extra))
    for name, fixed in (("--output", options.output), ("--seed", options.seed), ("--", extra)):
        if fixed not in (None, []):
            raise InputError(f"{name} is given beside --resume, which continues a sweep as it was")
    return _resume(options)


def _start(options: argparse.Namespace, extra: tuple[str, ...]) -> int:
    import optuna

    from seqgan.sweeps.reading import read_sweep
    from seqgan.sweeps.runner import open_journal

    seed = options.seed or 0
    sweep = _without(read_sweep(options.file), extra)
    runs = _total(sweep, options.runs)
    check_flags(sweep, extra, options.file, extra, options.trust_run_code)
    named = f"{sweep.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    target = options.output or Path("sweeps") / named
    letters = string.ascii_lowercase + string.digits  # as the ids that wandb gives
    sweep_id = "".join(secrets.choice(letters) for _ in range(8))
    settings = {"id": sweep_id, "seed": seed, "runs": runs, "flags": list(extra)}

    def write(temporary: Path) -> None:
        write_text(temporary / "sweep.yaml", sweep.text)
        study = optuna.create_study(
            storage=open_journal(temporary), study_name=sweep.name, direction=sweep.goal
        )
        study.set_user_attr("settings", settings)

    try:
        folder = make_folder(target, write, numbered=options.output is None)
    except FileExistsError as error:
        raise InputError(
            f"{target} exists already; name another folder with --output, or continue that"
            f" sweep with --resume {target}"
        ) from error
    except OSError as error:
        raise InputError(f"cannot make the folder of the sweep, {target}: {error}") from error
    with lock(folder, ONCE):
        study = optuna.load_study(study_name=sweep.name, storage=open_journal(folder))
        return _run(sweep, study, folder, options.jobs, options.trust_run_code)


def _resume(options: argparse.Namespace) -> int:
    import optuna

    from seqgan.sweeps.reading import check_name, read_sweep
    from seqgan.sweeps.runner import open_journal, reading_journal

    folder = options.resume
    if (folder / "trials.jsonl").is_file():
        raise InputError(
            f"{folder} is a sweep of seqgan 0.1.0, which alone continues it; begin anew with"
            f" seqgan sweep {folder}/sweep.yaml"
        )
    for name in ("sweep.yaml", "journal.log"):
        if not (folder / name).is_file():
            raise InputError(f"{folder} is no sweep: it has no {name}")
    with lock(folder, ONCE):
        with reading_journal(folder):
            storage = open_journal(folder)
            studies = optuna.get_all_study_summaries(storage)
        if not studies or "settings" not in studies[0].user_attrs:
            raise InputError(
                f"{folder} has no trial yet; begin with seqgan sweep {folder}/sweep.yaml"
            )
        with reading_journal(folder):
            study = optuna.load_study(study_name=studies[0].study_name, storage=storage)
            settings = study.user_attrs["settings"]
            check_shape(settings, OF_SETTINGS, f"{folder / 'journal.log'}: settings")
            checked("the sweep's seed", settings["seed"], Seed)
            study.get_trials()
        sweep = replace(read_sweep(folder / "sweep.yaml"), name=check_name(study.study_name))
        sweep = _without(sweep, settings["flags"])
        source = folder / "sweep.yaml"
        check_flags(sweep, settings["flags"], source, (), options.trust_run_code)
        if options.runs is not None:
            runs = _total(sweep, options.runs)
            study.set_user_attr("settings", settings | {"runs": runs})
        return _run(sweep, study, folder, options.jobs, options.trust_run_code)


def _without(sweep: "Sweep", extra: Sequence[str]) -> "Sweep":
    """The sweep less the fixed parameters that an extra flag sets instead."""
    from seqgan.sweeps.trials import flag_of

    given = {flag_of(word) for word in extra if word.startswith("--")}
    kept = {name: value for name, value in sweep.fixed.items() if flag_of(name) not in given}
    return replace(sweep, fixed=kept)


def _total(sweep: "Sweep", runs: int | None) -> int:
    """The largest number of trials."""
    limits = [limit for limit in (runs, sweep.run_cap) if limit]
    if sweep.method == "grid":
        limits.append(math.prod(len(values) for values in sweep.grid().values()))
    if not limits:
        raise ConfigurationError(
            f"the {sweep.method} sweep would never end: give run_cap in its file, or --runs"
        )
    return min(limits)


def check_flags(
    sweep: "Sweep",
    extra: Sequence[str],
    source: Path,
    given: Sequence[str] = (),
    trust_run_code: bool = False,
) -> None:
    """Tries each flag and the ends of its values, before a trial starts.

    Args:
        extra: flags of every trial.
        source: the sweep's file, as errors name it.
        given: those of the extra flags that this very command line has. Code that they name may
            run.
        trust_run_code: lets the sweep's file, and a file of settings that it names, name code.

    Raises:
        ConfigurationError: the command takes no such flag or value, or names code that nobody has
            trusted.
    """
    from seqgan.commands.given import configuration
    from seqgan.sweeps.trials import train_arguments
    from seqgan.training.trust import (
        FLAG,
        check_trusted,
        code_in_flags,
        is_trusted,
        without_replaced,
    )

    trusted = is_trusted(trust_run_code)

    ends = {
        name: getattr(item, "choices", None) or (item.low, item.high)
        for name, item in sweep.space.items()
    }
    first = sweep.fixed | {name: values[0] for name, values in ends.items()}
    for values in [first | {name: end} for name in ends for end in ends[name]]:
        try:
            arguments = train_arguments(sweep, values, extra)
            if not trusted:
                ours = arguments[: len(arguments) - len(given)]  # the extra flags come last
                check_trusted(without_replaced(code_in_flags(ours), given)[0], source)
            config = configuration([*arguments, *([FLAG] if trusted else [])])
        except SeqganError as error:
            raise ConfigurationError(f"the command of the sweep: {error}") from error
        if "wandb" in config.trackers and config.tracker.mode == "online":
            raise ConfigurationError(
                "tracker.mode is online, but a local sweep is recorded offline: it must be"
                " auto, offline or disabled"
            )
        measured = sweep.metric.startswith(("eval/", "checkpoint/"))
        if measured and config.adversarial.iterations == 0:
            raise ConfigurationError(
                f"adversarial.iterations is 0, but a sweep by {sweep.metric} needs a game"
            )


def _run(sweep: "Sweep", study: Any, folder: Path, jobs: int, trust_run_code: bool) -> int:
    from seqgan.sweeps.runner import Runner
    from seqgan.sweeps.trials import Launcher
    from seqgan.tracking.progress import Progress
    from seqgan.training.trust import FLAG, code_in_flags, is_trusted

    settings = study.user_attrs["settings"]
    flags, trusted = tuple(settings["flags"]), is_trusted(trust_run_code)
    launch = Launcher(sweep, folder, settings["id"], flags, jobs, trusted)
    with Progress() as progress:
        progress.message(f"sweep {folder} (id {settings['id']})")
        runner = Runner(
            sweep, study, folder, launch, settings["runs"], jobs, settings["seed"], progress
        )
        stopped_by = runner.run()
    trials = study.get_trials()
    if trials:
        _present(sweep, folder, settings["id"], trials)
    needed = trusted or code_in_flags(flags)
    again = f"continue with: seqgan sweep --resume {folder}{f' {FLAG}' if needed else ''}"
    if runner.broken:
        say(f"seqgan: {runner.broken}", sys.stderr)
        return 1
    if stopped_by:
        say(f"stopped; {again}", sys.stderr)
        return 128 + stopped_by
    if interrupted := sum(not trial.state.is_finished() for trial in trials):
        say(f"{interrupted} interrupted; {again}", sys.stderr)
    if all(trial.value is None for trial in trials):
        say(f"seqgan: no trial has a value; see the logs in {folder}/trials", sys.stderr)
        return 1
    return 0


def _present(sweep: "Sweep", folder: Path, sweep_id: str, trials: Sequence[Any]) -> None:
    """The ranked table on standard output, and the files with the same content."""
    from seqgan.sweeps.ranking import conclusion, draw_parallel, failures, rank, table_lines

    rows = rank(sweep, folder, trials)
    results = folder / "sweep.json"
    content = {"id": sweep_id, "name": sweep.name, "goal": sweep.goal, "trials": rows}
    text = json.dumps(content, indent=2, ensure_ascii=False)
    write_text(results, f"{text}\n")
    picture = draw_parallel(sweep, rows, folder / "parallel.png")
    print("\n".join(table_lines(sweep, rows, sys.stdout)))
    for sentence in ("", *failures(rows), conclusion(sweep, rows), "", f"results: {results}"):
        say(sentence)
    if picture is not None:
        say(f"picture: {picture}")
