"""The dashboard with the real wandb-workspaces: what is written, what is sent to a server.

The server here knows no more of GraphQL than the answers that saving waits for.
"""

import base64
import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytestmark = pytest.mark.integration

pytest.importorskip("wandb_workspaces")

from wandb_workspaces.reports.v2.internal import ReportViewspec  # noqa: E402
from wandb_workspaces.workspaces import Workspace  # noqa: E402
from wandb_workspaces.workspaces import internal as workspace_models  # noqa: E402

from seqgan.report.shown_summary import results_markdown  # noqa: E402
from seqgan.tracking.metrics import METRICS, find_metric  # noqa: E402
from seqgan.tracking.panels import Bars, Chart, Curves, Media, Plane, entry_of  # noqa: E402
from seqgan.tracking.plan import plan  # noqa: E402
from seqgan.tracking.workspace import (  # noqa: E402
    Dashboard,
    build_report,
    build_workspace,
)

RESULTS = {
    "start": {"eval/bleu_2": 0.5, "eval/self_bleu_2": 0.25, "eval/only_at_start": 1.0},
    "control": {"eval/bleu_2": 0.625, "eval/self_bleu_2": 0.4375},
    "final": {"eval/bleu_2": 0.75, "eval/self_bleu_2": 0.5, "eval/only_in_the_end": 1.0},
    "comparison": {
        "quality": "bleu_2",
        "verdict": "worse",
        "temperature": 0.7,
        "sentence": "It is worse.",
    },
    "curve": {"1.0": {"eval/bleu_2": 0.5}},
}


@pytest.fixture
def environment(tmp_path):
    """A process's variables, with a home of its own that holds no credentials."""
    home = tmp_path / "home"
    home.mkdir()
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("WANDB_", "XDG_"))}
    kept.pop("NETRC", None)
    return kept | {"HOME": str(home), "WANDB_ERROR_REPORTING": "false"}


@pytest.fixture
def run_folder(tmp_path):
    """A finished run, as far as a dashboard reads it."""
    folder = tmp_path / "a run"
    record = folder / "wandb" / "offline-run-20260101_000000-abcd1234"
    record.mkdir(parents=True)
    (record / "run-abcd1234.wandb").touch()
    (folder / "config.yaml").write_text("tracker: {project: poems}\n")
    vocabulary = {"words": ["a", "b"], "level": "word", "has_eos": True}
    vocabulary |= {"bos_word": None, "unk_word": None}
    (folder / "task.json").write_text(json.dumps({"max_length": 4, "vocabulary": vocabulary}))
    rows = [{"pretrain/nll_dev": 2.0}, {"rewards/length/mean": 1.0, "losses/policy": 0.5}]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metrics.jsonl").write_text(lines + '{"losses/entropy": 1.')  # being written
    (folder / "results.json").write_text(json.dumps(RESULTS))
    return folder


def command(environment, *arguments, cwd=None):
    call = [sys.executable, "-m", "seqgan", "dashboard", *map(str, arguments)]
    return subprocess.run(
        call, capture_output=True, text=True, timeout=120, env=environment, cwd=cwd
    )


def panels_of(workspace):
    """The panels as they are sent, by section."""
    sections = workspace["spec"]["section"]["panelBankConfig"]["sections"]
    return {section["name"]: section["panels"] for section in sections}


def metrics_in(node):
    """Every metric that is named anywhere in a specification; expressions apart."""
    names, expressions = set(), set()
    if isinstance(node, dict):
        if "metrics" in node:
            names |= set(node["metrics"])
        for key in ("xAxis", "yAxis"):
            if node.get(key) not in (None, "_step"):
                names.add(node[key].removeprefix("summary:").removesuffix(".last"))
        if "metricRegex" in node:
            expressions.add(node["metricRegex"])
    for child in (
        node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    ):
        found = metrics_in(child)
        names |= found[0]
        expressions |= found[1]
    return names, expressions


@pytest.fixture(scope="module")
def whole():
    """The dashboard of the whole metric list, as written down."""
    sections = plan()
    dashboard = Dashboard(
        build_workspace("poems", "", sections), build_report("poems", "", sections)
    )
    return json.loads(dashboard.specification())


