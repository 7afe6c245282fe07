"""`seqgan_envs.check`: right environments pass, and every broken promise is found and named."""

import re

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import (
    FilterObservation,
    FlattenObservation,
    RecordEpisodeStatistics,
    TimeLimit,
    TransformReward,
)
from gymnasium.wrappers import vector as vector_wrappers

from seqgan_envs import TextGenerationEnv, TextGenerationVectorEnv, check

ENV_ID = "seqgan_envs:seqgan/TextGeneration-v0"
WORDS = ["a", "b", "c"]
PROMPTS = [[4, 2], [0, 1], [2, 0]]
DISABLED, NEXT_STEP, SAME_STEP = (
    AutoresetMode.DISABLED,
    AutoresetMode.NEXT_STEP,
    AutoresetMode.SAME_STEP,
)


def forbid_last_token(tokens, lengths, prompts):
    """Any token but the one before; V is 4."""
    masks = np.ones((len(tokens), 4), dtype=bool)
    started = np.flatnonzero(lengths)
    masks[started, tokens[started, lengths[started] - 1]] = False
    return masks


def reward_with_parts(tokens, lengths, prompts):
    digits = 10.0 ** np.arange(tokens.shape[1])
    rewards = np.where(np.arange(tokens.shape[1]) < lengths[:, None], tokens + 1, 0) @ digits
    return rewards, {"late": np.where(lengths > 2, rewards / 2, np.nan), "lengths": lengths}


STANDARD = {
    "words": WORDS,
    "max_length": 4,
    "prompts": PROMPTS,
    "action_mask": forbid_last_token,
    "reward": reward_with_parts,
}


@pytest.mark.parametrize("observation", ["dict", "tokens", "one_hot"])
@pytest.mark.parametrize("mask", [None, [True, False, True, True], forbid_last_token])
@pytest.mark.parametrize("eos", [True, False])
def test_the_environments_keep_their_promises(observation, mask, eos):
    words = WORDS if eos else [*WORDS, "d"]
    changed = {"observation": observation, "action_mask": mask, "eos": eos, "words": words}
    check(TextGenerationEnv(**STANDARD | changed), episodes=8)
    for mode in AutoresetMode:
        env = TextGenerationVectorEnv(3, **STANDARD | changed, autoreset_mode=mode)
        check(env, episodes=8)


def test_what_make_returns_and_gymnasiums_wrappers_keep_them_too():
    for arguments in ({}, {"prompts": [[13, 1]], "action_mask": [True] * 12 + [False]}):
        env = gymnasium.make(ENV_ID, **arguments)
        for wrapped in (
            env,
            RecordEpisodeStatistics(env),
            FlattenObservation(env),
            FilterObservation(env, ["tokens", "action_mask"]),
            TransformReward(env, lambda reward: 2 * reward),
        ):
            check(wrapped, episodes=8)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_gymnasiums_vector_wrappers_keep_them_too(mode):
    env = gymnasium.make_vec(ENV_ID, num_envs=4, autoreset_mode=mode)
    check(env, episodes=8)
    check(vector_wrappers.RecordEpisodeStatistics(env), episodes=8)
    if mode is not SAME_STEP:  # which these wrappers do not know
        check(vector_wrappers.FlattenObservation(env), episodes=8)
        check(vector_wrappers.FilterObservation(env, ["tokens", "length"]), episodes=8)


def test_single_environment_of_a_changed_vector_environment():
    class Halved(TextGenerationEnv):
        def step(self, action):
            observation, reward, *rest = super().step(action)
            return observation, reward / 2, *rest

    class HalvedVector(TextGenerationVectorEnv):
        def step(self, actions):
            observation, rewards, *rest = super().step(actions)
            return observation, rewards / 2, *rest

    check(HalvedVector(3, words=WORDS), single=Halved(words=WORDS))
    with pytest.raises(AssertionError, match="the row earns what the single environment earns"):
        check(HalvedVector(3, words=WORDS))


@pytest.mark.parametrize(
    ("env", "single"),
    [
        (gymnasium.make("CartPole-v1"), None),
        (gymnasium.make_vec("CartPole-v1", num_envs=2), None),
        (TextGenerationEnv(), TextGenerationEnv()),
    ],
)
def test_other_environments_are_refused(env, single):
    with pytest.raises(ValueError, match=r"^check cannot check .*TextGeneration"):
        check(env, single=single)


class Altered(TextGenerationEnv):
    """Gives every result through a function that may break a promise."""

    def __init__(self, alter, **arguments):
        super().__init__(**STANDARD | {"invalid_action_penalty": -3.0} | arguments)
        self.alter = alter

    def reset(self, *, seed=None, options=None):
        observation, info = super().reset(seed=seed, options=options)
        result = {"observation": observation, "reward": 0.0, "end": False, "cut": False}
        result |= {"info": info, "action": None}
        self.alter(result)
        return result["observation"], info

    def step(self, action):
        observation, reward, end, cut, info = super().step(action)
        result = {"observation": observation, "reward": reward, "end": end, "cut": cut}
        result |= {"info": info, "action": action}
        self.alter(result)
        return tuple(result[name] for name in ("observation", "reward", "end", "cut", "info"))


def tokens_of(result):
    return result["observation"]["tokens"]


def pad_with_zero(result):
    tokens_of(result)[tokens_of(result) == 4] = 0


def pad_left(result):
    length = int(result["observation"]["length"])
    tokens_of(result)[:] = np.roll(tokens_of(result), 4 - length)


def count_one_more(result):
    result["observation"]["length"] = result["observation"]["length"] * 0 + 1


def swap_words(result):
    tokens = tokens_of(result)
    tokens[:] = np.where(tokens == 0, 1, np.where(tokens == 1, 0, tokens))


def allow_everything_in_the_info(result):
    result["info"]["action_mask"][:] = 1


def allow_everything_in_the_observation(result):
    result["observation"]["action_mask"][:] = 1


def boolean_mask_in_the_info(result):
    result["info"]["action_mask"] = result["info"]["action_mask"].astype(bool)


def no_mask_in_the_info(result):
    del result["info"]["action_mask"]


def shorten_mask(result):
    result["info"]["action_mask"] = result["info"]["action_mask"][:3].copy()


def other_dtype(result):
    result["observation"]["tokens"] = tokens_of(result).astype(np.int32)


def reward_each_step(result):
    result["reward"] += 0.25


def reward_of_an_integer(result):
    result["reward"] = int(result["reward"])


def infinite_reward(result):
    if int(result["observation"]["length"]) == 4:
        result["reward"] = np.inf


def truncate_at_full_length(result):
    if result["end"] and int(result["observation"]["length"]) == 4:
        result["end"], result["cut"] = False, True


def go_on_after_eos(result):
    result["end"] &= result["action"] != 3


def end_after_two_words(result):
    result["end"] |= int(result["observation"]["length"]) == 2


def numpy_boolean(result):
    result["end"] = np.bool_(result["end"])


def text_all_the_time(result):
    result["info"].setdefault("text", "a")


def text_with_eos(result):
    if result["end"] and result["action"] == 3:
        result["info"]["text"] += " <eos>"


def no_text(result):
    result["info"].pop("text", None)


def ids_without_eos(result):
    if result["end"]:
        result["info"]["token_ids"] = tuple(i for i in result["info"]["token_ids"] if i != 3)


def ids_in_a_list(result):
    if result["end"]:
        result["info"]["token_ids"] = list(result["info"]["token_ids"])


def never_invalid(result):
    if result["end"]:
        result["info"]["invalid_action"] = False


def smaller_penalty(result):
    if result["info"].get("invalid_action"):
        result["reward"] = -1.0


def components_with_nan(result):
    if "reward_components" in result["info"]:
        result["info"]["reward_components"]["late"] = np.nan


def components_in_a_list(result):
    if "reward_components" in result["info"]:
        result["info"]["reward_components"] = [1.0]


def other_prompt_in_mid_episode(result):
    if int(result["observation"]["length"]) == 2:
        result["observation"]["prompt"][:] = [4, 2]


