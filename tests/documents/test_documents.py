"""The documents are true: every code block runs, and every `seqgan` command of the README."""

import json
import re
import shlex
from pathlib import Path

import pytest
import warm_processes

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")

SMALL_GENERATOR = "--generator.hidden-size 8 --generator.embedding-size 8".split()
SMALL_TRANSFORMER = "--generator.width 8 --generator.num-heads 2".split()
SMALL_RUN = (
    "--discriminator.embedding-size 4 --pretrain.epochs 1"
    " --discriminator-training.pretrain-rounds 1 --discriminator-training.num-sequences 16"
    " --adversarial.iterations 1"
    " --adversarial.batch-size 4 --adversarial.num-rollouts 1 --evaluation.num-samples 20"
    " --evaluation.num-final 20 --evaluation.num-heldout 10 --evaluation.num-shown 1"
    " --evaluation.temperatures 1.0 0.8 --tracker.mode disabled"
).split()
SMALL_TASK = {
    "captions": "--task.train-size 60 --task.dev-size 20 --task.test-size 20".split(),
    "oracle": (
        "--task.vocabulary-size 50 --task.train-size 60 --task.dev-size 20 --task.test-size 20"
    ).split(),
    "text": [],
    "prompts": ["--task.min-count", "1"],
}
# Before a block that trains: what it does not set itself is small.
SMALL_TRAIN = """
import functools, seqgan
small = {
    "generator.hidden_size": 8, "generator.embedding_size": 8, "discriminator.embedding_size": 4,
    "pretrain.epochs": 1, "discriminator_training.pretrain_rounds": 1,
    "discriminator_training.num_sequences": 16, "adversarial.batch_size": 4,
    "rule.num_rollouts": 1, "evaluation.num_samples": 20, "evaluation.num_final": 20,
    "evaluation.num_heldout": 10, "evaluation.num_shown": 1, "evaluation.temperatures": (1.0, 0.8),
}
seqgan.train = functools.partial(seqgan.train, **small)
"""
OF_FILES = {"captions.txt": "text", "pairs.jsonl": "prompts"}


def blocks(language: str, page: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page, flags=re.DOTALL)


def files_and_scripts(page: str) -> tuple[dict[str, str], list[str]]:
    """Python blocks that begin with a file's name, by that name; and the other blocks."""
    files, scripts = {}, []
    for block in re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL):
        if name := re.match(r"# (\w+\.py)\n", block):
            files[name[1]] = block
        else:
            scripts.append(block)
    return files, scripts


FILES, SCRIPTS = files_and_scripts(README)


def commands(page: str = README) -> list[list[str]]:
    lines = [line for block in blocks("sh", page) for line in block.splitlines()]
    return [shlex.split(line) for line in lines if line.startswith("seqgan ")]


def reduced(arguments: list[str]) -> list[str]:
    """The command with its sizes reduced by flags; nothing else changes."""
    preset = OF_FILES.get(arguments[2], arguments[2]) if len(arguments) > 2 else ""
    if arguments[1] == "train" and preset in SMALL_TASK:
        generator = SMALL_TRANSFORMER if preset == "prompts" else SMALL_GENERATOR
        return [*arguments, *SMALL_TASK[preset], *generator, *SMALL_RUN]
    if arguments[1:3] == ["train", "--fork"]:
        return [*arguments, "--adversarial.iterations", "2"]  # the run has one
    if arguments[1] == "evaluate" and "--samples" not in arguments:
        return [*arguments, "-n", "20"]
    if arguments[1] == "frontier":
        return [*arguments, "-n", "20", "--temperatures", "1.0", "0.8"]
    return arguments


@pytest.mark.slow
def test_commands_run_in_order(tmp_path: Path) -> None:
    captions = [
        f"a {size} {animal} {verb} in the {place} ."
        for size in ("small", "big", "red")
        for animal in ("dog", "cat", "bird", "horse")
        for verb in ("sits", "runs", "sleeps")
        for place in ("park", "garden")
    ]
    (tmp_path / "captions.txt").write_text("\n".join(captions), encoding="utf-8")
    (tmp_path / "samples.txt").write_text("\n".join(captions[:30]), encoding="utf-8")
    write_pairs(tmp_path)
    for name, content in FILES.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    found = commands()
    assert len(found) >= 12
    run_all(found, tmp_path)


@pytest.mark.slow
def test_the_commands_of_the_page_on_prompts_run_in_order(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "prompts.md").read_text(encoding="utf-8")
    write_pairs(tmp_path)
    for name, content in files_and_scripts(page)[0].items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    found = commands(page)
    assert len(found) == 4
    run_all(found, tmp_path)


@pytest.mark.slow
def test_the_commands_of_the_page_on_decoding_run_in_order(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "decoding.md").read_text(encoding="utf-8")
    files, scripts = files_and_scripts(page)
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    found = commands(page)
    assert len(found) == 5
    run_all(found, tmp_path)
    for script in scripts:
        process = warm_processes.code(script, tmp_path)
        assert process.returncode == 0, process.stderr


def write_pairs(folder: Path) -> None:
    """`pairs.jsonl`: where an animal is, which stands in a column of its own, too."""
    records = [
        {
            "prompt": f"where is the {size} {animal} ?",
            "continuation": f"the {animal} is in the {place} .",
            "animal": animal,
        }
        for size in ("small", "big", "red")
        for animal in ("dog", "cat", "bird", "horse")
        for place in ("park", "garden")
    ]
    lines = "\n".join(map(json.dumps, records))
    (folder / "pairs.jsonl").write_text(lines, encoding="utf-8")


def run_all(found: list[list[str]], folder: Path) -> None:
    for arguments in found:
        process = warm_processes.command(reduced(arguments)[1:], folder)
        assert process.returncode == 0, f"{shlex.join(arguments)}\n{process.stderr}"
        assert process.stdout.strip(), shlex.join(arguments)


@pytest.mark.slow
@pytest.mark.parametrize("index", range(len(SCRIPTS)))
def test_python_blocks_run(index: int, tmp_path: Path) -> None:
    if "import PPO" in SCRIPTS[index]:
        pytest.importorskip("stable_baselines3")
    small = SMALL_TRAIN if "seqgan.train(" in SCRIPTS[index] else ""
    process = warm_processes.code(small + SCRIPTS[index], tmp_path)
    assert process.returncode == 0, process.stderr
    assert process.stdout.strip()


@pytest.mark.slow
def test_argmax_block_says_what_its_comments_say(tmp_path: Path) -> None:
    (script,) = (one for one in SCRIPTS if "argmax" in one)
    process = warm_processes.code(script, tmp_path)
    assert process.stdout.split() == ["False", "True"]


@pytest.mark.slow
def test_the_page_on_rewards_does_what_it_says(tmp_path: Path) -> None:
    """Its blocks run one after the other and print what their comments say."""
    page = (ROOT / "docs" / "rewards.md").read_text(encoding="utf-8")
    files, script = files_and_scripts(page)
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    process = warm_processes.code("\n".join(script), tmp_path)
    assert process.returncode == 0, process.stderr
    expected = re.findall(r"^ *print\(.*\)  # (.*)$", "\n".join(script), flags=re.MULTILINE)
    assert len(expected) > 10
    assert process.stdout.splitlines() == expected


def test_relative_links_lead_somewhere() -> None:
    for path in [ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("experiments/*.md")]:
        for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"
