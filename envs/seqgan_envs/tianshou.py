"""Adapts the environment to tianshou, without importing tianshou."""

from typing import Any, SupportsFloat

import gymnasium
from gymnasium import spaces


class ForTianshou(gymnasium.Wrapper[dict[str, Any], Any, Any, Any]):
    """Moves the mask to tianshou's place for it, and drops infos that tianshou cannot store.

    The observation becomes `{"obs": {tokens, length[, prompt]}, "mask": action_mask}`, which
    tianshou's Q-learning policies read. `text` and `token_ids` are dropped, because tianshou's
    trainer stops at an info that exists only at the end of an episode.

    Args:
        env: a `TextGenerationEnv` whose observations are dicts, or a wrapper of one.

    Raises:
        ValueError: the observations hold no mask.
    """

    def __init__(self, env: gymnasium.Env[Any, Any]) -> None:
        super().__init__(env)
        space = env.observation_space
        if not isinstance(space, spaces.Dict) or "action_mask" not in space.spaces:
            raise ValueError(
                f"the observation has no 'action_mask', which ForTianshou needs: {space}"
            )
        members = dict(space.spaces)
        mask = members.pop("action_mask")
        self.observation_space = spaces.Dict({"obs": spaces.Dict(members), "mask": mask})

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Resets the environment and rearranges the observation."""
        observation, info = self.env.reset(seed=seed, options=options)
        return _rearranged(observation), info

    def step(self, action: Any) -> tuple[dict[str, Any], SupportsFloat, bool, bool, dict[str, Any]]:
        """Steps the environment, rearranges the observation and drops infos."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        numbers = {name: info[name] for name in info.keys() - {"text", "token_ids"}}
        return _rearranged(observation), reward, terminated, truncated, numbers


def _rearranged(observation: dict[str, Any]) -> dict[str, Any]:
    members = dict(observation)
    mask = members.pop("action_mask")
    return {"obs": members, "mask": mask}
