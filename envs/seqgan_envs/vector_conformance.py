"""Conformance of a vector environment: checks its rows and the effects of its autoreset mode."""

from dataclasses import dataclass, field
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from seqgan_envs.episodes import observation_of_row
from seqgan_envs.promises import (
    STYLES,
    as_arrays,
    bad_actions,
    check_end,
    check_equal,
    check_fresh,
    check_refused,
    check_state,
    choose,
    known_members,
    require,
)
from seqgan_envs.rules import Rules
from seqgan_envs.vector import TextGenerationVectorEnv


@dataclass
class _Episode:
    """The record of one row's episode, for a replay in a single environment."""

    prompt: NDArray[np.int64] | None = None
    emitted: list[int] = field(default_factory=list)
    actions: list[int] = field(default_factory=list)
    members: list[dict[str, Any]] = field(default_factory=list)
    info: dict[str, Any] = field(default_factory=dict)
    reward: float = 0.0
    ended: bool = False


def check_vector(
    env: VectorEnv[Any, Any, Any],
    *,
    single: gymnasium.Env[Any, Any] | None,
    episodes: int,
    seed: int,
) -> None:
    """The part of `conformance.check` for vector environments.

    Raises:
        AssertionError: a promise is broken.
        ValueError: this is no `TextGenerationVectorEnv`, nor a wrapper of one.
    """
    raw = env.unwrapped
    if not isinstance(raw, TextGenerationVectorEnv):
        raise ValueError(
            f"check cannot check {type(raw).__name__}: it takes a TextGenerationVectorEnv"
        )
    single = raw.single_env() if single is None else single
    _check_spaces(raw, single)
    deterministic = env.spec is None or not env.spec.nondeterministic
    for checked in [raw] if raw is env else [raw, env]:
        played = _Player(checked, raw, seed).play(episodes)
        if deterministic:
            again = _Player(checked, raw, seed).play(episodes)
            for one, other in zip(played, again, strict=True):
                rule = "the same seed gives the same episodes"
                check_equal(
                    as_arrays(vars(one)), as_arrays(vars(other)), rule, f"with reset(seed={seed})"
                )
        for episode in played:
            _replay(episode, single, raw.rules, deterministic)


def _check_spaces(env: TextGenerationVectorEnv, single: gymnasium.Env[Any, Any]) -> None:
    place = "before the first reset"
    for name in ("action_space", "observation_space"):
        one, of_row = getattr(single, name), getattr(env, f"single_{name}")
        require(one == of_row, f"single_{name} is that of a single environment", of_row, place)
        batched = batch_space(of_row, env.num_envs)
        batch = getattr(env, name)
        require(batch == batched, f"{name} is single_{name}, batched", batch, place)
    mode = env.metadata.get("autoreset_mode")
    rule = "metadata and attribute name the same autoreset mode"
    require(isinstance(mode, AutoresetMode) and mode is env.autoreset_mode, rule, mode, place)


