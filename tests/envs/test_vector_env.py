"""The vector environment: equal to single ones step for step, and its own batch rules."""

import re

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.utils.passive_env_checker import data_shares_objects
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics

from seqgan_envs import TextGenerationEnv, TextGenerationVectorEnv

ENV_ID = "seqgan_envs:seqgan/TextGeneration-v0"
WORDS = ["a", "b", "c"]
NUM_ENVS = 3


def positional_reward(tokens, lengths, prompts):
    """The tokens as digits of a number in base 10, first token first: no two texts share one."""
    return [int("".join(map(str, row[:n]))) for row, n in zip(tokens, lengths, strict=True)]


def reward_with_parts(tokens, lengths, prompts):
    """Parts that no two texts share.

    `long` applies to texts of 3 tokens, `seldom` to those that begin with token 1.
    """
    rewards = np.array(positional_reward(tokens, lengths, prompts), dtype=float)
    return rewards, {
        "first": tokens[:, 0] + rewards / 1000,
        "long": np.where(lengths == 3, rewards + 0.5, np.nan),
        "seldom": np.where(tokens[:, 0] == 1, -rewards, np.nan),
    }


def forbid_last_token(tokens, lengths, prompts):
    """Any token but the one before; V is 4."""
    masks = np.ones((len(tokens), 4), dtype=bool)
    started = np.flatnonzero(lengths)
    masks[started, tokens[started, lengths[started] - 1]] = False
    return masks


class Recorder:
    """A reward function that remembers what it was called with."""

    def __init__(self):
        self.calls = []

    def __call__(self, tokens, lengths, prompts):
        self.calls.append((tokens.tolist(), lengths.tolist(), prompts))
        return positional_reward(tokens, lengths, prompts)


def small_env(**arguments):
    defaults = {"words": WORDS, "max_length": 3, "reward": positional_reward}
    return TextGenerationVectorEnv(NUM_ENVS, **defaults | arguments)


def without_masks(infos):
    """Infos as the vector environment gives them: the action mask is in its observation."""
    return {
        key: without_masks(value) if isinstance(value, dict) else value
        for key, value in infos.items()
        if key not in ("action_mask", "_action_mask")
    }


def assert_same_step(native, sync):
    *native_arrays, native_infos = native
    *sync_arrays, sync_infos = sync
    assert data_equivalence(tuple(native_arrays), tuple(sync_arrays), exact=True)
    assert data_equivalence(native_infos, without_masks(sync_infos), exact=True)


def row_of(observation, row):
    return {name: member[row] for name, member in observation.items()}


def pair(mode, **arguments):
    """The native environment and Gymnasium's loop over single ones."""
    arguments = {"words": WORDS, "max_length": 3, "reward": positional_reward} | arguments
    sync = SyncVectorEnv(
        [lambda: TextGenerationEnv(**arguments) for _ in range(NUM_ENVS)], autoreset_mode=mode
    )
    return TextGenerationVectorEnv(NUM_ENVS, **arguments, autoreset_mode=mode), sync


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("observation", ["dict", "tokens", "one_hot"])
@pytest.mark.parametrize("mask", [None, [True, False, True, True], forbid_last_token])
@pytest.mark.parametrize("prompts", [None, [[4, 2]]])
def test_equals_single_environments_step_for_step(mode, observation, mask, prompts):
    native, sync = pair(mode, observation=observation, action_mask=mask, prompts=prompts)
    assert native.observation_space == sync.observation_space
    assert native.action_space == sync.action_space
    assert native.metadata == sync.metadata
    assert_same_step(native.reset(seed=0), sync.reset(seed=0))
    rng = np.random.default_rng(1)
    endings = np.zeros(NUM_ENVS, dtype=int)
    for _ in range(60):
        actions = rng.integers(4, size=NUM_ENVS)
        native_step, sync_step = native.step(actions), sync.step(actions)
        assert_same_step(native_step, sync_step)
        assert np.array_equal(native.action_masks(), [env.action_masks() for env in sync.envs])
        ended = native_step[2]
        endings += ended
        if mode is AutoresetMode.DISABLED and ended.any():
            assert_same_step(
                native.reset(options={"reset_mask": ended}),
                sync.reset(options={"reset_mask": ended}),
            )
    assert endings.min() >= 5


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("mask", [None, forbid_last_token])
def test_reward_parts_equal_those_of_single_environments(mode, mask):
    native, sync = pair(mode, reward=reward_with_parts, action_mask=mask)
    assert_same_step(native.reset(seed=0), sync.reset(seed=0))
    rng = np.random.default_rng(1)
    present, partly = set(), 0
    for _ in range(80):
        actions = rng.integers(4, size=NUM_ENVS)
        native_step = native.step(actions)
        assert_same_step(native_step, sync.step(actions))
        infos = native_step[4]
        infos = infos.get("final_info", {}) if mode is AutoresetMode.SAME_STEP else infos
        present |= infos.get("reward_components", {}).keys()
        partly += not np.all(infos.get("_reward_components", True))
        ended = native_step[2]
        if mode is AutoresetMode.DISABLED and ended.any():
            options = {"reset_mask": ended}
            assert_same_step(native.reset(options=options), sync.reset(options=options))
    assert present == {"first", "_first", "long", "_long", "seldom", "_seldom"}
    assert partly > 5


