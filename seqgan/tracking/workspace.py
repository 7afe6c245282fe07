"""The dashboard in Weights & Biases, as code: a workspace and a report of `plan.plan`.

The only file that imports wandb-workspaces, of the extra `dashboards`, and only when something is
built. Building calls no server. The package has no public way to write a workspace down, so the
specification comes from the models that its `save` sends.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from seqgan.tracking.metrics import find_metric
from seqgan.tracking.panels import Bars, Chart, Media, Panel, Plane, Section, entry_of
from seqgan.tracking.sections import QUALITY, SAMPLES, SPEED

TITLE = "seqgan"
TABLE = "samples"  # that the tracker logs
# Columns of the table of runs that stay in sight.
COLUMNS_OF_RUNS = ("summary:result/verdict", "summary:result/difference")
COLUMNS = 3  # panels in a row; a report is 24 units wide
REPORT_WIDTH = 24


@dataclass(frozen=True)
class Dashboard:
    """A workspace and a report of one project, not yet saved.

    Args:
        workspace: a `wandb_workspaces.workspaces.Workspace`.
        report: a `wandb_workspaces.reports.v2.Report`.
    """

    workspace: Any
    report: Any

    def specification(self) -> str:
        """Both as JSON: what saving would send, but for the ids that a server gives."""
        models = {"workspace": self.workspace, "report": self.report}
        plain = {
            name: model._to_model().model_dump(mode="json", by_alias=True, exclude_none=True)
            for name, model in models.items()
        }
        return json.dumps(plain, indent=2, ensure_ascii=False) + "\n"

    def save(self) -> tuple[str, str]:
        """Saves both, and gives their addresses. A project that is missing is made.

        Raises:
            ConnectionError: the server was not reached, or refused; the message is one line.
        """
        try:
            self.report.save()  # first, because it is what makes a missing project
            self.workspace.save()
            return self.workspace.url, self.report.url
        except Exception as error:  # of wandb's many kinds, some of which are plain Exceptions
            raise ConnectionError(_one_line(error)) from error


def default_entity() -> str:
    """The user or team that the login belongs to; the server is asked.

    Raises:
        ConnectionError: the server was not reached, or refused; the message is one line.
    """
    from wandb_workspaces.reports.v2 import Report

    try:
        return str(Report(project="").entity)
    except Exception as error:
        raise ConnectionError(_one_line(error)) from error


def build_workspace(
    project: str,
    entity: str,
    sections: Iterable[Section],
    results: str = "",
    control: str = "",
) -> Any:
    """A workspace with a note and the panels of each section.

    Args:
        project: whose runs it shows.
        entity: the user or team that owns the project; empty while nobody has logged in.
        sections: what `plan` gives.
        results: in Markdown, the end of a finished run, shown beside quality and diversity.
        control: id of a run that every panel shows as the baseline, say one with a constant
            reward; empty for none.

    Returns:
        A `wandb_workspaces.workspaces.Workspace`, not yet saved.
    """
    import wandb_workspaces.reports.v2 as wr
    import wandb_workspaces.workspaces as ws

    made = []
    for section in sections:
        panels = [wr.MarkdownPanel(markdown=section.note)]
        if results and section.name == QUALITY:
            panels.append(wr.MarkdownPanel(markdown=results))
        panels += [_panel(panel) for panel in section.panels]
        columns = COLUMNS
        if section.name == SAMPLES:
            panels.append(wr.WeavePanelSummaryTable(table_name=TABLE))
            columns = len(panels)
        if section.name == SPEED:
            panels.append(wr.RunComparer(diff_only=True))  # of the runs' settings
        made.append(
            ws.Section(
                name=section.name,
                panels=panels,
                is_open=not section.folded,
                layout_settings=ws.SectionLayoutSettings(
                    columns=columns, rows=-(-len(panels) // columns)
                ),
            )
        )
    return ws.Workspace(
        entity=entity,
        project=project,
        name=TITLE,
        sections=made,
        runset_settings=ws.RunsetSettings(
            baseline_run=control or None, pinned_columns=list(COLUMNS_OF_RUNS)
        ),
    )


def build_report(project: str, entity: str, sections: Iterable[Section], results: str = "") -> Any:
    """The same sections as a page to read and to share; arguments as in `build_workspace`.

    The runs are those of the project that the report is saved in.

    Returns:
        A `wandb_workspaces.reports.v2.Report`, not yet saved.
    """
    import wandb_workspaces.reports.v2 as wr

    blocks: list[Any] = [wr.TableOfContents()]
    for section in sections:
        inside: list[Any] = [wr.MarkdownBlock(section.note)]
        if results and section.name == QUALITY:
            inside.append(wr.MarkdownBlock(results))
        panels = _laid_out([_panel(panel) for panel in section.panels])
        if section.name == SAMPLES:
            whole = wr.Layout(w=REPORT_WIDTH, h=14)
            panels.append(wr.WeavePanelSummaryTable(table_name=TABLE, layout=whole))
        inside.append(wr.PanelGrid(panels=panels))
        if section.folded:
            blocks.append(wr.H1(section.name, collapsed_blocks=inside))
        else:
            blocks += [wr.H1(section.name), *inside]
    return wr.Report(
        project=project,
        entity=entity,
        title=TITLE,
        description="Quality and diversity together, against controls.",
        blocks=blocks,
        width="fluid",
    )


def _panel(panel: Panel) -> Any:
    """The panel as wandb-workspaces knows it."""
    import wandb_workspaces.reports.v2 as wr

    if isinstance(panel, Media):
        by_step: dict[str, Any] = {"mode": "gallery", "gallery_axis": "step"}
        chosen = by_step if panel.slider else {}
        return wr.MediaBrowser(
            title=panel.title, num_columns=1, media_keys=list(panel.names), **chosen
        )
    if isinstance(panel, Chart):
        return wr.CustomChart(
            query={"summaryTable": {"tableKey": f"{panel.table}_table"}},
            chart_name="wandb/line/v0",
            chart_fields={"x": panel.x, "y": panel.y, "stroke": "generator"},
            chart_strings={"title": panel.title},
        )
    if isinstance(panel, Bars):
        return wr.BarPlot(title=panel.title, metrics=[*map(_latest, panel.metrics)])
    if isinstance(panel, Plane):
        x, y = (wr.SummaryMetric(_latest(name)) for name in (panel.x, panel.y))
        return wr.ScatterPlot(title=panel.title, x=x, y=y)
    chosen = {"y": list(panel.metrics)}
    if panel.expression:
        chosen = {"metric_regex": panel.expression}
    if panel.axis:  # else wandb's own count of steps
        unit = find_metric(panel.axis).unit
        chosen |= {"x": panel.axis, "title_x": f"{panel.axis} ({unit})"}
    return wr.LinePlot(
        title=panel.title,
        title_y=panel.unit or None,
        range_y=panel.bounds,
        log_y=panel.logarithmic or None,
        **chosen,
    )


def _latest(name: str) -> str:
    """The latest value of a metric in a run's summary, where it may stand beside the best one."""
    written_as_it_is = name.startswith("result/")
    return name if written_as_it_is or not entry_of(name).best else f"{name}.last"


def _laid_out(panels: list[Any]) -> list[Any]:
    """The panels in rows, left to right."""
    import wandb_workspaces.reports.v2 as wr

    width, height = REPORT_WIDTH // COLUMNS, 8
    for index, panel in enumerate(panels):
        row, column = divmod(index, COLUMNS)
        panel.layout = wr.Layout(x=column * width, y=row * height, w=width, h=height)
    return panels


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