@pytest.mark.parametrize("part", ["workspace", "report"])
def test_every_metric_that_is_written_is_in_the_list(whole, part):
    names, expressions = metrics_in(whole[part])
    listed = {metric.name for metric in METRICS}
    for name in names:
        assert name in listed or find_metric(name).is_pattern
    assert len(names) > 60
    curves = [p for section in plan() for p in section.panels if isinstance(p, Curves)]
    drawn = [set(panel.metrics) for panel in curves if panel.expression]
    for expression in expressions:
        # "1-2" is a name that fits any part in angle brackets.
        fitting = {n for n in listed if re.fullmatch(expression, re.sub(r"<\w+>", "1-2", n))}
        assert fitting in drawn
    assert "^(rewards/[^/]+/mean)$" in expressions


def test_panels_are_those_of_the_plan_over_their_own_axes(whole):
    written = panels_of(whole["workspace"])
    assert list(written) == [section.name for section in plan()]
    for section in plan():
        note, *panels = written[section.name]
        assert note["config"]["value"] == section.note
        for panel, sent in zip(section.panels, panels, strict=False):
            config = sent["config"]
            if isinstance(panel, Chart):
                assert sent["viewType"] == "Vega2"
                assert config["fieldSettings"] == {
                    "x": "quality",
                    "y": "diversity",
                    "stroke": "generator",
                }
                assert config["stringSettings"] == {"title": panel.title}
                assert '"curve_table"' in json.dumps(config["userQuery"])
                continue
            assert config["chartTitle"] == panel.title
            if isinstance(panel, Media):
                assert sent["viewType"] == "Media Browser"
                assert tuple(config["mediaKeys"]) == panel.names
                by_step = ("gallery", {"axis": "step"}) if panel.slider else (None, None)
                assert (config.get("mode"), config.get("gallerySettings")) == by_step
                continue
            if isinstance(panel, Bars):
                assert sent["viewType"] == "Bar Chart"
                assert tuple(config["metrics"]) == panel.metrics  # single values of a run's end
                continue
            if isinstance(panel, Plane):
                assert sent["viewType"] == "Scatter Plot"
                for axis, name in (("xAxis", panel.x), ("yAxis", panel.y)):
                    # With a better end, the latest value is one of two in the summary.
                    assert config[axis] == f"summary:{name}" + ".last" * bool(entry_of(name).best)
                continue
            assert sent["viewType"] == "Run History Line Plot"
            assert config["xAxis"] == (panel.axis or "_step")
            assert config.get("yAxisTitle", "") == entry_of(panel.metrics[0]).unit
            assert (config.get("yAxisMin"), config.get("yAxisMax")) == panel.bounds
            if "metricRegex" not in config:
                assert tuple(config["metrics"]) == panel.metrics
        others = [sent["viewType"] for sent in panels[len(section.panels) :]]
        assert others == {"Samples": ["Weave"], "Speed": ["Run Comparer"]}.get(section.name, [])
    assert '"samples"' in json.dumps(written["Samples"][-1])
    bank = whole["workspace"]["spec"]["section"]["panelBankConfig"]["sections"]
    assert [section["isOpen"] for section in bank] == [not section.folded for section in plan()]
    (pretraining,) = [
        p for p in written["Learning"] if "pretrain/nll_dev" in str(p["config"].get("metrics"))
    ]
    assert pretraining["config"]["xAxisTitle"] == "pretrain/epoch (epochs)"


def test_the_report_has_the_same_panels_in_rows_without_overlap(whole):
    blocks = whole["report"]["spec"]["blocks"]
    folded = [block["collapsedChildren"] for block in blocks if "collapsedChildren" in block]
    assert len(folded) == len([section for section in plan() if section.folded])
    blocks = [*blocks, *(inner for inside in folded for inner in inside)]
    grids = [block for block in blocks if block["type"] == "panel-grid"]
    assert len(grids) == len(plan())
    for grid, section in zip(grids, plan(), strict=True):
        panels = grid["metadata"]["panelBankSectionConfig"]["panels"]
        titles = [
            panel["config"].get("chartTitle") or panel["config"].get("stringSettings", {})["title"]
            for panel in panels[: len(section.panels)]
        ]
        assert titles == [panel.title for panel in section.panels]
        cells = [
            (column, row)
            for box in (panel["layout"] for panel in panels)
            for column in range(box["x"], box["x"] + box["w"])
            for row in range(box["y"], box["y"] + box["h"])
        ]
        assert len(cells) == len(set(cells))
        assert max((column for column, _ in cells)) < 24


def test_both_come_back_from_their_specification(whole):
    view = workspace_models.View.model_validate(whole["workspace"])
    assert plain(view) == whole["workspace"]
    assert plain(Workspace._from_model(view)._to_model()) == whole["workspace"]
    # Read into its own class, a report forgets its width and the size of a table; read into the
    # model, it gets an empty list of comments for each heading.
    report = json.dumps(plain(ReportViewspec.model_validate(whole["report"])))
    assert json.loads(report.replace(', "inlineComments": []', "")) == whole["report"]


def plain(model):
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def test_the_control_run_is_every_panels_baseline():
    built = build_workspace("poems", "me", plan(), control="abcd1234")
    (runs,) = plain(built._to_model())["spec"]["section"]["runSets"]
    assert base64.b64decode(runs["baselineRunId"]).decode() == "Run:v1:abcd1234:poems:me"
    assert runs["pinnedRunIds"] == [runs["baselineRunId"]]


# The command


def test_without_a_login_the_specification_is_written_once(environment, run_folder):
    target = run_folder / "dashboard.json"
    first = command(environment, run_folder)
    assert (first.returncode, first.stderr) == (0, "")
    said = first.stdout.splitlines()
    assert said[0] == f"{target}: a workspace and a report, 5 panels in 5 sections"
    assert said[1] == "to see it online: `wandb login`, then this command with --save"
    record = run_folder / "wandb" / "offline-run-20260101_000000-abcd1234"
    assert said[2] == f"to see the run online: wandb sync '{record}'"
    assert said[3].endswith(f"wandb leet '{run_folder / 'wandb'}'")
    written = json.loads(target.read_text(encoding="utf-8"))
    assert metrics_in(written["workspace"])[0] == {
        "pretrain/epoch",
        "pretrain/nll_dev",
        "global_step",
        "losses/policy",
        "rewards/length/mean",
    }
    assert written["workspace"]["project"] == "poems"
    results = panels_of(written["workspace"])["Quality and diversity"][1]["config"]["value"]
    assert results == results_markdown("a run", RESULTS)
    again = command(environment, run_folder)
    assert again.returncode == 2
    assert again.stderr == f"seqgan: {target} exists already; name a new file with --output\n"
    assert json.loads(target.read_text(encoding="utf-8")) == written


