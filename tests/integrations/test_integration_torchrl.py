"""TorchRL, for real and small: specs, masks and a collector, with and without a vector environment.

TorchRL reads a vector environment with `AutoresetMode.DISABLED`; it refuses NEXT_STEP, and in
SAME_STEP its reader knows neither observations that are dicts nor `token_ids` of several lengths.
"""

import gymnasium
import numpy as np
import pytest
import torch

import seqgan_envs

pytestmark = pytest.mark.integration
collectors = pytest.importorskip("torchrl.collectors")
envs = pytest.importorskip("torchrl.envs")
nn = pytest.importorskip("tensordict.nn")

gymnasium.register_envs(seqgan_envs)
ENV_ID = "seqgan_envs:seqgan/TextGeneration-v0"
V, L, PAD = 4, 3, 4


def positional_reward(tokens, lengths, prompts):
    """The tokens as digits of a number in base 5, first token first, padding as 4."""
    return (tokens * 5 ** np.arange(L)[::-1]).sum(axis=1) / 100


def forbid_last_token(tokens, lengths, prompts):
    masks = np.ones((len(tokens), V), dtype=bool)
    started = np.flatnonzero(lengths)
    masks[started, tokens[started, lengths[started] - 1]] = False
    return masks


ARGUMENTS = {
    "words": ["a", "b", "c"],
    "max_length": L,
    "reward": positional_reward,
    "action_mask": forbid_last_token,
}


def single_env(**arguments):
    return envs.GymEnv(ENV_ID, **ARGUMENTS | arguments)


def vector_env(**arguments):
    env = gymnasium.make_vec(ENV_ID, num_envs=3, autoreset_mode="Disabled", **ARGUMENTS | arguments)
    return envs.GymWrapper(env)


def check_rollout(data, num_rows):
    """Every transition, against what the tokens say; returns how many episodes ended."""
    data = data.reshape(num_rows, -1)
    actions = data["action"].argmax(dim=-1)
    ended = 0
    for row in range(num_rows):
        emitted = []
        for step in range(data.shape[1]):
            now = data[row, step]
            assert now["tokens"].tolist() == emitted + [PAD] * (L - len(emitted))
            assert now["length"].argmax() == len(emitted)
            action = int(actions[row, step])
            assert now["action_mask"][action]
            assert now["action_mask"].tolist() == [
                not emitted or token != emitted[-1] for token in range(V)
            ]
            emitted.append(action)
            after = now["next"]
            assert after["tokens"].tolist() == emitted + [PAD] * (L - len(emitted))
            done = action == 3 or len(emitted) == L
            assert bool(after["terminated"]) is bool(after["done"]) is done
            assert not after["truncated"]
            reward = positional_reward(after["tokens"][None].numpy(), None, None)[0]
            assert after["reward"].item() == pytest.approx(reward if done else 0.0)
            emitted, ended = ([], ended + 1) if done else (emitted, ended)
    return ended


@pytest.mark.parametrize("make", [single_env, vector_env])
@pytest.mark.parametrize("observation", ["dict", "tokens"])
@pytest.mark.parametrize("prompts", [None, [[4, 1], [2, 0]]])
def test_specs_hold(make, observation, prompts):
    env = make(observation=observation, prompts=prompts, action_mask=None)
    env.set_seed(0)
    envs.check_env_specs(env)
    data = env.rollout(9, break_when_any_done=False)
    tokens = data["observation" if observation == "tokens" else "tokens"]
    assert tokens.shape == (*env.batch_size, 9, L)
    assert data["action"].shape == (*env.batch_size, 9, V)
    if observation == "dict" and prompts is not None:
        seen = {tuple(prompt) for prompt in data["prompt"].reshape(-1, 2).tolist()}
        assert seen == {(4, 1), (2, 0)}


@pytest.mark.parametrize(("make", "num_rows"), [(single_env, 1), (vector_env, 3)])
def test_rollout_with_action_mask_by_value(make, num_rows):
    env = envs.TransformedEnv(make(), envs.ActionMask())
    env.set_seed(0)
    data = env.rollout(40, break_when_any_done=False)
    assert check_rollout(data, num_rows) >= 12 * num_rows


def draw_what_is_allowed(mask):
    """A policy that reads the mask where it is, in the observation."""
    return torch.nn.functional.one_hot(torch.distributions.Categorical(mask.float()).sample(), V)


@pytest.mark.parametrize(("make", "num_rows"), [(single_env, 1), (vector_env, 3)])
def test_collector_goes_on_where_it_stopped(make, num_rows):
    policy = nn.TensorDictModule(draw_what_is_allowed, in_keys=["action_mask"], out_keys=["action"])
    collector = collectors.Collector(
        make,
        policy,
        frames_per_batch=10 * num_rows,
        total_frames=40 * num_rows,
        auto_register_policy_transforms=False,
    )
    batches = [batch.clone().reshape(num_rows, -1) for batch in collector]
    collector.shutdown()
    assert len(batches) == 4
    assert check_rollout(torch.cat(batches, dim=1), num_rows) >= 12 * num_rows
