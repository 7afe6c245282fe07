"""Measurements of tilted models beside the enumerated ones, and the noise that they claim."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tilted_worlds import World
from toys import ENDING, FIXED, MAX_LENGTH, seeded

from seqgan.decoding.measured import measure_tilted, measure_tilted_point, of_drawn
from seqgan.decoding.samplers import SAMPLERS, SMC, Reject, Resample
from seqgan.evaluation.measure import heldout_texts, measure
from seqgan.evaluation.metrics.intervals import PerText
from seqgan.evaluation.planes.points import Knob, lines, measure_point, panels, redrawn_lines
from seqgan.evaluation.planes.verdict import compare
from seqgan.functional.weights import best_of_n_kl
from seqgan.models.sampling import Sampling
from seqgan.system.errors import ConfigurationError
from seqgan.tasks.base import FixedTask, share_of

STARTS_WITH_A = {"starts_with_a": share_of(lambda texts: [text.startswith("a") for text in texts])}
EXACT_KINDS = [kind for kind in SAMPLERS if kind != "best-of"]
TESTED = 300  # texts of the test split


class TiltedExactly:
    """The enumerated tilted model as the true model of a task."""

    full_support = True

    def __init__(self, world):
        self.world = world

    def log_prob(self, sequences):
        rows = [self.world.numbers[tuple(row)] for row in sequences.tokens.tolist()]
        return self.world.probs.log()[rows]

    def sample(self, n, rng):
        rows = torch.multinomial(self.world.probs, n, True, generator=rng)
        return self.world.every.select(rows)

    def entropy(self):
        return -float((self.world.probs * self.world.probs.log()).sum())


def task_of(world, prompts=False, seed=30, tested=TESTED):
    """A task whose real texts are those of the tilted model."""
    exact = TiltedExactly(world)
    data = {
        split: exact.sample(n, seeded(seed + i))
        for i, (split, n) in enumerate({"train": 100, "dev": 50, "test": tested}.items())
    }
    if prompts:
        data = {
            split: replace(
                texts,
                prompts=torch.zeros(len(texts), 1, dtype=torch.long),
                prompt_mask=torch.ones(len(texts), 1, dtype=torch.bool),
            )
            for split, texts in data.items()
        }
    return FixedTask(
        world.vocabulary,
        MAX_LENGTH,
        data,
        exact,
        STARTS_WITH_A,
        "starts_with_a",
        max_prompt_length=int(prompts),
    )


def sampler_of(world, kind, of=4):
    return SAMPLERS[kind].made(world.model, of, lambda: (world.wrong_twist(), "a wrong one"))


def rate(world, values, over=None):
    """Nats per token of the tilted model's texts, or of some texts."""
    over = world.every if over is None else over
    weights = world.probs if len(values) == len(world.probs) else torch.ones(len(values)).double()
    return float((weights * values).sum() / (weights * over.lengths).sum())


@pytest.fixture(scope="module", params=[FIXED, ENDING], ids=["fixed length", "with an end"])
def world(request):
    return World(request.param)


@pytest.mark.parametrize("kind", EXACT_KINDS)
def test_a_tilted_model_is_measured_as_the_enumerated_one(world, kind):
    task = task_of(world)
    found = measure_tilted(sampler_of(world, kind), task, 2000, TESTED, seeded(1))
    metrics, parts = found.measurement.metrics, found.measurement.per_text
    heldout = heldout_texts(task, TESTED)
    log_probs = task.exact.log_prob(heldout)
    first = torch.tensor([text.startswith("a") for text in world.every.texts]).double()
    expected = {
        "eval/nll_heldout": rate(world, -log_probs, heldout),
        "eval/kl_oracle_generator": 0.0,
        "eval/kl_generator_oracle": 0.0,
        "eval/entropy": rate(world, -world.probs.log()),
        "eval/starts_with_a": float((world.probs * first).sum()),
        "eval/mean_length": float((world.probs * world.every.lengths).sum()),
    }
    for name, value in expected.items():
        assert metrics[name] == pytest.approx(value, abs=max(4 * parts[name].error, 1e-9)), name
    # the held-out texts are the same ones, so that log Z is all the noise of their NLL
    error = found.tilting.normalizer.error / float(heldout.lengths.double().mean())
    nll = expected["eval/nll_heldout"]
    assert metrics["eval/nll_heldout"] == pytest.approx(nll, abs=4 * error)
    assert found.kl == pytest.approx(world.kl, abs=0.1)
    start = measure(world.generator, task, 500, TESTED, seeded(2)).metrics["eval/nll_heldout"]
    assert found.change.value == pytest.approx(metrics["eval/nll_heldout"] - start, abs=1e-9)
    assert len(found.measurement.samples) == 2000
    assert not found.missing


