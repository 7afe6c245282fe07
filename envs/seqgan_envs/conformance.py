"""Conformance: checks that a subclass or wrapper keeps the promises of envs/README.md."""

import math
import re
import warnings
from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import VectorEnv

from seqgan_envs.promises import (
    STYLES,
    as_arrays,
    bad_actions,
    check_end,
    check_equal,
    check_fresh,
    check_no_end,
    check_refused,
    check_state,
    choose,
    known_members,
    require,
)
from seqgan_envs.rules import Rules
from seqgan_envs.text_generation import TextGenerationEnv
from seqgan_envs.vector_conformance import check_vector


def check(
    env: gymnasium.Env[Any, Any] | VectorEnv[Any, Any, Any],
    *,
    single: gymnasium.Env[Any, Any] | None = None,
    episodes: int = 24,
    seed: int = 0,
) -> None:
    """Plays episodes, and raises at the first promise that the environment breaks.

    The promises: Gymnasium's `check_env`; the masks in the observation, the info and
    `action_masks()` agree; tokens are those emitted, padded on the right; the reward is 0 until
    the end; the end comes with eos, `max_length` or a forbidden action, terminated and never
    truncated, and `text`, `token_ids` and `invalid_action` come with it; an action outside the
    space is refused and changes nothing; a step after the end asks for a reset; every array is
    new; a seed reproduces everything, unless the spec says `nondeterministic`.

    A vector environment is checked in its own autoreset mode, so make one environment per mode. The
    check covers the mode's treatment of ended rows, and it compares the episode of each row with
    the same episode in a single environment.

    If a wrapper changes observations, only the unchanged members are checked; the wrapped
    environment is checked as well. Reset the environment afterwards.

    Args:
        env: a `TextGenerationEnv`, a `TextGenerationVectorEnv`, or a subclass or wrapper of one.
        single: for a vector environment, the environment that each row must equal; None makes a
            `TextGenerationEnv` of the same rules and reward.
        episodes: number of episodes to play.
        seed: seed of the actions and of the resets.

    Raises:
        AssertionError: a promise is broken; one line names the value, the place and the promise.
        ValueError: `env` is another kind of environment, or its reward or mask function returned
            something unusable.
    """
    if isinstance(env, VectorEnv):
        check_vector(env, single=single, episodes=episodes, seed=seed)
        return
    raw = env.unwrapped
    if not isinstance(raw, TextGenerationEnv) or single is not None:
        raise ValueError(
            f"check cannot check {type(raw).__name__} with single={single}: it takes a"
            " TextGenerationEnv, or a TextGenerationVectorEnv and perhaps its single"
            " environment"
        )
    _check_gymnasium(raw, seed)
    for checked in [raw] if raw is env else [raw, env]:
        for episode in range(episodes):
            _play(checked, raw.rules, episode, seed)
        _check_prompts(checked, raw.rules)


