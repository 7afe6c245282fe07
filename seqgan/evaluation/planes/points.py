"""Points of a quality-diversity plane: one generator, sampled in one way, measured on both axes.

Every coordinate is a rate: a sum over texts divided by another sum (nats by tokens, passes by
texts). So a bootstrap can draw the texts anew, for a point, a curve or a difference.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Real

from seqgan.data.sequences import Sequences
from seqgan.evaluation.axes import (
    ENTROPY,
    KL_GENERATOR_ORACLE,
    KL_ORACLE_GENERATOR,
    NLL_HELDOUT,
    NLL_ORACLE,
    Axis,
    quality_axis,
)
from seqgan.evaluation.measure import measured_texts, references_of, token_rows
from seqgan.evaluation.metrics.intervals import PerText, redraws
from seqgan.evaluation.metrics.likelihood import likelihood_report
from seqgan.evaluation.metrics.ngrams import sentence_bleu, sentence_self_bleu
from seqgan.evaluation.planes.curves import Line
from seqgan.models.generators.base import Generator
from seqgan.models.sampling import Sampling, sample
from seqgan.tasks.base import Task, heldout_prompts

Texts = Literal["samples", "heldout"]

TEMPERATURES = (1.2, 1.1, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4)
OF_HELDOUT = (NLL_HELDOUT.name, KL_ORACLE_GENERATOR.name)  # the rates over held-out texts


@dataclass(frozen=True)
class Panel:
    """A plane: quality to the right, diversity upwards."""

    quality: Axis
    diversity: Axis


@dataclass(frozen=True)
class Knob:
    """One way to sample a generator, as a place on a curve: the knob that is turned, and how far.

    Args:
        name: one of `PLAIN`.
    """

    name: str
    value: float

    @property
    def plain(self) -> bool:
        """True if the generator is sampled as it is. Every curve over a knob may end there."""
        return self.value == PLAIN[self.name]

    def on(self, name: str) -> float | None:
        """The value of another knob in this place; None if its curve does not lead here."""
        if name == self.name:
            return self.value
        return PLAIN[name] if self.plain else None


# The knobs, each with the value that changes nothing. `beta` is that of a tilted model.
PLAIN = {"temperature": 1.0, "top_p": 1.0, "beta": math.inf}


def knob_of(sampling: Sampling) -> Knob:
    """The place of a sampling on a curve, over top-p if that cuts anything off."""
    if sampling.top_p < 1:
        return Knob("top_p", sampling.top_p)
    return Knob("temperature", sampling.temperature)


@dataclass(frozen=True, eq=False)
class Rate(PerText):
    """A metric text by text. The texts are the point's samples, or the held-out texts.

    Of a tilted model's samples each text is a proposal with its weight, or a block of proposals.
    """

    over: Texts = "samples"


@dataclass(frozen=True)
class Point:
    """One way to sample a generator, and the metrics that are defined for it.

    If top-p gives a held-out text no probability, its NLL is infinite and the metric is absent: an
    infinite NLL says nothing of the diversity of the other texts. A tilted model has no held-out
    NLL where log Z is not to be trusted.
    """

    knob: Knob
    rates: Mapping[str, Rate]

    @property
    def values(self) -> dict[str, float]:
        return {name: rate.value for name, rate in self.rates.items()}


def panels(task: Task, num_samples: int, truncated: bool) -> list[Panel]:
    """The planes of a task; the first one decides.

    Diversity is held-out NLL, under the same temperature and top-p as the samples. A task whose
    quality is BLEU has a second plane with Self-BLEU. A task with a known true model has one with
    both divergences from it.

    Args:
        num_samples: texts of each point; Self-BLEU depends on it.
        truncated: whether top-p is used. It has no held-out NLL, so one more plane is needed.
    """
    quality = quality_axis(task)
    planes = [Panel(quality, NLL_HELDOUT)]
    if quality == NLL_ORACLE:
        planes.append(Panel(KL_GENERATOR_ORACLE, KL_ORACLE_GENERATOR))
    if quality.name == "bleu_4":
        own = Axis("self_bleu_4", "Self-BLEU-4", f"{num_samples:,} samples", False)
        return [*planes, Panel(quality, own)]
    return [*planes, Panel(quality, ENTROPY)] if truncated else planes


def measure_point(
    generator: Generator,
    task: Task,
    heldout: Sequences,
    num_samples: int,
    rng: torch.Generator,
    sampling: Sampling,
    planes: Sequence[Panel],
) -> Point:
    """Draws texts and measures the axes of the planes, a small part of the work of `measure`.

    Args:
        heldout: real sequences that the generator was not trained on.
        planes: the task's, from `panels`.
    """
    changed = None if sampling == Sampling() else sampling  # None is quicker
    prompts = heldout_prompts(task, num_samples, heldout.tokens.device)
    samples = sample(
        generator, task.vocabulary, num_samples, task.max_length, rng, changed, prompts
    )
    parts = likelihood_report(generator, samples, heldout, task.exact, changed).per_text
    shown = shown_names(planes)
    measures = {name: one for name, one in task.measures.items() if name in shown}
    parts |= {f"eval/{name}": part for name, part in measured_texts(samples, measures).items()}
    parts |= overlaps(samples, task, shown)
    return point_of(knob_of(sampling), parts, planes)


def shown_names(planes: Sequence[Panel]) -> list[str]:
    """The names of the planes' axes."""
    axes = [axis for panel in planes for axis in (panel.quality, panel.diversity)]
    return list(dict.fromkeys(axis.name for axis in axes))


