"""The reward of an environment, spread over the tokens.

The environment rewards a finished text. `dense_reward` rewards each token with what it changed:

    reward_t = Q_t - Q_{t-1},    Q_{-1} = 0

Q_t is the mean reward of `num_rollouts` completions of the text up to token t (Yu et al., 2017,
eq. 4). At the end of an episode Q_t is the environment's own reward: the text's, or the penalty of
a forbidden action. This is potential-based shaping (Ng et al., 1999). At discount 1 the rewards of
an episode add up to the environment's own, whatever the rollouts say, so the best policies stay
the best ones. The running sum of an episode's rewards is Q_t.
"""

from typing import Any, overload

import gymnasium
import numpy as np
from gymnasium.vector import VectorEnv, VectorWrapper
from numpy.typing import ArrayLike, NDArray

from seqgan.learning.policies import completer
from seqgan.system.errors import ConfigurationError
from seqgan_envs import TextGenerationEnv, TextGenerationVectorEnv
from seqgan_envs.rewards import checked_judgement
from seqgan_envs.rules import Observation


@overload
def dense_reward(
    env: gymnasium.Env[Any, Any], num_rollouts: int = ..., policy: Any = ...
) -> "MonteCarloReward": ...


@overload
def dense_reward(
    env: VectorEnv[Any, Any, Any], num_rollouts: int = ..., policy: Any = ...
) -> "VectorMonteCarloReward": ...


def dense_reward(
    env: gymnasium.Env[Any, Any] | VectorEnv[Any, Any, Any],
    num_rollouts: int = 8,
    policy: Any = None,
) -> "MonteCarloReward | VectorMonteCarloReward":
    """Rewards each token with what it changed in the mean reward of completions.

    `env = seqgan.dense_reward(seqgan.make_env(...), num_rollouts=8)`

    The completions are of the policy that is followed. An agent that learns is made after its
    environment: `env.follow(agent)` before `agent.learn()`.

    Args:
        env: a `TextGenerationEnv`, single or vector, perhaps in wrappers.
        num_rollouts: completions of each token's text.
        policy: completes the texts:
            None: all tokens that may come next are equally likely;
            a function of `tokens`, `texts`, ... that gives weights of the next token, or next
            tokens: see `FunctionPolicy`;
            an agent or a policy of Stable-Baselines3 or sb3-contrib;
            a policy of TorchRL, such as a `ProbabilisticActor`;
            a `Generator` over the environment's words, or a `Run`.

    Returns:
        A `MonteCarloReward`, or a `VectorMonteCarloReward` of a vector environment.

    Raises:
        ConfigurationError: another kind of environment, a policy that cannot complete its texts,
            or fewer than one rollout.
    """
    if isinstance(env, VectorEnv):
        return VectorMonteCarloReward(env, policy, num_rollouts)
    return MonteCarloReward(env, policy, num_rollouts)


class MonteCarloReward(gymnasium.Wrapper[Observation, Any, Observation, Any]):
    """Rewards each token of a `TextGenerationEnv` with the change of the Monte Carlo value.

    Completions obey the action mask. They are judged by the environment's own reward; one to which
    it does not apply counts 0, as in the environment. Arguments and errors are those of
    `dense_reward`.

    All randomness comes from a child of the environment's `np_random`. The environment's own draws
    (of prompts) are the same as without the wrapper.
    """

    def __init__(
        self, env: gymnasium.Env[Observation, Any], policy: Any = None, num_rollouts: int = 8
    ) -> None:
        inner = getattr(env, "unwrapped", None)
        if not isinstance(inner, TextGenerationEnv):
            raise ConfigurationError(
                f"{env} is no TextGenerationEnv: dense rewards go around the environment itself,"
                " before what other libraries put around it"
            )
        super().__init__(env)
        self._inner = inner
        self._values = _PrefixValues(inner, policy, num_rollouts)

    def follow(self, policy: Any) -> None:
        """Completes texts with this policy from now on; see `dense_reward` for what it may be.

        Raises:
            ConfigurationError: it cannot complete the environment's texts.
        """
        self._values.follow(policy)

    def action_masks(self) -> NDArray[np.bool_]:
        """True for the tokens that may come next, (V,)."""
        return self._inner.action_masks()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode, at value 0."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._values.reseed(self._inner.np_random)
        self._values.advance()
        return observation, info

    def step(self, action: Any) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Emits one token. Raises ValueError where the reward or the policy fails."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        change = self._values.advance()
        return observation, float(reward) + float(change[0]), terminated, truncated, info


