"""Whole runs that wandb records offline, read back by wandb's own reader.

What a wandb user finds there: every metric of the list that applies, none NaN, none constant that
should move; and after a kill, all but the last few seconds.
"""

import hashlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import wandb
from tiny_commands import run
from wandb_records import summary

from seqgan.tracking.metrics import METRICS, OWN, Metric, find_metric, moving_metrics
from seqgan.training.runs import open_run
from seqgan.training.settings import TrainConfig

pytestmark = pytest.mark.slow

SIZES = """
    --generator.hidden-size 4 --generator.embedding-size 4 --discriminator.embedding-size 3
    --pretrain.epochs 10 --pretrain.patience 0 --pretrain.learning-rate 0.1 --pretrain.batch-size 16
    --discriminator-training.pretrain-rounds 10 --discriminator-training.num-sequences 16
    --discriminator-training.batch-size 8 --discriminator-training.d-steps 1
    --adversarial.iterations 10 --adversarial.batch-size 8
    --rule.num-rollouts 1 --rule.learning-rate 0.05 --rule.schedule constant --rule.kl-target 0.05
    --evaluation.every 1 --evaluation.num-samples 60 --evaluation.num-final 20
    --evaluation.num-heldout 10 --evaluation.num-shown 2 --evaluation.temperatures 1.0 0.8
    --threads 1 --tracker.mode offline
""".split()
SMALL_SPLITS = "--task.train-size 60 --task.dev-size 30 --task.test-size 30".split()
TASKS = {
    "captions": ["captions", *SMALL_SPLITS, "--discriminator.hidden-size", "3"],
    # More words than the texts of a measurement can hold all of.
    "oracle": [
        *("captions", "--task.kind", "oracle", "--task.vocabulary-size", "100"),
        *("--task.hidden-size", "4", "--task.max-length", "5", *SMALL_SPLITS),
        *("--rule.update.mle-weight", "0.1"),
    ],
    "text": [
        "text",
        "--discriminator.hidden-size",
        "3",
        "--task.min-count",
        "1",
        "--evaluation.mauve",
        *("--discriminator-training.loss", "pairwise"),
        *("--discriminator-training.max-accuracy", "0.7"),
    ],
    "prompts": [
        *("text", "--task.kind", "prompts", "--discriminator.hidden-size", "3"),
        *("--adversarial.group-size", "2", "--rule.loss", "ppo", "--rule.kl-in", "loss"),
        *("--rule.epochs", "2", "--rule.stop-kl", "5"),
        *("--rule.critic.kind", "network", "--rule.critic.size", "4", "--rule.critic.warmup", "0"),
    ],
}
if HAS_PROFANITY := find_spec("profanity_check") is not None:
    TASKS["text"].append("--evaluation.toxicity")
TEXTS = "\n".join(
    f"{article} {size} {noun} {verb} in the {place} ."
    for article in ("a", "the")
    for size in ("small", "big", "old")
    for noun in ("dog", "cat", "horse", "bird")
    for verb in ("sits", "runs", "waits", "sleeps")
    for place in ("park", "garden", "yard")
)
PROMPTS = "\n".join(
    json.dumps({"prompt": f"{article} {noun}", "continuation": f"{verb} in the {place} ."})
    for article in ("a", "the")
    for noun in ("dog", "cat", "horse", "bird")
    for verb in ("sits", "runs", "waits", "sleeps")
    for place in ("park", "garden", "yard")
)
REWARD = """
def short(texts, log_metric):
    log_metric("words", sum(len(text.split()) for text in texts) / len(texts))
    return [-len(text.split()) / 10 for text in texts]
"""