def test_a_plain_measurement_has_the_same_metrics(world):
    task = task_of(world)
    plain = measure(world.generator, task, 200, TESTED, seeded(1)).metrics
    tilted = measure_tilted(sampler_of(world, "resample"), task, 200, TESTED, seeded(1))
    assert tilted.measurement.metrics.keys() == plain.keys()


def test_best_of_n_says_what_is_not_known(world):
    found = measure_tilted(sampler_of(world, "best-of", 3), task_of(world), 300, 50, seeded(1))
    metrics = found.measurement.metrics
    assert not {"eval/nll_heldout", "eval/entropy", "eval/kl_generator_oracle"} & metrics.keys()
    assert {"eval/starts_with_a", "eval/nll_oracle", "eval/mean_length"} <= metrics.keys()
    assert found.kl == best_of_n_kl(3)
    assert "its density depends on" in found.missing
    assert (found.tilting, found.change) == (None, None)


def test_nothing_is_called_held_out_where_log_z_is_not_trusted():
    world = World(FIXED, beta=0.02)
    found = measure_tilted(sampler_of(world, "resample"), task_of(world), 300, 50, seeded(1))
    assert "eval/nll_heldout" not in found.measurement.metrics
    assert found.change is None
    assert found.missing.startswith("the effective share is ")
    point = measure_tilted_point(
        sampler_of(world, "resample"), task_of(world), world.every, 300, seeded(1), []
    )
    assert not point.rates


def test_each_prompt_has_a_log_z_of_its_own():
    world = World(FIXED, beta=2.0)  # the toy reads no prompts, so every log Z is the same
    task = task_of(world, prompts=True)
    found = measure_tilted(sampler_of(world, "resample", 16), task, 400, TESTED, seeded(1))
    log_probs = task.exact.log_prob(heldout_texts(task, TESTED))
    # the mean of 300 estimates from 16 proposals each, of 4 tokens
    error = found.tilting.normalizer.error / MAX_LENGTH
    assert found.measurement.metrics["eval/nll_heldout"] == pytest.approx(
        -float(log_probs.mean()) / MAX_LENGTH, abs=4 * error
    )
    assert error < 0.01
    assert found.measurement.per_text["eval/nll_heldout"].normalizer is None
    # two of two proposals cannot tell
    few = measure_tilted(sampler_of(world, "resample", 2), task, 400, TESTED, seeded(1))
    assert "too few to trust" in few.missing


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["resample", "smc"])
def test_the_noise_of_a_point_is_that_of_other_proposals_and_held_out_texts(kind):
    """The bootstrap's spread beside that of points measured anew, log Z included."""
    world = World(FIXED)
    plane = panels(task_of(world), 100, False)[0]

    def measured(seed, tested=60):
        task = task_of(world, seed=1000 * seed, tested=tested)
        sampler = sampler_of(world, kind, 16 if kind == "smc" else 2)
        heldout = heldout_texts(task, tested)
        return measure_tilted_point(sampler, task, heldout, 100, seeded(seed), [plane])

    values = [measured(seed).values for seed in range(100)]
    claimed = []
    for seed in range(5):
        (drawn,) = redrawn_lines([measured(seed)], plane, 300, seed, seed)
        claimed.append([float(drawn.quality.std()), float(drawn.diversity.std())])
    quality, diversity = np.mean(claimed, axis=0)
    assert quality == pytest.approx(np.std([v["starts_with_a"] for v in values]), rel=0.25)
    assert diversity == pytest.approx(np.std([v["nll_heldout"] for v in values]), rel=0.25)


