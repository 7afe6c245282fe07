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


def matched_temperature(candidate: Measurement, curve: dict[float, Measurement]) -> float:
    """The temperature of lowest held-out NLL among those that reach the candidate's quality.

    Both numbers are interpolated linearly between neighbouring temperatures. Where no temperature
    reaches the quality, the one that comes nearest to it.
    """
    temperatures = np.array(sorted(curve))
    goodness = np.array([curve[t].quality.goodness for t in temperatures])
    nll = np.array([curve[t].nll_heldout for t in temperatures])
    fine = np.linspace(temperatures[0], temperatures[-1], 801)
    fine_goodness = np.interp(fine, temperatures, goodness)
    reached = fine_goodness >= candidate.quality.goodness
    if not reached.any():
        return float(fine[fine_goodness.argmax()])
    return float(fine[reached][np.interp(fine[reached], temperatures, nll).argmin()])


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
    temperature = matched_temperature(candidate, curve)
    control = measure_at(temperature)
    per_sequence = (control.heldout_log_probs - candidate.heldout_log_probs).double()
    difference = float(per_sequence.sum()) / candidate.heldout_tokens
    mean_length = candidate.heldout_tokens / len(per_sequence)
    paired = float(per_sequence.std()) / math.sqrt(len(per_sequence)) / mean_length
    slope = _slope(temperature, curve)
    quality_error = math.hypot(candidate.quality.error, control.quality.error)
    error = math.hypot(paired, slope * quality_error)
    # The match is as noisy as the qualities; a gap of that size is settled at the curve's slope.
    # A larger one means that the curve does not pass through this quality: no extrapolation.
    gap = candidate.quality.goodness - control.quality.goodness
    reached = gap <= 3 * quality_error
    if abs(gap) <= 3 * quality_error:
        difference -= slope * gap
    verdict: Verdict = "level"
    if difference < -SIGNIFICANT * error:
        verdict = "better"
    elif difference > SIGNIFICANT * error:
        verdict = "worse"
    return Comparison(
        temperature,
        control,
        difference,
        error,
        verdict,
        _sentence(candidate, temperature, difference, error, verdict, reached),
    )


def _slope(temperature: float, curve: dict[float, Measurement]) -> float:
    """Held-out NLL per unit of goodness along the curve, around a temperature; at least 0."""
    ordered = sorted(curve)
    upper = min((t for t in ordered if t > temperature), default=ordered[-1])
    lower = max((t for t in ordered if t < temperature and t < upper), default=ordered[0])
    if lower == upper:
        return 0.0
    gain = curve[lower].quality.goodness - curve[upper].quality.goodness
    cost = curve[lower].nll_heldout - curve[upper].nll_heldout
    return max(cost / gain, 0.0) if gain > 0 else 0.0


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
    at = f"at {quality.name} {quality.value:.3f} (MLE temperature {temperature:.2f})"
    if not reached:
        at = f"at the nearest quality that temperature reaches ({temperature:.2f})"
    return (
        f"{opening}: {at} its held-out NLL differs by {difference:+.4f} nats per token"
        f" (standard error {error:.4f}; below 0 is better)."
    )
