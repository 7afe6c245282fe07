"""Two processes on one machine, for real: gloo, accelerate, its launchers, and `kill -9`."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from campaign.runs import FLAGS as TINY_FLAGS

from seqgan import cli
from seqgan.system.accelerated import runtime_for
from seqgan.training.checkpoints import load_checkpoint

psutil = pytest.importorskip("psutil")
accelerate = pytest.importorskip("accelerate")
pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("process_as_before")]

TESTS = Path(__file__).parents[1]
# A game without an end; the two processes have unlike numbers of texts.
FLAGS = (*TINY_FLAGS, "--task.train-size", "61", "--adversarial.iterations", "100000")
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2")
ACCELERATE = (
    *("accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1"),
    *("--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"),
)


def alone(*arguments: str) -> None:
    """Trains in this process."""
    with pytest.raises(SystemExit) as stop:
        cli.main(["train", *arguments])
    assert stop.value.code == 0


def launch(launcher: tuple[str, ...], *arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *launcher, "-m", "seqgan", "train", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def said(process: subprocess.Popen[str], timeout: float = 600) -> str:
    """All that a launcher and its processes printed; none of them is left behind."""
    children = psutil.Process(process.pid).children(recursive=True)
    try:
        return process.communicate(timeout=timeout)[0]
    except subprocess.TimeoutExpired:
        for child in children:
            child.kill()
        process.kill()
        raise


def iterations(folder: Path) -> list[int]:
    """Of each logged row of the game."""
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [row["iteration"] for row in rows if "iteration" in row]


def change(folder: Path, number: int) -> None:
    """Another number of iterations."""
    plain: dict[str, Any] = yaml.safe_load((folder / "config.yaml").read_text())
    plain["adversarial"]["iterations"] = number
    (folder / "config.yaml").write_text(yaml.safe_dump(plain))


def killed_in_the_game(folder: Path, rank: int) -> tuple[int, str]:
    """The launcher's exit code, and all that was printed."""
    process = launch(TORCHRUN, *FLAGS, "--output", folder)
    deadline = time.monotonic() + 600  # a net for what never happens
    while not (folder / "metrics.jsonl").is_file() or len(iterations(folder)) < 4:
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    workers = psutil.Process(process.pid).children()
    victim = next(worker for worker in workers if worker.environ().get("RANK") == str(rank))
    os.kill(victim.pid, signal.SIGKILL)
    output = said(process)
    return process.returncode, output


def test_steps_are_those_of_one_process_with_the_whole_batch() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    known = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    processes = [
        subprocess.Popen(
            [sys.executable, str(TESTS / "one_of_two.py")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ
            | known
            | {"RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
        )
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=600) for process in processes]
    for process, (output, error) in zip(processes, outputs, strict=True):
        assert process.returncode == 0, error
        *checks, gathered = map(json.loads, output.splitlines())
        assert [check["check"] for check in checks] == [
            *("pretrain lstm", "update lstm mean", "update lstm sum", "groups lstm"),
            *("pretrain transformer", "update transformer mean", "update transformer sum"),
            *("groups transformer", "discriminate gru", "discriminate cnn"),
        ]
        for check in checks:
            assert check["apart"] < 5e-7, check
            assert check["metrics"] < 1e-5, check
            assert check["moved"] > 1e-3, check
        assert gathered == {"check": "gather", "flags": [False, True], "world": 2}


@pytest.mark.parametrize(
    ("kind", "device", "said"),
    [
        (
            "FSDP",
            "cpu",
            "asks for FSDP, but each process must hold all parameters .*; docs/scale.md",
        ),
        ("DEEPSPEED", "cpu", "asks for DEEPSPEED, but each process must hold all"),
        (
            "MULTI_GPU",
            "meta",
            (
                "accelerate computes on meta and the run on cpu, but both must use one kind of"
                " device"
            ),
        ),
    ],
)
def test_refusals(kind: str, device: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such configurations need GPUs, so accelerate's answer is made up."""

    class Configured:
        process_index, num_processes = 0, 2

        def __init__(self, **settings: Any) -> None:
            self.distributed_type = accelerate.utils.DistributedType[kind]
            self.device = torch.device(device)

    monkeypatch.setattr(accelerate, "Accelerator", Configured)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match=said):
        runtime_for("cpu")


def test_a_file_that_asks_for_shards_on_cpus_is_refused(tmp_path: Path) -> None:
    """accelerate itself would ignore the wish, since it knows no shards on CPUs."""
    wishes = {"fsdp_version": 2, "fsdp_cpu_ram_efficient_loading": False}
    file = tmp_path / "shards.yaml"
    file.write_text(
        yaml.safe_dump(
            {"compute_environment": "LOCAL_MACHINE", "distributed_type": "FSDP"}
            | {"num_machines": 1, "num_processes": 2, "fsdp_config": wishes}
        )
    )
    launcher = (*("accelerate.commands.launch", "--config_file", str(file)), *ACCELERATE[-2:])
    process = launch(launcher, *FLAGS, "--output", tmp_path / "run")
    output = said(process)
    assert process.returncode != 0
    assert output.count("asks for FSDP (the launcher set ACCELERATE_USE_FSDP)") == 1
    assert not (tmp_path / "run").exists()


def test_from_one_process_to_two(tmp_path: Path) -> None:
    """A run that ended, given more to play; `accelerate launch` goes on with it."""
    folder = tmp_path / "run"
    alone(*FLAGS, "--adversarial.iterations", "2", "--output", str(folder))
    (folder / "results.json").unlink()
    change(folder, 4)
    process = launch(ACCELERATE, "--resume", folder)
    output = said(process)
    assert process.returncode == 0, output
    assert iterations(folder) == [0, 1, 2, 3, 4]
    assert (folder / "results.json").is_file()
    assert output.count("continuing from") == output.count("results: ") == 1
    assert output.count("Samples after the game") == 1


def test_a_killed_process_and_on_with_one(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code, output = killed_in_the_game(folder, rank=1)
    assert code != 0
    assert output.count("another process of this run ended; the last good checkpoint is") == 1
    assert "seqgan: process 0 of 2" in output
    assert "gloo" not in output
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert output.count("Samples before the game") == 1
    _, state = load_checkpoint(folder / "checkpoints")
    played = state["phases"]["game"]["iterations"]
    assert played > 0
    change(folder, played + 2)
    alone("--resume", str(folder))
    assert iterations(folder) == list(range(played + 3))


def test_a_killed_main_process_and_on_with_two(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    code, output = killed_in_the_game(folder, rank=0)
    assert code != 0
    assert "seqgan: process 1 of 2: another process of this run ended; the last good" in output
    _, state = load_checkpoint(folder / "checkpoints")
    played = state["phases"]["game"]["iterations"]
    change(folder, played + 2)
    process = launch(TORCHRUN, "--resume", folder)
    output = said(process)
    assert process.returncode == 0, output
    assert iterations(folder) == list(range(played + 3))
