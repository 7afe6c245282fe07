"""The plan of a dashboard: which metrics stand in which panel, and the panels in which section.

The plan follows from the metric list and from names that a run logged. Only the standard library
is imported; `workspace.py` makes a wandb workspace and a report of the plan.

Two rules keep it honest. A number of quality stands beside one of diversity, because either alone
can be bought with the other. And a new metric is never lost: one that no panel names has a panel
of its own in its area's section, beside a number of diversity where it may be one of quality.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from seqgan.system.errors import ConfigurationError
from seqgan.tracking.metrics import METRICS, OWN, Metric, find_metric, with_placeholders

Bounds = tuple[int | None, int | None]


@dataclass(frozen=True)
class Curves:
    """Metrics over their common axis, in their common unit; a task's measure is in its own.

    Args:
        title: what the panel asks, or how to read it.
        metrics: entries of the metric list; in a plan for certain runs, the names of metrics.
            The panel is there where the first one is, the others as far as they are.
        bounds: of the vertical axis; None is for the data to say.
        logarithmic: whether the vertical axis is.
        over: the horizontal axis of a user's own metrics, which the metric list leaves open.
    """

    title: str
    metrics: tuple[str, ...]
    bounds: Bounds = (None, None)
    logarithmic: bool = False
    over: str = ""

    @property
    def axis(self) -> str:
        """The metric on the horizontal axis; empty for wandb's own count of steps."""
        return self.over or entry_of(self.metrics[0]).axis

    @property
    def unit(self) -> str:
        return entry_of(self.metrics[0]).unit

    @property
    def expression(self) -> str:
        """A regular expression for the metrics where one is a pattern of the list, else empty."""
        return _expression(*self.metrics) if any("<" in name for name in self.metrics) else ""


@dataclass(frozen=True)
class Plane:
    """Each run is a point: the latest value of one metric against that of another."""

    title: str
    x: str
    y: str


@dataclass(frozen=True)
class Bars:
    """Each run is a bar: its values of metrics of the end of a run."""

    title: str
    metrics: tuple[str, ...]


@dataclass(frozen=True)
class Media:
    """Pages and pictures of each run, by the names that the tracker gives them."""

    title: str
    names: tuple[str, ...]


Panel = Curves | Plane | Bars | Media


@dataclass(frozen=True)
class Section:
    """A titled group of panels.

    Args:
        name: its title.
        note: how to read it, in Markdown.
        panels: in the order in which they are shown.
    """

    name: str
    note: str
    panels: tuple[Panel, ...]


# Axes and counters, which others are plotted against; and what is one value at the end of a run,
# for the columns of a table of runs.
LEFT_OUT = (
    "global_step",
    "iteration",
    "pretrain/epoch",
    "pretrain/round",
    "result/verdict",
    "result/difference_low",
    "result/difference_high",
    "result/<row>/<path>",
    "result/<curve>/<temperature>/<metric>",
)

# What the patterns of the list stand for in the shipped tasks, where no run says it.
SHIPPED = ("eval/grammatical",)

# The section of what no panel names, by the part of its name before the first slash.
AREAS = {
    "charts": "Learning",
    "losses": "Learning",
    "kl": "Learning",
    "checkpoint": "Learning",
    "pretrain": "Learning",
    "discriminator": "Adversaries",
    "rewards": "Rewards",
    "action_value": "Rewards",
    "advantage": "Rewards",
    "completions": "Quality and diversity",
    "eval": "Quality and diversity",
    "time": "Speed",
}

# What stands beside a metric of `eval/` that no panel names, by its unit: a number of diversity.
BESIDE = {"fraction": "eval/distinct_2", "nats per token": "eval/entropy"}

