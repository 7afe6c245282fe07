"""Every metric that is ever logged, read from the documented list in `metrics.toml`.

The list decides the x-axis of each chart, makes `docs/metrics.md`, and lets a run reject a name
that nobody explained. It brings nothing but the standard library, so that everybody may look a
name up.
"""

import difflib
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from seqgan.system.errors import ConfigurationError
from seqgan.tracking import symptoms

LIST = Path(__file__).with_name("metrics.toml")

# What a part in angle brackets stands for, where it is not any text without a slash. <positions>:
# of tokens, counted from 1, as in 03-04. No embedding has a `_` in its name, as `_floor` has.
# <path>: any number of parts, none of them empty.
PLACEHOLDERS = {
    "positions": r"\d+-\d+",
    "embedding": "[^/_]+",
    "path": "[^/]+(?:/[^/]+)*",
    "row": "(?:start|control|resampled|final|best)",
    "curve": "(?:mle|game)",
}
OWN = "user/<path>"  # the entry of all metrics of a user's own


@dataclass(frozen=True, kw_only=True)
class Metric:
    """One entry of the list.

    Args:
        name: `area/what`; a part in angle brackets stands for any text without a slash, or for
            what `PLACEHOLDERS` says.
        meaning: what is measured, and over what.
        unit: unit of the value; empty for a pure number.
        axis: the metric that this one is plotted against; empty for that of the phase that logs it,
            and for a value of the end of a run, which has none.
        applies: in which runs it is logged.
        may_be_constant: False where a value that stays equal over ten logs is a bug.
        best: the better end of its values, min or max; empty for one without a better end.
        healthy: what a good run shows, in numbers where there are any.
        wrong: what it looks like when it goes wrong, and which illness that is.
    """

    name: str
    meaning: str
    unit: str = ""
    axis: str = "global_step"
    applies: str
    may_be_constant: bool = False
    best: Literal["", "min", "max"] = ""
    healthy: str
    wrong: str

    @property
    def area(self) -> str:
        """The part of the name before the first slash; empty for a name without one."""
        return self.name.partition("/")[0] if "/" in self.name else ""

    @property
    def is_pattern(self) -> bool:
        return "<" in self.name

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        return re.compile(with_placeholders(re.escape(self.name)))

    def matches(self, name: str) -> bool:
        """True if `name` is this entry's name, or fits its pattern."""
        return self._expression.fullmatch(name) is not None


def with_placeholders(name: str) -> str:
    """A metric's name with regular expressions in the place of its parts in angle brackets."""
    return re.sub(r"<(\w+)>", lambda part: PLACEHOLDERS.get(part[1], "[^/]+"), name)


def read_list(text: str) -> tuple[Metric, ...]:
    """The entries of a metric list in TOML, in their order.

    An entry with `variants` stands for several, each with its words in the place of the parts in
    braces. Line breaks within a text are spaces.

    Raises:
        TypeError: an entry lacks a field, or has one that `Metric` does not know.
    """
    return tuple(
        Metric(**{field: _filled(value, words) for field, value in {"name": name, **entry}.items()})
        for name, entry in tomllib.loads(text).items()
        for words in entry.pop("variants", [{}])
    )


def _filled(value: Any, words: Mapping[str, str]) -> Any:
    """A field's text on one line, with words in the place of its parts in braces."""
    return " ".join(value.split()).format(**words) if isinstance(value, str) else value


METRICS = read_list(LIST.read_text(encoding="utf-8"))

# The metrics that others are plotted against.
AXES = tuple(metric.name for metric in METRICS if metric.axis == metric.name)


