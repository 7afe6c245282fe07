"""The single environment: Gymnasium's contract, and every rule by values worked out by hand."""

import math
import re
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import FlattenObservation, RecordEpisodeStatistics

from seqgan_envs import TextGenerationEnv
from seqgan_envs.promises import known_members
from seqgan_envs.rewards import checked_judgement, distinct_token_fraction

ENV_ID = "seqgan_envs:seqgan/TextGeneration-v0"
WORDS = ["a", "b", "c"]


def positional_reward(tokens, lengths, prompts):
    """The tokens as digits of a number in base 10, first token first: no two texts share one."""
    return [int("".join(map(str, row[:n]))) for row, n in zip(tokens, lengths, strict=True)]


def forbid_last_token(tokens, lengths, prompts):
    """Any token but the one before; V is 4."""
    masks = np.ones((len(tokens), 4), dtype=bool)
    started = np.flatnonzero(lengths)
    masks[started, tokens[started, lengths[started] - 1]] = False
    return masks


def reward_with_parts(tokens, lengths, prompts):
    """`late` is the last token, and applies to texts of 2 tokens or more."""
    last = tokens[np.arange(len(tokens)), lengths - 1]
    return lengths * 10, {"first": tokens[:, 0], "late": np.where(lengths > 1, last, np.nan)}


class Recorder:
    """A reward function that remembers what it was called with."""

    def __init__(self, value=0.5):
        self.calls = []
        self.value = value

    def __call__(self, tokens, lengths, prompts):
        self.calls.append((tokens, lengths, prompts))
        return np.full(len(tokens), self.value)


def small_env(**arguments):
    return TextGenerationEnv(
        **{"words": WORDS, "max_length": 3, "reward": positional_reward} | arguments
    )


def play(env, actions):
    """Steps through the actions; returns the rewards and the last step's result."""
    rewards = []
    for action in actions:
        result = env.step(action)
        rewards.append(result[1])
    return rewards, result


@pytest.mark.parametrize("observation", ["dict", "tokens", "one_hot"])
@pytest.mark.parametrize("prompts", [None, [[4, 0, 1], [2, 1, 0]]])
@pytest.mark.parametrize("mask", [None, "fixed", "function"])
@pytest.mark.parametrize("eos", [True, False])
def test_gymnasium_accepts_the_environment(observation, prompts, mask, eos):
    words = WORDS if eos else [*WORDS, "d"]
    masks = {None: None, "fixed": [True, False, True, True], "function": forbid_last_token}
    env = gymnasium.make(
        ENV_ID,
        words=words,
        eos=eos,
        max_length=3,
        prompts=prompts,
        action_mask=masks[mask],
        observation=observation,
        reward=positional_reward,
    )
    check_env(env.unwrapped)


def test_default_environment_passes_gymnasiums_checks():
    env = gymnasium.make(ENV_ID)
    check_env(env.unwrapped)
    assert env.spec.max_episode_steps is None


def test_episode_that_reaches_the_maximum_length():
    env = small_env()
    observation, info = env.reset(seed=0)
    assert observation["tokens"].tolist() == [4, 4, 4]
    assert observation["length"] == 0
    assert info.keys() == {"action_mask"}

    observation, reward, terminated, truncated, info = env.step(2)
    assert observation["tokens"].tolist() == [2, 4, 4]
    assert (observation["length"], reward, terminated, truncated) == (1, 0.0, False, False)
    assert info.keys() == {"action_mask"}

    env.step(0)
    observation, reward, terminated, truncated, info = env.step(1)
    assert observation["tokens"].tolist() == [2, 0, 1]
    assert (observation["length"], reward, terminated, truncated) == (3, 201.0, True, False)
    assert info.pop("action_mask").tolist() == [1, 1, 1, 1]
    assert info == {"text": "c a b", "token_ids": (2, 0, 1), "invalid_action": False}


def test_eos_ends_the_text_and_stays_in_the_tokens():
    env = small_env(separator="")
    env.reset(seed=0)
    rewards, (observation, _, terminated, truncated, info) = play(env, [1, 3])
    assert rewards == [0.0, 13.0]
    assert observation["tokens"].tolist() == [1, 3, 4]
    assert (terminated, truncated) == (True, False)
    assert (info["text"], info["token_ids"]) == ("b", (1, 3))


