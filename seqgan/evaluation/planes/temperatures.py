"""The control that every adversarial run has to beat: the same MLE generator, sampled sharper.

Temperature buys quality with diversity for free. So a run is compared with the pretrained
generator at the temperature that reaches the same quality, on held-out NLL.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from seqgan.evaluation.measure import Measurement

Verdict = Literal["better", "level", "worse"]

TEMPERATURES = (1.2, 1.1, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4)
SIGNIFICANT = 2.0  # standard errors beyond which a difference counts


@dataclass(frozen=True)
class Comparison:
    """A generator against the MLE generator at the best temperature of at least its quality."""

    temperature: float
    control: Measurement
    difference: float  # held-out NLL minus the control's, nats per token; below 0 is better
    error: float  # standard error of the difference, uncertainty of the two qualities included
    verdict: Verdict
    sentence: str


def temperature_curve(
    measure_at: Callable[[float], Measurement], temperatures: Sequence[float] = TEMPERATURES
) -> dict[float, Measurement]:
    """One measurement per temperature."""
    return {temperature: measure_at(temperature) for temperature in temperatures}


def matched_temperature(goodness: float, curve: dict[float, Measurement]) -> tuple[float, float]:
    """The temperature of lowest held-out NLL among those that reach a quality, and that NLL.

    Both numbers are interpolated linearly between neighbouring temperatures. Where no temperature
    reaches the quality, the one that comes nearest to it.

    Args:
        goodness: the quality to reach, turned so that more is better.
    """
    temperatures = np.array(sorted(curve))
    known_goodness = np.array([curve[t].quality.goodness for t in temperatures])
    known_nll = np.array([curve[t].nll_heldout for t in temperatures])
    fine = np.union1d(np.linspace(temperatures[0], temperatures[-1], 801), temperatures)
    nll = np.interp(fine, temperatures, known_nll)
    reached = np.interp(fine, temperatures, known_goodness) >= goodness
    if not reached.any():
        best = int(known_goodness.argmax())
        return float(temperatures[best]), float(known_nll[best])
    best = int(np.where(reached, nll, np.inf).argmin())
    return float(fine[best]), float(nll[best])


def compare(
    candidate: Measurement,
    curve: dict[float, Measurement],
    measure_at: Callable[[float], Measurement],
) -> Comparison:
    """Whether the candidate lies below the MLE temperature curve, by more than noise.

    Args:
        candidate: measured at temperature 1, on the same held-out sequences as the curve.
        curve: the MLE generator over temperatures.
        measure_at: measures the MLE generator once more, at the matched temperature.
    """
    quality = candidate.quality
    temperature, _ = matched_temperature(quality.goodness, curve)
    control = measure_at(temperature)
    per_sequence = (control.heldout_log_probs - candidate.heldout_log_probs).double()
    difference = float(per_sequence.sum()) / candidate.heldout_tokens
    mean_length = candidate.heldout_tokens / len(per_sequence)
    paired = math.inf  # one text has no spread
    if len(per_sequence) > 1:
        paired = float(per_sequence.std()) / math.sqrt(len(per_sequence)) / mean_length
    # The match is as noisy as the two qualities: what the curve costs a standard error to either
    # side of the candidate's is the matched NLL's own.
    noise = math.hypot(quality.error, control.quality.error)
    dearer = matched_temperature(quality.goodness + noise, curve)[1]
    cheaper = matched_temperature(quality.goodness - noise, curve)[1]
    error = math.hypot(paired, (dearer - cheaper) / 2)
    verdict: Verdict = "level"
    if difference < -SIGNIFICANT * error:
        verdict = "better"
    elif difference > SIGNIFICANT * error:
        verdict = "worse"
    reached = any(
        measured.quality.goodness + 2 * noise >= quality.goodness for measured in curve.values()
    )
    return Comparison(
        temperature,
        control,
        difference,
        error,
        verdict,
        _sentence(candidate, temperature, difference, error, verdict, reached),
    )


def _sentence(
    candidate: Measurement,
    temperature: float,
    difference: float,
    error: float,
    verdict: Verdict,
    reached: bool,
) -> str:
    quality = candidate.quality
    opening = (
        "The adversarial phase "
        + {
            "better": "beats the best MLE temperature",
            "level": "does not beat the best MLE temperature (level within noise)",
            "worse": "does not beat the best MLE temperature, it is worse",
        }[verdict]
    )
    at = f"at {quality.name} {quality.value:.3f} or better (MLE temperature {temperature:.2f})"
    if not reached:
        at = (
            f"at {quality.name} {quality.value:.3f}, which no MLE temperature reaches"
            f" (nearest: {temperature:.2f}),"
        )
    return (
        f"{opening}: {at} its held-out NLL differs by {difference:+.4f} nats per token"
        f" (standard error {error:.4f}; below 0 is better)."
    )
