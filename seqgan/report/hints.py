"""Signs of trouble in what a run has logged, each in a sentence with its numbers."""

import math
from collections.abc import Sequence

import numpy as np

from seqgan.evaluation.game.health import find_trouble
from seqgan.report.recorded import Recorded, Row

RECENT = 5  # rows whose mean is where a metric has got to


def hints(run: Recorded) -> list[str]:
    """Warnings to a reader of the charts; empty for a healthy run.

    The run's own alerts come first, then signs in its last metrics.
    """
    found = [
        *_alerts(run),
        _not_finite(run),
        _adversary_overfits(run),
        _endless(run),
        _no_signal(run),
    ]
    return [hint for hint in found if hint]


def _alerts(run: Recorded) -> list[str]:
    """The run's own alerts; of one that is older than those, its last evaluation is asked."""
    alerts = [(str(row.get("title")), str(row.get("text"))) for row in run.alerts]
    evaluations = [row for row in run.metrics if "iteration" in row and "eval/entropy" in row]
    if not alerts and evaluations:
        trouble = find_trouble(_numbers(evaluations[-1]), _numbers(evaluations[0]))
        alerts = [(one.title, one.text) for one in trouble]
    return [f"{title[:1].upper()}{title[1:]}: {text}." for title, text in alerts]


def _numbers(row: Row) -> dict[str, float | int]:
    return {name: value for name, value in row.items() if isinstance(value, int | float)}


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


def _adversary_overfits(run: Recorded) -> str:
    known = [recent(run, f"discriminator/accuracy_{kind}") for kind in ("real", "generated")]
    training, unseen = sum(known) / 2, recent(run, "discriminator/accuracy_heldout")
    if not training - unseen > 0.15:
        return ""
    return (
        f"The discriminator overfits: {training:.0%} right on its training texts,"
        f" {unseen:.0%} on unseen ones."
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


def recent(run: Recorded, metric: str) -> float:
    """The mean of a metric's last `RECENT` finite values; NaN where there is none."""
    return _mean(_finite(run, metric)[-RECENT:])


def first_and_recent(run: Recorded, metric: str) -> tuple[float, float]:
    """A metric's first finite value in the game, and its recent mean; NaN where there is none."""
    values = _finite(run, metric)
    return _mean(values[:1]), _mean(values[-RECENT:])


def _finite(run: Recorded, metric: str) -> Sequence[float]:
    values = run.curve(metric, "iteration")[1]
    return [float(value) for value in values[np.isfinite(values)]]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan
