"""tianshou, for real and small: a Collector by value, and Q-learning that reads the masks."""

import numpy as np
import pytest
import torch
from torch import nn

from seqgan_envs import TextGenerationEnv
from seqgan_envs.tianshou import ForTianshou

pytestmark = pytest.mark.integration
data = pytest.importorskip("tianshou.data")
dqn = pytest.importorskip("tianshou.algorithm.modelfree.dqn")
optim = pytest.importorskip("tianshou.algorithm.optim")
trainer = pytest.importorskip("tianshou.trainer")
venvs = pytest.importorskip("tianshou.env")

TARGET = np.array([0, 2, 0, 2, 2])


def matches_the_target(tokens, lengths, prompts):
    """Share of the places that hold the target's word, and that of each half as parts."""
    right = tokens == TARGET
    return right.mean(axis=1), {"early": right[:, :2].mean(axis=1)}


def forbid_three_in_a_row(tokens, lengths, prompts):
    """No word a third time in a row, and never word 1; V is 3."""
    masks = np.tile([True, False, True], (len(tokens), 1))
    for row, length in enumerate(lengths):
        last = tokens[row, max(0, length - 2) : length]
        if len(last) == 2 and last[0] == last[1]:
            masks[row, last[0]] = False
    return masks


def make_env():
    return ForTianshou(
        TextGenerationEnv(
            words=["a", "b", "c"],
            eos=False,
            max_length=5,
            action_mask=forbid_three_in_a_row,
            reward=matches_the_target,
        )
    )


class Network(nn.Module):
    """Action values of the tokens so far."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(4, 8)
        self.layers = nn.Sequential(nn.Linear(40, 64), nn.ReLU(), nn.Linear(64, 3))

    def forward(self, observations, state=None, info=None):
        tokens = torch.as_tensor(observations.tokens).long()
        return self.layers(self.embedding(tokens).flatten(1)), state


def make_algorithm(env, random_share=0.0):
    policy = dqn.DiscreteQLearningPolicy(
        model=Network(),
        action_space=env.action_space,
        observation_space=env.observation_space,
        eps_training=0.3,
        eps_inference=random_share,
    )
    optimizer = optim.AdamOptimizerFactory(lr=3e-3)
    return dqn.DQN(policy=policy, optim=optimizer, gamma=1.0, target_update_freq=50)


@pytest.fixture
def seeded():
    # tianshou draws from both global states.
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002


def test_collector_sees_what_the_environment_says(seeded):
    env = make_env()
    buffer = data.VectorReplayBuffer(400, 3)
    collector = data.Collector(
        make_algorithm(env, random_share=1.0),
        venvs.DummyVectorEnv([make_env] * 3),
        buffer,
        exploration_noise=True,
    )
    collector.reset()
    stats = collector.collect(n_episode=12)
    assert (stats.lens == 5).all()  # a forbidden action would have ended the episode earlier
    batch = buffer[:]
    ended = np.flatnonzero(batch.terminated)
    assert len(ended) == 12
    texts = batch.obs_next.obs.tokens[ended]
    assert len({tuple(text) for text in texts.tolist()}) > 4
    assert batch.rew[ended] == pytest.approx((texts == TARGET).mean(axis=1))
    assert np.all(batch.rew[~batch.terminated] == 0)
    assert sorted(stats.returns) == pytest.approx(sorted(batch.rew[ended]))
    allowed = batch.obs.mask[np.arange(len(batch)), batch.act]
    assert allowed.all()
    assert batch.obs.mask.min() == 0
    early = batch.info.reward_components.early[ended]
    assert early == pytest.approx((texts == TARGET)[:, :2].mean(axis=1))


def test_q_learning_writes_the_target(seeded):
    env = make_env()
    algorithm = make_algorithm(env)
    training = data.Collector(
        algorithm,
        venvs.DummyVectorEnv([make_env] * 4),
        data.VectorReplayBuffer(4000, 4),
        exploration_noise=True,
    )
    evaluation = data.Collector(algorithm, venvs.DummyVectorEnv([make_env]))
    evaluation.reset()
    before = evaluation.collect(n_episode=1).returns.mean()
    algorithm.run_training(
        trainer.OffPolicyTrainerParams(
            training_collector=training,
            max_epochs=2,
            epoch_num_steps=1000,
            collection_step_num_env_steps=20,
            update_step_num_gradient_steps_per_sample=0.2,
            show_progress=False,
            verbose=False,
        )
    )
    evaluation.reset()
    after = evaluation.collect(n_episode=1).returns.mean()
    assert before <= 0.6
    assert after == 1.0


def test_the_layout_keeps_members_and_needs_a_mask():
    env = ForTianshou(TextGenerationEnv(words=["a", "b"], max_length=2, prompts=[[3, 1]]))
    observation, info = env.reset(seed=0)
    assert observation in env.observation_space
    assert observation["obs"].keys() == {"tokens", "length", "prompt"}
    assert observation["mask"].tolist() == info["action_mask"].tolist() == [1, 1, 1]
    observation, reward, terminated, truncated, info = env.step(2)
    assert observation["obs"]["tokens"].tolist() == [2, 3]
    assert (reward, terminated, truncated) == (0.5, True, False)
    assert info.keys() == {"action_mask", "invalid_action"}
    with pytest.raises(ValueError, match="the observation has no 'action_mask'"):
        ForTianshou(TextGenerationEnv(observation="tokens"))
