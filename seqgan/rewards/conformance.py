"""Whether a reward model keeps its promises: for its author to run, before a long run does."""

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

WIDER = 3  # columns of padding that are added to see whether they matter


def check_reward(
    reward: Any,
    sequences: Sequences | None = None,
    vocabulary: Vocabulary | None = None,
    max_length: int = 8,
    tolerance: float = 1e-4,
) -> None:
    """Scores sequences in several ways, which must agree, and trains a trainable reward a little.

    A trainable reward is put back to where it was.

    Args:
        sequences: what is scored, at least two rows; by default random ones.
        vocabulary: of the random sequences, or of given ones that carry none.
        max_length: tokens of the longest random sequence.
        tolerance: by which two rewards of a row may differ, absolutely and relatively.

    Raises:
        AssertionError: a broken promise; in one line the rule, what was found, and where.
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
    if sequences is None:
        if vocabulary is None:
            raise ConfigurationError("check_reward needs sequences or a vocabulary, got neither")
        return random_sequences(vocabulary, max_length)
    if len(sequences) < 2:
        raise ConfigurationError(f"check_reward needs at least 2 sequences, got {len(sequences)}")
    if sequences.vocabulary is None:
        if vocabulary is None:
            raise ConfigurationError("check_reward needs a vocabulary or sequences that carry one")
        sequences = replace(sequences, vocabulary=vocabulary)
    return sequences


def random_sequences(vocabulary: Vocabulary, max_length: int, size: int = 16) -> Sequences:
    """Rows of every length there may be, the same ones each time."""
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
                f"a reward model has name, per_token and score, got a {type(reward).__name__}"
                f" without {attribute}"
            )
    if not isinstance(reward.name, str) or not reward.name:
        raise AssertionError(f"name is a string that is not empty, got {reward.name!r}")
    if not isinstance(reward.per_token, bool):
        raise AssertionError(f"per_token is True or False, got {reward.per_token!r}")


def _scored(reward: RewardModel, sequences: Sequences) -> Tensor:
    """What the reward gives for a copy of the sequences: a tensor of the declared shape."""
    try:
        # A selection copies, so a reward that changes its input spoils this copy only.
        scores = reward.score(sequences.select(torch.arange(len(sequences))))
    except Exception as error:
        raise AssertionError(
            f"score judges any sequences, got {described(error)} for {len(sequences)} of them"
        ) from error
    if not isinstance(scores, Tensor):
        raise AssertionError(f"score gives a tensor, got a {type(scores).__name__}")
    shape = sequences.tokens.shape if reward.per_token else sequences.tokens.shape[:1]
    if scores.shape != shape:
        declared = "per_token" if reward.per_token else "not per_token"
        raise AssertionError(
            f"score gives the shape {tuple(shape)}, as it is {declared}, got {tuple(scores.shape)}"
        )
    return scores.detach().float()


def _returns(reward: RewardModel, sequences: Sequences) -> Float[Tensor, " batch"]:
    scores = _scored(reward, sequences)
    return scores.sum(dim=1) if reward.per_token else scores


def _check_scores(reward: RewardModel, sequences: Sequences) -> Float[Tensor, " batch"]:
    """One scoring, all by itself; gives the returns."""
    scores = _scored(reward, sequences)
    for place in scores.isinf().nonzero().tolist():
        raise AssertionError(
            f"a reward is finite, or NaN where it does not apply, got {float(scores[*place])} on"
            f" {_row(sequences, place[0])}"
        )
    if reward.per_token:
        for row, step in (~sequences.mask & (scores != 0)).nonzero().tolist():
            raise AssertionError(
                f"a reward per token is 0 on padding, got {float(scores[row, step])} at step {step}"
                f" of {_row(sequences, row)}"
            )
        return scores.sum(dim=1)
    return scores


def _check_inputs(reward: RewardModel, sequences: Sequences) -> None:
    """The sequences are as they were after a scoring, and its result is no part of them."""
    given = sequences.select(torch.arange(len(sequences)))
    scores = reward.score(given)
    for name in ("tokens", "mask", "prompts", "prompt_mask"):
        before, after = getattr(sequences, name), getattr(given, name)
        if before is None:
            continue
        for place in (before != after).nonzero().tolist()[:1]:
            raise AssertionError(
                f"score leaves its input alone, got other {name} on {_row(sequences, place[0])}"
            )
        if scores.untyped_storage().data_ptr() == after.untyped_storage().data_ptr():
            raise AssertionError(f"score gives a tensor of its own, got a view of the {name}")
    for name, values in sequences.columns.items():
        if list(given.columns.get(name, ())) != list(values):
            raise AssertionError(f"score leaves its input alone, got another column {name!r}")
    if given.texts != sequences.texts:
        raise AssertionError("score leaves its input alone, got other texts")


def _check_rows(
    reward: RewardModel, sequences: Sequences, expected: Tensor, tolerance: float
) -> None:
    """A row's reward is the same whenever, and in whatever company, it is asked for."""
    size = len(sequences)
    same = torch.arange(size)
    orders = {
        "when asked again": same,
        "in the reverse order": same.flip(0),
        "beside a copy of each row": same.repeat_interleave(2),
        "in the first half of its batch": same[: size // 2],
    }
    for company, rows in orders.items():
        found = _returns(reward, sequences.select(rows))
        _agree(sequences, expected, rows, found, company, tolerance)
    for row in range(size):
        rows = same[row : row + 1]
        found = _returns(reward, sequences.select(rows))
        _agree(sequences, expected, rows, found, "alone", tolerance)


def _check_padding(
    reward: RewardModel, sequences: Sequences, expected: Tensor, tolerance: float
) -> None:
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
        found = _returns(reward, sequences.select(rows).trimmed())
        _agree(sequences, expected, rows, found, "without padding", tolerance)


def _agree(
    sequences: Sequences,
    expected: Tensor,
    rows: Tensor,
    found: Tensor,
    company: str,
    tolerance: float,
) -> None:
    wanted = expected[rows]
    close = torch.isclose(found, wanted, rtol=tolerance, atol=tolerance, equal_nan=True)
    for place in (~close).nonzero().flatten().tolist():
        raise AssertionError(
            f"a row's reward depends on the row alone, got {float(found[place]):.6g} {company} and"
            f" {float(wanted[place]):.6g} in its batch on {_row(sequences, int(rows[place]))}"
        )


def _check_training(
    reward: TrainableReward, sequences: Sequences, expected: Tensor, tolerance: float
) -> None:
    """An update reports listed metrics, and a state that was stored brings everything back."""
    first = _stored(reward.state_dict())
    halves = torch.arange(len(sequences)).tensor_split(2)
    real, generated = (sequences.select(half) for half in halves)
    try:
        metrics = reward.update(real, generated)
    except Exception as error:
        raise AssertionError(
            f"update takes real and generated sequences, got {described(error)}"
        ) from error
    _check_metrics(metrics)
    later = _returns(reward, sequences)
    for state, wanted in ((_stored(reward.state_dict()), later), (first, expected)):
        if wanted is later:
            reward.update(generated, real)  # away from the state that is to come back
        reward.load_state_dict(state)
        found = _returns(reward, sequences)
        close = torch.isclose(found, wanted, rtol=tolerance, atol=tolerance, equal_nan=True)
        for row in (~close).nonzero().flatten().tolist():
            raise AssertionError(
                f"a loaded state brings its rewards back, got {float(found[row]):.6g} after"
                f" {float(wanted[row]):.6g} on {_row(sequences, row)}"
            )


def _check_metrics(metrics: Any) -> None:
    if not isinstance(metrics, Mapping):
        raise AssertionError(f"update gives metrics by name, got a {type(metrics).__name__}")
    for name, value in metrics.items():
        try:
            find_metric(name)
        except ConfigurationError as error:
            raise AssertionError(f"update gives listed metrics: {error}") from error
        if not isinstance(value, int | float):
            raise AssertionError(
                f"update gives its metrics as floats, got a {type(value).__name__} for {name!r}"
            )


def _stored(state: Any, path: str = "state_dict()") -> Any:
    """What a checkpoint gives back of a state: copied tensors, lists for tuples.

    Raises:
        AssertionError: something in it cannot be stored.
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
        "a state is made of dicts, lists, tensors, numbers and strings, got a"
        f" {type(state).__name__} at {path}"
    )


def _row(sequences: Sequences, row: int) -> str:
    return f"row {row} ({text_of(sequences, row)!r})"