def test_without_eos_every_text_has_the_maximum_length():
    env = small_env(eos=False, pad_id=7)
    assert env.action_space.n == 3
    observation, _ = env.reset(seed=0)
    assert observation["tokens"].tolist() == [7, 7, 7]
    rewards, (_, _, terminated, _, _) = play(env, [2, 2, 1])
    assert (rewards, terminated) == ([0.0, 0.0, 221.0], True)


@pytest.mark.parametrize("mask", [[True, True, False, True], forbid_last_token])
def test_forbidden_action_ends_the_episode_unjudged_and_unappended(mask):
    reward = Recorder()
    env = small_env(action_mask=mask, reward=reward, invalid_action_penalty=-2.5)
    env.reset(seed=0)
    forbidden = 2 if isinstance(mask, list) else 1
    rewards, (observation, _, terminated, truncated, info) = play(env, [1, forbidden])
    assert rewards == [0.0, -2.5]
    assert observation["tokens"].tolist() == [1, 4, 4]
    assert (terminated, truncated) == (True, False)
    assert (info["text"], info["token_ids"], info["invalid_action"]) == ("b", (1,), True)
    assert reward.calls == []


def test_mask_appears_in_the_observation_the_info_and_the_method():
    env = small_env(action_mask=forbid_last_token)
    env.reset(seed=0)
    observation, _, _, _, info = env.step(2)
    for mask in (observation["action_mask"], info["action_mask"], env.action_masks()):
        assert mask.tolist() == [1, 1, 0, 1]
    assert observation["action_mask"].dtype == info["action_mask"].dtype == np.int8
    assert env.action_masks().dtype == np.bool_
    drawn = {int(env.action_space.sample(info["action_mask"])) for _ in range(50)}
    assert drawn == {0, 1, 3}


@pytest.mark.parametrize("action", [-1, 4, np.uint64(2**63), 1.0, True, "a", [1], None, 2**70])
def test_action_outside_the_space_raises_and_changes_nothing(action):
    env = small_env()
    env.reset(seed=0)
    env.step(2)
    with pytest.raises(ValueError, match=r"^actions? .* must "):
        env.step(action)
    observation, *_ = env.step(np.array(1))
    assert observation["tokens"].tolist() == [2, 1, 4]


def test_message_names_the_rule_the_value_and_the_row():
    env = small_env()
    env.reset(seed=0)
    with pytest.raises(
        ValueError, match=r"^action 4 in row 0 is none: it must be an integer from 0 to 3$"
    ):
        env.step(4)


def test_step_without_a_running_episode_asks_for_reset():
    env = small_env()
    with pytest.raises(ResetNeeded):
        env.step(0)
    env.reset(seed=0)
    env.step(3)
    with pytest.raises(ResetNeeded):
        env.step(0)


def test_prompt_is_observed_and_judged():
    reward = Recorder()
    env = small_env(prompts=[[4, 0], [1, 2]], reward=reward, render_mode="ansi")
    observation, _ = env.reset(options={"prompt_index": 1})
    assert observation["prompt"].tolist() == [1, 2]
    env.step(0)
    assert env.render() == "b c a"
    observation, *_, info = env.step(3)
    assert observation["prompt"].tolist() == [1, 2]
    assert info["text"] == "a"
    ((tokens, lengths, prompts),) = reward.calls
    assert tokens.tolist() == [[0, 3, 4]]
    assert lengths.tolist() == [2]
    assert prompts.tolist() == [[1, 2]]
    assert tokens.dtype == lengths.dtype == prompts.dtype == np.int64
    env.reset(options={"prompt_index": 0})
    assert env.render() == "a"


def test_prompts_are_drawn_evenly_and_follow_the_seed():
    env = small_env(prompts=[[0], [1], [2]])

    def draws(seed):
        first = env.reset(seed=seed)[0]["prompt"][0]
        return [first, *(env.reset()[0]["prompt"][0] for _ in range(299))]

    assert draws(5) == draws(5)
    assert draws(5) != draws(6)
    # 100 of 300 expected, standard deviation 8.2.
    assert np.all(np.abs(np.bincount(draws(5)) - 100) < 41)


@pytest.mark.parametrize("index", [2, -1, 0.0, [0], "first"])
def test_unusable_prompt_index_raises(index):
    env = small_env(prompts=[[0], [1]])
    with pytest.raises(ValueError, match="prompt_index"):
        env.reset(options={"prompt_index": index})


def test_prompt_index_without_prompts_raises():
    with pytest.raises(ValueError, match="the environment has no prompts"):
        small_env().reset(options={"prompt_index": 0})


@pytest.mark.parametrize("observation", ["dict", "tokens", "one_hot"])
def test_a_returned_array_can_be_written_to_without_effect(observation):
    env = small_env(observation=observation, prompts=[[1, 2]], action_mask=[True, True, True, True])
    returned = [env.reset(seed=0)]
    returned += [(step[0], step[4]) for step in map(env.step, [1, 2])]
    for data, info in returned:
        for array in [*(data.values() if isinstance(data, dict) else [data]), *info.values()]:
            if isinstance(array, np.ndarray):
                array.fill(0)
    env.action_masks().fill(False)
    result, reward, _, _, info = env.step(0)
    tokens = known_members(result, env.observation_space, env.rules)["tokens"]
    assert tokens.tolist() == [1, 2, 0]
    assert reward == 120
    assert info["action_mask"].tolist() == [1, 1, 1, 1]
    again, _ = env.reset()
    if observation == "dict":
        assert again["prompt"].tolist() == [1, 2]
        assert again["action_mask"].tolist() == [1, 1, 1, 1]


def test_reward_and_mask_functions_get_copies():
    def vandal_reward(tokens, lengths, prompts):
        tokens.fill(0), lengths.fill(0), prompts.fill(0)
        return [1.0]

    def vandal_mask(tokens, lengths, prompts):
        tokens.fill(0), lengths.fill(0), prompts.fill(0)
        return np.ones((1, 4), dtype=bool)

    env = small_env(prompts=[[1, 2]], reward=vandal_reward, action_mask=vandal_mask)
    env.reset(seed=0)
    _, (observation, *_) = play(env, [2, 1, 3])
    assert observation["tokens"].tolist() == [2, 1, 3]
    assert observation["length"] == 3
    assert observation["prompt"].tolist() == [1, 2]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([math.nan], "the reward is nan for row 0, but must be a finite number"),
        ([math.inf], "the reward is inf for row 0, but must be a finite number"),
        (
            1.0,
            r"gives shape \(\) for rows \[0\], but must give one float per ended row, shape \(1,\)",
        ),
        ([[1.0]], r"gives shape \(1, 1\) for rows \[0\]"),
        ([1.0, 2.0], r"gives shape \(2,\) for rows \[0\]"),
    ],
)
def test_unusable_reward_raises(value, message):
    env = small_env(reward=lambda tokens, lengths, prompts: value)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.step(3)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (("high", {}), r"gives 'high', but must give one float per ended row, shape \(1,\)"),
        (
            ([1.0], [2.0, 3.0]),
            r"gives \(\[.*\), but must give one float per ended row, shape \(1,\)",
        ),
        (
            ([1.0], {"style": 2.0}),
            r"part 'style' .* gives shape \(\) for rows \[0\], .*, shape \(1,\)",
        ),
        (([1.0], {"style": [2.0, 3.0]}), r"part 'style' .* gives shape \(2,\) for rows \[0\]"),
        (([1.0], {"style": None}), r"part 'style' of the reward gives shape \(\) .* one float "),
        (([1.0], {"style": ["a"]}), r"part 'style' of the reward gives \['a'\], .* one float "),
        (
            ([1.0], {"style": [-math.inf]}),
            r"'style' .* is -inf for row 0, but must be finite or NaN",
        ),
        (
            ([1.0], {"_style": [1.0]}),
            (
                r"the name of a part of the reward is '_style', but must be a string that does"
                r" not begin with '_'"
            ),
        ),
        (
            ([1.0], {"": [1.0]}),
            (
                r"the name of a part of the reward is '', but must be a string that does not"
                r" begin with '_'"
            ),
        ),
        (
            ([1.0], {3: [1.0]}),
            (
                r"the name of a part of the reward is 3, but must be a string that does not"
                r" begin with '_'"
            ),
        ),
        (
            ([math.nan], {"style": [1.0]}),
            "the reward is nan for row 0, but must be a finite number",
        ),
    ],
)
def test_unusable_reward_parts_raise(value, message):
    env = small_env(reward=lambda tokens, lengths, prompts: value)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=message) as caught:
        env.step(3)
    assert "\n" not in str(caught.value)