def find_metric(name: str) -> Metric:
    """The entry of a metric's name; an exact name goes before a pattern.

    Raises:
        ConfigurationError: no entry has this name; the message names the nearest one.
    """
    for metric in sorted(METRICS, key=lambda metric: metric.is_pattern):
        if metric.matches(name):
            return metric
    if name.split("/")[0] == "user":
        raise ConfigurationError(
            f"metric {name!r} is named wrongly: one of your own is user/<name>, no part of"
            " which is empty"
        )
    names = [metric.name for metric in METRICS if metric.name != OWN]
    nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.0)[0]
    raise ConfigurationError(
        f"unknown metric {name!r} (docs/metrics.md lists all; one of your own is named"
        f" user/<name>); did you mean {nearest!r}?"
    )


def axis_of(name: str, row: Collection[str]) -> str:
    """The metric that `name` is plotted against, where it was logged with the names in `row`.

    Returns:
        For a metric of the user's own the counter of the phase, as far as the row has one; else
        the empty text.

    Raises:
        ConfigurationError: no entry has this name.
    """
    listed = find_metric(name).axis
    return listed or next((axis for axis in reversed(AXES) if axis in row), "")


def moving_metrics(names: Iterable[str]) -> set[str]:
    """Those of the given names that must not stay equal over ten logs.

    Raises:
        ConfigurationError: a name is not listed.
    """
    return {name for name in names if not find_metric(name).may_be_constant}


def to_markdown() -> str:
    """The list as a document, a table for each area and illness: `docs/metrics.md`."""
    lines = [
        "# Metrics",
        "",
        "Everything that a run logs, in `metrics.jsonl`, in Weights & Biases, TensorBoard and"
        " `metrics.csv` (`--trackers wandb tensorboard csv`), under the same names; those under"
        " `result/` in wandb's summary, under HPARAMS in TensorBoard, and in `results.json`.",
        "This page is generated from the list in `seqgan/tracking/metrics.toml`; a name that is"
        " not in it is rejected, unless it is `user/` and any further parts.",
        "",
        "- **axis** is what the metric is plotted against: `global_step` (generated tokens) in the"
        " adversarial phase, `pretrain/epoch` and `pretrain/round` in the two pretraining phases."
        " A metric of your own has that of the phase which logs it; where a phase has none, its"
        " values are numbered.",
        "- Likelihoods, entropies and divergences under `eval/` are in nats per token: total nats"
        " over total tokens, eos included.",
        "- A metric marked **moves** must not stay equal over ten logs; one that does is a bug, or"
        " a run that has stopped learning.",
        "- A metric with a **best** end, min or max, has it in wandb's summary beside the latest"
        " value: `eval/nll_heldout.min`, `eval/nll_heldout.last`. In a sweep of wandb's there is"
        " the latest value alone, under the plain name.",
        "- **healthy** and **going wrong** are rules of thumb, from captions and from the paper's"
        ' oracle; "near the data\'s" is near what as much held-out real text gets.',
        "- A part in angle brackets stands for a name: `rewards/<name>/mean` is"
        " `rewards/discriminator/mean` in a default run.",
        "- `<positions>` stands for token positions, counted from 1: `advantage/03-04`. These are"
        " histograms, kept in `histograms.jsonl`; in wandb `by_position/advantage` is a picture of"
        " all positions for each evaluation.",
        "- `<path>` stands for one or several parts: `user/margin`, `user/margin/chosen`.",
    ]
    for area in dict.fromkeys(metric.area for metric in METRICS):
        lines += [
            "",
            f"## `{area}/`" if area else "## Counters",
            "",
            "| name | meaning | unit | axis | applies | moves | best | healthy | going wrong |",
            "|---|---|---|---|---|---|---|---|---|",
            *(_row(metric) for metric in METRICS if metric.area == area),
        ]
    return "\n".join([*lines, "", *symptoms.to_markdown()]) + "\n"


def _row(metric: Metric) -> str:
    cells = (
        f"`{metric.name}`",
        metric.meaning,
        metric.unit,
        "the phase's" if metric.name == OWN else f"`{metric.axis}`" if metric.axis else "none",
        metric.applies,
        "" if metric.may_be_constant else "moves",
        metric.best,
        metric.healthy,
        metric.wrong,
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
