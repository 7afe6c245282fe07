"""The vector environment and features of token ids for Stable-Baselines3.

    from seqgan.integrations.sb3 import TextVecEnv, TokenFeatures
    env = TextVecEnv(TextGenerationVectorEnv(256, autoreset_mode="SameStep"))
    PPO("MultiInputPolicy", env, policy_kwargs={"features_extractor_class": TokenFeatures})

`TextVecEnv` steps all texts in the same NumPy calls, where Stable-Baselines3 would step one after
the other. `TokenFeatures` embeds ids, which Stable-Baselines3 would treat as quantities. With
`observation="tokens"` the policy is "MlpPolicy". `MaskablePPO` of sb3-contrib works too.
"""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from jaxtyping import Float
from numpy.typing import NDArray
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn

from seqgan.system.errors import ConfigurationError
from seqgan_envs import TextGenerationVectorEnv


class TokenFeatures(BaseFeaturesExtractor):
    """Reads the prompt and the tokens so far with an embedding and a GRU.

    Without embeddings, Stable-Baselines3 treats word 7 as slightly more than word 6. A GRU replaces
    the mean of the embeddings, because the order of words matters in most texts. The mean is twice
    as fast, and as good if only the last word matters, but it gives "dog bites man" and "man bites
    dog" the same features.

    The pad id has an embedding of its own and precedes the first token, so that an empty text has
    features too. Padding behind the last token is not read. Masks are not read either:
    `MaskablePPO` asks the environment for the allowed actions.

    Args:
        observation_space: the space of a `TextGenerationEnv` with ids, "dict" or "tokens".
        features_dim: F, the width of the input of policy and value function.
        embedding_size: E, the width of a token's embedding.

    Raises:
        ConfigurationError: the space is not that of a `TextGenerationEnv`.
    """

    def __init__(
        self,
        observation_space: spaces.Space,
        features_dim: int = 64,
        embedding_size: int = 32,
    ) -> None:
        super().__init__(observation_space, features_dim)
        members = (
            observation_space.spaces
            if isinstance(observation_space, spaces.Dict)
            else {"tokens": observation_space}
        )
        tokens = members.get("tokens")
        if (
            not isinstance(tokens, spaces.Box)
            or len(tokens.shape) != 1
            or not np.issubdtype(tokens.dtype, np.integer)
        ):
            raise ConfigurationError(
                f"the observations are {observation_space}, but TokenFeatures reads those"
                " of TextGenerationEnv that hold ids"
            )
        self.pad_id = int(tokens.high[0])
        self.has_prompt = "prompt" in members
        self.embedding = nn.Embedding(self.pad_id + 1, embedding_size)
        self.gru = nn.GRU(embedding_size, features_dim, batch_first=True)
        self.project = nn.Sequential(nn.Linear(features_dim + 1, features_dim), nn.ReLU())

    def forward(
        self, observations: dict[str, Tensor] | Float[Tensor, "batch length"]
    ) -> Float[Tensor, "batch features"]:
        """Computes features of observations, which Stable-Baselines3 has converted to floats."""
        members = observations if isinstance(observations, dict) else {"tokens": observations}
        tokens = members["tokens"].long()
        start = torch.full_like(tokens[:, :1], self.pad_id)
        prompt = [members["prompt"].long()] if self.has_prompt else []
        before = torch.cat([start, *prompt], dim=1)
        lengths = (tokens != self.pad_id).sum(dim=1)
        states, _ = self.gru(self.embedding(torch.cat([before, tokens], dim=1)))
        rows = torch.arange(len(tokens), device=tokens.device)
        last_states = states[rows, before.shape[1] - 1 + lengths]
        # The value function needs the remaining length, and a GRU counts badly.
        share = lengths[:, None] / tokens.shape[1]
        return self.project(torch.cat([last_states, share], dim=1))


