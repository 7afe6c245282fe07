"""The command line: exit codes, one line for every error, and what each command prints."""

import json
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import tiny_commands
from campaign.commands import command
from markupsafe import escape
from terminals import Terminal
from tiny_commands import ORACLE, TEXTS, process, run

from seqgan import cli
from seqgan.commands.given import configuration
from seqgan.training.config_files import save_config
from seqgan.training.presets import PRESETS
from seqgan.training.run_folders import RunFolder

pytestmark = pytest.mark.usefixtures("process_as_before")

TINY = (*tiny_commands.TINY, "--pretrain.epochs", "2", "--adversarial.iterations", "3")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run; nothing may be written into it."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert run("train", *ORACLE, *TINY, "--output", folder) == 0
    return folder


# Help


def test_help_is_quick_because_it_imports_no_other_package() -> None:
    code = (
        "import sys\nbefore = set(sys.modules)\nfrom seqgan import cli\n"
        "try:\n    cli.main(['--help'])\nfinally:\n"
        "    new = {name.partition('.')[0] for name in sys.modules.keys() - before}\n"
        "    print(*sorted(new - set(sys.stdlib_module_names)), file=sys.stderr)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "seqgan\n")
    assert ended.stdout.startswith("usage: seqgan COMMAND")
    for usage in ("train PRESET", "--resume", "--fork", "sample RUN", "evaluate RUN"):
        assert usage in ended.stdout


def test_module_and_version() -> None:
    from seqgan import __version__

    ended = process("--version")
    assert (ended.returncode, ended.stdout) == (0, f"seqgan {__version__}\n")


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 2
    assert capsys.readouterr().out.split() == cli.HELP.split()


def test_the_help_names_every_preset(capsys: pytest.CaptureFixture[str]) -> None:
    assert ", ".join(PRESETS) in " ".join(cli.HELP.split())
    assert run("train", "--help") == 0
    said = capsys.readouterr().out
    assert all(f"\n  {name} " in said for name in PRESETS)


@pytest.mark.parametrize("command", ["sample", "evaluate"])
def test_help_of_the_other_commands(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(command, "--help") == 0
    assert "--temperature" in capsys.readouterr().out


# Wrong inputs of train


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian", "captions"], "unknown command 'trian'; did you mean train"),
        (["generate", "runs/x"], "unknown command 'generate'; it is called seqgan sample here"),
        (["train"], "nothing to train on; train takes a file of texts"),
        (["train", "capton"], "unknown preset 'capton'; did you mean captions"),
        (["train", "--seed", "3"], "nothing to train on"),
        (["train", "captions", "--resume", "x"], "captions and --resume together"),
        (["train", "captions", "--config"], "--config needs a value after it"),
        (["train", "--resume", "nowhere"], "nowhere is no run: it has no config.yaml"),
        (
            ["train", "captions", "--rule.num-rolouts", "3"],
            "unknown flag --rule.num-rolouts; did you mean --rule.num-rollouts",
        ),
        (
            ["train", "captions", "--adversarial.num-rollouts", "-3"],
            "rule.num_rollouts is -3, but must be at least 0",
        ),
        (["train", "captions", "--adversarial.num-rollouts", "many"], "--rule.num-rollouts"),
        (
            ["train", *ORACLE, "--generator.hidden-size", "1000000000"],
            "there is not enough memory for",
        ),
        (
            ["train", "captions", "--reward", "money"],
            "unknown reward 'money' (short names: classifier, constant",
        ),
        (["train", "captions", "--reward", "./my.py:f"], "there is no file ./my.py"),
        (
            ["train", "captions", "--reward", "constant(wert=2)"],
            "argument 'wert'; its arguments are ",
        ),
        (
            ["train", "captions", "--reward", "constant", "random", "--reward-weights", "1"],
            "reward_weights has 1 weights for 2 rewards, but must have one for each",
        ),
        (["train", "captions", "--reward-failure", "ignore"], "--reward-failure"),
        (
            ["train", "captions", "--task.kind", "poems"],
            "unknown task 'poems' (short names: captions, oracle",
        ),
        (["train", "captions", "--device", "abacus"], "cannot compute on device 'abacus'"),
        (
            ["train", "captions", "--pretrain.learning-rate", "0"],
            "is 0.0, but must be above 0 and finite",
        ),
    ],
)
def test_a_wrong_input_is_one_line_and_makes_nothing(
    arguments: list[str],
    message: str,
    error: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in error(*arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"cannot read .*texts.txt: No such file or directory"),
        (b"", r"texts.txt is empty, but must hold texts"),
        (b"one line only\n", "has 1 distinct texts .* but at least 3 are needed"),
        (b"a line\nanother\nPK\0\1\2\n", "texts.txt, line 3 has a NUL byte"),
        (b"a line\nbad \xff byte\n", "texts.txt, line 2 has the byte 0xff, which is not UTF-8"),
        (b"a\na a\na a a\na a a a\n", "but at least 2 are needed"),
        (
            b" ".join([b"word"] * 60) + b"\n",
            "no text within --task.max-length .* the shortest has 61 tokens",
        ),
    ],
    ids=["missing", "empty", "one line", "binary", "invalid UTF-8", "one word", "all too long"],
)
def test_a_bad_text_file_is_one_line_and_makes_nothing(
    content: bytes | None, message: str, error: Any, tmp_path: Path
) -> None:
    path, output = tmp_path / "texts.txt", tmp_path / "run"
    if content is not None:
        path.write_bytes(content)
    said = error("train", "text", "--task.path", path, *TINY, "--output", output)
    assert re.search(message, said)
    assert not output.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file or directory"),
        ("seed: [1", "is not YAML"),
        ("- seed", "but must hold a YAML mapping"),
        ("sed: 3", "; did you mean seed"),
        ("seed: three", "seed  is 'three', but must be of type int"),
        ("adversarial: {num_rollouts: -3}", "rule.num_rollouts is -3, but must be at least 0"),
        (
            "task: {kind: poems}",
            "unknown task 'poems' (short names: captions, oracle, prompts, text;",
        ),
    ],
)
def test_a_bad_configuration_file(
    content: str | None, message: str, error: Any, tmp_path: Path
) -> None:
    path, output = tmp_path / "config.yaml", tmp_path / "run"
    if content is not None:
        path.write_text(content)
    assert " ".join(message.split()) in error("train", "--config", path, "--output", output)
    assert not output.exists()


