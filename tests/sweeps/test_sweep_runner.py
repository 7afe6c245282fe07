"""The runner with trials that take milliseconds, and the command with real ones."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from seqgan import cli
from seqgan.commands.sweep import proposal
from seqgan.sweeps.launching import Launch
from seqgan.sweeps.ranking import rank, table_lines
from seqgan.sweeps.reading import Sweep, parse_sweep
from seqgan.sweeps.runner import Runner, is_locked
from seqgan.sweeps.trials import SweepFolder, Trial
from seqgan.tracking.jsonl import read_rows
from seqgan.tracking.progress import Progress

ROOT = Path(__file__).parents[2]
FAKE = Path(__file__).with_name("fake_trial.py")


def sweep_of(parameters: dict[str, Any], **given: Any) -> Sweep:
    plain = {
        "method": "grid",
        "metric": {"name": "eval/nll_heldout"},
        "command": ["seqgan", "train", "captions", "${args}"],
        "parameters": {
            name: {"values": value} if isinstance(value, list) else {"value": value}
            for name, value in parameters.items()
        },
    }
    return parse_sweep(plain | given)


def fake_launcher(folder: SweepFolder) -> Callable[[Trial, bool], Launch]:
    def launch(trial: Trial, resume: bool) -> Launch:
        mode = "resume" if resume else "new"
        given = json.dumps(trial.parameters)
        arguments = [sys.executable, str(FAKE), str(folder.run(trial.number)), given, mode]
        return Launch(arguments, dict(os.environ))

    return launch


def make_runner(sweep: Sweep, path: Path, jobs: int = 1, said: io.StringIO | None = None) -> Runner:
    folder = SweepFolder(path)
    path.mkdir(exist_ok=True)
    return Runner(
        sweep,
        folder,
        fake_launcher(folder),
        lambda index, earlier: proposal(sweep, 0, index, earlier),
        sweep.grid_size,
        jobs,
        Progress(Console(file=said or io.StringIO(), width=200)),
        seconds=0.02,
    )


def starts(path: Path, number: int) -> list[str]:
    return (SweepFolder(path).run(number) / "starts.txt").read_text().split()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def values_of(path: Path, number: int) -> list[float]:
    rows = read_rows(SweepFolder(path).run(number) / "metrics.jsonl")
    return [row["eval/nll_heldout"] for row in rows]


def test_a_grid_to_its_end_with_a_failing_trial(tmp_path: Path) -> None:
    sweep = sweep_of({"x": [3.0, 1.0, 2.0], "fail": [99, 1], "slope": 0.25})
    output = io.StringIO()
    trials = make_runner(sweep, tmp_path, 2, output).run()
    assert [(t.parameters["fail"], t.parameters["x"]) for t in trials] == [
        (fail, x) for fail in (99, 1) for x in (3.0, 1.0, 2.0)
    ]
    assert [t.status for t in trials] == ["finished"] * 3 + ["failed"] * 3
    assert [t.values for t in trials[:3]] == [(x, x - 0.25, x - 0.5) for x in (3.0, 1.0, 2.0)]
    assert {t.error for t in trials[3:]} == {"the loss is finite, got nan (exit code 1)"}
    assert SweepFolder(tmp_path).read("eval/nll_heldout") == trials
    said = output.getvalue()
    assert "trial 4 failed, eval/nll_heldout 3: the loss is finite, got nan (exit code 1)" in said
    assert "best eval/nll_heldout 0.5" in said


def test_as_many_trials_at_a_time_as_asked(tmp_path: Path) -> None:
    sweep = sweep_of({"x": [1.0, 2.0, 3.0, 4.0, 5.0], "seconds": 0.1})
    runner = make_runner(sweep, tmp_path, jobs=2)
    runner.run()
    running, most = set(), 0
    for row in read_rows(tmp_path / "trials.jsonl"):
        (running.add if row["status"] == "running" else running.discard)(row["number"])
        most = max(most, len(running))
    assert most == 2


def test_hyperband_stops_who_is_behind(tmp_path: Path) -> None:
    """The second of two trials is worse at the first bracket, where only the best goes on."""
    sweep = sweep_of(
        {"x": [1.0, 2.0], "steps": 400, "seconds": [0.0]},
        early_terminate={"type": "hyperband", "min_iter": 4, "eta": 3},
    )
    runner = make_runner(sweep, tmp_path)
    slow = fake_launcher(runner.folder)

    def launch(trial: Trial, resume: bool) -> Launch:
        seconds = 0.0 if trial.number == 1 else 0.02
        changed = Trial(trial.number, trial.parameters | {"seconds": seconds})
        return slow(changed, resume)

    runner.launch = launch
    first, second = runner.run()
    assert (first.status, len(first.values)) == ("finished", 400)
    assert (second.status, second.value, second.error) == ("stopped early", 2.0, "")
    assert 4 <= len(second.values) < 400


def test_no_more_trials_once_the_target_is_reached(tmp_path: Path) -> None:
    sweep = sweep_of(
        {"x": [3.0, 1.0, 2.0, 0.5]}, metric={"name": "eval/nll_heldout", "target": 1.5}
    )
    trials = make_runner(sweep, tmp_path).run()
    assert [trial.value for trial in trials] == [3.0, 1.0]


@pytest.mark.parametrize("steps", [1, 300])
def test_a_metric_that_is_never_logged_ends_the_sweep(steps: int, tmp_path: Path) -> None:
    sweep = sweep_of({"x": [3.0, 1.0], "silent": True, "steps": steps, "seconds": 0.02})
    runner = make_runner(sweep, tmp_path)
    (trial,) = runner.run()
    assert trial.status in ("failed", "interrupted")
    assert "metric eval/nll_heldout was never logged by trial 1" in runner.broken
    if steps > 1:
        assert runner.broken.endswith("; it logs eval/entropy")


def test_a_trial_evaluated_before_the_game_alone_has_no_value(tmp_path: Path) -> None:
    """The second one's 0.5 is lower than any value, and of no game."""
    sweep = sweep_of({"x": 3.0, "before": [2.0, 0.5], "silent": [False, True], "steps": 1})
    runner = make_runner(sweep, tmp_path)
    trials = runner.run()
    assert [(trial.parameters["silent"], trial.value) for trial in trials] == [
        (False, 3.0),
        (True, None),
        (False, 3.0),
        (True, None),
    ]
    reason = "no evaluation in the game: evaluation.every 5, iterations 2"
    assert [(trial.status, trial.error) for trial in trials] == [
        ("finished", ""),
        ("finished", reason),
    ] * 2
    assert runner.broken == ""
    rows = rank(sweep, runner.folder, trials)
    assert [(row.place, row.trial.number, row.guards) for row in rows] == [
        (1, 1, {"entropy": 2.0}),
        (1, 3, {"entropy": 2.0}),
        (0, 2, {}),
        (0, 4, {}),
    ]
    table = table_lines(sweep, rows, 200)
    assert table[3].split()[:3] == ["-", "2", "-"]
    assert table[3].endswith(f"finished: {reason}")


