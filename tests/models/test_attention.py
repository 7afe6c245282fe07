"""The transformer layer against loops over numbers, and against its own cache."""

import math

import numpy as np
import pytest
import torch

from seqgan.models.attention import TransformerLayer, rotated
from seqgan.models.generators.transformer import TransformerGeneratorConfig

WIDTH, NUM_HEADS, COLUMNS = 8, 2, 5


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def layer():
    layer = TransformerLayer(WIDTH, NUM_HEADS, dropout=0.0).double()
    for index, parameter in enumerate(layer.parameters()):
        with torch.no_grad():
            parameter.copy_(torch.randn(parameter.shape, generator=seeded(index)) * 0.5)
    return layer


def numpy_of(module):
    return {name: value.detach().numpy() for name, value in module.named_parameters()}


def normed(x, weight, bias):
    return (x - x.mean()) / np.sqrt(x.var() + 1e-5) * weight + bias


def turned(vector, position):
    """The rotation, one plane at a time."""
    half = len(vector) // 2
    result = vector.copy()
    for i in range(half):
        angle = position * 10000.0 ** (-i / half)
        result[i] = vector[i] * math.cos(angle) - vector[i + half] * math.sin(angle)
        result[i + half] = vector[i] * math.sin(angle) + vector[i + half] * math.cos(angle)
    return result


def in_loops(layer, values, visible):
    """The layer of one row, number by number: what each column attends to, and the rest."""
    w = numpy_of(layer)
    size = WIDTH // NUM_HEADS
    parts = [
        w["queries_keys_values.weight"]
        @ normed(x, w["attention_norm.weight"], w["attention_norm.bias"])
        + w["queries_keys_values.bias"]
        for x in values
    ]
    result = []
    for t, x in enumerate(values):
        heads = []
        for h in range(NUM_HEADS):
            cut = slice(h * size, (h + 1) * size)
            query = turned(parts[t][:WIDTH][cut], t)
            columns = [s for s in range(len(values)) if visible[t][s]]
            keys = [turned(parts[s][WIDTH : 2 * WIDTH][cut], s) for s in columns]
            scores = np.exp([query @ key / math.sqrt(size) for key in keys])
            contents = [parts[s][2 * WIDTH :][cut] for s in columns]
            heads.append(sum(a * c for a, c in zip(scores / scores.sum(), contents, strict=True)))
        joined = np.concatenate(heads)
        y = x + w["attention_output.weight"] @ joined + w["attention_output.bias"]
        hidden = normed(y, w["feed_forward_norm.weight"], w["feed_forward_norm.bias"])
        hidden = w["expand.weight"] @ hidden + w["expand.bias"]
        hidden = np.array([0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in hidden])
        result.append(y + w["contract.weight"] @ hidden + w["contract.bias"])
    return np.stack(result)


def make_values():
    return torch.randn(1, COLUMNS, WIDTH, generator=seeded(99)).double()


POSITIONS = torch.arange(COLUMNS)[None]


def test_causal_attention_in_loops(layer):
    values = make_values()
    actual, _ = layer(values, POSITIONS, None)
    expected = in_loops(layer, values[0].numpy(), np.tril(np.ones((COLUMNS, COLUMNS))))
    np.testing.assert_allclose(actual[0].detach().numpy(), expected, atol=1e-10)


def test_masked_attention_in_loops(layer):
    values = make_values()
    visible = torch.rand(1, COLUMNS, COLUMNS, generator=seeded(3)) < 0.5
    visible |= torch.eye(COLUMNS, dtype=torch.bool)
    actual, _ = layer(values, POSITIONS, visible)
    expected = in_loops(layer, values[0].numpy(), visible[0].numpy())
    np.testing.assert_allclose(actual[0].detach().numpy(), expected, atol=1e-10)


def test_a_cache_stands_for_the_columns_in_it(layer):
    values = make_values()
    whole, _ = layer(values, POSITIONS, None)
    first, cache = layer(values[:, :3], POSITIONS[:, :3], None)
    causal = torch.ones(COLUMNS, COLUMNS, dtype=torch.bool).tril()[None]
    rest, _ = layer(values[:, 3:], POSITIONS[:, 3:], causal[:, 3:], cache)
    torch.testing.assert_close(torch.cat([first, rest], dim=1), whole)


def test_late_places_are_told_apart_in_half_precision():
    """bfloat16 itself has no number between 512 and 516."""
    vectors = torch.randn((1, 1, 2, 8), generator=seeded())
    positions = torch.tensor([[513, 515]])
    found = rotated(vectors.bfloat16(), positions)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), rotated(vectors, positions), atol=0.05, rtol=0)


def test_products_of_rotated_vectors_depend_on_the_difference_of_positions():
    query, key = torch.randn(2, 1, 1, 1, 6, generator=seeded()).double()

    def product(i, j):
        return float(
            (rotated(query, torch.tensor([[i]])) * rotated(key, torch.tensor([[j]]))).sum()
        )

    assert product(2, 7) == pytest.approx(product(12, 17), abs=1e-12)
    assert product(0, 0) == pytest.approx(float((query * key).sum()), abs=1e-12)
    assert abs(product(2, 7) - product(7, 2)) > 1e-3


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"width": 0}, "generator.width is 0, but must be at least 1"),
        ({"num_heads": 0}, "generator.num_heads is 0, but must be at least 1"),
        ({"num_layers": -1}, "generator.num_layers is -1, but must be at least 1"),
        ({"width": 12}, r"generator.width is 12, but must be a multiple of twice num_heads \(8\)"),
        ({"dropout": 1.0}, r"generator.dropout is 1.0, but must be at least 0 and below 1"),
    ],
)
def test_sizes_are_checked(changed, message):
    with pytest.raises(ValueError, match=message):
        TransformerGeneratorConfig(**({"width": 16, "num_layers": 1, "num_heads": 4} | changed))
