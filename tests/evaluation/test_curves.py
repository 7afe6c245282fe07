"""Curves at equal quality, by hand-made lines: bends, crossings, ties, no overlap, noise."""

import math

import numpy as np
import pytest

from seqgan.evaluation.planes.curves import (
    Line,
    attained,
    common_range,
    compare_curves,
    envelope,
    gap,
    joint_band,
    mean_over_runs,
    place_of,
    student_quantile,
    widening,
)


def line(*points):
    """A curve through (quality, diversity) points, in the order given."""
    quality, diversity = np.array(points, dtype=float).T
    return Line(quality, diversity)


def many(curve, shifts):
    """A curve drawn anew: its diversity shifted by a number in each draw."""
    shifts = np.array(shifts, dtype=float)[:, None]
    return Line(curve.quality + 0 * shifts, curve.diversity + shifts)


def at(curve, *qualities):
    return attained(curve, np.array(qualities, dtype=float)).tolist()


FALLING = line((0, 4), (2, 2), (4, -2))


def test_attained_is_the_curve_where_it_falls():
    assert at(FALLING, 0, 1, 2, 3, 4) == [4, 3, 2, 0, -2]


def test_attained_does_not_depend_on_the_direction():
    turned = line((4, -2), (2, 2), (0, 4))
    qualities = np.linspace(0, 4, 17)
    np.testing.assert_allclose(attained(turned, qualities), attained(FALLING, qualities))


def test_before_its_worst_quality_a_curve_attains_its_best_diversity():
    assert at(FALLING, -3) == [4]


def test_beyond_its_best_quality_it_has_what_it_has_there():
    assert at(FALLING, 5) == [-2]


def test_a_dominated_end_counts_for_nothing():
    # Both points left of (2, 3) are worse in both; so is the last, which bends back.
    bent = line((0, 1), (1, 2), (2, 3), (3, 1), (2.5, 0))
    assert at(bent, 0, 1, 2, 2.5, 3) == [3, 3, 3, 2, 1]


def test_ties_in_quality_take_the_better_diversity():
    upright = line((1, 0), (1, 5), (1, 3))
    assert at(upright, 0, 1, 2) == [5, 5, 5]


def test_a_crossing_between_two_points_is_met_exactly():
    # From (0, 0) up to (3, 6): at quality 1 or more the best is the end, not the crossing.
    assert at(line((0, 0), (3, 6)), 1) == [6]
    # Down a steep line: at 0.75 of the way, 10 - 0.75 * 8.
    assert at(line((0, 10), (4, 2)), 3) == [4]


def test_one_point():
    assert at(line((1, 7)), 0, 1, 2) == [7, 7, 7]


def test_many_curves_at_once():
    curves = Line(np.array([[0.0, 2.0], [0.0, 4.0]]), np.array([[2.0, 0.0], [8.0, 0.0]]))
    qualities = np.array([0.0, 1.0, 3.0])
    expected = [[2, 1, 0], [8, 6, 2]]
    assert attained(curves, qualities).tolist() == expected
    assert envelope([curves], qualities).tolist() == expected


def test_an_envelope_takes_the_better_of_two_curves():
    qualities = np.array([0.0, 1.0, 2.0, 3.0, 9.0])
    # The second is better up to 1 and ends at 2; beyond the end of all, the furthest one counts.
    both = [line((0, 2), (3, -1)), line((0, 4), (2, -4))]
    assert envelope(both, qualities).tolist() == [4, 1, 0, -1, -1]


def test_a_curve_counts_up_to_its_own_end_beside_one_that_goes_on():
    qualities = np.array([0.0, 1.0, 2.0, 3.0])
    both = [line((0, 2), (3, -1)), line((0, 5), (1, 5))]
    assert envelope(both, qualities).tolist() == [5, 5, 0, -1]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([FALLING], [line((1, 0), (9, 0))], (1, 4)),
        ([FALLING], [line((4, 0), (9, 0))], (4, 4)),
        ([FALLING], [line((5, 0), (9, 0))], (0, 4)),  # the lower curve's
        ([line((5, 0), (9, 0))], [FALLING], (0, 4)),
        ([FALLING, line((5, 0), (6, 0))], [line((-1, 0), (8, 0))], (0, 6)),
    ],
)
def test_common_range(first, second, expected):
    assert common_range(first, second) == expected


