"""Monte Carlo values as an environment's reward: SeqGAN's signal for every token, for any agent.

The environment rewards a finished text. These wrappers reward each token with what it changed:

    reward_t = Q_t - Q_{t-1},    Q_{-1} = 0

Q_t is the mean reward of `num_rollouts` completions of the text up to token t (Yu et al., 2017,
eq. 4). At the end of an episode Q_t is the environment's own reward: the text's, or the penalty of
a forbidden action. This is potential-based shaping (Ng et al., 1999). At discount 1 the rewards of
an episode add up to the environment's own, whatever the rollouts say, so the best policies stay
the best ones. The running sum of an episode's rewards is Q_t.
"""

from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import VectorWrapper
from jaxtyping import Float, Int
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from seqgan.data.sequences import Sequences, joined
from seqgan.data.vocabulary import Vocabulary
from seqgan.functional.rescaling import weighted_sum
from seqgan.learning.rollouts import judge
from seqgan.models.generators.base import Generator, State
from seqgan.models.sampling import complete, rows_in_flight
from seqgan.rewards.adapters.environment import as_env_reward, as_sequences
from seqgan.rewards.base import RewardModel
from seqgan.rewards.weighted import as_weighted_sum
from seqgan_envs import TextGenerationEnv, TextGenerationVectorEnv
from seqgan_envs.rules import Observation, Rules