SECTIONS = (
    Section(
        "Learning",
        "The return alone proves nothing: a discriminator that learns moves the goal, and a fixed"
        " reward can be exploited. Read `charts/episodic_return` with `losses/entropy`, where a"
        " fall towards 0 is mode collapse, and with `kl/reference`, where growth without end means"
        " that the weight is too small. After the turn of `pretrain/nll_dev` comes overfitting."
        " Whether the texts got better is a question for *Quality and diversity*.",
        (
            Curves("Return", ("charts/episodic_return",)),
            Curves("Entropy of the policy: towards 0 is collapse", ("losses/entropy",), (0, None)),
            Curves("Distance from the reference policy", ("kl/reference",)),
            Curves("Weight of that distance", ("kl/weight",)),
            Curves("Policy loss: only its gradient matters", ("losses/policy",)),
            Curves("Real text in the update: its NLL", ("losses/mle",)),
            Curves(
                "Gradient norms before clipping",
                ("losses/grad_norm_generator", "losses/grad_norm_discriminator"),
                logarithmic=True,
            ),
            Curves(
                "Learning rates",
                ("charts/learning_rate_generator", "charts/learning_rate_discriminator"),
            ),
            Curves(
                "Pretraining: NLL of train and dev",
                (
                    "pretrain/nll_dev",
                    "pretrain/nll_train",
                    "pretrain/best_nll_dev",
                    "losses/pretrain",
                ),
            ),
        ),
    ),
    Section(
        "Adversaries",
        "`discriminator/information_heldout` says what the adversary knows of unseen text that the"
        " generator does not: nothing, where it is not above 0 by two"
        " `discriminator/information_heldout_error`. Chance is an accuracy or an AUC of 0.5 and a"
        " loss of log 2 = 0.693; accuracies of 1 leave the generator no signal."
        " `discriminator/accuracy_heldout` far below the training accuracies is a discriminator"
        " that has memorised its texts.",
        (
            Curves(
                "Held-out information: above 0, or nothing to teach",
                (
                    "discriminator/information_heldout",
                    "discriminator/information_heldout_error",
                ),
            ),
            Curves(
                "Accuracy: 0.5 is chance",
                (
                    "discriminator/accuracy_heldout",
                    "discriminator/accuracy_real",
                    "discriminator/accuracy_generated",
                ),
                (0, 1),
            ),
            Curves("AUC: 0.5 is chance", ("discriminator/auc",), (0, 1)),
            Curves(
                "Both losses: a draw at 0.693 and -0.693",
                ("losses/discriminator", "losses/minimax_generator"),
            ),
            Curves(
                "Pretraining: held-out information",
                ("pretrain/discriminator_information_heldout",),
            ),
            Curves(
                "Pretraining: held-out accuracy",
                ("pretrain/discriminator_accuracy_heldout",),
                (0, 1),
            ),
            Curves("Pretraining: loss, 0.693 knows nothing", ("pretrain/discriminator_loss",)),
        ),
    ),
    Section(
        "Rewards",
        "One reward that rises while the others fall is being exploited. A standard deviation of 0"
        " teaches nothing: all texts earn the same. `advantage/std` at 0 means that no token is"
        " preferred to another.",
        (
            Curves("Mean of each reward", ("rewards/<name>/mean",)),
            Curves("Spread of each reward: 0 teaches nothing", ("rewards/<name>/std",), (0, None)),
            Curves(
                "Share of texts that a reward does not judge",
                ("rewards/<name>/not_applicable",),
                (0, 1),
            ),
            Curves(
                "Groups whose texts all earn the same",
                ("frac_reward_zero_std",),
                (0, 1),
            ),
            Curves("Advantage: near 0 in the mean", ("advantage/std", "advantage/mean")),
        ),
    ),
    Section(
        "Quality and diversity",
        "No number of quality stands alone, because a lower temperature buys any of them with"
        " diversity. The first point of each curve, at `global_step` 0, is the pretrained"
        " generator: the control. Where each run is a point, a run is better than its control if"
        " it has more quality at equal diversity; `seqgan frontier` draws the control at all"
        " temperatures. A rise of `eval/nll_heldout` is forgetting. BLEU compares only at equal"
        " `eval/bleu_references`, Self-BLEU at equal `eval/self_bleu_references`.",
        (
            Curves(
                "Quality, diversity: NLL (true model), entropy",
                ("eval/nll_oracle", "eval/entropy"),
            ),
            Curves(
                "Both in one: NLL of held-out text. Entropy",
                ("eval/nll_heldout", "eval/entropy"),
            ),
            Curves(
                "KL to the true model: missing texts, wrong texts",
                ("eval/kl_oracle_generator", "eval/kl_generator_oracle"),
            ),
            *(
                Curves(
                    f"Quality, diversity: BLEU-{order}, Self-BLEU-{order}",
                    (f"eval/bleu_{order}", f"eval/self_bleu_{order}"),
                    (0, 1),
                )
                for order in (2, 3, 4, 5)
            ),
            Curves(
                "Quality, diversity: the task's measures, distinct",
                ("eval/<measure>", "eval/distinct_2", "eval/duplicate_rate"),
            ),
            Curves(
                "Quality, diversity: LM score, reverse LM score",
                ("eval/lm_score", "eval/reverse_lm_score"),
            ),
            Curves(
                "Frechet distance: down to its floor, no further",
                ("eval/frechet_<embedding>", "eval/frechet_<embedding>_floor"),
                (0, None),
            ),
            Bars("Each run's end: below 0 beats MLE", ("result/difference",)),
            Plane("Each run a point: entropy, NLL (true model)", "eval/entropy", "eval/nll_oracle"),
            Plane("Each run a point: entropy, NLL (held-out)", "eval/entropy", "eval/nll_heldout"),
            Plane("Each run a point: Self-BLEU-4, BLEU-4", "eval/self_bleu_4", "eval/bleu_4"),
            Plane("Each run a point: distinct pairs, measure", "eval/distinct_2", "eval/<measure>"),
            Curves(
                "Distinct n-grams: a fall is repetition",
                ("eval/distinct_1", "eval/distinct_2", "eval/distinct_3"),
                (0, 1),
            ),
            Curves(
                "Duplicates and copies",
                ("eval/duplicate_rate", "eval/copied_rate", "eval/copied_spans"),
                (0, None),
            ),
            Curves(
                "Distinct texts in a batch: a fall is collapse",
                ("completions/unique_fraction",),
                (0, 1),
            ),
            Curves(
                "Mean length: 1 or the maximum is reward hacking",
                ("eval/mean_length", "charts/episodic_length"),
                (0, None),
            ),
            Curves(
                "Shortest and longest of a batch",
                ("completions/min_length", "completions/max_length"),
                (0, None),
            ),
            Curves("Texts that do not end", ("completions/clipped_ratio",), (0, 1)),
            Curves(
                "Compare only at equal numbers of references",
                (
                    "eval/bleu_references",
                    "eval/self_bleu_references",
                    "eval/lm_texts",
                ),
                (0, None),
            ),
            Curves("Compare only at equal temperature", ("eval/temperature",), (0, None)),
        ),
    ),
    Section(
        "Samples",
        "No number sees all that a reader sees. The table grows with every evaluation: order it by"
        " step, or filter it by phase. A finished run has its report, too.",
        (Media("Reports of finished runs", ("report", "report_picture")),),
    ),
    Section(
        "Speed",
        "The parts of an iteration add up to `time/seconds`, with what is between them. A slow"
        " decline of `charts/SPS` is a leak or a busy machine.",
        (
            Curves("Tokens per second", ("charts/SPS",), (0, None)),
            Curves("Tokens so far, prompts included", ("num_tokens",), (0, None)),
            Curves(
                "Seconds of an iteration and of its parts",
                (
                    "time/seconds",
                    "time/collect",
                    "time/rollout",
                    "time/update_generator",
                    "time/update_discriminator",
                ),
                (0, None),
            ),
            Curves("Seconds of an evaluation", ("time/evaluate",), (0, None)),
        ),
    ),
)

