"""Convolution with a maximum over time: both fast paths against PyTorch's own layers."""

import pytest
import torch
from torch.nn.functional import conv1d

from seqgan.models.discriminators.convolution import max_over_time, max_over_time_by_table


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def plain(embedded, weight, bias):
    return conv1d(embedded.transpose(1, 2), weight, bias).amax(dim=2)


def draw(*shape, seed):
    return torch.randn(shape, generator=seeded(seed))


SIZES = pytest.mark.parametrize(
    ("batch", "time", "embedding", "num_filters", "width"),
    [
        (5, 7, 3, 4, 1),
        (5, 7, 3, 4, 3),
        (4, 7, 3, 4, 5),
        (1, 6, 2, 5, 6),
        (8, 9, 4, 1, 2),
        (3, 1, 2, 2, 1),
    ],
)


@SIZES
def test_values_and_gradients(batch, time, embedding, num_filters, width):
    inputs = [
        draw(batch, time, embedding, seed=1).requires_grad_(),
        draw(num_filters, embedding, width, seed=2).requires_grad_(),
        draw(num_filters, seed=3).requires_grad_(),
    ]
    expected, actual = plain(*inputs), max_over_time(*inputs)
    torch.testing.assert_close(actual, expected)
    upstream = draw(batch, num_filters, seed=4)
    wanted = torch.autograd.grad(expected, inputs, upstream)
    given = torch.autograd.grad(actual, inputs, upstream)
    for mine, theirs in zip(given, wanted, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_gradients_by_finite_differences():
    inputs = [
        draw(2, 5, 3, seed=1).double().requires_grad_(),
        draw(4, 3, 2, seed=2).double().requires_grad_(),
        draw(4, seed=3).double().requires_grad_(),
    ]
    assert torch.autograd.gradcheck(max_over_time, inputs)


def test_a_tie_goes_to_the_first_window():
    """Two equal windows: the gradient is not split, and not counted twice."""
    embedded = torch.tensor([[[1.0], [2.0], [2.0], [0.0]]], requires_grad=True)
    weight = torch.ones(1, 1, 1)
    max_over_time(embedded, weight, torch.zeros(1)).backward()
    assert embedded.grad is not None
    assert embedded.grad.flatten().tolist() == [0, 1, 0, 0]


def test_nan_reaches_the_result_and_no_other_row():
    embedded = draw(3, 5, 2, seed=1)
    embedded[2, 1, 0] = float("nan")
    weight = draw(4, 2, 2, seed=2).requires_grad_()
    result = max_over_time(embedded, weight, torch.zeros(4))
    assert result.isnan().any(dim=1).tolist() == [False, False, True]
    result.sum().backward()  # the last text has no window after its own


def test_frozen_embeddings_are_left_alone():
    embedded = draw(2, 5, 3, seed=1)
    weight = draw(4, 3, 2, seed=2).requires_grad_()
    max_over_time(embedded, weight, torch.zeros(4)).sum().backward()
    assert embedded.grad is None
    assert weight.grad is not None


@SIZES
@pytest.mark.parametrize("chunk_size", [2, 1024])
def test_by_table(batch, time, embedding, num_filters, width, chunk_size):
    table = draw(11, embedding, seed=1)
    tokens = torch.randint(11, (batch, time), generator=seeded(2))
    weight, bias = draw(num_filters, embedding, width, seed=3), draw(num_filters, seed=4)
    actual = max_over_time_by_table(tokens, table, weight, bias, chunk_size)
    torch.testing.assert_close(actual, plain(table[tokens], weight, bias))


def test_autocast_is_the_same_to_its_precision():
    embedded, weight, bias = draw(6, 9, 8, seed=1), draw(5, 8, 3, seed=2), draw(5, seed=3)
    weight.requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = max_over_time(embedded, weight, bias)
    exact = plain(embedded, weight, bias)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded, exact, rtol=0.03, atol=0.1)
    assert not torch.equal(rounded, exact)
    (gradient,) = torch.autograd.grad(rounded.sum(), weight)
    (expected,) = torch.autograd.grad(exact.sum(), weight)
    torch.testing.assert_close(gradient, expected, rtol=0.03, atol=0.1)
