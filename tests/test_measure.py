"""One measurement: which numbers a task gets, each by hand, and its quality with its error."""

import numpy as np
import pytest
import torch
from toys import ENDING, FIXED, MAX_LENGTH, TableGenerator, every_sequence, seeded

from seqgan.evaluation.measure import (
    NUM_GROUPS,
    Quality,
    bleu_metrics,
    measure,
    sample_metrics,
    token_rows,
)
from seqgan.evaluation.ngrams import bleu
from seqgan.sampling import Sampling, sample, sequence_log_probs
from seqgan.sequences import Sequences
from seqgan.tasks.base import FixedTask
from seqgan.tracking.metrics import find_metric

EOS = ENDING.eos_id
NUM_SAMPLES, NUM_HELDOUT = 60, 30

OF_SAMPLES = {
    "eval/distinct_1",
    "eval/distinct_2",
    "eval/distinct_3",
    "eval/duplicate_rate",
    "eval/copied_rate",
}
ALWAYS = OF_SAMPLES | {
    "eval/entropy",
    "eval/nll_heldout",
    "eval/mean_length",
    "eval/temperature",
}
OF_BLEU = {f"eval/{kind}_{order}" for kind in ("bleu", "self_bleu") for order in (2, 3, 4, 5)} | {
    "eval/bleu_references",
    "eval/self_bleu_references",
}
OF_ORACLE = {"eval/nll_oracle", "eval/kl_generator_oracle", "eval/kl_oracle_generator"}
OF_ORACLE |= {"eval/kl_symmetric"}


class Exact:
    """A true model made of a table."""

    def __init__(self, full_support):
        self.full_support = full_support
        self.table = TableGenerator(ENDING, seed=1)

    def log_prob(self, sequences):
        return sequence_log_probs(self.table, sequences)

    def sample(self, n, rng):
        return sample(self.table, ENDING, n, MAX_LENGTH, rng)

    def entropy(self):
        raise NotImplementedError


def has_c(texts):
    return ["c" in text for text in texts]


def make_task(exact=None, checks=None):
    truth = TableGenerator(ENDING, seed=1)
    splits = {
        split: sample(truth, ENDING, 40, MAX_LENGTH, seeded(seed))
        for seed, split in enumerate(("train", "dev", "test"))
    }
    return FixedTask(ENDING, MAX_LENGTH, splits, exact, checks or {})


TASKS = {
    "like captions": (
        make_task(Exact(full_support=False), {"grammatical": has_c}),
        ALWAYS | {"eval/kl_oracle_generator", "eval/grammatical"},
        ("grammatical", True),
    ),
    "like the oracle": (make_task(Exact(full_support=True)), ALWAYS | OF_ORACLE, ("nll_oracle", 0)),
    "like a text file": (make_task(), ALWAYS | OF_BLEU, ("bleu_4", True)),
    "text with a check": (
        make_task(checks={"valid": has_c}),
        ALWAYS | OF_BLEU | {"eval/valid"},
        ("valid", True),
    ),
}


@pytest.fixture(params=TASKS.values(), ids=list(TASKS))
def kind(request):
    return request.param


def measured(task, seed=0, sampling=None):
    return measure(TableGenerator(ENDING), task, NUM_SAMPLES, NUM_HELDOUT, seeded(seed), sampling)


def test_metrics_are_those_of_the_task(kind):
    task, names, (quality, higher) = kind
    found = measured(task)
    assert set(found.metrics) == names
    assert all(find_metric(name) for name in names)
    assert all(type(value) is float for value in found.metrics.values())
    assert (found.quality.name, found.quality.higher_is_better) == (quality, bool(higher))
    assert found.quality.value == found.metrics[f"eval/{quality}"]
    assert found.quality.error > 0
    assert len(found.samples) == NUM_SAMPLES
    assert found.heldout_log_probs.shape == (NUM_HELDOUT,)
    assert found.nll_heldout == found.metrics["eval/nll_heldout"]
    assert found.nll_heldout == pytest.approx(
        -float(found.heldout_log_probs.double().sum()) / found.heldout_tokens
    )