def overlaps(samples: Sequences, task: Task, shown: Collection[str]) -> dict[str, PerText]:
    """BLEU-4 and Self-BLEU-4 of samples, text by text, if they are shown."""
    parts = {}
    rows = token_rows(samples) if {"bleu_4", "self_bleu_4"} & {*shown} else []
    if "bleu_4" in shown:
        references = token_rows(references_of(task))
        parts["eval/bleu_4"] = PerText.mean_of(sentence_bleu(rows, references, 4)[4])
    if "self_bleu_4" in shown:
        parts["eval/self_bleu_4"] = PerText.mean_of(sentence_self_bleu(rows, 4)[4])
    return parts


def point_of(knob: Knob, parts: Mapping[str, PerText], planes: Sequence[Panel]) -> Point:
    """The point of a measurement, with the axes of the planes that it has.

    A token at the very edge of a nucleus may be drawn, and then be cut off in scoring, where
    rounding differs. Its text is in no mean over the generator's own likelihoods.

    Args:
        parts: metrics text by text, as `Measurement.per_text` has them.
    """
    rates = {}
    for name in dict.fromkeys([*shown_names(planes), ENTROPY.name]):
        if (part := parts.get(f"eval/{name}")) is None:
            continue
        scored = np.isfinite(part.values)
        if name in OF_HELDOUT:
            if scored.all():
                rates[name] = Rate(part.values, part.weights, part.normalizer, "heldout")
        elif part.weights[scored].any():
            values, weights = (np.where(scored, each, 0) for each in (part.values, part.weights))
            rates[name] = Rate(values, weights, part.normalizer)
    return Point(knob, rates)


def lines(points: Sequence[Point], panel: Panel) -> list[Line]:
    """The points as curves of a plane, in goodness: one for each knob that is turned.

    A curve over top-p or over beta ends in the point at temperature 1, if it is among the points.
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
    """The bootstrap: `lines` from texts drawn anew, with a leading axis of draws.

    The samples of each point are drawn independently, and log Z of a tilted model with them. The
    held-out texts are drawn once for all points, as all points are scored on the same ones. Two
    generators with the same `heldout_seed` have the same draws of held-out texts, so their
    differences are paired; they take different seeds for their samples.

    BLEU and Self-BLEU are redrawn as means over samples; their references stay as they are.
    """
    order = {point.knob: index for index, point in enumerate(points)}

    def draw(point: Point, over: Texts, size: int) -> Real[np.ndarray, "draw text"]:
        # Seeds have one length: numpy fills a shorter one up with zeros, and [0] would be [0, 0].
        seeds = [0, heldout_seed, 0] if over == "heldout" else [1, seed, order[point.knob]]
        return redraws(size, draws, np.random.default_rng(seeds))

    def redrawn(point: Point, axis: Axis) -> Float[np.ndarray, " draw"]:
        rate = point.rates[axis.name]
        behind = None  # the samples behind log Z are those of the point, drawn as its quality's
        if rate.normalizer is not None:
            behind = draw(point, "samples", len(rate.normalizer.weights))
        return axis.sign * rate.redrawn(draw(point, rate.over, len(rate.values)), behind)

    return [
        Line(
            np.stack([redrawn(point, panel.quality) for point in curve], axis=-1),
            np.stack([redrawn(point, panel.diversity) for point in curve], axis=-1),
        )
        for curve in curves_of(points, panel)
    ]


def curves_of(points: Sequence[Point], panel: Panel) -> list[list[Point]]:
    """The points with both coordinates, joined to curves: a curve for each knob that is turned."""
    shown = [
        point
        for point in points
        if panel.quality.name in point.rates and panel.diversity.name in point.rates
    ]
    curves = []
    for name in PLAIN:
        places = [(value, point) for point in shown if (value := point.knob.on(name)) is not None]
        if any(point.knob.name == name for _, point in places):
            curves.append([point for _, point in sorted(places, key=lambda place: place[0])])
    return curves