class VectorMonteCarloReward(
    VectorWrapper[Observation, ArrayLike, Observation, ArrayLike, NDArray[Any]]
):
    """`MonteCarloReward` for a `TextGenerationVectorEnv`, in all its autoreset modes.

    The completions of all rows are drawn and judged together. A row earns 0 in a step that only
    resets it, or while it waits.
    """

    def __init__(
        self,
        env: VectorEnv[Observation, ArrayLike, NDArray[Any]],
        policy: Any = None,
        num_rollouts: int = 8,
    ) -> None:
        super().__init__(env)
        inner = env.unwrapped
        if not isinstance(inner, TextGenerationVectorEnv):
            raise ConfigurationError(
                f"{env} is no TextGenerationVectorEnv: dense rewards go around the environment"
                " itself, before what other libraries put around it"
            )
        self._inner = inner
        self._values = _PrefixValues(inner, policy, num_rollouts)
        self.autoreset_mode = inner.autoreset_mode  # TorchRL looks for it here

    def follow(self, policy: Any) -> None:
        """Completes texts with this policy from now on; see `MonteCarloReward.follow`."""
        self._values.follow(policy)

    def action_masks(self) -> NDArray[np.bool_]:
        """True for the tokens that may come next, (num_envs, V)."""
        return self._inner.action_masks()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts episodes, at value 0; rows that `reset_mask` leaves out keep theirs."""
        observation, infos = self.env.reset(seed=seed, options=options)
        self._values.reseed(self._inner.np_random)
        self._values.advance()
        return observation, infos

    def step(
        self, actions: ArrayLike
    ) -> tuple[
        Observation, NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]
    ]:
        """Emits one token in every row that goes on; rewards are float64 (num_envs,)."""
        observation, rewards, terminated, truncated, infos = self.env.step(actions)
        return observation, rewards + self._values.advance(), terminated, truncated, infos


class _PrefixValues:
    """The Monte Carlo values of the rows' texts so far, updated after each step.

    A row whose text is empty, or has ended, has value 0.
    """

    def __init__(
        self, env: TextGenerationEnv | TextGenerationVectorEnv, policy: Any, num_rollouts: int
    ) -> None:
        if num_rollouts < 1:
            raise ConfigurationError(f"num_rollouts is {num_rollouts}, but must be at least 1")
        self._env = env
        self._episodes = env.episodes
        self._num_rollouts = num_rollouts
        num_rows = len(self._episodes.ended)
        self._values = np.zeros(num_rows)
        self._lengths = np.zeros(num_rows, dtype=np.int64)  # the lengths of the valued texts
        self._rng = np.random.default_rng(0)  # until the first reset
        self.follow(policy)

    def follow(self, policy: Any) -> None:
        self._completer = completer(policy, self._episodes, self._env.rules)
        self._completer.reseed(self._rng)

    def reseed(self, np_random: np.random.Generator) -> None:
        """Draws from a child of `np_random` from now on, without a draw from `np_random`."""
        (self._rng,) = np_random.spawn(1)
        self._completer.reseed(self._rng)

    def advance(self) -> NDArray[np.float64]:
        """Values the rows' present texts, and returns the change of each row's value, (rows,)."""
        lengths = self._episodes.lengths
        values = np.where(self._episodes.ended | (lengths == 0), 0.0, self._values)
        (active,) = (~self._episodes.ended).nonzero()
        rows = active[lengths[active] > self._lengths[active]]
        self._completer.read(active)
        if rows.size:
            values[rows] = self._estimate(rows)
        change = values - self._values
        self._values, self._lengths = values, lengths.copy()
        return change

    def _estimate(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """The mean reward of the completions of these rows' texts; equal ones are judged once."""
        tokens, lengths = self._completer.complete(rows, self._num_rollouts)
        origin = rows.repeat(self._num_rollouts)
        numbers = self._episodes.prompt_indices(origin)
        keys = tokens if numbers is None else np.column_stack([numbers, tokens])
        _, first, position = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        _, _, prompts = self._episodes.texts(origin[first])
        judgement = self._env.judge(
            tokens[first], lengths[first], prompts, None if numbers is None else numbers[first]
        )
        rewards, _ = checked_judgement(judgement, origin[first])
        # The completions of one text are neighbours, so this only splits their axis.
        mean: NDArray[np.float64] = (
            rewards[position.reshape(-1)].reshape(-1, self._num_rollouts).mean(axis=1)
        )
        return mean
