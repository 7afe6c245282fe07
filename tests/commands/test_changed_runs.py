"""Runs whose data, rewards, models or own files changed or moved, through the commands."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_commands import TEXTS, TINY, run

from seqgan import evaluate, load, sample
from seqgan.system.errors import ConfigurationError, DataError
from seqgan.system.files import digest_of
from seqgan.training.checkpoints import load_checkpoint, save_checkpoint

pytestmark = pytest.mark.slow

REWARD = "import weights\n\n\ndef score(text):\n    return weights.OF_A_WORD * len(text.split())\n"
PAIRS = "\n".join(
    json.dumps({"prompt": f"where is the {noun} ?", "continuation": text, "number": number})
    for number, (noun, text) in enumerate(
        (f"{text.split()[1]} {text.split()[2]}", text) for text in TEXTS.splitlines()
    )
)


@pytest.fixture(autouse=True)
def trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs name a reward of ours, which may run."""
    monkeypatch.setenv("SEQGAN_TRUST_RUN_CODE", "1")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with data, a reward and two runs, by relative paths; nothing may be written."""
    folder = tmp_path_factory.mktemp("made") / "project"
    folder.mkdir()
    (folder / "texts.txt").write_text(TEXTS)
    (folder / "pairs.jsonl").write_text(PAIRS)
    (folder / "r.py").write_text(REWARD)
    (folder / "weights.py").write_text("OF_A_WORD = 0.1\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        reward = ("--reward", "discriminator", "r.py:score")
        assert (
            run("train", "text", "--task.path", "texts.txt", *TINY, *reward, "--output", "a") == 0
        )
        prompted = (
            "--task.path",
            "pairs.jsonl",
            "--task.min-count",
            "1",
            "--generator.kind",
            "gru",
        )
        assert run("train", "prompts", *prompted, *TINY, "--output", "p") == 0
    return folder


@pytest.fixture
def project(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the project, whose runs are in their final evaluations; the working directory."""
    folder = tmp_path / "project"
    shutil.copytree(made, folder)
    for name in ("a", "p"):
        (folder / name / "results.json").unlink()
        # The copy is another place: the first one must not be found.
        task = (folder / name / "task.json").read_text()
        state_place, state = load_checkpoint(folder / name / "checkpoints")
        (folder / name / "task.json").write_text(task.replace(str(made), str(folder)))
        state["identity"]["task.json"] = digest_of(folder / name / "task.json")
        save_checkpoint(folder / name / "checkpoints", int(state_place.name), state)
    monkeypatch.chdir(folder)
    return folder


# Each computes with the run and its data.
READERS = (
    ("train", "--resume", "a"),
    ("evaluate", "a", "-n", "20"),
    ("frontier", "a", "-n", "20", "--temperatures", "1", "0.8"),
    ("judge", "prepare", "a", "a:real", "--pairs", "2", "--output", "out"),
)
OTHERS = {
    "other words": TEXTS.replace("dog", "cow"),
    "shorter": "\n".join(TEXTS.splitlines()[:-10]),
    "longer": f"{TEXTS}\na lazy cow jumps over there .",
    "another order": "\n".join(reversed(TEXTS.splitlines())),
}


