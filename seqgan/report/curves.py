"""The charts of metrics over a run: what is in them. `drawn_curves` draws them.

`report.png` and `report.html` draw the same charts, each on axes of its own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from seqgan.evaluation.axes import NLL_ORACLE, Axis, measure_axis
from seqgan.report.recorded import Recorded
from seqgan.system.terminal import arrow
from seqgan.tasks.base import SHARE
from seqgan.tracking.metrics import axis_of, find_metric

LOG_2 = math.log(2)


@dataclass(frozen=True)
class Curve:
    """A metric as a line, with its name in the legend where the chart is made for several.

    Args:
        error: the metric that is this one's standard error, if there is one; two of them are
            drawn as a band.
    """

    metric: str
    label: str = ""
    error: str = ""


@dataclass(frozen=True)
class Chart:
    """One or several metrics over one axis.

    Args:
        label: what the y-axis says, with its unit.
        healthy: the range that a good run stays in, shaded; an end may be infinite.
        mark: a value with a meaning of its own, drawn as a line, and that meaning.
        end: the better end of its values, max or min; empty for what the metric list says.
    """

    title: str
    label: str
    curves: tuple[Curve, ...]
    axis: str = "iteration"
    healthy: tuple[float, float] | None = None
    mark: tuple[float, str] | None = None
    end: str = ""

    @property
    def better(self) -> str:
        """The better end of all its curves, max or min; empty where there is none for all."""
        ends = {find_metric(curve.metric).best for curve in self.curves}
        return self.end or (ends.pop() if len(ends) == 1 else "")

    @property
    def heading(self) -> str:
        """Its title, and an arrow to what is better."""
        return f"{self.title} {arrow(self.better, None)}".rstrip()


PRETRAINING = Chart(
    "Pretraining of the generator",
    "NLL (nats per token)",
    (Curve("pretrain/nll_dev", "dev"), Curve("pretrain/nll_train", "train")),
    "pretrain/epoch",
)
DISCRIMINATOR_PRETRAINING = Chart(
    "Pretraining of the discriminator",
    "held-out accuracy (fraction)",
    (Curve("pretrain/discriminator_accuracy_heldout"),),
    "pretrain/round",
    healthy=(0.5, 0.95),
)
DIVERSITY = Chart(
    "Diversity: held-out NLL",
    "NLL (nats per token)",
    (Curve("eval/nll_heldout"),),
)
ACCURACY = Chart(
    "Accuracy of the discriminator",
    "accuracy (fraction)",
    (
        Curve("discriminator/accuracy_heldout", "held-out"),
        Curve("discriminator/accuracy_real", "real, training"),
        Curve("discriminator/accuracy_generated", "generated, training"),
    ),
    healthy=(0.5, 0.95),
)
INFORMATION = Chart(
    "What it knows of unseen text",
    "held-out information (nats)",
    (Curve("discriminator/information_heldout", error="discriminator/information_heldout_error"),),
    healthy=(0.0, math.inf),
    mark=(0.0, "knows nothing"),
)
_GAME = (
    DIVERSITY,
    Chart(
        "Distance to the true model",
        "KL (nats per token)",
        (
            Curve("eval/kl_generator_oracle", "generator to truth (quality)"),
            Curve("eval/kl_oracle_generator", "truth to generator (diversity)"),
        ),
    ),
    Chart(
        "Repetition and copies",
        "share of generated texts",
        (
            Curve("eval/duplicate_rate", "repeat another one"),
            Curve("eval/copied_rate", "copied from training data"),
        ),
    ),
    Chart(
        "N-gram diversity",
        "fraction",
        (
            Curve("eval/distinct_2", "distinct pairs"),
            Curve("eval/self_bleu_2", "Self-BLEU-2"),
            Curve("eval/self_bleu_4", "Self-BLEU-4"),
        ),
    ),
    Chart(
        "Entropy of the generator",
        "entropy (nats per token)",
        (Curve("eval/entropy", "evaluations"), Curve("losses/entropy", "collected texts")),
    ),
    Chart(
        "Distance from the MLE start",
        "KL (nats per sequence)",
        (Curve("kl/reference"),),
    ),
    Chart("Length of texts", "tokens", (Curve("charts/episodic_length"),)),
)
_ADVERSARY = (
    ACCURACY,
    INFORMATION,
    Chart(
        "Loss of the discriminator",
        "cross-entropy (nats)",
        (Curve("losses/discriminator"),),
        healthy=(-math.inf, LOG_2),
        mark=(LOG_2, "log 2: knows nothing"),
    ),
    Chart(
        "The generator's side of the game",
        "mean log(1 - D) (nats)",
        (Curve("losses/minimax_generator"),),
        mark=(-LOG_2, "a draw"),
    ),
)


def quality_chart(runs: Sequence[Recorded]) -> Chart | None:
    """The chart of quality over the game; None if nothing was evaluated."""
    axis = next((recorded_axis(run) for run in runs if run.quality), None)
    if axis is None:
        return None
    end = "max" if axis.higher_is_better else "min"
    return Chart(f"Quality: {axis.name}", axis.label, (Curve(f"eval/{axis.name}"),), end=end)


def pretraining_charts(runs: Sequence[Recorded]) -> list[Chart]:
    """The charts of the phases before the game."""
    return present((PRETRAINING, DISCRIMINATOR_PRETRAINING), runs)


def game_charts(runs: Sequence[Recorded]) -> list[Chart]:
    """Quality and diversity side by side, then what else there is over the game."""
    quality = quality_chart(runs)
    rewards = dict.fromkeys(
        name
        for run in runs
        for row in run.metrics
        for name in row
        if name.startswith("rewards/") and name.endswith("/mean") and name.count("/") == 2
    )
    reward_charts = [
        Chart(f"Reward: {name.split('/')[1]}", "mean score (reward)", (Curve(name),))
        for name in rewards
    ]
    return present([*([quality] if quality else []), *_GAME, *reward_charts], runs)


def own_charts(runs: Sequence[Recorded]) -> list[Chart]:
    """A chart for each metric of the user's own and each phase that logged it."""
    places = sorted(
        {
            (name, "iteration" if "iteration" in row else axis_of(name, row))
            for run in runs
            for row in run.metrics
            for name in row
            if name.startswith("user/")
        }
    )
    return present(
        [Chart(name.removeprefix("user/"), "", (Curve(name),), axis) for name, axis in places],
        runs,
    )


def adversary_charts(runs: Sequence[Recorded]) -> list[Chart]:
    """Both sides of the discriminator; none where no run has one."""
    return present(_ADVERSARY, runs)


def present(charts: Sequence[Chart], runs: Sequence[Recorded]) -> list[Chart]:
    """The charts that have something to show, each with those of its curves that do."""
    kept = []
    for chart in charts:
        curves = tuple(
            curve
            for curve in chart.curves
            if any(np.isfinite(run.curve(curve.metric, chart.axis)[1]).any() for run in runs)
        )
        if curves:
            kept.append(replace(chart, curves=curves))
    return kept


def recorded_axis(run: Recorded) -> Axis:
    """The quality of a run as an axis, which has one.

    Runs without an end, or older than the recorded unit, have a check if they have a measure.
    """
    name = run.quality or ""
    if name == NLL_ORACLE.name:
        return NLL_ORACLE
    if name == "bleu_4":
        return Axis(name, "BLEU-4", "fraction", True)
    comparison = {} if run.results is None else run.results["comparison"]
    unit, higher = comparison.get("unit", SHARE), comparison.get("higher_is_better", True)
    return measure_axis(name, str(unit), bool(higher))