def foreign_prompt(result):
    result["observation"]["prompt"][:] = [3, 3]


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (pad_with_zero, "[0, 0, 0, 0] breaks the promise: the rest is pad_id 4"),
        (pad_left, "breaks the promise: the observed tokens are those emitted"),
        (
            count_one_more,
            "1 breaks the promise: length counts the emitted tokens after reset(seed=0)",
        ),
        (swap_words, "breaks the promise: the observed tokens are those emitted"),
        (allow_everything_in_the_info, "the mask is the same in action_masks() and the info and"),
        (allow_everything_in_the_observation, "the mask is the same in action_masks() and"),
        (boolean_mask_in_the_info, "bool breaks the promise: the mask in the info is int8"),
        (no_mask_in_the_info, "[] breaks the promise: the info has 'action_mask'"),
        (shorten_mask, "(3,) breaks the promise: a mask has shape (4,)"),
        (other_dtype, "gymnasium's check_env finds a fault: "),
        (reward_each_step, "0.25 breaks the promise: the reward is 0 until the end"),
        (reward_of_an_integer, "0 breaks the promise: a reward is a finite float"),
        (infinite_reward, "inf breaks the promise: a reward is a finite float"),
        (truncate_at_full_length, "True breaks the promise: truncated is False"),
        (go_on_after_eos, "False breaks the promise: terminated is True"),
        (end_after_two_words, "True breaks the promise: terminated is False"),
        (numpy_boolean, "np.False_ breaks the promise: terminated is False"),
        (
            text_all_the_time,
            "['text'] breaks the promise: the info tells of a text only at its end",
        ),
        (text_with_eos, "'c a b <eos>' breaks the promise: text is 'c a b' at the end"),
        (no_text, "breaks the promise: the info at the end has 'text'"),
        (ids_without_eos, "(2, 0, 1) breaks the promise: token_ids is (2, 0, 1, 3) at the end"),
        (ids_in_a_list, " breaks the promise: token_ids is "),
        (never_invalid, "False breaks the promise: invalid_action is True at the end"),
        (smaller_penalty, "-1.0 breaks the promise: a forbidden action earns -3.0"),
        (
            components_with_nan,
            "breaks the promise: reward_components holds a finite float for each name",
        ),
        (
            components_in_a_list,
            "[1.0] breaks the promise: reward_components holds a finite float for each name",
        ),
        (other_prompt_in_mid_episode, "the prompt stays ["),
        (foreign_prompt, "[3 3] breaks the promise: the observed prompt is one of prompts"),
    ],
)
def test_altered_results_are_found(alter, message):
    with pytest.raises(AssertionError) as caught:
        check(Altered(alter), episodes=60)
    text = str(caught.value)
    assert message in text
    assert "\n" not in text
    if "check_env" not in message:
        assert re.search(r"after reset\(seed=\d+\)", text)


class LiveMask(TextGenerationEnv):
    def action_masks(self):
        return self._episode.allowed[0]


class IntegerMask(TextGenerationEnv):
    def action_masks(self):
        return super().action_masks().astype(np.int8)


class LiveObservation(TextGenerationEnv):
    def _observe(self):
        return super()._observe() | {"tokens": self._episode.tokens[0]}


class Clipping(TextGenerationEnv):
    def step(self, action):
        return super().step(np.clip(np.asarray(action, dtype=np.int64), 0, 3))


class HalfDone(TextGenerationEnv):
    """Refuses what lies outside the space, but emits a token all the same."""

    def step(self, action):
        if action == -1:
            super().step(int(np.argmax(self.action_masks())))
        return super().step(action)


class Careless(TextGenerationEnv):
    def step(self, action):
        try:
            return super().step(action)
        except ResetNeeded:
            return super().reset()[0], 0.0, False, False, {}


class WrongError(TextGenerationEnv):
    def step(self, action):
        try:
            return super().step(action)
        except ValueError as error:
            raise IndexError from error


class Unseeded(TextGenerationEnv):
    """Draws the prompt from a generator that no seed knows."""

    elsewhere = np.random.default_rng()

    def reset(self, *, seed=None, options=None):
        options = {"prompt_index": int(self.elsewhere.integers(3))} | (options or {})
        return super().reset(seed=seed, options=options)


class DeafToOptions(TextGenerationEnv):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)


class LenientOptions(TextGenerationEnv):
    def reset(self, *, seed=None, options=None):
        chosen = {"prompt_index": options["prompt_index"] % 3} if options else None
        return super().reset(seed=seed, options=chosen)


