"""Points of a quality-diversity plane: one generator, sampled in one way, measured on both axes.

Every coordinate is a rate, a sum over texts divided by another (nats by tokens, passes by texts),
so that the texts can be drawn anew: the bootstrap of a point, of a curve, of a difference.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from seqgan.data.sequences import Sequences
from seqgan.evaluation.measure import token_rows
from seqgan.evaluation.metrics.intervals import PerText
from seqgan.evaluation.metrics.ngrams import sentence_bleu, sentence_self_bleu
from seqgan.evaluation.planes.curves import Line
from seqgan.models.generators.base import Generator
from seqgan.models.sampling import Sampling, sample, sequence_log_probs
from seqgan.tasks.base import Task, heldout_prompts

Texts = Literal["samples", "heldout"]


@dataclass(frozen=True)
class Axis:
    """A metric as an axis: its name in the metric list (without `eval/`), and what is better."""

    name: str
    title: str
    unit: str
    higher_is_better: bool

    @property
    def label(self) -> str:
        return f"{self.title} ({self.unit})"

    @property
    def sign(self) -> int:
        """What turns values into goodness, and goodness into values."""
        return 1 if self.higher_is_better else -1


@dataclass(frozen=True)
class Panel:
    """A plane: quality to the right, diversity upwards."""

    quality: Axis
    diversity: Axis


@dataclass(frozen=True, eq=False)
class Rate(PerText):
    """A metric by its texts, and which these are: the point's samples, or the held-out ones."""

    over: Texts = "samples"

    def redrawn(self, counts: Int[np.ndarray, "draw text"]) -> Float[np.ndarray, " draw"]:
        """The value where each text occurs as often as a draw says."""
        return (counts @ self.values) / (counts @ self.weights)


@dataclass(frozen=True)
class Point:
    """One way to sample a generator, and each metric that is defined there.

    Where top-p gives a held-out text no probability at all, its NLL is infinite and the metric
    absent: an infinite NLL says nothing of how diverse the rest is.
    """

    sampling: Sampling
    rates: Mapping[str, Rate]

    @property
    def values(self) -> dict[str, float]:
        return {name: rate.value for name, rate in self.rates.items()}


NATS = "nats per token"
NLL_ORACLE = Axis("nll_oracle", "NLL under the oracle", NATS, False)
NLL_HELDOUT = Axis("nll_heldout", "held-out NLL", NATS, False)
KL_GENERATOR_ORACLE = Axis("kl_generator_oracle", "KL(generator || oracle)", NATS, False)
KL_ORACLE_GENERATOR = Axis("kl_oracle_generator", "KL(oracle || generator)", NATS, False)
ENTROPY = Axis("entropy", "entropy of the generator", NATS, True)


def panels(task: Task, num_samples: int, truncated: bool) -> list[Panel]:
    """The planes of a task, the one that decides first.

    Quality is NLL under the true model where every text has a finite one, else a check's rate,
    else BLEU-4. Diversity is held-out NLL, scored as the texts are sampled.

    Args:
        num_samples: texts of each point; Self-BLEU depends on it.
        truncated: whether top-p is used. It has no held-out NLL, so that one more plane is needed.
    """
    if task.exact is not None and task.exact.full_support:
        found = [Panel(NLL_ORACLE, NLL_HELDOUT), Panel(KL_GENERATOR_ORACLE, KL_ORACLE_GENERATOR)]
    elif task.checks:
        name = next(iter(task.checks))
        found = [Panel(Axis(name, f"{name} rate", "share of samples", True), NLL_HELDOUT)]
    else:
        bleu = Axis("bleu_4", "BLEU-4", f"{task.size('test'):,} references", True)
        own = Axis("self_bleu_4", "Self-BLEU-4", f"{num_samples:,} samples", False)
        return [Panel(bleu, NLL_HELDOUT), Panel(bleu, own)]
    return [*found, Panel(found[0].quality, ENTROPY)] if truncated else found