def test_the_mean_gap_is_the_signed_area_over_the_width():
    # 4 - x against 2: a triangle of area 2 above, and one of area 2 below, from 0 to 4.
    falling, level = line((0, 4), (4, 0)), line((0, 2), (4, 2))
    assert gap([falling], [level], (0.0, 4.0)).mean == pytest.approx(0)
    assert gap([falling], [level], (0.0, 2.0)).mean == pytest.approx(1)
    assert gap([falling], [level], (3.0, 4.0)).mean == pytest.approx(-1.5)
    assert gap([level], [falling], (3.0, 4.0)).mean == pytest.approx(1.5)
    assert gap([falling], [level], (3.0, 3.0)).mean == pytest.approx(-1)


NOISE = np.linspace(-0.5, 0.5, 1001)  # its central 95% are -0.475 to 0.475


def compared(first, second, noise=NOISE):
    redrawn = [many(first, noise)], [many(second, 0 * noise)]
    return compare_curves([first], [second], redrawn)


@pytest.mark.parametrize(
    ("height", "place"), [(1.0, "above"), (0.4, "on"), (0.0, "on"), (-0.4, "on"), (-1.0, "under")]
)
def test_place_of_a_shifted_curve(height, place):
    found = compared(line((0, 4 + height), (4, height)), line((0, 4), (4, 0)))
    assert found.place == place
    assert found.difference == pytest.approx(height)
    assert found.interval == pytest.approx((height - 0.475, height + 0.475))
    assert found.common == (0, 4)
    assert found.better == (((0, 4),) if place == "above" else ())
    assert found.worse == (((0, 4),) if place == "under" else ())


def test_crossing_curves_are_on_each_other_and_say_where_they_differ():
    # The gap is 2 - x; the band is 0.475 wide at every quality.
    found = compared(line((0, 4), (4, 0)), line((0, 2), (4, 2)))
    assert (found.place, found.difference) == ("on", pytest.approx(0))
    ((start, stop),) = found.better
    assert (start, stop) == (0, pytest.approx(1.525, abs=0.04))
    ((start, stop),) = found.worse
    assert (start, stop) == (pytest.approx(2.475, abs=0.04), 4)


def test_equal_curves_without_noise_are_on_each_other():
    found = compared(FALLING, FALLING, 0 * NOISE)
    assert (found.place, found.difference, found.better, found.worse) == ("on", 0, (), ())


def test_a_curve_at_better_qualities_throughout_attains_all_of_the_other_s():
    """4 - 3x/2 on average against the best diversity of the better curve, which is 9."""
    beyond = line((5, 9), (6, 8))
    found = compared(FALLING, beyond)
    assert (found.place, found.verdict, found.common) == ("under", "worse", (0, 4))
    assert found.difference == pytest.approx(-7.5)
    assert compared(beyond, FALLING).verdict == "better"


def test_a_better_curve_with_less_diversity_everywhere_is_no_better():
    """It attains every quality of the other curve, but with less diversity than that one has."""
    assert compared(line((5, -9), (6, -9)), FALLING).verdict == "worse"


@pytest.mark.parametrize(
    ("first", "verdict"),
    [
        (line((0, 5), (4, 1)), "better"),
        (line((0, 4), (4, 0)), "level"),
        (line((0, 3), (4, -1)), "worse"),
        (line((0, 6), (4, -2)), "mixed"),
        (line((0, 2), (4, 2)), "mixed"),
    ],
)
def test_the_verdict_in_a_word(first, verdict):
    assert compared(first, line((0, 4), (4, 0))).verdict == verdict


@pytest.mark.parametrize("height", [-1.0, -0.2, 0.3, 2.0])
def test_swapped_curves_swap_the_sign(height):
    first, second = line((0, 4 + height), (3, height)), line((1, 4), (4, 0))
    drawn = [many(first, NOISE)], [many(second, 0 * NOISE)]
    one = compare_curves([first], [second], drawn)
    other = compare_curves([second], [first], drawn[::-1])
    assert other.difference == pytest.approx(-one.difference)
    assert other.interval == pytest.approx((-one.interval[1], -one.interval[0]))
    assert (other.better, other.worse) == (one.worse, one.better)
    assert other.reaches == one.reaches[::-1]