def test_a_users_own_metrics_are_over_the_counter_of_their_phase(environment, run_folder):
    rows = [
        {"pretrain/epoch": 1, "user/first": 0.5, "user/margin": 0.5},
        {"global_step": 10, "user/margin": 0.25},
        {"user/alone": 1.0},
        {"completions/mean_length": 4.0, "global_step": 10},  # a name of version 0.1.0
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (run_folder / "metrics.jsonl").write_text(text, encoding="utf-8")
    ended = command(environment, run_folder)
    assert ended.returncode == 0
    assert ended.stderr == "left out, not in the metric list: completions/mean_length\n"
    written = json.loads((run_folder / "dashboard.json").read_text(encoding="utf-8"))
    note, *panels = panels_of(written["workspace"])["Your metrics"]
    assert "`user/<path>`" in note["config"]["value"]
    assert [(p["config"]["metrics"], p["config"]["xAxis"]) for p in panels] == [
        (["user/alone"], "_step"),
        (["user/first"], "pretrain/epoch"),
        (["user/margin"], "global_step"),
    ]


def test_saving_without_a_login_writes_the_specification_and_says_so(environment, tmp_path):
    ended = command(environment, "--save", "--project", "other", cwd=tmp_path)
    assert ended.returncode == 1
    assert ended.stderr == (
        "seqgan: saving needs a wandb login: `wandb login`, then this command again\n"
    )
    assert ended.stdout.startswith("dashboard.json: a workspace and a report, ")
    written = json.loads((tmp_path / "dashboard.json").read_text(encoding="utf-8"))
    assert written["workspace"]["project"] == written["report"]["project"]["name"] == "other"


@pytest.fixture
def server():
    """A server that answers saving; every request is kept."""
    requests = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            requests.append(request)
            query, variables = request["query"], request.get("variables") or {}
            if "upsertView" in query:
                project = {"name": variables["projectName"], "entityName": variables["entityName"]}
                view = {"id": "view", "name": variables["name"], "project": project}
                view |= {"displayName": variables["displayName"], "description": ""}
                data = {
                    "upsertView": {"view": view | {"spec": variables["spec"]}, "inserted": True}
                }
            elif "GetProjects" in query:
                data = {
                    "models": {"edges": [], "pageInfo": {"hasNextPage": False, "endCursor": None}}
                }
            elif "CreateProject" in query:
                data = {"result": {"inserted": True}}
            else:
                data = {"viewer": {"id": "1", "entity": "somebody", "username": "somebody"}}
            answer = json.dumps({"data": data} if self.server.willing else {"data": None}).encode()
            self.send_response(200 if self.server.willing else 403)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.willing, server.requests = True, requests
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def login(environment, server):
    address = f"http://127.0.0.1:{server.server_port}"
    return environment | {"WANDB_BASE_URL": address, "WANDB_API_KEY": "a" * 40}


def test_saving_sends_what_would_be_written(login, server, run_folder, tmp_path):
    copy = tmp_path / "copy.json"
    ended = command(login, run_folder, "--save", "--control", run_folder, "--output", copy)
    assert ended.returncode == 0, ended.stderr
    workspace, report = ended.stdout.splitlines()[:2]
    host = f"http://127.0.0.1:{server.server_port}"
    assert workspace.startswith(f"workspace: {host}/somebody/poems?nw=")
    assert report == f"report: {host}/somebody/poems/reports/seqgan--view"
    sent = {
        request["variables"]["type"]: request["variables"]
        for request in server.requests
        if "upsertView" in request["query"]
    }
    assert {kind: (v["entityName"], v["projectName"]) for kind, v in sent.items()} == {
        "project-view": ("somebody", "poems"),
        "runs": ("somebody", "poems"),
    }
    written = json.loads(copy.read_text(encoding="utf-8"))
    for kind, variables in sent.items():
        part = written["workspace" if kind == "project-view" else "report"]
        assert metrics_in(json.loads(variables["spec"])) == metrics_in(part["spec"])
    (runs,) = json.loads(sent["project-view"]["spec"])["section"]["runSets"]
    control = base64.b64decode(runs["baselineRunId"]).decode()
    assert control == "Run:v1:abcd1234:poems:somebody"


def test_a_specification_of_an_earlier_call_is_no_reason_not_to_save(login, run_folder):
    (run_folder / "dashboard.json").write_text("of an earlier call")
    ended = command(login, run_folder, "--save", "--entity", "me", "--project", "prose")
    assert ended.returncode == 0, ended.stderr
    assert "/me/prose?nw=" in ended.stdout
    assert (run_folder / "dashboard.json").read_text() == "of an earlier call"


def test_a_server_that_refuses_costs_one_line_and_no_work(login, server, run_folder):
    server.willing = False
    ended = command(login, run_folder, "--save", "--entity", "me")
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert ended.stderr.splitlines()[-1].startswith("seqgan: the dashboard was not saved: ")
    assert json.loads((run_folder / "dashboard.json").read_text())["workspace"]["entity"] == "me"


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        (["nowhere"], "nowhere is no run: it has no config.yaml"),
        (["--output", "nowhere/x.json"], "cannot write nowhere/x.json: no such folder"),
        (["--control", "a/b"], "--control is 'a/b', but must be a run's folder or its wandb id"),
        (["--control", "."], "the run . of --control has no record in wandb/"),
    ],
)
def test_a_wrong_input_is_one_line(environment, tmp_path, arguments, rule):
    ended = command(environment, *arguments, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"seqgan: {rule}")
    assert ended.stderr.count("\n") == 1


def test_names_that_the_list_has_lost_are_left_out(environment, run_folder):
    with (run_folder / "metrics.jsonl").open("a") as file:
        file.write('1}\n{"losses/old": 1.0}\n')
    (run_folder / "histograms.jsonl").write_text('{"name": "losses/older"}\n')
    ended = command(environment, run_folder)
    assert ended.returncode == 0
    assert ended.stderr == "left out, not in the metric list: losses/old, losses/older\n"
    assert "6 panels" in ended.stdout  # the sixth is of the line that has been finished


def test_a_run_without_metrics_has_no_dashboard(environment, run_folder):
    (run_folder / "metrics.jsonl").write_text("")
    ended = command(environment, run_folder)
    assert ended.returncode == 2
    assert ended.stderr == (
        f"seqgan: {run_folder} has logged no metrics, of which a dashboard is made\n"
    )