def test_the_rng_alone_decides(kind):
    task, _, _ = kind
    first, again, other = measured(task, 3), measured(task, 3), measured(task, 4)
    assert first.metrics == again.metrics
    assert first.quality == again.quality
    assert first.metrics != other.metrics


def test_held_out_sequences_are_always_the_same():
    task = make_task()
    first, other = measured(task, 0), measured(task, 1)
    assert torch.equal(first.heldout_log_probs, other.heldout_log_probs)
    assert measure(TableGenerator(ENDING), task, 5, 10_000, seeded()).heldout_tokens == int(
        task.splits["test"].mask.sum()
    )  # at most the split, no row twice


def test_held_out_sequences_are_of_the_test_split():
    rows = {"train": [0, EOS], "dev": [1, EOS], "test": [2, 2, EOS]}
    splits = {name: Sequences.from_rows([row], ENDING, MAX_LENGTH) for name, row in rows.items()}
    task = FixedTask(ENDING, MAX_LENGTH, splits)
    generator = TableGenerator(ENDING)
    expected = sequence_log_probs(generator, splits["test"])
    found = measure(generator, task, 5, 1, seeded())
    assert torch.equal(found.heldout_log_probs, expected)
    assert found.heldout_tokens == 3


def test_sampling_is_reported_and_used():
    task = make_task()
    plain, sharp = measured(task), measured(task, sampling=Sampling(temperature=0.3))
    assert plain.metrics["eval/temperature"] == 1.0
    assert sharp.metrics["eval/temperature"] == 0.3
    assert sharp.metrics["eval/entropy"] < plain.metrics["eval/entropy"]
    assert sharp.metrics["eval/duplicate_rate"] > plain.metrics["eval/duplicate_rate"]
    assert sharp.nll_heldout != plain.nll_heldout


def test_parameters_are_left_alone():
    generator = TableGenerator(ENDING)
    before = generator.logits.detach().clone()
    measure(generator, make_task(), NUM_SAMPLES, NUM_HELDOUT, seeded())
    assert torch.equal(generator.logits.detach(), before)
    assert generator.logits.grad is None


def test_token_rows_drop_eos_and_padding():
    rows = [[0, 1, EOS], [EOS], [2, 2, 2, 2], [1, 1, 1, EOS], [2]]
    sequences = Sequences.from_rows(rows, ENDING, MAX_LENGTH)
    assert token_rows(sequences) == [(0, 1), (), (2, 2, 2, 2), (1, 1, 1), (2,)]


def test_token_rows_without_an_eos():
    everything = every_sequence(FIXED)
    assert token_rows(everything) == [tuple(row) for row in everything.tokens.tolist()]


def test_sample_metrics_by_hand():
    train = Sequences.from_rows([[0, 1, EOS], [2, EOS]], ENDING, MAX_LENGTH)
    test = Sequences.from_rows([[0, 1, 2, EOS], [1, EOS], [0, EOS]], ENDING, MAX_LENGTH)
    task = FixedTask(
        ENDING, MAX_LENGTH, {"train": train, "dev": train, "test": test}, checks={"c": has_c}
    )
    # ab, ab, abc, c
    rows = [[0, 1, EOS], [0, 1, EOS], [0, 1, 2, EOS], [2, EOS]]
    metrics = sample_metrics(Sequences.from_rows(rows, ENDING, MAX_LENGTH), task)
    expected = {
        "eval/distinct_1": 3 / 8,
        "eval/distinct_2": 2 / 4,
        "eval/distinct_3": 1.0,
        "eval/duplicate_rate": 1 / 4,
        "eval/copied_rate": 3 / 4,
        "eval/c": 2 / 4,
        "eval/bleu_references": 3.0,
        "eval/self_bleu_references": 3.0,
        # Against abc, b, a: every n-gram matches; ab is nearest in length to the shorter ones; c
        # has no pair, so the smoothed 0.1.
        "eval/bleu_2": (1 + 1 + 1 + 0.1**0.5) / 4,
    }
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)
    assert set(metrics) == OF_SAMPLES | OF_BLEU | {"eval/c"}


