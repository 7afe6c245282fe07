"""Ctrl-C and SIGTERM, at any moment of a command that is not training."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_commands import TEXTS, TINY

STOPS = "from seqgan.system.stopping import stop_on_signals\nstop_on_signals()\n"
KILL = "import os, signal\nos.kill(os.getpid(), signal.{name})\n"
NAMES = {"SIGINT": 130, "SIGTERM": 143}


def process(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", STOPS + code], cwd=folder, capture_output=True, text=True
    )


@pytest.mark.parametrize("name", NAMES)
def test_an_import_that_catches_everything_is_ended(name: str, tmp_path: Path) -> None:
    (tmp_path / "stubborn.py").write_text(
        "try:\n    import struggling\nexcept BaseException:\n    pass\nprint('imported')\n"
    )
    (tmp_path / "struggling.py").write_text(KILL.format(name=name))
    code = "import sys\nsys.path.insert(0, '.')\nimport stubborn\nprint('it went on')\n"
    ended = process(code, tmp_path)
    assert (ended.returncode, ended.stdout) == (NAMES[name], "")
    assert ended.stderr == "seqgan: stopped\n"


@pytest.mark.parametrize("name", NAMES)
def test_elsewhere_what_was_begun_is_cleaned_up(name: str, tmp_path: Path) -> None:
    code = (
        "import sys\nfrom seqgan.system.stopping import Stopped\n"
        "try:\n    try:\n        "
        + "        ".join(KILL.format(name=name).splitlines(keepends=True))
        + "    finally:\n        print('cleaned up')\n"
        "except Stopped as stop:\n    sys.exit(128 + stop.number)\n"
    )
    ended = process(code, tmp_path)
    assert (ended.returncode, ended.stdout) == (NAMES[name], "cleaned up\n")


def test_a_stop_that_is_lost_ends_the_process_a_little_later(tmp_path: Path) -> None:
    code = (
        "from seqgan.system import stopping\nstopping.SECONDS_TO_CLEAN_UP = 0.1\nimport time\n"
        "try:\n    "
        + "    ".join(KILL.format(name="SIGTERM").splitlines(keepends=True))
        + "except BaseException:\n    pass\ntime.sleep(60)\n"
    )
    assert process(code, tmp_path).returncode == NAMES["SIGTERM"]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_pool_of_processes_ends_its_workers_without_a_word(method: str, tmp_path: Path) -> None:
    (tmp_path / "pooled.py").write_text(
        "import multiprocessing\n"
        "def lengths(texts):\n"
        f"    with multiprocessing.get_context({method!r}).Pool(2) as pool:\n"
        "        return pool.map(len, texts)\n"
    )
    code = (
        "import sys\nsys.path.insert(0, '.')\nif __name__ == '__main__':\n"
        "    import pooled\n    print(pooled.lengths(['a', 'bcd']))\n"
    )
    ended = process(code, tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "[1, 3]\n", "")


def test_a_child_that_is_ended_before_it_begins_ends(tmp_path: Path) -> None:
    code = (
        "import os, signal, time\n"
        "for count in range(200):\n"
        "    child = os.fork()\n"
        "    if child == 0:\n"
        "        time.sleep(60)\n        os._exit(0)\n"
        "    os.kill(child, signal.SIGTERM)\n"
        "    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -15\n"
    )
    ended = process(code, tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_child_that_is_forked_leaves_ctrl_c_to_its_parent(tmp_path: Path) -> None:
    code = (
        "import os, signal, time\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n    print('it goes on', flush=True)\n"
        "    time.sleep(60)\n"
        "time.sleep(0.2)\nos.kill(child, signal.SIGTERM)\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    ended = process(code, tmp_path)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "it goes on\n-15\n", "")


@pytest.mark.slow
def test_a_reward_may_ask_a_pool_of_processes(tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text(TEXTS)
    (tmp_path / "pooled.py").write_text(
        "import multiprocessing\n"
        "def lengths(texts):\n"
        "    with multiprocessing.get_context('fork').Pool(2) as pool:\n"
        "        return pool.map(len, texts)\n"
    )
    train = ["train", "text", "--task.path", "texts.txt", *TINY, "--output", "run"]
    ended = subprocess.run(
        [sys.executable, "-m", "seqgan", *train, "--reward", "./pooled.py:lengths"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, "Traceback" in ended.stderr) == (0, False)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seconds", [0.2, 0.5, 1.0, 1.5, 2.0])
def test_a_command_that_starts_ends_at_once(name: str, seconds: float, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "seqgan", "train", "oracle", "--pretrain.epochs", "9999"]
    with subprocess.Popen(
        [*command, "--tracker.mode", "disabled"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as started:
        assert started.stderr is not None
        with pytest.raises(subprocess.TimeoutExpired):
            started.wait(seconds)
        started.send_signal(getattr(signal, name))
        said = started.stderr.read()
    assert started.returncode == NAMES[name]
    assert "Traceback" not in said
    assert said.count("stopped") == 1