class _Player:
    """Plays all rows at once, and compares every row with its expected state at each step."""

    def __init__(
        self, env: VectorEnv[Any, Any, Any], raw: TextGenerationVectorEnv, seed: int
    ) -> None:
        self.env, self.raw, self.rules, self.seed = env, raw, raw.rules, seed
        self.mode = raw.autoreset_mode
        self.rng = np.random.default_rng(seed)
        self.rows = [_Episode() for _ in range(env.num_envs)]
        self.done: list[_Episode] = []
        self.steps = 0
        self.earlier: list[Any] = []

    def play(self, episodes: int) -> list[_Episode]:
        """Plays at least this many episodes with checks at every step."""
        observation, infos = self.env.reset(seed=self.seed)
        require(infos == {}, "reset gives no infos", infos, self.place())
        for row in range(self.env.num_envs):
            self.see(row, observation)
        self.check_fresh(observation, infos)
        while len(self.done) < episodes:
            self.step()
            if self.mode is AutoresetMode.DISABLED:
                self.reset_some()
        return self.done

    def place(self, row: int | None = None) -> str:
        if row is None:
            return f"at step {self.steps} after reset(seed={self.seed})"
        actions = self.rows[row].actions
        return f"in row {row} after the actions {actions}, at step {self.steps}, {self.mode}"

    def step(self) -> None:
        waiting = [row.ended for row in self.rows]
        allowed = self.raw.action_masks()
        styles = self.rng.permutation(len(self.rows)) % len(STYLES)
        actions = np.array(
            [
                choose(STYLES[style], mask, self.rules.eos_id, self.rng)
                for style, mask in zip(styles, allowed, strict=True)
            ]
        )
        if self.steps % 5 == 1 and not all(waiting):
            self.check_bad_actions(actions, waiting.index(False))
        self.steps += 1
        observation, rewards, terminated, truncated, infos = self.env.step(actions)
        self.check_fresh(observation, infos)
        require(not truncated.any(), "truncated is False", truncated, self.place())
        for row, action in enumerate(actions.tolist()):
            result = (float(rewards[row]), bool(terminated[row]))
            if waiting[row]:
                self.wait(row, observation, infos, result)
            else:
                self.go(row, action, bool(allowed[row, action]), observation, infos, result)

    def go(
        self,
        row: int,
        action: int,
        permitted: bool,
        observation: Any,
        infos: dict[str, Any],
        result: tuple[float, bool],
    ) -> None:
        """Checks an unfinished row after its action."""
        episode, (reward, terminated) = self.rows[row], result
        episode.actions.append(action)
        episode.emitted += [action] if permitted else []
        full = len(episode.emitted) == self.rules.max_length
        ends = not permitted or action == self.rules.eos_id or full
        require(terminated == ends, f"terminated is {ends}", terminated, self.place(row))
        if ends:
            if self.mode is AutoresetMode.SAME_STEP:
                rule = "final_obs and final_info show the end of the row"
                there = all(_has(infos, name, row) for name in ("final_obs", "final_info"))
                require(there, rule, sorted(infos), self.place(row))
                members = self.members(infos["final_obs"][row])
                infos = infos["final_info"]
            else:
                members = self.members(observation_of_row(observation, row))
            self.note(row, members)
            episode.info = _info_of_row(infos, row)
            check_end(episode.info, episode.emitted, not permitted, self.rules, self.place(row))
            episode.reward, episode.ended = reward, True
            self.done.append(episode)
            if self.mode is AutoresetMode.SAME_STEP:
                self.rows[row] = _Episode()
                self.see(row, observation)
        else:
            require(reward == 0, "the reward is 0 until the end", reward, self.place(row))
            quiet = not _has(infos, "text", row) and not _has(infos, "final_info", row)
            rule = "the infos tell of a text only at its end"
            require(quiet, rule, sorted(infos), self.place(row))
            self.see(row, observation)

    def wait(
        self, row: int, observation: Any, infos: dict[str, Any], result: tuple[float, bool]
    ) -> None:
        """Checks that an ended row has ignored its action."""
        if self.mode is AutoresetMode.NEXT_STEP:
            self.rows[row] = _Episode()
            self.see(row, observation)
        else:
            members = self.members(observation_of_row(observation, row))
            rule = "a row that has ended keeps its observation"
            check_equal(members, self.rows[row].members[-1], rule, self.place(row))
        expected = (0.0, self.mode is AutoresetMode.DISABLED)
        rule = f"reward and terminated of a row that has ended are {expected}"
        require(result == expected, rule, result, self.place(row))
        rule = "the infos tell of a text once"
        require(not _has(infos, "text", row), rule, sorted(infos), self.place(row))

    def reset_some(self) -> None:
        """Resets some of the ended rows, and checks that all other rows stay unchanged."""
        ended = np.array([row.ended for row in self.rows])
        mask = ended & (self.rng.random(len(ended)) < 0.5)
        if not mask.any():
            if not ended.all():
                return
            mask = ended
        options = {"reset_mask": mask.copy()}
        observation, _ = self.env.reset(options=options)
        kept = "reset_mask" in options and (options["reset_mask"] == mask).all()
        # Gymnasium's own RecordEpisodeStatistics takes the mask out.
        kept = kept or self.env is not self.raw
        require(kept, "reset leaves its options as they are", options, self.place())
        for row, reset in enumerate(mask):
            if reset:
                self.rows[row] = _Episode()
                self.see(row, observation)
            else:
                members = self.members(observation_of_row(observation, row))
                rule = "a partial reset keeps the other rows"
                check_equal(members, self.rows[row].members[-1], rule, self.place(row))

    def check_bad_actions(self, actions: NDArray[np.int64], row: int) -> None:
        for action in bad_actions(self.rules):
            bad = np.where(np.arange(len(actions)) == row, action, actions)
            rule = f"the action {action} is refused with a ValueError"
            check_refused(lambda bad=bad: self.env.step(bad), ValueError, rule, self.place(row))  # type: ignore[misc]

    def members(self, observation: Any) -> dict[str, Any]:
        return known_members(observation, self.env.single_observation_space, self.rules)

    def see(self, row: int, observation: Any) -> None:
        """Checks the state of an unfinished row, and keeps it for the replay."""
        members = self.members(observation_of_row(observation, row))
        masks = {"action_masks()": self.raw.action_masks()[row]}
        check_state(members, masks, self.rows[row].emitted, self.rules, self.place(row))
        self.rows[row].members.append(members)
        self.rows[row].prompt = members.get("prompt")

    def note(self, row: int, members: dict[str, Any]) -> None:
        check_state(members, {}, self.rows[row].emitted, self.rules, self.place(row))
        self.rows[row].members.append(members)

    def check_fresh(self, observation: Any, infos: dict[str, Any]) -> None:
        for new in ({"observation": observation, "infos": infos}, {"m": self.raw.action_masks()}):
            check_fresh(self.earlier, new, self.place())
            self.earlier.append(new)
        del self.earlier[:-8]