def test_bleu_is_averaged_over_a_part_of_the_samples_and_all_references(monkeypatch):
    monkeypatch.setattr("seqgan.evaluation.measure.MAX_HYPOTHESES", 2)
    rows, references = ["abc", "xyz", "abd", "cab"], ["abc", "bca"]
    metrics = bleu_metrics(rows, references, seed=0)
    assert metrics["eval/bleu_references"] == 2.0
    assert metrics["eval/self_bleu_references"] == 3.0
    singles = [bleu([row], references)[3] for row in rows]
    pairs = {round((singles[i] + singles[j]) / 2, 9) for i in range(4) for j in range(4) if i != j}
    assert round(metrics["eval/bleu_3"], 9) in pairs
    assert metrics == bleu_metrics(rows, references, seed=0)


def test_one_sample_has_no_self_bleu():
    names = bleu_metrics(["abc"], ["abc"])
    assert not any("self" in name for name in names)
    assert names["eval/bleu_5"] == pytest.approx((1 * 1 * 1 * 0.1 * 0.1) ** (1 / 5))


def group_error(values):
    assert len(values) == NUM_GROUPS
    return np.std(values, ddof=1) / np.sqrt(NUM_GROUPS)


def test_error_of_a_rate_is_that_of_group_means():
    found = measured(make_task(checks={"c": has_c}))
    passed = np.array(has_c(found.samples.texts)).reshape(NUM_GROUPS, -1)
    assert found.quality.value == pytest.approx(passed.mean())
    assert found.quality.error == pytest.approx(group_error(passed.mean(axis=1)))


def test_error_of_an_nll_is_that_of_group_rates():
    exact = Exact(full_support=True)
    found = measured(make_task(exact))
    nats = -exact.log_prob(found.samples).double().numpy().reshape(NUM_GROUPS, -1)
    tokens = found.samples.lengths.numpy().reshape(NUM_GROUPS, -1)
    assert found.quality.value == pytest.approx(nats.sum() / tokens.sum(), abs=1e-6)
    rates = nats.sum(axis=1) / tokens.sum(axis=1)
    assert found.quality.error == pytest.approx(group_error(rates), abs=1e-6)


def test_error_of_bleu_is_that_of_group_means():
    task = make_task()
    found = measured(task)
    rows, references = token_rows(found.samples), token_rows(task.splits["test"])
    size = NUM_SAMPLES // NUM_GROUPS
    means = [bleu(rows[i : i + size], references)[4] for i in range(0, NUM_SAMPLES, size)]
    assert found.quality.value == pytest.approx(np.mean(means))
    assert found.quality.error == pytest.approx(group_error(means))


def test_error_of_bleu_looks_at_no_more_samples_than_its_mean(monkeypatch):
    monkeypatch.setattr("seqgan.evaluation.measure.MAX_HYPOTHESES", 20)
    task = make_task()
    found = measured(task)
    rows, references = token_rows(found.samples), token_rows(task.splits["test"])
    means = [bleu(rows[i : i + 2], references)[4] for i in range(0, 20, 2)]
    assert found.quality.error == pytest.approx(group_error(means))


def test_error_is_the_spread_between_measurements():
    task = make_task(checks={"c": has_c})
    qualities = [measured(task, seed).quality for seed in range(40)]
    spread = np.std([quality.value for quality in qualities], ddof=1)
    assert np.mean([quality.error for quality in qualities]) == pytest.approx(spread, rel=0.3)


def test_goodness_turns_the_sign_where_lower_is_better():
    assert Quality("valid", 0.7, 0.1, True).goodness == 0.7
    assert Quality("nll_oracle", 5.0, 0.1, False).goodness == -5.0


def test_a_task_whose_truth_excludes_texts_and_that_has_no_check_is_judged_by_bleu():
    found = measured(make_task(Exact(full_support=False)))
    assert found.quality.name == "bleu_4"
    assert found.quality.value == found.metrics["eval/bleu_4"]
