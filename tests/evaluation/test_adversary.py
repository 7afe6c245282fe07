"""What a discriminator knows: by hand, at the limits, and against every pair of logits."""

import math

import numpy as np
import pytest
import torch

from seqgan.evaluation.game.adversary import area_under_curve, heldout_information
from seqgan.tracking.metrics import find_metric

INFORMATION = "discriminator/information_heldout"


def information(real, generated):
    return heldout_information(torch.tensor(real), torch.tensor(generated))


def test_undecided_logits_hold_no_information():
    metrics = information([0.0] * 5, [0.0] * 7)
    assert metrics == pytest.approx(
        {
            INFORMATION: 0.0,
            f"{INFORMATION}_error": 0.0,
            "discriminator/accuracy_heldout": 0.5,  # 0 is no vote for real
            "discriminator/auc": 0.5,
        },
        abs=1e-12,
    )


def test_perfect_logits_hold_log_two():
    metrics = information([1e4, 2e4], [-1e4, -3e4])
    assert metrics[INFORMATION] == pytest.approx(math.log(2), abs=1e-12)
    assert metrics["discriminator/accuracy_heldout"] == 1.0
    assert metrics["discriminator/auc"] == 1.0


def test_confident_mistakes_cost_more_than_there_is_to_know():
    metrics = information([-10.0, -10.0], [10.0, 10.0])
    assert metrics[INFORMATION] == pytest.approx(math.log(2) - 10, abs=1e-4)
    assert metrics["discriminator/accuracy_heldout"] == 0.0
    assert metrics["discriminator/auc"] == 0.0


def test_information_by_hand():
    # D of the real ones 3/4 and 1/2; 1 - D of the generated ones 9/10, 1/4 and 1/2.
    metrics = information([math.log(3), 0.0], [-math.log(9), math.log(3), 0.0])
    real, generated = np.log([3 / 4, 1 / 2]), np.log([9 / 10, 1 / 4, 1 / 2])
    expected = math.log(2) + (real.mean() + generated.mean()) / 2
    assert metrics[INFORMATION] == pytest.approx(expected, abs=1e-6)
    variances = real.var(ddof=1) / 2 + generated.var(ddof=1) / 3
    assert metrics[f"{INFORMATION}_error"] == pytest.approx(math.sqrt(variances) / 2, abs=1e-6)
    assert metrics["discriminator/accuracy_heldout"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    # Pairs: log 3 beats -log 9 and 0 and ties with log 3; 0 beats -log 9 and ties with 0.
    assert metrics["discriminator/auc"] == pytest.approx((2.5 + 1.5) / 6)


def test_each_class_weighs_one_half():
    few = information([1.0], [-2.0])
    many = information([1.0] * 9, [-2.0])
    assert many[INFORMATION] == pytest.approx(few[INFORMATION])
    assert many["discriminator/accuracy_heldout"] == few["discriminator/accuracy_heldout"]


def test_standard_error_is_the_spread_between_repetitions():
    rng = torch.Generator().manual_seed(0)
    values, errors = [], []
    for _ in range(400):
        real = 1 + torch.randn(60, generator=rng)
        generated = 2 * torch.randn(30, generator=rng)
        metrics = heldout_information(real, generated)
        values.append(metrics[INFORMATION])
        errors.append(metrics[f"{INFORMATION}_error"])
    assert np.mean(errors) == pytest.approx(np.std(values, ddof=1), rel=0.12)


def test_one_sequence_a_class_has_no_known_error():
    assert information([1.0], [2.0])[f"{INFORMATION}_error"] == 0.0


@pytest.mark.parametrize("seed", range(10))
def test_area_under_curve_equals_all_pairs(seed):
    rng = np.random.default_rng(seed)
    real, generated = (rng.integers(-3, 4, size=rng.integers(1, 15)) / 2 for _ in range(2))
    pairs = [(a > b) + 0.5 * (a == b) for a in real for b in generated]
    area = area_under_curve(torch.tensor(real).float(), torch.tensor(generated).float())
    assert area == pytest.approx(np.mean(pairs), abs=1e-12)


def test_names_are_in_the_metric_list():
    assert all(find_metric(name) for name in information([1.0], [0.0]))
