"""Checks that a reward model keeps its promises; run it before a long training run."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.rewards.base import RewardModel, TrainableReward, text_of
from seqgan.system.errors import ConfigurationError, described
from seqgan.tracking.metrics import find_metric

WIDER = 3  # columns of padding that are added; a reward must not depend on them


def check_reward(
    reward: Any,
    sequences: Sequences | None = None,
    vocabulary: Vocabulary | None = None,
    max_length: int = 8,
    tolerance: float = 1e-4,
) -> None:
    """Scores sequences in several ways, which must agree, and trains a trainable reward a little.

    Afterwards a trainable reward gets its first state back.

    Args:
        sequences: at least two rows to score; None draws random ones.
        vocabulary: vocabulary of the random sequences, or of `sequences` without one.
        max_length: number of tokens of the longest random sequence.
        tolerance: largest difference of two rewards of a row, absolute and relative.

    Raises:
        AssertionError: the reward breaks a promise; one line gives the rule, the value, the place.
        ConfigurationError: there are no sequences to score.
    """
    _check_declarations(reward)
    sequences = _sequences(sequences, vocabulary, max_length)
    expected = _check_scores(reward, sequences)
    _check_inputs(reward, sequences)
    _check_rows(reward, sequences, expected, tolerance)
    _check_padding(reward, sequences, expected, tolerance)
    if isinstance(reward, TrainableReward):
        _check_training(reward, sequences, expected, tolerance)


def _sequences(
    sequences: Sequences | None, vocabulary: Vocabulary | None, max_length: int
) -> Sequences:
    """The sequences to score, with a vocabulary."""
    if sequences is None:
        if vocabulary is None:
            raise ConfigurationError(
                "check_reward was given neither sequences nor a vocabulary, but needs one of them"
            )
        return random_sequences(vocabulary, max_length)
    if len(sequences) < 2:
        raise ConfigurationError(
            f"check_reward was given {len(sequences)} sequences, but needs at least 2"
        )
    if sequences.vocabulary is None:
        if vocabulary is None:
            raise ConfigurationError(
                "the sequences carry no vocabulary, but check_reward needs one"
            )
        sequences = replace(sequences, vocabulary=vocabulary)
    return sequences


def random_sequences(vocabulary: Vocabulary, max_length: int, size: int = 16) -> Sequences:
    """Draws rows of all possible lengths; every call returns the same rows."""
    rng = torch.Generator().manual_seed(0)
    rows = []
    for row in range(size):
        length = row % max_length + 1 if vocabulary.has_eos else max_length
        words = torch.randint(len(vocabulary.words), (length,), generator=rng).tolist()
        if vocabulary.eos_id is not None and length < max_length:
            words[-1] = vocabulary.eos_id
        rows.append(words)
    return Sequences.from_rows(rows, vocabulary, max_length)


def _check_declarations(reward: Any) -> None:
    for attribute in ("name", "per_token", "score"):
        if not hasattr(reward, attribute):
            raise AssertionError(
                f"a {type(reward).__name__} without {attribute} breaks the promise: a"
                " reward model has name, per_token and score"
            )
    if not isinstance(reward.name, str) or not reward.name:
        raise AssertionError(
            f"{reward.name!r} breaks the promise: name is a string that is not empty"
        )
    if not isinstance(reward.per_token, bool):
        raise AssertionError(f"{reward.per_token!r} breaks the promise: per_token is True or False")


def _scored(reward: RewardModel, sequences: Sequences) -> Tensor:
    """Scores a copy of the sequences and checks that the result has the declared shape."""
    try:
        # `select` copies, so a reward that changes its input spoils this copy only.
        scores = reward.score(sequences.select(torch.arange(len(sequences))))
    except Exception as error:
        raise AssertionError(
            f"{described(error)} breaks the promise: score judges any sequences, here"
            f" {len(sequences)} of them"
        ) from error
    if not isinstance(scores, Tensor):
        raise AssertionError(f"a {type(scores).__name__} breaks the promise: score gives a tensor")
    shape = sequences.tokens.shape if reward.per_token else sequences.tokens.shape[:1]
    if scores.shape != shape:
        declared = "per_token" if reward.per_token else "not per_token"
        raise AssertionError(
            f"{tuple(scores.shape)} breaks the promise: score gives the shape"
            f" {tuple(shape)}, as it is {declared}"
        )
    return scores.detach().float()


def _returns(reward: RewardModel, sequences: Sequences) -> Float[Tensor, " batch"]:
    """Scores the sequences and sums per-token rewards over each row."""
    scores = _scored(reward, sequences)
    return scores.sum(dim=1) if reward.per_token else scores


def _check_scores(reward: RewardModel, sequences: Sequences) -> Float[Tensor, " batch"]:
    """Checks the values of one scoring, and returns each row's total."""
    scores = _scored(reward, sequences)
    for place in scores.isinf().nonzero().tolist():
        raise AssertionError(
            f"{float(scores[*place])} breaks the promise: a reward is finite, or NaN where"
            f" it does not apply, on {_row(sequences, place[0])}"
        )
    if reward.per_token:
        for row, step in (~sequences.mask & (scores != 0)).nonzero().tolist():
            raise AssertionError(
                f"{float(scores[row, step])} breaks the promise: a reward per token is 0 on"
                f" padding, at step {step} of {_row(sequences, row)}"
            )
        return scores.sum(dim=1)
    return scores


