"""A person with a reward of their own: in the game, beside others, in the environment, in TRL."""

import json
import re
from pathlib import Path

import pytest
from typed import SMALL, Shown, captions, narrow_enough, typed

pytestmark = pytest.mark.slow

MINE = '''
def mentions_dog(text):
    """1 for a text with a dog in it."""
    return float("dog" in text.split())


def fails(text):
    return 1 / (len(text.split()) - 4)
'''
TRAIN = f"seqgan train captions.txt --epochs 5 {SMALL}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("own")
    (place / "captions.txt").write_text(captions(), encoding="utf-8")
    (place / "my_reward.py").write_text(MINE, encoding="utf-8")
    return place


@pytest.fixture(scope="module")
def failed(folder: Path) -> Shown:
    """A run whose reward fails at the first text of four words."""
    return typed(f"{TRAIN} --reward ./my_reward.py:fails --output runs/fails", folder)


@pytest.mark.parametrize(
    ("reward", "words"),
    [
        ("./my_reward.py:mentions_dogs", ("no 'mentions_dogs' in ./my_reward.py", "mentions_dog")),
        ("./my_rewards.py:mentions_dog", ("no file ./my_rewards.py",)),
        ("my_reward.py", ("which has mentions_dog, fails; write my_reward.py:mentions_dog",)),
    ],
)
def test_a_misspelt_reward_is_answered(folder: Path, reward: str, words: tuple[str, ...]) -> None:
    shown = typed(f"seqgan train captions.txt --reward {reward}", folder)
    assert shown.code == 2
    assert shown.said.startswith("seqgan: ")
    assert all(word in shown.said for word in words), shown.text


def test_mixed_rewards_in_a_narrow_terminal(folder: Path) -> None:
    line = f"{TRAIN} --reward discriminator ./my_reward.py:mentions_dog --reward-weights 1 0.3"
    shown = typed(f"{line} --output runs/mixed", folder, columns=50)
    assert shown.code == 0, shown.text
    assert narrow_enough(shown, 50)
    assert any(line.startswith("reward mentions_dog ↑") for line in shown.lines)
    assert "Reward 'mentions_dog' " in shown.said
    lines = (folder / "runs/mixed/samples.jsonl").read_text(encoding="utf-8").splitlines()
    for row in map(json.loads, lines):
        if "reward/mentions_dog" in row:
            assert row["reward/mentions_dog"] == float("dog" in row["text"].split())


def test_a_reward_that_fails_is_named_with_its_text(failed: Shown, folder: Path) -> None:
    assert failed.code == 1
    found = re.search(r"reward 'fails' failed on row \d+ \('([^']*)'\): (\w+)", failed.said)
    assert found is not None, failed.text
    assert (len(found[1].split()), found[2]) == (4, "ZeroDivisionError")
    assert "runs/fails/checkpoints/" in failed.said


def test_a_run_of_a_minute_ago_goes_on_without_being_trusted(failed: Shown, folder: Path) -> None:
    """It fails again, as its code is what it was."""
    shown = typed("seqgan train --resume runs/fails", folder, columns=50)
    assert shown.code == 1
    assert "continuing from runs/fails/checkpoints/" in shown.said
    assert "reward 'fails' failed on row" in shown.said
    assert narrow_enough(shown, 50)


def test_mended_code_goes_on_as_a_fork(failed: Shown, folder: Path) -> None:
    """A person types the command that the failed run has named."""
    again, fork = failed.next_lines
    assert again == "seqgan train --resume runs/fails (with the code as it is)"
    line, why = fork.split(" (")
    assert (line, why) == ("seqgan train --fork runs/fails --trust-run-code", "once it is mended)")
    mended = MINE.replace("- 4)", "+ 1)")
    (folder / "my_reward.py").write_text(mended, encoding="utf-8")
    shown = typed("seqgan train --resume runs/fails --trust-run-code", folder)
    assert (shown.code, line in shown.said) == (2, True), shown.text
    shown = typed(f"{line} --output runs/mended", folder)
    assert shown.code == 0, shown.text
    assert "Reward 'fails' " in shown.said
    sampled = typed("seqgan sample runs/mended -n 2", folder)
    assert sampled.code == 0, sampled.text


PYTHON = """
import seqgan
from my_reward import mentions_dog
from seqgan.rewards.adapters.trl import as_trl

env = seqgan.make_env(["a", "dog"], reward=mentions_dog, max_length=3)
env.reset(seed=0)
print([env.step(token)[1] for token in (0, 1, 2)])
function = as_trl(mentions_dog)
given = {"prompts": ["", ""], "completions": ["a dog", "a cat"], "completion_ids": [[0], [1]]}
print(function.__name__, function(**given))  # as TRL calls it
"""


def test_the_same_function_is_a_reward_in_the_environment_and_in_trl(folder: Path) -> None:
    (folder / "same.py").write_text(PYTHON, encoding="utf-8")
    shown = typed('"$PYTHON" same.py', folder)
    assert shown.lines[:2] == ["[0.0, 0.0, 1.0]", "mentions_dog [1.0, 0.0]"], shown.text
