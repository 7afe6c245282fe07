"""Environments can be pickled and copied, with rewards of files and of modules."""

import copy
import functools
import pickle
import sys
from pathlib import Path

import cloudpickle
import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

import seqgan
from seqgan_envs import TextGenerationEnv, TextGenerationVectorEnv
from seqgan_envs.rewards import load_reward

SOURCE = """
from __future__ import annotations
from dataclasses import dataclass

@dataclass
class Scale:
    factor: float = 2.0

SCALE = Scale()

def short(tokens, lengths, prompts):
    return SCALE.factor / lengths

class Judge:
    def __call__(self, tokens, lengths, prompts, prompt_index):
        return lengths + 10.0 * prompt_index

judge = Judge()
longer = lambda tokens, lengths, prompts: lengths * 1.0
"""

BY_TEXT = """
def short(text):
    return 1.0 / (1 + len(text))

class Judge:
    def __call__(self, text):
        return 10.0 * len(text)

judge = Judge()
longer = lambda texts: [float(len(text)) for text in texts]
"""

WAYS = {
    "pickle": lambda thing: pickle.loads(pickle.dumps(thing)),
    "cloudpickle": lambda thing: pickle.loads(cloudpickle.dumps(thing)),
    "deepcopy": copy.deepcopy,
}
small = functools.partial(TextGenerationEnv, words=["a", "b"], max_length=3)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "worth.py"
    path.write_text(SOURCE)
    return path


def play(env, actions=(0, 1, 2)):
    """The results of all steps to the end of an episode, as plain numbers."""
    results = []
    for action in actions:
        observation, reward, terminated, _, info = env.step(action)
        results.append((observation["tokens"].tolist(), reward, info.get("text")))
        if terminated:
            break
    return results


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["short", "longer"])
def test_an_environment_with_a_files_reward_goes_on_as_it_was(way, name, file):
    env = small(reward=f"{file}:{name}")
    env.reset(seed=3)
    env.step(1)
    again = WAYS[way](env)
    assert play(again) == play(env)


@pytest.mark.parametrize("way", WAYS)
def test_what_make_and_wrappers_return_can_be_pickled(way, file):
    made = gymnasium.make(
        "seqgan_envs:seqgan/TextGeneration-v0", reward=f"{file}:short", prompts=[[0], [1]]
    )
    env = gymnasium.wrappers.RecordEpisodeStatistics(made)
    env.reset(seed=3)
    again = WAYS[way](env)
    assert play(again) == play(env)
    assert np.array_equal(again.reset(seed=5)[0]["prompt"], env.reset(seed=5)[0]["prompt"])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_a_vector_environment_can_be_pickled(way, mode, file):
    env = TextGenerationVectorEnv(
        3, words=["a", "b"], max_length=3, reward=f"{file}:short", autoreset_mode=mode
    )
    env.reset(seed=0)
    env.step([0, 2, 1])
    again = WAYS[way](env)
    for actions in ([0, 0, 2], [1, 1, 1], [2, 0, 0]):
        for one, other in zip(env.step(actions)[:3], again.step(actions)[:3], strict=True):
            if isinstance(one, dict):
                one, other = one["tokens"], other["tokens"]
            assert np.array_equal(one, other)


def test_the_copy_needs_neither_the_file_nor_the_working_directory(file, monkeypatch):
    monkeypatch.chdir(file.parent)
    env = small(reward="./worth.py:short")
    data = pickle.dumps(env)
    monkeypatch.chdir("/")
    file.write_text("def short(*_): return 'another'")
    again = pickle.loads(data)
    again.reset(seed=0)
    assert play(again)[-1][1] == pytest.approx(2 / 3)
    file.unlink()
    assert pickle.loads(pickle.dumps(again)).reset(seed=0)


@pytest.mark.parametrize("way", WAYS)
def test_a_reward_that_reads_the_prompts_number_still_does(way, file):
    reward = WAYS[way](load_reward(f"{file}:judge"))
    env = small(reward=reward, prompts=[[0], [1]])
    env.reset(options={"prompt_index": 1})
    assert env.step(2)[1] == 11.0


@pytest.mark.parametrize("way", WAYS)
def test_a_reward_of_a_module_is_pickled_by_its_name(way):
    env = small(reward="test_pickling:nameless")
    env.reset(seed=0)
    assert WAYS[way](env).step(2)[1] == 7.0


nameless = lambda tokens, lengths, prompts: lengths * 7.0  # noqa: E731


def test_a_file_that_fails_does_so_with_its_own_error_and_leaves_nothing_behind(file):
    before = set(sys.modules)
    file.write_text("1 / 0")
    with pytest.raises(ZeroDivisionError):
        small(reward=f"{file}:short")
    file.write_text("x = 1")
    with pytest.raises(
        ValueError,
        match=(
            r"reward is '.*worth.py:short', but must be a callable, 'package.module:attribute'"
            r" or 'file.py:attribute'"
        ),
    ):
        small(reward=f"{file}:short")
    assert set(sys.modules) == before


@pytest.mark.slow
def test_processes_that_are_spawned_get_it(file):
    env = small(reward=f"{file}:short")
    makers = [cloudpickle.loads(cloudpickle.dumps(lambda: env)), functools.partial(copy.copy, env)]
    envs = AsyncVectorEnv(makers, context="spawn")
    try:
        envs.reset(seed=0)
        assert envs.step(np.array([2, 0]))[1].tolist() == [2.0, 0.0]
    finally:
        envs.close()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["short", "judge", "longer"])
def test_make_env_with_a_files_reward_goes_on_as_it_was(way, name, tmp_path):
    (tmp_path / "mine.py").write_text(BY_TEXT)
    env = seqgan.make_env(["a", "b"], f"{tmp_path}/mine.py:{name}", max_length=3)
    env.reset(seed=3)
    env.step(1)
    again = WAYS[way](env)
    assert play(again) == play(env)


def test_make_env_with_the_product_of_a_class_judges_as_its_instance(tmp_path):
    (tmp_path / "mine.py").write_text(BY_TEXT)
    env = seqgan.make_env(["a", "b"], f"{tmp_path}/mine.py:Judge", max_length=1)
    env.reset(seed=3)
    assert env.step(1)[1] == 10.0