def test_reward_parts_come_back_as_floats_by_name():
    env = small_env(reward=reward_with_parts, action_mask=forbid_last_token)
    env.reset(seed=0)
    assert "reward_components" not in env.step(2)[4]
    rewards, (*_, info) = play(env, [0, 1])
    assert rewards == [0.0, 30.0]
    assert info["reward_components"] == {"first": 2.0, "late": 1.0}
    assert all(type(part) is float for part in info["reward_components"].values())
    env.reset()
    assert env.step(3)[4]["reward_components"] == {"first": 3.0}  # too short for `late`
    env.reset()
    assert "reward_components" not in play(env, [1, 1])[1][4]  # forbidden: not judged


def test_gymnasium_accepts_reward_parts_that_do_not_always_apply():
    check_env(gymnasium.make(ENV_ID, max_length=1, reward=reward_with_parts).unwrapped)


@pytest.mark.parametrize(
    ("text", "grammatical", "varied", "complete"),
    [
        ("the small cat sees a red dog .", 8, 8, 1),
        ("the old old bird sleeps .", 6, 5, 1),
        ("the cat sleeps and the dog sleeps .", 8, 6, 1),
        ("the cat sees a dog and a bird", 8, 7, 0),
        ("the cat sees .", 3, 3, 0),
        ("the cat sleeps and .", 4, 4, 0),
        ("cat sees the dog .", 0, 0, 0),
        ("a dog dog sleeps .", 2, 2, 0),
        (".", 0, 0, 0),
    ],
)
def test_small_sentences_by_hand(text, grammatical, varied, complete):
    env = gymnasium.make(ENV_ID, reward="seqgan_envs.sentences:small_sentences")
    env.reset(seed=0)
    words = [*env.unwrapped.rules.words, "."]
    _, (_, reward, terminated, _, info) = play(env, [words.index(word) for word in text.split()])
    assert terminated
    expected = {"grammatical": grammatical / 8, "varied": varied / 8, "complete": complete}
    assert info["reward_components"] == expected
    assert reward == pytest.approx(sum(expected.values()) / 3)


def test_two_rewards_in_a_tuple_are_no_pair():
    rewards, parts = checked_judgement((1.0, 2.0), np.array([4, 7]))
    assert (rewards.tolist(), parts) == ([1.0, 2.0], None)
    rewards, parts = checked_judgement(([1.0, 2.0], {"a": (3, 4)}), np.array([4, 7]))
    assert rewards.tolist() == [1.0, 2.0]
    assert {name: part.tolist() for name, part in parts.items()} == {"a": [3.0, 4.0]}


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (
            np.zeros((1, 4), dtype=bool),
            "the action mask allows no token in row 0, but must",
        ),
        (np.ones((1, 4)), r"the action mask function returned float64 of shape "),
        (
            np.ones(4, dtype=bool),
            (
                r"the action mask function returned bool of shape \(4,\), but must return"
                r" booleans of shape \(1, 4\)"
            ),
        ),
    ],
)
def test_unusable_mask_function_raises(mask, message):
    env = small_env(action_mask=lambda tokens, lengths, prompts: mask)
    with pytest.raises(ValueError, match=message):
        env.reset(seed=0)


def test_mask_function_is_not_asked_about_ended_texts():
    seen = []

    def mask(tokens, lengths, prompts):
        seen.append(lengths.tolist())
        return np.ones((len(tokens), 4), dtype=bool)

    env = small_env(action_mask=mask)
    env.reset(seed=0)
    play(env, [0, 1, 2])
    assert seen == [[0], [1], [2]]


def test_mask_function_allows_everything_after_the_end():
    env = small_env(action_mask=forbid_last_token)
    env.reset(seed=0)
    _, (observation, *_) = play(env, [0, 1, 2])
    assert observation["action_mask"].tolist() == [1, 1, 1, 1]


def test_set_reward_changes_who_judges():
    env = small_env()
    env.set_reward(Recorder(value=7.0))
    env.reset(seed=0)
    assert env.step(3)[1] == 7.0
    env.set_reward("seqgan_envs.rewards:distinct_token_fraction")
    env.reset()
    assert env.step(3)[1] == pytest.approx(1 / 3)