def test_a_trial_that_was_killed_goes_on_with_the_sweep(tmp_path: Path) -> None:
    sweep = sweep_of({"x": [1.0, 2.0], "steps": 40, "seconds": 0.02, "slope": 0.01})
    runner = make_runner(sweep, tmp_path)
    kill = fake_launcher(runner.folder)

    def launch(trial: Trial, resume: bool) -> Launch:
        if trial.number == 1:  # kills itself at step 5
            code = (
                "import os, runpy, signal, sys, time\n"
                "real = time.sleep\n"
                "count = [0]\n"
                "def sleep(seconds):\n"
                "    real(seconds)\n"
                "    count[0] += 1\n"
                "    if count[0] == 6: os.kill(os.getpid(), signal.SIGKILL)\n"
                "time.sleep = sleep\n"
                "sys.argv = sys.argv[1:]\n"
                "runpy.run_path(sys.argv[0], run_name='__main__')\n"
            )
            given = kill(trial, resume)
            arguments = [sys.executable, "-c", code, *given.arguments[1:]]
            return Launch(arguments, given.environment)
        return kill(trial, resume)

    runner.launch = launch
    first, second = runner.run()
    assert (first.status, first.error) == ("interrupted", "killed by SIGKILL")
    assert second.status == "finished"
    trials = make_runner(sweep, tmp_path).run()
    assert [trial.status for trial in trials] == ["finished", "finished"]
    assert starts(tmp_path, 1) == ["new", "resume"]
    assert starts(tmp_path, 2) == ["new"]  # what has finished is not repeated
    assert trials[1] == second