# The last section, where a run logged metrics of its user's own.
YOURS = Section(
    "Your metrics",
    "Numbers that your own code logs as `user/<path>`, each over the counter of the phase that"
    " logged it last.",
    (),
)


def plan(
    names: Collection[str] | None = None, axes: Mapping[str, str] | None = None
) -> tuple[Section, ...]:
    """The sections with the panels that the given metrics can fill.

    Args:
        names: metrics that a run logged. None stands for all that the list and the shipped tasks
            know; of a pattern such as `rewards/<name>/mean` the pattern itself is in the plan.
        axes: of the user's own metrics among them, by `metrics.axis_of`; wandb's own count of
            steps for those that are missing.

    Raises:
        ConfigurationError: a name is not in the list, or its area has no section.
    """
    if names is None:
        names = [metric.name for metric in METRICS if not _fits_others(metric)] + [*SHIPPED]
    by_entry: dict[str, list[str]] = {metric.name: [] for metric in METRICS}
    for name in sorted(names):
        by_entry[entry_of(name).name].append(name)
    named = [
        replace(section, panels=tuple(_filled(section.panels, by_entry))) for section in SECTIONS
    ]
    drawn = {name for section in named for panel in section.panels for name in metrics_of(panel)}
    others: dict[str, list[Panel]] = {section.name: [] for section in named}
    for entry, fitting in by_entry.items():
        for name in fitting:
            if name not in drawn and entry not in LEFT_OUT and entry != OWN:
                metric = entry_of(name)
                beside = BESIDE.get(metric.unit, "") if metric.area == "eval" else ""
                shown = dict.fromkeys((name, *by_entry.get(beside, ())))  # once, in this order
                others[_section_of(metric)].append(Curves(name, tuple(shown)))
    own = by_entry[OWN]
    yours = tuple(Curves(name, (name,), over=(axes or {}).get(name, "")) for name in own)
    return (
        *(replace(section, panels=(*section.panels, *others[section.name])) for section in named),
        *([replace(YOURS, panels=yours)] if yours else []),
    )