class MonteCarloReward(gymnasium.Wrapper[Observation, Any, Observation, Any]):
    """Rewards each token of a `TextGenerationEnv` with the change of the Monte Carlo value.

    The reward model takes the place of the environment's own reward, so that both judge alike.
    Completions obey an action mask that is fixed, and ignore one that is a function. A completion
    to which the reward does not apply counts 0, as in the environment.

    All randomness comes from a child of the environment's `np_random`. The environment's own draws
    (of prompts) are the same as without the wrapper.

    Args:
        env: a `TextGenerationEnv`, perhaps wrapped, with the vocabulary's words, eos and pad.
        policy: completes the texts, and is put in evaluation mode. It may learn between episodes;
            a text in progress keeps the recurrent state from before.
        reward_model: judges finished texts, and becomes the environment's reward.
        num_rollouts: completions per token, N.
        device: the policy's and the reward model's.

    Raises:
        ValueError: another kind of environment, or one of another vocabulary; a policy with other
            actions; fewer than one rollout.
    """

    def __init__(
        self,
        env: gymnasium.Env[Observation, Any],
        policy: Generator,
        reward_model: RewardModel,
        vocabulary: Vocabulary,
        num_rollouts: int,
        *,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(env)
        inner = env.unwrapped
        if not isinstance(inner, TextGenerationEnv):
            raise ValueError(f"MonteCarloReward wraps a TextGenerationEnv, got {env}")
        self._inner = inner
        self._values = _PrefixValues(inner, policy, reward_model, vocabulary, num_rollouts, device)

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
        """Emits one token. Raises ValueError where the reward model fails on a completion."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        change = self._values.advance()
        return observation, float(reward) + float(change[0]), terminated, truncated, info


class VectorMonteCarloReward(
    VectorWrapper[Observation, ArrayLike, Observation, ArrayLike, NDArray[Any]]
):
    """`MonteCarloReward` for a `TextGenerationVectorEnv`, in all its autoreset modes.

    The completions of all rows are drawn and judged together. A row earns 0 in a step that only
    resets it, or while it waits. Arguments and errors are those of `MonteCarloReward`.
    """

    def __init__(
        self,
        env: gymnasium.vector.VectorEnv[Observation, ArrayLike, NDArray[Any]],
        policy: Generator,
        reward_model: RewardModel,
        vocabulary: Vocabulary,
        num_rollouts: int,
        *,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(env)
        inner = env.unwrapped
        if not isinstance(inner, TextGenerationVectorEnv):
            raise ValueError(f"VectorMonteCarloReward wraps a TextGenerationVectorEnv, got {env}")
        self._inner = inner
        self._values = _PrefixValues(inner, policy, reward_model, vocabulary, num_rollouts, device)
        self.autoreset_mode = inner.autoreset_mode  # TorchRL looks for it here

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
        self,
        env: TextGenerationEnv | TextGenerationVectorEnv,
        policy: Generator,
        reward_model: RewardModel,
        vocabulary: Vocabulary,
        num_rollouts: int,
        device: torch.device | str,
    ) -> None:
        _check_vocabulary(env.rules, policy, vocabulary)
        if num_rollouts < 1:
            raise ValueError(f"num_rollouts is at least 1, got {num_rollouts}")
        env.set_reward(as_env_reward(reward_model, vocabulary, device))
        self._episodes = env.episodes
        self._policy = policy
        self._rewards = as_weighted_sum(reward_model)
        self._vocabulary = vocabulary
        self._num_rollouts = num_rollouts
        self._device = device
        self._forbidden: Tensor | None = None
        mask = env.rules.action_mask
        if isinstance(mask, np.ndarray) and not mask.all():
            self._forbidden = torch.from_numpy(np.flatnonzero(~mask)).to(device)
        num_rows = len(self._episodes.ended)
        self._values = np.zeros(num_rows)
        self._lengths = np.zeros(num_rows, dtype=np.int64)  # the lengths of the valued texts
        self._rows = np.arange(0)  # the rows of the states, in order
        self._state: State
        self._rng: torch.Generator

    def reseed(self, np_random: np.random.Generator) -> None:
        """Draws from a child of `np_random` from now on, without a draw from `np_random`."""
        (child,) = np_random.spawn(1)
        self._rng = torch.Generator().manual_seed(int(child.integers(2**62)))

    @torch.no_grad()
    def advance(self) -> NDArray[np.float64]:
        """Values the rows' present texts, and returns the change of each row's value, (rows,)."""
        lengths = self._episodes.lengths
        values = np.where(self._episodes.ended | (lengths == 0), 0.0, self._values)
        (rows,) = (~self._episodes.ended).nonzero()
        longer = lengths[rows] > self._lengths[rows]
        if rows.size:
            self._policy.eval()
            texts = as_sequences(*self._episodes.texts(rows), self._vocabulary).to(self._device)
            logits, self._state = self._read(rows, texts)
            if longer.any():
                places = torch.from_numpy(np.flatnonzero(longer)).to(self._device)
                estimates = self._estimate(texts, places, logits, self._state)
                values[rows[longer]] = estimates.cpu().numpy()
        change = values - self._values
        self._values, self._lengths, self._rows = values, lengths.copy(), rows
        return change

    def _read(
        self, rows: NDArray[np.int64], texts: Sequences
    ) -> tuple[Float[Tensor, "row vocab"], State]:
        """Logits and states after the texts of the given rows.

        If each row has one more token, one step is enough. If some rows start anew, their states
        cannot be put beside the others', and one pass reads all texts.
        """
        lengths = self._episodes.lengths[rows]
        places = torch.arange(len(rows), device=texts.tokens.device)
        if np.array_equal(lengths, self._lengths[rows] + 1):
            still = torch.from_numpy(np.searchsorted(self._rows, rows)).to(places.device)
            return self._policy.step(
                texts.tokens[places, texts.lengths - 1], self._state.select(still)
            )
        return self._policy.encode(texts.trimmed()).gather(places, texts.lengths)

    def _estimate(
        self,
        texts: Sequences,
        places: Int[Tensor, " place"],
        logits: Float[Tensor, "row vocab"],
        state: State,
    ) -> Float[Tensor, " place"]:
        """The mean reward of the completions of the texts at the given places, in float64."""
        together = max(rows_in_flight(self._policy) // self._num_rollouts, 1)
        completed = [
            complete(
                self._policy,
                self._vocabulary,
                texts.tokens[some],
                texts.lengths[some],
                logits[some],
                state.select(some),
                self._rng,
                forbidden=self._forbidden,
                num_completions=self._num_rollouts,
            )
            for some in places.split(together)
        ]
        origin = places.repeat_interleave(self._num_rollouts)
        scores = judge(self._rewards, texts, origin, joined(completed))
        rewards = weighted_sum(scores, self._rewards.weights)
        # The completions of one text are neighbours, so this view only splits their axis.
        return rewards.double().nan_to_num(nan=0.0).view(-1, self._num_rollouts).mean(dim=1)


def _check_vocabulary(rules: Rules, policy: Generator, vocabulary: Vocabulary) -> None:
    """Raises ValueError if the environment or the policy has other tokens."""
    if rules.words != vocabulary.words:
        raise ValueError(
            f"the environment's words are the vocabulary's {len(vocabulary.words)}, in their order,"
            f" got {len(rules.words)} that differ"
        )
    if rules.eos_id != vocabulary.eos_id:
        raise ValueError(
            f"the environment's eos is the vocabulary's, {vocabulary.eos_id}, got {rules.eos_id}"
        )
    if rules.pad_id != vocabulary.pad_id:
        raise ValueError(
            f"the environment's pad_id is the vocabulary's, {vocabulary.pad_id}, got {rules.pad_id}"
        )
    if policy.num_actions != vocabulary.num_actions:
        raise ValueError(
            f"the policy emits the vocabulary's {vocabulary.num_actions} tokens,"
            f" got one that emits {policy.num_actions}"
        )
