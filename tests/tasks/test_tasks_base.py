"""How a task's rows are drawn: whole passes, parts of them, and a few rows of very many."""

import pytest
import torch
from toys import ENDING, every_sequence

from seqgan.data.sequences import Sequences
from seqgan.tasks import base
from seqgan.tasks.base import FixedTask, Task, random_rows


@pytest.fixture
def task() -> FixedTask:
    everything = every_sequence(ENDING)
    splits = {"train": everything, "dev": everything.select(torch.arange(3))}
    return FixedTask(ENDING, 4, splits)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def joined(batches: list[Sequences]) -> torch.Tensor:
    return torch.cat([batch.tokens for batch in batches])


def test_it_is_a_task(task):
    assert isinstance(task, Task)


def test_batches_are_the_same_pass_as_real(task):
    rng, other = seeded(), seeded()
    batches = list(task.batches("train", 16, rng))
    assert [len(batch) for batch in batches] == [16] * 7 + [9]
    assert torch.equal(joined(batches), task.real("train", 121, other).tokens)
    assert torch.equal(rng.get_state(), other.get_state())


def test_the_order_is_drawn_at_the_call(task):
    rng = seeded()
    batches = task.batches("train", 16, rng)
    state = rng.get_state()
    first = next(batches)
    assert torch.equal(rng.get_state(), state)
    assert torch.equal(first.tokens, task.real("train", 16, seeded()).tokens)


def test_parts_of_a_pass_make_up_the_pass(task):
    whole = joined(list(task.batches("train", 16, seeded())))
    parts = [
        joined(list(task.batches("train", 16, seeded(), slice(start, stop))))
        for start, stop in ((0, 5), (5, 100), (100, 121))
    ]
    assert torch.equal(torch.cat(parts), whole)


def test_chunks_are_the_rows_in_order(task):
    for size in (1, 50, 121, 1000):
        chunks = list(task.chunks("train", size))
        assert all(len(chunk) == size for chunk in chunks[:-1])
        assert torch.equal(joined(chunks), every_sequence(ENDING).tokens)


def test_random_rows_use_every_row_before_one_is_used_again():
    rows = random_rows(5, 13, seeded())
    assert all(sorted(rows[start : start + 5].tolist()) == [0, 1, 2, 3, 4] for start in (0, 5))
    assert len(set(rows[10:].tolist())) == 3


def test_a_few_of_many_rows_are_distinct_uniform_and_in_random_order(monkeypatch):
    monkeypatch.setattr(base, "MANY_ROWS", 64)
    rng, counts, firsts = seeded(), torch.zeros(64), torch.zeros(64)
    for _ in range(20_000):
        rows = random_rows(64, 4, rng)
        assert len(set(rows.tolist())) == 4
        counts[rows] += 1
        firsts[rows[0]] += 1
    # Chi-square with 63 degrees of freedom: its mean is 63, its deviation 11.
    assert float(((counts - 1250) ** 2 / 1250).sum()) < 63 + 5 * 11
    assert float(((firsts - 312.5) ** 2 / 312.5).sum()) < 63 + 5 * 11
    # Not the whole permutation's first rows: another way of drawing, for few rows only.
    assert not torch.equal(random_rows(64, 4, seeded()), torch.randperm(64, generator=seeded())[:4])
    assert torch.equal(random_rows(64, 5, seeded()), torch.randperm(64, generator=seeded())[:5])
