"""Gymnasium's own wrappers around both environments, by value."""

import gymnasium
import numpy as np
import pytest
from gymnasium import wrappers
from gymnasium.spaces.utils import unflatten
from gymnasium.vector import AsyncVectorEnv, AutoresetMode
from gymnasium.wrappers import vector as vector_wrappers

from seqgan_envs import TextGenerationEnv, TextGenerationVectorEnv

ENV_ID = "seqgan_envs:seqgan/TextGeneration-v0"


def positional_reward(tokens, lengths, prompts):
    """The tokens as digits of a number in base 10, and their number as a part."""
    rewards = [int("".join(map(str, row[:n]))) for row, n in zip(tokens, lengths, strict=True)]
    return rewards, {"tokens": lengths}


ARGUMENTS = {"words": ["a", "b", "c"], "max_length": 3, "reward": positional_reward}


def vector_env(num_envs=3, mode=AutoresetMode.DISABLED, **arguments):
    return TextGenerationVectorEnv(num_envs, **ARGUMENTS | arguments, autoreset_mode=mode)


def play(env, actions):
    env.reset(seed=0)
    return [env.step(action) for action in actions][-1]


def test_episode_statistics():
    env = wrappers.RecordEpisodeStatistics(TextGenerationEnv(**ARGUMENTS))
    _, reward, terminated, _, info = play(env, [1, 2, 0])
    assert (reward, terminated) == (120, True)
    assert (info["episode"]["r"], info["episode"]["l"]) == (120, 3)
    assert info["reward_components"] == {"tokens": 3.0}


def test_flattened_observation_can_be_read_back():
    plain = TextGenerationEnv(**ARGUMENTS, prompts=[[4, 2]])
    env = wrappers.FlattenObservation(plain)
    observation, *_ = play(env, [1, 2])
    members = unflatten(plain.observation_space, observation)
    assert members["tokens"].tolist() == [1, 2, 4]
    assert members["prompt"].tolist() == [4, 2]
    assert members["length"] == 2
    assert members["action_mask"].tolist() == [1, 1, 1, 1]
    # tokens, prompt, mask, and the length as one of four.
    assert observation.shape == (3 + 2 + 4 + 4,)


def test_filtered_and_rescaled_observations():
    env = TextGenerationEnv(**ARGUMENTS)
    observation, *_ = play(wrappers.FilterObservation(env, ["tokens"]), [1])
    assert observation.keys() == {"tokens"}
    assert observation["tokens"].tolist() == [1, 4, 4]
    plain = TextGenerationEnv(**ARGUMENTS, observation="tokens")
    one_hot = wrappers.TransformObservation(
        plain, lambda tokens: np.eye(5)[tokens], gymnasium.spaces.Box(0, 1, (3, 5))
    )
    assert play(one_hot, [2])[0].argmax(axis=1).tolist() == [2, 4, 4]


def test_transformed_reward_and_automatic_reset():
    env = wrappers.TransformReward(TextGenerationEnv(**ARGUMENTS), lambda reward: reward / 10)
    assert play(env, [1, 3])[1] == 1.3
    again = wrappers.Autoreset(TextGenerationEnv(**ARGUMENTS))
    play(again, [1, 3])
    observation, reward, terminated, _, _ = again.step(2)
    assert (observation["length"], reward, terminated) == (0, 0, False)


def test_every_rendered_text_can_be_collected():
    env = gymnasium.make(ENV_ID, words=["x", "y"], render_mode="ansi_list")
    env.reset(seed=0)
    for action in (1, 0):
        env.step(action)
    assert env.render() == ["", "y", "y x"]


def test_sample_with_the_mask_of_the_info_through_wrappers():
    env = gymnasium.make(ENV_ID, **ARGUMENTS, action_mask=[True, False, True, False])
    env = wrappers.RecordEpisodeStatistics(wrappers.FlattenObservation(env))
    env.action_space.seed(0)
    for episode in range(10):
        _, info = env.reset(seed=episode)
        ended = False
        while not ended:
            action = env.action_space.sample(info["action_mask"])
            _, _, ended, _, info = env.step(action)
        assert not info["invalid_action"]
        assert env.get_wrapper_attr("action_masks")().tolist() == [True, False, True, False]


def test_vector_statistics_survive_a_partial_reset():
    env = vector_wrappers.RecordEpisodeStatistics(vector_env())
    env.reset(seed=0)
    env.step(np.array([0, 3, 1]))
    env.reset(options={"reset_mask": np.array([False, True, False])})
    _, _, terminated, _, infos = env.step(np.array([3, 2, 2]))
    assert terminated.tolist() == [True, False, False]
    assert infos["episode"]["l"].tolist() == [2, 0, 0]
    env.reset(options={"reset_mask": np.array([True, False, False])})
    _, _, terminated, _, infos = env.step(np.array([1, 3, 0]))
    assert terminated.tolist() == [False, True, True]
    assert infos["episode"]["l"].tolist() == [0, 2, 3]
    assert infos["episode"]["r"].tolist() == [0, 23, 120]
    assert infos["_episode"].tolist() == [False, True, True]
    assert infos["reward_components"]["tokens"].tolist() == [0, 2, 3]


def test_vector_observation_wrappers():
    env = vector_env(mode=AutoresetMode.NEXT_STEP)
    observation, *_ = play(vector_wrappers.FilterObservation(env, ["tokens"]), [[0, 1, 2]])
    assert observation["tokens"][:, 0].tolist() == [0, 1, 2]
    flat = vector_wrappers.FlattenObservation(env)
    observation, *_ = play(flat, [[0, 1, 2]])
    single = [unflatten(env.single_observation_space, row) for row in observation]
    assert [members["tokens"][0] for members in single] == [0, 1, 2]


def test_vector_infos_as_a_list():
    env = vector_wrappers.DictInfoToList(vector_env())
    *_, infos = play(env, [[0, 3, 1], [3, 0, 3]])
    assert [info.get("text") for info in infos] == ["a", None, "b"]
    components = [info.get("reward_components") for info in infos]
    assert components == [{"tokens": 2.0}, None, {"tokens": 2.0}]


def test_vector_reward_wrapper():
    env = vector_wrappers.TransformReward(vector_env(), lambda rewards: rewards * 2)
    assert play(env, [[0, 3, 1], [3, 0, 3]])[1].tolist() == [6, 0, 26]


def test_processes_of_their_own():
    env = AsyncVectorEnv([lambda: TextGenerationEnv(**ARGUMENTS)] * 2)
    try:
        env.reset(seed=0)
        observation, rewards, terminated, _, infos = env.step(np.array([3, 1]))
        assert observation["tokens"].tolist() == [[3, 4, 4], [1, 4, 4]]
        assert (rewards.tolist(), terminated.tolist()) == ([3, 0], [True, False])
        assert infos["token_ids"].tolist() == [(3,), None]
        assert infos["reward_components"]["tokens"].tolist() == [1, 0]
    finally:
        env.close()


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_episodes_of_a_vector_environment_end_one_by_one(mode):
    env = vector_wrappers.RecordEpisodeStatistics(vector_env(mode=mode, reward=positional_reward))
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    returns = []
    for _ in range(40):
        _, rewards, terminated, _, infos = env.step(rng.integers(4, size=3))
        returns += infos["episode"]["r"][infos["_episode"]].tolist() if "episode" in infos else []
        assert returns[len(returns) - terminated.sum() :] == rewards[terminated].tolist()
        if mode is AutoresetMode.DISABLED and terminated.any():
            env.reset(options={"reset_mask": terminated})
    assert len(returns) > 20