class TextVecEnv(VecEnv):
    """A `TextGenerationVectorEnv` as Stable-Baselines3's vector environment.

    Rows restart in the step that ends them, and their infos are those of a `DummyVecEnv` of single
    environments in `Monitor`: `terminal_observation`, `episode` with the return `r`, the length
    `l` and the seconds `t`, `TimeLimit.truncated` (always False), `text`, `token_ids`,
    `invalid_action` and `reward_components`. The action mask is in the observation and in
    `env_method("action_masks")`, but not in the infos. All rows draw their prompts from one random
    generator, seeded with the first row's seed.

    Methods and attributes belong to all rows together; only `action_masks` has a row for each.

    Args:
        env: the environment, perhaps in wrappers that leave its infos as they are, with the
            autoreset mode "SameStep".

    Raises:
        ConfigurationError: another environment, or another autoreset mode.
    """

    def __init__(self, env: VectorEnv[Any, Any, Any]) -> None:
        inner = env.unwrapped
        if not isinstance(inner, TextGenerationVectorEnv):
            raise ConfigurationError(
                f"TextVecEnv cannot wrap {env}: it takes a TextGenerationVectorEnv"
            )
        if inner.autoreset_mode is not AutoresetMode.SAME_STEP:
            raise ConfigurationError(
                f"the environment's autoreset_mode is {inner.autoreset_mode.value!r}, but"
                ' TextVecEnv takes one with "SameStep"'
            )
        self.env = env
        self.inner = inner
        self._returns = np.zeros(env.num_envs)
        self._lengths = np.zeros(env.num_envs, dtype=np.int64)
        self._start = time.time()
        self._actions = np.zeros(env.num_envs, dtype=np.int64)
        super().__init__(env.num_envs, env.single_observation_space, env.single_action_space)

    def reset(self) -> Any:
        """Starts an episode in every row, with the seed and the options that were set before.

        Raises:
            ConfigurationError: an option is not the number of a prompt, or some rows lack it.
        """
        observation, _ = self.env.reset(seed=self._seeds[0], options=self._given_options())
        self._reset_seeds()
        self._reset_options()
        self._returns[:] = 0.0
        self._lengths[:] = 0
        self.reset_infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        return observation

    def step_async(self, actions: NDArray[Any]) -> None:
        self._actions = actions

    def step_wait(
        self,
    ) -> tuple[Any, NDArray[np.float32], NDArray[np.bool_], list[dict[str, Any]]]:
        """Emits one token in every row; rewards are float32 (num_envs,)."""
        observation, rewards, terminated, _, infos = self.env.step(self._actions)
        self._returns += rewards
        self._lengths += 1
        rows: list[dict[str, Any]] = [{"TimeLimit.truncated": False} for _ in range(self.num_envs)]
        for row in np.flatnonzero(terminated).tolist():
            rows[row] |= _info_of_row(infos["final_info"], row)
            rows[row]["terminal_observation"] = infos["final_obs"][row]
            rows[row]["episode"] = {
                "r": round(float(self._returns[row]), 6),
                "l": int(self._lengths[row]),
                "t": round(time.time() - self._start, 6),
            }
        self._returns[terminated] = 0.0
        self._lengths[terminated] = 0
        return observation, rewards.astype(np.float32), terminated, rows

    def close(self) -> None:
        self.env.close()

    def get_images(self) -> Sequence[NDArray[np.uint8] | None]:
        """The pictures of all rows; None for each unless the render mode is "rgb_array"."""
        pictures: Any = self.env.render() if self.render_mode == "rgb_array" else None
        return [None] * self.num_envs if pictures is None else list(pictures)

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The attribute of a single environment, or else the vector environment's, for each row."""
        of_row = f"single_{attr_name}"
        name = of_row if hasattr(self.env, of_row) else attr_name
        return [getattr(self.env, name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Sets an attribute for all rows together.

        Raises:
            ConfigurationError: only some rows are meant.
        """
        self._check_all(attr_name, indices)
        setattr(self.inner, attr_name, value)

    def env_method(
        self, method_name: str, *method_args: Any, indices: Any = None, **method_kwargs: Any
    ) -> list[Any]:
        """Calls a method, once for all rows; each row gets its mask, or else the same result.

        Raises:
            ConfigurationError: only some rows are meant, and it is not `action_masks`.
        """
        method = getattr(self.env, method_name)
        if method_name == "action_masks":
            masks = method()
            return [masks[row] for row in self._get_indices(indices)]
        self._check_all(method_name, indices)
        result = method(*method_args, **method_kwargs)
        return [result for _ in range(self.num_envs)]

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """True for wrappers of the vector environment, and for `Monitor`, whose infos it has."""
        env, wrapped = self.env, wrapper_class is Monitor
        while isinstance(env, VectorWrapper):
            wrapped = wrapped or isinstance(env, wrapper_class)
            env = env.env
        return [wrapped for _ in self._get_indices(indices)]

    def _check_all(self, name: str, indices: Any) -> None:
        if len(set(self._get_indices(indices))) < self.num_envs:
            raise ConfigurationError(
                f"the indices {indices} are given for {name}, which belongs to all"
                f" {self.num_envs} rows together"
            )

    def _given_options(self) -> dict[str, Any] | None:
        """The options of all rows as those of the vector environment."""
        if not any(self._options):
            return None
        if any(options.keys() != {"prompt_index"} for options in self._options):
            raise ConfigurationError(
                f"options are {self._options}, but must be {{'prompt_index': number}} in"
                " every row or in none"
            )
        return {"prompt_index": np.array([options["prompt_index"] for options in self._options])}


def _info_of_row(infos: dict[str, Any], row: int) -> dict[str, Any]:
    """One row's entries of a vector environment's infos, as a single environment has them."""
    info: dict[str, Any] = {}
    for name, values in infos.items():
        if name.startswith("_") or not infos[f"_{name}"][row]:
            continue
        value = _info_of_row(values, row) if isinstance(values, dict) else values[row]
        info[name] = value.item() if isinstance(value, np.generic) else value
    return info
