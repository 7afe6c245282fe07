"""The plan of the dashboard, against the metric list and against what a run really logs."""

import json
import re
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from seqgan.commands import dashboard
from seqgan.commands.parsing import InputError
from seqgan.tracking import metrics, panels
from seqgan.tracking import plan as planning
from seqgan.tracking.metrics import METRICS, Metric, find_metric
from seqgan.tracking.panels import Bars, Chart, Curves, Plane
from seqgan.tracking.plan import plan
from seqgan.tracking.sections import AREAS, LEFT_OUT, SECTIONS, SHIPPED

REPORTS = (panels.Media("Reports of finished runs", ("report", "report_picture")),)  # in any plan
LISTED = {metric.name for metric in METRICS}
ENTRIES = [panel for section in SECTIONS for panel in section.panels]

# Of these globs, a number of quality must have one of diversity beside it.
QUALITY = ("eval/nll_oracle", "eval/bleu_[0-9]", "eval/grammatical")
DIVERSITY = ("eval/entropy", "eval/self_bleu_[0-9]", "eval/distinct_[0-9]")

TINY = """
    captions --task.train-size 60 --task.dev-size 20 --task.test-size 20
    --generator.hidden-size 8 --generator.embedding-size 8 --discriminator.embedding-size 4
    --discriminator.hidden-size 4 --pretrain.epochs 1 --discriminator-training.pretrain-rounds 1
    --discriminator-training.num-sequences 16 --adversarial.iterations 2
    --adversarial.batch-size 4 --adversarial.num-rollouts 1 --evaluation.num-samples 20
    --evaluation.num-final 20 --evaluation.num-heldout 10 --evaluation.num-shown 1
    --evaluation.temperatures 1.0 0.8 --reward discriminator length(target=8) --threads 1
    --tracker.mode disabled
""".split()


def drawn(sections):
    """Every metric that is in some panel."""
    return {
        name
        for section in sections
        for panel in section.panels
        for name in panels.metrics_of(panel)
    }


def is_one_of(name, globs):
    return any(fnmatchcase(name, glob) for glob in globs)


def example(name):
    """A name that a pattern stands for."""
    for part, word in (("positions", "01-02"), ("row", "final"), ("curve", "mle")):
        name = name.replace(f"<{part}>", word)
    return re.sub(r"<\w+>", "some", name)


@pytest.fixture(scope="session")
def logged(tmp_path_factory):
    """The names that a small run logged."""
    folder = tmp_path_factory.mktemp("dashboard") / "run"
    command = [sys.executable, "-m", "seqgan", "train", *TINY, "--output", str(folder)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return {name for line in lines for name in json.loads(line)}


# What the plan is written down as


@pytest.mark.parametrize("panel", ENTRIES, ids=lambda panel: panel.title)
def test_every_metric_of_a_panel_is_in_the_list(panel):
    assert set(panels.metrics_of(panel)) <= LISTED


@pytest.mark.parametrize(
    "panel", [p for p in ENTRIES if isinstance(p, Curves)], ids=lambda p: p.title
)
def test_curves_of_a_panel_share_axis_and_unit(panel):
    entries = [find_metric(example(name)) for name in panel.metrics]
    assert [entry.axis for entry in entries] == [panel.axis] * len(entries)
    assert panel.unit == entries[0].unit
    assert len({entry.unit for entry in entries} - {"its own"}) <= 1  # a task's measure


def test_the_sections_are_those_that_the_documents_name():
    assert [section.name for section in SECTIONS if not section.folded] == [
        "Quality and diversity",
        "Rewards",
        "Your metrics",
        "Samples",
        "Learning",
    ]
    assert [section.name for section in SECTIONS if section.folded] == [
        "Adversaries",
        "Values by position",
        "Quality in detail",
        "Learning in detail",
        "Speed",
    ]
    assert [section.folded for section in SECTIONS] == [False] * 5 + [True] * 5  # in this order
    assert set(AREAS.values()) <= {section.name for section in SECTIONS}


def test_titles_tell_panels_apart():
    titles = [panel.title for panel in ENTRIES]
    assert len(titles) == len(set(titles))
    assert max(map(len, titles)) <= 50  # what a third of a screen shows


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.name)
def test_notes_speak_of_metrics_that_exist(section):
    for name in re.findall(r"`([^`]+)`", section.note):
        assert name in LISTED or name == "seqgan frontier"


