"""The vector environment: many texts advance together in the same NumPy calls."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import ArrayLike, NDArray

from seqgan_envs.episodes import Episodes, Outcome, checked_actions, observation_of_row
from seqgan_envs.judges import Judge, judge_of
from seqgan_envs.picture import check_render_mode
from seqgan_envs.rewards import DEFAULT_REWARD, Reward, load_reward
from seqgan_envs.rules import (
    DEFAULT_WORDS,
    ActionMask,
    Decode,
    Observation,
    ObservationLayout,
    check_at_least,
    checked_rules,
)
from seqgan_envs.text_generation import TextGenerationEnv


class TextGenerationVectorEnv(VectorEnv[Observation, Any, NDArray[Any]]):
    """`num_envs` rows of `TextGenerationEnv`; spaces and observations are batched.

    It differs from a `SyncVectorEnv` of single environments in four ways:
    - `reward` is called once per step, with all rows that ended.
    - All rows draw their prompts from one `np_random`.
    - The action mask is in the observation and in `action_masks()`, but not in the infos.
    - With `AutoresetMode.DISABLED`, ended rows wait for a reset: their action is ignored, their
      reward is 0 and they stay terminated.

    The infos hold `text`, `token_ids` and `invalid_action` of the rows that ended in this step,
    with Gymnasium's masks `_text`, ...; with `AutoresetMode.SAME_STEP` they are in `final_info`,
    beside `final_obs`. If the reward returned parts, `reward_components` holds an array (num_envs,)
    and a mask for each name.

    Args:
        num_envs: number of rows.
        autoreset_mode: the time of an ended row's restart, an `AutoresetMode` or its value
            ("NextStep", "SameStep" or "Disabled").

    The other arguments are those of `TextGenerationEnv`.

    Attributes:
        rules: the arguments of a row, checked and frozen.

    Raises:
        ValueError: an argument breaks its rule.
        gymnasium.error.DependencyNotInstalled: "rgb_array" needs Pillow and matplotlib.
    """

    metadata: dict[str, Any] = TextGenerationEnv.metadata

    def __init__(
        self,
        num_envs: int = 1,
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
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
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
        check_at_least("num_envs", 1, num_envs)
        check_render_mode(render_mode)
        self.num_envs = int(num_envs)
        self.render_mode = render_mode
        # Gymnasium reads the mode from the metadata, TorchRL from the attribute.
        self.autoreset_mode = _checked_autoreset_mode(autoreset_mode)
        self.metadata = {**self.metadata, "autoreset_mode": self.autoreset_mode}
        self.single_action_space = self.rules.action_space()
        self.single_observation_space = self.rules.observation_space()
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self._episodes = Episodes(self.rules, self.num_envs)
        self._was_reset = False
        self.set_reward(reward)

    def set_reward(self, reward: Reward | str) -> None:
        """Replaces the reward function.

        Gymnasium deep-copies the arguments of `make_vec`, so pass a live object to this method.
        """
        self._reward = load_reward(reward)
        self._judge = judge_of(self._reward, self.rules)

    @property
    def judge(self) -> Judge:
        """The reward as the environment asks it, for wrappers that judge texts of their own."""
        return self._judge

    def single_env(self) -> TextGenerationEnv:
        """Makes a single environment with the rules and the reward of a row."""
        rules = self.rules
        return TextGenerationEnv(
            words=rules.words,
            max_length=rules.max_length,
            eos=rules.eos_id is not None,
            pad_id=rules.pad_id,
            reward=self._reward,
            prompts=rules.prompts,
            action_mask=rules.action_mask,
            invalid_action_penalty=rules.invalid_action_penalty,
            observation=rules.observation,
            separator=rules.separator,
            decode=rules.decode_words,
            render_mode=self.render_mode,
        )

    @property
    def episodes(self) -> Episodes:
        """The live state of all rows, for wrappers to read; only the environment changes it."""
        return self._episodes

    def action_masks(self) -> NDArray[np.bool_]:
        """True for tokens that may come next, (num_envs, V)."""
        return self._episodes.allowed.copy()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode in every row, or in the rows that `options` selects.

        Args:
            seed: seeds the one generator from which all rows draw their prompts.
            options: `reset_mask`, bool (num_envs,), selects the rows to reset; `prompt_index`,
                integers (num_envs,), chooses their prompts. Never changed.

        Raises:
            ValueError: an option breaks its rule.
        """
        super().reset(seed=seed)
        options = options or {}
        rows = np.arange(self.num_envs)
        if "reset_mask" in options:
            rows = np.flatnonzero(self._checked_reset_mask(options["reset_mask"]))
        prompt_index = options.get("prompt_index")
        if prompt_index is not None:
            indices = self.rules.checked_prompt_indices(prompt_index, shape=(self.num_envs,))
            self._episodes.begin(rows, indices[rows])
        else:
            self._begin(rows)
        self._was_reset = True
        return self._episodes.observation(), {}

    def step(
        self, actions: ArrayLike
    ) -> tuple[
        Observation, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
    ]:
        """Emits one token in every unfinished row.

        Args:
            actions: integers (num_envs,); those of ended rows are ignored.

        Raises:
            ValueError: an action lies outside the space, or the reward or mask function returned
                something unusable.
            gymnasium.error.ResetNeeded: the environment was never reset.
        """
        if not self._was_reset:
            raise ResetNeeded("step was called before the first reset: call reset first")
        episodes = self._episodes
        (waiting,) = episodes.ended.nonzero()
        (active,) = (~episodes.ended).nonzero()
        outcome = episodes.advance(
            active, checked_actions(actions, shape=(self.num_envs,)), self._judge
        )
        ending = active[episodes.ended[active]]
        terminated = episodes.ended.copy()
        infos = self._end_infos(ending, outcome)
        if self.autoreset_mode is AutoresetMode.NEXT_STEP and waiting.size:
            self._begin(waiting)
            terminated[waiting] = False
        elif self.autoreset_mode is AutoresetMode.SAME_STEP and ending.size:
            infos = self._final_infos(ending, infos)
            self._begin(ending)
        truncated = np.zeros(self.num_envs, dtype=np.bool_)
        return episodes.observation(), outcome.rewards, terminated, truncated, infos

    def render(self) -> tuple[str, ...] | tuple[NDArray[np.uint8], ...] | None:
        """The text of every row so far, as `TextGenerationEnv.render` shows it."""
        if self.render_mode == "rgb_array":
            return tuple(self._episodes.picture(row) for row in range(self.num_envs))
        if self.render_mode == "ansi":
            return tuple(self._episodes.display(row) for row in range(self.num_envs))
        return None

    def _begin(self, rows: NDArray[np.int64]) -> None:
        self._episodes.begin(rows, self.rules.draw_prompts(self.np_random, len(rows)))

    def _end_infos(self, ending: NDArray[np.int64], outcome: Outcome) -> dict[str, Any]:
        if not ending.size:
            return {}
        token_ids = self._episodes.token_ids(ending)
        texts = [self.rules.decode(ids) for ids in token_ids]
        infos: dict[str, Any] = {
            "text": self._objects(ending, texts),
            "_text": self._mask(ending),
            "token_ids": self._objects(ending, token_ids),
            "_token_ids": self._mask(ending),
            "invalid_action": outcome.invalid,
            "_invalid_action": self._mask(ending),
        }
        if outcome.parts is not None:
            infos["reward_components"] = self._components(outcome.judged, outcome.parts)
            infos["_reward_components"] = self._mask(outcome.judged)
        return infos

    def _components(
        self, judged: NDArray[np.int64], parts: dict[str, NDArray[np.float64]]
    ) -> dict[str, NDArray[Any]]:
        components: dict[str, NDArray[Any]] = {}
        for name, part in parts.items():
            applies = ~np.isnan(part)
            if applies.any():
                values = np.zeros(self.num_envs)
                values[judged[applies]] = part[applies]
                components[name] = values
                components[f"_{name}"] = self._mask(judged[applies])
        return components

    def _final_infos(self, ending: NDArray[np.int64], end_infos: dict[str, Any]) -> dict[str, Any]:
        batch = self._episodes.observation(ending)
        observations = [observation_of_row(batch, index) for index in range(len(ending))]
        return {
            "final_obs": self._objects(ending, observations),
            "_final_obs": self._mask(ending),
            "final_info": end_infos,
            "_final_info": self._mask(ending),
        }

    def _objects(self, rows: NDArray[np.int64], values: Sequence[object]) -> NDArray[np.object_]:
        objects = np.full(self.num_envs, None, dtype=object)
        # fromiter, because asarray would stack values of equal length into a second axis.
        objects[rows] = np.fromiter(values, dtype=object, count=len(values))
        return objects

    def _mask(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        mask = np.zeros(self.num_envs, dtype=np.bool_)
        mask[rows] = True
        return mask

    def _checked_reset_mask(self, reset_mask: object) -> NDArray[np.bool_]:
        mask = np.asarray(reset_mask)
        if mask.shape != (self.num_envs,) or mask.dtype != np.bool_ or not mask.any():
            raise ValueError(
                f"reset_mask is {mask.dtype} of shape {mask.shape}, but must be booleans of"
                f" shape ({self.num_envs},), at least one of them True: {mask}"
            )
        return mask


def _checked_autoreset_mode(autoreset_mode: AutoresetMode | str) -> AutoresetMode:
    names = [mode.value for mode in AutoresetMode]
    if not isinstance(autoreset_mode, AutoresetMode) and autoreset_mode not in names:
        raise ValueError(
            f"autoreset_mode is {autoreset_mode!r}, but must be an AutoresetMode or one of {names}"
        )
    return AutoresetMode(autoreset_mode)