def test_default_reward_counts_distinct_tokens_by_hand():
    tokens = np.array([[0, 1, 2, 3], [1, 1, 1, 1], [2, 0, 2, 9], [5, 9, 9, 9]])
    lengths = np.array([4, 4, 3, 1])
    assert distinct_token_fraction(tokens, lengths, None).tolist() == [1.0, 0.25, 0.5, 0.25]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_length": 0}, "max_length is 0, but must be at least 1"),
        ({"max_length": 2.5}, "max_length is 2.5, but must be at least 1"),
        ({"max_length": True}, "max_length is True, but must be at least 1"),
        ({"words": []}, "words is empty, but must have at least 1 word"),
        ({"words": "abc"}, "words is the string 'abc', but must be a sequence of strings"),
        ({"words": ["a", 3]}, "words has 3, but every word must be a string"),
        ({"words": ["a", "b", "a"]}, "words has 'a' twice, but all words must be distinct"),
        ({"eos": 1}, "eos is 1, but must be True or False"),
        ({"pad_id": 3}, "pad_id (outside the action space) is 3, but must be at least 4"),
        (
            {"reward": 3},
            (
                "reward is 3, but must be a callable, 'package.module:attribute' or"
                " 'file.py:attribute'"
            ),
        ),
        (
            {"reward": "math"},
            (
                "reward is 'math', but must be a callable, 'package.module:attribute' or"
                " 'file.py:attribute'"
            ),
        ),
        (
            {"reward": "math:pi"},
            (
                "reward is 'math:pi', but must be a callable, 'package.module:attribute' or"
                " 'file.py:attribute'"
            ),
        ),
        (
            {"reward": "math:no"},
            (
                "reward is 'math:no', but must be a callable, 'package.module:attribute' or"
                " 'file.py:attribute'"
            ),
        ),
        (
            {"observation": "text"},
            "observation is 'text', but must be one of 'dict', 'tokens', 'one_hot'",
        ),
        ({"invalid_action_penalty": math.nan}, "invalid_action_penalty is nan, but must be finite"),
        ({"separator": None}, "separator is None, but must be a string"),
        (
            {"render_mode": "human"},
            "render_mode is 'human', but must be None or one of 'ansi', 'rgb_array'",
        ),
        (
            {"action_mask": [True] * 3},
            "action_mask is bool of shape (3,), but must be a function or booleans of shape (4,)",
        ),
        (
            {"action_mask": [1, 1, 1, 1]},
            (
                "action_mask is int64 of shape (4,), but must be a function or booleans of"
                " shape (4,)"
            ),
        ),
        ({"action_mask": [False] * 4}, "action_mask allows no token, but must allow at least one"),
        (
            {"prompts": [0, 1]},
            (
                "prompts are int64 of shape (2,), but must be integers of shape (number of"
                " prompts, prompt length), both at least 1"
            ),
        ),
        (
            {"prompts": [[]]},
            (
                "prompts are float64 of shape (1, 0), but must be integers of shape (number of"
                " prompts, prompt length), both at least 1"
            ),
        ),
        (
            {"prompts": [[0.5]]},
            (
                "prompts are float64 of shape (1, 1), but must be integers of shape (number of"
                " prompts, prompt length), both at least 1"
            ),
        ),
        ({"prompts": [[0], [5]]}, "row 1 of the prompts is [5], but its ids must be from 0 to 4"),
        ({"prompts": [[-1]]}, "row 0 of the prompts is [-1], but its ids must be from 0 to 4"),
        (
            {"prompts": [[4, 1], [1, 4]]},
            "row 1 of the prompts is [1 4], but prompts must be padded on the left only",
        ),
    ],
)
def test_unusable_argument_raises(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        small_env(**arguments)


def test_render_returns_the_words_so_far():
    env = small_env(render_mode="ansi")
    env.reset(seed=0)
    texts = [env.render()]
    for action in (2, 0, 3):
        env.step(action)
        texts.append(env.render())
    assert texts == ["", "c", "c a", "c a"]
    assert small_env().render() is None


def test_spec_survives_json():
    arguments = {
        "words": ["x", "y"],
        "max_length": 2,
        "eos": False,
        "prompts": [[1, 0]],
        "action_mask": [True, False],
        "reward": "seqgan_envs.rewards:distinct_token_fraction",
    }
    spec = gymnasium.make(ENV_ID, **arguments).spec
    env = gymnasium.make(EnvSpec.from_json(spec.to_json()))
    observation, info = env.reset(seed=0)
    assert observation["prompt"].tolist() == [1, 0]
    assert info["action_mask"].tolist() == [1, 0]
    env.step(0)
    _, reward, terminated, _, info = env.step(0)
    assert (reward, terminated, info["text"]) == (0.5, True, "x x")


def test_spec_survives_json_and_a_new_process(tmp_path):
    """A reward in a file, prompts and masks as lists: all that the other process gets is JSON."""
    (tmp_path / "my_rewards.py").write_text(
        "import numpy as np\nWORTH = np.array([0.25, 2.0, 8.0, 0.0])\n\n"
        "def worth(tokens, lengths, prompts):\n"
        "    return WORTH[tokens].sum(axis=1), {'prompted': prompts[:, 0]}\n"
    )
    arguments = {
        "words": ["x", "y", "z"],
        "max_length": 2,
        "eos": False,
        "prompts": [[1, 0], [2, 2]],
        "action_mask": [True, False, True],
        "invalid_action_penalty": -3.0,
        "separator": "-",
        "reward": f"{tmp_path}/my_rewards.py:worth",
    }
    single = gymnasium.make(ENV_ID, **arguments)
    vector = gymnasium.make_vec(ENV_ID, num_envs=2, autoreset_mode="SameStep", **arguments)
    (tmp_path / "spec.json").write_text(single.spec.to_json())
    (tmp_path / "vector.json").write_text(vector.spec.to_json())
    code = """
import gymnasium, pathlib
from gymnasium.envs.registration import EnvSpec
env = gymnasium.make(EnvSpec.from_json(pathlib.Path("spec.json").read_text()))
env.reset(options={"prompt_index": 1})
env.step(0)
_, reward, terminated, _, info = env.step(2)
env.reset()
print(reward, terminated, info["text"], info["reward_components"], env.step(1)[1])
env = gymnasium.make_vec(EnvSpec.from_json(pathlib.Path("vector.json").read_text()))
env.reset(options={"prompt_index": [0, 1]})
env.step([0, 2])
print(*env.step([0, 2])[1], env.autoreset_mode.value)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert result.stdout.splitlines() == [
        "8.25 True x-z {'prompted': 2.0} -3.0",
        "0.5 16.0 SameStep",
    ]


def test_reward_in_a_file(tmp_path, monkeypatch):
    (tmp_path / "politeness.py").write_text(
        "def one(tokens, *_): return [1.0] * len(tokens)\nno = 3"
    )
    monkeypatch.chdir(tmp_path)
    env = small_env(reward="./politeness.py:one")
    env.reset(seed=0)
    assert env.step(3)[1] == 1.0
    for missing in ("no", "two", ""):
        with pytest.raises(ValueError, match=f"reward is './politeness.py:{missing}'"):
            small_env(reward=f"./politeness.py:{missing}")
    with pytest.raises(FileNotFoundError):
        small_env(reward="elsewhere.py:one")


def test_default_spec_survives_json():
    env = gymnasium.make(EnvSpec.from_json(gymnasium.make(ENV_ID).spec.to_json()))
    assert env.action_space.n == 13


def test_importing_the_package_imports_no_torch_and_no_seqgan():
    code = "import seqgan_envs, sys; print(sorted({'torch', 'seqgan'} & set(sys.modules)))"
    paths = [str(Path(__file__).parents[2] / "envs"), *filter(None, sys.path)]
    result = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:0] = {paths!r}; {code}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "[]"


def test_wrappers_work_with_an_unmasked_random_agent():
    env = gymnasium.make(ENV_ID, prompts=[[13, 1], [2, 3]], action_mask=[True] * 12 + [False])
    env = RecordEpisodeStatistics(FlattenObservation(env))
    env.action_space.seed(0)
    observation, _ = env.reset(seed=0)
    episodes = 0
    for _ in range(200):
        assert observation in env.observation_space
        observation, reward, terminated, _, info = env.step(env.action_space.sample())
        if terminated:
            episodes += 1
            assert info["episode"]["r"] == pytest.approx(reward)
            # A forbidden action is a step, but not a token.
            steps = len(info["token_ids"]) + info["invalid_action"]
            assert info["episode"]["l"] == steps
            observation, _ = env.reset()
    assert episodes > 10