def test_a_trial_killed_before_anything_was_in_its_folder_begins_anew(tmp_path: Path) -> None:
    sweep = sweep_of({"x": [1.0]})
    folder = SweepFolder(tmp_path)
    folder.record(Trial(1, {"x": 1.0}, status="interrupted"))
    folder.run(1).mkdir(parents=True)
    (folder.run(1) / "config.yaml").write_text("half")
    (trial,) = make_runner(sweep, tmp_path).run()
    assert trial.status == "finished"
    assert starts(tmp_path, 1) == ["new"]


DRIVER = """
import sys
from pathlib import Path
import yaml
sys.path.insert(0, sys.argv[3])
from test_sweep_runner import make_runner, sweep_of
runner = make_runner(sweep_of(yaml.safe_load(sys.argv[1])), Path(sys.argv[2]), jobs=2)
runner.run()
sys.exit(128 + runner.stop_signal if runner.stop_signal else 0)
"""


def start_driver(parameters: dict[str, Any], path: Path) -> subprocess.Popen[bytes]:
    given = [yaml.safe_dump(parameters), str(path), str(Path(__file__).parent)]
    return subprocess.Popen([sys.executable, "-c", DRIVER, *given])


def test_a_sweep_that_was_killed_finds_its_trials_again(tmp_path: Path) -> None:
    """Trials outlive it; the next runner follows them and repeats nothing."""
    path = tmp_path / "sweep"
    parameters = {"x": [1.0, 2.0, 3.0], "steps": 60, "seconds": 0.05, "slope": 0.001}
    driver = start_driver(parameters, path)
    wait_for(lambda: all((SweepFolder(path).run(n) / "metrics.jsonl").exists() for n in (1, 2)))
    driver.kill()
    driver.wait()
    assert is_locked(SweepFolder(path).log(1))
    with (path / "trials.jsonl").open("a") as file:
        file.write('{"number": 3, "half a ro')
    SweepFolder(path).mend()
    said = io.StringIO()
    trials = make_runner(sweep_of(parameters), path, 2, said).run()
    assert [trial.status for trial in trials] == ["finished"] * 3
    assert [starts(path, number) for number in (1, 2, 3)] == [["new"]] * 3
    assert all(len(values_of(path, number)) == 60 for number in (1, 2, 3))
    assert "trial 1 still runs (process" in said.getvalue()


def test_ctrl_c_stops_the_trials_after_a_step_and_the_sweep_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "sweep"
    parameters = {"x": [1.0, 2.0, 3.0], "steps": 40, "seconds": 0.05, "slope": 0.001}
    driver = start_driver(parameters, path)
    wait_for(lambda: all((SweepFolder(path).run(n) / "metrics.jsonl").exists() for n in (1, 2)))
    driver.send_signal(signal.SIGINT)
    assert driver.wait(timeout=30) == 130
    stopped = SweepFolder(path).read("eval/nll_heldout")
    assert [trial.status for trial in stopped] == ["interrupted"] * 2
    trials = make_runner(sweep_of(parameters), path, jobs=2).run()
    assert [trial.status for trial in trials] == ["finished"] * 3
    assert [starts(path, number) for number in (1, 2, 3)] == [["new", "resume"]] * 2 + [["new"]]
    for number, x in ((1, 1.0), (2, 2.0)):  # no step is lost, none repeated
        assert values_of(path, number) == pytest.approx([x - 0.001 * step for step in range(40)])


