"""Policies that complete the environment's texts: chance, a function, an agent, a generator.

`completer` takes any of them. Agents of Stable-Baselines3 and TorchRL are known by their methods,
so that neither library is imported here.
"""

import inspect
from collections.abc import Callable
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.models.generators.base import Generator, State
from seqgan.models.sampling import LOGITS_IN_FLIGHT, complete, rows_in_flight
from seqgan.rewards.adapters.environment import as_sequences
from seqgan.system.errors import ConfigurationError
from seqgan_envs.episodes import Episodes
from seqgan_envs.rules import Rules

Choose = Callable[[Episodes, NDArray[np.int64]], NDArray[Any]]
"""`choose(episodes, rows (K,)) -> (K, V)` weights of the next token, or `(K,)` tokens.

The rows are unfinished texts. Weights need not add up to 1.
"""

# Arguments that a function may take; see `FunctionPolicy`.
PARAMETERS = ("observation", "tokens", "lengths", "prompts", "texts", "action_mask")


def _unjudged(
    tokens: NDArray[np.int64], lengths: NDArray[np.int64], *prompts: object
) -> NDArray[np.float64]:
    return np.zeros(len(tokens))


@runtime_checkable
class Completer(Protocol):
    """Draws completions of the texts of an environment."""

    def reseed(self, rng: np.random.Generator) -> None:
        """Draws from this generator from now on."""
        ...

    def read(self, active: NDArray[np.int64]) -> None:
        """Takes note of all unfinished texts, after each step and each reset."""
        ...

    def complete(
        self, rows: NDArray[np.int64], count: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Draws `count` completions of each of these rows, whose texts are unfinished.

        Returns:
            tokens (count * rows, L), right-padded, and their lengths. The completions of one text
            are neighbours.
        """
        ...


def completer(policy: Any, episodes: Episodes, rules: Rules) -> Completer:
    """Makes a completer of a policy; see `dense_reward` for what it may be.

    Raises:
        ConfigurationError: the policy is of none of these kinds, or of another environment.
    """
    if not isinstance(policy, Generator) and isinstance(
        getattr(policy, "generator", None), Generator
    ):
        if policy.vocabulary.words != rules.words:
            raise ConfigurationError(
                f"the run's vocabulary has {len(policy.vocabulary.words)} words that differ from"
                f" the environment's {len(rules.words)}: make the environment with"
                " words=run.vocabulary"
            )
        policy = policy.generator
    if isinstance(policy, Generator):
        if policy.num_actions != rules.num_actions:
            raise ConfigurationError(
                f"the policy emits {policy.num_actions} tokens, but the environment has"
                f" {rules.num_actions}"
            )
        if isinstance(rules.action_mask, np.ndarray):
            return GeneratorCompleter(policy, episodes, rules)
        return ChoiceCompleter(_generator_choice(policy, rules), episodes, rules)
    return ChoiceCompleter(_choice(policy, rules), episodes, rules)


def _choice(policy: Any, rules: Rules) -> Choose:
    if policy is None:
        return _uniform
    if hasattr(policy, "predict") and hasattr(policy, "observation_space"):
        return Sb3Policy(policy, rules)
    if hasattr(policy, "in_keys"):
        return TorchrlPolicy(policy, rules)
    if callable(policy):
        return FunctionPolicy(policy, rules)
    raise ConfigurationError(
        f"a {type(policy).__name__} completes no texts: a policy is a function, a generator, a run,"
        " or an agent of Stable-Baselines3 or TorchRL"
    )


def _uniform(episodes: Episodes, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.ones((len(rows), episodes.allowed.shape[1]))


class FunctionPolicy:
    """A function whose parameters' names say which of these it gets, K unfinished texts at once:

    - `tokens` (K, L) int64, right-padded, and `lengths` (K,), the number of tokens so far
    - `prompts` (K, P) int64, left-padded, or None
    - `texts`: K strings, the texts so far
    - `action_mask` (K, V) bool, True for tokens that may come next
    - `observation`: the agent's observation of K texts, as the vector environment gives it

    It returns weights of the next token, (K, V) numbers of at least 0, or next tokens, (K,)
    integers; as arrays, tensors or lists. Weights of forbidden tokens count as 0.

    Raises:
        ConfigurationError: a parameter has another name.
    """

    def __init__(self, function: Callable[..., Any], rules: Rules) -> None:
        self.function, self.rules = function, rules
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                "the policy's parameters cannot be read: wrap it in a function of any of"
                f" {', '.join(PARAMETERS)}"
            ) from error
        self.names = [each.name for each in parameters if each.name in PARAMETERS]
        optional = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        for each in parameters:
            required = each.default is each.empty and each.kind not in optional
            if (required and each.name not in PARAMETERS) or each.kind is each.POSITIONAL_ONLY:
                raise ConfigurationError(
                    f"the policy takes {each.name!r}, but a policy's parameters are any of"
                    f" {', '.join(PARAMETERS)}"
                )
        if not self.names:
            raise ConfigurationError(
                f"the policy takes no argument: its parameters are any of {', '.join(PARAMETERS)}"
            )

    def __call__(self, episodes: Episodes, rows: NDArray[np.int64]) -> NDArray[Any]:
        chosen = self.function(**{name: self._value(name, episodes, rows) for name in self.names})
        return chosen.numpy(force=True) if isinstance(chosen, Tensor) else np.asarray(chosen)

    def _value(self, name: str, episodes: Episodes, rows: NDArray[np.int64]) -> Any:
        match name:
            case "observation":
                return episodes.observation(rows)
            case "texts":
                return [self.rules.decode(ids) for ids in episodes.token_ids(rows)]
            case "action_mask":
                return episodes.allowed[rows]
        tokens, lengths, prompts = episodes.texts(rows)
        return {"tokens": tokens, "lengths": lengths, "prompts": prompts}[name]


class Sb3Policy:
    """An agent or a policy of Stable-Baselines3 or sb3-contrib, as it is at each call.

    One with a distribution over actions (PPO, A2C, MaskablePPO) is drawn from; another (DQN) takes
    its best action, but for its share of exploration.

    Raises:
        ConfigurationError: it reads other observations, or keeps a state between steps.
    """

    def __init__(self, model: Any, rules: Rules) -> None:
        if model.observation_space != rules.observation_space():
            raise ConfigurationError(
                f"the agent reads {model.observation_space}, but the environment gives"
                f" {rules.observation_space()}"
            )
        if hasattr(getattr(model, "policy", model), "lstm_actor"):
            raise ConfigurationError(
                "a recurrent agent keeps a state between steps and cannot begin amid a text:"
                " follow one that reads the tokens so far"
            )
        self.model, self.num_actions = model, rules.num_actions

    @torch.no_grad()
    def __call__(self, episodes: Episodes, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        observation = episodes.observation(rows)
        policy = getattr(self.model, "policy", self.model)
        if hasattr(policy, "get_distribution"):
            training = policy.training
            policy.set_training_mode(False)
            given, _ = policy.obs_to_tensor(observation)
            weights: Tensor = policy.get_distribution(given).distribution.probs
            policy.set_training_mode(training)
            return weights.double().numpy(force=True)
        best, _ = self.model.predict(observation, deterministic=True)
        explored = float(getattr(self.model, "exploration_rate", 0.0))
        weights_of_all = np.full((len(rows), self.num_actions), explored / self.num_actions)
        weights_of_all[np.arange(len(rows)), best] += 1 - explored
        return weights_of_all


class TorchrlPolicy:
    """A policy of TorchRL: a module that reads and writes TensorDicts.

    It reads the environment's observation as `GymEnv` gives it: `length` as a one-hot vector,
    `action_mask` as bools. One with `get_dist` (a `ProbabilisticActor`) is drawn from; of another
    the `action` is taken.
    """

    def __init__(self, policy: Any, rules: Rules) -> None:
        self.policy, self.max_length = policy, rules.max_length

    @torch.no_grad()
    def __call__(self, episodes: Episodes, rows: NDArray[np.int64]) -> NDArray[Any]:
        from tensordict import TensorDict

        observation = episodes.observation(rows)
        members = observation if isinstance(observation, dict) else {"observation": observation}
        tensors = {name: torch.as_tensor(member) for name, member in members.items()}
        if "length" in tensors:
            lengths = tensors["length"]
            tensors["length"] = torch.nn.functional.one_hot(lengths, self.max_length + 1)
            tensors["action_mask"] = tensors["action_mask"].bool()
        data = TensorDict(tensors, batch_size=[len(rows)])
        if hasattr(self.policy, "get_dist"):
            weights: Tensor = self.policy.get_dist(data).probs
            return weights.double().numpy(force=True)
        action: Tensor = self.policy(data)["action"]
        return (action.argmax(dim=1) if action.dim() == 2 else action).numpy(force=True)


class ChoiceCompleter:
    """Completes texts token by token with the weights or the tokens that a policy gives."""

    def __init__(self, choose: Choose, episodes: Episodes, rules: Rules) -> None:
        self._choose, self._episodes = choose, episodes
        self._num_actions = rules.num_actions
        self._rng: np.random.Generator

    def reseed(self, rng: np.random.Generator) -> None:
        self._rng = rng

    def read(self, active: NDArray[np.int64]) -> None:
        """Nothing: the texts are read anew for each completion."""

    def complete(
        self, rows: NDArray[np.int64], count: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        together = max(LOGITS_IN_FLIGHT // (self._num_actions * count), 1)
        parts = [
            self._completed(rows[first : first + together], count)
            for first in range(0, len(rows), together)
        ]
        return (
            np.concatenate([part.tokens for part in parts]),
            np.concatenate([part.lengths for part in parts]),
        )

    def _completed(self, rows: NDArray[np.int64], count: int) -> Episodes:
        texts = self._episodes.copies(rows, count)
        actions = np.zeros(len(texts.ended), dtype=np.int64)
        (going,) = (~texts.ended).nonzero()
        while going.size:
            actions[going] = self._draw(self._choose(texts, going), texts.allowed[going])
            texts.advance(going, actions, _unjudged)
            going = going[~texts.ended[going]]
        return texts

    def _draw(self, chosen: NDArray[Any], allowed: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The next tokens, drawn in proportion to the weights of those that are allowed.

        Raises:
            ConfigurationError: the policy gave something else.
        """
        if chosen.dtype.kind in "iu" and chosen.shape == allowed.shape[:1]:
            return _checked_tokens(chosen.astype(np.int64), allowed)
        if chosen.shape != allowed.shape or chosen.dtype.kind not in "fiu":
            raise ConfigurationError(
                f"the policy gave {chosen.dtype} of shape {chosen.shape}, but gives weights of"
                f" shape {allowed.shape} or integer tokens of shape {allowed.shape[:1]}"
            )
        if not (chosen >= 0).all():  # NaN neither
            raise ConfigurationError(
                f"the policy gave the weight {chosen.min()}, but a weight is at least 0: of"
                " logits, return the softmax"
            )
        running = np.where(allowed, chosen, 0.0).cumsum(axis=1)
        total = running[:, -1]
        if not ((total > 0) & np.isfinite(total)).all():
            raise ConfigurationError("the policy gave no finite weight to any allowed token")
        # Below the total, a place lies always at a token with a weight.
        place = np.minimum(self._rng.random(len(total)) * total, np.nextafter(total, 0))
        drawn: NDArray[np.int64] = (running <= place[:, None]).sum(axis=1)
        return drawn


def _checked_tokens(tokens: NDArray[np.int64], allowed: NDArray[np.bool_]) -> NDArray[np.int64]:
    num_actions = allowed.shape[1]
    known = (tokens >= 0) & (tokens < num_actions)
    usable = known & allowed[np.arange(len(tokens)), np.where(known, tokens, 0)]
    if not usable.all():
        raise ConfigurationError(
            f"the policy gave the token {tokens[np.argmin(usable)]}, but here it is outside 0 to"
            f" {num_actions - 1} or forbidden"
        )
    return tokens


def vocabulary_of(rules: Rules) -> Vocabulary:
    """A vocabulary with the ids of an environment: its words, its eos, its padding."""
    own_bos = rules.pad_id > rules.num_actions
    return Vocabulary(
        rules.words,
        level="word" if rules.separator == " " else "character",
        has_eos=rules.eos_id is not None,
        bos_word=None if own_bos else 0,
        specials=tuple(f"<{index}>" for index in range(rules.pad_id - rules.num_actions - 1)),
    )


def _generator_choice(generator: Generator, rules: Rules) -> Choose:
    """A generator that reads each text from its beginning, for masks that change with the text."""
    vocabulary, device = vocabulary_of(rules), next(generator.parameters()).device

    @torch.no_grad()
    def choose(episodes: Episodes, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        generator.eval()
        texts = as_sequences(*episodes.texts(rows), vocabulary).to(device)
        places = torch.arange(len(rows), device=device)
        logits, _ = generator.encode(texts.trimmed()).gather(places, texts.lengths)
        allowed = torch.from_numpy(episodes.allowed[rows]).to(device)
        logits = logits.double().masked_fill(~allowed, -torch.inf)
        return logits.softmax(dim=1).numpy(force=True)

    return choose


class GeneratorCompleter:
    """Completes texts with a generator, whose states it keeps from step to step.

    The generator is put in evaluation mode. It may learn between episodes; a text in progress
    keeps the state from before.
    """

    def __init__(self, generator: Generator, episodes: Episodes, rules: Rules) -> None:
        self._generator, self._episodes = generator, episodes
        self._vocabulary = vocabulary_of(rules)
        self._device = next(generator.parameters()).device
        self._rng: torch.Generator
        self._forbidden: Tensor | None = None
        mask = rules.action_mask
        if isinstance(mask, np.ndarray) and not mask.all():
            self._forbidden = torch.from_numpy(np.flatnonzero(~mask)).to(self._device)
        self._rows = np.arange(0)  # those that were read, in order
        self._lengths = np.zeros(len(episodes.ended), dtype=np.int64)  # of all texts, when read
        self._texts: Sequences
        self._logits: Float[Tensor, "row vocab"]
        self._state: State

    def reseed(self, rng: np.random.Generator) -> None:
        self._rng = torch.Generator().manual_seed(int(rng.integers(2**62)))

    @torch.no_grad()
    def read(self, active: NDArray[np.int64]) -> None:
        """Reads the texts so far.

        If each row has one more token, one step is enough. If some rows start anew, their states
        cannot be put beside the others', and one pass reads all texts.
        """
        lengths = self._episodes.lengths[active]
        longer = np.array_equal(lengths, self._lengths[active] + 1)
        if active.size:
            self._generator.eval()
            texts = as_sequences(*self._episodes.texts(active), self._vocabulary).to(self._device)
            places = torch.arange(len(active), device=self._device)
            if longer and np.isin(active, self._rows).all():
                still = torch.from_numpy(np.searchsorted(self._rows, active)).to(self._device)
                self._logits, self._state = self._generator.step(
                    texts.tokens[places, texts.lengths - 1], self._state.select(still)
                )
            else:
                states = self._generator.encode(texts.trimmed())
                self._logits, self._state = states.gather(places, texts.lengths)
            self._texts = texts
        self._rows, self._lengths = active, self._episodes.lengths.copy()

    @torch.no_grad()
    def complete(
        self, rows: NDArray[np.int64], count: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        places = torch.from_numpy(np.searchsorted(self._rows, rows)).to(self._device)
        together = max(rows_in_flight(self._generator) // count, 1)
        parts = [
            complete(
                self._generator,
                self._vocabulary,
                self._texts.tokens[some],
                self._texts.lengths[some],
                self._logits[some],
                self._state.select(some),
                self._rng,
                forbidden=self._forbidden,
                num_completions=count,
            )
            for some in places.split(together)
        ]
        return (
            torch.cat([part.tokens for part in parts]).numpy(force=True),
            torch.cat([part.lengths for part in parts]).numpy(force=True),
        )
