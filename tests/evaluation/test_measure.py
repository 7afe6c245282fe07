"""One measurement: which numbers a task gets, each by hand, and its quality with its error."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from toys import ENDING, FIXED, MAX_LENGTH, TableGenerator, every_sequence, seeded

from seqgan.data.sequences import Sequences
from seqgan.evaluation.measure import (
    as_measure,
    judged_as_texts,
    measure,
    sample_scores,
    text_measures,
    token_rows,
)
from seqgan.evaluation.metrics.ngrams import bleu
from seqgan.evaluation.texts import bleu_scores
from seqgan.models.sampling import Sampling, sample, sequence_log_probs
from seqgan.system.errors import ConfigurationError, DataError
from seqgan.tasks.base import FixedTask, Measure, share_of
from seqgan.tracking.metrics import find_metric

EOS = ENDING.eos_id
NUM_SAMPLES, NUM_HELDOUT = 60, 30

OF_SAMPLES = {
    "eval/distinct_1",
    "eval/distinct_2",
    "eval/distinct_3",
    "eval/duplicate_rate",
    "eval/copied_rate",
    "eval/copied_spans",
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
OF_TEXTS = {
    *(f"eval/{name}" for name in ("lm_score", "reverse_lm_score", "lm_texts")),
    *(f"eval/{name}" for name in ("length_divergence", "zipf_divergence")),
    *("eval/frechet_hashed", "eval/frechet_hashed_floor"),
}
OF_HELDOUT = {"eval/nll_heldout", "eval/kl_oracle_generator"}
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
    measures = {name: share_of(check) for name, check in (checks or {}).items()}
    return made_task(exact, measures, next(iter(measures), ""))


def made_task(exact=None, measures=None, quality=""):
    truth = TableGenerator(ENDING, seed=1)
    splits = {
        split: sample(truth, ENDING, 40, MAX_LENGTH, seeded(seed))
        for seed, split in enumerate(("train", "dev", "test"))
    }
    return FixedTask(ENDING, MAX_LENGTH, splits, exact, measures or {}, quality)


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
    part = found.per_text[f"eval/{quality}"]
    assert part.value == found.metrics[f"eval/{quality}"]
    assert part.error > 0
    assert len(found.samples) == len(part.values) == NUM_SAMPLES
    assert len(found.per_text["eval/nll_heldout"].values) == NUM_HELDOUT


def test_the_rng_alone_decides(kind):
    task, _, _ = kind
    first, again, other = measured(task, 3), measured(task, 3), measured(task, 4)
    assert first.metrics == again.metrics
    assert first.quality == again.quality
    assert first.metrics != other.metrics


def test_held_out_sequences_are_always_the_same():
    task = make_task()
    first, other = measured(task, 0), measured(task, 1)
    np.testing.assert_array_equal(
        first.per_text["eval/nll_heldout"].values, other.per_text["eval/nll_heldout"].values
    )
    many = measure(TableGenerator(ENDING), task, 5, 10_000, seeded()).per_text["eval/nll_heldout"]
    # at most the split, no row twice
    assert many.weights.sum() == int(task.splits["test"].mask.sum())


def test_held_out_sequences_are_of_the_test_split():
    rows = {"train": [0, EOS], "dev": [1, EOS], "test": [2, 2, EOS]}
    splits = {name: Sequences.from_rows([row], ENDING, MAX_LENGTH) for name, row in rows.items()}
    task = FixedTask(ENDING, MAX_LENGTH, splits)
    generator = TableGenerator(ENDING)
    expected = sequence_log_probs(generator, splits["test"])
    found = measure(generator, task, 5, 1, seeded())
    part = found.per_text["eval/nll_heldout"]
    assert part.values.tolist() == pytest.approx((-expected).tolist())
    assert part.weights.tolist() == [3]


def test_sampling_is_reported_and_used():
    task = make_task()
    plain, sharp = measured(task), measured(task, sampling=Sampling(temperature=0.3))
    assert plain.metrics["eval/temperature"] == 1.0
    assert sharp.metrics["eval/temperature"] == 0.3
    assert sharp.metrics["eval/entropy"] < plain.metrics["eval/entropy"]
    assert sharp.metrics["eval/duplicate_rate"] > plain.metrics["eval/duplicate_rate"]
    assert sharp.metrics["eval/nll_heldout"] != plain.metrics["eval/nll_heldout"]


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


def test_sample_scores_by_hand():
    train = Sequences.from_rows([[0, 1, EOS], [2, EOS]], ENDING, MAX_LENGTH)
    task = FixedTask(ENDING, MAX_LENGTH, {"train": train}, measures={"c": share_of(has_c)})
    # ab, ab, abc, c
    rows = [[0, 1, EOS], [0, 1, EOS], [0, 1, 2, EOS], [2, EOS]]
    scores = sample_scores(Sequences.from_rows(rows, ENDING, MAX_LENGTH), task)
    assert scores.metrics == {
        "distinct_1": 3 / 8,
        "distinct_2": 2 / 4,
        "distinct_3": 1.0,
        "duplicate_rate": 1 / 4,
        "copied_rate": 3 / 4,
        "copied_spans": 0.0,
        "c": 2 / 4,
    }
    assert scores.per_text["copied_rate"].values.tolist() == [1, 1, 0, 1]
    assert scores.per_text["c"].values.tolist() == [0, 0, 1, 1]


def test_measures_of_texts_join_the_others():
    """Those that need real texts come from the test split, made once for many measurements."""
    task = make_task()
    measures = text_measures(task, ["hashed"])
    references = token_rows(task.real("test", 40, seeded(0)))
    found = measure(TableGenerator(ENDING), task, 60, 30, seeded(1), texts=measures)
    again = measure(TableGenerator(ENDING), task, 60, 30, seeded(1), texts=measures)
    assert found.metrics == again.metrics
    assert set(found.metrics) == ALWAYS | OF_BLEU | OF_TEXTS
    assert all(find_metric(name).name != "eval/<measure>" for name in found.metrics)
    assert sorted(measures.references) == sorted(references)
    scores = measures.scores(token_rows(found.samples), found.samples.texts)
    assert (
        scores.metrics.items()
        <= {name.removeprefix("eval/"): value for name, value in found.metrics.items()}.items()
    )


def test_means_over_texts_are_there_text_by_text():
    task = make_task(Exact(full_support=True), checks={"valid": has_c})
    found = measure(TableGenerator(ENDING), task, 60, 30, seeded(1), texts=text_measures(task, []))
    no_means = {name for name in found.metrics if name.endswith(("_references", "_hypotheses"))}
    no_means |= {f"eval/distinct_{order}" for order in (1, 2, 3)}
    no_means |= {"eval/duplicate_rate", "eval/temperature", "eval/reverse_lm_score"}
    no_means |= {"eval/lm_texts", "eval/length_divergence", "eval/zipf_divergence"}
    no_means |= {"eval/kl_symmetric"}  # a sum of means over two sets of texts
    assert found.metrics.keys() - found.per_text.keys() == no_means
    for name, part in found.per_text.items():
        assert part.value == found.metrics[name]
        assert len(part.values) == (30 if name in OF_HELDOUT else 60)


@pytest.mark.parametrize(
    ("exact", "checks", "judged"),
    [
        (None, {}, True),
        (None, {"valid": has_c}, True),
        (Exact(full_support=True), {}, False),
        (Exact(full_support=False), {"valid": has_c}, False),
        (Exact(full_support=False), {}, True),
    ],
)
def test_texts_are_compared_where_the_exact_distribution_says_no_more(exact, checks, judged):
    task = make_task(exact, checks)
    assert judged_as_texts(task) is judged
    assert ("eval/bleu_2" in measured(task).metrics) is judged


def test_embeddings_learn_from_training_texts_and_compare_with_test_texts(monkeypatch):
    taken = {}

    def take(measures, references, strings, other_strings, *settings):
        taken.update(references=references, strings=strings, other=other_strings)

    monkeypatch.setattr("seqgan.evaluation.texts.TextMeasures.__init__", take)
    task = make_task(None, {})
    text_measures(task, ("hashed",))
    fixed = torch.Generator().manual_seed(0)
    test, train = (task.real(split, task.size(split), fixed) for split in ("test", "train"))
    assert sorted(taken["strings"]) == sorted(test.texts)
    assert sorted(taken["references"]) == sorted(token_rows(test))
    assert sorted(taken["other"]) == sorted(train.texts)
    assert sorted(train.texts) != sorted(test.texts)


def test_bleu_by_hand():
    # ab, ab, abc, c against abc, b, a: every n-gram matches; ab is nearest in length to the
    # shorter ones; c has no pair, so the smoothed 0.1.
    scores = bleu_scores([(0, 1), (0, 1), (0, 1, 2), (2,)], [(0, 1, 2), (1,), (0,)])
    assert scores.metrics["bleu_references"] == 3.0
    assert scores.metrics["self_bleu_references"] == 3.0
    assert scores.per_text["bleu_2"].values == pytest.approx([1, 1, 1, 0.1**0.5], abs=1e-12)
    assert scores.metrics["bleu_2"] == pytest.approx((3 + 0.1**0.5) / 4)


def test_bleu_is_averaged_over_a_part_of_the_samples_and_all_references(monkeypatch):
    monkeypatch.setattr("seqgan.evaluation.texts.MAX_TEXTS", 2)
    rows, references = ["abc", "xyz", "abd", "cab"], ["abc", "bca"]
    metrics = bleu_scores(rows, references, seed=0).metrics
    assert metrics["bleu_references"] == 2.0
    assert metrics["self_bleu_references"] == 3.0
    singles = [bleu([row], references)[3] for row in rows]
    pairs = {round((singles[i] + singles[j]) / 2, 9) for i in range(4) for j in range(4) if i != j}
    assert round(metrics["bleu_3"], 9) in pairs
    assert metrics == bleu_scores(rows, references, seed=0).metrics


def test_one_sample_has_no_self_bleu():
    metrics = bleu_scores(["abc"], ["abc"]).metrics
    assert not any("self" in name for name in metrics)
    assert metrics["bleu_5"] == pytest.approx((1 * 1 * 1 * 0.1 * 0.1) ** (1 / 5))


def test_the_error_of_a_rate_is_that_of_a_binomial():
    part = measured(make_task(checks={"c": has_c})).per_text["eval/c"]
    share = part.value
    assert 0 < share < 1
    assert part.error == pytest.approx((share * (1 - share) / (NUM_SAMPLES - 1)) ** 0.5)


def test_the_error_is_the_spread_between_measurements():
    """Of a mean over texts, and of a ratio of two sums over texts."""
    task = make_task(Exact(full_support=True), checks={"c": has_c})
    found = [measured(task, seed).per_text for seed in range(60)]
    for name in ("eval/c", "eval/nll_oracle"):
        spread = np.std([part[name].value for part in found], ddof=1)
        assert np.mean([part[name].error for part in found]) == pytest.approx(spread, rel=0.3)


def test_a_task_whose_truth_excludes_texts_and_that_has_no_check_is_judged_by_bleu():
    found = measured(make_task(Exact(full_support=False)))
    assert found.quality.name == "bleu_4"


def test_a_named_quality_stands_before_the_true_model_and_an_unnamed_measure_does_not():
    measures = {"c": share_of(has_c)}
    exact = Exact(full_support=True)
    assert measured(made_task(exact, measures, "c")).quality.name == "c"
    assert measured(made_task(exact, measures)).quality.name == "nll_oracle"
    assert measured(made_task(None, measures)).quality.name == "bleu_4"


def test_a_quality_is_one_of_the_measures():
    with pytest.raises(
        ConfigurationError, match=r"quality is 'd', but must be one of the task's measures \(c\)"
    ):
        made_task(None, {"c": share_of(has_c)}, "d")


# Measures of floats.


def distance(sequences):
    """Tokens away from the reference, a column of the data."""
    lengths = [len(text.split()) for text in sequences.columns["reference"]]
    return (sequences.lengths - 1 - torch.tensor(lengths)).abs().float()


def prompted_task(measures, quality=""):
    rows = [[0, EOS], [1, 2, EOS], [2, EOS]]
    data = replace(
        Sequences.from_rows(rows, ENDING, MAX_LENGTH),
        prompts=torch.tensor([[EOS, 0], [1, 2], [EOS, 2]]),
        prompt_mask=torch.tensor([[False, True], [True, True], [False, True]]),
        columns={"reference": ["a", "b c", "c"]},
    )
    splits = dict.fromkeys(("train", "dev", "test"), data)
    return FixedTask(ENDING, MAX_LENGTH, splits, None, measures, quality, max_prompt_length=2)


def test_a_measure_sees_prompts_and_columns_of_each_row():
    seen = []

    def remember(sequences):
        seen.append((sequences.prompt_texts, list(sequences.columns["reference"])))
        return distance(sequences)

    task = prompted_task({"distance": Measure(remember, "tokens", False)}, "distance")
    found = measured(task)
    ((prompts, references),) = seen  # once for a measurement
    assert prompts == references  # this task's continuations repeat their prompts
    assert set(prompts) == {"a", "b c", "c"}
    assert found.metrics["eval/distance"] == pytest.approx(float(distance(found.samples).mean()))
    assert (found.quality.unit, found.quality.higher_is_better) == ("tokens", False)
    np.testing.assert_array_equal(
        found.per_text["eval/distance"].values, distance(found.samples).numpy()
    )


def test_a_text_that_a_measure_does_not_apply_to_is_in_no_mean():
    values = torch.tensor([1.0, torch.nan, 4.0] + [torch.nan] * (NUM_SAMPLES - 3))
    found = measured(made_task(None, {"some": Measure(lambda sequences: values)}))
    assert found.metrics["eval/some"] == 2.5
    assert found.per_text["eval/some"].weights.sum() == 2


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        (torch.zeros(3), r"\(3,\), but must give a tensor of one number per text, \(60,\)"),
        (
            torch.zeros(60, 1),
            r"\(60, 1\), but must give a tensor of one number per text, \(60,\)",
        ),
        ([0.0] * 60, r"list, but must give a tensor of one number per text, \(60,\)"),
        (torch.zeros(60).index_fill(0, torch.tensor(7), -torch.inf), "-inf for text 7"),
    ],
)
def test_a_measure_that_gives_something_else_is_named(values, rule):
    with pytest.raises(DataError, match=f"^measure 'odd' gives .*{rule}"):
        measured(made_task(None, {"odd": Measure(lambda sequences: values)}))


# Measures of the user's own.


def num_words(text):
    return float(len(text.split()))


def first_words(texts):
    return [1.0 if text.startswith("a") else None for text in texts]


def same_as_reference(text, reference):
    return text == reference


def lengths_of(sequences):
    return sequences.lengths.float()


def test_own_measures_are_functions_by_the_conventions_of_rewards():
    task = prompted_task({})
    own = {
        "words": as_measure(num_words, "words"),
        "first": as_measure(first_words),
        "same": as_measure(same_as_reference),
        "length": as_measure(lengths_of, "tokens", higher_is_better=False),
        "distance": Measure(distance),
    }
    found = measure(TableGenerator(ENDING), task, NUM_SAMPLES, NUM_HELDOUT, seeded(0), own=own)
    texts, references = found.samples.texts, found.samples.columns["reference"]
    assert {name for name in found.metrics if "user/" in name} == {f"user/{name}" for name in own}
    assert found.metrics["user/words"] == pytest.approx(np.mean([num_words(t) for t in texts]))
    assert found.metrics["user/first"] == 1.0
    assert found.per_text["user/first"].weights.sum() == sum(t.startswith("a") for t in texts)
    same = [t == r for t, r in zip(texts, references, strict=True)]
    assert found.per_text["user/same"].values.tolist() == same
    assert found.metrics["user/length"] == pytest.approx(
        float(found.samples.lengths.double().mean())
    )
    plain = measure(TableGenerator(ENDING), task, NUM_SAMPLES, NUM_HELDOUT, seeded(0))
    assert plain.metrics.items() <= found.metrics.items()


def test_a_measure_is_a_measure_already():
    one = Measure(distance, "tokens", False)
    assert as_measure(one) is one
    assert (one.best, as_measure(num_words).best) == ("min", "")
    assert as_measure(num_words, higher_is_better=True).best == "max"
    with pytest.raises(ConfigurationError, match="takes \\(x\\), but must take"):
        as_measure(lambda x: 0)
