"""`seqgan sweep`: a sweep file of Weights & Biases, run here without a server."""

import argparse
import fcntl
import json
import os
import secrets
import shutil
import string
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from seqgan.commands.parsing import InputError, Parser, check_seed
from seqgan.system.errors import ConfigurationError, SeqganError

if TYPE_CHECKING:
    from seqgan.sweeps.proposals import Proposal
    from seqgan.sweeps.reading import Sweep
    from seqgan.sweeps.trials import SweepFolder, Trial

WIDE = 10_000  # characters of a line where no terminal cuts it


def run(given: list[str]) -> int:
    """Runs a sweep, or the rest of one, and gives the exit code."""
    given, extra = _split(given)
    parser = Parser(
        prog="seqgan sweep",
        usage="seqgan sweep FILE [options] [-- FLAGS of every trial] | --resume FOLDER [options]",
        allow_abbrev=False,
    )
    parser.add_argument("file", type=Path, nargs="?", help="sweep, as `wandb sweep` takes it")
    parser.add_argument("--runs", type=int, help="trials at most (run_cap, or the whole grid)")
    parser.add_argument("--jobs", type=int, default=1, help="trials at a time (1)")
    parser.add_argument("--output", type=Path, help="new folder (sweeps/<name>-<time>)")
    parser.add_argument("--seed", type=int, help="the same seed, the same proposals (0)")
    parser.add_argument("--resume", type=Path, help="folder of a sweep that was stopped")
    options = parser.parse_all(given)
    if (options.file is None) == (options.resume is None):
        raise InputError("sweep takes a file or --resume FOLDER")
    for name in ("runs", "jobs"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise InputError(f"--{name} is at least 1, got {value}")
    if options.resume is None:
        return _start(options, extra)
    for name, fixed in (("--output", options.output), ("--seed", options.seed), ("--", extra)):
        if fixed not in (None, []):
            raise InputError(f"--resume continues a sweep as it was, got {name} beside it")
    return _resume(options)


def _split(given: list[str]) -> tuple[list[str], list[str]]:
    """The sweep's own arguments, and those behind `--`, which every trial gets."""
    if "--" not in given:
        return given, []
    index = given.index("--")
    return given[:index], given[index + 1 :]


def _start(options: argparse.Namespace, extra: Sequence[str]) -> int:
    from seqgan.sweeps.launching import without_overridden
    from seqgan.sweeps.reading import read_sweep
    from seqgan.sweeps.trials import SweepFolder

    seed = options.seed or 0
    check_seed(seed)
    try:
        sweep = without_overridden(read_sweep(options.file), extra)
        total = _total(sweep, options.runs)
        _check(sweep, extra)
    except SeqganError as error:
        raise InputError(str(error)) from error
    named = f"{sweep.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder = SweepFolder(options.output or Path("sweeps") / named)
    try:
        folder.path.mkdir(parents=True)
    except FileExistsError as error:
        raise InputError(
            f"a sweep gets a folder of its own, got {folder.path}, which exists"
            " (--resume continues a sweep)"
        ) from error
    except OSError as error:
        raise InputError(f"a sweep's folder can be made, got {folder.path}: {error}") from error
    shutil.copyfile(options.file, folder.sweep)
    letters = string.ascii_lowercase + string.digits  # as the ids that wandb gives
    settings = {
        "id": "".join(secrets.choice(letters) for _ in range(8)),
        "name": sweep.name,
        "seed": seed,
        "runs": total,
        "flags": list(extra),
    }
    _write_json(folder.settings, settings)
    return _run(sweep, folder, settings, options.jobs)


def _resume(options: argparse.Namespace) -> int:
    from seqgan.sweeps.launching import without_overridden
    from seqgan.sweeps.reading import read_sweep
    from seqgan.sweeps.trials import SweepFolder

    folder = SweepFolder(options.resume)
    for file in (folder.sweep, folder.settings):
        if not file.is_file():
            raise InputError(f"a sweep is a folder with a {file.name}, got {options.resume}")
    try:
        settings = json.loads(folder.settings.read_text(encoding="utf-8"))
        sweep = read_sweep(folder.sweep, settings["name"])
        sweep = without_overridden(sweep, settings["flags"])
        if options.runs is not None:
            settings["runs"] = _total(sweep, options.runs)
            _write_json(folder.settings, settings)
        _check(sweep, settings["flags"])
    except SeqganError as error:
        raise InputError(str(error)) from error
    folder.mend()
    return _run(sweep, folder, settings, options.jobs)


def _total(sweep: "Sweep", runs: int | None) -> int:
    """How many trials there will be at most."""
    limits = [limit for limit in (runs, sweep.run_cap) if limit]
    if sweep.method == "grid":
        limits.append(sweep.grid_size)
    if not limits:
        raise ConfigurationError(
            f"a {sweep.method} sweep ends after run_cap or --runs, got neither"
        )
    return min(limits)


def _check(sweep: "Sweep", extra: Sequence[str]) -> None:
    """Everything that can be known before a trial starts: each flag and the ends of its values.

    Raises:
        ConfigurationError: the command takes no such flag or value, or optuna is needed and
            missing.
    """
    from seqgan.commands.train import configuration
    from seqgan.sweeps.launching import train_arguments
    from seqgan.sweeps.proposals import import_optuna

    if sweep.method == "bayes":
        import_optuna()
    middle = {name: item.quantile(0.5) for name, item in sweep.parameters.items()}
    tried, configs = [middle], []
    for name, item in sweep.parameters.items():
        tried += [middle | {name: value} for value in item.extremes()]
    for parameters in tried:
        try:
            config = configuration(train_arguments(sweep, parameters, extra))
        except SeqganError as error:
            raise ConfigurationError(f"the command of the sweep: {error}") from error
        if config.tracker.mode == "online":
            raise ConfigurationError(
                "a local sweep is recorded offline: tracker.mode is auto, offline or disabled,"
                " got online"
            )
        configs.append(config)
    every = min(config.evaluation.every for config in configs)
    iterations = max(config.adversarial.iterations for config in configs)
    if sweep.metric.name.startswith("eval/") and every > iterations:
        raise ConfigurationError(
            f"a sweep by {sweep.metric.name} takes an evaluation in the game, got"
            f" evaluation.every {every} and adversarial.iterations {iterations}"
        )


def _run(sweep: "Sweep", folder: "SweepFolder", settings: dict[str, Any], jobs: int) -> int:
    from seqgan.sweeps.launching import TrainLauncher
    from seqgan.sweeps.runner import Runner
    from seqgan.tracking.progress import Progress

    launch = TrainLauncher(sweep, folder, settings["id"], tuple(settings["flags"]), jobs)

    def propose(index: int, earlier: list["Trial"]) -> "Proposal":
        return proposal(sweep, settings["seed"], index, earlier)

    with _only_one(folder), Progress() as progress:
        progress.message(f"sweep {folder.path} (id {settings['id']})")
        runner = Runner(sweep, folder, launch, propose, settings["runs"], jobs, progress)
        trials = runner.run()
    if trials:
        _present(sweep, folder, settings, trials)
    again = f"seqgan sweep --resume {folder.path}"
    if runner.broken:
        print(f"seqgan: {runner.broken}", file=sys.stderr)
        return 1
    if runner.stop_signal:
        print(f"stopped; continue with: {again}", file=sys.stderr)
        return 128 + runner.stop_signal
    if interrupted := sum(trial.status == "interrupted" for trial in trials):
        print(f"{interrupted} interrupted, continue with: {again}", file=sys.stderr)
    if not any(trial.status in ("finished", "stopped early") for trial in trials):
        print(f"seqgan: every trial failed; what they printed: {folder.path}/logs", file=sys.stderr)
        return 1
    return 0


def proposal(sweep: "Sweep", seed: int, index: int, earlier: Sequence["Trial"]) -> "Proposal":
    """The next trial's parameters, by the sweep's method."""
    from seqgan.sweeps.proposals import Outcome, bayes_proposal, grid_proposal, random_proposal

    if sweep.method == "grid":
        return grid_proposal(sweep.parameters, index)
    if sweep.method == "random":
        return random_proposal(sweep.parameters, seed, index)
    outcomes = [
        Outcome(
            trial.point,
            None
            if trial.value is None or trial.status not in ("finished", "stopped early")
            else sweep.metric.cost(trial.value),
            trial.status == "running",
        )
        for trial in earlier
    ]
    return bayes_proposal(sweep.parameters, seed, index, outcomes)


def _present(
    sweep: "Sweep", folder: "SweepFolder", settings: dict[str, Any], trials: Sequence["Trial"]
) -> None:
    """The ranked table on standard output, and the files that say the same."""
    from seqgan.sweeps.picture import draw_parallel
    from seqgan.sweeps.ranking import conclusion, rank, ranking_dict, table_lines

    rows = rank(sweep, folder, trials)
    about = {name: settings[name] for name in ("id", "name", "seed")}
    _write_json(folder.results, about | ranking_dict(sweep, rows))
    picture = draw_parallel(sweep, rows, folder.picture)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WIDE
    print("\n".join(table_lines(sweep, rows, width)))
    print(conclusion(sweep, rows))
    print(f"results: {folder.results}" + (f"  picture: {picture}" if picture else ""))


@contextmanager
def _only_one(folder: "SweepFolder") -> Iterator[None]:
    """A sweep runs once at a time."""
    with folder.settings.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"a sweep runs once at a time, {folder.path} runs now") from error
        yield


def _write_json(path: Path, content: dict[str, Any]) -> None:
    """Writes the file whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(part, path)
