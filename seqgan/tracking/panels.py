"""The kinds of panels that a dashboard has."""

from dataclasses import dataclass

from seqgan.tracking.metrics import METRICS, Metric, find_metric, with_placeholders

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
        return expression_of(*self.metrics) if any("<" in name for name in self.metrics) else ""


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
    """Pages and pictures of each run, by the names that the tracker gives them.

    Args:
        of: entries of the metric list; the panel is there where a run logged one of them. Empty for
            what any run may have.
        slider: whether a slider goes through the steps, in place of a page for each.
    """

    title: str
    names: tuple[str, ...]
    of: tuple[str, ...] = ()
    slider: bool = False


@dataclass(frozen=True)
class Chart:
    """A line for each `generator` of a table, which the tracker logs at the end of a run."""

    title: str
    table: str
    x: str
    y: str
    of: tuple[str, ...]


Panel = Curves | Plane | Bars | Media | Chart


@dataclass(frozen=True)
class Section:
    """A titled group of panels.

    Args:
        name: its title.
        note: how to read it, in Markdown.
        panels: in the order in which they are shown.
        folded: whether it is closed until somebody asks for it.
    """

    name: str
    note: str
    panels: tuple[Panel, ...]
    folded: bool = False


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
    if isinstance(panel, Media | Chart):
        return ()
    return (panel.x, panel.y) if isinstance(panel, Plane) else panel.metrics


def expression_of(*names: str) -> str:
    """A regular expression for all that the names stand for, patterns among them."""
    return f"^({'|'.join(map(with_placeholders, names))})$"
