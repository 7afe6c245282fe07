"""Other people's libraries, for real and small. `make test-integrations` installs them."""

import warnings

import gymnasium
import numpy as np
import pytest

import seqgan_envs

pytestmark = pytest.mark.integration

gymnasium.register_envs(seqgan_envs)
ENV_ID = "seqgan_envs:seqgan/TextGeneration-v0"


def counts_first_word(tokens: np.ndarray, lengths: np.ndarray, prompts: object) -> np.ndarray:
    """The share of places that hold word 0: an agent that learns anything learns this."""
    return (tokens == 0).sum(axis=1) / tokens.shape[1]


def make_env(**arguments: object) -> gymnasium.Env:
    return gymnasium.make(
        ENV_ID,
        words=["a", "b", "c"],
        max_length=5,
        eos=False,
        reward="tests.test_integrations:counts_first_word",
        **arguments,
    )


def test_stable_baselines3_checks_the_environment() -> None:
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # It warns that a Dict observation holds int64 token ids; nothing else may be said.
        warnings.filterwarnings("ignore", message=".*Your observation.*")
        checker.check_env(make_env().unwrapped)


def test_ppo_learns_to_repeat_a_word() -> None:
    stable_baselines3 = pytest.importorskip("stable_baselines3")
    model = stable_baselines3.PPO(
        "MultiInputPolicy", make_env(), n_steps=256, batch_size=64, seed=0, learning_rate=3e-3
    )
    before = mean_return(model)
    model.learn(4096)
    after = mean_return(model)
    assert after > before + 0.3, (before, after)


def test_maskable_ppo_never_chooses_a_forbidden_word() -> None:
    sb3_contrib = pytest.importorskip("sb3_contrib")
    env = make_env(action_mask=[True, False, True], invalid_action_penalty=-5.0)
    model = sb3_contrib.MaskablePPO("MultiInputPolicy", env, n_steps=128, batch_size=64, seed=0)
    model.learn(512)
    for episode in range(20):
        observation, info = env.reset(seed=episode)
        ended = False
        while not ended:
            action, _ = model.predict(observation, action_masks=env.unwrapped.action_masks())
            observation, _, ended, _, info = env.step(action)
            assert not info.get("invalid_action", False)
            assert int(action) != 1


def mean_return(model: object, episodes: int = 50) -> float:
    env = make_env()
    total = 0.0
    for episode in range(episodes):
        observation, _ = env.reset(seed=episode)
        ended = False
        while not ended:
            action, _ = model.predict(observation)  # type: ignore[attr-defined]
            observation, reward, ended, _, _ = env.step(action)
            total += float(reward)
    return total / episodes
