"""Calls of a user's reward that may fail: the failing row is named, or skipped."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from seqgan.data.sequences import Sequences
from seqgan.rewards.base import RewardError, RewardModel, increments, returns, text_of
from seqgan.system.errors import ConfigurationError, described

OnFailure = Literal["stop", "skip"]
Watch = Callable[[str], AbstractContextManager[Any]]


@dataclass(frozen=True)
class FailurePolicy:
    """The policy for a reward that fails on a row."""

    retries: int = 0  # further attempts at a failing batch, before its rows are tried apart
    on_failure: OnFailure = "stop"  # stop, or skip the row: it then gives no learning signal

    def __post_init__(self) -> None:
        if self.retries < 0:
            raise ConfigurationError(f"retries is at least 0, got {self.retries}")
        if self.on_failure not in get_args(OnFailure):
            known = ", ".join(get_args(OnFailure))
            raise ConfigurationError(f"on_failure is one of {known}, got {self.on_failure!r}")


def careful_returns(
    reward_model: RewardModel,
    sequences: Sequences,
    policy: FailurePolicy | None = None,
    watch: Watch = nullcontext,
    on_skip: Callable[[RewardError], object] = lambda error: None,
) -> Float[Tensor, " batch"]:
    """Returns the reward of each sequence, as `returns` does, from a model that may fail.

    An exception, a tensor of another shape and an infinite value are failures. Rows are
    independent, so a failing batch is halved until single rows fail. If the policy is to stop and
    the model names the failing row, nothing is halved. The model gets a copy of the sequences,
    which it may change.

    Args:
        policy: by default the first failing row stops.
        watch: makes a context around each call of the model, from the model's name.
        on_skip: called with each failure that was skipped.

    Returns:
        (batch,): finite, or NaN where the reward does not apply or a failing row was skipped.

    Raises:
        RewardError: the policy is to stop, and a row failed; the error names the first such row.
            It names none if the rows pass in parts but fail together.
    """
    shape = (len(sequences),)
    return _judged_carefully(returns, reward_model, sequences, shape, policy, watch, on_skip)


def careful_increments(
    reward_model: RewardModel,
    sequences: Sequences,
    policy: FailurePolicy | None = None,
    watch: Watch = nullcontext,
    on_skip: Callable[[RewardError], object] = lambda error: None,
) -> Float[Tensor, "batch time"]:
    """Returns the reward of each token, as `increments` does, from a model that may fail.

    Arguments and errors are those of `careful_returns`.

    Returns:
        (batch, time): 0 on padding; NaN in the whole row where the reward does not apply or a
        failing row was skipped.
    """
    shape = tuple(sequences.tokens.shape)
    return _judged_carefully(increments, reward_model, sequences, shape, policy, watch, on_skip)


def _judged_carefully(
    judge: Callable[[RewardModel, Sequences], Float[Tensor, "rows *shape"]],
    reward_model: RewardModel,
    sequences: Sequences,
    shape: tuple[int, ...],
    policy: FailurePolicy | None,
    watch: Watch,
    on_skip: Callable[[RewardError], object],
) -> Float[Tensor, "batch *shape"]:
    """Judges all rows, and returns a tensor of the given shape, NaN in rows that were skipped."""
    policy = FailurePolicy() if policy is None else policy
    if "texts" in vars(sequences):  # decoded already: attempts need not decode again
        sequences = replace(sequences, given_texts=sequences.texts)

    def attempt(rows: Int[Tensor, " rows"]) -> Float[Tensor, "rows *shape"] | RewardError:
        try:
            with watch(reward_model.name):
                return judge(reward_model, sequences.select(rows)).detach()  # a selection copies
        except RewardError as error:
            return error
        except (Exception, SystemExit) as error:
            failure = RewardError(reward_model.name, described(error))
            failure.__cause__ = error
            return failure

    stop, device = policy.on_failure == "stop", sequences.tokens.device
    values = torch.full(shape, torch.nan, device=device)
    everything = torch.arange(len(sequences), device=device)
    for rows, outcome in _parts(attempt, everything, stop, policy.retries):
        if isinstance(outcome, Tensor):
            values[rows] = outcome.to(device)
            continue
        error = _blaming(outcome, rows, sequences)
        if stop:
            raise error
        on_skip(error)
    return values


def _parts(
    attempt: Callable[[Tensor], Tensor | RewardError],
    rows: Int[Tensor, " rows"],
    stop: bool,
    retries: int = 0,
) -> Iterator[tuple[Int[Tensor, " part"], Tensor | RewardError]]:
    """Yields the parts of the rows that passed with their values, and failing rows with errors.

    If rows fail together and pass in parts, the failure comes with no row.
    """
    outcome = attempt(rows)
    while isinstance(outcome, RewardError) and retries > 0:
        outcome, retries = attempt(rows), retries - 1
    if isinstance(outcome, Tensor) or len(rows) < 2:
        yield rows, outcome
        return
    if stop and outcome.row is not None and 0 <= outcome.row < len(rows):
        yield rows[outcome.row : outcome.row + 1], outcome  # the first failure stops
        return
    passed = True
    for half in rows.split((len(rows) + 1) // 2):
        for part, inner in _parts(attempt, half, stop):
            passed = passed and isinstance(inner, Tensor)
            yield part, inner
    if passed:
        together = f"passes {len(rows)} rows in parts but not together, where: {outcome.problem}"
        failure = RewardError(outcome.name, together)
        failure.__cause__ = outcome.__cause__ or outcome
        yield rows[:0], failure


def _blaming(failure: RewardError, rows: Int[Tensor, " rows"], sequences: Sequences) -> RewardError:
    """Returns the failure with the row's number in the whole batch, and the row's text."""
    if len(rows) == 0:
        return failure
    row = int(rows[0])
    error = RewardError(failure.name, failure.problem, row, text_of(sequences, row))
    error.__cause__ = failure.__cause__ or failure
    return error
