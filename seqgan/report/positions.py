"""The values of tokens by their position in the text: early in the game against late."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes

from seqgan.report.charts import BLUE, ORANGE
from seqgan.report.recorded import Recorded, Row

LEVELS = (0.1, 0.5, 0.9)  # quantiles: the ends of the band, and the line in it
SHARE = 0.25  # of the logged iterations that count as early, and as late


@dataclass(frozen=True)
class Period:
    """Quantiles of a value in one part of the game, group of positions by group of positions."""

    first: int  # iteration
    last: int  # iteration
    positions: tuple[str, ...]
    quantiles: Float[np.ndarray, "position level"]

    @property
    def iterations(self) -> str:
        if self.first == self.last:
            return f"iteration {self.first}"
        return f"iterations {self.first} to {self.last}"


def early_and_late(run: Recorded, value: str) -> tuple[Period, Period] | None:
    """The first and the last quarter of the logged iterations.

    Args:
        value: `action_value` or `advantage`, the first part of the names in `histograms.jsonl`.

    Returns:
        None where fewer than two iterations were logged.
    """
    rows = [row for row in run.histograms if str(row.get("name", "")).startswith(f"{value}/")]
    rows = [row for row in rows if sum(row["counts"]) > 0]
    iterations = sorted({row["iteration"] for row in rows})
    if len(iterations) < 2:
        return None
    count = max(1, int(SHARE * len(iterations)))
    return _period(rows, iterations[:count]), _period(rows, iterations[-count:])


def _period(rows: Sequence[Row], iterations: Sequence[int]) -> Period:
    chosen = [row for row in rows if iterations[0] <= row["iteration"] <= iterations[-1]]
    by_position: dict[str, list[Row]] = {}
    for row in chosen:
        by_position.setdefault(row["name"].split("/", 1)[1], []).append(row)
    names = sorted(by_position)  # with leading zeros, so this is their order
    return Period(
        iterations[0],
        iterations[-1],
        tuple(map(_positions, names)),
        np.array([merged_quantiles(by_position[name], LEVELS) for name in names]),
    )


def _positions(name: str) -> str:
    """`01-02` as `1-2`, and `21-21` as `21`."""
    return "-".join(dict.fromkeys(str(int(end)) for end in name.split("-")))


def merged_quantiles(
    histograms: Sequence[Row], levels: Sequence[float]
) -> Float[np.ndarray, " level"]:
    """Quantiles of several histograms together, each count spread evenly over its bin."""
    grid = np.unique(np.concatenate([row["edges"] for row in histograms]).astype(float))
    below = np.zeros(len(grid))
    for row in histograms:
        cumulative = np.concatenate([[0.0], np.cumsum(row["counts"])])
        below += np.interp(grid, np.asarray(row["edges"], dtype=float), cumulative)
    share = below / below[-1]
    right = np.clip(np.searchsorted(share, levels), 1, len(share) - 1)
    left = right - 1  # share[left] < level <= share[right]
    part = (np.asarray(levels) - share[left]) / (share[right] - share[left])
    return grid[left] + part * (grid[right] - grid[left])


def draw_positions(axes: Axes, periods: tuple[Period, Period], label: str) -> None:
    """The median of a value and the band between its outer tenths, for both periods."""
    for period, colour, marker, name in zip(
        periods, (BLUE, ORANGE), "os", ("early", "late"), strict=True
    ):
        x = np.arange(len(period.positions))
        low, middle, high = period.quantiles.T
        axes.plot(
            x,
            middle,
            color=colour,
            marker=marker,
            markersize=3.5,
            linewidth=1.4,
            label=f"{name}: {period.iterations}",
        )
        axes.fill_between(x, low, high, color=colour, alpha=0.2, linewidth=0)
    longest = max((period.positions for period in periods), key=len)
    axes.set_xticks(np.arange(len(longest)), longest, rotation=45 if len(longest) > 5 else 0)
    axes.set(xlabel="position of the token in its text", ylabel=label)
    axes.legend(frameon=False)


def positions_in_words(periods: tuple[Period, Period]) -> str:
    """The medians for those who do not see the chart."""
    medians_in_words = []
    for period in periods:
        medians = zip(period.positions, period.quantiles[:, 1], strict=True)
        listed = ", ".join(f"{median:.3g} at {name}" for name, median in medians)
        medians_in_words.append(f"median in {period.iterations}: {listed}")
    return "; ".join(medians_in_words)