def test_log_z_is_drawn_anew_with_the_proposals():
    world = World(FIXED)
    task = task_of(world, tested=2000)
    plane = panels(task, 100, False)[0]
    point = measure_tilted_point(
        sampler_of(world, "resample"), task, heldout_texts(task, 2000), 50, seeded(1), [plane]
    )
    assert point.knob == Knob("beta", 0.7)
    nll = point.rates["nll_heldout"]
    (drawn,) = redrawn_lines([point], plane, 500, 1, 1)
    # 200 proposals: the noise of log Z outweighs that of 2,000 held-out texts
    alone = replace(nll, normalizer=None).error
    assert nll.normalizer.error / MAX_LENGTH > 2 * alone
    assert drawn.diversity.std() == pytest.approx(nll.error, rel=0.2)
    # proposals with more weight make log Z larger, and both come from the same draws
    other = redrawn_lines([point], replace(plane, diversity=plane.quality), 500, 1, 1)[0]
    np.testing.assert_array_equal(other.diversity, drawn.quality)


def test_a_tilted_model_that_knows_the_truth_is_beyond_every_temperature():
    world = World(FIXED)
    task = task_of(world, tested=1500)
    plane, heldout = panels(task, 1500, False)[0], heldout_texts(task, 1500)
    mle = [
        measure_point(world.generator, task, heldout, 1500, seeded(i), Sampling(t), [plane])
        for i, t in enumerate((1.0, 0.7, 0.4))
    ]
    tilted = [
        measure_tilted_point(
            Resample(replace(world.model, tilt=replace(world.tilt, beta=beta))),
            task,
            heldout,
            1500,
            seeded(i),
            [plane],
        )
        for i, beta in enumerate((0.7, 1.4))
    ]
    (curve,) = lines(tilted, plane)
    assert len(curve.quality) == 2
    found = compare(tilted, mle, plane, "It")
    assert found.verdict == "better", found.sentence


def test_drawn_texts_are_as_noisy_as_the_proposals_that_they_repeat():
    """A mean over 400 texts, of which many are copies, beside that of texts drawn anew."""
    world = World(FIXED, beta=0.4)

    def part(seed):
        drawn = sampler_of(world, "resample").draw(400, seeded(seed))
        values = PerText.mean_of(world.tilt(drawn.sequences).numpy())
        (found,) = of_drawn(drawn, {"tilt": values}).values()
        assert found.value == pytest.approx(values.value)
        return values, found

    pairs = [part(seed) for seed in range(60)]
    noise = np.std([values.value for values, _ in pairs])
    plain, claimed = (np.mean([pair[which].error for pair in pairs]) for which in (0, 1))
    assert claimed == pytest.approx(noise, rel=0.3)
    assert plain < 0.8 * noise


def test_a_metric_of_some_of_the_texts_stays_as_it_is():
    drawn = sampler_of(World(FIXED), "resample").draw(40, seeded())
    some = PerText.mean_of(np.arange(30.0))  # as of BLEU, which reads 10,000 texts at most
    assert of_drawn(drawn, {"bleu_4": some})["bleu_4"] is some


def test_rejection_that_keeps_hardly_any_text_gives_up():
    never = Reject(World(ENDING, beta=0.02).model)
    with pytest.raises(ConfigurationError, match=r"rejection kept \d+ of \d+ texts, but 2 are"):
        never.draw(2, seeded())


def test_samplers_say_what_they_lack(world):
    with pytest.raises(TypeError, match="twist"):
        SMC(world.model)
    with pytest.raises(ConfigurationError, match="are 1, but must be at least 2"):
        Resample(world.model, of=1)
    task = task_of(world, prompts=True)
    with pytest.raises(ConfigurationError, match="goes on from no prompts"):
        measure_tilted(sampler_of(world, "reject"), task, 20, 20, seeded(1))