def _check_gymnasium(env: TextGenerationEnv, seed: int) -> None:
    """Runs Gymnasium's own `check_env`; its warnings count as errors."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            # `check_env` draws its actions from this space; the seed makes them reproducible.
            env.action_space.seed(seed)
            check_env(env, skip_render_check=env.spec is None)
    except ValueError:
        raise
    except Exception as error:
        # The messages of `check_env` are coloured, and some have several lines.
        message = " ".join(re.sub(r"\x1b\[\d*m", "", str(error)).split())
        raise AssertionError(f"gymnasium's check_env finds a fault: {message}") from error


def _play(env: gymnasium.Env[Any, Any], rules: Rules, episode: int, seed: int) -> None:
    """Plays one episode with checks at every step, then again, to check that the seed works."""
    rng = np.random.default_rng([seed, episode])
    style = STYLES[episode % len(STYLES)]
    emitted: list[int] = []
    actions: list[int] = []
    place = f"after reset(seed={seed + episode})"
    returned: list[Any] = [env.reset(seed=seed + episode)]
    earlier: list[Any] = []
    prompt = _look(env, rules, returned[0], earlier, emitted, place).get("prompt")
    check_no_end(returned[0][1], place)
    terminated = False
    while not terminated:
        if len(actions) == episode % rules.max_length:
            for action in bad_actions(rules):
                rule = f"the action {action} is refused with a ValueError"
                check_refused(lambda action=action: env.step(action), ValueError, rule, place)  # type: ignore[misc]
        allowed = env.get_wrapper_attr("action_masks")()
        actions.append(choose(style, allowed, rules.eos_id, rng))
        place = f"after reset(seed={seed + episode}) and the actions {actions}"
        result = env.step(actions[-1])
        returned.append(result)
        invalid = not allowed[actions[-1]]
        emitted += [] if invalid else actions[-1:]
        members = _look(env, rules, (result[0], result[4]), earlier, emitted, place)
        same = prompt is None or np.array_equal(members["prompt"], prompt)
        require(same, f"the prompt stays {prompt}", members.get("prompt"), place)
        ends = invalid or actions[-1] == rules.eos_id or len(emitted) == rules.max_length
        _check_result(result, bool(ends), place)
        terminated = result[2]
        if terminated:
            check_end(result[4], emitted, bool(invalid), rules, place)
            if invalid and env is env.unwrapped:
                penalty = rules.invalid_action_penalty
                rule = f"a forbidden action earns {penalty}"
                require(result[1] == penalty, rule, result[1], place)
        else:
            check_no_end(result[4], place)
    rule = "a step after the end raises ResetNeeded"
    check_refused(lambda: env.step(actions[0]), ResetNeeded, rule, place)
    if env.spec is None or not env.spec.nondeterministic:
        again = [env.reset(seed=seed + episode), *map(env.step, actions)]
        for step, (one, other) in enumerate(zip(returned, again, strict=True)):
            rule = f"the same seed gives the same call {step}"
            check_equal(as_arrays(one), as_arrays(other), rule, place)


def _look(
    env: gymnasium.Env[Any, Any],
    rules: Rules,
    data: tuple[Any, dict[str, Any]],
    earlier: list[Any],
    emitted: list[int],
    place: str,
) -> dict[str, Any]:
    """Checks the observation and info of a call; returns the members that no wrapper changed."""
    observation, info = data
    inside = env.observation_space.contains(observation)
    require(inside, "an observation lies in its space", observation, place)
    require("action_mask" in info, "the info has 'action_mask'", sorted(info), place)
    members = known_members(observation, env.observation_space, rules)
    # Two calls, because each has to return a new array.
    called = [env.get_wrapper_attr("action_masks")() for _ in range(2)]
    masks = {"action_masks()": called[0], "the info": info["action_mask"]}
    check_state(members, masks, emitted, rules, place)
    for new in ({"observation": observation, "info": info}, *({"mask": mask} for mask in called)):
        check_fresh(earlier, new, place)
        earlier.append(new)
    return members


def _check_result(result: tuple[Any, Any, Any, Any, Any], ends: bool, place: str) -> None:
    """Checks reward, terminated and truncated of a step; `ends` tells if the text ends there."""
    _, reward, terminated, truncated, _ = result
    number = isinstance(reward, float) and math.isfinite(reward)
    require(number, "a reward is a finite float", repr(reward), place)
    require(truncated is False, "truncated is False", repr(truncated), place)
    require(terminated is ends, f"terminated is {ends}", repr(terminated), place)
    require(ends or reward == 0, "the reward is 0 until the end", reward, place)


def _check_prompts(env: gymnasium.Env[Any, Any], rules: Rules) -> None:
    """Checks that the option `prompt_index` chooses the prompt and is refused if out of range."""
    count = 0 if rules.prompts is None else len(rules.prompts)
    for index in {0, count - 1} if count else ():
        place = f"after reset(options={{'prompt_index': {index}}})"
        observation, _ = env.reset(options={"prompt_index": index})
        members = known_members(observation, env.observation_space, rules)
        prompt = members.get("prompt")
        expected = rules.prompts[index]  # type: ignore[index]
        same = prompt is None or np.array_equal(prompt, expected)
        require(same, f"prompt_index {index} chooses {expected}", prompt, place)
    place = f"after reset(options={{'prompt_index': {count}}})"
    rule = "an index that is none of a prompt is refused with a ValueError"
    refused = lambda: env.reset(options={"prompt_index": count})  # noqa: E731
    check_refused(refused, ValueError, rule, place)