def test_reward_parts_by_hand():
    env = small_env(
        reward=reward_with_parts,
        action_mask=forbid_last_token,
        autoreset_mode=AutoresetMode.DISABLED,
    )
    env.reset(seed=0)
    *_, infos = env.step([0, 1, 3])
    assert infos["_reward_components"].tolist() == [False, False, True]
    assert infos["reward_components"].keys() == {"first", "_first"}
    assert infos["reward_components"]["first"].tolist() == [0, 0, 3.003]
    assert infos["reward_components"]["_first"].tolist() == [False, False, True]
    *_, infos = env.step([1, 1, 0])  # the second of row 1 is forbidden: ended, and not judged
    assert infos["_text"].tolist() == [False, True, False]
    assert "reward_components" not in infos
    *_, infos = env.step([2, 0, 0])
    assert infos["_reward_components"].tolist() == [True, False, False]
    components = {name: values.tolist() for name, values in infos["reward_components"].items()}
    assert components == {
        "first": [0.012, 0, 0],
        "_first": [True, False, False],
        "long": [12.5, 0, 0],
        "_long": [True, False, False],
    }


def test_reward_parts_share_no_memory_with_the_reward_function():
    part = np.full(3, 2.0)
    env = small_env(reward=lambda *_: (np.zeros(3), {"part": part}))
    env.reset(seed=0)
    *_, infos = env.step([3, 3, 3])
    infos["reward_components"]["part"].fill(7)
    assert part.tolist() == [2.0, 2.0, 2.0]


@pytest.mark.parametrize("eos", [True, False])
@pytest.mark.parametrize("mask", [None, [True, True, False, True], forbid_last_token])
@pytest.mark.parametrize("prompts", [None, [[4, 2], [0, 1], [4, 4]]])
def test_rows_out_of_step_equal_single_environments(eos, mask, prompts):
    arguments = {
        "words": WORDS if eos else [*WORDS, "d"],
        "eos": eos,
        "max_length": 9,
        "reward": positional_reward,
        "action_mask": mask,
        "prompts": prompts,
        "render_mode": "ansi",
    }
    num_envs = 5
    native = TextGenerationVectorEnv(num_envs, **arguments, autoreset_mode="Disabled")
    singles = [TextGenerationEnv(**arguments) for _ in range(num_envs)]
    rng = np.random.default_rng(0)
    going = np.zeros(num_envs, dtype=bool)
    endings = set()
    for _ in range(300):
        starting = ~going & (rng.random(num_envs) < 0.5)
        if starting.any():
            options = {"reset_mask": starting}
            indices = rng.integers(3, size=num_envs)
            if prompts is not None:
                options["prompt_index"] = indices
            observation, _ = native.reset(options=options)
            for row in np.flatnonzero(starting):
                chosen = None if prompts is None else {"prompt_index": indices[row]}
                expected, info = singles[row].reset(options=chosen)
                assert data_equivalence(row_of(observation, row), expected, exact=True)
                assert info["action_mask"].tolist() == expected["action_mask"].tolist()
            going |= starting
        # Action 3 is eos where there is one; a repeated token may be forbidden: both seldom, so
        # that texts of every length occur.
        actions = rng.choice(4, size=num_envs, p=[0.45, 0.45, 0.02, 0.08])
        observation, rewards, terminated, _, infos = native.step(actions)
        texts = native.render()
        for row in np.flatnonzero(going):
            expected, reward, ended, _, info = singles[row].step(actions[row])
            assert data_equivalence(row_of(observation, row), expected, exact=True)
            assert (rewards[row], terminated[row], texts[row]) == (
                reward,
                ended,
                singles[row].render(),
            )
            assert info["action_mask"].tolist() == expected["action_mask"].tolist()
            for key in ("text", "token_ids", "invalid_action"):
                assert (key in info) == ended
                if ended:
                    assert infos[f"_{key}"][row]
                    assert infos[key][row] == info[key]
            if ended:
                endings.add((info["invalid_action"], int(expected["length"])))
        going &= ~terminated
    assert len(endings) >= (6 if mask or eos else 1)


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP])
def test_one_row_draws_the_prompts_of_a_single_environment(mode):
    arguments = {"words": WORDS, "max_length": 2, "prompts": [[0], [1], [2], [3]]}
    native = TextGenerationVectorEnv(1, **arguments, autoreset_mode=mode)
    sync = SyncVectorEnv([lambda: TextGenerationEnv(**arguments)], autoreset_mode=mode)
    assert_same_step(native.reset(seed=3), sync.reset(seed=3))
    for _ in range(30):
        assert_same_step(native.step([0]), sync.step(np.array([0])))


