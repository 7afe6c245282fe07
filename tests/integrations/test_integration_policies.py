"""Dense rewards are the exact expectations under agents of Stable-Baselines3 and of TorchRL."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode

import seqgan
from seqgan.system.errors import ConfigurationError

pytestmark = pytest.mark.integration

WORDS, EOS, LENGTH, NUM_ROLLOUTS = ("a", "b"), 2, 3, 1000
PAD = 4
TOLERANCE = 5 * 0.5 / NUM_ROLLOUTS**0.5


def worth(token_ids):
    """A number in [0, 1]; no two texts share one."""
    return sum((token + 1) * 4.0**-place for place, token in enumerate(token_ids, 1))


def single(**settings):
    return seqgan.make_env(WORDS, worth, max_length=LENGTH, **settings)


def observation_of(prefix):
    tokens = np.array([[*prefix, *[PAD] * (LENGTH - len(prefix))]])
    mask = np.ones((1, 3), dtype=np.int8)
    return {"tokens": tokens, "length": np.array([len(prefix)]), "action_mask": mask}


def exact_value(prefix, weights):
    if prefix[-1:] == (EOS,) or len(prefix) == LENGTH:
        return worth(prefix)
    chances = weights(prefix)
    return sum(
        chance / sum(chances) * exact_value((*prefix, token), weights)
        for token, chance in enumerate(chances)
    )


def check_values(policy, weights):
    """Each prefix of two tokens or less in an episode of its own."""
    env = single(num_envs=9, autoreset_mode=AutoresetMode.DISABLED)
    env = seqgan.dense_reward(env, NUM_ROLLOUTS)
    env.follow(policy)
    first, second = np.repeat([0, 1, 2], 3), np.tile([0, 1, 2], 3)
    env.reset(seed=0)
    values = env.step(first)[1]
    for value, token in zip(values, first.tolist(), strict=True):
        assert value == pytest.approx(exact_value((token,), weights), abs=TOLERANCE)
    values = values + env.step(second)[1]
    for value, one, two in zip(values, first.tolist(), second.tolist(), strict=True):
        prefix = (one,) if one == EOS else (one, two)
        assert value == pytest.approx(exact_value(prefix, weights), abs=TOLERANCE)
    assert len({round(exact_value((one,), weights), 3) for one in (0, 1)}) == 2


class TestStableBaselines3:
    @pytest.mark.parametrize("name", ["PPO", "A2C"])
    def test_an_agent_with_a_distribution_is_drawn_from(self, name):
        agents = pytest.importorskip("stable_baselines3")
        agent = getattr(agents, name)("MultiInputPolicy", single(), seed=0)
        with torch.no_grad():
            for parameter in agent.policy.action_net.parameters():
                parameter.mul_(100)  # far from even

        def weights(prefix):
            seen, _ = agent.policy.obs_to_tensor(observation_of(prefix))
            chances = [agent.policy.evaluate_actions(seen, torch.tensor([a]))[1] for a in range(3)]
            return [float(each.detach().exp()) for each in chances]

        check_values(agent, weights)
        check_values(agent.policy, weights)

    def test_maskable_ppo_obeys_the_mask(self):
        contrib = pytest.importorskip("sb3_contrib")
        env = single(action_mask=[True, False, True])
        agent = contrib.MaskablePPO("MultiInputPolicy", env, n_steps=16, batch_size=16, seed=0)
        dense = seqgan.dense_reward(env, 50, agent)
        seen = set()
        dense.unwrapped.set_reward(lambda token_ids: seen.update(token_ids) or 1.0)
        dense.reset(seed=0)
        dense.step(0)
        assert seen == {0, 2}

    def test_dqn_takes_its_best_action_but_for_its_exploration(self):
        agents = pytest.importorskip("stable_baselines3")
        agent = agents.DQN("MultiInputPolicy", single(), buffer_size=10, seed=0)
        agent.exploration_rate = 0.3

        def weights(prefix):
            seen, _ = agent.policy.obs_to_tensor(observation_of(prefix))
            best = int(agent.q_net(seen).argmax())
            return [0.1 + 0.7 * (action == best) for action in range(3)]

        check_values(agent, weights)

    def test_dense_rewards_follow_the_agent_that_learns(self):
        agents = pytest.importorskip("stable_baselines3")
        env = seqgan.dense_reward(
            seqgan.make_env(WORDS, lambda text: float(text == "a a a"), max_length=4), 200
        )
        agent = agents.PPO("MultiInputPolicy", env, seed=0)
        env.follow(agent)
        with torch.no_grad():
            agent.policy.action_net.weight.zero_()
            agent.policy.action_net.bias.copy_(torch.tensor([0.0, 0.0, 0.0]))
        env.reset(seed=0)
        even = env.step(0)[1]
        with torch.no_grad():
            agent.policy.action_net.bias.copy_(torch.tensor([4.0, 0.0, 0.0]))
        env.reset(seed=0)
        learnt = env.step(0)[1]
        assert even == pytest.approx(1 / 27, abs=0.06)
        assert learnt < 0.1  # the end of the text is as unlikely as any other mistake
        env.step(0)
        assert env.step(0)[1] < 0.1

    def test_an_agent_of_other_observations_is_refused(self):
        agents = pytest.importorskip("stable_baselines3")
        agent = agents.PPO("MlpPolicy", single(observation="one_hot"))
        with pytest.raises(ConfigurationError, match=r"the agent reads Box.*, but the environment"):
            seqgan.dense_reward(single(), 2, agent)

    def test_ppo_learns_from_twelve_lines(self):
        """The reward rises well above that of random texts."""
        agents = pytest.importorskip("stable_baselines3")

        def reward(text):
            return text.split().count("dog") / 6

        words = ["the", "a", "small", "old", "red", "cat", "dog", "bird", "sees", "likes", "and"]
        env = seqgan.dense_reward(seqgan.make_env(words, reward, max_length=6), num_rollouts=8)
        agent = agents.PPO("MultiInputPolicy", env, n_steps=250, batch_size=50, gamma=1.0, seed=0)
        agent.learn(2000)
        assert np.mean([episode["r"] for episode in agent.ep_info_buffer]) > 0.3


class TestTorchrl:
    def network(self):
        torch.manual_seed(0)
        embedding = torch.nn.Embedding(PAD + 1, 3)
        with torch.no_grad():
            embedding.weight.mul_(2)
        return lambda tokens: embedding(tokens).sum(dim=1)

    def weights(self, network):
        def weights(prefix):
            tokens = torch.from_numpy(observation_of(prefix)["tokens"])
            return network(tokens)[0].softmax(dim=0).tolist()

        return weights

    @pytest.mark.parametrize("kind", ["OneHotCategorical", "Categorical"])
    def test_a_probabilistic_actor_is_drawn_from(self, kind):
        modules = pytest.importorskip("torchrl.modules")
        nn = pytest.importorskip("tensordict.nn")
        network = self.network()
        actor = modules.ProbabilisticActor(
            nn.TensorDictModule(network, in_keys=["tokens"], out_keys=["logits"]),
            in_keys=["logits"],
            distribution_class=getattr(modules, kind, torch.distributions.Categorical),
        )
        check_values(actor, self.weights(network))

    def test_of_another_module_the_action_is_taken(self):
        nn = pytest.importorskip("tensordict.nn")

        def one_hot_of_b(tokens, length, action_mask):
            assert length.shape[1] == LENGTH + 1
            assert action_mask.dtype == torch.bool
            return torch.tensor([[0, 1, 0]]).expand(len(tokens), -1)

        keys = ["tokens", "length", "action_mask"]
        policy = nn.TensorDictModule(one_hot_of_b, in_keys=keys, out_keys=["action"])
        env = seqgan.dense_reward(single(), 3, policy)
        env.reset(seed=0)
        assert env.step(0)[1] == pytest.approx(worth((0, 1, 1)))


def test_the_environments_wrappers_and_follow_are_found_through_gymnasiums():
    env = seqgan.dense_reward(single(), 5)
    outer = gymnasium.wrappers.RecordEpisodeStatistics(env)
    outer.get_wrapper_attr("follow")(lambda tokens: [[0, 0, 1]] * len(tokens))
    outer.reset(seed=0)
    assert outer.step(1)[1] == pytest.approx(worth((1, 2)))
