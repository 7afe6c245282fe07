"""Text generation as a Gymnasium environment: an action is a token, an episode is a text."""

import math
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.error import ResetNeeded
from numpy.typing import ArrayLike, NDArray

from seqgan_envs.episodes import Episodes, checked_actions, observation_of_row
from seqgan_envs.judges import Judge, judge_of
from seqgan_envs.picture import RENDER_MODES, check_render_mode
from seqgan_envs.rewards import DEFAULT_REWARD, Reward, load_reward
from seqgan_envs.rules import (
    DEFAULT_WORDS,
    ActionMask,
    Decode,
    Observation,
    ObservationLayout,
    checked_rules,
)

_THE_ROW = np.zeros(1, dtype=np.int64)


class TextGenerationEnv(gymnasium.Env[Observation, Any]):
    """Emits one token per step; a finished text earns a reward.

    ## Action Space
    `Discrete(V)`: the words in order, then eos if `eos` is True.

    ## Observation Space
    `Dict` of `tokens` (the tokens so far, right-padded with `pad_id`), `length`, `action_mask`
    (1 where a token may come next) and, with prompts, `prompt`; or, with `observation="tokens"`,
    the `tokens` array alone; or, with `observation="one_hot"`, one flat `Box` of zeros and ones:
    V numbers for each place of the text, then `pad_id` numbers for each place of the prompt.

    ## Starting State
    No tokens and, with prompts, a uniformly drawn one; `reset(options={"prompt_index": 3})` chooses
    it.

    ## Reward
    0 until the episode ends, then the value of `reward` for the text.

    ## Episode End
    Terminated by eos, by `max_length` tokens, or by an action that `action_mask` forbids. A
    forbidden action is not appended and earns `invalid_action_penalty`; the text is not judged.
    Never truncated.

    ## Information
    `action_mask` int8 (V,), for `action_space.sample(mask)`. At the end also `text`, `token_ids`
    (a tuple, without padding) and `invalid_action`. If the reward returned parts for the text,
    also `reward_components`: a float by name, without the parts that did not apply.

    Args:
        words: the emittable words, distinct.
        max_length: number of tokens of the longest text, eos included.
        eos: True adds an action, after the words, that ends the text.
        pad_id: the id of padding; None takes the first id that is not an action.
        reward: `reward(tokens (K, L), lengths (K,), prompts) -> (K,)` or `-> ((K,), parts)`, or its
            name `package.module:attribute` or `file.py:attribute`. A function with a parameter
            `prompt_index` also gets the indices of the texts' prompts, (K,).
        prompts: start states, integers of shape (number of prompts, P), left-padded with `pad_id`.
        action_mask: True for tokens that may come next: booleans of shape (V,), or a function
            `(tokens (K, L), lengths (K,), prompts) -> (K, V)`; None allows all.
        invalid_action_penalty: the reward of a forbidden action.
        observation: "dict", "tokens" or "one_hot".
        separator: string between the words of a text: " ", or "" for characters.
        decode: turns ids of words into a text, for subwords; None joins the words.
        render_mode: None, "ansi" or "rgb_array".

    Attributes:
        rules: these arguments, checked and frozen.

    Raises:
        ValueError: an argument breaks its rule.
        gymnasium.error.DependencyNotInstalled: "rgb_array" needs Pillow and matplotlib.
    """

    metadata: dict[str, Any] = {"render_modes": [*RENDER_MODES], "render_fps": 4}  # noqa: RUF012

    def __init__(
        self,
        *,
        words: Sequence[str] = DEFAULT_WORDS,
        max_length: int = 8,
        eos: bool = True,
        pad_id: int | None = None,
        reward: Reward | str = DEFAULT_REWARD,
        prompts: ArrayLike | None = None,
        action_mask: ArrayLike | ActionMask | None = None,
        invalid_action_penalty: float = -1.0,
        observation: ObservationLayout = "dict",
        separator: str = " ",
        decode: Decode | None = None,
        render_mode: str | None = None,
    ) -> None:
        self.rules = checked_rules(
            words=words,
            max_length=max_length,
            eos=eos,
            pad_id=pad_id,
            prompts=prompts,
            action_mask=action_mask,
            invalid_action_penalty=invalid_action_penalty,
            observation=observation,
            separator=separator,
            decode=decode,
        )
        check_render_mode(render_mode)
        self.render_mode = render_mode
        self.action_space = self.rules.action_space()
        self.observation_space = self.rules.observation_space()
        self._episode = Episodes(self.rules, num_rows=1)
        self.set_reward(reward)

    def set_reward(self, reward: Reward | str) -> None:
        """Replaces the reward function.

        Gymnasium deep-copies the arguments of `make`, so pass a live object to this method instead.
        """
        self._reward = load_reward(reward)
        self._judge = judge_of(self._reward, self.rules)

    @property
    def judge(self) -> Judge:
        """The reward as the environment asks it, for wrappers that judge texts of their own."""
        return self._judge

    @property
    def episodes(self) -> Episodes:
        """The live state, with one row, for wrappers to read; only the environment changes it."""
        return self._episode

    def action_masks(self) -> NDArray[np.bool_]:
        """True for tokens that may come next, (V,). sb3-contrib's MaskablePPO calls this method."""
        return self._episode.allowed[0].copy()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode; `options={"prompt_index": int}` chooses its prompt.

        Raises:
            ValueError: the prompt index is out of range.
        """
        super().reset(seed=seed)
        prompt_index = None if options is None else options.get("prompt_index")
        if prompt_index is not None:
            indices = self.rules.checked_prompt_indices(prompt_index, shape=()).reshape(1)
            self._episode.begin(_THE_ROW, indices)
        else:
            self._episode.begin(_THE_ROW, self.rules.draw_prompts(self.np_random, 1))
        return self._observe(), {"action_mask": self._mask_for_sampling()}

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Emits one token.

        Raises:
            ValueError: the action lies outside the space, or the reward or mask function returned
                something unusable.
            gymnasium.error.ResetNeeded: the episode has ended or not begun.
        """
        if self._episode.ended[0]:
            raise ResetNeeded("step was called after the end of an episode: call reset first")
        checked = checked_actions(action, shape=())
        if self._episode.append(0, checked.item()):
            return self._observe(), 0.0, False, False, {"action_mask": self._mask_for_sampling()}
        outcome = self._episode.advance(_THE_ROW, checked.reshape(1), self._judge)
        terminated = bool(self._episode.ended[0])
        info: dict[str, Any] = {"action_mask": self._mask_for_sampling()}
        if terminated:
            token_ids = self._episode.token_ids(_THE_ROW)[0]
            info["text"] = self.rules.decode(token_ids)
            info["token_ids"] = token_ids
            info["invalid_action"] = bool(outcome.invalid[0])
            if outcome.parts is not None:
                parts = {name: float(part[0]) for name, part in outcome.parts.items()}
                info["reward_components"] = {
                    name: part for name, part in parts.items() if not math.isnan(part)
                }
        return self._observe(), float(outcome.rewards[0]), terminated, False, info

    def render(self) -> str | NDArray[np.uint8] | None:
        """The text so far, after its prompt: a string for "ansi", a picture for "rgb_array"."""
        if self.render_mode == "rgb_array":
            return self._episode.picture(0)
        return self._episode.display(0) if self.render_mode == "ansi" else None

    def _observe(self) -> Observation:
        return observation_of_row(self._episode.observation(), 0)

    def _mask_for_sampling(self) -> NDArray[np.int8]:
        return self._episode.allowed[0].astype(np.int8)
