"""Measures a generator that is tilted by a reward, as `evaluation` measures a plain one.

Its likelihoods are exact up to log Z: log pi(x) = log p(x) + tau(x) - log Z. So log Z is drawn
anew, with the proposals behind it, wherever a bootstrap asks for the noise of a number. Means over
its texts are weighted means over all proposals, which are less noisy than means over those drawn.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from seqgan.data.sequences import Sequences
from seqgan.decoding.samplers import Drawn, TiltedSampler
from seqgan.decoding.weighted import HeldOutChange, Tilting, WeightedTexts, held_out_change
from seqgan.evaluation.axes import quality_axis
from seqgan.evaluation.measure import (
    Measurement,
    compared_scores,
    heldout_texts,
    measured_texts,
)
from seqgan.evaluation.metrics.intervals import Normalizer, PerText
from seqgan.evaluation.metrics.likelihood import heldout_rates, report_of, sample_rates
from seqgan.evaluation.planes.points import Knob, Panel, Point, overlaps, point_of, shown_names
from seqgan.evaluation.texts import TextMeasures
from seqgan.functional.weights import log_mean
from seqgan.models.sampling import sequence_log_probs
from seqgan.tasks.base import Measure, Task, has_texts, heldout_prompts

MOST_BLOCKS = 4000  # independent parts of the proposals, which a bootstrap draws anew

# How often log Z is in the value of a text; the rates over held-out texts have it once, too.
IN_SAMPLE_RATES = {"eval/entropy": 1.0, "eval/kl_generator_oracle": -1.0}


@dataclass(frozen=True)
class TiltedMeasurement:
    """One measurement of a tilted model.

    Args:
        measurement: as of a plain generator, on the drawn texts; without held-out likelihood,
            entropy and divergences where `missing` says why. Its `per_text` metrics have a term
            for each block of proposals, not for each text.
        kl: KL(tilted || start) per text, nats; of best-of-n the known one, which it has where no
            two texts share a score.
        drawn: the texts, and the proposals behind them.
        tilting: effective share, log Z and more; None of best-of-n.
        change: of held-out NLL to the start's, paired; None where `missing` says why.
        missing: the reason why no likelihood is known, in a sentence; empty where it is known.
    """

    measurement: Measurement
    kl: float
    drawn: Drawn
    tilting: Tilting | None = None
    change: HeldOutChange | None = None
    missing: str = ""

    @property
    def tokens_per_text(self) -> float:
        """Tokens that the generator drew for each text."""
        return self.drawn.tokens_per_text


def measure_tilted(
    sampler: TiltedSampler,
    task: Task,
    num_samples: int,
    num_heldout: int,
    rng: torch.Generator,
    device: torch.device | str = "cpu",
    texts: TextMeasures | None = None,
    own: Mapping[str, Measure] | None = None,
) -> TiltedMeasurement:
    """Draws `num_samples` texts and measures them as `evaluation.measure.measure` does.

    Held-out sequences and prompts are the same ones as there, so that a tilted model can be
    compared with its start pair by pair. A task of prompts alone has none of the former.

    Args:
        texts, own: see `evaluation.measure.measure`.

    Raises:
        ConfigurationError: the sampler cannot draw, say a rejection without a bound.
        DataError: a measure gives another shape than (batch,), or an infinite value.
        RewardError: a function behind the reward or a measure failed.
    """
    heldout = heldout_texts(task, num_heldout, device) if has_texts(task) else None
    prompts = heldout_prompts(task, num_samples, device)
    drawn = sampler.draw(num_samples, rng, prompts)
    users = {f"user/{name}": one for name, one in (own or {}).items()}
    measures = {f"eval/{name}": one for name, one in task.measures.items()} | users
    known = _known_rates(sampler, drawn, task, heldout, measures, rng)
    scores = compared_scores(drawn.sequences, task, texts, prompts)
    metrics = {f"eval/{name}": value for name, value in scores.metrics.items()}
    metrics |= report_of(known.parts).metrics | {"eval/temperature": 1.0}
    per_text = {f"eval/{name}": part for name, part in scores.per_text.items()}
    per_text = of_drawn(drawn, per_text) | known.parts
    return TiltedMeasurement(
        Measurement(metrics, quality_axis(task), drawn.sequences, per_text),
        drawn.most_kl if known.tilting is None else known.tilting.kl,
        drawn,
        known.tilting,
        known.change,
        known.missing,
    )


def measure_tilted_point(
    sampler: TiltedSampler,
    task: Task,
    heldout: Sequences,
    num_samples: int,
    rng: torch.Generator,
    planes: Sequence[Panel],
) -> Point:
    """Draws texts and measures the axes of the planes; the point's knob is the sampler's beta.

    Args:
        heldout, planes: see `evaluation.planes.points.measure_point`.

    Raises:
        ConfigurationError, DataError, RewardError: as `measure_tilted`.
    """
    prompts = heldout_prompts(task, num_samples, heldout.tokens.device)
    drawn = sampler.draw(num_samples, rng, prompts)
    shown = shown_names(planes)
    measures = {f"eval/{name}": one for name, one in task.measures.items() if name in shown}
    parts = _known_rates(sampler, drawn, task, heldout, measures, rng).parts
    parts |= of_drawn(drawn, overlaps(drawn.sequences, task, shown))
    return point_of(Knob("beta", sampler.model.tilt.beta), parts, planes)


@dataclass(frozen=True)
class _Known:
    """The rates of a tilted model that need no comparison with other texts."""

    parts: dict[str, PerText]
    tilting: Tilting | None = None
    change: HeldOutChange | None = None
    missing: str = ""


def _known_rates(
    sampler: TiltedSampler,
    drawn: Drawn,
    task: Task,
    heldout: Sequences | None,
    measures: Mapping[str, Measure],
    rng: torch.Generator,
) -> _Known:
    """Measures of the texts, and likelihoods where they are known.

    Args:
        heldout: None for a task of prompts alone.
        measures: by the names that their rates get.
    """
    weighted, exact = drawn.weighted, task.exact
    if weighted is None:
        parts = sample_rates(None, drawn.sequences, exact)
        judged = measured_texts(drawn.sequences, measures)
        return _Known(parts | judged, missing=sampler.unknown)
    blocks, tilting = _Blocks.of(weighted), weighted.summary()
    texts = weighted.sequences
    judged = measured_texts(texts, measures)
    behind, tilting_behind = weighted, tilting
    if heldout is not None and heldout.prompts is not None and tilting.trusted:
        behind = sampler.weighted(len(heldout), rng, heldout)
        tilting_behind = behind.summary()
    if not tilting_behind.trusted:
        parts = blocks.weighed(sample_rates(None, texts, exact) | judged)
        return _Known(parts, tilting, missing=tilting_behind.distrust)
    generator = sampler.model.generator
    own = sequence_log_probs(generator, texts).double() + weighted.log_tilts.flatten()
    own = own - weighted.log_normalizers.repeat_interleave(weighted.log_tilts.shape[1])
    parts = blocks.weighed(sample_rates(own, texts, exact) | judged, IN_SAMPLE_RATES)
    if heldout is None:
        return _Known(parts, tilting)
    values = behind.log_normalizers
    normalizers = values.expand(len(heldout)) if len(values) == 1 else values
    tilts = sampler.model.tilt(heldout)
    of_heldout = sequence_log_probs(generator, heldout).double() + tilts - normalizers
    rates = heldout_rates(of_heldout, heldout, exact)
    change = held_out_change(
        tilts, heldout.lengths, normalizers, tilting_behind.normalizer.error, True
    )
    if len(values) == 1:  # log Z of each prompt apart is noise of that text alone
        normalizer = Normalizer(blocks.weights, np.ones(len(heldout)))
        rates = {name: PerText(p.values, p.weights, normalizer) for name, p in rates.items()}
    return _Known(parts | rates, tilting, change)


def of_drawn(drawn: Drawn, parts: Mapping[str, PerText]) -> dict[str, PerText]:
    """Metrics of drawn texts, with a term for each block of the proposals that they are.

    Texts of one block may be copies of each other, so their number says too little of the noise. A
    metric of some of the texts alone, as BLEU of more than 10,000 is, stays as it is.
    """
    if drawn.weighted is None or drawn.rows is None:
        return dict(parts)
    blocks = _Blocks.of(drawn.weighted)
    numbers = blocks.numbers[drawn.rows.cpu().numpy()]
    made = dict(parts)
    for name, part in parts.items():
        if len(part.values) == len(numbers):
            values, weights = (blocks.summed(v, numbers) for v in (part.values, part.weights))
            made[name] = PerText(values, weights)
    return made


@dataclass(frozen=True, eq=False)
class _Blocks:
    """Independent parts of weighted texts: proposals, islands, or the particles of a prompt.

    Args:
        numbers: the block of each text.
        shares: weight of each text; of mean 1 over all, or of sum 1 in each group.
        weights: weight of each block.
        grouped: True if each block is a group, with its own log Z.
    """

    numbers: np.ndarray
    shares: Float[np.ndarray, " text"]
    weights: Float[np.ndarray, " block"]
    grouped: bool

    @classmethod
    def of(cls, weighted: WeightedTexts) -> "_Blocks":
        log_weights: Float[Tensor, "group particle"] = weighted.log_weights.double()
        groups, particles = log_weights.shape
        if groups > 1:
            shares = log_weights.softmax(dim=1).flatten().cpu().numpy()
            numbers = np.repeat(np.arange(groups), particles)
        else:
            shares = (log_weights - log_mean(log_weights)).exp()[0].cpu().numpy()
            fewest = -(-particles // MOST_BLOCKS)
            size = weighted.block if weighted.block > 1 else fewest
            numbers = np.arange(particles) // size
        return cls(numbers, shares, np.bincount(numbers, weights=shares), groups > 1)

    def summed(
        self, values: Float[np.ndarray, " text"], numbers: np.ndarray | None = None
    ) -> Float[np.ndarray, " block"]:
        """The sum of the values in each block.

        Args:
            numbers: the blocks of these texts; None for all texts in their order.
        """
        numbers = self.numbers if numbers is None else numbers
        return np.bincount(numbers, weights=values, minlength=len(self.weights))

    def weighed(
        self, parts: Mapping[str, PerText], with_log_z: Mapping[str, float] | None = None
    ) -> dict[str, PerText]:
        """Metrics of all texts as metrics of the tilted model: block by block, weighted.

        Args:
            with_log_z: how often log Z is in each value of a metric, by its name.
        """
        made = {}
        for name, part in parts.items():
            multiple = 0.0 if self.grouped else (with_log_z or {}).get(name, 0.0)
            made[name] = PerText(
                self.summed(self.shares * part.values),
                self.summed(self.shares * part.weights),
                Normalizer(self.weights, multiple * self.weights) if multiple else None,
            )
        return made
