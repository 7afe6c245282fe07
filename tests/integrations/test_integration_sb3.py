"""Stable-Baselines3 and sb3-contrib, for real and small. `make test-integrations` installs them."""

import warnings

import gymnasium
import numpy as np
import pytest
import torch

import seqgan_envs
from seqgan_envs import TextGenerationEnv

pytestmark = pytest.mark.integration
stable_baselines3 = pytest.importorskip("stable_baselines3")
sb3_contrib = pytest.importorskip("sb3_contrib")
check_env = pytest.importorskip("stable_baselines3.common.env_checker").check_env
make_vec_env = pytest.importorskip("stable_baselines3.common.env_util").make_vec_env
TokenFeatures = pytest.importorskip("seqgan.integrations.sb3").TokenFeatures

gymnasium.register_envs(seqgan_envs)
ENV_ID = "seqgan_envs:seqgan/TextGeneration-v0"
POLICIES = {"dict": "MultiInputPolicy", "tokens": "MlpPolicy"}


def counts_first_word(tokens, lengths, prompts):
    """The share of places that hold word 0: an agent that learns anything learns this."""
    return (tokens == 0).sum(axis=1) / tokens.shape[1]


# Word 3 follows word 0, and so on: what to write depends on the word before, and its number is
# no help.
FOLLOWS = np.array([3, 6, 0, 7, 1, 2, 5, 4])


def follows_the_word_before(tokens, lengths, prompts):
    """The share of neighbouring words that are in FOLLOWS."""
    return (FOLLOWS[np.minimum(tokens[:, :-1], 7)] == tokens[:, 1:]).mean(axis=1)


def repeats_the_prompt(tokens, lengths, prompts):
    return (tokens == prompts).mean(axis=1)


def small_env(**arguments):
    defaults = {"words": ["a", "b", "c"], "max_length": 5, "eos": False}
    return TextGenerationEnv(**defaults | {"reward": counts_first_word} | arguments)


def mean_return(model, env, episodes=50):
    """Mean return of actions drawn from the policy, masked where it knows masks."""
    masked = isinstance(model, sb3_contrib.MaskablePPO)
    total = 0.0
    for episode in range(episodes):
        observation, _ = env.reset(seed=episode)
        ended = False
        while not ended:
            known = {"action_masks": env.action_masks()} if masked else {}
            action, _ = model.predict(observation, **known)
            observation, reward, ended, _, _ = env.step(action)
            total += float(reward)
    return total / episodes


@pytest.mark.parametrize("observation", ["dict", "tokens"])
@pytest.mark.parametrize("prompts", [None, [[3, 1], [2, 0]]])
def test_stable_baselines3_checks_the_environment(observation, prompts):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # It warns that an observation holds int64 token ids; nothing else may be said.
        warnings.filterwarnings("ignore", message=".*Your observation.*")
        check_env(gymnasium.make(ENV_ID, observation=observation).unwrapped)
        check_env(small_env(observation=observation, prompts=prompts))


@pytest.mark.parametrize("observation", ["dict", "tokens"])
def test_ppo_learns_to_repeat_a_word(observation):
    env = small_env(observation=observation)
    model = stable_baselines3.PPO(
        POLICIES[observation], env, n_steps=256, batch_size=64, seed=0, learning_rate=3e-3
    )
    before = mean_return(model, env)
    model.learn(3072)
    after = mean_return(model, env)
    assert after > before + 0.3, (before, after)


def test_infos_of_episodes_come_through_a_vec_env():
    def parts(tokens, lengths, prompts):
        return lengths * 1.0, {"lengths": lengths}

    arguments = {"words": ["a", "b"], "eos": True, "max_length": 3, "reward": parts}
    env = make_vec_env(lambda: small_env(**arguments), n_envs=3, seed=0)
    env.reset()
    _, rewards, ended, infos = env.step(np.array([0, 2, 1]))
    assert (rewards.tolist(), ended.tolist()) == ([0, 1, 0], [False, True, False])
    assert infos[1]["token_ids"] == (2,)
    assert infos[1]["reward_components"] == {"lengths": 1.0}
    assert infos[1]["episode"]["l"] == 1
    assert infos[1]["terminal_observation"]["tokens"].tolist() == [2, 3, 3]
    assert infos[1]["TimeLimit.truncated"] is False
    assert "text" not in infos[0]


