"""How likely chosen tokens are, without all the logits: against the plain computation."""

import pytest
import torch
from torch.distributions import Categorical
from torch.nn.functional import linear
from torch.utils._python_dispatch import TorchDispatchMode

from seqgan.models.generators import projection
from seqgan.models.generators.projection import (
    chosen_log_probs,
    chosen_log_probs_and_entropies,
    mean_negative_log_likelihood,
)


def plain(hidden, weight, bias, chosen):
    return linear(hidden, weight, bias).log_softmax(dim=-1).gather(1, chosen[:, None])[:, 0]


def inputs(num_rows=7, size=3, vocabulary=11, scale=1.0, dtype=torch.float32):
    rng = torch.Generator().manual_seed(0)
    shapes = ((num_rows, size), (vocabulary, size), (vocabulary,))
    drawn = [torch.randn(shape, generator=rng, dtype=dtype) * scale for shape in shapes]
    chosen = torch.randint(vocabulary, (num_rows,), generator=rng)
    return [part.requires_grad_() for part in drawn], chosen


IN_FLIGHT = pytest.mark.parametrize("in_flight", [1, 30, 2**20])
SCALE = pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])


@IN_FLIGHT
@SCALE
def test_log_probs_and_gradients(monkeypatch, in_flight, scale):
    """Also where rows go a few at a time, and where a chosen token is next to impossible."""
    monkeypatch.setattr(projection, "CHUNK_ELEMENTS", in_flight)
    monkeypatch.setattr(projection, "CHUNK_ROWS", 1)
    parts, chosen = inputs(scale=scale)
    expected, actual = plain(*parts, chosen), chosen_log_probs(*parts, chosen)
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
    upstream = torch.randn(len(chosen), generator=torch.Generator().manual_seed(1))
    wanted = torch.autograd.grad(expected, parts, upstream)
    given = torch.autograd.grad(actual, parts, upstream)
    for mine, theirs in zip(given, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


@IN_FLIGHT
@SCALE
def test_log_probs_and_entropies_and_gradients(monkeypatch, in_flight, scale):
    monkeypatch.setattr(projection, "CHUNK_ELEMENTS", in_flight)
    monkeypatch.setattr(projection, "CHUNK_ROWS", 1)
    parts, chosen = inputs(scale=scale, dtype=torch.double)
    expected = plain(*parts, chosen), Categorical(logits=linear(*parts)).entropy()
    actual = chosen_log_probs_and_entropies(*parts, chosen)
    rng = torch.Generator().manual_seed(1)
    upstream = [torch.randn(len(chosen), generator=rng, dtype=torch.double) for _ in range(2)]
    for of in (slice(0, 1), slice(1, 2), slice(0, 2)):  # either may be all that is asked for
        torch.testing.assert_close(actual[of], expected[of], rtol=1e-9, atol=1e-9)
        wanted = torch.autograd.grad(expected[of], parts, upstream[of], retain_graph=True)
        given = torch.autograd.grad(actual[of], parts, upstream[of], retain_graph=True)
        for mine, theirs in zip(given, wanted, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


@IN_FLIGHT
@SCALE
def test_mean_and_gradients(monkeypatch, in_flight, scale):
    monkeypatch.setattr(projection, "CHUNK_ELEMENTS", in_flight)
    monkeypatch.setattr(projection, "CHUNK_ROWS", 1)
    parts, chosen = inputs(scale=scale)
    expected = -plain(*parts, chosen).mean()
    actual = mean_negative_log_likelihood(*parts, chosen)
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
    wanted = torch.autograd.grad(3 * expected, parts)
    given = torch.autograd.grad(3 * actual, parts)
    for mine, theirs in zip(given, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


def test_a_token_of_chance_zero_in_floats():
    """exp(-300) is no float; its logarithm is."""
    given = (torch.ones(1, 1), torch.tensor([[0.0], [-300.0]]), torch.zeros(2), torch.tensor([1]))
    assert float(chosen_log_probs(*given)) == -300.0
    assert float(mean_negative_log_likelihood(*given)) == 300.0


def test_gradients_by_finite_differences():
    parts, chosen = inputs(dtype=torch.double)

    def mean(*given):
        return mean_negative_log_likelihood(*given, chosen)

    assert torch.autograd.gradcheck(mean, parts)


class Largest(TorchDispatchMode):
    """Notes the size of the largest tensor that any operation gives, forward or backward."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


@pytest.mark.parametrize(
    "function", [chosen_log_probs, chosen_log_probs_and_entropies, mean_negative_log_likelihood]
)
def test_logits_are_made_a_few_rows_at_a_time(monkeypatch, function):
    monkeypatch.setattr(projection, "CHUNK_ELEMENTS", 1000)
    monkeypatch.setattr(projection, "CHUNK_ROWS", 1)
    parts, chosen = inputs(num_rows=300, vocabulary=100)
    with Largest() as largest:
        given = function(*parts, chosen)
        sum(part.sum() for part in (given if isinstance(given, tuple) else (given,))).backward()
    assert largest.elements == 1000  # 10 rows of 300; hidden states are 900


@pytest.mark.parametrize("function", [chosen_log_probs_and_entropies, mean_negative_log_likelihood])
def test_no_logits_are_kept_for_the_gradient(monkeypatch, function):
    monkeypatch.setattr(projection, "CHUNK_ELEMENTS", 1000)
    monkeypatch.setattr(projection, "CHUNK_ROWS", 1)
    parts, chosen = inputs(num_rows=300, vocabulary=100)
    kept = []

    def keep(tensor):
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        function(*parts, chosen)
    assert max(kept) < 1000  # the logits of a few rows


def test_no_rows():
    parts, chosen = inputs(num_rows=0)
    assert chosen_log_probs(*parts, chosen).shape == (0,)
    assert [part.shape for part in chosen_log_probs_and_entropies(*parts, chosen)] == [(0,), (0,)]
    loss = mean_negative_log_likelihood(*parts, chosen)
    assert float(loss.detach()) == 0
    loss.backward()
    assert parts[1].grad is not None
    assert float(parts[1].grad.abs().sum()) == 0
