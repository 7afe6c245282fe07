"""The vector environment in Stable-Baselines3: equal to a loop over single ones, and faster."""

import warnings

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from seqgan.system.errors import ConfigurationError
from seqgan_envs import TextGenerationEnv, TextGenerationVectorEnv

pytestmark = pytest.mark.integration
stable_baselines3 = pytest.importorskip("stable_baselines3")
sb3_contrib = pytest.importorskip("sb3_contrib")

from stable_baselines3.common.evaluation import evaluate_policy  # noqa: E402
from stable_baselines3.common.monitor import Monitor  # noqa: E402
from stable_baselines3.common.vec_env import (  # noqa: E402
    DummyVecEnv,
    VecMonitor,
    VecNormalize,
    is_vecenv_wrapped,
)

from seqgan.integrations.sb3 import TextVecEnv, TokenFeatures  # noqa: E402


def worth(tokens, lengths, prompts):
    """No two texts share a reward; a part applies to long texts only."""
    digits = 10.0 ** np.arange(tokens.shape[1])
    rewards = np.where(np.arange(tokens.shape[1]) < lengths[:, None], tokens + 1, 0) @ digits
    return rewards, {"late": np.where(lengths > 2, rewards / 2, np.nan)}


def forbid_last_token(tokens, lengths, prompts):
    masks = np.ones((len(tokens), 4), dtype=bool)
    started = np.flatnonzero(lengths)
    masks[started, tokens[started, lengths[started] - 1]] = False
    return masks


SMALL = {"words": ["a", "b", "c"], "max_length": 4, "reward": worth}


def native(num_envs=4, **arguments):
    return TextVecEnv(
        TextGenerationVectorEnv(num_envs, **SMALL | arguments, autoreset_mode="SameStep")
    )


def plain(infos):
    """Infos without the mask, which only a single environment has, and without the time."""
    kept = [{k: v for k, v in info.items() if k != "action_mask"} for info in infos]
    for info in kept:
        if "episode" in info:
            info["episode"] = {k: v for k, v in info["episode"].items() if k != "t"}
    return kept


def same(one, other):
    np.testing.assert_equal(one, other)


@pytest.mark.parametrize("observation", ["dict", "tokens", "one_hot"])
@pytest.mark.parametrize("mask", [None, forbid_last_token])
@pytest.mark.parametrize("prompts", [None, [[4, 2]]])
def test_equals_a_loop_over_single_environments(observation, mask, prompts):
    arguments = {"observation": observation, "action_mask": mask, "prompts": prompts}
    env = native(**arguments)
    loop = DummyVecEnv([lambda: Monitor(TextGenerationEnv(**SMALL | arguments))] * 4)
    assert (env.observation_space, env.action_space) == (loop.observation_space, loop.action_space)
    env.seed(3)
    loop.seed(3)
    first, of_loop = env.reset(), loop.reset()
    same(first, of_loop)
    rng = np.random.default_rng(0)
    endings = 0
    for _ in range(60):
        actions = rng.integers(4, size=4)
        mine, theirs = env.step(actions), loop.step(actions)
        same(mine[0], theirs[0])
        same(mine[1], theirs[1])
        same(mine[2], theirs[2])
        same(plain(mine[3]), plain(theirs[3]))
        assert [x.dtype for x in mine[1:3]] == [x.dtype for x in theirs[1:3]]
        same(env.env_method("action_masks"), loop.env_method("action_masks"))
        endings += mine[2].sum()
    assert endings > 40


def test_the_end_of_an_episode_by_hand():
    env = native(2)
    env.reset()
    env.step(np.array([0, 1]))
    observation, rewards, dones, infos = env.step(np.array([3, 2]))
    assert dones.tolist() == [True, False]
    assert rewards.tolist() == [41.0, 0.0]
    assert observation["tokens"].tolist() == [[4, 4, 4, 4], [1, 2, 4, 4]]
    assert infos[0]["terminal_observation"]["tokens"].tolist() == [0, 3, 4, 4]
    assert infos[0]["episode"]["r"] == 41.0
    assert infos[0]["episode"]["l"] == 2
    assert infos[0]["text"] == "a"
    assert infos[0]["TimeLimit.truncated"] is False
    assert infos[1] == {"TimeLimit.truncated": False}
    # Lengths and returns begin anew, and a reset in the middle forgets them.
    _, _, dones, infos = env.step(np.array([3, 3]))
    assert [info["episode"]["l"] for info in infos] == [1, 3]
    env.step(np.array([0, 0]))
    env.reset()
    assert env.step(np.array([3, 3]))[3][1]["episode"]["l"] == 1