# When a metric of the list is logged, by what its entry says in `applies`.
CONDITIONS: dict[str, Callable[[str, TrainConfig], bool]] = {
    "every run": lambda task, config: True,
    "every evaluation": lambda task, config: True,
    "generator pretraining": lambda task, config: True,
    "discriminator pretraining": lambda task, config: True,
    "adversarial phase": lambda task, config: True,
    "KL penalty on": lambda task, config: config.rule.kl_weight > 0,
    "the end of a run": lambda task, config: True,
    "the end of a run with a game": lambda task, config: True,
    "the end of a run with a reward": lambda task, config: True,
    # No caption of so small a generator is grammatical, so that there is nothing to compare.
    "the end of a game with a verdict": lambda task, config: task != "captions",
    "where your code logs it": lambda task, config: False,
    "rule.update.mle_weight above 0": (lambda task, config: config.rule.update.mle_weight > 0),
    "a discriminator as reward": lambda task, config: "discriminator" in config.reward,
    "a discriminator with the pairwise loss": (
        lambda task, config: config.discriminator_training.loss == "pairwise"
    ),
    "a discriminator with max_accuracy": (
        lambda task, config: config.discriminator_training.max_accuracy < 1
    ),
    "once for each reward model": lambda task, config: True,
    "where a reward function reports it": lambda task, config: len(config.reward) > 1,
    "rule.critic on": lambda task, config: config.rule.critic.kind != "none",
    "tasks whose texts end with an eos": lambda task, config: task != "oracle",
    "tasks with measures": lambda task, config: task == "captions",
    "tasks with prompts": lambda task, config: task == "prompts",
    "rule.kl_in loss": lambda task, config: config.rule.kl_in == "loss",
    "several steps per batch": lambda task, config: config.rule.epochs > 1,
    "rule.loss ppo, gspo or cispo": lambda task, config: config.rule.loss != "reinforce",
    "rule.stop_kl above 0": lambda task, config: config.rule.stop_kl > 0,
    "adversarial.group_size above 1, tasks with prompts": (
        lambda task, config: task == "prompts" and config.adversarial.group_size > 1
    ),
    "tasks with an exact distribution": lambda task, config: task in ("captions", "oracle"),
    "exact distributions in which every sequence is possible": (
        lambda task, config: task == "oracle"
    ),
    "tasks without an exact distribution": lambda task, config: task in ("text", "prompts"),
    "evaluation.mauve on, tasks without an exact distribution": (
        lambda task, config: task == "text" and config.evaluation.mauve
    ),
    "evaluation.toxicity on, tasks without an exact distribution": (
        lambda task, config: task == "text" and config.evaluation.toxicity
    ),
}
# Metrics of other rules than these runs have: tests/learning/test_rules.py sees them all.
OF_RULES = {metric.applies for metric in METRICS if metric.applies.startswith(("rule ", "rules "))}
CONDITIONS |= dict.fromkeys(OF_RULES, lambda task, config: False)


@pytest.fixture(autouse=True, scope="module")
def wandb_as_before() -> Iterator[None]:
    """Wandb's settings of its own."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("WANDB_")]:
            patch.delenv(name)
        patch.setenv("WANDB_ERROR_REPORTING", "false")
        yield
    wandb.teardown()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A finished run of a task, made when it is first asked for."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "texts.txt").write_text(TEXTS, encoding="utf-8")
    (folder / "prompts.jsonl").write_text(PROMPTS, encoding="utf-8")
    (folder / "my_reward.py").write_text(REWARD, encoding="utf-8")

    @cache
    def made(task: str) -> Path:
        flags = [*TASKS[task], *SIZES, "--output", str(folder / task)]
        if task == "prompts":
            flags += ["--task.path", str(folder / "prompts.jsonl")]
        if task == "text":
            flags += ["--task.path", str(folder / "texts.txt")]
            flags += ["--reward", "discriminator", f"{folder / 'my_reward.py'}:short"]
        assert run("train", *flags) == 0
        return folder / task

    return made


def wandb_runs(folder: Path) -> list[Path]:
    return sorted((folder / "wandb").glob("offline-run-*"))


def records(folder: Path) -> list[dict[str, Any]]:
    """Everything that a run folder's only offline run holds."""
    (offline,) = wandb_runs(folder)
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(offline)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [json.loads(line) for line in output.splitlines()]


@cache
def records_at_the_end(folder: Path) -> list[dict[str, Any]]:
    """The same of a finished run, read once."""
    return records(folder)


