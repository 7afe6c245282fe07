import math

import pytest
import torch
from toys import seeded

from seqgan.functional.weights import (
    best_of_n_kl,
    effective_share,
    log_mean,
    log_normalizer,
    systematic_resample,
)


def test_effective_share_is_kongs_ratio():
    logs = torch.tensor([[1.0, 2.0, 5.0], [3.0, 3.0, 3.0], [1.0, 0.0, 0.0]]).log() + 700.0
    expected = torch.tensor([64 / (3 * 30), 1.0, 1 / 3], dtype=torch.double)
    torch.testing.assert_close(effective_share(logs), expected, atol=1e-4, rtol=0)


def test_descendants_of_one_sample_count_as_one():
    logs = torch.tensor([[1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 1.0, 1.0]]).log()
    ancestors = torch.tensor([[0, 0, 2, 3], [1, 1, 1, 1]])
    expected = torch.tensor([100 / (4 * (9 + 9 + 16)), 1 / 4], dtype=torch.double)
    torch.testing.assert_close(effective_share(logs, ancestors), expected)
    apart = torch.arange(4).expand(2, 4)
    torch.testing.assert_close(effective_share(logs, apart), effective_share(logs))


def test_log_normalizer_has_the_delta_methods_error_and_the_jackknifes_bias():
    weights = torch.tensor([1.0, 2.0, 6.0], dtype=torch.double)
    found = log_normalizer(weights.log())
    assert found.value == pytest.approx(math.log(3))
    assert found.error == pytest.approx(float(weights.std()) / 3 / math.sqrt(3))
    left_out = [math.log(8 / 2), math.log(7 / 2), math.log(3 / 2)]
    assert found.bias == pytest.approx(2 * (sum(left_out) / 3 - math.log(3)))


def test_the_corrected_log_normalizer_is_nearer_to_the_truth_on_average():
    rng = seeded(1)
    logs = torch.randn(4000, 20, generator=rng, dtype=torch.double)  # E[w] = exp(1/2)
    found = [log_normalizer(row) for row in logs]
    plain = sum(each.value for each in found) / 4000 - 0.5
    corrected = sum(each.value - each.bias for each in found) / 4000 - 0.5
    assert plain < -0.02
    assert abs(corrected) < abs(plain) / 2


def test_systematic_resampling_draws_each_particle_floor_or_ceiling_times():
    shares = torch.tensor([[0.1, 0.25, 0.0, 0.65], [0.0, 0.0, 1.0, 0.0]], dtype=torch.double)
    rng = seeded(2)
    total = torch.zeros(2, 4, dtype=torch.double)
    for _ in range(2000):
        drawn = systematic_resample(shares.log(), 10, rng)
        counts = torch.stack([torch.bincount(row, minlength=4) for row in drawn])
        assert bool(((counts >= (shares * 10).floor()) & (counts <= (shares * 10).ceil())).all())
        total += counts
    torch.testing.assert_close(total / 20_000, shares, atol=3e-3, rtol=0)


def test_log_mean_and_the_kl_of_best_of_n():
    assert float(log_mean(torch.tensor([0.0, math.log(3)]))) == pytest.approx(math.log(2))
    assert best_of_n_kl(1) == 0.0
    assert best_of_n_kl(4) == pytest.approx(math.log(4) - 0.75)
    with pytest.raises(ValueError, match="at least 2"):
        log_normalizer(torch.zeros(1))