@pytest.mark.parametrize("text", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize("command", READERS, ids=lambda command: command[0])
def test_data_that_changed_are_refused(
    command: tuple[str, ...], text: str, project: Path, error: Callable[..., str]
) -> None:
    before = {path: path.read_bytes() for path in project.rglob("*.json*")}
    (project / "texts.txt").write_text(text)
    said = error(*command)
    assert "texts.txt, task.path of a, has another content" in said
    assert "then, sha256" in said
    assert {path: path.read_bytes() for path in project.rglob("*.json*")} == before


def test_a_run_is_sampled_whatever_became_of_its_data(project: Path) -> None:
    (project / "texts.txt").unlink()
    (project / "r.py").unlink()
    assert run("sample", "a", "-n", "2") == 0
    assert len(sample("a", 2)) == 2


def test_held_out_prompts_are_those_of_the_run(
    project: Path, error: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("sample", "p", "-n", "2") == 0
    capsys.readouterr()
    (project / "pairs.jsonl").write_text(PAIRS.replace('"number": 7', '"number": 8'))
    assert "task.path of p, has another content" in error("sample", "p", "-n", "2")
    assert "task.path of p, has another content" in error("train", "--resume", "p")
    assert run("sample", "p", "--prompt", "where is the big dog ?") == 0


@pytest.mark.parametrize("file", ["r.py", "weights.py"])
def test_a_reward_that_changed_is_refused(
    file: str, project: Path, error: Callable[..., str]
) -> None:
    with (project / file).open("a") as code:
        code.write("# a thought\n")
    said = error("train", "--resume", "a")
    assert "r.py, reward of a, has another content" in said
    assert (f"{file}: " in said) == (file != "r.py")
    assert run("evaluate", "a", "-n", "20") == 0  # no reward is asked


def test_a_run_goes_on_from_any_folder(
    project: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (project / "elsewhere").mkdir()
    monkeypatch.chdir(project / "elsewhere")
    assert run("evaluate", "../a", "-n", "20") == 0
    assert run("train", "--fork", "../a", "--adversarial.iterations", "2", "--output", "f") == 0
    assert run("train", "--resume", "../a") == 0
    assert any(f"is read from {project / 'texts.txt'}" in said for said in caplog.messages)
    assert any(f"is read from {project / 'r.py'}" in said for said in caplog.messages)
    assert (project / "a" / "results.json").is_file()
    assert not (project / "a" / "places.json").exists()
    monkeypatch.chdir(project)  # the fork's record is from the folder that it began in
    (project / "elsewhere" / "f" / "results.json").unlink()
    assert run("train", "--resume", "elsewhere/f") == 0


def test_a_place_may_be_named_where_the_content_agrees(
    project: Path, tmp_path: Path, error: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    far = tmp_path / "far" / "away"
    far.mkdir(parents=True)
    os.rename("texts.txt", far / "t.txt")
    assert "texts.txt is not there any more" in error("train", "--resume", "a")
    (far / "u.txt").write_text(OTHERS["shorter"])
    said = error("train", "--resume", "a", "--task.path", far / "u.txt")
    assert f"{far / 'u.txt'}, task.path of " in said
    assert run("train", "--resume", "a", "--task.path", far / "t.txt") == 0
    capsys.readouterr()
    assert run("evaluate", "a", "-n", "20") == 0  # by the place that was named


def test_a_finished_run_remembers_the_place_of_its_data(
    project: Path, tmp_path: Path, error: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("train", "--resume", "a") == 0
    capsys.readouterr()
    (tmp_path / "far").mkdir()
    os.rename("texts.txt", tmp_path / "far" / "t.txt")
    said = error("evaluate", "a", "-n", "20")
    assert said.endswith("name its place: seqgan train --resume a --task.path PLACE")
    assert run("train", "--resume", "a", "--task.path", tmp_path / "far" / "t.txt") == 0
    assert "is finished" in capsys.readouterr().err
    assert run("evaluate", "a", "-n", "20") == 0
    assert run("train", "--resume", "a") == 0  # shown, whatever became of its data


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (("--seed", "2"), "seed is 1 in a, not 2, and --resume "),
        (("--task.max-length", "9"), "task.max_length is 40 in a, not 9, and --resume "),
        (("--reward", "discriminator"), "reward is ['discriminator', 'r.py:score'] in a, not"),
        (("--generator.kind", "gru"), "generator.kind is 'lstm' in a, not 'gru', and --resume "),
        (
            ("--evaluation.num-final", "21"),
            "evaluation.num_final is 20 in a, not 21, and --resume ",
        ),
    ],
)
def test_a_flag_that_would_change_numbers_is_refused(
    flags: tuple[str, ...], said: str, project: Path, error: Callable[..., str]
) -> None:
    line = error("train", "--resume", "a", *flags)
    assert said in line
    assert "seqgan train --fork a" in line


def test_flags_that_change_no_number_are_taken(project: Path) -> None:
    flags = ("--checkpoint-seconds", "0", "--threads", "1", "--tracker.mode", "disabled")
    assert run("train", "--resume", "a", *flags) == 0


# config.yaml and task.json


def edit(path: str, old: str, new: str) -> None:
    content = Path(path).read_text()
    assert content.count(old) >= 1
    Path(path).write_text(content.replace(old, new, 1))


EDITS = {
    "seed": ("\nseed: 1\n", "\nseed: 2\n"),
    "reward": ("- r.py:score\n", "- constant\n"),
    "generator.hidden_size": ("hidden_size: 8", "hidden_size: 9"),
    "task.dev_fraction": ("dev_fraction: 0.05", "dev_fraction: 0.06"),
    "task.path": ("path: texts.txt", "path: pairs.jsonl"),
    "rule.num_rollouts": ("num_rollouts: 1\n", "num_rollouts: 2\n"),
    "discriminator.kind": ("discriminator:\n  kind: gru", "discriminator:\n  kind: cnn"),
}


@pytest.mark.parametrize("command", [*READERS[:3], ("sample", "a")], ids=lambda words: words[0])
@pytest.mark.parametrize(
    "name", ["seed", "generator.hidden_size", "task.dev_fraction", "task.path"]
)
def test_an_edited_setting_is_named(
    name: str, command: tuple[str, ...], project: Path, error: Callable[..., str]
) -> None:
    edit("a/config.yaml", *EDITS[name])
    said = error(*command)
    if name == "task.path" and command[0] != "sample":
        assert (
            "pairs.jsonl, task.path of a, has another content than when the run was made (" in said
        )
        assert said.endswith("or begin anew with it: seqgan train --config a/config.yaml")
    else:
        assert f"a/config.yaml was edited after the run had begun: {name} was " in said
        assert "seqgan train --fork a" in said


@pytest.mark.parametrize("name", ["reward", "rule.num_rollouts"])
def test_a_setting_of_the_training_that_was_edited_is_named(
    name: str, project: Path, error: Callable[..., str]
) -> None:
    edit("a/config.yaml", *EDITS[name])
    assert f"{name} was " in error("train", "--resume", "a")


def test_an_edit_that_changes_no_number_is_taken(project: Path) -> None:
    edit("a/config.yaml", "threads: 1", "threads: 2  # two cores\n")
    edit("a/config.yaml", "checkpoint_seconds: 20.0", "checkpoint_seconds: 5")
    assert run("train", "--resume", "a") == 0


def test_a_fork_takes_over_what_was_edited_and_says_so(
    project: Path, caplog: pytest.LogCaptureFixture
) -> None:
    edit("a/config.yaml", *EDITS["seed"])
    edit("a/config.yaml", "iterations: 1", "iterations: 2")
    assert run("train", "--fork", "a", "--output", "f") == 0
    assert "seed was 1, and is 2 in the fork: a/config.yaml" in caplog.messages
    assert run("sample", "f") == 0


@pytest.mark.parametrize(
    "command", [*READERS, ("sample", "a"), ("train", "--fork", "a", "--output", "f")], ids=" ".join
)
def test_two_words_that_changed_places_are_noticed(
    command: tuple[str, ...], project: Path, error: Callable[..., str]
) -> None:
    edit("a/task.json", '"dog"', '"***"')
    edit("a/task.json", '"cat"', '"dog"')
    edit("a/task.json", '"***"', '"cat"')
    said = error(*command)
    assert "a/task.json was edited after the run was made (sha256" in said
    assert not Path("f").exists()


def test_python_refuses_the_same(project: Path) -> None:
    loaded = load("a")
    (project / "texts.txt").write_text(OTHERS["shorter"])
    with pytest.raises(DataError, match=r"task\.path of a, has another content"):
        loaded.evaluate(20)
    with pytest.raises(DataError, match=r"task\.path of a, has another content"):
        evaluate("a", 20)
    edit("a/config.yaml", *EDITS["seed"])
    with pytest.raises(ConfigurationError, match="seed was 1 and is 2"):
        load("a")


def test_a_run_without_digests_is_read_and_its_networks_are_compared(
    project: Path, error: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    """As runs are that an older version has made."""
    place, state = load_checkpoint(project / "a" / "checkpoints")
    del state["identity"]
    save_checkpoint(project / "a" / "checkpoints", int(place.name), state)
    task = json.loads((project / "a" / "task.json").read_text())
    del task["inputs"], task["fingerprint"]
    digest = hashlib.sha256((project / "texts.txt").read_bytes()).hexdigest()
    task["description"] += f"; sha256 {digest[:12]}"
    (project / "a" / "task.json").write_text(json.dumps(task))
    assert run("sample", "a", "-n", "2") == 0
    capsys.readouterr()
    edit("a/config.yaml", *EDITS["generator.hidden_size"])
    for command in (("sample", "a"), ("train", "--resume", "a")):
        assert "checkpoint of a has networks of other sizes than" in error(*command)
    edit("a/config.yaml", *reversed(EDITS["generator.hidden_size"]))
    (project / "texts.txt").write_text(OTHERS["other words"])
    assert "task.path of a, has another content" in error("train", "--resume", "a")
    (project / "texts.txt").write_text(TEXTS)
    assert run("train", "--resume", "a") == 0


def test_data_that_no_setting_names_are_known_by_a_sample_of_them(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Callable[..., str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hidden").write_text(TEXTS)
    (tmp_path / "own.py").write_text(
        "from dataclasses import dataclass\nfrom pathlib import Path\n\n"
        "from seqgan.tasks.files.text import task_of_texts\n\n\n"
        "@dataclass(frozen=True)\nclass Hidden:\n    size: int = 96\n\n"
        "    def build(self, generator):\n"
        "        return task_of_texts(Path('hidden').read_text().splitlines()[: self.size])\n"
    )
    task = ("--task", "own.py:Hidden")
    assert run("train", "captions", *task, *TINY, "--output", "a") == 0
    capsys.readouterr()
    first, second, *others = TEXTS.splitlines()
    (tmp_path / "hidden").write_text("\n".join([second, first, *others]))  # the same words
    assert "has other texts in its splits" in error("evaluate", "a", "-n", "20")
    (tmp_path / "a" / "results.json").unlink()
    assert "has other texts in its splits" in error("train", "--resume", "a")