def test_what_is_left_out_are_axes():
    assert set(LEFT_OUT) <= LISTED
    assert {metric.axis for metric in METRICS if metric.axis} <= set(LEFT_OUT)


def test_shipped_measures_are_those_of_the_shipped_tasks():
    source = (Path(panels.__file__).parents[1] / "tasks").glob("*.py")
    checks = [c for path in source for c in re.findall(r'measures=\{"(\w+)"', path.read_text())]
    assert {f"eval/{check}" for check in checks} == set(SHIPPED)
    assert {find_metric(name).name for name in SHIPPED} == {"eval/<measure>"}


# Every metric has a place


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_metric_that_a_run_logs_is_drawn_or_left_out(metric):
    name = example(metric.name)
    assert find_metric(name) is metric
    assert (name in drawn(plan({name}))) == (metric.name not in LEFT_OUT)


def test_without_a_run_the_list_is_drawn_but_for_patterns_that_fit_other_entries():
    missing = LISTED - drawn(plan()) - set(LEFT_OUT)
    assert {"rewards/<name>/<metric>", "eval/<measure>"} <= missing
    for name in missing:
        expression = re.sub(r"<\w+>", "[^/]+", name)
        assert {other for other in LISTED if re.fullmatch(expression, other)} > {name}


def test_a_new_metric_falls_into_the_section_of_its_area(monkeypatch):
    def listed(name, unit="unit"):
        return Metric(
            name=name,
            meaning="what",
            unit=unit,
            applies="every run",
            healthy="rises",
            wrong="falls",
        )

    longer = (
        *METRICS,
        listed("time/new"),
        listed("discriminator/new_<kind>"),
        listed("eval/new", "nats per token"),
        listed("eval/newer", "fraction"),
        listed("new/one"),
    )
    for module in (metrics, panels, planning):
        monkeypatch.setattr(module, "METRICS", longer)
    names = {"time/new", "discriminator/new_a", "discriminator/new_b", "eval/new", "eval/newer"}
    names |= {"eval/entropy"}  # but not eval/distinct_2
    found = {section.name: section.panels for section in plan(names) if section.panels}
    assert found.pop("Samples") == REPORTS
    assert found == {
        "Adversaries": (
            Curves("discriminator/new_a", ("discriminator/new_a",)),
            Curves("discriminator/new_b", ("discriminator/new_b",)),
        ),
        "Quality in detail": (
            Curves("eval/entropy", ("eval/entropy",)),
            Curves("eval/new", ("eval/new", "eval/entropy")),
            Curves("eval/newer", ("eval/newer",)),
        ),
        "Speed": (Curves("time/new", ("time/new",)),),
    }
    with pytest.raises(
        ValueError, match=r"area of metric 'new/one' is unknown; it must be one of user, "
    ):
        plan({"new/one"})
    with pytest.raises(ValueError, match="'new/one' is unknown"):
        plan()


def test_a_users_own_metrics_have_a_section_over_the_axis_of_their_phase():
    axes = {"user/margin": "global_step", "user/a/b": "pretrain/epoch"}
    names = {"user/margin", "user/a/b", "user/alone", "global_step", "rewards/short/mean"}
    _, rewards, own, *_ = plan(names, axes)
    assert (rewards.name, own.name) == ("Rewards", "Your metrics")
    assert own.panels == (
        Curves("user/a/b", ("user/a/b",), over="pretrain/epoch"),
        Curves("user/alone", ("user/alone",)),
        Curves("user/margin", ("user/margin",), over="global_step"),
    )
    assert [panel.axis for panel in own.panels] == ["pretrain/epoch", "", "global_step"]
    assert "Your metrics" not in {section.name for section in plan({"global_step"})}