def _has(infos: dict[str, Any], name: str, row: int) -> bool:
    return f"_{name}" in infos and bool(infos[f"_{name}"][row])


def _info_of_row(infos: dict[str, Any], row: int) -> dict[str, Any]:
    """The info of one row, in the form of a single environment's."""
    info = {}
    for name, values in infos.items():
        if not name.startswith("_") and _has(infos, name, row):
            info[name] = _info_of_row(values, row) if isinstance(values, dict) else values[row]
    return info


def _replay(
    episode: _Episode, single: gymnasium.Env[Any, Any], rules: Rules, deterministic: bool
) -> None:
    """Replays an episode in the single environment, and checks that both are equal."""
    options = None
    if rules.prompts is not None:
        if episode.prompt is None:
            return  # The observation does not say from which prompt the row began.
        index = int((rules.prompts == episode.prompt).all(axis=1).argmax())
        options = {"prompt_index": index}
    place = f"for the actions {episode.actions}"
    observation, info = single.reset(options=options)
    reward: SupportsFloat = 0.0
    terminated = False
    for step, members in enumerate(episode.members):
        if step:
            require(not terminated, "the row ends with the single environment", "later", place)
            observation, reward, terminated, _, info = single.step(episode.actions[step - 1])
        same = known_members(observation, single.observation_space, rules)
        expected = {name: same[name] for name in members}
        rule = f"observation {step} equals that of the single environment"
        check_equal(as_arrays(members), as_arrays(expected), rule, place)
    require(terminated, "the row ends with the single environment", "earlier", place)
    if deterministic:
        earned = {"reward": float(reward), **info.get("reward_components", {})}
        by_row = {"reward": episode.reward, **episode.info.get("reward_components", {})}
        rule = "the row earns what the single environment earns"
        check_equal(as_arrays(by_row), as_arrays(earned), rule, place)