def entry_of(name: str) -> Metric:
    """The entry that is called `name`, be it a pattern, or else that of a metric of this name.

    Raises:
        ConfigurationError: there is none.
    """
    for metric in METRICS:
        if metric.name == name:
            return metric
    return find_metric(name)


def metrics_of(panel: Panel) -> tuple[str, ...]:
    """The metrics that a panel draws, its axis not among them; those of a plane are its axes."""
    if isinstance(panel, Media):
        return ()
    return (panel.x, panel.y) if isinstance(panel, Plane) else panel.metrics


def _filled(panels: Sequence[Panel], by_entry: dict[str, list[str]]) -> list[Panel]:
    """The panels with names in the place of entries, without those that have no data."""
    filled: list[Panel] = []
    for panel in panels:
        if isinstance(panel, Plane):
            filled += [
                replace(panel, x=x, y=y) for x in by_entry[panel.x] for y in by_entry[panel.y]
            ]
        elif isinstance(panel, Media):
            filled.append(panel)
        elif by_entry[panel.metrics[0]]:
            names = tuple(name for entry in panel.metrics for name in by_entry[entry])
            filled.append(replace(panel, metrics=names))
    return filled


def _expression(*names: str) -> str:
    """A regular expression for all that the names stand for, patterns among them."""
    return f"^({'|'.join(map(with_placeholders, names))})$"


def _fits_others(metric: Metric) -> bool:
    """True if a pattern's expression fits other entries too; it can then not be drawn."""
    return metric.is_pattern and any(
        re.fullmatch(_expression(metric.name), other.name)
        for other in METRICS
        if other is not metric
    )


def _section_of(metric: Metric) -> str:
    try:
        return AREAS[metric.area]
    except KeyError:
        raise ConfigurationError(
            f"a metric's area is one of {', '.join(AREAS)} in tracking/panels.py,"
            f" got {metric.name!r}"
        ) from None