def test_without_a_run_one_panel_is_for_all_of_a_users_own_metrics():
    (panel,) = next(section for section in plan() if section.name == "Your metrics").panels
    assert (panel.metrics, panel.axis) == (("user/<path>",), "")
    fitting = [
        n for n in ("user/a", "user/a/b", "user/", "user//b") if re.match(panel.expression, n)
    ]
    assert fitting == ["user/a", "user/a/b"]


def test_an_unlisted_name_is_refused():
    with pytest.raises(ValueError, match="'losses/polic'"):
        plan({"losses/polic"})


# What is drawn of certain runs


def test_the_plan_of_a_few_names_by_hand():
    names = {
        "global_step",
        "losses/grad_norm_discriminator",
        "losses/grad_norm_generator",
        "rewards/length/mean",
        "rewards/discriminator/mean",
        "rewards/length/words",
        "eval/rhymes",
        "eval/metre",
        "eval/duplicate_rate",
        "eval/distinct_2",
        "eval/self_bleu_2",
    }
    found = {section.name: section.panels for section in plan(names)}
    assert found == {
        "Quality and diversity": (
            Curves(
                "Quality, diversity: the task's measures, distinct",
                ("eval/metre", "eval/rhymes", "eval/distinct_2", "eval/duplicate_rate"),
            ),
            Curves("Duplicates and copies", ("eval/duplicate_rate",), (0, None)),
            Plane("Each run a point: distinct pairs, measure", "eval/distinct_2", "eval/metre"),
            Plane("Each run a point: distinct pairs, measure", "eval/distinct_2", "eval/rhymes"),
        ),
        "Rewards": (
            Curves("Mean of each reward", ("rewards/discriminator/mean", "rewards/length/mean")),
            Curves("rewards/length/words", ("rewards/length/words",)),
        ),
        "Samples": REPORTS,
        # There is no BLEU beside it, so the panel of both is not there.
        "Quality in detail": (Curves("eval/self_bleu_2", ("eval/self_bleu_2", "eval/distinct_2")),),
        "Learning in detail": (
            Curves(
                "Gradient norms before clipping",
                ("losses/grad_norm_generator", "losses/grad_norm_discriminator"),
                logarithmic=True,
            ),
        ),
    }


def test_histograms_by_position_are_one_panel_with_a_slider():
    names = {"action_value/01-02", "action_value/03-03", "advantage/01-02", "advantage/03-03"}
    (panel,) = next(s for s in plan(names) if s.name == "Values by position").panels
    assert panel.names == ("by_position/action_value", "by_position/advantage")
    assert panel.slider
    assert "Values by position" not in {section.name for section in plan({"losses/entropy"})}


def test_the_end_of_a_run_has_its_curves():
    (section, *_) = plan({"result/difference", "result/game/0.8/nll_heldout"})
    chart, bars = section.panels
    assert isinstance(chart, Chart)
    assert isinstance(bars, Bars)
    assert (chart.x, chart.y) == ("quality", "diversity")


def test_quality_never_stands_without_diversity():
    everything = {example(name) for name in LISTED} | set(SHIPPED)
    seen = set()
    for section in plan(everything):
        for panel in section.panels:
            names = panels.metrics_of(panel)
            quality = {name for name in names if is_one_of(name, QUALITY)}
            assert not quality or any(is_one_of(name, DIVERSITY) for name in names), panel
            seen |= quality
    assert len(seen) == 6  # nll_oracle, bleu_2 to bleu_5, grammatical: the globs fit something


def test_without_the_package_one_line_says_what_brings_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    with pytest.raises(InputError, match=r'pip install "seqgan\[dashboards\]"'):
        dashboard.run(["--output", str(tmp_path / "new.json")])


@pytest.mark.slow
def test_a_real_run_fills_the_panels(logged):
    sections = plan(logged)
    assert drawn(sections) <= logged
    assert logged - drawn(sections) <= set(LEFT_OUT)
    assert {"eval/grammatical", "rewards/length/mean", "time/rollout"} <= drawn(sections)
    assert [section.name for section in sections if not section.folded] == [
        "Quality and diversity",
        "Rewards",
        "Samples",
        "Learning",
    ]
    assert sum(len(section.panels) for section in sections if not section.folded) < 16