def measure_point(
    generator: Generator,
    task: Task,
    heldout: Sequences,
    num_samples: int,
    rng: torch.Generator,
    sampling: Sampling,
) -> Point:
    """Draws texts and measures what the task's planes show.

    Args:
        heldout: real sequences that the generator was not trained on.
    """
    changed = None if sampling == Sampling() else sampling  # the generator itself is quicker
    prompts = heldout_prompts(task, num_samples, heldout.tokens.device)
    samples = sample(
        generator, task.vocabulary, num_samples, task.max_length, rng, changed, prompts
    )
    own = -_array(sequence_log_probs(generator, samples, changed))
    # A token at the very edge of a nucleus may be drawn and then, rounded another way in scoring,
    # be cut off. Its text is in no mean over likelihoods.
    scored = np.isfinite(own)
    tokens = np.where(scored, _array(samples.mask.sum(dim=1)), 0.0)
    own = np.where(scored, own, 0.0)
    ones = np.ones(num_samples)
    rates = {"entropy": Rate(own, tokens)}
    nll = -_array(sequence_log_probs(generator, heldout, changed))
    heldout_tokens = _array(heldout.mask.sum(dim=1))
    defined = bool(np.isfinite(nll).all())
    if defined:
        rates["nll_heldout"] = Rate(nll, heldout_tokens, "heldout")
    if task.exact is not None and task.exact.full_support:
        true = np.where(scored, -_array(task.exact.log_prob(samples)), 0.0)
        rates["nll_oracle"] = Rate(true, tokens)
        rates["kl_generator_oracle"] = Rate(true - own, tokens)
        if defined:
            cost = nll + _array(task.exact.log_prob(heldout))
            rates["kl_oracle_generator"] = Rate(cost, heldout_tokens, "heldout")
    elif task.checks:
        name, check = next(iter(task.checks.items()))
        rates[name] = Rate(np.array(list(check(samples.texts)), np.float64), ones)
    else:
        test = task.real("test", task.size("test"), torch.Generator().manual_seed(0))
        rows = token_rows(samples)
        rates["bleu_4"] = Rate(sentence_bleu(rows, token_rows(test), 4)[4], ones)
        rates["self_bleu_4"] = Rate(sentence_self_bleu(rows, 4)[4], ones)
    return Point(sampling, rates)


def lines(points: Sequence[Point], panel: Panel) -> list[Line]:
    """The points as curves of a plane, in goodness: one over temperatures, one over top-p.

    A curve over top-p ends in the point at temperature 1 that cuts nothing off.
    """

    def values(curve: Sequence[Point], axis: Axis) -> Float[np.ndarray, " point"]:
        return axis.sign * np.array([point.rates[axis.name].value for point in curve])

    return [
        Line(values(curve, panel.quality), values(curve, panel.diversity))
        for curve in curves_of(points, panel)
    ]


def redrawn_lines(
    points: Sequence[Point], panel: Panel, draws: int, seed: int, heldout_seed: int
) -> list[Line]:
    """`lines` from texts drawn anew, with a leading axis of draws: the bootstrap.

    Every point's samples are drawn independently of each other's; the held-out texts are drawn
    once, for all points, as all of them are scored on the same ones. The same `heldout_seed` gives
    another generator's points the same draws of them, so that differences are of pairs; another
    `seed` gives it other samples.

    BLEU and Self-BLEU are redrawn as means over samples; the texts that each one is compared with
    stay what they are.
    """
    order = {point.sampling: index for index, point in enumerate(points)}

    def redrawn(point: Point, axis: Axis) -> Float[np.ndarray, " draw"]:
        rate = point.rates[axis.name]
        # Of one length: numpy fills a shorter one up with zeros, and [0] would be [0, 0].
        seeds = [0, heldout_seed, 0]
        if rate.over == "samples":
            seeds = [1, seed, order[point.sampling]]
        size = len(rate.values)
        rng = np.random.default_rng(seeds)
        # How often each text occurs among as many that are drawn with replacement.
        drawn = [np.bincount(rng.integers(size, size=size), minlength=size) for _ in range(draws)]
        return axis.sign * rate.redrawn(np.stack(drawn))

    return [
        Line(
            np.stack([redrawn(point, panel.quality) for point in curve], axis=-1),
            np.stack([redrawn(point, panel.diversity) for point in curve], axis=-1),
        )
        for curve in curves_of(points, panel)
    ]


def curves_of(points: Sequence[Point], panel: Panel) -> list[list[Point]]:
    """The points that a plane can show, as they are joined: by temperature, and by top-p."""
    shown = [
        point
        for point in points
        if panel.quality.name in point.rates and panel.diversity.name in point.rates
    ]
    whole = [point for point in shown if point.sampling.top_p == 1]
    cut = [point for point in shown if point.sampling.top_p < 1]
    if cut:
        cut += [point for point in whole if point.sampling.temperature == 1]
    curves = [
        sorted(whole, key=lambda point: point.sampling.temperature),
        sorted(cut, key=lambda point: point.sampling.top_p),
    ]
    return [curve for curve in curves if curve]


def _array(values: Tensor) -> Float[np.ndarray, " text"]:
    return values.double().cpu().numpy()
