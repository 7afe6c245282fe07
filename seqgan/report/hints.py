"""Signs of trouble in what a run has logged, each in a sentence with its numbers."""

import math
from collections.abc import Sequence

import numpy as np

from seqgan.report.recorded import Recorded

RECENT = 5  # rows whose mean is where a metric has got to


def hints(run: Recorded) -> list[str]:
    """What a reader should know of before believing the charts; empty for a healthy run.

    What the run itself has warned of comes first, then what its metrics show in the end.
    """
    found = [
        *(f"Alert, {alert.get('title')}: {alert.get('text')}." for alert in run.alerts),
        _not_finite(run),
        _adversary_has_won(run),
        _adversary_overfits(run),
        _repetition(run),
        _entropy(run),
        _endless(run),
        _no_signal(run),
    ]
    return [hint for hint in found if hint]


def _not_finite(run: Recorded) -> str:
    counts: dict[str, int] = {}
    for row in run.metrics:
        for name, value in row.items():
            if isinstance(value, float) and not math.isfinite(value):
                counts[name] = counts.get(name, 0) + 1
    if not counts:
        return ""
    named = ", ".join(f"{name} ({count})" for name, count in sorted(counts.items()))
    return f"Not every number is finite; those rows are gaps in the charts: {named}."


def _adversary_has_won(run: Recorded) -> str:
    accuracy = recent(run, "discriminator/accuracy_heldout")
    if not accuracy > 0.95:
        return ""
    return (
        f"The discriminator has won: it tells {accuracy:.0%} of unseen texts apart, which leaves"
        " the generator little to learn from. Fewer d_steps, a smaller discriminator, or longer"
        " pretraining of the generator help."
    )


def _adversary_overfits(run: Recorded) -> str:
    known = [recent(run, f"discriminator/accuracy_{kind}") for kind in ("real", "generated")]
    training, unseen = sum(known) / 2, recent(run, "discriminator/accuracy_heldout")
    if not training - unseen > 0.15:
        return ""
    return (
        f"The discriminator overfits: {training:.0%} right on its training texts,"
        f" {unseen:.0%} on unseen ones."
    )


def _repetition(run: Recorded) -> str:
    start, end = first_and_recent(run, "eval/duplicate_rate")
    unique = recent(run, "completions/unique_fraction")
    if end > start + 0.1:
        return (
            f"Mode collapse: {end:.0%} of the generated texts repeat another one, {start:.0%} at"
            " the start of the game."
        )
    if unique < 0.5:
        return f"Mode collapse: only {unique:.0%} of the collected texts are distinct."
    return ""


def _entropy(run: Recorded) -> str:
    start, end = first_and_recent(run, "losses/entropy")
    if not end < start / 2:
        return ""
    return (
        f"The generator's entropy has fallen from {start:.3g} to {end:.3g} nats per token, which"
        " is how mode collapse begins."
    )


def _endless(run: Recorded) -> str:
    start, end = first_and_recent(run, "completions/clipped_ratio")
    if not (end > 0.5 and end > start + 0.2):
        return ""
    return (
        f"Texts have stopped ending: {end:.0%} reach the maximum length, {start:.0%} at the start"
        " of the game."
    )


def _no_signal(run: Recorded) -> str:
    if recent(run, "losses/grad_norm_generator") == 0:
        return "The generator's gradient is zero: no reward arrives."
    return ""


def recent(run: Recorded, metric: str, axis: str = "iteration") -> float:
    """The mean of a metric's last `RECENT` finite values; NaN where there is none."""
    return _mean(_finite(run, metric, axis)[-RECENT:])


def first_and_recent(run: Recorded, metric: str) -> tuple[float, float]:
    """A metric's first finite value in the game, and its recent mean; NaN where there is none."""
    values = _finite(run, metric, "iteration")
    return _mean(values[:1]), _mean(values[-RECENT:])


def _finite(run: Recorded, metric: str, axis: str) -> Sequence[float]:
    values = run.curve(metric, axis)[1]
    return [float(value) for value in values[np.isfinite(values)]]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
