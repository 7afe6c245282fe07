"""The temperature control: matching by hand-made curves, verdicts on differences that are known."""

import math

import pytest
import torch
from toys import ENDING, MAX_LENGTH, TableGenerator, seeded

from seqgan.data.sequences import Sequences
from seqgan.evaluation.measure import Measurement, Quality, measure
from seqgan.evaluation.planes.temperatures import compare, matched_temperature, temperature_curve
from seqgan.models.sampling import Sampling, sample
from seqgan.tasks.base import FixedTask

NO_SAMPLES = Sequences.from_rows([[0]], ENDING, MAX_LENGTH)
NUM_HELDOUT, LENGTH = 100, 5


def measurement(value, nll, error=0.0, higher_is_better=True, wobble=0.0):
    """Held-out sequences of 5 tokens; `wobble` adds to every other one and takes from the rest."""
    signs = torch.tensor([1.0, -1.0]).repeat(NUM_HELDOUT // 2)
    return Measurement(
        {"eval/nll_heldout": nll},
        Quality("valid", value, error, higher_is_better),
        NO_SAMPLES,
        -LENGTH * nll + LENGTH * wobble * signs,
        NUM_HELDOUT * LENGTH,
    )


# Sharper is better in quality; held-out NLL is lowest at temperature 1.
CURVE = {
    1.2: measurement(0.3, 2.2),
    1.0: measurement(0.5, 2.0),
    0.5: measurement(0.9, 3.0),
}
GRID = 1.1e-3  # width of the grid that temperatures are matched on
SLOPE = (3.0 - 2.0) / (0.9 - 0.5)  # nats per unit of quality between 1 and 0.5


@pytest.mark.parametrize(
    ("goodness", "temperature", "nll"),
    [
        (0.7, 0.75, 2.5),  # half way between two temperatures
        (0.6, 0.875, 2.25),
        (0.9, 0.5, 3.0),
        (0.99, 0.5, 3.0),  # no temperature reaches it: the nearest
        (0.5, 1.0, 2.0),
        (0.4, 1.0, 2.0),  # 1.1 is of the same quality, but 1.0 is better in both
        (0.0, 1.0, 2.0),
    ],
)
def test_matched_temperature(goodness, temperature, nll):
    expected = (pytest.approx(temperature, abs=GRID), pytest.approx(nll, abs=2 * GRID))
    assert matched_temperature(goodness, CURVE) == expected


def test_measured_temperatures_are_met_exactly():
    assert matched_temperature(0.5, CURVE) == (1.0, 2.0)
    assert matched_temperature(0.9, CURVE) == (0.5, 3.0)


def test_matched_temperature_does_not_depend_on_the_order_of_the_curve():
    turned = dict(reversed(CURVE.items()))
    assert matched_temperature(0.7, turned) == matched_temperature(0.7, CURVE)


def test_matched_temperature_where_lower_quality_numbers_are_better():
    curve = {
        1.0: measurement(6.0, 2.0, higher_is_better=False),
        0.5: measurement(4.0, 3.0, higher_is_better=False),
    }
    for value, expected in ((5.5, 0.875), (3.0, 0.5), (7.0, 1.0)):
        goodness = measurement(value, 2.0, higher_is_better=False).quality.goodness
        assert matched_temperature(goodness, curve)[0] == pytest.approx(expected, abs=GRID)


def test_a_curve_of_one_temperature():
    curve = {1.0: measurement(0.5, 2.0)}
    assert matched_temperature(0.4, curve) == matched_temperature(0.6, curve) == (1.0, 2.0)


def test_temperature_curve_measures_each_temperature_once():
    asked = []

    def measure_at(temperature):
        asked.append(temperature)
        return measurement(1 - temperature / 2, 2.0)

    curve = temperature_curve(measure_at, (1.0, 0.5))
    assert asked == [1.0, 0.5]
    assert {t: measured.quality.value for t, measured in curve.items()} == {1.0: 0.5, 0.5: 0.75}


def compared(candidate, control):
    asked = []

    def measure_at(temperature):
        asked.append(temperature)
        return control

    comparison = compare(candidate, CURVE, measure_at)
    assert asked == [comparison.temperature]
    assert comparison.control is control
    return comparison


@pytest.mark.parametrize(
    ("nll", "verdict", "words"),
    [
        (1.9, "better", "beats the best MLE temperature: at valid 0.500"),
        (1.99, "level", "does not beat the best MLE temperature (level within noise): at valid"),
        (2.01, "level", "does not beat the best MLE temperature (level within noise): at valid"),
        (2.1, "worse", "does not beat the best MLE temperature, it is worse: at valid 0.500"),
    ],
)
def test_verdict_from_the_paired_difference(nll, verdict, words):
    # Per token the candidate differs by nll - 2 plus or minus 0.2: standard error known.
    comparison = compared(measurement(0.5, nll, wobble=0.2), measurement(0.5, 2.0))
    assert comparison.difference == pytest.approx(nll - 2.0, abs=1e-6)
    spread = 0.2 * math.sqrt(NUM_HELDOUT / (NUM_HELDOUT - 1))
    assert comparison.error == pytest.approx(spread / math.sqrt(NUM_HELDOUT), abs=1e-6)
    assert comparison.temperature == pytest.approx(1.0, abs=GRID)
    assert comparison.verdict == verdict
    assert words in comparison.sentence
    assert f"differs by {nll - 2.0:+.4f} nats per token (standard error 0.0201" in (
        comparison.sentence
    )
    assert "(MLE temperature 1.00)" in comparison.sentence
    assert comparison.sentence.endswith("below 0 is better).")


def test_what_both_share_is_no_noise():
    """Sequences differ far more than the models do; the pairs cancel that."""
    comparison = compared(measurement(0.5, 1.99, wobble=3.0), measurement(0.5, 2.0, wobble=3.0))
    assert comparison.error == pytest.approx(0.0, abs=1e-6)
    assert comparison.verdict == "better"


def test_noise_of_the_qualities_widens_the_error():
    candidate, control = measurement(0.7, 2.4, error=0.03), measurement(0.7, 2.5, error=0.04)
    comparison = compared(candidate, control)
    assert comparison.error == pytest.approx(SLOPE * 0.05, abs=2 * GRID)
    assert comparison.difference == pytest.approx(-0.1, abs=1e-6)
    assert comparison.verdict == "level"
    exact = compared(measurement(0.7, 2.4), measurement(0.7, 2.5))
    assert exact.verdict == "better"


def test_the_curve_costs_nothing_below_its_best_temperature():
    # One standard error up costs what the curve asks for 0.04; one down, nothing.
    comparison = compared(measurement(0.5, 2.0, error=0.04), measurement(0.5, 2.0))
    assert comparison.error == pytest.approx(SLOPE * 0.04 / 2, abs=2 * GRID)
    free = compared(measurement(0.4, 2.0, error=0.04), measurement(0.5, 2.0))
    assert free.error == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize(
    ("value", "reached"), [(0.99, False), (0.93, False), (0.92, True), (0.7, True)]
)
def test_the_sentence_says_when_no_temperature_reaches_the_quality(value, reached):
    # The curve ends at 0.9; the two errors make 0.0125, and two of that are allowed.
    candidate, control = measurement(value, 2.5, error=0.0075), measurement(0.9, 3.0, error=0.01)
    comparison = compared(candidate, control)
    assert comparison.difference == pytest.approx(-0.5, abs=1e-6)  # nothing is extrapolated
    nearest = "which no MLE temperature reaches (nearest: 0.50), its held-out NLL"
    assert (nearest in comparison.sentence) != reached
    assert (f"at valid {value:.3f} or better (MLE temperature" in comparison.sentence) == reached


def test_a_copy_of_the_model_is_level():
    # The model is the data's own distribution, so that no other temperature beats 1.
    generator = TableGenerator(ENDING)
    data = {
        split: sample(generator, ENDING, 300, MAX_LENGTH, seeded(seed))
        for seed, split in enumerate(("train", "dev", "test"))
    }
    task = FixedTask(
        ENDING,
        MAX_LENGTH,
        data,
        checks={"starts_with_a": lambda texts: [text.startswith("a") for text in texts]},
    )
    for seed in range(2):
        rng = seeded(seed)

        def measure_at(temperature, rng=rng):
            return measure(generator, task, 400, 300, rng, Sampling(temperature))

        curve = temperature_curve(measure_at, (1.2, 1.0, 0.8, 0.6))
        comparison = compare(measure(generator, task, 400, 300, rng), curve, measure_at)
        assert comparison.verdict == "level", comparison.sentence
        assert abs(comparison.difference) < 0.1
