"""The flat layout: zeros and ones by hand, and a plain agent that learns from them."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from torch import nn

from seqgan_envs import TextGenerationEnv, TextGenerationVectorEnv, check
from seqgan_envs.one_hot import ids_of, one_hot

ONE_HOT = "seqgan_envs:seqgan/TextGenerationOneHot-v0"


def test_each_place_has_its_own_numbers():
    env = TextGenerationEnv(words=["a", "b"], max_length=3, observation="one_hot")  # eos is 2
    assert env.observation_space == gymnasium.spaces.Box(0, 1, (9,), np.float32)
    observation, _ = env.reset(seed=0)
    assert observation.dtype == np.float32
    assert observation.tolist() == [0] * 9
    assert env.step(1)[0].tolist() == [0, 1, 0, 0, 0, 0, 0, 0, 0]
    assert env.step(0)[0].tolist() == [0, 1, 0, 1, 0, 0, 0, 0, 0]
    assert env.step(2)[0].tolist() == [0, 1, 0, 1, 0, 0, 0, 0, 1]


def test_a_prompt_stands_behind_the_text_with_its_special_ids():
    # Ids 3 and 4 are special tokens of prompts, 5 is padding.
    arguments = {"words": ["a", "b"], "max_length": 1, "pad_id": 5, "prompts": [[5, 3], [4, 1]]}
    env = TextGenerationEnv(**arguments, observation="one_hot")
    first, _ = env.reset(options={"prompt_index": 0})
    assert first.tolist() == [0, 0, 0, *(0, 0, 0, 0, 0), *(0, 0, 0, 1, 0)]
    env.reset(options={"prompt_index": 1})
    assert env.step(0)[0].tolist() == [1, 0, 0, *(0, 0, 0, 0, 1), *(0, 1, 0, 0, 0)]
    many = TextGenerationVectorEnv(2, **arguments, observation="one_hot")
    together, _ = many.reset(options={"prompt_index": np.array([0, 1])})
    assert together.shape == (2, 13)
    assert together[0].tolist() == first.tolist()


def test_ids_come_back_and_other_numbers_are_found():
    ids = np.array([[2, 0, 5], [5, 5, 1]])
    flat = one_hot(ids, 3)
    assert [ids_of(row, 3, 5).tolist() for row in flat] == ids.tolist()
    flat[0, 0] = 1  # two ids in the first place
    assert ids_of(flat[0], 3, 5).tolist() == [-1, 0, 5]
    assert ids_of(np.full(3, 0.5, np.float32), 3, 5).tolist() == [-1]


def test_an_environment_that_shows_wrong_numbers_breaks_a_promise():
    class Forgetful(TextGenerationEnv):
        def step(self, action):
            observation, *rest = super().step(action)
            return observation * 0, *rest

    with pytest.raises(AssertionError, match="the observed tokens are those emitted"):
        check(Forgetful(observation="one_hot"))


def test_gymnasium_checks_the_registered_environment():
    check_env(gymnasium.make(ONE_HOT).unwrapped)
    check(gymnasium.make(ONE_HOT, prompts=[[1, 2], [13, 0]]), episodes=8)
    vector = gymnasium.make_vec(ONE_HOT, num_envs=3)
    assert isinstance(vector, TextGenerationVectorEnv)
    check(vector, episodes=8)
    for mode in ("sync", "async"):
        envs = gymnasium.make_vec(ONE_HOT, num_envs=2, vectorization_mode=mode)
        assert envs.reset(seed=0)[0].shape == (2, 8 * 13)
        envs.close()


def layer(inputs, outputs, std):
    linear = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(linear.weight, std)
    nn.init.zeros_(linear.bias)
    return linear


class PlainAgent(nn.Module):
    """Two small networks over the observation as it is: what scripts for classic control have."""

    def __init__(self, envs):
        super().__init__()
        size, actions = (
            int(np.prod(envs.single_observation_space.shape)),
            envs.single_action_space.n,
        )
        self.actor = nn.Sequential(layer(size, 32, 1.0), nn.Tanh(), layer(32, actions, 0.01))
        self.critic = nn.Sequential(layer(size, 32, 1.0), nn.Tanh(), layer(32, 1, 1.0))

    def act(self, observation):
        seen = torch.Tensor(observation)
        return torch.distributions.Categorical(logits=self.actor(seen)), self.critic(seen)[:, 0]


@pytest.mark.slow
def test_a_plain_agent_over_single_environments_learns():
    """An actor with a critic of its own, in a loop as CleanRL's scripts have it."""
    torch.manual_seed(0)

    def make():
        env = gymnasium.make(
            ONE_HOT, words=["a", "b", "c", "d"], max_length=4, reward="test_one_hot:counts_up"
        )
        return gymnasium.wrappers.RecordEpisodeStatistics(env)

    envs = gymnasium.vector.SyncVectorEnv([make] * 8)
    agent = PlainAgent(envs)
    optimizer = torch.optim.Adam(agent.parameters(), 1e-2)
    observation, _ = envs.reset(seed=1)
    returns = []
    for _ in range(250):
        logs, values, rewards, ended, entropies = [], [], [], [], []
        for _ in range(10):
            policy, value = agent.act(observation)
            action = policy.sample()
            logs.append(policy.log_prob(action))
            entropies.append(policy.entropy())
            values.append(value)
            observation, reward, terminated, truncated, infos = envs.step(action.numpy())
            rewards.append(torch.Tensor(reward))
            ended.append(torch.Tensor(np.logical_or(terminated, truncated)))
            if "episode" in infos:
                returns += infos["episode"]["r"][infos["_episode"]].tolist()
        with torch.no_grad():
            following = agent.act(observation)[1]
        targets = []
        for step in reversed(range(10)):
            following = rewards[step] + (1 - ended[step]) * following
            targets.insert(0, following)
        advantages = torch.stack(targets) - torch.stack(values)
        loss = (
            -(torch.stack(logs) * advantages.detach()).mean()
            + 0.5 * advantages.square().mean()
            - 0.01 * torch.stack(entropies).mean()
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    envs.close()
    assert np.mean(returns[:100]) < 0.4
    assert np.mean(returns[-100:]) > 0.9  # "a b c d" alone earns 1


def counts_up(tokens, lengths, prompts):
    """The share of places that hold their own number."""
    return (tokens == np.arange(tokens.shape[1])).mean(axis=1)
