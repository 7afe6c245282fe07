"""Histograms of the tokens at each group of positions, as one picture of all groups."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from seqgan.data.metrics import Metrics
from seqgan.tracking.base import Histogram

NAME = re.compile(r"(.+)/(\d+)-(\d+)")  # <area>/<positions>, counted from 1
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)  # quantiles: whisker, box, line, box, whisker
SIZE, DPI = (8.0, 4.0), 100  # inches, and dots of each


def position_of(name: str) -> tuple[str, str]:
    """The area and the positions of `advantage/01-03`: `advantage` and `1-3`; else two empty texts.

    A group of a single position has one number: `22-22` is `22`.
    """
    found = NAME.fullmatch(name)
    if found is None:
        return "", ""
    first, last = int(found[2]), int(found[3])
    return found[1], f"{first}" if first == last else f"{first}-{last}"


def pictures_by_position(
    histograms: Mapping[str, Histogram], axes: Metrics
) -> dict[str, UInt8[np.ndarray, "height width colour"]]:
    """A picture for each area: a box for each group of positions, from left to right.

    A box has the middle half of the values, its line the median, and its whiskers nine tenths.
    Histograms without a position are left out.

    Args:
        axes: where they belong, as `Tracker.histograms` takes them.
    """
    title = f"iteration {axes['iteration']:g}" if "iteration" in axes else ""
    areas: dict[str, dict[str, Histogram]] = {}
    for name in sorted(histograms):  # with leading zeros, so this is their order
        area, positions = position_of(name)
        if positions and sum(histograms[name].counts):
            areas.setdefault(area, {})[positions] = histograms[name]
    return {area: _picture(area, title, groups) for area, groups in areas.items()}


def quantiles(histogram: Histogram, levels: tuple[float, ...]) -> Float[np.ndarray, " level"]:
    """Quantiles of the values behind a histogram, each count spread evenly over its bin."""
    below = np.concatenate([[0.0], np.cumsum(histogram.counts)])
    found: Float[np.ndarray, " level"] = np.interp(levels, below / below[-1], histogram.edges)
    return found


def _picture(area: str, title: str, groups: Mapping[str, Histogram]) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, dpi=DPI, layout="constrained")
    axes = figure.subplots()
    names = ("whislo", "q1", "med", "q3", "whishi")
    boxes = [dict(zip(names, quantiles(one, LEVELS), strict=True)) for one in groups.values()]
    axes.bxp(boxes, showfliers=False, widths=0.6)
    axes.set_xticks(range(1, len(groups) + 1), list(groups))
    axes.set(title=title, xlabel="position of the token in its text", ylabel=area.replace("_", " "))
    axes.grid(axis="y", alpha=0.3)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