def series(read: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """The values of each metric, in order, by its name: the only place that knows the format."""
    found: dict[str, list[Any]] = {}
    for record in read:
        if record["type"] == "history":
            for name, value in record["history"]["item"].items():
                found.setdefault(name, []).append(value)
    return found


@pytest.mark.parametrize("task", TASKS)
def test_every_metric_that_applies_is_there_and_moves(
    task: str, runs: Callable[[str], Path]
) -> None:
    folder = runs(task)
    _, config = open_run(folder)
    found = series(records_at_the_end(folder))
    histograms = {
        name.removesuffix("._type")
        for name, values in found.items()
        if name.endswith("._type") and values[0] == "histogram"
    }
    internal = {name for name in found if name.startswith("_") or "." in name}
    ending = {name for name in summary(wandb_runs(folder)[0]) if name.startswith("result/")}
    names = (found.keys() - internal) | histograms

    def applies(metric: Metric) -> bool:
        return CONDITIONS[metric.applies](task, config)

    unknown = {metric.applies for metric in METRICS} - CONDITIONS.keys()
    assert not unknown, "say in CONDITIONS when such a metric is logged"
    entries = {
        find_metric(name) for name in names | ending
    }  # which rejects what is not in the list
    assert [entry.name for entry in METRICS if applies(entry) and entry not in entries] == []
    assert [entry.name for entry in entries if not applies(entry)] == []

    numbers = {name: found[name] for name in names - histograms}
    assert [name for name, values in numbers.items() if not all_finite(values)] == []
    moving = {name: numbers[name] for name in moving_metrics(numbers)}
    assert [name for name, values in moving.items() if len(values) < 10] == []
    assert [name for name, values in moving.items() if len(set(values)) == 1] == []


def test_every_metric_of_the_list_is_written_by_one_of_these_runs(
    runs: Callable[[str], Path],
) -> None:
    """With the test above, which finds in a task's run all that applies to it and nothing else."""
    configs = {task: open_run(runs(task))[1] for task in TASKS}
    unwritten = [
        metric.name
        for metric in METRICS
        if metric.applies not in OF_RULES
        and not any(CONDITIONS[metric.applies](task, config) for task, config in configs.items())
    ]
    assert unwritten == [*(() if HAS_PROFANITY else ("eval/toxicity_rate",)), OWN]


def test_the_end_of_a_run_is_in_its_summary(runs: Callable[[str], Path]) -> None:
    """Value by value as in `results.json`, the report beside it, and the file that was read."""
    folder = runs("text")
    (offline,) = wandb_runs(folder)
    found, stored = summary(offline), json.loads((folder / "results.json").read_text())
    assert found["result/verdict"] == stored["comparison"]["verdict"]
    assert found.get("result/difference") == stored["comparison"]["difference"]
    for row in ("start", "control", "final", "best"):
        for name, value in stored[row].items():
            assert found[f"result/{row}/{name.removeprefix('eval/')}"] == pytest.approx(value)
    for curve, key in (("mle", "curve"), ("game", "game_curve")):
        for temperature, point in stored[key].items():
            for name, value in point.items():
                place = f"result/{curve}/{float(temperature):g}/{name.removeprefix('eval/')}"
                assert found[place] == pytest.approx(value)
    lowest = min(row["eval/nll_heldout"] for row in evaluated(folder))
    latest = evaluated(folder)[-1]["eval/nll_heldout"]
    assert found["eval/nll_heldout"] == pytest.approx({"min": lowest, "last": latest})
    shown = offline / "files" / found["report"]["path"]
    assert shown.read_bytes() == (folder / "report.html").read_bytes()
    (data,) = [
        record["artifact"]
        for record in records_at_the_end(folder)
        if record["type"] == "artifact" and record["artifact"]["type"] == "dataset"
    ]
    digest = hashlib.sha256((folder.parent / "texts.txt").read_bytes()).hexdigest()
    assert json.loads(data["metadata"])["sha256"] == digest


def evaluated(folder: Path) -> list[dict[str, Any]]:
    return [row for row in lines_of(folder / "metrics.jsonl") if "checkpoint/loss" in row]


def all_finite(values: list[Any]) -> bool:
    """wandb writes NaN and infinities as text."""
    return all(isinstance(value, int | float) and math.isfinite(value) for value in values)


def test_both_records_agree(runs: Callable[[str], Path]) -> None:
    """`metrics.jsonl` and wandb's file, value by value."""
    folder = runs("captions")
    found = series(records_at_the_end(folder))
    rows = lines_of(folder / "metrics.jsonl")
    for name in {name for row in rows for name in row} - {"global_step", "iteration"}:
        values = [row[name] for row in rows if name in row]
        assert found[name] == pytest.approx(values, rel=1e-6), name


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_configuration_is_complete_and_nested(runs: Callable[[str], Path]) -> None:
    folder = runs("oracle")
    (settings,) = [
        record["run"] for record in records_at_the_end(folder) if record["type"] == "run"
    ]
    config = settings["config"]["update"]
    assert config["rule"]["update"]["mle_weight"] == 0.1
    assert config["task"]["vocabulary_size"] == 100
    assert config["versions"].keys() >= {"python", "torch", "seqgan", "wandb"}
    assert config["versions"]["wandb"] == wandb.__version__
    assert config["environment"] == {
        "id": "seqgan/TextGeneration-v0",
        "num_envs": 8,
        "num_words": 100,
        "max_length": 5,
        "eos": False,
        "pad_id": 100,
        "observation": "tokens",
        "separator": " ",
        "autoreset_mode": "Disabled",
    }
    facts = config["facts"]
    assert facts["train_size"] == 60
    assert facts["full_support"] is True
    assert facts["description"].startswith(f"oracle drawn from seed 0, weights {facts['hash']}")
    assert f"entropy {facts['entropy'] / 5:.3f} nats per token" in facts["description"]
    # LSTM: embedding 100 x 4, four gates of 4 + 4 inputs and two biases, output 4 + 1 to 100.
    lstm = 4 * 4 * (4 + 4) + 2 * 4 * 4
    assert config["num_parameters"]["generator"] == 100 * 4 + lstm + 5 * 100
    assert config["num_parameters"]["discriminator"] > 0


def test_samples_checkpoints_and_files(runs: Callable[[str], Path]) -> None:
    folder = runs("text")
    read = records_at_the_end(folder)
    (offline,) = wandb_runs(folder)
    # The table: the columns without lists, a part of the rows each time.
    rows = lines_of(folder / "samples.jsonl")
    tables = [
        json.loads((offline / "files" / path).read_text()) for path in series(read)["samples.path"]
    ]
    assert {tuple(table["columns"]) for table in tables} == {
        ("step", "phase", "text", "reward", "reward_discriminator", "reward_short", "log_prob")
    }
    shown = [row for table in tables for row in table["data"]]
    assert shown == [[row[name] for name in tables[0]["columns"]] for row in rows]
    assert len(shown) == 2 * 13  # before, 11 evaluations, after
    assert {row["phase"] for row in rows} == {"before the game", "game", "after the game"}
    for row in rows:
        assert len(row["tokens"]) == len(row["token_values"])
        assert " ".join(row["tokens"]).removesuffix("</s>").strip() == row["text"]
    # Artifacts: what was the best at its time, and at last the last.
    artifacts = [record["artifact"] for record in read if record["type"] == "artifact"]
    models = [artifact for artifact in artifacts if artifact["type"] == "model"]
    losses = [json.loads(model["metadata"]).get("checkpoint/loss") for model in models]
    assert losses[:-1] == sorted(losses[:-1], reverse=True)
    expected = [row["checkpoint/loss"] for row in lines_of(folder / "metrics.jsonl")[21:]]
    assert losses[-2] == pytest.approx(min(expected))
    assert [sorted(model["aliases"]) for model in models[:-1]] == [["best", "latest"]] * (
        len(models) - 1
    )
    assert models[-1]["aliases"] == ["latest"]
    # The run's files, all below its folder: a reward's source too.
    assert (offline / "files" / "code" / "my_reward.py").read_text() == REWARD
    for artifact in artifacts:
        for entry in artifact["manifest"]["contents"] if artifact["type"] != "dataset" else ():
            assert Path(entry["local_path"]).is_relative_to(folder)
            assert Path(entry["local_path"]).is_file()


def test_histograms_of_both_records(runs: Callable[[str], Path]) -> None:
    folder = runs("oracle")
    found = series(records_at_the_end(folder))
    rows = lines_of(folder / "histograms.jsonl")
    assert {row["name"] for row in rows} == {
        f"{area}/0{position}-0{position}"
        for area in ("action_value", "advantage")
        for position in range(1, 6)
    }
    assert [row["iteration"] for row in rows if row["name"] == "advantage/05-05"] == [*range(1, 11)]
    for row in rows:
        assert sum(row["counts"]) == 8  # every text has a token everywhere
    for name in ("action_value/03-03", "advantage/05-05"):
        counts = [row["counts"] for row in rows if row["name"] == name]
        assert found[f"{name}.values"] == counts


def test_the_best_checkpoint_is_a_generator_of_its_own(
    runs: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = runs("captions")
    evaluated = [row for row in lines_of(folder / "metrics.jsonl") if row.get("iteration", 0) > 0]
    best = min(evaluated, key=lambda row: row["checkpoint/loss"])
    assert best["iteration"] < 10  # so that it is not the newest
    state = json.loads((folder / "best" / "state.json").read_text())
    phases = dict(dict(state["dict"])["phases"]["dict"])
    assert dict(phases["game"]["dict"])["iterations"] == {"value": best["iteration"]}
    said = {}
    for which in ("newest", "best"):
        assert run("sample", folder, "-n", "5", "--checkpoint", which) == 0
        said[which] = capsys.readouterr().out
    assert said["newest"] != said["best"]


def test_it_is_ready_to_be_synced(runs: Callable[[str], Path]) -> None:
    (offline,) = wandb_runs(runs("captions"))
    command = [sys.executable, "-m", "wandb", "sync", "--dry-run", str(offline)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0
    said = ended.stdout + ended.stderr
    assert "Would sync 1 run(s)" in said
    assert str(next(offline.glob("*.wandb"))) in said


@pytest.mark.skipif(not Path("/proc/self/cmdline").is_file(), reason="there is no /proc here")
def test_killed_with_wandbs_own_process_it_keeps_what_was_written_before(tmp_path: Path) -> None:
    """As a machine that dies: the run and the process that writes its record, both at once.

    The record is read while the run goes on: a row that is logged gets there without an end.
    """
    folder = tmp_path / "run"
    flags = [*TASKS["oracle"], *SIZES, "--adversarial.iterations", "100000", "--output", folder]
    started = subprocess.Popen(
        [sys.executable, "-m", "seqgan", "train", *map(str, flags)],
        stderr=subprocess.DEVNULL,
        # Else it would share the process that records the runs of this one.
        env={name: os.environ[name] for name in os.environ if name != "WANDB_SERVICE"},
    )
    try:
        metrics = folder / "metrics.jsonl"
        wait_until(lambda: metrics.is_file() and metrics.read_text().count("\n") > 25)
        logged = lines_of_a_growing_file(metrics)[-1]["iteration"]
        wait_until(lambda: recorded_iterations(folder)[-1:] >= [logged])
    finally:
        recording = recorders_of(started.pid)
        for pid in (started.pid, *recording):
            os.kill(pid, signal.SIGKILL)
        started.wait()
    assert len(recording) == 1
    assert recorded_iterations(folder)[-1] >= logged > 0


@pytest.mark.skipif(not Path("/proc/self/cmdline").is_file(), reason="there is no /proc here")
def test_a_run_whose_recording_process_was_killed_ends_with_one_warning(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    flags = [*TASKS["oracle"], *SIZES, "--adversarial.iterations", "100000", "--output", folder]
    started = subprocess.Popen(
        [sys.executable, "-m", "seqgan", "train", *map(str, flags)],
        stderr=subprocess.PIPE,
        text=True,
        env={name: os.environ[name] for name in os.environ if name != "WANDB_SERVICE"},
    )
    metrics = folder / "metrics.jsonl"
    try:
        wait_until(lambda: metrics.is_file() and metrics.read_text().count("\n") > 25)
        (recording,) = recorders_of(started.pid)
        os.kill(recording, signal.SIGKILL)
        there = metrics.read_text().count("\n")
        wait_until(lambda: metrics.read_text().count("\n") > there + 5)
        started.send_signal(signal.SIGINT)
        said = started.communicate(timeout=300)[1]
    finally:
        started.kill()
        started.wait()
    assert started.returncode == 130
    assert said.count("wandb failed while") == 1
    assert "Traceback" not in said
    assert "Exception ignored" not in said


def recorded_iterations(folder: Path) -> list[int]:
    """Those in the record of a run, up to where it can be read."""
    return series(records(folder)).get("iteration", [])


def lines_of_a_growing_file(path: Path) -> list[dict[str, Any]]:
    """Without the last line, which may be half written."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]]


def recorders_of(run: int) -> list[int]:
    """The processes in which wandb writes the record of a run's process."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            program, *arguments = path.read_bytes().split(b"\0")
        except OSError:  # a process that has ended
            continue
        if program.endswith(b"wandb-core") and str(run).encode() in arguments:
            found.append(int(path.parent.name))
    return found


def wait_until(condition: Callable[[], bool], seconds: float = 300) -> None:
    """The time is a net for what never happens, and no claim about speed."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_run_whose_tracker_is_off_leaves_no_wandb_folder(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    flags = [*TASKS["oracle"], *SIZES, "--adversarial.iterations", "1", "--output", folder]
    assert run("train", *flags, "--tracker.mode", "disabled", "--pretrain.epochs", "1") == 0
    assert not (folder / "wandb").exists()