def test_few_texts_widen_the_interval_as_student_does():
    """49 texts: sqrt(49 / 48) for the spread, 2.0106 in place of 1.96 for the percentiles."""
    assert widening(49) == pytest.approx(1.0104 * 2.0106 / 1.96, abs=1e-3)
    assert widening(2) == pytest.approx(2**0.5 * 12.706 / 1.96, abs=1e-2)
    assert widening(4000) == pytest.approx(1, abs=1e-3)
    assert widening(10_000) == 1
    assert widening(1) == math.inf
    curves = line((0, 5), (4, 1)), line((0, 4), (4, 0))
    drawn = [many(curves[0], NOISE)], [many(curves[1], 0 * NOISE)]
    few = compare_curves([curves[0]], [curves[1]], drawn, (49, 49))
    assert few.interval == pytest.approx((1 - 0.475 * widening(49), 1 + 0.475 * widening(49)))
    single = compare_curves([curves[0]], [curves[1]], drawn, (49, 1))
    assert (single.interval, single.verdict) == ((-math.inf, math.inf), "level")


def test_a_joint_band_holds_for_all_qualities_at_once():
    """A fresh curve leaves the band somewhere in about 5% of the cases, a pointwise one in more."""
    rng = np.random.default_rng(0)
    drawn, fresh = rng.standard_normal((4000, 20)), rng.standard_normal((4000, 20))
    low, high = joint_band(np.zeros(20), drawn, 1.0)
    outside = ((fresh < low) | (fresh > high)).any(axis=1).mean()
    assert 0.03 < outside < 0.07
    assert (abs(fresh) > 1.96).any(axis=1).mean() > 0.5


def test_a_joint_band_is_as_lopsided_as_the_draws():
    drawn = np.random.default_rng(0).exponential(size=(4000, 3)) - 1
    low, high = joint_band(np.zeros(3), drawn, 1.0)
    assert (low > -1).all()
    assert (high > 3).all()


def test_which_curve_reaches_further():
    short = line((0, 4), (3, 1))
    assert compared(FALLING, short).further == "above"
    assert compared(FALLING, short).reaches == (4, 3)
    assert compared(short, FALLING).further == "under"
    assert compared(short, short).further == "on"


@pytest.mark.slow
def test_noise_alone_is_rarely_a_difference():
    """Two measurements of one curve: the interval holds 0 in about 95% of the cases."""
    rng = np.random.default_rng(0)
    true, error = np.array([[0.0, 4.0], [1.0, 3.5], [2.0, 2.0], [3.0, -1.0]]).T, 0.05
    outcomes = []
    for _ in range(300):
        measured = [true + error * rng.standard_normal(true.shape) for _ in range(2)]
        redrawn = [
            [Line(*(one[:, None] + error * rng.standard_normal((2, 200, 4))))] for one in measured
        ]
        found = compare_curves(*([Line(*one)] for one in measured), tuple(redrawn))
        outcomes.append(found.place)
    assert 0.01 <= 1 - outcomes.count("on") / len(outcomes) <= 0.10


@pytest.mark.parametrize(
    ("degrees", "expected"),
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (30, 2.042), (1000, 1.962)],
)
def test_student_quantile_against_the_table(degrees, expected):
    assert student_quantile(degrees) == pytest.approx(expected, abs=1e-3)


def test_mean_over_runs():
    # Mean 2, standard deviation 1, three runs: 2 +- 4.303 / sqrt(3).
    found = mean_over_runs(np.array([1.0, 2.0, 3.0]))
    assert found.place == "on"
    assert found.difference == 2
    assert found.interval == pytest.approx((2 - 2.484, 2 + 2.484), abs=1e-3)
    assert found.num_runs == 3
    assert mean_over_runs(np.array([1.9, 2.0, 2.1])).place == "above"
    assert mean_over_runs(np.array([-1.9, -2.0])).place == "under"


def test_place_of_an_interval_that_ends_at_zero():
    assert [place_of(0.0, 1.0), place_of(-1.0, 0.0), place_of(0.0, 0.0)] == ["on"] * 3
