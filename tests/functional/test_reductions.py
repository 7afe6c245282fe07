"""Reductions by hand, and that weighted parts of a batch make the whole."""

import pytest
import torch
from toys import seeded

from seqgan.functional.reductions import reduced, terms

LOSSES = torch.tensor([[1.0, 2.0, 4.0], [8.0, -1e6, -1e6], [16.0, 32.0, -1e6]])
MASK = torch.tensor([[True, True, True], [True, False, False], [True, True, False]])


@pytest.mark.parametrize(
    ("reduction", "expected", "count"),
    [
        ("mean", 63 / 6, 6),
        ("sum", 63, 6),
        ("sequences", (7 / 3 + 8 + 24) / 3, 3),
        ("constant", 63 / 9, 3),
    ],
)
def test_by_hand(reduction, expected, count):
    assert float(reduced(LOSSES, MASK, reduction)) == pytest.approx(expected)
    assert terms(MASK, reduction) == count


@pytest.mark.parametrize("reduction", ["mean", "sequences", "constant"])
def test_parts_weigh_by_their_terms(reduction):
    losses = torch.randn((6, 4), generator=seeded(), dtype=torch.double)
    mask = torch.arange(4)[None, :] < torch.tensor([4, 1, 3, 4, 2, 2])[:, None]
    whole = float(reduced(losses, mask, reduction))
    parts = [(losses[:1], mask[:1]), (losses[1:], mask[1:])]
    weights = [terms(part_mask, reduction) for _, part_mask in parts]
    joined = sum(
        weight * float(reduced(*part, reduction))
        for weight, part in zip(weights, parts, strict=True)
    )
    assert joined / sum(weights) == pytest.approx(whole, rel=1e-12)


@pytest.mark.parametrize("reduction", ["mean", "sum", "sequences", "constant"])
def test_an_empty_sequence_has_no_loss_and_no_gradient(reduction):
    losses = torch.tensor([[3.0, 5.0]], requires_grad=True)
    value = reduced(losses, torch.zeros(1, 2, dtype=torch.bool), reduction)
    value.backward()
    assert float(value.detach()) == 0
    assert not losses.grad.any()
