"""`seqgan dashboard`: a wandb workspace and a report, written down or saved online."""

import os
import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from seqgan.commands.parsing import InputError, Parser, add_trust, given_path
from seqgan.system.errors import ConfigurationError, SeqganError
from seqgan.system.files import write_text
from seqgan.system.terminal import say


@dataclass(frozen=True)
class _Run:
    """The part of a run's record that a dashboard needs.

    Args:
        names: of the metrics that it logged; None stands for those of the metric list.
        axes: of the metrics of the user's own among them.
        project, entity: in Weights & Biases; empty for those of the environment.
        results: the table of a finished run in Markdown, else empty.
    """

    names: frozenset[str] | None = None
    axes: Mapping[str, str] = field(default_factory=dict)
    project: str = ""
    entity: str = ""
    results: str = ""


def run(given: list[str]) -> int:
    """Writes or saves the dashboard, and gives the exit code."""
    parser = Parser(
        prog="seqgan dashboard",
        examples=(
            "seqgan dashboard runs/captions",
            "seqgan dashboard --project seqgan --save",
        ),
    )
    parser.add_argument(
        "run", type=given_path, nargs="?", help="folder of a run, for the panels of what it logged"
    )
    parser.add_argument("--project", default="", help="wandb project (the run's, or seqgan)")
    parser.add_argument(
        "--entity", default="", help="owner of the project (the run's, or that of the login)"
    )
    parser.add_argument(
        "--control", default="", help="folder or wandb id of a run that each panel compares with"
    )
    parser.add_argument("--save", action="store_true", help="save it online; needs a wandb login")
    parser.add_argument(
        "--output",
        type=given_path,
        help="new file for the specification (dashboard.json, by the run)",
    )
    add_trust(parser)
    options = parser.parse_all(given)
    output = options.output or (options.run or Path()) / "dashboard.json"
    # A file of an earlier call by default must not keep the same command from saving.
    if output.exists() and (options.output or not options.save):
        raise InputError(f"{output} exists already; name a new file with --output")
    if options.output and not output.parent.is_dir():
        raise InputError(
            f"cannot write {output}: no such folder; name a file in a folder that exists"
            " with --output"
        )
    if find_spec("wandb_workspaces") is None:
        raise InputError(
            "the package wandb-workspaces is missing, which a dashboard needs: pip install"
            ' "seqgan[dashboards]"'
        )
    about = _read(options.run, options.trust_run_code) if options.run else _Run()
    control = _run_id(options.control) if options.control else ""
    from seqgan.tracking.plan import plan
    from seqgan.tracking.wandb_settings import PROJECT, logged_in
    from seqgan.tracking.workspace import Dashboard, build_report, build_workspace, default_entity

    sections = plan(about.names, about.axes)
    project = options.project or about.project or os.environ.get("WANDB_PROJECT") or PROJECT
    owner = options.entity or about.entity or os.environ.get("WANDB_ENTITY") or ""

    def build(entity: str) -> Dashboard:
        return Dashboard(
            build_workspace(project, entity, sections, about.results, control),
            build_report(project, entity, sections, about.results),
        )

    problem = ""
    if options.save and not logged_in():
        problem = "saving needs a wandb login: `wandb login`, then this command again"
    elif options.save:
        try:
            workspace, report = build(owner or default_entity()).save()
        except ConnectionError as error:
            problem = f"the dashboard was not saved: {error}"
        else:
            print(f"workspace: {workspace}\nreport: {report}")
    if (problem or options.output or not options.save) and not output.exists():
        write_text(output, build(owner).specification())
        panels = sum(len(section.panels) for section in sections)
        say(f"{output}: a workspace and a report, {panels} panels in {len(sections)} sections")
    if problem:
        say(f"seqgan: {problem}", sys.stderr)
        return 1
    if not options.save:
        say("to see it online: `wandb login`, then this command with --save")
    if options.run and (records := sorted(options.run.glob("wandb/offline-run-*"))):
        print("to see the run online: wandb sync", shlex.join(map(str, records)))
        print("to see it here, without a network: wandb leet", shlex.quote(str(records[0].parent)))
    return 0


def _read(folder: Path, trust_run_code: bool) -> _Run:
    from seqgan.report.shown_summary import results_markdown
    from seqgan.report.summary import summary_metrics
    from seqgan.tracking.jsonl import read_rows
    from seqgan.tracking.metrics import axis_of
    from seqgan.training.run_results import read_results
    from seqgan.training.runs import open_run

    try:
        opened, config = open_run(folder, trust_run_code)
    except SeqganError as error:
        raise InputError(str(error)) from error
    names: set[str] = set()
    axes: dict[str, str] = {}
    for line in read_rows(folder / "metrics.jsonl"):
        names |= line.keys()
        axes |= {name: axis_of(name, line) for name in line if name.startswith("user/")}
    names |= {line["name"] for line in read_rows(folder / "histograms.jsonl", {"name": str})}
    if not names:
        raise InputError(f"{folder} has logged no metrics, of which a dashboard is made")
    results = ""
    if opened.results.is_file():
        plain = read_results(opened)
        results = results_markdown(folder.resolve().name, plain)
        names |= summary_metrics(plain).keys()
    return _Run(_listed(names), axes, config.tracker.project, config.tracker.entity, results)


def _listed(names: Iterable[str]) -> frozenset[str]:
    """The listed names; a line warns of the others, which an older run may have."""
    from seqgan.tracking.metrics import find_metric

    known, unknown = set(), []
    for name in sorted(names):
        try:
            find_metric(name)
            known.add(name)
        except ConfigurationError:
            unknown.append(name)
    if unknown:
        say(f"left out, not in the metric list: {', '.join(unknown)}", sys.stderr)
    return frozenset(known)


def _run_id(control: str) -> str:
    """The wandb id of a run that is given as its id or as its folder."""
    folder = given_path(control)
    if not folder.is_dir():
        if not re.fullmatch(r"[\w-]+", control):
            raise InputError(
                f"--control is {control!r}, but must be a run's folder or its wandb id"
            )
        return control
    records = sorted(folder.glob("wandb/*run-*/run-*.wandb"))
    if not records:
        raise InputError(f"the run {control} of --control has no record in wandb/")
    return records[-1].stem.removeprefix("run-")
