"""Points of the quality-diversity plane: what is measured, and how it is drawn anew."""

import math

import numpy as np
import pytest
import torch
from toys import ENDING, MAX_LENGTH, TableGenerator, seeded

from seqgan.evaluation.axes import (
    ENTROPY,
    KL_GENERATOR_ORACLE,
    KL_ORACLE_GENERATOR,
    NLL_HELDOUT,
    NLL_ORACLE,
    Axis,
)
from seqgan.evaluation.measure import token_rows
from seqgan.evaluation.metrics.likelihood import likelihood_report
from seqgan.evaluation.metrics.ngrams import bleu, self_bleu
from seqgan.evaluation.planes.points import (
    Knob,
    Panel,
    Point,
    Rate,
    curves_of,
    knob_of,
    lines,
    measure_point,
    panels,
    redrawn_lines,
)
from seqgan.models.sampling import Sampling, sample, sequence_log_probs
from seqgan.tasks.base import FixedTask, Measure, share_of
from seqgan.tasks.oracle import OracleConfig, oracle_task

CHECK = {"starts_with_a": share_of(lambda texts: [text.startswith("a") for text in texts])}
STARTS = Axis("starts_with_a", "starts_with_a rate", "share of samples", True)


def text_task(measures=None):
    generator = TableGenerator(ENDING)
    data = {
        split: sample(generator, ENDING, 60, MAX_LENGTH, seeded(seed))
        for seed, split in enumerate(("train", "dev", "test"))
    }
    return FixedTask(
        ENDING, MAX_LENGTH, data, measures=measures or {}, quality=next(iter(measures or {}), "")
    )


def oracle():
    return oracle_task(
        OracleConfig(
            vocabulary_size=6, hidden_size=4, max_length=MAX_LENGTH, train_size=20, test_size=30
        )
    )


def measured(task, sampling, seed=0, generator=None, n=50):
    generator = generator or TableGenerator(task.vocabulary)
    heldout = task.real("test", 30, seeded(0))
    planes = panels(task, n, sampling.top_p < 1)
    return measure_point(generator, task, heldout, n, seeded(seed), sampling, planes), heldout


def names(task, truncated=False):
    return [(one.quality.name, one.diversity.name) for one in panels(task, 50, truncated)]


def test_planes_of_each_kind_of_task():
    exact = [("nll_oracle", "nll_heldout"), ("kl_generator_oracle", "kl_oracle_generator")]
    assert names(oracle()) == exact
    assert names(oracle(), truncated=True) == [*exact, ("nll_oracle", "entropy")]
    assert names(text_task(CHECK)) == [("starts_with_a", "nll_heldout")]
    assert names(text_task(CHECK), truncated=True)[1:] == [("starts_with_a", "entropy")]
    text = [("bleu_4", "nll_heldout"), ("bleu_4", "self_bleu_4")]
    assert names(text_task()) == names(text_task(), truncated=True) == text


def test_labels_say_the_unit_and_how_many_texts_a_bleu_rests_on():
    plane = panels(text_task(), 4000, False)[1]
    assert plane.quality.label == "BLEU-4 (60 references)"
    assert plane.diversity.label == "Self-BLEU-4 (4,000 samples)"
    assert NLL_HELDOUT.label == "held-out NLL (nats per token)"
    assert [axis.sign for axis in (NLL_HELDOUT, NLL_ORACLE, STARTS, ENTROPY)] == [-1, -1, 1, 1]


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_an_exact_task_is_measured_as_in_the_report_of_likelihoods(temperature):
    task, sampling = oracle(), Sampling(temperature)
    generator = TableGenerator(task.vocabulary)
    point, heldout = measured(task, sampling, generator=generator)
    samples = sample(generator, task.vocabulary, 50, task.max_length, seeded(0), sampling)
    report = likelihood_report(generator, samples, heldout, task.exact, sampling).metrics
    assert set(point.values) == {
        "entropy",
        "nll_heldout",
        "nll_oracle",
        "kl_generator_oracle",
        "kl_oracle_generator",
    }
    for name, value in point.values.items():
        assert value == pytest.approx(report[f"eval/{name}"], abs=1e-5), name