def test_forced_tokens_by_hand():
    env = small_env(autoreset_mode=AutoresetMode.DISABLED)
    env.reset(seed=0)
    steps = [env.step(actions) for actions in ([0, 1, 2], [2, 3, 1], [1, 0, 0])]
    assert [step[1].tolist() for step in steps] == [[0, 0, 0], [0, 13, 0], [21, 0, 210]]
    assert [step[2].tolist() for step in steps] == [
        [False, False, False],
        [False, True, False],
        [True, True, True],
    ]
    assert not any(step[3].any() for step in steps)
    observation, *_, infos = steps[2]
    assert observation["tokens"].tolist() == [[0, 2, 1], [1, 3, 4], [2, 1, 0]]
    assert observation["length"].tolist() == [3, 2, 3]
    assert infos["text"].tolist() == ["a c b", None, "c b a"]
    assert infos["token_ids"].tolist() == [(0, 2, 1), None, (2, 1, 0)]
    assert infos["_text"].tolist() == infos["_token_ids"].tolist() == [True, False, True]
    assert steps[1][4]["text"].tolist() == [None, "b", None]
    assert steps[0][4] == {}


def test_reward_sees_the_ended_rows_in_one_call_and_no_forbidden_ones():
    reward = Recorder()
    env = small_env(
        reward=reward, action_mask=forbid_last_token, autoreset_mode=AutoresetMode.DISABLED
    )
    env.reset(seed=0)
    env.step([0, 1, 2])
    assert reward.calls == []
    *_, infos = env.step([3, 1, 3])
    assert reward.calls == [([[0, 3, 4], [2, 3, 4]], [2, 2], None)]
    assert infos["invalid_action"].tolist() == [False, True, False]
    assert infos["_invalid_action"].tolist() == [True, True, True]
    assert infos["text"].tolist() == ["a", "b", "c"]


def test_waiting_rows_ignore_their_action_and_stay_terminated():
    reward = Recorder()
    env = small_env(reward=reward, autoreset_mode=AutoresetMode.DISABLED)
    env.reset(seed=0)
    env.step([3, 0, 3])
    for far_away in (-5, 10**6):
        observation, rewards, terminated, _, infos = env.step([far_away, 1, far_away])
        assert observation["tokens"][[0, 2]].tolist() == [[3, 4, 4], [3, 4, 4]]
        assert terminated[[0, 2]].tolist() == [True, True]
        assert rewards[[0, 2]].tolist() == [0, 0]
    assert infos["_text"].tolist() == [False, True, False]
    assert env.step([9, 9, 9])[1:] == (
        pytest.approx([0, 0, 0]),
        pytest.approx([True] * 3),
        pytest.approx([False] * 3),
        {},
    )
    assert len(reward.calls) == 2


def test_partial_reset_keeps_the_other_rows_and_the_options():
    env = small_env(prompts=[[0], [1], [2]], autoreset_mode=AutoresetMode.DISABLED)
    env.reset(options={"prompt_index": np.array([2, 1, 0])})
    env.step([0, 3, 2])
    mask, indices = np.array([False, True, False]), np.array([0, 2, 1])
    options = {"reset_mask": mask, "prompt_index": indices}
    observation, infos = env.reset(options=options)
    assert observation["tokens"].tolist() == [[0, 4, 4], [4, 4, 4], [2, 4, 4]]
    assert observation["prompt"].tolist() == [[2], [2], [0]]
    assert infos == {}
    assert options == {"reset_mask": mask, "prompt_index": indices}
    assert mask.tolist() == [False, True, False]
    assert env.step([1, 1, 1])[2].tolist() == [False, False, False]