def test_a_folder_that_exists_is_left_alone(error: Any, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    said = error("train", *ORACLE, *TINY, "--output", tmp_path)
    assert f"{tmp_path} exists already; name another folder with --output" in said
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
    assert (tmp_path / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("kind", ["a folder", "a file", "a dangling link"])
@pytest.mark.parametrize("where", ["preset", "config"])
def test_a_name_that_is_taken_is_refused_before_anything_is_built(
    error: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, where: str
) -> None:
    monkeypatch.chdir(tmp_path)
    taken, settings = tmp_path / "taken", tmp_path / "settings.yaml"
    settings.write_text("task: {kind: text, path: nowhere.txt}\n")
    if kind == "a folder":
        taken.mkdir()
    elif kind == "a file":
        taken.write_text("mine")
    else:
        taken.symlink_to("nowhere")
    first = ("text", "--task.path", "nowhere.txt") if where == "preset" else ("--config", settings)
    said = error("train", *first, *TINY, "--output", "taken")
    assert "taken exists already; name another folder with --output" in said


def test_a_folder_that_cannot_be_made(error: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said = error("train", *ORACLE, *TINY, "--output", tmp_path / "file" / "run")
    assert "cannot make the folder of the run, " in said


# A finished run


def test_a_finished_run_has_all_its_parts(finished: Path) -> None:
    names = {"config.yaml", "task.json", "machine.json", "checkpoints", "best", ".lock"}
    names |= {f"{kind}.jsonl" for kind in ("metrics", "samples", "histograms", "alerts")}
    names |= {"results.json", "report.png", "report.html"}
    assert {path.name for path in finished.iterdir()} == names
    results = json.loads((finished / "results.json").read_text())
    assert results["comparison"]["verdict"] in ("better", "level", "worse", "mixed")
    assert [path.name for path in (finished / "checkpoints").iterdir()] == ["00000006"]


@pytest.mark.slow
def test_a_finished_run_is_drawn(
    finished: Path, tmp_path: Path, draw: Callable[[RunFolder], None]
) -> None:
    folder = RunFolder(shutil.copytree(finished, tmp_path / "run"))
    folder.picture.unlink()
    folder.page.unlink()
    draw(folder)
    assert folder.picture.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    page = folder.page.read_text(encoding="utf-8")
    for sentence in json.loads(folder.results.read_text())["sentences"]:
        assert escape(sentence) in page
    assert "Monte Carlo value" in page  # of the tokens of its samples


@pytest.mark.slow
def test_its_configuration_makes_the_same_run(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = tmp_path / "again"
    assert run("train", "--config", finished / "config.yaml", "--output", again) == 0
    results = [json.loads((folder / "results.json").read_text()) for folder in (finished, again)]
    assert results[0] == results[1]
    assert (again / "config.yaml").read_text() == (finished / "config.yaml").read_text()
    assert (again / "samples.jsonl").read_text() == (finished / "samples.jsonl").read_text()
    said = capsys.readouterr().out
    assert results[0]["comparison"]["sentence"] in said
    assert results[0]["information_sentence"] in said


def test_a_flag_beside_a_file_changes_it(finished: Path, tmp_path: Path) -> None:
    config = configuration(["--config", str(finished / "config.yaml"), "--seed", "2"])
    save_config(config, tmp_path / "config.yaml")
    before, after = ((folder / "config.yaml").read_text() for folder in (finished, tmp_path))
    assert after == before.replace("\nseed: 1\n", "\nseed: 2\n") != before


@pytest.mark.slow
def test_a_text_file_and_the_expected_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, folder = tmp_path / "texts.txt", tmp_path / "run"
    path.write_text(TEXTS)
    flags = ("--task.path", path, "--task.min-count", "1", "--task.test-fraction", "0.25")
    assert run("train", "text", *TINY, *flags, "--output", folder) == 0
    said = capsys.readouterr()
    assert "expected time: about" in said.err
    assert "96 texts (96 distinct)" in said.err
    assert "bleu_4" in said.out
    assert run("sample", folder, "-n", "3") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert not [line for line in lines if "<unk>" in line]


# sample


def sampled(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> list[str]:
    assert run("sample", *arguments) == 0
    said = capsys.readouterr()
    assert said.err == ""
    return said.out.splitlines()


def test_sample_prints_the_texts_and_nothing_else(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = sampled(capsys, finished, "-n", "7")
    assert len(lines) == 7
    assert {len(line.split()) for line in lines} == {5}
    assert sampled(capsys, finished, "-n", "7") == lines
    assert sampled(capsys, finished, "-n", "7", "--seed", "1") != lines
    assert sampled(capsys, finished, "-n", "7", "--temperature", "0.01") != lines


def test_sample_as_json(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    records = [json.loads(line) for line in sampled(capsys, finished, "-n", "4", "--json")]
    assert [record["text"] for record in records] == sampled(capsys, finished, "-n", "4")
    assert all(record["log_prob"] < 0 for record in records)


def test_one_likeliest_token_is_greedy(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = sampled(capsys, finished, "-n", "5", "--top-k", "1")
    assert len(set(lines)) == 1
    assert sampled(capsys, finished, "-n", "5", "--top-p", "1e-9", "--seed", "4") == lines


def test_sample_before_the_game(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scored = [
        sampled(capsys, finished, "--json"),
        sampled(capsys, finished, "--json", "--pretrained"),
    ]
    assert scored[0] != scored[1]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["-n", "0"], "-n is 0, but must be at least 1"),
        (["-n", "x"], "-n is 'x', but must be a whole number"),
        (["--temperature", "0"], "--temperature is 0, but must be above 0 and finite"),
        (["--temperature", "nan"], "--temperature is nan, but must be above 0 and finite"),
        (["--top-k", "-1"], "--top-k is -1, but must be at least 0"),
        (["--top-p", "2"], "--top-p is 2, but must be above 0 and at most 1"),
        (["--seed", "-1"], "--seed is -1, but must be from 0 to 2**63 - 1"),
        (
            ["--seed", str(2**70)],
            "--seed is 1180591620717411303424, but must be from 0 to 2**63 - 1",
        ),
        (
            ["--temprature", "1"],
            "unknown flag --temprature; did you mean --temperature",
        ),
        (["another"], "unexpected argument 'another'"),
    ],
)
def test_a_wrong_input_of_sample(
    flags: list[str], message: str, error: Any, finished: Path
) -> None:
    assert message in error("sample", finished, *flags)


def test_sample_of_what_is_no_run(error: Any, finished: Path, tmp_path: Path) -> None:
    assert "the following arguments are required: run" in error("sample")
    assert f"{tmp_path} is no run: it has no config.yaml" in error("sample", tmp_path)
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    shutil.rmtree(folder / "checkpoints")
    assert " has no intact checkpoint to resume from" in error("sample", folder)
    (folder / "task.json").unlink()
    assert "is no run: it has no task.json" in error("sample", folder)


@pytest.mark.slow
def test_a_reader_that_leaves_is_no_error(finished: Path) -> None:
    """As in `seqgan sample RUN | head`: the pipe is closed before anything is written."""
    command = [sys.executable, "-m", "seqgan", "sample", str(finished), "-n", "5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        child.stdout.close()
        said = child.stderr.read()
    assert (child.returncode, said) == (0, b"")


@pytest.mark.slow
def test_an_output_that_is_full_is_one_line(finished: Path) -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "seqgan", "sample", str(finished)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert ended.returncode == 1
    assert ended.stderr == "seqgan: [Errno 28] No space left on device\n"


def test_an_interrupt_outside_training_shows_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(given: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("seqgan.commands.sample.run", interrupted)
    assert run("sample", "run") == 130
    assert capsys.readouterr().err == "seqgan: stopped\n"


# Rewards of one's own

MY_REWARDS = """
def short(text):
    return -float(len(text.split()))


def first_word(token_ids, word=0):
    return float(token_ids[0] == word)


def picky(text):
    if text.count("2") > 1:
        raise ZeroDivisionError("two twos")
    return 1.0
"""


@pytest.mark.slow
def test_rewards_of_a_file_and_their_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my_rewards.py").write_text(MY_REWARDS)
    rewards = ("./my_rewards.py:short", "my_rewards:first_word(word=3)", "discriminator")
    flags = ("--reward", *rewards, "--reward-weights", "1", "0.5", "2", "--output", "run")
    assert run("train", *ORACLE, *TINY, *flags) == 0
    said = capsys.readouterr().out
    assert re.search(r"Reward 'short' [a-z ,]+ from -\d\S* to -\d\S* \(", " ".join(said.split()))
    assert "Reward 'first_word'" in said
    assert "Reward 'discriminator'" not in said
    with Path("run/metrics.jsonl").open() as file:
        logged = [json.loads(line) for line in file]
    for name in ("short", "first_word", "discriminator"):
        assert sum(f"rewards/{name}/mean" in metrics for metrics in logged) == 3
    assert run("train", "--resume", "run", "--trust-run-code") == 0


@pytest.mark.slow
def test_a_reward_that_fails_is_one_line_and_leaves_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my_rewards.py").write_text(MY_REWARDS)
    flags = ("--reward", "./my_rewards.py:picky", "--adversarial.batch-size", "64")
    assert run("train", *ORACLE, *TINY, *flags, "--output", "stopped") == 1
    line, *further = capfd.readouterr().err.splitlines()[-3:]
    assert further == [
        "next: seqgan train --resume stopped --trust-run-code (with the code as it is)",
        "next: seqgan train --fork stopped --trust-run-code (once it is mended)",
    ]
    assert re.match(
        r"seqgan: reward 'picky' failed on row \d+ \('[\d ]*2[\d ]*2[\d ]*'\):"
        r" ZeroDivisionError: two twos; the last good checkpoint is stopped/checkpoints/\d+$",
        line,
    )
    again = ("--reward-retries", "1", "--reward-pause", "0")
    skipped = ("--reward-failure", "skip", *again, "--output", "skipped")
    assert run("train", *ORACLE, *TINY, *flags, *skipped) == 0
    with Path("skipped/metrics.jsonl").open() as file:
        shares = [json.loads(line).get("rewards/picky/not_applicable", 0) for line in file]
    assert 0 < max(shares) < 1
    # Mended, it is another reward: the run does not go on as if nothing had changed, a fork does.
    Path("my_rewards.py").write_text(MY_REWARDS.replace("> 1", "> 99"))
    monkeypatch.delitem(sys.modules, f"user_file:{tmp_path / 'my_rewards.py'}")
    assert run("train", "--resume", "stopped", "--trust-run-code") == 2
    assert "my_rewards.py, reward of stopped, has another content" in last_line(
        capfd.readouterr().err
    )
    assert run("train", "--fork", "stopped", "--trust-run-code", "--output", "mended") == 0


WILD = """
import os
import random
import signal

import torch

os.chdir("/")
torch.set_grad_enabled(False)


def wild(texts):
    os.chdir("/")
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.manual_seed(0)
    random.seed(0)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    return [float(len(text)) for text in texts]


def tame(texts):
    return [float(len(text)) for text in texts]
"""


@pytest.mark.slow
def test_a_reward_that_changes_everything_changes_no_number_and_loses_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("wild.py").write_text(WILD)
    Path("tame.py").write_text(WILD[WILD.index("def tame") :])
    assert run("train", *ORACLE, *TINY, "--reward", "./tame.py:tame", "--output", "tame") == 0
    capfd.readouterr()
    assert run("train", *ORACLE, *TINY, "--reward", "./wild.py:wild", "--output", "wild") == 0
    said = capfd.readouterr().err
    assert Path.cwd() == tmp_path
    end = "put back as it was before the call"
    parts = (
        "the working directory, PyTorch's default type, PyTorch's gradient mode, the handlers of"
        " signals and PyTorch's random state"
    )
    assert " ".join(said.split()).count(f"reward 'wild' changed {parts}: {end}") == 1
    losses = []
    for name in ("tame", "wild"):
        with Path(name, "metrics.jsonl").open() as file:
            rows = [json.loads(line) for line in file]
        losses.append([row.get("losses/policy_loss") for row in rows])
        assert Path(name, "report.html").is_file()
    assert losses[0] == losses[1]


# Settings of one's own in a slot

MY_TASK = '''
"""A task of the user's own."""

from dataclasses import dataclass

from seqgan.models.generators.recurrent import RecurrentGenerator, RecurrentGeneratorConfig
from seqgan.tasks.oracle import OracleConfig


@dataclass(frozen=True)
class Config:
    size: int  # words of the vocabulary
    length: int = 5  # tokens of each text

    def __post_init__(self):
        if self.length < 2:
            raise ValueError(f"task.length is {self.length}, but must be at least 2")

    def build(self, generator):
        sizes = {"train_size": 60, "dev_size": 30, "test_size": 30, "hidden_size": 4}
        settings = OracleConfig(vocabulary_size=self.size, max_length=self.length, **sizes)
        return settings.build(generator)


@dataclass(frozen=True)
class Small:
    width: int = 8  # of everything

    def build(self, vocabulary):
        sizes = {"embedding_size": self.width, "hidden_size": self.width}
        return RecurrentGenerator(RecurrentGeneratorConfig(**sizes), vocabulary)
'''
OF_GENERATOR = ("--generator.hidden-size", "8", "--generator.embedding-size", "8")
OTHERS = TINY[4:]  # whatever is no flag of the generator


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory, with `wmt.py`."""
    (tmp_path / "wmt.py").write_text(MY_TASK, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop(f"user_file:{tmp_path / 'wmt.py'}", None)


@pytest.mark.parametrize("flag", ["--task", "--task.kind"])
@pytest.mark.slow
def test_a_task_and_a_generator_of_a_file(
    flag: str, own: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = (flag, "./wmt.py:Config", "--task.size", "6", "--generator", "./wmt.py:Small")
    assert run("train", "captions", *chosen, *OTHERS, "--output", "run") == 0
    written = (own / "run" / "config.yaml").read_text()
    assert f"kind: {own}/wmt.py:Config\n  size: 6\n  length: 5\n" in written
    assert f"kind: {own}/wmt.py:Small\n  width: 8\n" in written
    monkeypatch.chdir("/")
    capsys.readouterr()
    trust = "--trust-run-code"
    texts = sampled(capsys, own / "run", "-n", "3", trust)
    assert [len(text.split()) for text in texts] == [5, 5, 5]
    assert run("evaluate", own / "run", "-n", "20", "--json", trust) == 0
    assert json.loads(capsys.readouterr().out)["nll_oracle"] > 0
    (own / "run" / "results.json").unlink()
    assert run("train", "--resume", own / "run", trust) == 0
    flags = ("--adversarial.iterations", "4", "--output", own / "fork", trust)
    assert run("train", "--fork", own / "run", *flags) == 0
    assert (own / "fork" / "config.yaml").read_text() == written.replace(
        "iterations: 3", "iterations: 4"
    )
    if find_spec("transformers"):  # what it builds is a network of the package
        assert run("export", own / "run", trust) == 0


def test_a_run_without_an_output_is_named_after_the_file(own: Path) -> None:
    flags = ("--task", "wmt:Config", "--task.size", "6", "--adversarial.iterations", "0")
    assert run("train", "captions", *OF_GENERATOR, *OTHERS, *flags) == 0
    (folder,) = (own / "runs").iterdir()
    assert re.fullmatch(r"wmt-\d{8}-\d{6}", folder.name)
    assert "kind: wmt:Config\n" in (folder / "config.yaml").read_text()
    sys.modules.pop("wmt")


def test_the_help_shows_the_fields_of_the_chosen_class(
    own: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("train", "captions", "--task", "./wmt.py:Config", "--help-all") == 0
    said = " ".join(re.sub("[│╭╮╰╯─]", " ", capsys.readouterr().out).split())
    assert "--task.size INT words of the vocabulary (required)" in said
    assert "--task.length INT tokens of each text (default: 5)" in said
    assert "--task.train-size" not in said


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--task", "./wmt.py:Cofnig"], "there is no 'Cofnig' in ./wmt.py; did you mean Config"),
        (["--task", "capitons"], "unknown task 'capitons'; did you mean captions? (short names: "),
        (["--task", "./wmt.py:MY"], "there is no 'MY' in ./wmt.py"),
        (["--task", "json:loads"], "task 'json:loads': <function"),
        (["--task", "./wmt.py:Config(size=3)"], "its fields are settings of their own"),
        (["--task", "./wmt.py:Config"], "--task.size is not given; "),
        (["--task", "./wmt.py:Config", "--task.sise", "6"], "did you mean --task.size"),
        (
            ["--task", "./wmt.py:Config", "--task.size", "x"],
            "is 'x', but must be a whole number",
        ),
        (
            ["--task", "./wmt.py:Config", "--task.size", "6", "--task.length", "1"],
            "task.length is 1, but must be at least 2",
        ),
        (["--task"], "--task needs a value after it"),
    ],
)
@pytest.mark.usefixtures("own")
def test_a_wrong_class_is_one_line(flags: list[str], message: str, error: Any) -> None:
    assert message in error("train", "captions", *flags)


# Bugs


def test_a_bug_shows_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A `ValueError` of NumPy or PyTorch, say, is about nothing that a person has given."""

    def broken(*arguments: Any, **more: Any) -> Any:
        raise ValueError("operands could not be broadcast together")

    monkeypatch.setattr("seqgan.tasks.oracle.oracle_task", broken)
    with pytest.raises(ValueError, match="operands could not be"):
        cli.main(["train", *ORACLE, *TINY, "--output", str(tmp_path / "before")])
    monkeypatch.undo()
    monkeypatch.setattr("seqgan.commands.train_run.present", broken)
    with pytest.raises(ValueError, match="operands could not be"):
        cli.main(["train", *ORACLE, *TINY, "--output", str(tmp_path / "after")])
    assert "seqgan: operands" not in capsys.readouterr().err


# Runs that have to stop


def last_line(said: str) -> str:
    assert "Traceback" not in said
    return said.splitlines()[-1]


def test_numbers_that_are_not_finite_stop_a_run_with_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The first step of the game is so large that the second meets an overflow."""
    flags = ("--generator.hidden-size", "64", "--adversarial.learning-rate", "1e38")
    flags += ("--checkpoint-seconds", "0")
    assert run("train", *ORACLE, *TINY, *flags, "--output", tmp_path / "run") == 1
    said = last_line(capfd.readouterr().err)
    assert said.startswith("seqgan: ")
    assert "finite" in said
    newest = max((tmp_path / "run" / "checkpoints").iterdir())
    assert said.endswith(f"; the last good checkpoint is {newest}")
    assert not (tmp_path / "run" / "results.json").exists()


def test_a_run_that_stops_before_any_checkpoint_says_so(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    flags = ("--generator.hidden-size", "64", "--pretrain.learning-rate", "1e37")
    assert run("train", *ORACLE, *TINY, *flags, "--output", tmp_path / "run") == 1
    said = last_line(capfd.readouterr().err)
    assert "not finite" in said
    assert said.endswith("there is no checkpoint yet")


def limit_file_size() -> None:
    """Files end at 60 kB, as on a full disk: logs fit, the tensors of 64 hidden units do not."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))


def test_a_full_disk_stops_a_run_with_one_line(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    flags = ("--generator.hidden-size", "64", "--checkpoint-seconds", "0", "--output", folder)
    ended = command(("train", *ORACLE, *TINY, *flags), tmp_path, limit_file_size)
    assert ended.code == 1
    said = last_line(ended.error)
    assert said.startswith(f"seqgan: cannot write the checkpoint {folder}/checkpoints/00000001: ")
    assert "File too large" in said
    assert said.endswith("there is no checkpoint yet")
    assert list((folder / "checkpoints").iterdir()) == []


def test_a_disk_that_fills_up_later_leaves_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The limit falls, in this process, once two checkpoints are written."""
    from seqgan.training.trainer import Trainer

    folder = tmp_path / "run"
    original, before = Trainer.save, resource.getrlimit(resource.RLIMIT_FSIZE)

    def save(trainer: Trainer) -> None:
        if trainer.phase("adversary").rounds == 1:
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
        try:
            original(trainer)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "save", save)
        flags = ("--checkpoint-seconds", "0", "--output", folder)
        assert run("train", *ORACLE, *TINY, *flags) == 1
    said = last_line(capfd.readouterr().err)
    assert said.count("the last good checkpoint is") == 1
    assert said.endswith(f"the last good checkpoint is {folder}/checkpoints/00000002")
    assert run("sample", folder) == 0  # which is intact


def test_profile_prints_where_the_time_goes_and_leaves_no_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    assert run("train", *ORACLE, *TINY, "--output", folder, "--profile") == 0
    printed = capsys.readouterr().out
    assert "one iteration of the game:" in printed
    assert "update_discriminator" in printed
    assert not folder.exists()


def test_the_expected_time_is_printed_and_leaves_no_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    assert run("train", *ORACLE, *TINY, "--output", folder, "--estimate-time") == 0
    printed = capsys.readouterr().out
    assert "made shorter by" in printed
    assert re.search(r"^in all, about +\d+ s$", printed, flags=re.MULTILINE)
    assert not folder.exists()


def test_profile_is_for_new_runs(finished: Path, error: Any) -> None:
    assert "--profile and --resume together" in error("train", "--resume", finished, "--profile")


def test_a_wrong_value_is_one_sentence_on_a_terminal_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("sys.stdout", Terminal())
    assert run("train", "captions", "--evaluation.num-samples", "4") == 2
    said = capsys.readouterr().err
    assert said.startswith("seqgan: evaluation.num_samples is ")
    assert said.count("\n") == 1
    assert "\x1b" not in said
