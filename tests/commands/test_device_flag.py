"""A run that was made with CUDA, on a machine without: every command works, and a line says so."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_commands import TEXTS, TINY, run

from seqgan import evaluate, load, sample, train
from seqgan.system.errors import ConfigurationError

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA"),
]

SAID = "was made on cuda; here it uses cpu"
# What computes with a finished run RUN, and may write into OUT.
COMMANDS = (
    ("sample", "RUN", "-n", "2"),
    ("evaluate", "RUN", "-n", "20"),
    ("frontier", "RUN", "-n", "20", "--temperatures", "1", "0.8"),
    ("judge", "prepare", "RUN", "RUN:pretrained", "--pairs", "2", "--output", "OUT"),
    ("train", "--fork", "RUN", "--adversarial.iterations", "2", "--output", "OUT"),
    pytest.param(("export", "RUN", "--out", "OUT"), marks=pytest.mark.integration),
)


def as_of_cuda(folder: Path) -> None:
    settings = (folder / "config.yaml").read_text()
    assert "\ndevice: cpu\n" in settings
    (folder / "config.yaml").write_text(settings.replace("\ndevice: cpu\n", "\ndevice: cuda\n"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one iteration; nothing may be written into it."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "texts.txt").write_text(TEXTS)
    task = ("--task.path", folder / "texts.txt")
    assert run("train", "text", *task, *TINY, "--output", folder / "run") == 0
    as_of_cuda(folder / "run")
    return folder / "run"


@pytest.fixture
def filled(made: Path, tmp_path: Path) -> Callable[..., list[str]]:
    """Fills a copy of the run and a new path into a command."""
    shutil.copytree(made, tmp_path / "run")
    places = {"RUN": str(tmp_path / "run"), "OUT": str(tmp_path / "out")}

    def fill(*command: str) -> list[str]:
        for name, place in places.items():
            command = tuple(word.replace(name, place) for word in command)
        return list(command)

    return fill


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_computes_here_and_says_so_once(
    command: tuple[str, ...],
    filled: Callable[..., list[str]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert run(*filled(*command)) == 0
    assert [SAID in message for message in caplog.messages].count(True) == 1


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "meta", "mps", "abacus", ""])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_device_that_is_not_here_is_one_line(
    command: tuple[str, ...],
    device: str,
    filled: Callable[..., list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(*filled(*command, "--device", device)) == 2
    said = capsys.readouterr().err
    assert f"on device '{device}' here" in said or (
        not device and "--device needs a value after it" in said
    )
    assert said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_device_that_a_person_names_counts(
    filled: Callable[..., list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    assert run(*filled("sample", "RUN", "--device", "cpu")) == 0
    assert [SAID in message for message in caplog.messages] == [True]


def test_a_fork_is_a_run_of_the_device_that_it_trains_on(
    filled: Callable[..., list[str]], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flags = ("--adversarial.iterations", "2", "--output", "OUT")
    assert run(*filled("train", "--fork", "RUN", *flags)) == 0
    caplog.clear()
    assert run("sample", tmp_path / "out") == 0
    assert caplog.messages == []


@pytest.mark.parametrize("flags", [(), ("--device", "cpu")])
def test_it_is_resumed_here(
    flags: tuple[str, ...],
    filled: Callable[..., list[str]],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "run" / "results.json").unlink()
    assert run(*filled("train", "--resume", "RUN", *flags)) == 0
    assert [SAID in message for message in caplog.messages] == [True]
    assert (tmp_path / "run" / "results.json").is_file()


def test_it_is_loaded_from_python(made: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert len(sample(made, 3)) == len(load(made, device="cpu").sample(3)) == 3
    assert evaluate(made, 20, device="cpu")["eval/temperature"] == 1
    assert [SAID in message for message in caplog.messages] == [True] * 3
    with pytest.raises(ConfigurationError, match="on device 'cuda:7'"):
        load(made, device="cuda:7")
    with pytest.raises(
        ConfigurationError,
        match="device is 'cpu', but the run is loaded already: device goes with a run's folder",
    ):
        sample(load(made), device="cpu")


def test_training_on_a_device_that_is_not_here_makes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = (*TINY, "--output", tmp_path / "run")
    assert run("train", "captions", *flags, "--device", "meta") == 2
    assert "on device 'meta'" in capsys.readouterr().err
    with pytest.raises(ConfigurationError, match="on device 'cuda:7'"):
        train(output=tmp_path / "run", device="cuda:7")
    assert list(tmp_path.iterdir()) == []