# -------------------------------------------------------------------- the command

SMALL = """
    --task.train-size 60 --task.dev-size 20 --task.test-size 20 --generator.hidden-size 8
    --generator.embedding-size 8 --discriminator.embedding-size 4 --discriminator.hidden-size 4
    --pretrain.epochs 1 --discriminator-training.pretrain-rounds 1
    --discriminator-training.num-sequences 16 --adversarial.iterations 2
    --adversarial.batch-size 4 --adversarial.num-rollouts 1 --evaluation.every 1
    --evaluation.num-samples 20 --evaluation.num-final 20 --evaluation.num-heldout 10
    --evaluation.num-shown 1 --evaluation.temperatures 1.0 0.8
""".split()


def run(*arguments: str | Path) -> int:
    """The exit code of a command in this process."""
    with pytest.raises(SystemExit) as stop:
        cli.main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


def write_sweep(path: Path, **given: Any) -> Path:
    plain = {
        "name": "tiny",
        "project": "tried",
        "method": "grid",
        "metric": {"name": "eval/nll_heldout"},
        "command": ["${env}", "seqgan", "train", "captions", "${args}"],
        "parameters": {"rule.kl_weight": {"values": [0.25, 0.75]}},
    }
    path.write_text(yaml.safe_dump(plain | given))
    return path


def inspect(folder: Path) -> dict[str, Any]:
    """The record of an offline run that says what it is."""
    (wandb_run,) = (folder / "wandb").glob("offline-run-*")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(wandb_run)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    records = [json.loads(line) for line in output.splitlines()]
    (found,) = (record["run"] for record in records if record["type"] == "run")
    return found