@pytest.mark.parametrize(
    "mask",
    [np.zeros(3, dtype=bool), np.ones(2, dtype=bool), np.ones(3), np.ones((3, 1), dtype=bool)],
)
def test_unusable_reset_mask_raises(mask):
    env = small_env()
    with pytest.raises(ValueError, match=r"^reset_mask is .* must be booleans of shape \(3,\)"):
        env.reset(options={"reset_mask": mask})


@pytest.mark.parametrize("indices", [[0, 1], [0, 1, 2], [0.0, 1.0, 0.0], 0])
def test_unusable_prompt_index_raises(indices):
    env = small_env(prompts=[[0], [1]])
    with pytest.raises(ValueError, match="prompt_index is"):
        env.reset(options={"prompt_index": indices})


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        ([0, 4, 0], "action 4 in row 1 is none: it must be an integer from 0 to 3"),
        ([0, 0, -1], "action -1 in row 2 is none: it must be an integer from 0 to 3"),
        ([0, 1], "actions have shape (2,), but must have shape (3,)"),
        ([[0, 1, 2]], "actions have shape (1, 3), but must have shape (3,)"),
        ([0.0, 1.0, 2.0], "actions are float64, but must be integers: [0. 1. 2.]"),
        ([True, True, True], "actions are bool, but must be integers: "),
    ],
)
def test_unusable_actions_raise_and_change_nothing(actions, message):
    env = small_env()
    env.reset(seed=0)
    env.step([0, 1, 2])
    with pytest.raises(ValueError, match=re.escape(message)):
        env.step(actions)
    assert env.step([0, 0, 0])[0]["length"].tolist() == [2, 2, 2]


def test_messages_name_the_row_of_the_environment_not_of_the_call():
    env = small_env(autoreset_mode=AutoresetMode.DISABLED)
    env.set_reward(lambda tokens, lengths, prompts: [1.0] * (len(tokens) - 1) + [np.nan])
    env.reset(seed=0)
    with pytest.raises(ValueError, match="is nan for row 2"):
        env.step([3, 0, 3])

    env = small_env(autoreset_mode=AutoresetMode.DISABLED)
    env.set_reward(lambda tokens, lengths, prompts: [1.0])
    env.reset(seed=0)
    with pytest.raises(
        ValueError, match=r"shape \(1,\) for rows \[0, 2\], but must give .*, shape \(2,\)"
    ):
        env.step([3, 0, 3])

    def nothing_after_c(tokens, lengths, prompts):
        return np.repeat(tokens[:, :1] != 2, 4, axis=1)

    env = small_env(action_mask=nothing_after_c, autoreset_mode=AutoresetMode.DISABLED)
    env.reset(seed=0)
    with pytest.raises(ValueError, match="no token in row 2"):
        env.step([3, 0, 2])


def test_step_before_reset_raises():
    with pytest.raises(ResetNeeded):
        small_env().step([0, 0, 0])


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_returned_data_shares_no_memory(mode):
    env = small_env(prompts=[[0], [1]], action_mask=forbid_last_token, autoreset_mode=mode)
    calls = [env.reset(seed=0)]
    calls += [(step[:4], step[4]) for step in map(env.step, [[0, 3, 1], [1, 2, 1], [0, 0, 0]])]
    calls += [(env.action_masks(), {}), (env.action_masks(), {})]
    for index, (data, infos) in enumerate(calls):
        for other_data, other_infos in calls[:index]:
            assert not data_shares_objects(data, other_data)
            assert not data_shares_objects(infos, other_infos)


def test_seed_decides_the_prompts_of_all_rows():
    env = small_env(prompts=[[index] for index in range(5)])

    def prompts(seed):
        first = env.reset(seed=seed)[0]["prompt"]
        return np.concatenate([first, *(env.reset()[0]["prompt"] for _ in range(10))]).tolist()

    assert prompts(0) == prompts(0)
    assert prompts(0) != prompts(1)
    assert len({tuple(row) for row in prompts(0)}) == 5


def test_render_returns_a_tuple_of_texts():
    env = small_env(render_mode="ansi", separator="", prompts=[[4, 2]])
    env.reset(seed=0)
    env.step([0, 1, 3])
    assert env.render() == ("ca", "cb", "c")
    assert small_env().render() is None


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_make_vec_sets_the_mode_and_survives_json(mode):
    env = gymnasium.make_vec(ENV_ID, num_envs=4, max_length=5, autoreset_mode=mode.value)
    again = gymnasium.make_vec(EnvSpec.from_json(env.spec.to_json()))
    for made in (env, again):
        assert isinstance(made, TextGenerationVectorEnv)
        assert made.autoreset_mode is made.metadata["autoreset_mode"] is mode
        assert made.num_envs == 4
        assert made.single_observation_space["tokens"].shape == (5,)
    assert "autoreset_mode" not in TextGenerationVectorEnv.metadata


def test_make_vec_works_without_further_arguments():
    env = gymnasium.make_vec(ENV_ID, num_envs=4)
    assert env.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    env.action_space.seed(0)
    observation, _ = env.reset(seed=0)
    for _ in range(50):
        assert observation in env.observation_space
        observation, *_ = env.step(env.action_space.sample())


def test_sync_vectorisation_works_with_texts_of_different_length():
    env = gymnasium.make_vec(ENV_ID, num_envs=8, vectorization_mode="sync", max_length=3)
    env.action_space.seed(0)
    env.reset(seed=0)
    lengths = set()
    for _ in range(40):
        *_, infos = env.step(env.action_space.sample())
        lengths |= {len(ids) for ids in infos.get("token_ids", []) if ids is not None}
    assert lengths == {1, 2, 3}


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_episode_statistics_of_a_random_agent(mode):
    env = RecordEpisodeStatistics(small_env(autoreset_mode=mode))
    env.action_space.seed(0)
    env.reset(seed=0)
    episodes = 0
    for _ in range(60):
        _, rewards, terminated, _, infos = env.step(env.action_space.sample())
        if not terminated.any():
            continue
        end_infos = infos["final_info"] if mode is AutoresetMode.SAME_STEP else infos
        for row in np.flatnonzero(terminated):
            assert infos["_episode"][row]
            assert infos["episode"]["r"][row] == rewards[row]
            assert infos["episode"]["l"][row] == len(end_infos["token_ids"][row])
            episodes += 1
        if mode is AutoresetMode.DISABLED:
            env.reset(options={"reset_mask": terminated})
    assert episodes > 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_envs": 0}, "num_envs is 0, but must be at least 1"),
        ({"autoreset_mode": "Never"}, "autoreset_mode is 'Never'"),
        ({"max_length": 0}, "max_length is 0, but must be at least 1"),
        (
            {"render_mode": "human"},
            "render_mode is 'human', but must be None or one of 'ansi', 'rgb_array'",
        ),
    ],
)
def test_unusable_argument_raises(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        TextGenerationVectorEnv(**arguments)


def test_a_reward_with_that_parameter_is_told_the_numbers_of_the_prompts():
    """The rows that end, in one call, each beside its own prompt's number."""
    calls = []

    def by_number(tokens, lengths, prompts, prompt_index):
        calls.append((prompts.tolist(), prompt_index.tolist()))
        return prompt_index * 10.0

    env = small_env(reward=by_number, prompts=[[0], [1], [2]])
    env.reset(options={"prompt_index": [2, 0, 1]})
    rewards = env.step([0, 3, 3])[1]
    assert rewards.tolist() == [0, 0, 10]
    rewards = env.step([3, 0, 0])[1]
    assert rewards[0] == 20
    assert calls == [([[0], [1]], [0, 1]), ([[2]], [2])]
    single = env.single_env()
    single.reset(options={"prompt_index": 1})
    assert single.step(3)[1] == 10


def test_there_are_no_numbers_without_prompts():
    given = []

    def by_number(tokens, lengths, prompts, prompt_index=3):
        given.append(prompt_index)
        return np.zeros(len(tokens))

    env = small_env(reward=by_number)
    env.reset()
    env.step([3, 3, 3])
    assert given == [None]


def test_decode_makes_the_texts():
    """Of the ids of words alone: no eos, no padding, no special token of a prompt."""
    env = small_env(
        decode=lambda ids: "+".join(map(str, ids)), prompts=[[5, 2]], pad_id=5, render_mode="ansi"
    )
    env.reset()
    env.step([1, 0, 3])
    assert env.render() == ("2+1", "2+0", "2")
    *_, infos = env.step([3, 3, 3])
    assert infos["text"].tolist() == ["1", "0", None]
    assert env.single_env().rules.decode([2, 4, 5, 1]) == "2+1"


def test_decode_is_a_function():
    with pytest.raises(ValueError, match="decode is ' ', but must be a function of ids or None"):
        small_env(decode=" ")
