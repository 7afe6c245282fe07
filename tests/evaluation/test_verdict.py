"""The verdict on a generator beside its control: by hand-made texts, simulated, and for real."""

import math

import numpy as np
import pytest
from toys import ENDING, MAX_LENGTH, TableGenerator, seeded

from seqgan.evaluation.axes import NLL_HELDOUT, NLL_ORACLE, Axis
from seqgan.evaluation.measure import heldout_texts
from seqgan.evaluation.planes.points import Knob, Panel, Point, Rate, measure_point, panels
from seqgan.evaluation.planes.verdict import best_point, compare, matched
from seqgan.models.sampling import Sampling, sample
from seqgan.tasks.base import FixedTask, Measure, share_of

VALID = Axis("valid", "valid rate", "share of samples", True)
PLANE = Panel(VALID, NLL_HELDOUT)
TEMPERATURES = (0.5, 0.8, 1.0)


def exactly(value, num_texts, wobble=0.0, over="samples"):
    """Texts whose mean is a number, half of them above it and half below."""
    signs = np.resize([1.0, -1.0], num_texts) if num_texts > 1 else np.zeros(1)
    return Rate(value + wobble * signs, np.ones(num_texts), over=over)


def curve(*places, samples=400, heldout=400, wobble=0.1):
    """Points of (quality, held-out NLL) at 0.5, 0.8 and 1."""
    return [
        Point(
            Knob("temperature", temperature),
            {
                "valid": exactly(quality, samples, wobble),
                "nll_heldout": exactly(nll, heldout, wobble, "heldout"),
            },
        )
        for temperature, (quality, nll) in zip(TEMPERATURES, places, strict=True)
    ]


MLE = (0.8, 3.0), (0.7, 2.4), (0.5, 2.0)


def shifted(by):
    return [(quality, nll + by) for quality, nll in MLE]


@pytest.mark.parametrize(("by", "verdict"), [(-0.2, "better"), (0.0, "level"), (0.2, "worse")])
def test_a_known_difference_between_two_curves(by, verdict):
    found = compare(curve(*shifted(by)), curve(*MLE), PLANE)
    assert found.verdict == verdict
    assert found.difference == pytest.approx(by)
    low, high = found.interval
    assert low < by < high
    assert found.error == pytest.approx((high - low) / 3.92, rel=1e-3)


@pytest.mark.parametrize("by", [-0.2, -0.01, 0.0, 0.1])
def test_swapped_generators_swap_the_sign(by):
    one = compare(curve(*shifted(by)), curve(*MLE), PLANE)
    other = compare(curve(*MLE), curve(*shifted(by)), PLANE)
    assert other.difference == pytest.approx(-one.difference)
    turned = {"better": "worse", "level": "level", "worse": "better"}
    assert other.verdict == turned[one.verdict]


def test_the_order_of_temperatures_makes_no_difference():
    run, control = curve(*shifted(-0.1)), curve(*MLE)
    found = compare(run, control, PLANE)
    again = compare(run[::-1], control[1:] + control[:1], PLANE)
    assert again.difference == found.difference
    assert again.interval == pytest.approx(found.interval, abs=0.01)  # of other draws
    assert again.verdict == found.verdict


@pytest.mark.slow
def test_the_interval_covers_a_known_difference(monkeypatch):
    """Texts drawn anew, 60 times: about 57 intervals hold the true difference, 0.05."""
    monkeypatch.setattr("seqgan.evaluation.planes.verdict.NUM_DRAWS", 200)
    rng = np.random.default_rng(0)

    def drawn(by):
        heldout = rng.normal(0, 0.3, 60)
        return [
            [
                Point(
                    Knob("temperature", temperature),
                    {
                        "valid": Rate((rng.random(150) < quality).astype(float), np.ones(150)),
                        "nll_heldout": Rate(
                            nll + extra + heldout + rng.normal(0, 0.1, 60),
                            np.ones(60),
                            over="heldout",
                        ),
                    },
                )
                for temperature, (quality, nll) in zip(TEMPERATURES, MLE, strict=True)
            ]
            for extra in (by, 0.0)
        ]

    covered = [
        low <= 0.05 <= high
        for low, high in (compare(*drawn(0.05), PLANE, seed=i).interval for i in range(60))
    ]
    assert 0.85 <= np.mean(covered) <= 1


