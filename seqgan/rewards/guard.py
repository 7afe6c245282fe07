"""Calls of a user's reward that may fail: answers are kept, failing rows asked again or skipped."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seqgan.data.sequences import Sequences
from seqgan.rewards.base import (
    RewardError,
    RewardModel,
    SomeFailed,
    returns,
    text_of,
)
from seqgan.rewards.pauses import asked_pause
from seqgan.system.checks import Count, Weight, check_settings
from seqgan.system.errors import described
from seqgan.system.surroundings import Tell, is_failure, kept_surroundings

OnFailure = Literal["stop", "skip"]
Watch = Callable[[str], AbstractContextManager[Any]]
Judge = Callable[[RewardModel, Sequences], Float[Tensor, "rows *shape"]]

SHIPPED = ("seqgan.rewards.shipped.", "seqgan.rewards.discriminator")

# A batch that fails together is asked in so many parts, until single rows fail. With more parts a
# row is asked fewer times, with less parts there are fewer calls.
PARTS = 64


@dataclass(frozen=True)
class FailurePolicy:
    """The policy for a reward that fails on a row."""

    retries: Count = 0  # times that rows which failed are asked again
    on_failure: OnFailure = "stop"  # stop, or skip the row: it then gives no learning signal
    pause: Weight = 1.0  # seconds before the first of these times; doubled before each other one
    seconds: Weight = 600.0  # since the first call of a batch; no row is asked again after them

    def __post_init__(self) -> None:
        check_settings("", self)


def careful_returns(
    reward_model: RewardModel,
    sequences: Sequences,
    policy: FailurePolicy | None = None,
    watch: Watch = nullcontext,
    on_skip: Callable[[RewardError], object] = lambda error: None,
    on_change: Tell | None = None,
) -> Float[Tensor, " batch"]:
    """Returns the reward of each sequence, as `returns` does, from a model that may fail.

    An exception, a tensor of another shape and an infinite value are failures. Answers that came
    are kept. A model that raises `SomeFailed` knows which rows failed, and only those are asked
    again, as often as the policy says and after a pause: its own, or a longer one that the failure
    asks for (see `asked_pause`). Of a batch that fails without saying where, every row is asked
    alone (a large batch: in parts first). If the policy is to stop and the rows are not to be asked
    again, the first failure stops. The model gets a copy of the sequences, which it may change.

    Args:
        policy: by default the first failing row stops.
        watch: makes a context around each call of the model and each pause, from the model's name.
        on_skip: called with each failure that was skipped.
        on_change: called with a line if the model changed what the whole process shares, which is
            then put back (see `kept_surroundings`); by default it is a warning of the log.

    Returns:
        (batch,): finite, or NaN where the reward does not apply or a failing row was skipped.

    Raises:
        RewardError: the policy is to stop, and a row failed; the error names the first such row.
            It names none if rows pass alone but fail together, and are not to be asked again.
    """
    policy = policy or FailurePolicy()
    return Asking(returns, reward_model, sequences, policy, watch, on_skip, on_change).values(())


@dataclass
class Asking:
    """One batch and the answers about it so far; the arguments are those of `careful_returns`."""

    judge: Judge  # `returns`, `increments` or `head_returns`
    reward_model: RewardModel
    sequences: Sequences
    policy: FailurePolicy
    watch: Watch
    on_skip: Callable[[RewardError], object]
    on_change: Tell | None
    alone: bool = False  # True once a batch failed without saying on which rows

    def values(self, shape: tuple[int, ...] | None) -> Float[Tensor, "batch *shape"]:
        """Returns the values of all rows, NaN in those that were skipped.

        Args:
            shape: of one row's values; None for the widest of the answers.
        """
        policy, started = self.policy, time.monotonic()
        if "texts" in vars(self.sequences):  # decoded already: attempts need not decode again
            self.sequences = replace(self.sequences, given_texts=self.sequences.texts)
        device = self.sequences.tokens.device
        answers: list[tuple[Tensor, Tensor]] = []
        batches = [torch.arange(len(self.sequences), device=device)]
        for attempt in range(policy.retries + 1):
            failures: list[tuple[Tensor, RewardError]] = []
            last = attempt == policy.retries
            for batch in batches:
                for rows, outcome in self._outcomes(batch):
                    if isinstance(outcome, Tensor):
                        answers.append((rows, outcome.to(device)))
                        continue
                    if len(rows) == 0 and policy.retries:
                        continue  # asking its rows again, alone, was the first retry
                    if last and policy.on_failure == "stop":
                        raise self._blaming(outcome, rows)
                    failures.append((rows, outcome))
            if last or not failures or not self._paused(failures, attempt, started):
                break
            again = torch.cat([rows for rows, _ in failures])
            batches = [*again.split(1)] if self.alone else [again]
        for rows, outcome in failures:
            error = self._blaming(outcome, rows)
            if policy.on_failure == "stop":
                raise error
            self.on_skip(error)
        if shape is None:
            shape = (max((values.shape[1] for _, values in answers), default=1),)
        together = torch.full((len(self.sequences), *shape), torch.nan, device=device)
        for rows, values in answers:
            together[rows] = values.float()
        return together

    def _paused(
        self, failures: list[tuple[Tensor, RewardError]], attempt: int, started: float
    ) -> bool:
        """Waits before rows are asked again; False where no time is left for that."""
        asked = max(asked_pause(error.__cause__) for _, error in failures)
        pause = max(asked, self.policy.pause * 2**attempt)
        if time.monotonic() - started + pause > self.policy.seconds:
            return False
        if pause:
            with self.watch(self.reward_model.name):
                time.sleep(pause)
        return True

    def _attempt(self, rows: Int[Tensor, " rows"]) -> Float[Tensor, "rows *shape"] | RewardError:
        """Asks about the rows once. A selection copies, so the model may change what it gets."""
        name = self.reward_model.name
        try:
            with self.watch(name), self._kept():
                return self.judge(self.reward_model, self.sequences.select(rows)).detach()
        except RewardError as error:
            return error
        except BaseException as error:
            if not is_failure(error):
                raise
            failure = RewardError(name, described(error))
            failure.__cause__ = error
            return failure

    def _kept(self) -> AbstractContextManager[None]:
        """Keeps the surroundings, but for rewards of this package, which change none of them."""
        model = self.reward_model
        if type(model).__module__.startswith(SHIPPED):
            return nullcontext()
        return kept_surroundings(f"reward {model.name!r}", self.on_change)

    def _outcomes(
        self, rows: Int[Tensor, " rows"]
    ) -> Iterator[tuple[Int[Tensor, " part"], Tensor | RewardError]]:
        """Yields the parts of the rows that passed with their values, and failing rows with errors.

        If rows fail together and pass in parts, the failure comes with no row.
        """
        named = False
        while len(rows):
            outcome = self._attempt(rows)
            if isinstance(outcome, SomeFailed):
                yield rows[outcome.answered], outcome.scores[outcome.answered].detach()
                for row in sorted(outcome.failures):
                    yield rows[row : row + 1], outcome.failure(row)
                rows = rows[[*outcome.unasked]]
            elif isinstance(outcome, Tensor) or len(rows) == 1:
                yield rows, outcome
                return
            elif outcome.row is not None and 0 <= outcome.row < len(rows) and not named:
                named = True
                yield rows[outcome.row : outcome.row + 1], outcome
                rows = torch.cat([rows[: outcome.row], rows[outcome.row + 1 :]])
            else:
                yield from self._parts(rows, outcome)
                return
        if not named and not len(self.sequences):  # an empty batch is asked about, too
            yield rows, self._attempt(rows)

    def _parts(
        self, rows: Int[Tensor, " rows"], together: RewardError
    ) -> Iterator[tuple[Int[Tensor, " part"], Tensor | RewardError]]:
        """The outcomes of parts of rows that failed together."""
        self.alone = passed = True
        for part in rows.split(-(-len(rows) // PARTS)):
            for inner, outcome in self._outcomes(part):
                passed = passed and isinstance(outcome, Tensor)
                yield inner, outcome
        if passed:
            problem = f"passes {len(rows)} rows in parts but not together, where: "
            failure = RewardError(together.name, problem + together.problem)
            failure.__cause__ = together.__cause__ or together
            yield rows[:0], failure

    def _blaming(self, failure: RewardError, rows: Int[Tensor, " rows"]) -> RewardError:
        """The failure with the row's number in the whole batch, and the row's text."""
        if len(rows) == 0:
            return failure
        row = int(rows[0])
        text = text_of(self.sequences, row)
        error = RewardError(failure.name, failure.problem, row, text)
        error.__cause__ = failure.__cause__ or failure
        return error