def test_a_check_is_a_rate_over_samples():
    task = text_task(CHECK)
    point, _ = measured(task, Sampling(3.0))
    samples = sample(TableGenerator(ENDING), ENDING, 50, MAX_LENGTH, seeded(0), Sampling(3.0)).texts
    share = sum(text.startswith("a") for text in samples) / 50
    assert point.values["starts_with_a"] == pytest.approx(share)
    assert 0 < share < 1
    assert "bleu_4" not in point.values


def test_a_float_measure_of_which_less_is_better_is_an_axis():
    def length(sequences):
        return sequences.lengths.float()

    task = text_task({"length": Measure(length, "tokens", higher_is_better=False)})
    (plane,) = panels(task, 50, False)
    assert plane.quality == Axis("length", "length", "tokens", False)
    point, _ = measured(task, Sampling(2.0))
    samples = sample(TableGenerator(ENDING), ENDING, 50, MAX_LENGTH, seeded(0), Sampling(2.0))
    assert point.values["length"] == pytest.approx(float(samples.lengths.double().mean()))


def test_texts_are_measured_by_bleu_against_the_test_split_and_against_each_other():
    task = text_task()
    point, _ = measured(task, Sampling(3.0))
    rows = token_rows(
        sample(TableGenerator(ENDING), ENDING, 50, MAX_LENGTH, seeded(0), Sampling(3.0))
    )
    references = token_rows(task.splits["test"])
    assert point.values["bleu_4"] == pytest.approx(bleu(rows, references)[4])
    assert point.values["self_bleu_4"] == pytest.approx(self_bleu(rows)[4])


def test_where_top_p_cuts_a_heldout_text_off_its_nll_is_not_defined():
    point, heldout = measured(oracle(), Sampling(top_p=0.3))
    assert bool((sequence_log_probs_of(heldout) == -math.inf).any())
    assert set(point.values) == {"entropy", "nll_oracle", "kl_generator_oracle"}
    assert all(map(math.isfinite, point.values.values()))


def sequence_log_probs_of(heldout):
    generator = TableGenerator(oracle().vocabulary)
    return sequence_log_probs(generator, heldout, Sampling(top_p=0.3))


def test_a_sample_that_rounding_cuts_off_is_in_no_likelihood(monkeypatch):
    task, generator = oracle(), TableGenerator(oracle().vocabulary)
    plain, _ = measured(task, Sampling(0.5), generator=generator)

    def cut(generator, sequences, sampling=None):
        scores = sequence_log_probs(generator, sequences, sampling)
        return scores.index_fill(0, torch.tensor([3]), -torch.inf) if len(scores) == 50 else scores

    monkeypatch.setattr("seqgan.evaluation.metrics.likelihood.sequence_log_probs", cut)
    point, _ = measured(task, Sampling(0.5), generator=generator)
    assert point.values["nll_oracle"] == plain.values["nll_oracle"]  # the true model's own
    for name in ("entropy", "kl_generator_oracle"):
        kept = np.delete(plain.rates[name].values, 3)
        assert point.values[name] == pytest.approx(kept.sum() / (49 * task.max_length)), name


def test_a_rate_and_its_draws():
    rate = Rate(np.array([1.0, 4.0, 0.0]), np.array([1.0, 2.0, 4.0]))
    assert rate.value == pytest.approx(5 / 7)
    counts = np.array([[1, 1, 1], [3, 0, 0], [0, 1, 2]])
    assert rate.redrawn(counts).tolist() == pytest.approx([5 / 7, 3 / 3, 4 / 10])


# Curves, from points that are made by hand.


def point(temperature=1.0, top_p=1.0, **rates):
    """Rates of single texts, so that values are what they say."""
    return Point(
        knob_of(Sampling(temperature, 0, top_p)),
        {name: Rate(np.array([value]), np.array([1.0])) for name, value in rates.items()},
    )


