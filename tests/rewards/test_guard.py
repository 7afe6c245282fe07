"""Rewards that fail: which row is named, what is kept, what the reward was given."""

import io
import math
import re
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from rich.console import Console

from seqgan.data.sequences import Sequences
from seqgan.data.vocabulary import Vocabulary
from seqgan.rewards.base import RewardError
from seqgan.rewards.guard import FailurePolicy, careful_returns, described
from seqgan.tracking.progress import Progress

VOCABULARY = Vocabulary(tuple("abcdefgh"))  # eos 8, bos 9, pad 10
# 64 distinct rows of two words; row 37 is "e f" and stands for itself in every test.
BATCH = Sequences.from_rows([[row // 8, row % 8, 8] for row in range(64)], VOCABULARY, 4)
VALUES = [float(row) for row in range(64)]  # what `Numbering` gives
SKIP = FailurePolicy(on_failure="skip")


def number(sequences):
    """Each row's number in `BATCH`, told by its tokens alone."""
    return (sequences.tokens[:, 0] * 8 + sequences.tokens[:, 1]).float()


class Numbering:
    """Gives each row its number. Fails as it is told on the given rows."""

    name = "mine"
    per_token = False

    def __init__(self, *bad, fail=None):
        self.bad, self.fail, self.sizes = bad, fail, []

    def score(self, sequences):
        self.sizes.append(len(sequences))
        values = number(sequences)
        if self.fail is infinite:
            return torch.where(torch.isin(values, torch.tensor(self.bad)), -math.inf, values)
        for row in self.bad:
            if row in values.tolist():
                return self.fail(values, row)
        return values


def raising(values, row):
    raise KeyError("mood")


def infinite(values, row):
    return torch.where(values == row, -math.inf, values)


def too_short(values, row):
    return values[values != row]


def a_list(values, row):
    return values.tolist()


def kept(values, skipped):
    return [row for row, value in enumerate(values.tolist()) if not math.isnan(value)] == [
        row for row in range(64) if row not in skipped
    ] and all(math.isnan(value) or value == row for row, value in enumerate(values.tolist()))


FAILURES = [
    (raising, "KeyError: 'mood'"),
    (infinite, "it gave -inf, but a reward must be finite"),
    (too_short, "it gave rewards of shape (0,), but must give (1,)"),
    (a_list, "it gave a list, but a reward must be a tensor"),
]


@pytest.mark.parametrize(("fail", "problem"), FAILURES)
class TestAFailingRow:
    def test_stops_and_is_named(self, fail, problem):
        with pytest.raises(RewardError) as caught:
            careful_returns(Numbering(37, fail=fail), BATCH)
        assert str(caught.value) == f"reward 'mine' failed on row 37 ('e f'): {problem}"
        assert (caught.value.row, caught.value.text) == (37, "e f")
        assert caught.value.problem == problem

    def test_the_first_of_several_stops(self, fail, problem):
        with pytest.raises(RewardError) as caught:
            careful_returns(Numbering(37, 50, 60, fail=fail), BATCH)
        assert caught.value.row == 37

    def test_is_skipped_and_the_others_are_kept(self, fail, problem):
        assert kept(careful_returns(Numbering(37, fail=fail), BATCH, SKIP), {37})

    def test_several_are_skipped(self, fail, problem):
        told = []
        bad = {0, 1, 36, 37, 63}
        values = careful_returns(Numbering(*bad, fail=fail), BATCH, SKIP, on_skip=told.append)
        assert kept(values, bad)
        assert [error.row for error in told] == sorted(bad)
        assert all(error.problem == problem for error in told)


def test_the_original_exception_is_chained():
    with pytest.raises(RewardError) as caught:
        careful_returns(Numbering(37, fail=raising), BATCH)
    assert isinstance(caught.value.__cause__, KeyError)


def test_rows_of_a_batch_that_says_nothing_are_asked_alone():
    model = Numbering(37, fail=raising)
    careful_returns(model, BATCH, SKIP)
    assert model.sizes == [64, *[1] * 64]  # no row is asked about more than twice


def test_parts_of_a_large_batch_are_asked_before_its_rows():
    model = Numbering(37, fail=raising)
    many = BATCH.select(torch.arange(64 * 40) % 64)
    values = careful_returns(model, many.select(torch.arange(64 * 40)), SKIP)
    assert values.isnan().nonzero().flatten().tolist() == list(range(37, 64 * 40, 64))
    assert model.sizes[0] == 64 * 40
    assert set(model.sizes[1:]) == {40, 1}
    assert len(model.sizes) == 1 + 64 + 40 * 40  # each of 40 parts with a failing row has 40 rows


def test_a_row_that_the_reward_names_itself_is_not_searched_for():
    def fail(values, row):
        index = int((values == row).nonzero())
        raise RewardError("mine", "no judge", index)

    for each in (infinite, fail):
        model = Numbering(37, fail=each)
        with pytest.raises(RewardError, match=r"on row 37 \('e f'\)"):
            careful_returns(model, BATCH)
        assert model.sizes == [64]
        told = []
        assert kept(careful_returns(model, BATCH, SKIP, on_skip=told.append), {37})
        assert [error.row for error in told] == [37]


def test_a_row_that_is_none_is_searched_for():
    def fail(values, row):
        raise RewardError("mine", "no judge", 64)

    with pytest.raises(RewardError, match=r"on row 37 \('e f'\)"):
        careful_returns(Numbering(37, fail=fail), BATCH)


def test_nothing_is_asked_twice_when_nothing_fails():
    model = Numbering()
    assert careful_returns(model, BATCH).tolist() == VALUES
    assert model.sizes == [64]


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_odd_sizes_and_every_row_failing(size):
    few = BATCH.select(torch.arange(size))
    told = []
    values = careful_returns(Numbering(*range(size), fail=raising), few, SKIP, on_skip=told.append)
    assert values.isnan().all()
    assert [error.row for error in told] == list(range(size))


def test_an_empty_batch():
    nothing = BATCH.select(torch.arange(0))
    assert careful_returns(Numbering(), nothing).shape == (0,)


class Flaky(Numbering):
    """Fails at its first `times` calls, whatever it is given."""

    def __init__(self, times):
        super().__init__()
        self.times = times

    def score(self, sequences):
        values = super().score(sequences)
        if len(self.sizes) <= self.times:
            raise TimeoutError("no answer")
        return values


def test_a_failed_row_is_asked_again_and_the_other_answers_are_kept():
    model = Flaky(2)
    assert careful_returns(model, BATCH, FailurePolicy(1, pause=0.0)).tolist() == VALUES
    assert model.sizes == [64, *[1] * 64, 1]  # the batch, its rows, and the row that failed again


def test_a_failure_that_lasts_longer_than_the_retries_is_skipped():
    told = []
    policy = FailurePolicy(1, "skip", pause=0.0)
    # the batch, its 64 rows, and five of those again
    assert kept(careful_returns(Flaky(70), BATCH, policy, on_skip=told.append), set(range(5)))
    assert [error.row for error in told] == list(range(5))


class Crowded(Numbering):
    """Bears at most 16 rows at a time."""

    def score(self, sequences):
        if len(sequences) > 16:
            raise MemoryError
        return super().score(sequences)


def test_a_failure_of_no_row_is_named_as_one():
    with pytest.raises(RewardError) as caught:
        careful_returns(Crowded(), BATCH)
    assert str(caught.value) == (
        "reward 'mine' failed: passes 64 rows in parts but not together, where: MemoryError"
    )
    assert isinstance(caught.value.__cause__, MemoryError)


def test_skipping_loses_nothing_to_a_failure_of_no_row():
    told = []
    assert careful_returns(Crowded(), BATCH, SKIP, on_skip=told.append).tolist() == VALUES
    assert [error.row for error in told] == [None]


def test_a_batch_that_passes_in_parts_has_passed_where_rows_may_be_asked_again():
    assert careful_returns(Crowded(), BATCH, FailurePolicy(1, pause=0.0)).tolist() == VALUES


def raises(error):
    def stop(values, row):
        raise error

    return stop


@pytest.mark.usefixtures("ctrl_c")
def test_an_interruption_goes_through():
    stopped = Numbering(37, fail=raises(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        careful_returns(stopped, BATCH, FailurePolicy(3, "skip"))


def test_a_reward_that_exits_has_failed():
    with pytest.raises(RewardError, match=r"on row 37 .*SystemExit: 3"):
        careful_returns(Numbering(37, fail=raises(SystemExit(3))), BATCH)


def test_what_does_not_apply_is_no_failure():
    class Partial(Numbering):
        def score(self, sequences):
            values = super().score(sequences)
            return torch.where(values == 37, math.nan, values)

    model = Partial()
    assert kept(careful_returns(model, BATCH), {37})
    assert model.sizes == [64]


class Mutating(Numbering):
    """Overwrites everything that it is given, before it fails on row 37 or gives values."""

    def score(self, sequences):
        values = super().score(sequences).clone()
        sequences.texts.reverse()
        sequences.columns["mood"].clear()
        for tensor in (sequences.tokens, sequences.mask, sequences.prompts, sequences.prompt_mask):
            tensor.zero_()
        if 37 in values:
            raise ValueError("row 37")
        return values


@pytest.mark.parametrize("decoded", [False, True])
def test_the_reward_may_change_what_it_is_given(decoded):
    prompts = torch.arange(128).view(64, 2) % 8
    batch = replace(
        BATCH,
        prompts=prompts.clone(),
        prompt_mask=torch.ones(64, 2, dtype=torch.bool),
        columns={"mood": list(range(64))},
    )
    if decoded:
        assert batch.texts[37] == "e f"
    assert kept(careful_returns(Mutating(), batch, SKIP), {37})
    assert torch.equal(batch.tokens, BATCH.tokens)
    assert torch.equal(batch.mask, BATCH.mask)
    assert torch.equal(batch.prompts, prompts)
    assert batch.prompt_mask.all()
    assert batch.columns == {"mood": list(range(64))}
    assert batch.texts == BATCH.texts


def test_decoded_texts_are_not_decoded_again(monkeypatch):
    batch = replace(BATCH)
    assert batch.texts
    decode = Vocabulary.decode
    decoded = []

    def counted(vocabulary, ids):
        decoded.append(ids)
        return decode(vocabulary, ids)

    monkeypatch.setattr(Vocabulary, "decode", counted)

    class Lengths(Numbering):
        def score(self, sequences):
            return torch.tensor([float(len(text)) for text in sequences.texts])

    assert careful_returns(Lengths(), batch).tolist() == [3.0] * 64
    assert not decoded


def test_per_token_rewards_are_summed():
    class PerToken(Numbering):
        per_token = True

        def score(self, sequences):
            values = super().score(sequences)[:, None] * torch.tensor([1.0, 10.0, 100.0, 7.0])
            if 37 in number(sequences):
                raise ValueError("row 37")
            return values

    values = careful_returns(PerToken(), BATCH, SKIP)
    assert values[[0, 1, 36, 38, 63]].tolist() == [0, 111, 36 * 111, 38 * 111, 63 * 111]
    assert values[37].isnan()


def test_no_graph_is_kept():
    class Differentiable(Numbering):
        def score(self, sequences):
            return super().score(sequences) * torch.ones(1, requires_grad=True)

    assert not careful_returns(Differentiable(), BATCH).requires_grad


def test_every_call_is_watched():
    model, events = Numbering(37, fail=raising), []

    @contextmanager
    def watch(name):
        events.append(f"into {name}")
        try:
            yield
        finally:
            events.append("out")

    careful_returns(model, BATCH, SKIP, watch)
    assert events == ["into mine", "out"] * len(model.sizes)


def test_a_slow_reward_is_said_to_be_waited_for():
    console = Console(file=io.StringIO(), width=80)

    class Slow(Numbering):
        def score(self, sequences):
            deadline = time.monotonic() + 30
            while not console.file.getvalue() and time.monotonic() < deadline:
                time.sleep(0.01)
            return super().score(sequences)

    with Progress(console, seconds_between_lines=0.01) as progress:
        careful_returns(Slow(), BATCH, watch=lambda name: progress.waiting(f"reward {name!r}"))
    assert re.fullmatch(
        r"waiting for reward 'mine'\nwaited \d+ s for reward 'mine'\n", console.file.getvalue()
    )


def test_a_message_of_several_lines_becomes_one():
    def fail(values, row):
        raise ValueError("first line\n\n   second line")

    with pytest.raises(RewardError, match=r"^[^\n]*: ValueError: first line second line$"):
        careful_returns(Numbering(37, fail=fail), BATCH)


def test_a_reward_that_names_itself_otherwise_keeps_its_name():
    def fail(values, row):
        raise RewardError("inner", "no judge")

    with pytest.raises(RewardError, match=r"^reward 'inner' failed on row 37 \('e f'\): no judge$"):
        careful_returns(Numbering(37, fail=fail), BATCH)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ValueError("no"), "ValueError: no"),
        (MemoryError(), "MemoryError"),
        (KeyError(3), "KeyError: 3"),
    ],
)
def test_described(error, text):
    assert described(error) == text


def test_policies_are_checked():
    with pytest.raises(ValueError, match=r"^retries is -1, but must be at least 0$"):
        FailurePolicy(retries=-1)
    policy = FailurePolicy()
    object.__setattr__(policy, "on_failure", "shrug")  # beartype lets no such argument through
    with pytest.raises(ValueError, match=r"^on_failure is 'shrug', but must be one of stop, skip$"):
        policy.__post_init__()
