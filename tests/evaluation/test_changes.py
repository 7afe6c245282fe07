"""A number before and after, and how surely it moved."""

import math

import numpy as np
import pytest

from seqgan.evaluation.changes import change
from seqgan.evaluation.metrics.intervals import PerText


def test_a_shift_of_every_text_is_known_exactly_where_texts_are_paired():
    before = np.random.default_rng(0).normal(size=200)
    found = change(PerText.mean_of(before), PerText.mean_of(before + 0.1), paired=True)
    assert found.difference == pytest.approx(0.1)
    assert found.interval == pytest.approx((0.1, 0.1))


def test_independent_texts_have_the_error_of_two_means():
    rng = np.random.default_rng(0)
    before, after = (PerText.mean_of(rng.normal(mean, 1, 400)) for mean in (0.0, 0.5))
    found = change(before, after)
    assert found.difference == after.value - before.value
    half = 1.96 * math.hypot(before.error, after.error)
    expected = (found.difference - half, found.difference + half)
    assert found.interval == pytest.approx(expected, abs=0.02)


def test_texts_without_weight_do_not_count():
    values = np.array([1.0, np.nan, 3.0, np.nan])
    found = change(PerText.where_known(values), PerText.where_known(values + 1))
    assert (found.before, found.after) == (2, 3)


def test_a_single_text_says_nothing_of_noise():
    one = PerText.mean_of(np.array([1.0]))
    assert change(one, one).interval == (-math.inf, math.inf)