def _check_inputs(reward: RewardModel, sequences: Sequences) -> None:
    """Checks that scoring leaves the sequences unchanged and returns no view of their tensors."""
    copy = sequences.select(torch.arange(len(sequences)))
    scores = reward.score(copy)
    for name in ("tokens", "mask", "prompts", "prompt_mask"):
        before, after = getattr(sequences, name), getattr(copy, name)
        if before is None:
            continue
        for place in (before != after).nonzero().tolist()[:1]:
            raise AssertionError(
                f"other {name} breaks the promise: score leaves its input alone, on"
                f" {_row(sequences, place[0])}"
            )
        if scores.untyped_storage().data_ptr() == after.untyped_storage().data_ptr():
            raise AssertionError(
                f"a view of the {name} breaks the promise: score gives a tensor of its own"
            )
    for name, values in sequences.columns.items():
        if list(copy.columns.get(name, ())) != list(values):
            raise AssertionError(
                f"another column {name!r} breaks the promise: score leaves its input alone"
            )
    if copy.texts != sequences.texts:
        raise AssertionError("other texts break the promise: score leaves its input alone")


def _check_rows(
    reward: RewardModel, sequences: Sequences, expected: Tensor, tolerance: float
) -> None:
    """Checks that a row's reward is the same at every call and in every batch."""
    size = len(sequences)
    same = torch.arange(size)
    orders = {
        "when asked again": same,
        "in the reverse order": same.flip(0),
        "beside a copy of each row": same.repeat_interleave(2),
        "in the first half of its batch": same[: size // 2],
    }
    for company, rows in orders.items():
        returns = _returns(reward, sequences.select(rows))
        _agree(sequences, expected, rows, returns, company, tolerance)
    for row in range(size):
        rows = same[row : row + 1]
        returns = _returns(reward, sequences.select(rows))
        _agree(sequences, expected, rows, returns, "alone", tolerance)


def _check_padding(
    reward: RewardModel, sequences: Sequences, expected: Tensor, tolerance: float
) -> None:
    """Checks that padding changes no reward: more of it, or none."""
    assert sequences.vocabulary is not None
    wider = replace(
        sequences,
        tokens=pad(sequences.tokens, (0, WIDER), value=sequences.vocabulary.pad_id),
        mask=pad(sequences.mask, (0, WIDER), value=False),
    )
    same = torch.arange(len(sequences))
    company = f"with {WIDER} more columns of padding"
    _agree(sequences, expected, same, _returns(reward, wider), company, tolerance)
    for row in range(len(sequences)):
        rows = same[row : row + 1]
        returns = _returns(reward, sequences.select(rows).trimmed())
        _agree(sequences, expected, rows, returns, "without padding", tolerance)


def _agree(
    sequences: Sequences,
    expected: Tensor,
    rows: Tensor,
    returns: Tensor,
    company: str,
    tolerance: float,
) -> None:
    """Checks that returns of rows, scored in some company, equal those of the whole batch."""
    in_batch = expected[rows]
    close = torch.isclose(returns, in_batch, rtol=tolerance, atol=tolerance, equal_nan=True)
    for place in (~close).nonzero().flatten().tolist():
        raise AssertionError(
            f"{float(returns[place]):.6g} {company} and {float(in_batch[place]):.6g} in its"
            " batch break the promise: a row's reward depends on the row alone, on"
            f" {_row(sequences, int(rows[place]))}"
        )


def _check_training(
    reward: TrainableReward, sequences: Sequences, expected: Tensor, tolerance: float
) -> None:
    """Checks that an update reports listed metrics and that a stored state restores all rewards."""
    first = _stored(reward.state_dict())
    halves = torch.arange(len(sequences)).tensor_split(2)
    real, generated = (sequences.select(half) for half in halves)
    try:
        metrics = reward.update(real, generated)
    except Exception as error:
        raise AssertionError(
            f"{described(error)} breaks the promise: update takes real and generated sequences"
        ) from error
    _check_metrics(metrics)
    later = _returns(reward, sequences)
    for state, wanted in ((_stored(reward.state_dict()), later), (first, expected)):
        if wanted is later:
            reward.update(generated, real)  # changes the state, so that loading has work to do
        reward.load_state_dict(state)
        returns = _returns(reward, sequences)
        close = torch.isclose(returns, wanted, rtol=tolerance, atol=tolerance, equal_nan=True)
        for row in (~close).nonzero().flatten().tolist():
            raise AssertionError(
                f"{float(returns[row]):.6g} after {float(wanted[row]):.6g} breaks the"
                " promise: a loaded state brings its rewards back, on"
                f" {_row(sequences, row)}"
            )


def _check_metrics(metrics: Any) -> None:
    if not isinstance(metrics, Mapping):
        raise AssertionError(
            f"a {type(metrics).__name__} breaks the promise: update gives metrics by name"
        )
    for name, value in metrics.items():
        try:
            find_metric(name)
        except ConfigurationError as error:
            raise AssertionError(
                f"a metric breaks the promise: update gives listed metrics: {error}"
            ) from error
        if not isinstance(value, int | float):
            raise AssertionError(
                f"a {type(value).__name__} for {name!r} breaks the promise: update gives"
                " its metrics as floats"
            )


def _stored(state: Any, path: str = "state_dict()") -> Any:
    """Imitates the way of a state through a checkpoint: copies tensors, turns tuples to lists.

    Raises:
        AssertionError: a part of the state cannot be stored.
    """
    if isinstance(state, Tensor):
        return state.detach().clone()
    if isinstance(state, Mapping):
        return {key: _stored(value, f"{path}[{key!r}]") for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [_stored(value, f"{path}[{index}]") for index, value in enumerate(state)]
    if state is None or isinstance(state, bool | int | float | str):
        return state
    raise AssertionError(
        f"a {type(state).__name__} at {path} breaks the promise: a state is made of dicts,"
        " lists, tensors, numbers and strings"
    )


def _row(sequences: Sequences, row: int) -> str:
    return f"row {row} ({text_of(sequences, row)!r})"
