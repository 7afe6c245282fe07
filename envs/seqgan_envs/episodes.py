"""The transition: appends one token to each of many texts, all rows at once."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from seqgan_envs.judges import Judge
from seqgan_envs.one_hot import one_hot
from seqgan_envs.picture import draw
from seqgan_envs.rewards import checked_judgement
from seqgan_envs.rules import ActionMask, Observation, Rules


class Outcome(NamedTuple):
    """The result of one action in each row.

    Attributes:
        rewards: (rows,), 0 in rows that did not end.
        invalid: bool (rows,), True if a forbidden action ended the row.
        judged: indices (J,) of the rows whose text ended and was judged.
        parts: the parts of the J rewards by name, each (J,), NaN if a part did not apply; None if
            the reward has no parts.
    """

    rewards: NDArray[np.float64]
    invalid: NDArray[np.bool_]
    judged: NDArray[np.int64]
    parts: dict[str, NDArray[np.float64]] | None


def checked_actions(actions: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.integer[Any]]:
    """Converts actions to an integer array. `Episodes.advance` checks that they lie in the space.

    Raises:
        ValueError: the shape is wrong, or the numbers are not integers.
    """
    array = np.asarray(actions)
    if array.shape != shape:
        raise ValueError(f"actions have shape {array.shape}, but must have shape {shape}")
    if array.dtype.kind not in "iu":
        raise ValueError(f"actions are {array.dtype}, but must be integers: {array}")
    return array


def observation_of_row(observation: Observation, row: int) -> Observation:
    """One row of a batched observation."""
    if isinstance(observation, dict):
        return {name: member[row] for name, member in observation.items()}
    return observation[row]


def _copy_of_rows(array: NDArray[Any], rows: NDArray[np.int64] | None) -> NDArray[Any]:
    # Indexing with an array copies already, and copying a large mask twice takes time.
    return array.copy() if rows is None else array[rows]


class Episodes:
    """Rows of texts in progress: the state of both environments and its changes by actions.

    Every row starts ended; `begin` starts its episode. Arguments name rows by index arrays. The
    public arrays are the live state, so code that passes them on passes copies.

    Attributes:
        tokens: int64 (rows, L), right-padded.
        lengths: int64 (rows,), numbers of emitted tokens.
        ended: bool (rows,), True from the end of an episode to the start of the next.
        allowed: bool (rows, V), True where a token may come next. A fixed mask is the same in
            every row; a mask function allows every token in ended rows.
    """

    def __init__(self, rules: Rules, num_rows: int) -> None:
        self._rules = rules
        self.tokens = np.full((num_rows, rules.max_length), rules.pad_id, dtype=np.int64)
        self.lengths = np.zeros(num_rows, dtype=np.int64)
        self.ended = np.ones(num_rows, dtype=np.bool_)
        self._prompt_indices = np.zeros(num_rows, dtype=np.int64)
        self._ask_mask: ActionMask | None = None
        self._everything_allowed = False
        if isinstance(rules.action_mask, np.ndarray):
            self._everything_allowed = bool(rules.action_mask.all())
            # All rows view one row, which saves memory and copies as fast as a full array.
            self.allowed = np.broadcast_to(rules.action_mask, (num_rows, rules.num_actions))
        else:
            self._ask_mask = rules.action_mask
            self.allowed = np.ones((num_rows, rules.num_actions), dtype=np.bool_)

    def begin(self, rows: NDArray[np.int64], prompt_indices: NDArray[np.int64] | None) -> None:
        """Starts new episodes in these rows, from the prompts with these indices.

        Raises:
            ValueError: the mask function returned an unusable mask.
        """
        self.tokens[rows] = self._rules.pad_id
        self.lengths[rows] = 0
        self.ended[rows] = False
        if prompt_indices is not None:
            self._prompt_indices[rows] = prompt_indices
        self._update_masks(rows)

    def copies(self, rows: NDArray[np.int64], count: int) -> "Episodes":
        """The texts of these rows as they are now, in new rows that go on by themselves.

        The `count` copies of one row are neighbours.
        """
        source = rows.repeat(count)
        copies = Episodes(self._rules, len(source))
        copies.tokens[:] = self.tokens[source]
        copies.lengths[:] = self.lengths[source]
        copies.ended[:] = self.ended[source]
        copies._prompt_indices[:] = self._prompt_indices[source]
        if self._ask_mask is not None:
            copies.allowed[:] = self.allowed[source]
        return copies

    def advance(
        self,
        rows: NDArray[np.int64],
        actions: NDArray[np.integer[Any]],
        judge: Judge,
    ) -> Outcome:
        """Takes one action in each of these rows, none of which has ended.

        Args:
            rows: indices (K,) of the unfinished rows that act.
            actions: one action per row of the state, (rows,); those of other rows are ignored.
            judge: called at most once, with the rows that an allowed action ended.

        Raises:
            ValueError: an action lies outside the space (the state is then unchanged), or the
                reward or mask function returned something unusable.
        """
        chosen = self._checked_choices(rows, actions[rows])
        rewards = np.zeros(len(self.ended))
        invalid = np.zeros(len(self.ended), dtype=np.bool_)
        taken, emitted = rows, chosen
        permitted = self.allowed[rows, chosen]
        if not permitted.all():
            taken, emitted, forbidden = rows[permitted], chosen[permitted], rows[~permitted]
            self.ended[forbidden] = True
            rewards[forbidden] = self._rules.invalid_action_penalty
            invalid[forbidden] = True

        lengths = self.lengths[taken]
        self.tokens[taken, lengths] = emitted
        lengths += 1
        self.lengths[taken] = lengths
        finished = lengths == self._rules.max_length
        if self._rules.eos_id is not None:
            finished |= emitted == self._rules.eos_id
        judged, parts = taken[finished], None
        if judged.size:
            self.ended[judged] = True
            judgement = judge(*self.texts(judged), self.prompt_indices(judged))
            rewards[judged], parts = checked_judgement(judgement, judged)
        self._update_masks(rows)
        return Outcome(rewards, invalid, judged, parts)

    def append(self, row: int, action: int) -> bool:
        """Emits one token in an unfinished row, if the step has no other effect.

        Most steps are of this kind. This shortcut avoids array arithmetic, whose overhead dominates
        for a single row.

        Returns:
            True if the token was appended. False, without any change, if `advance` has to take the
            step: the action ends the text, is forbidden or outside the space, or the mask is a
            function.
        """
        rules, length = self._rules, self.lengths.item(row)
        plain = (
            self._ask_mask is None
            and 0 <= action < rules.num_actions
            and action != rules.eos_id
            and length + 1 < rules.max_length
            and self.allowed.item(row, action)
        )
        if plain:
            self.tokens[row, length] = action
            self.lengths[row] = length + 1
        return plain

    def observation(self, rows: NDArray[np.int64] | None = None) -> Observation:
        """The batched observation of these rows (None: of all), in new arrays."""
        tokens = _copy_of_rows(self.tokens, rows)
        if self._rules.observation == "tokens":
            return tokens
        prompts = self._rules.prompts
        if prompts is not None:
            prompts = prompts[self._prompt_indices if rows is None else self._prompt_indices[rows]]
        if self._rules.observation == "one_hot":
            flat = one_hot(tokens, self._rules.num_actions)
            if prompts is None:
                return flat
            return np.concatenate([flat, one_hot(prompts, self._rules.pad_id)], axis=1)
        members = {
            "tokens": tokens,
            "length": _copy_of_rows(self.lengths, rows),
            "action_mask": self._masks(len(tokens), rows),
        }
        if prompts is not None:
            members["prompt"] = prompts
        return members

    def texts(
        self, rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64] | None]:
        """The arguments of a reward or mask function for these rows, in new arrays.

        Returns:
            tokens (K, L), right-padded; lengths (K,); prompts (K, P), left-padded, or None.
        """
        prompts = self._rules.prompts
        return (
            self.tokens[rows],
            self.lengths[rows],
            None if prompts is None else prompts[self._prompt_indices[rows]],
        )

    def prompt_indices(self, rows: NDArray[np.int64]) -> NDArray[np.int64] | None:
        """The index of each row's prompt, (K,), in a new array; None without prompts."""
        return None if self._rules.prompts is None else self._prompt_indices[rows]

    def token_ids(self, rows: NDArray[np.int64]) -> list[tuple[int, ...]]:
        """The emitted tokens of each of these rows, without padding."""
        pairs = zip(self.tokens[rows].tolist(), self.lengths[rows].tolist(), strict=True)
        return [tuple(tokens[:length]) for tokens, length in pairs]

    def display(self, row: int) -> str:
        """The text of one row so far, after its prompt."""
        return self._rules.decode([*self._prompt(row), *self.tokens[row].tolist()])

    def picture(self, row: int) -> NDArray[np.uint8]:
        """The text of one row so far as a picture (height, width, 3), after its prompt in grey."""
        return draw(self.display(row), self._rules.decode(self._prompt(row)))

    def _prompt(self, row: int) -> list[int]:
        prompts = self._rules.prompts
        return [] if prompts is None else prompts[self._prompt_indices[row]].tolist()

    def _checked_choices(
        self, rows: NDArray[np.int64], chosen: NDArray[np.integer[Any]]
    ) -> NDArray[np.int64]:
        outside = (chosen < 0) | (chosen >= self._rules.num_actions)
        if outside.any():
            first = int(np.argmax(outside))
            raise ValueError(
                f"action {chosen[first]} in row {rows[first]} is none: it must be an"
                f" integer from 0 to {self._rules.num_actions - 1}"
            )
        return chosen.astype(np.int64)

    def _masks(self, count: int, rows: NDArray[np.int64] | None) -> NDArray[np.int8]:
        if self._everything_allowed:
            # Copying would also read memory and so take 1.5 times as long.
            return np.ones((count, self._rules.num_actions), dtype=np.int8)
        return _copy_of_rows(self.allowed, rows).view(np.int8)

    def _update_masks(self, rows: NDArray[np.int64]) -> None:
        if self._ask_mask is None:
            return
        ended = self.ended[rows]
        self.allowed[rows[ended]] = True
        active = rows[~ended]
        if not active.size:
            return
        masks = np.asarray(self._ask_mask(*self.texts(active)))
        expected = (len(active), self._rules.num_actions)
        if masks.shape != expected or masks.dtype != np.bool_:
            raise ValueError(
                f"the action mask function returned {masks.dtype} of shape {masks.shape},"
                f" but must return booleans of shape {expected}"
            )
        usable = masks.any(axis=1)
        if not usable.all():
            row = active[np.argmin(usable)]
            raise ValueError(
                f"the action mask allows no token in row {row}, but must allow at least one"
            )
        self.allowed[active] = masks
