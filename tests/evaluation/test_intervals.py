"""Bootstrap intervals: against the normal approximation, their coverage, and ratios."""

import numpy as np
import pytest

from seqgan.evaluation.metrics.intervals import Normalizer, PerText, bootstrap_intervals


def test_the_metric_is_a_ratio_of_sums():
    part = PerText(np.array([3.0, 5.0]), np.array([1.0, 3.0]))
    assert part.value == 8 / 4
    assert PerText.mean_of(np.array([1.0, 2.0, 6.0])).value == 3.0
    assert PerText(np.zeros(2), np.zeros(2)).value == 0.0


def test_a_mean_by_the_normal_approximation():
    values = np.random.default_rng(0).normal(5.0, 2.0, size=4000)
    ((low, high),) = bootstrap_intervals({"x": PerText.mean_of(values)}).values()
    half_width = 1.96 * values.std() / np.sqrt(len(values))
    assert low == pytest.approx(values.mean() - half_width, abs=0.1 * half_width)
    assert high == pytest.approx(values.mean() + half_width, abs=0.1 * half_width)


def test_a_ratio_by_the_delta_method():
    rng = np.random.default_rng(1)
    weights = rng.integers(1, 30, size=3000).astype(float)
    values = 2.0 * weights + rng.normal(0, 3.0, size=3000)
    part = PerText(values, weights)
    ((low, high),) = bootstrap_intervals({"x": part}).values()
    residuals = values - part.value * weights
    half_width = 1.96 * residuals.std() / weights.mean() / np.sqrt(len(values))
    assert high - low == pytest.approx(2 * half_width, rel=0.1)
    # Lengths differ far more than rates: a mean over texts would be less certain by far.
    assert half_width < 1.96 * values.std() / weights.mean() / np.sqrt(len(values)) / 3


@pytest.mark.slow
def test_nineteen_of_twenty_intervals_hold_the_true_mean():
    rng = np.random.default_rng(2)
    held = []
    for _ in range(400):
        part = PerText.mean_of(rng.exponential(1.0, size=80))
        ((low, high),) = bootstrap_intervals({"x": part}, num_resamples=200).values()
        held.append(low <= 1.0 <= high)
    assert 0.90 <= np.mean(held) <= 0.98


def test_the_seed_alone_decides_and_other_metrics_do_not():
    rng = np.random.default_rng(3)
    some, more, others = (PerText.mean_of(rng.normal(size=n)) for n in (50, 50, 70))
    together = bootstrap_intervals({"more": more, "others": others, "some": some}, seed=5)
    assert list(together) == ["more", "others", "some"]
    for name, part in (("some", some), ("others", others)):
        alone = bootstrap_intervals({name: part}, seed=5)[name]
        assert together[name] == pytest.approx(alone, abs=1e-12)
        assert bootstrap_intervals({name: part}, seed=6)[name] != alone


def test_equal_texts_and_texts_without_weight():
    parts = {"same": PerText.mean_of(np.full(9, 2.5)), "empty": PerText(np.zeros(9), np.zeros(9))}
    assert bootstrap_intervals(parts) == {"same": (2.5, 2.5), "empty": (0.0, 0.0)}


def test_one_text_has_no_interval():
    assert bootstrap_intervals({"x": PerText.mean_of(np.array([1.0]))}) == {}
    assert bootstrap_intervals({}) == {}


def test_an_interval_holds_the_noise_of_log_z():
    rng = np.random.default_rng(4)
    values, lengths = rng.normal(0, 1.0, size=400), np.full(400, 5.0)
    weights = rng.exponential(1.0, size=100)  # sd / mean is 1, so log Z has an error of 0.1
    normalizer = Normalizer(weights, np.ones(400))
    part = PerText(values, lengths, normalizer)
    assert normalizer.error == pytest.approx(0.1, rel=0.15)
    of_texts = PerText(values, lengths).error
    assert part.error == pytest.approx(np.hypot(of_texts, normalizer.error / 5), rel=1e-9)
    ((low, high),) = bootstrap_intervals({"x": part}).values()
    assert high - low == pytest.approx(2 * 1.96 * part.error, rel=0.1)
    assert PerText(values, lengths, Normalizer(weights[:1], np.ones(400))).error == np.inf