class Appending(TextGenerationEnv):
    """Shows the forbidden token."""

    def step(self, action):
        length = int(self._episode.lengths[0])
        observation, reward, terminated, truncated, info = super().step(action)
        if info.get("invalid_action"):
            observation["tokens"][length] = action
        return observation, reward, terminated, truncated, info


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (LiveMask, "memory of an earlier call breaks the promise: every call returns new arrays"),
        (LiveObservation, "gymnasium's check_env finds a fault: "),
        (IntegerMask, "int8 breaks the promise: the mask in action_masks() is bool"),
        (Clipping, "no error breaks the promise: the action -1 is refused with a ValueError"),
        (HalfDone, "breaks the promise: the observed tokens are those emitted"),
        (WrongError, "IndexError breaks the promise: the action -1 is refused with a ValueError"),
        (Careless, "no error breaks the promise: a step after the end raises ResetNeeded"),
        (Unseeded, "seed"),  # by Gymnasium's check or by ours, as chance has it
        (DeafToOptions, "prompt_index "),
        (
            LenientOptions,
            "breaks the promise: an index that is none of a prompt is refused with a ValueError",
        ),
        (Appending, "breaks the promise: the rest is pad_id 4"),
    ],
)
def test_broken_subclasses_are_found(kind, message):
    with pytest.raises(AssertionError) as caught:
        check(kind(**STANDARD), episodes=60)
    assert message in str(caught.value)


def test_random_reward_is_found_and_may_be_declared():
    rng = np.random.default_rng(0)

    def random_reward(tokens, lengths, prompts):
        return rng.random(len(tokens)) * (lengths > 1)

    with pytest.raises(AssertionError, match="the same seed gives the same call 2"):
        check(TextGenerationEnv(words=WORDS, eos=False, max_length=2, reward=random_reward))
    with pytest.raises(AssertionError, match="the same seed gives the same episodes"):
        check(TextGenerationVectorEnv(2, words=WORDS, reward=random_reward))
    spec = gymnasium.make(ENV_ID).spec
    spec.nondeterministic = True
    check(gymnasium.make(spec, reward=random_reward))


@pytest.mark.parametrize(
    ("wrap", "message"),
    [
        (lambda env: TimeLimit(env, 2), "True breaks the promise: truncated is False"),
        (
            lambda env: TransformReward(env, lambda reward: reward - 1),
            "breaks the promise: the reward is 0 until",
        ),
    ],
)
def test_wrappers_that_break_a_promise_are_found(wrap, message):
    with pytest.raises(AssertionError, match=message):
        check(wrap(TextGenerationEnv(**STANDARD)))


class AlteredVector(TextGenerationVectorEnv):
    def __init__(self, alter, mode):
        super().__init__(4, **STANDARD, autoreset_mode=mode)
        self.alter = alter

    def step(self, actions):
        before = self._episodes.ended.copy()
        names = ("observation", "rewards", "ended", "cut", "infos")
        result = dict(zip(names, super().step(actions), strict=True)) | {"before": before}
        self.alter(result)
        return tuple(result[name] for name in names)


def roll_tokens(result):
    result["observation"]["tokens"] = np.roll(result["observation"]["tokens"], 1, axis=0)


def roll_rewards(result):
    if result["ended"].any() and not result["before"].any():
        result["rewards"] = np.where(result["ended"], np.roll(result["rewards"], 1), 0.0)


def roll_masks(result):
    result["observation"]["action_mask"] = np.roll(result["observation"]["action_mask"], 1, axis=0)


def roll_components(result):
    components = result["infos"].get("reward_components", {})
    for name in [name for name in components if not name.startswith("_")]:
        components[name] = np.roll(components[name], 1)


def reward_every_row(result):
    result["rewards"] = result["rewards"] + 0.5


def truncate(result):
    result["cut"] = result["ended"].copy()


def drop_text_mask(result):
    result["infos"].pop("_text", None)


def text_of_every_row(result):
    if "_text" in result["infos"]:
        result["infos"]["_text"][:] = True


def drop_final_observation(result):
    result["infos"].pop("final_obs", None)
    result["infos"].pop("_final_obs", None)


def stay_terminated(result):
    result["ended"] = result["ended"] | result["before"]


def not_terminated_again(result):
    result["ended"] = result["ended"] & ~result["before"]


def reward_again(result):
    result["rewards"] = np.where(result["before"], 0.5, result["rewards"])


def clear_waiting_rows(result):
    result["observation"]["length"][result["before"]] = 0


def earlier_final_observation(result):
    for observation in result["infos"].get("final_obs", []):
        if observation is not None:
            observation["tokens"][-1] = 0


