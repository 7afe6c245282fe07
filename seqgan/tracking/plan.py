"""The plan of a dashboard for certain runs: the sections, with the panels that their metrics fill.

The plan follows from the metric list and from names that a run logged. Only the standard library
is imported; `workspace.py` makes a wandb workspace and a report of the plan.

A new metric is never lost: one that no panel names has a panel of its own in its area's section,
beside a number of diversity where it may be one of quality.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from seqgan.system.errors import ConfigurationError
from seqgan.tracking.metrics import METRICS, OWN, Metric
from seqgan.tracking.panels import (
    Chart,
    Curves,
    Media,
    Panel,
    Plane,
    Section,
    entry_of,
    expression_of,
    metrics_of,
)
from seqgan.tracking.sections import AREAS, BESIDE, LEFT_OUT, QUALITY, SECTIONS, SHIPPED


def plan(
    names: Collection[str] | None = None, axes: Mapping[str, str] | None = None
) -> tuple[Section, ...]:
    """The sections with the panels that the given metrics can fill; others are left out.

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
            if name not in drawn and entry not in LEFT_OUT:
                metric = entry_of(name)
                beside = BESIDE.get(metric.unit, "") if metric.area == "eval" else ""
                shown = dict.fromkeys((name, *by_entry.get(beside, ())))  # once, in this order
                over = (axes or {}).get(name, "") if entry == OWN else ""
                others[_section_of(metric)].append(Curves(name, tuple(shown), over=over))
    whole = (replace(section, panels=(*section.panels, *others[section.name])) for section in named)
    # The results of a finished run stand in the first one.
    return tuple(section for section in whole if section.panels or section.name == QUALITY)


def _filled(panels: Sequence[Panel], by_entry: dict[str, list[str]]) -> list[Panel]:
    """The panels with names in the place of entries, without those that have no data."""
    filled: list[Panel] = []
    for panel in panels:
        if isinstance(panel, Plane):
            filled += [
                replace(panel, x=x, y=y) for x in by_entry[panel.x] for y in by_entry[panel.y]
            ]
        elif isinstance(panel, Media | Chart):
            if not panel.of or any(by_entry[entry] for entry in panel.of):
                filled.append(panel)
        elif by_entry[panel.metrics[0]]:
            names = tuple(name for entry in panel.metrics for name in by_entry[entry])
            filled.append(replace(panel, metrics=names))
    return filled


def _fits_others(metric: Metric) -> bool:
    """True if a pattern's expression fits other entries too; it can then not be drawn."""
    return metric.is_pattern and any(
        re.fullmatch(expression_of(metric.name), other.name)
        for other in METRICS
        if other is not metric
    )


def _section_of(metric: Metric) -> str:
    try:
        return AREAS[metric.area]
    except KeyError:
        raise ConfigurationError(
            f"the area of metric {metric.name!r} is unknown; it must be one of"
            f" {', '.join(AREAS)} in tracking/sections.py"
        ) from None