def test_a_real_sweep_is_one_of_offline_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    file, folder = write_sweep(tmp_path / "tiny.yaml"), tmp_path / "sweep"
    assert run("sweep", file, "--jobs", "2", "--output", folder, "--", *SMALL) == 0
    said = capsys.readouterr()
    table = said.out.splitlines()
    assert table[0].split()[:4] == ["rank", "trial", "nll_heldout", "kl_weight"]
    assert table[3].startswith("Best: trial ")
    assert (folder / "parallel.png").is_file()
    result = json.loads((folder / "sweep.json").read_text())
    assert {trial["status"] for trial in result["trials"]} == {"finished"}
    assert {trial["verdict"] for trial in result["trials"]} <= {"better", "level", "worse"}
    ranked = [trial["value"] for trial in result["trials"]]
    assert ranked == sorted(ranked)
    for trial in result["trials"]:
        weight = trial["parameters"]["rule.kl_weight"]
        about = inspect(folder / trial["run"])
        assert about["sweep_id"] == result["id"]
        assert (about["project"], about["run_group"]) == ("tried", f"tiny-{result['id']}")
        config = about["config"]["update"]
        assert config["rule.kl_weight"] == weight
        assert config["adversarial"]["kl_weight"] == weight
        assert config["adversarial"]["batch_size"] == 4  # the rest of the mapping is still there

    # Nothing is left to do; the table comes again.
    capsys.readouterr()
    assert run("sweep", "--resume", folder) == 0
    assert capsys.readouterr().out.splitlines()[:3] == table[:3]
    assert len([*read_rows(folder / "trials.jsonl")]) == 4
    assert run("sweep", file, "--output", folder, "--", *SMALL) == 2
    assert "which exists (--resume continues a sweep)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "arguments", "message"),
    [
        ({}, ("--jobs", "0"), "--jobs is at least 1, got 0"),
        ({}, ("--runs", "-1"), "--runs is at least 1, got -1"),
        ({}, ("--seed", "-1"), "--seed is 0 to 2**63 - 1, got -1"),
        ({}, ("--resume", "there"), "sweep takes a file or --resume FOLDER"),
        ({"method": "random"}, (), "a random sweep ends after run_cap or --runs, got neither"),
        (
            {"parameters": {"adversarial.klweight": {"value": 1}}},
            (),
            "unknown flag --adversarial.klweight=1; the nearest known one is --adversarial.kl-",
        ),
        (
            {"parameters": {"rule.kl_weight": {"values": [0.1, 0.2, -1.0]}}},
            (),
            "rule.kl_weight is at least 0, got -1.0",
        ),
        (
            {"parameters": {"adversarial.g_steps": {"min": 1.0, "max": 2.0}}, "method": "random"},
            ("--runs", "1"),
            "--adversarial.g-steps",
        ),
        (
            {},
            ("--", "--evaluation.every", "5", "--adversarial.iterations=2"),
            "a sweep by eval/nll_heldout takes an evaluation in the game, got evaluation.every 5"
            " and adversarial.iterations 2",
        ),
        ({}, ("--", "--tracker.mode", "online"), "a local sweep is recorded offline"),
        ({}, ("--", "--adversarial.kl-weight=1"), "--adversarial.kl-weight is swept"),
        ({"command": ["seqgan", "train", "caption", "${args}"]}, (), "a preset is one of captions"),
        ({"command": ["sh", "train.sh"]}, (), "command is [seqgan, train, ..., ${args}]"),
    ],
)
def test_a_wrong_input_is_one_line_before_anything_starts(
    given: dict[str, Any],
    arguments: tuple[str, ...],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    file = write_sweep(tmp_path / "wrong.yaml", **given)
    assert run("sweep", file, *arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["wrong.yaml"]


def test_wrong_folders_to_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("sweep", "--resume", tmp_path) == 2
    assert "a sweep is a folder with a sweep.yaml" in capsys.readouterr().err
    assert run("sweep", "--resume", tmp_path, "--seed", "0") == 2
    assert "--resume continues a sweep as it was, got --seed beside it" in capsys.readouterr().err
    assert run("sweep", tmp_path / "none.yaml") == 2
    assert "a sweep is a YAML file" in capsys.readouterr().err
    assert run("sweep") == 2
    assert "sweep takes a file or --resume FOLDER" in capsys.readouterr().err


def test_every_trial_failing_is_exit_code_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the reward cannot be found, which only the run itself learns."""
    monkeypatch.setenv("WANDB_MODE", "disabled")
    file, folder = write_sweep(tmp_path / "tiny.yaml"), tmp_path / "sweep"
    given = ("--runs", "1", "--output", folder, "--", *SMALL, "--reward", "no_such_reward")
    assert run("sweep", file, *given) == 1
    said = capsys.readouterr()
    assert said.out.count("failed: ") == 1
    assert "no_such_reward" in said.out
    assert "every trial failed" in said.err
    assert not (folder / "parallel.png").exists()


def test_one_sweep_runs_once_at_a_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    folder = tmp_path / "sweep"
    folder.mkdir()
    shutil.copy(write_sweep(tmp_path / "tiny.yaml"), folder / "sweep.yaml")
    settings = {"id": "abc", "name": "tiny", "seed": 0, "runs": 2, "flags": SMALL}
    (folder / "settings.json").write_text(json.dumps(settings))
    hold = "import fcntl, sys, time; f = open(sys.argv[1], 'ab'); fcntl.flock(f, 2); print(1)"
    command = [sys.executable, "-c", f"{hold}; sys.stdout.flush(); time.sleep(60)"]
    holder = subprocess.Popen([*command, str(folder / "settings.json")], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    with holder:
        holder.stdout.readline()
        assert run("sweep", "--resume", folder) == 2
        assert "a sweep runs once at a time" in capsys.readouterr().err
        holder.kill()