def two_likenesses(rng, num_heldout, num_samples=200, drift=0.003):
    """A generator and its control after a few steps: their NLLs differ by next to nothing.

    Each held-out text moved by about as much as the next one, some up and some down; BLEU is noise.
    """
    heldout = rng.gamma(4, 0.5, num_heldout)
    moved = drift * rng.standard_t(4, num_heldout)  # a few texts by far more than the others
    points = []
    for shift in (moved, 0 * moved):
        points.append(
            [
                Point(
                    Knob("temperature", temperature),
                    {
                        "valid": Rate(rng.beta(2, 4, num_samples) + gain, np.ones(num_samples)),
                        "nll_heldout": Rate(
                            heldout + cost + shift, np.ones(num_heldout), over="heldout"
                        ),
                    },
                )
                for temperature, gain, cost in ((0.5, 0.2, 0.8), (0.8, 0.1, 0.2), (1.0, 0.0, 0.0))
            ]
        )
    return points


@pytest.mark.slow
def test_49_held_out_texts_do_not_tell_a_generator_from_its_likeness(monkeypatch):
    """Of 40 runs that changed nothing on average at most a few are told otherwise."""
    monkeypatch.setattr("seqgan.evaluation.planes.verdict.NUM_DRAWS", 200)
    rng = np.random.default_rng(3)
    found = [compare(*two_likenesses(rng, 49), PLANE, seed=i) for i in range(40)]
    assert sum(one.verdict != "level" for one in found) <= 5
    one = next(one for one in found if one.verdict == "level")
    assert "on the MLE curve (no difference beyond noise)" in one.sentence
    assert "At temperature 1 the two are level within noise in valid rate" in one.sentence


def test_qualities_that_differ_are_not_called_level():
    found = compare(curve((0.9, 3.0), (0.8, 2.4), (0.6, 2.0)), curve(*MLE), PLANE)
    assert found.verdict == "better"
    assert "level within noise" not in found.sentence


def test_a_single_held_out_text_says_nothing():
    found = compare(curve(*shifted(-0.5), heldout=1), curve(*MLE, heldout=1), PLANE)
    assert (found.verdict, found.difference) == ("unknown", pytest.approx(-0.5))
    assert found.interval == (-math.inf, math.inf)
    assert "cannot be told from the MLE curve" in found.sentence
    assert "a single text says nothing of noise" in found.sentence
    plain = found.plain()
    assert plain["interval"] is None
    assert found.error is None


def test_one_quality_everywhere_compares_nothing():
    """As of a run that was barely trained: no text is grammatical, at no temperature."""
    run, control = (
        curve((0.0, 1.9), (0.0, 1.5), (0.0, 1.2)),
        curve((0.0, 3.0), (0.0, 2.4), (0.0, 2)),
    )
    found = compare(run, control, PLANE, "the run")
    assert (found.verdict, found.difference, found.standing) == ("unknown", None, None)
    assert found.sentence.startswith("the run cannot be compared with the MLE curve: the ")
    assert "is 0 at every temperature of both" in found.sentence


def test_sharpening_alone_is_no_gain():
    """The control's own curve, sampled sharper: it reaches further and is level."""
    sharper = curve((0.9, 4.0), (0.8, 3.0), (0.7, 2.4))
    found = compare(sharper, curve(*MLE), PLANE)
    assert found.verdict == "level"
    assert found.standing.further == "above"
    assert "It reaches valid rate 0.9, which MLE does not at these temperatures (at best 0.8)." in (
        found.sentence
    )


# Which temperatures are shown.


def temperature(point):
    return point.knob.value