@pytest.mark.parametrize(
    ("alter", "mode", "message"),
    [
        (roll_tokens, NEXT_STEP, "breaks the promise: the observed tokens are those emitted"),
        (
            roll_rewards,
            DISABLED,
            "breaks the promise: the row earns what the single environment earns",
        ),
        (
            roll_masks,
            NEXT_STEP,
            "breaks the promise: the mask is the same in action_masks() and the observation",
        ),
        (
            roll_components,
            NEXT_STEP,
            "breaks the promise: the row earns what the single environment earns",
        ),
        (reward_every_row, NEXT_STEP, "0.5 breaks the promise: the reward is 0 until the end"),
        (truncate, DISABLED, "breaks the promise: truncated is False"),
        (drop_text_mask, NEXT_STEP, "breaks the promise: the info at the end has 'text'"),
        (
            text_of_every_row,
            NEXT_STEP,
            "breaks the promise: the infos tell of a text only at its end",
        ),
        (drop_final_observation, SAME_STEP, "final_obs and final_info show the end of the row"),
        (earlier_final_observation, SAME_STEP, "breaks the promise: the rest is pad_id 4"),
        (
            stay_terminated,
            NEXT_STEP,
            "(0.0, True) breaks the promise: ",
        ),
        (
            not_terminated_again,
            DISABLED,
            "(0.0, False) breaks the promise: ",
        ),
        (
            reward_again,
            DISABLED,
            "(0.5, True) breaks the promise: ",
        ),
        (
            clear_waiting_rows,
            DISABLED,
            "breaks the promise: a row that has ended keeps its observation",
        ),
    ],
)
def test_altered_results_of_rows_are_found(alter, mode, message):
    with pytest.raises(AssertionError) as caught:
        check(AlteredVector(alter, mode))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


class TakesTheMask(TextGenerationVectorEnv):
    def reset(self, *, seed=None, options=None):
        result = super().reset(seed=seed, options=options)
        if options:
            del options["reset_mask"]
        return result


class ResetsAll(TextGenerationVectorEnv):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed)


class LiveTokens(TextGenerationVectorEnv):
    def step(self, actions):
        observation, *rest = super().step(actions)
        return observation | {"tokens": self._episodes.tokens}, *rest


class LiveMasks(TextGenerationVectorEnv):
    def action_masks(self):
        return self._episodes.allowed


class ClippingVector(TextGenerationVectorEnv):
    def step(self, actions):
        return super().step(np.clip(actions, 0, 3).astype(np.int64))


class UnseededVector(TextGenerationVectorEnv):
    def reset(self, *, seed=None, options=None):
        return super().reset(options=options)


class OtherSpace(TextGenerationVectorEnv):
    def __init__(self, num_envs, **arguments):
        super().__init__(num_envs, **arguments)
        self.single_action_space = gymnasium.spaces.Discrete(5)


class OtherMode(TextGenerationVectorEnv):
    def __init__(self, num_envs, **arguments):
        super().__init__(num_envs, **arguments)
        self.metadata["autoreset_mode"] = AutoresetMode.NEXT_STEP


class TalkativeReset(TextGenerationVectorEnv):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=seed, options=options)[0], {"prompts": 3}


class JudgesTheBatch(TextGenerationVectorEnv):
    """A row's reward depends on the rows beside it."""

    def __init__(self, num_envs, **arguments):
        super().__init__(num_envs, **arguments)
        self.set_reward(lambda tokens, lengths, prompts: np.full(len(tokens), lengths.mean()))


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (TakesTheMask, "{} breaks the promise: reset leaves its options as they are"),
        (ResetsAll, "breaks the promise: a partial reset keeps the other rows"),
        (LiveTokens, "memory of an earlier call breaks the promise: every call returns new arrays"),
        (LiveMasks, "memory of an earlier call breaks the promise: every call returns new arrays"),
        (ClippingVector, "no error breaks the promise: the action -1 is refused with a ValueError"),
        (UnseededVector, "breaks the promise: the same seed gives the same episodes"),
        (
            OtherSpace,
            "Discrete(5) breaks the promise: single_action_space is that of a single environment",
        ),
        (OtherMode, "breaks the promise: metadata and attribute name the same autoreset mode"),
        (TalkativeReset, "{'prompts': 3} breaks the promise: reset gives no infos"),
        (JudgesTheBatch, "breaks the promise: the row earns what the single environment earns"),
    ],
)
def test_broken_vector_subclasses_are_found(kind, message):
    with pytest.raises(AssertionError) as caught:
        check(kind(4, **STANDARD, autoreset_mode=DISABLED))
    assert message in str(caught.value)