def test_seeds_and_options():
    prompts = [[i] for i in range(4)]
    env = native(8, prompts=prompts)
    env.seed(5)
    first = env.reset()["prompt"].tolist()
    assert env.reset()["prompt"].tolist() != first  # a seed counts once
    env.seed(5)
    assert env.reset()["prompt"].tolist() == first
    env.set_options({"prompt_index": 2})
    assert env.reset()["prompt"].tolist() == [[2]] * 8
    env.set_options([{"prompt_index": i % 4} for i in range(8)])
    assert env.reset()["prompt"].tolist() == [[0], [1], [2], [3]] * 2
    for options in ([{"prompt_index": 1}, *[{}] * 7], {"reset_mask": True}):
        env.set_options(options)
        with pytest.raises(ConfigurationError, match="in every row or in none"):
            env.reset()


def test_attributes_and_methods():
    env = native(3)
    assert env.get_attr("action_space") == [env.action_space] * 3
    assert env.get_attr("render_mode", indices=[0, 2]) == [None, None]
    assert env.has_attr("action_masks")
    assert not env.has_attr("nothing_of_the_kind")
    assert len(env.env_method("action_masks", indices=1)) == 1
    env.env_method("set_reward", lambda tokens, lengths, prompts: lengths * 7.0)
    env.reset()
    assert env.step(np.array([3, 3, 3]))[1].tolist() == [7.0] * 3
    with pytest.raises(ConfigurationError, match="set_reward, which belongs to all 3 rows"):
        env.env_method("set_reward", worth, indices=[0])
    with pytest.raises(ConfigurationError, match="render_mode, which belongs to all 3 rows"):
        env.set_attr("render_mode", "ansi", indices=0)
    env.set_attr("render_mode", "ansi")
    assert env.get_attr("render_mode") == ["ansi"] * 3


def test_pictures_are_tiled():
    env = native(4, render_mode="rgb_array")
    env.reset()
    assert env.render().shape == (2 * 384, 2 * 640, 3)
    assert native(2).get_images() == [None, None]


def test_other_environments_are_refused():
    import gymnasium

    for mode in (AutoresetMode.NEXT_STEP, AutoresetMode.DISABLED):
        with pytest.raises(ConfigurationError, match="autoreset_mode is "):
            TextVecEnv(TextGenerationVectorEnv(2, autoreset_mode=mode))
    with pytest.raises(ConfigurationError, match="takes a TextGenerationVectorEnv"):
        TextVecEnv(gymnasium.make_vec("CartPole-v1", num_envs=2))


def test_token_features_refuse_the_flat_layout():
    with pytest.raises(ConfigurationError, match="that hold ids"):
        TokenFeatures(native(observation="one_hot").observation_space)


def follows(tokens, lengths, prompts):
    """1 for "a b c d" alone, a quarter for each word in its place."""
    return (tokens == np.arange(tokens.shape[1])).mean(axis=1)


@pytest.mark.parametrize(
    ("layout", "policy"),
    [("dict", "MultiInputPolicy"), ("tokens", "MlpPolicy"), ("one_hot", "MlpPolicy")],
)
def test_ppo_finds_the_best_text(layout, policy):
    task = {"words": ["a", "b", "c", "d"], "max_length": 4, "reward": follows}
    env = native(32, **task, observation=layout)
    features = {} if layout == "one_hot" else {"features_extractor_class": TokenFeatures}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = stable_baselines3.PPO(
            policy,
            env,
            n_steps=16,
            batch_size=256,
            learning_rate=5e-3,
            gamma=1.0,
            ent_coef=0.01,
            seed=0,
            policy_kwargs=features,
        )
        model.learn(12_000)
        returns, _ = evaluate_policy(model, native(8, **task, observation=layout), 20)
    assert returns == pytest.approx(1.0)
    # The log has the returns of episodes, without a Monitor.
    assert len(model.ep_info_buffer) == 100
    assert np.mean([info["r"] for info in model.ep_info_buffer]) > 0.8


def test_maskable_ppo_and_the_wrappers_of_stable_baselines3():
    env = native(8, action_mask=forbid_last_token, invalid_action_penalty=-5.0)
    with pytest.warns(UserWarning, match="already wrapped with a `Monitor`"):
        monitored = VecMonitor(env)
    normalized = VecNormalize(monitored, norm_obs=False)
    assert is_vecenv_wrapped(normalized, VecMonitor)
    model = sb3_contrib.MaskablePPO(
        "MultiInputPolicy", normalized, n_steps=16, batch_size=64, seed=0
    )
    model.learn(2_000)
    returns = [info["r"] for info in model.ep_info_buffer]
    assert len(returns) == 100
    assert min(returns) > 0  # never a forbidden token