def test_the_matched_temperature_costs_least_among_those_that_reach_the_quality():
    (half, mid, one) = control = curve(*MLE)
    for quality, expected in ((0.4, one), (0.5, one), (0.6, mid), (0.75, half), (0.9, half)):
        asked = curve((quality, 9.0), (0, 0), (0, 0))[0]
        assert matched(asked, control, PLANE) is expected
    bent = curve((0.8, 1.0), (0.7, 2.4), (0.5, 2.0))  # the best quality has the least NLL too
    assert temperature(matched(one, bent, PLANE)) == 0.5


def test_a_generator_is_furthest_ahead_where_mle_does_not_come():
    run, control = curve((0.95, 3.5), (0.7, 2.2), (0.5, 2.0)), curve(*MLE)
    assert temperature(best_point(run, control, compare(run, control, PLANE))) == 0.5


def test_else_it_is_furthest_ahead_where_it_gains_most_at_equal_quality():
    run, control = curve((0.8, 2.9), (0.7, 2.0), (0.5, 1.9)), curve(*MLE)
    found = compare(run, control, PLANE)
    assert found.standing.further == "on"
    assert temperature(best_point(run, control, found)) == 0.8


def test_lower_may_be_better():
    plane = Panel(NLL_ORACLE, NLL_HELDOUT)

    def points(by):
        return [
            Point(
                Knob("temperature", t),
                {
                    "nll_oracle": exactly(quality, 400, 0.1),
                    "nll_heldout": exactly(nll + by, 400, 0.1, "heldout"),
                },
            )
            for t, quality, nll in ((0.5, 5.0, 3.0), (0.8, 6.0, 2.4), (1.0, 8.0, 2.0))
        ]

    found = compare(points(-0.2), points(0.0), plane)
    assert (found.verdict, found.plain()["common"]) == ("better", (5, 8))
    assert temperature(matched(points(0)[1], points(0.0), plane)) == 0.8


# For real, with a generator whose every probability is known.


def test_a_generator_is_level_with_itself_and_worse_when_it_forgets():
    generator, other = TableGenerator(ENDING, seed=1), TableGenerator(ENDING, seed=2)
    data = {
        split: sample(generator, ENDING, 300, MAX_LENGTH, seeded(seed))
        for seed, split in enumerate(("train", "dev", "test"))
    }
    starts = {"starts_with_a": share_of(lambda texts: [text.startswith("a") for text in texts])}
    task = FixedTask(ENDING, MAX_LENGTH, data, measures=starts, quality="starts_with_a")
    planes, heldout = panels(task, 400, False), heldout_texts(task, 300)

    def points(one, seed):
        rng = seeded(seed)
        return [
            measure_point(one, task, heldout, 400, rng, Sampling(t), planes)
            for t in (1.2, 1.0, 0.8, 0.6)
        ]

    itself = compare(points(generator, 1), points(generator, 2), planes[0], "It")
    assert itself.verdict == "level", itself.sentence
    assert abs(itself.difference) < 0.1
    assert compare(points(other, 1), points(generator, 2), planes[0]).verdict != "better"


def test_a_float_measure_of_which_less_is_better_decides_from_end_to_end():
    """Short texts are the quality here; a generator of long ones is worse than a short one's."""
    truth = TableGenerator(ENDING, seed=1)
    data = {
        split: sample(truth, ENDING, 200, MAX_LENGTH, seeded(seed))
        for seed, split in enumerate(("train", "dev", "test"))
    }
    length = Measure(lambda texts: texts.lengths.float(), "tokens", higher_is_better=False)
    task = FixedTask(ENDING, MAX_LENGTH, data, measures={"length": length}, quality="length")
    (plane,), heldout = panels(task, 200, False), heldout_texts(task, 200)
    points = [
        measure_point(truth, task, heldout, 200, seeded(seed), Sampling(t), [plane])
        for seed, t in enumerate((1.0, 0.7))
    ]
    lengths = [point.values["length"] for point in points]
    shortest, longest = sorted(points, key=lambda point: point.values["length"])
    found = compare([shortest], [longest], plane)
    assert found.plain()["reaches"] == pytest.approx(sorted(lengths))
    assert found.standing.reaches == pytest.approx(sorted(-one for one in lengths)[::-1])
    assert "at equal length" in found.sentence