POINTS = [
    point(1.0, nll_oracle=9.0, nll_heldout=7.0, entropy=5.0),
    point(0.5, nll_oracle=6.0, nll_heldout=9.0, entropy=2.0),
    point(0.8, nll_oracle=8.0, nll_heldout=7.5, entropy=4.0),
    point(top_p=0.9, nll_oracle=8.5, entropy=4.5),
    point(top_p=0.5, nll_oracle=5.0, entropy=1.0),
]


def test_curves_go_by_temperature_and_leave_undefined_points_out():
    (curve,) = lines(POINTS, Panel(NLL_ORACLE, NLL_HELDOUT))
    assert curve.quality.tolist() == [-6, -8, -9]
    assert curve.diversity.tolist() == [-9, -7.5, -7]


def test_a_curve_over_top_p_ends_where_nothing_is_cut_off():
    _, cut = lines(POINTS, Panel(NLL_ORACLE, ENTROPY))
    assert cut.quality.tolist() == [-5, -8.5, -9]
    assert cut.diversity.tolist() == [1, 4.5, 5]
    without = curves_of([one for one in POINTS if not one.knob.plain], PLANE)
    assert [len(curve) for curve in without] == [2, 2]


PLANE = Panel(NLL_ORACLE, ENTROPY)


def test_no_point_on_a_plane_is_no_curve():
    assert curves_of(POINTS, Panel(KL_GENERATOR_ORACLE, KL_ORACLE_GENERATOR)) == []


def test_heldout_texts_are_drawn_together_and_samples_apart():
    rng = np.random.default_rng(0)
    ones, own, heldout = np.ones(40), rng.standard_normal(40), rng.standard_normal(40)
    some = [  # with the same values everywhere, so that the same draws would give the same
        Point(
            Knob("temperature", temperature),
            {
                "nll_oracle": Rate(own + shift, ones),
                "nll_heldout": Rate(heldout + shift, ones, over="heldout"),
            },
        )
        for temperature, shift in ((0.5, 1.0), (1.0, 3.0))
    ]
    panel = Panel(NLL_ORACLE, NLL_HELDOUT)
    (drawn,) = redrawn_lines(some, panel, 400, seed=1, heldout_seed=7)
    # Better is lower, so the goodness of the second is 2 less in every draw.
    np.testing.assert_allclose(drawn.diversity[:, 0] - drawn.diversity[:, 1], 2.0)
    assert abs(np.corrcoef(drawn.quality.T)[0, 1]) < 0.2
    # The bootstrap's error is that of a mean.
    values = some[0].rates["nll_oracle"].values
    assert drawn.quality[:, 0].std() == pytest.approx(values.std() / 40**0.5, rel=0.1)
    assert drawn.quality[:, 0].mean() == pytest.approx(-values.mean(), abs=0.05)
    # Another generator shares the draws of held-out texts, not those of samples.
    (other,) = redrawn_lines(some, panel, 400, seed=2, heldout_seed=7)
    np.testing.assert_array_equal(other.diversity, drawn.diversity)
    assert abs(np.corrcoef(other.quality[:, 0], drawn.quality[:, 0])[0, 1]) < 0.2
    (again,) = redrawn_lines(some, panel, 400, seed=1, heldout_seed=7)
    np.testing.assert_array_equal(again.quality, drawn.quality)


def test_samples_and_heldout_texts_are_drawn_apart_under_the_same_seed():
    values, ones = np.random.default_rng(0).standard_normal(40), np.ones(40)
    rates = {"nll_oracle": Rate(values, ones), "nll_heldout": Rate(values, ones, over="heldout")}
    panel = Panel(NLL_ORACLE, NLL_HELDOUT)
    for seed in (0, 3):
        (drawn,) = redrawn_lines(
            [Point(Knob("temperature", 1.0), rates)], panel, 400, seed, heldout_seed=seed
        )
        correlation = np.corrcoef(drawn.quality[:, 0], drawn.diversity[:, 0])[0, 1]
        assert abs(correlation) < 0.2  # four standard errors