@pytest.mark.parametrize("features", [None, TokenFeatures])
def test_maskable_ppo_learns_and_never_chooses_a_forbidden_word(features):
    def not_twice(tokens, lengths, prompts):
        masks = np.ones((len(tokens), 3), dtype=bool)
        started = np.flatnonzero(lengths)
        masks[started, tokens[started, lengths[started] - 1]] = False
        return masks

    env = small_env(action_mask=not_twice, invalid_action_penalty=-5.0)
    policy = {} if features is None else {"features_extractor_class": features}
    model = sb3_contrib.MaskablePPO(
        "MultiInputPolicy",
        gymnasium.wrappers.RecordEpisodeStatistics(env),
        n_steps=256,
        batch_size=64,
        learning_rate=3e-3,
        seed=0,
        policy_kwargs=policy,
    )
    before = mean_return(model, env)
    model.learn(4096)  # half of that leaves TokenFeatures at 0.45, from 0.37
    # The best is "a b a b a" and its like: 0.6. Any forbidden word would cost 5.
    assert mean_return(model, env) > max(before + 0.1, 0.55)
    assert before >= 0.0


def chain_env():
    words = [f"w{index}" for index in range(len(FOLLOWS))]
    return small_env(words=words, max_length=6, reward=follows_the_word_before)


def learned(env, steps, **policy):
    model = stable_baselines3.PPO(
        "MultiInputPolicy",
        env,
        n_steps=512,
        batch_size=256,
        n_epochs=8,
        learning_rate=4e-3,
        gamma=1.0,
        seed=0,
        policy_kwargs=policy,
    )
    model.learn(steps)
    return mean_return(model, env)


def test_ppo_learns_what_follows_a_word_with_an_embedding_and_not_without():
    plain = learned(chain_env(), 4096)
    embedded = learned(chain_env(), 4096, features_extractor_class=TokenFeatures)
    assert embedded > plain + 0.25, (plain, embedded)


def test_token_features_read_the_prompt():
    prompts = [[0, 1], [1, 2], [2, 0]]
    env = small_env(max_length=2, reward=repeats_the_prompt, prompts=prompts)
    # Without a look at the prompt no policy earns more than 1/3.
    after = learned(env, 2048, features_extractor_class=TokenFeatures)
    assert after > 0.6, after


def as_seen(env, tokens, prompt=()):
    """What the extractor gets after the tokens: floats, as Stable-Baselines3 passes them."""
    rows = torch.full((1, env.rules.max_length), float(env.rules.pad_id))
    rows[0, : len(tokens)] = torch.tensor(tokens, dtype=torch.float32)
    if env.rules.observation == "tokens":
        return rows
    return {"tokens": rows, "prompt": torch.tensor([prompt], dtype=torch.float32)}


def features_of(extractor, env, tokens, prompt=(3, 0)):
    with torch.no_grad():
        return extractor(as_seen(env, tokens, prompt))[0]


@pytest.mark.parametrize("observation", ["dict", "tokens"])
def test_token_features_by_value(observation):
    torch.manual_seed(0)
    env = small_env(observation=observation, prompts=[[3, 0], [1, 2]], pad_id=7)
    extractor = TokenFeatures(env.observation_space, features_dim=6, embedding_size=5)
    assert extractor.features_dim == 6
    assert extractor.embedding.weight.shape == (8, 5)
    prompt = [3, 0] if observation == "dict" else []
    # One step of the GRU after the other, without any padding.
    for tokens in ([], [2], [2, 0, 1], [1, 1, 1, 1, 0]):
        state = torch.zeros(1, 1, 6)
        for token in [7, *prompt, *tokens]:
            _, state = extractor.gru(extractor.embedding(torch.tensor([[token]])), state)
        share = torch.tensor([[len(tokens) / 5]])
        expected = extractor.project(torch.cat([state[0], share], dim=1))[0]
        found = features_of(extractor, env, tokens, prompt)
        assert found.shape == (6,)
        assert torch.allclose(found, expected, atol=1e-6)
    one, other = ([0, 1, 2], [1, 0, 2])
    assert not torch.allclose(features_of(extractor, env, one), features_of(extractor, env, other))


def test_token_features_of_a_batch_are_those_of_its_rows():
    torch.manual_seed(0)
    env = small_env(observation="tokens")
    extractor = TokenFeatures(env.observation_space)
    rows = [as_seen(env, tokens) for tokens in ([], [0, 1], [2, 2, 1, 0, 1])]
    together = extractor(torch.cat(rows))
    for row, features in zip(rows, together, strict=True):
        assert torch.allclose(extractor(row)[0], features, atol=1e-6)


def test_token_features_refuse_another_space():
    for space in (
        gymnasium.spaces.Discrete(3),
        gymnasium.spaces.Dict({"length": gymnasium.spaces.Discrete(3)}),
        gymnasium.spaces.Box(0, 1, (2, 2)),
    ):
        with pytest.raises(ValueError, match="TokenFeatures reads those of TextGenerationE"):
            TokenFeatures(space)
