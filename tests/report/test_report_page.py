"""The page of a run, from hand-made run folders: what it says, and that it is sound HTML."""

import base64
import json
import math
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from recorded_runs import (
    INFORMATION,
    evaluation,
    read_lines,
    results,
    sample,
    samples_of_both_ends,
    write_lines,
    write_run,
)

from seqgan.commands.parsing import InputError
from seqgan.commands.report import run as report
from seqgan.report.cards import Scale, before_and_after, split_text, value_scale
from seqgan.report.charts import MARKERS, SERIES
from seqgan.report.curves import _ADVERSARY, _GAME, Chart, Curve
from seqgan.report.drawn_curves import thin
from seqgan.report.hints import hints
from seqgan.report.page import MAX_RUNS, SIGNS, picture, write_page
from seqgan.report.picture import draw_report
from seqgan.report.positions import early_and_late, merged_quantiles
from seqgan.report.recorded import read_run, read_runs
from seqgan.report.run_frontier import frontier_series
from seqgan.report.settings import compared_settings
from seqgan.tracking.metrics import find_metric
from seqgan.training.presets import captions_preset, oracle_preset

VOID = {"meta", "input", "br", "wbr", "link", "img", "hr"}
SVG = "data:image/svg+xml;base64,"
NASTY = '<script>alert("1")</script> & <b>bold</b>'


class Element:
    def __init__(self, tag, attributes, parent):
        self.tag, self.attributes, self.parent = tag, attributes, parent
        self.children, self.parts = [], []  # parts: text and elements in their order

    @property
    def classes(self):
        return (self.attributes.get("class") or "").split()

    @property
    def text(self):
        return "".join(part if isinstance(part, str) else part.text for part in self.parts)

    def find(self, tag=None, **attributes):
        """All elements below with this tag and these attributes; `class_` is one of its classes."""
        found = []
        for child in self.children:
            wanted = dict(attributes)
            class_ = wanted.pop("class_", None)
            fits = tag in (None, child.tag) and (class_ is None or class_ in child.classes)
            if fits and all(child.attributes.get(key) == value for key, value in wanted.items()):
                found.append(child)
            found += child.find(tag, **attributes)
        return found


class Page(HTMLParser):
    """A tree of elements; every tag has to be closed, in the order of opening."""

    def __init__(self, text):
        super().__init__()
        self.root = Element("root", {}, None)
        self.at = self.root
        self.feed(text)
        self.close()
        assert self.at is self.root, f"{self.at.tag} is not closed"

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        assert len(set(names)) == len(names), f"an attribute is given twice in {tag}: {names}"
        element = Element(tag, dict(attributes), self.at)
        self.at.children.append(element)
        self.at.parts.append(element)
        if tag not in VOID:
            self.at = element

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert tag == self.at.tag, f"</{tag}> closes <{self.at.tag}>"
        self.at = self.at.parent

    def handle_data(self, data):
        self.at.parts.append(data)


def page_of(*folders, output=None):
    target = output or folders[0] / "report.html"
    text = write_page(folders, target).read_text(encoding="utf-8")
    return Page(text).root


def section(page, name):
    """The elements between a section's heading and the next one."""
    main = page.find("main")[0]
    inside, found = False, Element("section", {}, None)
    for child in main.children:
        if child.tag == "h2":
            inside = child.attributes.get("id") == name
        elif inside:
            found.children.append(child)
            found.parts.append(child)
    return found


def pictures(page):
    """The charts of a page or a part of it, as SVG code."""
    sources = [shown.attributes["src"] for shown in page.find("img")]
    assert all(source.startswith(SVG) for source in sources)
    return [base64.b64decode(source.removeprefix(SVG)).decode() for source in sources]


def with_values(text, values, phase="before the game", step=0, eos="</s>"):
    tokens = [*text.split(), eos]
    return sample(text, phase, step, tokens=tokens, token_values=values, log_prob=-12.345)


def histogram(name, iteration, counts, edges):
    return {
        "name": name,
        "global_step": 100 * iteration,
        "iteration": iteration,
        "counts": counts,
        "edges": edges,
    }


@pytest.fixture
def full_run(tmp_path):
    """A run with everything that a run can have."""
    samples = [
        with_values("a b", [0.0, 2.0, 1.0]),
        with_values("b a", [None, -4.0, 0.5], "after the game", 1000),
    ]
    folder = write_run(tmp_path / "full", samples=samples)
    write_lines(
        folder / "histograms.jsonl",
        [
            histogram(f"{value}/{positions}", iteration, [1, 2, 1], [0, 1, 2, 3 + iteration])
            for value in ("action_value", "advantage")
            for positions in ("01-02", "03-04")
            for iteration in (1, 2, 3, 4)
        ],
    )
    machine = {"python": "3.11.7", "processor": "A <fast> one"}
    (folder / "machine.json").write_text(json.dumps(machine), encoding="utf-8")
    return folder


@pytest.fixture(autouse=True)
def quickly_drawn(request, monkeypatch):
    """Charts with nothing in them, except in tests that ask for `drawn`."""
    if "drawn" not in request.fixturenames:
        monkeypatch.setattr("seqgan.report.page.picture", lambda draw: SVG)


@pytest.fixture
def drawn():
    """For tests that look at the charts themselves."""


# A sound page


def test_the_page_needs_nothing_from_elsewhere(full_run, drawn):
    page = page_of(full_run)
    text = (full_run / "report.html").read_text(encoding="utf-8")
    around = re.sub(f"{re.escape(SVG)}[A-Za-z0-9+/=]+", "", text)
    assert len(around) < len(text)
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", around)
    assert not page.find("script")
    assert not page.find("link")
    for element in page.find():
        for name in ("href", "xlink:href", "data", "action"):
            assert (element.attributes.get(name) or "#").startswith("#")
    for code in pictures(page):
        for element in ElementTree.fromstring(code).iter():
            assert element.tag != "{http://www.w3.org/2000/svg}image"
            for name, value in element.attrib.items():
                assert not name.endswith("href") or value.startswith("#")
                assert not re.search(r"url\((?!#)", value)


def test_ids_are_unique_and_references_have_a_target(full_run):
    page = page_of(full_run)
    ids = [element.attributes["id"] for element in page.find() if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    used = {
        element.attributes["href"].removeprefix("#")
        for element in page.find()
        if "href" in element.attributes
    }
    assert used
    assert used <= set(ids)


def test_the_page_can_lay_out_every_chart_before_it_is_drawn(full_run):
    figures = page_of(full_run).find("figure")
    assert len(figures) == 8
    for figure in figures:
        (shown,) = figure.find("img")
        assert shown.classes == ["chart"]
        assert (shown.attributes["width"], shown.attributes["height"]) == ("324", "223")


def test_a_picture_is_what_was_drawn_without_paper_and_the_same_each_time():
    def draw(axes):
        axes.set_title("which the page has as text")
        axes.plot([0, 1], [5, 7], color="#123456")
        axes.set_xlabel("costs $5_$")

    code = base64.b64decode(picture(draw).removeprefix(SVG)).decode()
    assert picture(draw) == picture(draw)
    root = ElementTree.fromstring(code)
    assert root.attrib["viewBox"] == "0 0 324 223.2"
    assert "stroke: #123456" in code
    assert "costs $5_$" in " ".join(root.itertext())
    assert "which the page" not in code
    assert "#ffffff" not in code


def test_charts_are_turned_around_in_the_dark_scheme(full_run):
    page_of(full_run)
    text = (full_run / "report.html").read_text(encoding="utf-8")
    dark = text.split("@media (prefers-color-scheme: dark)")[1]
    assert re.search(r"\.chart, \.mark \{ filter: invert\([\d.]+\) hue-rotate\(180deg\)", dark)


def test_a_screen_reader_is_told_where_a_curve_starts_and_ends(full_run):
    told = [shown.attributes["alt"] for shown in page_of(full_run).find("img")]
    assert (
        "Diversity: held-out NLL ↓. full, eval/nll_heldout: 2 at iteration 0, 2.2 at iteration 10"
        in told
    )
    assert "Quality against held-out NLL. A sentence of bleu_4." in told
    assert all(re.fullmatch(r".+\. .+", text) for text in told)


def test_each_run_has_a_colour_and_a_mark():
    assert len(SIGNS) == len(MARKERS) == len(SERIES) == MAX_RUNS


# What it says is what the files say


def test_the_verdict_is_that_of_the_results(full_run):
    said = section(page_of(full_run), "verdict")
    assert said.find("span", class_="badge")[0].text == "worse than maximum likelihood"
    assert [p.text for p in said.find("p")][1:-1] == [
        "A sentence of bleu_4.",
        "Mean reward 'polite': 0.25 before the game, 0.8125 after it.",
        "A sentence of information.",
    ]
    rows = [[cell.text for cell in row.children] for row in said.find("tr")]
    assert rows == [
        ["metric", "MLE", "MLE at 0.78", "after game"],
        ["nll_heldout\N{NO-BREAK SPACE}↓ nats per token", "2", "2.1", "2.2"],
        ["bleu_4\N{NO-BREAK SPACE}↑ fraction", "0.5", "0.61", "0.6"],
    ]
    assert [cell.text for cell in said.find("td", class_="best")] == ["2", "0.61"]
    heads = said.find("th", scope="row")
    assert heads[0].attributes["title"].startswith("negative log-likelihood of held-out real text")


def test_curves_are_those_of_the_metrics(full_run):
    run = read_run(full_run)
    x, y = run.curve("eval/bleu_4", "iteration")
    assert (x.tolist(), y.tolist()) == ([0, 5, 10], [0.5, 0.55, 0.6])
    x, y = run.curve("pretrain/nll_dev", "pretrain/epoch")
    assert (x.tolist(), y.tolist()) == ([1, 2, 3], [5, 2.5, 5 / 3])
    x, y = run.curve("eval/bleu_4", "pretrain/epoch")
    assert (len(x), len(y)) == (0, 0)


def test_a_chart_for_every_metric_that_is_there(full_run):
    page = page_of(full_run)
    titles = {
        name: [figure.find("h3")[0].text for figure in section(page, name).find("figure")]
        for name in ("pretraining", "game", "frontier", "adversary", "positions")
    }
    assert titles == {
        "pretraining": ["Pretraining of the generator ↓"],
        "game": ["Quality: bleu_4 ↑", "Diversity: held-out NLL ↓", "Entropy of the generator"],
        "frontier": ["Quality against held-out NLL"],
        "adversary": ["What it knows of unseen text"],
        "positions": ["Value of a token", "Advantage of a token"],
    }


def test_a_users_own_metrics_are_shown_over_the_counter_of_their_phase(full_run):
    rows = read_lines(full_run / "metrics.jsonl")
    for row in rows:
        if "pretrain/epoch" in row:
            row["user/margin"] = 1 / row["pretrain/epoch"]
        elif "eval/entropy" in row:
            row["user/margin"] = row["iteration"] / 10
    rows += [{"user/prompts/share": 0.5}, {"user/prompts/share": 0.75}]
    write_lines(full_run / "metrics.jsonl", rows)
    page = page_of(full_run)
    assert "Your metrics" in [link.text for link in page.find("a")]
    charts = section(page, "yours").find("figure")
    assert [chart.find("img")[0].attributes["alt"] for chart in charts] == [
        "margin. full, user/margin: 0 at iteration 0, 1 at iteration 10",
        "margin. full, user/margin: 1 at epoch 1, 0.3333 at epoch 3",
        "prompts/share. full, user/prompts/share: 0.5 at log 1, 0.75 at log 2",
    ]
    assert not section(page, "yours").find("details")  # the metric list says nothing of them


def test_a_run_without_metrics_of_the_users_own_has_no_section_for_them(full_run):
    page = page_of(full_run)
    assert not section(page, "yours").children
    assert "Your metrics" not in page.text


def test_a_run_of_version_0_1_0_has_its_charts(full_run):
    rows = read_lines(full_run / "metrics.jsonl")
    lengths = {"charts/episodic_length": 7.5, "completions/mean_length": 7.5}
    rows += [{"iteration": 11, "global_step": 1100, **lengths, "losses/policy": 0.5}]
    write_lines(full_run / "metrics.jsonl", rows)
    told = [shown.attributes["alt"] for shown in page_of(full_run).find("img")]
    length = "Length of texts. full, charts/episodic_length: 7.5 at iteration 11,"
    assert f"{length} 7.5 at iteration 11" in told


def test_charts_carry_the_metric_lists_words(full_run):
    adversary = section(page_of(full_run), "adversary")
    assert [entry.text for entry in adversary.find("dt")] == [INFORMATION]
    healthy = find_metric(INFORMATION).healthy
    assert [entry.text for entry in adversary.find("dd")] == [healthy]


def test_the_machine_is_that_of_the_run(full_run):
    rows = section(page_of(full_run), "environment").find("tr")
    assert [[cell.text for cell in row.children] for row in rows] == [
        ["python", "3.11.7"],
        ["processor", "A <fast> one"],
    ]


# Tokens and their values


def test_tokens_are_coloured_by_their_value(full_run):
    # Values 0, 2, 1, -4, 0.5: the median is 0.5, the distances from it 0.5 1.5 0.5 4.5 0, whose
    # 0.95 quantile is 1.5 + 0.8 * 3 = 3.9. Shades: round(4 * distance / 3.9).
    tokens = section(page_of(full_run), "samples").find("span", class_="token")
    shown = [(t.text, *t.classes[1:], t.attributes.get("data-value")) for t in tokens]
    assert shown == [
        ("a", "v-1", "+0"),
        ("b", "v2", "+2"),
        ("</s>", "special", "v1", "+1"),
        ("b", None),
        ("a", "v-4", "-4"),
        ("</s>", "special", "v0", "+0.5"),
    ]
    assert [t.attributes.get("title") for t in tokens][:2] == ["value +0", "value +2"]


def test_a_judge_that_learns_gives_each_side_its_own_scale(full_run):
    before, after = before_and_after(read_run(full_run))
    assert before.scale == after.scale
    assert (before.scale.middle, before.scale.reach) == (0.5, pytest.approx(3.9))
    rows = read_lines(full_run / "metrics.jsonl")
    write_lines(full_run / "metrics.jsonl", [*rows, {"iteration": 1, "losses/discriminator": 0.6}])
    before, after = before_and_after(read_run(full_run))
    assert before.scale == Scale(1.0, 1.0)  # of 0, 2 and 1
    assert after.scale == Scale(-1.75, 2.25)  # of -4 and 0.5
    text = section(page_of(full_run), "samples").text
    assert "compare texts within a side" in text
    assert "middle (median) 1" in text
    assert "middle (median) -1.75" in text


def test_every_shade_has_a_colour_on_either_side(full_run):
    page_of(full_run)
    text = (full_run / "report.html").read_text(encoding="utf-8")
    for step in range(1, 5):
        assert re.search(rf"\.v{step} {{ background: rgb\(var\(--high\)", text)
        assert re.search(rf"\.v-{step} {{ background: rgb\(var\(--low\)", text)


def test_the_scale():
    scale = Scale(middle=1.0, reach=2.0)
    values = [-9.0, -1.0, 0.0, 0.9, 1.0, 1.5, 2.0, 3.0, 9.0]
    assert [scale.shade(value) for value in values] == [-4, -4, -2, 0, 0, 1, 2, 4, 4]
    assert value_scale([]) is None
    assert value_scale([3.0, 3.0]) == Scale(3.0, 1.0)  # all alike: all in the middle


@pytest.mark.parametrize(
    ("text", "tokens", "places"),
    [
        ("a dog .", ["a", "dog", ".", "</s>"], [("", 1), (" ", 1), (" ", 1), (" ", 0)]),
        ("床前", ["床", "前", "</s>"], [("", 1), ("", 1), (" ", 0)]),
        ("a b", ["a", " ", "b"], [("", 1), ("", 1), ("", 1)]),  # characters, a space among them
        ("", ["</s>"], [(" ", 0)]),
        ("x", ["y", "x"], [(" ", 0), ("", 1)]),
    ],
)
def test_where_tokens_stand_in_their_text(text, tokens, places):
    assert split_text(text, tokens) == [(gap, bool(inside)) for gap, inside in places]


def test_facts_of_a_sample(tmp_path):
    row = sample("a", "game", 5, log_prob=-12.345, reward_polite=0.5, prompt="<q>")
    row["polite/why"] = "because"
    page = page_of(write_run(tmp_path / "run", samples=[row]))
    (card,) = section(page, "samples").find("article")
    facts = card.find("p", class_="facts")[0]
    assert [fact.text for fact in facts.children] == [
        "reward 0.25",
        "log-probability -12.3",
        "reward_polite 0.5",
    ]
    told = [fact.attributes["title"] for fact in facts.children]
    assert "higher is better" in told[0]
    assert "in nats" in told[1]
    assert told[2] == "of the reward polite alone"
    (prompt,) = section(page, "samples").find("p", class_="prompt")
    assert prompt.text == "prompt <q>"


def test_the_texts_are_those_that_the_run_showed(tmp_path):
    first, judged = sample("first", "before the game"), sample("judged", "game")
    middle, last = sample("middle", "game", 50), sample("last", "game", 90)
    end = sample("end", "after the game", 90)

    def sides(samples):
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        found = before_and_after(read_run(write_run(tmp_path / "run", samples=samples)))
        return [(side.title, [card.text for card in side.cards]) for side in found]

    assert sides([first, judged, middle, last, end]) == [
        ("Before the game", ["first"]),
        ("After the game", ["end"]),
    ]
    assert sides([first, judged, middle, last]) == [
        ("Before the game", ["first"]),
        ("In the game, at step 90", ["last"]),
    ]
    assert sides([first]) == [("Before the game", ["first"])]
    assert sides([judged, last]) == [
        ("Before the game", ["judged"]),
        ("In the game, at step 90", ["last"]),
    ]
    # Without a game, both ends are at step 0.
    assert sides([first, sample("end", "after the game")]) == [
        ("Before the game", ["first"]),
        ("After the game", ["end"]),
    ]


def test_samples_of_a_run_without_a_game_have_no_word_of_one(tmp_path):
    end = sample("end", "after the game")
    run = replace(read_run(write_run(tmp_path / "run", samples=[end], ended=False)), metrics=())
    assert [side.title for side in before_and_after(run)] == ["After maximum likelihood"]


def test_both_sides_continue_the_same_prompts(tmp_path):
    shown = [sample(f"first {q}", "before the game", prompt=q) for q in ("a ?", "b ?")]
    judged = [sample(f"judged {q}", "game", prompt=q) for q in ("c ?", "d ?")]
    last = [sample(f"last {q}", "game", 90, prompt=q) for q in ("c ?", "d ?")]
    end = [sample(f"end {q}", "after the game", 90, prompt=q) for q in ("a ?", "b ?")]

    def pairs(samples):
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        page = page_of(write_run(tmp_path / "run", samples=samples))
        found = section(page, "samples").find("div", class_="pair")[1:]
        return [
            [p.text for kind in ("prompt", "text") for p in one.find("p", class_=kind)]
            for one in found
        ]

    assert pairs([*shown, *judged, *last, *end]) == [
        ["prompt a ?", "first a ?", "end a ?"],
        ["prompt b ?", "first b ?", "end b ?"],
    ]
    assert pairs([*shown, *judged, *last]) == [  # the run goes on
        ["prompt c ?", "judged c ?", "last c ?"],
        ["prompt d ?", "judged d ?", "last d ?"],
    ]


def test_texts_come_first_and_four_pairs_are_open(tmp_path):
    samples = samples_of_both_ends([f"text {i}" for i in range(6)])
    page = page_of(write_run(tmp_path / "run", samples=samples))
    assert [h.attributes["id"] for h in page.find("h2")][:2] == ["samples", "verdict"]
    shown = section(page, "samples")
    assert len(shown.find("article")) == 12
    (folded,) = shown.find("details")
    assert [p.text for p in folded.find("p", class_="text")] == ["text 4"] * 2 + ["text 5"] * 2
    assert folded.find("summary")[0].text == "2 more"


# Texts of all kinds


@pytest.mark.parametrize(
    "text", [NASTY, "床前明月光", "שלום עולם", "\U0001f600 $x_$", "{{ names }}"]
)
@pytest.mark.parametrize("tokens", [False, True])
def test_any_text_is_shown_as_it_is(tmp_path, text, tokens):
    more = {"tokens": text.split(" "), "token_values": [0.1] * len(text.split(" "))}
    row = sample(text, "before the game", **(more if tokens else {}))
    page = page_of(write_run(tmp_path / "run", samples=[row]))
    (shown,) = section(page, "samples").find("p", class_="text")
    assert shown.text.strip() == text
    assert shown.attributes["dir"] == "auto"
    assert not page.find("script")


def test_names_are_escaped(tmp_path):
    folder = write_run(tmp_path / "<i>run & co", samples=samples_of_both_ends([NASTY]))
    page = page_of(folder, write_run(tmp_path / "other"), output=tmp_path / "page.html")
    assert page.find("h1")[0].text == "<i>run & co, other"
    assert not page.find("i")


def test_an_empty_text_and_a_long_one(tmp_path):
    long = sample("w " * 5000, "after the game", 9, tokens=["w"] * 5000, token_values=[0.5] * 5000)
    plain = sample("x" * 5000, "after the game", 9)
    rows = [sample("", "before the game"), long, plain]
    page = page_of(write_run(tmp_path / "run", samples=rows))
    empty, long_text, plain_text = section(page, "samples").find("p", class_="text")
    assert empty.text.strip() == "(empty text)"
    assert len(long_text.find("span", class_="token")) == 300
    assert "4700 more" in long_text.text
    assert "3000 more" in plain_text.text


# Runs that lack something


def missing(page):
    (box,) = section(page, "environment").find("section")
    return [entry.text for entry in box.find("li")]


def test_a_run_with_everything_misses_nothing(full_run):
    assert not section(page_of(full_run), "environment").find("section")


def test_a_run_that_has_no_end(full_run):
    (full_run / "results.json").unlink()
    page = page_of(full_run)
    assert section(page, "verdict").find("span", class_="badge")[0].text == "unfinished"
    assert not section(page, "frontier").children
    assert "there is no complete results.json" in missing(page)[0]
    titles = [figure.find("h3")[0].text for figure in section(page, "game").find("figure")]
    assert titles[0] == "Quality: bleu_4 ↑"


def test_the_quality_of_a_run_without_an_end_is_the_one_that_an_evaluation_chooses(tmp_path):
    names = ["eval/bleu_4", "eval/nll_heldout", "eval/grammatical", "eval/nll_oracle"]
    for count, quality in ((0, None), (1, "bleu_4"), (3, "grammatical"), (4, "nll_oracle")):
        folder = write_run(tmp_path / str(count), ended=False)
        row = dict.fromkeys(names[:count], 0.5)
        write_lines(folder / "metrics.jsonl", [{"iteration": 1, **row}])
        assert read_run(folder).quality == quality


def test_an_old_run(tmp_path):
    folder = write_run(tmp_path / "run", samples=samples_of_both_ends(["a"]), discriminator=False)
    page = page_of(folder)
    assert len(missing(page)) == 4
    for part in ("discriminator", "histograms.jsonl", "values of tokens", "machine.json"):
        assert any(part in sentence for sentence in missing(page))
    assert not section(page, "adversary").children
    assert not section(page, "positions").children


def test_a_run_that_has_just_begun(tmp_path):
    folder = write_run(tmp_path / "run", ended=False)
    write_lines(folder / "metrics.jsonl", [])
    page = page_of(folder)
    assert not page.find("img")
    assert any("Nothing has been logged yet" in sentence for sentence in missing(page))
    assert "There are no samples." in section(page, "samples").text


def test_a_killed_run_ends_in_half_a_line(full_run):
    whole = read_lines(full_run / "metrics.jsonl")
    with (full_run / "metrics.jsonl").open("ab") as file:
        file.write('{"iteration": 11, "eval/bleu_4": "床'.encode()[:-1])
    assert list(read_run(full_run).metrics) == whole
    sentence = "The last line of metrics.jsonl is half written and left out."
    assert missing(page_of(full_run)) == [sentence]


def test_half_written_results_are_none(full_run):
    (full_run / "results.json").write_text('{"start": {"eval/b')
    assert read_run(full_run).results is None
    page_of(full_run)


def test_numbers_that_are_not_finite(full_run, drawn):
    rows = read_lines(full_run / "metrics.jsonl")
    rows += [{**evaluation(15), "eval/bleu_4": math.nan, "eval/entropy": math.inf}]
    write_lines(full_run / "metrics.jsonl", rows)
    page = page_of(full_run)
    (trouble,) = section(page, "verdict").find("section", class_="trouble")
    assert "those rows are gaps in the charts: eval/bleu_4 (1), eval/entropy (1)" in trouble.text
    assert not re.search(r"\bnan\b", " ".join(pictures(page)).lower())
    assert np.isnan(read_run(full_run).curve("eval/entropy", "iteration")[1][-1])


def test_a_frontier_of_numbers_that_are_not_finite(tmp_path, drawn):
    folder = write_run(tmp_path / "run")
    found = results()
    found["curve"]["0.5"]["eval/nll_heldout"] = math.inf
    (folder / "results.json").write_text(json.dumps(found))
    control, end = frontier_series(read_run(folder), 3)
    assert (control.notes, control.number) == (("1", "1.2"), 3)
    assert control.quality.tolist() == pytest.approx([0.5, 0.4])
    assert control.diversity.tolist() == pytest.approx([2.0, 1.8])
    assert (end.quality.tolist(), end.diversity.tolist()) == ([0.6], [2.2])
    assert section(page_of(folder), "frontier").find("figure")
    for row in [*found["curve"].values(), found["final"]]:
        row["eval/nll_heldout"] = math.nan
    (folder / "results.json").write_text(json.dumps(found))
    assert frontier_series(read_run(folder), 0) == []
    assert not section(page_of(folder), "frontier").children
    assert draw_report(folder).is_file()


def test_a_long_run_makes_a_small_page(tmp_path, drawn):
    """Every curve that the report has, each with noise in 5,000 rows."""
    folder = write_run(tmp_path / "run")
    charts = [*_GAME, *_ADVERSARY, Chart("", "", (Curve("rewards/a/mean"),))]
    names = {name for one in charts for curve in one.curves for name in (curve.metric, curve.error)}
    rng = np.random.default_rng(0)
    noise = rng.random((5000, len(names)))
    rows = [
        {"iteration": i, **dict(zip(sorted(names - {""}), row, strict=False))}
        for i, row in enumerate(noise.tolist())
    ]
    write_lines(folder / "metrics.jsonl", rows)
    page = page_of(folder)
    assert len(page.find("img")) == len(charts) + 1  # and the frontier
    assert (folder / "report.html").stat().st_size < 1.5e6


def test_a_thinned_curve_keeps_what_sticks_out():
    x = np.arange(5000.0)
    y = np.zeros(5000)
    y[[7, 1234, 1236, 4999]] = 3, -5, math.nan, 2
    thin_x, thin_y = thin(x, y)
    assert len(thin_x) <= 1000
    assert (np.diff(thin_x) > 0).all()
    kept = dict(zip(thin_x.tolist(), thin_y.tolist(), strict=True))
    assert {place: value for place, value in kept.items() if value} == {7: 3, 1234: -5, 4999: 2}
    few = (np.array([1.0, 2.0]), np.array([math.nan, 4.0]))
    assert thin(*few) == few


# Signs of trouble


def hints_of(folder, rows):
    write_lines(folder / "metrics.jsonl", rows)
    return hints(read_run(folder))


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        (
            {},
            {
                "discriminator/accuracy_heldout": 0.6,
                "discriminator/accuracy_real": 0.7,
                "discriminator/accuracy_generated": 0.9,
            },
            "overfits: 80% right on its training texts, 60% on unseen ones",
        ),
        (
            {"completions/clipped_ratio": 0.1},
            {"completions/clipped_ratio": 0.6},
            "60% reach the maximum length, 10% at the start",
        ),
        ({}, {"losses/grad_norm_generator": 0.0}, "The generator's gradient is zero"),
    ],
)
def test_trouble_is_said_with_its_numbers(tmp_path, before, after, says):
    folder = write_run(tmp_path / "run")
    rows = [{"iteration": 0, **before}] + [{"iteration": i, **after} for i in range(1, 6)]
    (hint,) = hints_of(folder, rows)
    assert says in hint
    assert not hints_of(folder, rows[:1])
    # One bad row among five good ones is noise, not trouble.
    if before:
        mild = [{"iteration": i, **before} for i in range(5)]
        assert not hints_of(folder, [*mild, {"iteration": 5, **before}])


def collapse():
    return [
        {"iteration": i, "eval/entropy": 2.0 - i, "eval/nll_heldout": 2.0} for i in (0, 0.5, 1.5)
    ]


def test_the_last_evaluation_of_a_run_without_alerts_is_asked(full_run):
    (hint,) = hints_of(full_run, collapse())
    assert hint == (
        "Mode collapse: the generator's entropy is 0.5 nats per token, 2 before the game."
    )
    assert not hints_of(full_run, collapse()[:2])


def test_alerts_of_the_run_are_shown(full_run):
    alert = {"title": "mode collapse", "text": "40% of its texts are distinct"}
    write_lines(full_run / "alerts.jsonl", [alert])
    write_lines(full_run / "metrics.jsonl", collapse())
    (trouble,) = section(page_of(full_run), "verdict").find("section", class_="trouble")
    assert [entry.text for entry in trouble.find("li")] == [
        "Mode collapse: 40% of its texts are distinct."
    ]


def test_a_healthy_run_has_no_signs_of_trouble(full_run):
    assert hints(read_run(full_run)) == []
    assert not section(page_of(full_run), "verdict").find("section", class_="trouble")


# Values by position


def test_merged_quantiles_against_the_values_themselves():
    rng = np.random.default_rng(0)
    parts = [rng.normal(0, 1, 4000), rng.normal(3, 0.5, 1000), rng.uniform(-5, 5, 3000)]
    rows = [
        dict(zip(("counts", "edges"), np.histogram(part, bins=200), strict=True)) for part in parts
    ]
    levels = (0.1, 0.5, 0.9)
    expected = np.quantile(np.concatenate(parts), levels)
    assert merged_quantiles(rows, levels) == pytest.approx(expected, abs=0.03)


def test_quantiles_of_one_histogram_by_hand():
    # Two below 1, none up to 2, two up to 4: half of them lie below 1.
    row = {"counts": [2, 0, 2], "edges": [0, 1, 2, 4]}
    assert merged_quantiles([row], (0.25, 0.5, 0.75)) == pytest.approx([0.5, 1.0, 3.0])


def test_early_and_late_are_the_outer_quarters(tmp_path):
    folder = write_run(tmp_path / "run")
    rows = [
        histogram(f"action_value/{positions}", i, [4], [shift + i, shift + i + 1])
        for i in range(1, 9)
        for positions, shift in (("001-010", 0), ("011-020", 100))
    ]
    write_lines(folder / "histograms.jsonl", rows)
    early, late = early_and_late(read_run(folder), "action_value")
    assert (early.first, early.last, late.first, late.last) == (1, 2, 7, 8)
    assert early.positions == ("1-10", "11-20")
    assert early.quantiles[:, 1].tolist() == pytest.approx([2, 102])  # between 1 and 3
    assert late.quantiles[:, 1].tolist() == pytest.approx([8, 108])  # between 7 and 9
    assert early_and_late(read_run(folder), "advantage") is None
    write_lines(folder / "histograms.jsonl", rows[::2][:4] + rows[::2][-1:])
    early, _ = early_and_late(read_run(folder), "action_value")
    assert early.iterations == "iteration 1"


def test_a_group_of_one_position_has_one_number(tmp_path):
    folder = write_run(tmp_path / "run")
    rows = [histogram("advantage/21-21", i, [1], [0, 1]) for i in (1, 2)]
    write_lines(folder / "histograms.jsonl", rows)
    assert early_and_late(read_run(folder), "advantage")[0].positions == ("21",)


# Settings


def test_settings_beside_the_nearest_preset(tmp_path):
    config = replace(captions_preset(), seed=7)
    run = read_run(write_run(tmp_path / "run", config=config))
    preset, settings = compared_settings([run])
    assert preset == "captions"
    changed = {s.name: (s.values, s.preset) for s in settings if s.changed}
    assert changed == {"seed": (("7",), "1")}
    page = page_of(tmp_path / "run")
    table, whole = section(page, "settings").find("table")
    assert [[cell.text for cell in row.children] for row in table.find("tr")] == [
        ["setting", "run", "preset"],
        ["seed", "7", "1"],
    ]
    assert len(whole.find("tr")) == len(settings) + 1
    assert [row.children[0].text for row in whole.find("tr", class_="changed")] == ["seed"]


def test_a_run_that_is_older_than_a_setting_has_not_changed_it(tmp_path):
    folder = write_run(tmp_path / "run")
    lines = (folder / "config.yaml").read_text().splitlines(keepends=True)
    kept = [line for line in lines if not line.startswith("threads:")]
    assert len(kept) == len(lines) - 1
    (folder / "config.yaml").write_text("".join(kept))
    other = write_run(tmp_path / "other", config=replace(captions_preset(), seed=3))
    preset, settings = compared_settings(read_runs([folder, other]))
    assert preset == "captions"
    assert [setting.name for setting in settings if setting.changed] == ["seed"]
    (threads,) = [setting for setting in settings if setting.name == "threads"]
    assert (threads.values, threads.preset) == (("", "1"), "1")


# Several runs


def test_several_runs_share_charts(tmp_path, drawn):
    folders = [
        write_run(tmp_path / name, config=replace(captions_preset(), seed=seed), ended=seed == 1)
        for name, seed in (("one", 1), ("two", 2))
    ]
    page = page_of(*folders, output=tmp_path / "page.html")
    (legend,) = page.find("ul", class_="runs")
    assert [entry.text for entry in legend.find("li")] == ["● one", "■ two"]
    diversity = section(page, "game").find("figure")[1]
    assert diversity.find("img")[0].attributes["alt"] == (
        "Diversity: held-out NLL ↓. one, eval/nll_heldout: 2 at iteration 0, 2.2 at iteration 10;"
        " two, eval/nll_heldout: 2 at iteration 0, 2.2 at iteration 10"
    )
    (code,) = pictures(diversity)
    assert {colour.lower() for colour in SERIES[:2]} <= set(re.findall(r"stroke: (#\w+)", code))
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    for number, colour in enumerate(SERIES[:2]):  # the marks are those of the curves
        assert f".run-{number} {{ color: {colour}; }}" in text
    badges = [badge.text for badge in section(page, "verdict").find("span", class_="badge")]
    assert badges == ["worse than maximum likelihood", "unfinished"]
    changed = section(page, "settings").find("table")[0]
    assert [cell.text for cell in changed.find("tr")[1].children] == ["seed", "1", "2", "1"]


def test_runs_of_one_name_are_told_apart(tmp_path):
    folders = [write_run(tmp_path / name / "run") for name in ("a", "b")]
    assert [run.name for run in read_runs(folders)] == [str(folder) for folder in folders]


# Wrong input


def error(*arguments):
    with pytest.raises(InputError) as caught:
        report([str(argument) for argument in arguments])
    return str(caught.value)


def test_what_is_no_run(tmp_path):
    assert error(tmp_path / "none") == f"{tmp_path}/none is no run: it has no config.yaml"
    folder = write_run(tmp_path / "run")
    (folder / "metrics.jsonl").unlink()
    assert error(folder) == f"{folder} is no run: it has no metrics.jsonl"


@pytest.mark.parametrize("content", ["not json\n{}\n", "{}\n[1]\n"])
def test_a_damaged_line_is_named(tmp_path, content):
    folder = write_run(tmp_path / "run")
    (folder / "metrics.jsonl").write_text(content)
    number = 1 if content.startswith("not") else 2
    assert f"{folder}/metrics.jsonl, line {number} is " in error(folder)


@pytest.mark.parametrize("file", ["config.yaml", "task.json"])
def test_a_damaged_file_is_named(tmp_path, file):
    folder = write_run(tmp_path / "run")
    (folder / file).write_text("{ [")
    rule = f"{folder / file} is damaged: "
    assert error(folder).startswith(rule)


def test_where_a_report_cannot_go(tmp_path):
    folder = write_run(tmp_path / "run")
    mine = tmp_path / "mine.html"
    mine.write_text("mine")
    none = tmp_path / "none" / "page.html"
    assert "no such folder" in error(folder, "--output", none)
    assert "it is a folder" in error(folder, "--output", tmp_path)
    assert "a file that is no report is there" in error(folder, "--output", mine)
    assert mine.read_text() == "mine"
    assert not (folder / "report.html").exists()


def test_a_report_overwrites_a_report_and_leaves_nothing_else(tmp_path, capsys):
    folder = write_run(tmp_path / "run")
    before = {path.name for path in folder.iterdir()}
    for _ in range(2):
        assert report([str(folder)]) == 0
        assert capsys.readouterr().out == f"{folder}/report.html\n"
    assert {path.name for path in folder.iterdir()} == before | {"report.html"}


def test_runs_that_cannot_be_compared(tmp_path):
    one = write_run(tmp_path / "one")
    oracle = write_run(tmp_path / "oracle", config=oracle_preset())
    words = write_run(tmp_path / "words", words=("a", "c", "d"))
    page = ("--output", tmp_path / "page.html")
    assert "--output FILE is missing" in error(one, oracle)
    assert (
        "one has the task captions and oracle has oracle, but the runs of a report must"
        " have one task"
    ) in error(one, oracle, *page)
    assert "one has a vocabulary of 2 words and words has another of 3" in error(one, words, *page)
    assert "is given twice" in error(one, tmp_path / "words" / ".." / "one", *page)
    assert f"{MAX_RUNS + 1} runs are given, but a report takes 1 to {MAX_RUNS}" in error(
        *[one] * (MAX_RUNS + 1), *page
    )
    assert not (tmp_path / "page.html").exists()


# In a browser


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
@pytest.mark.parametrize("num_runs", [1, 3])
def test_nothing_is_wider_than_a_phone(full_run, tmp_path, drawn, num_runs):
    names = ["a", "with_a_name_that_is_much_longer_than_the_width_of_a_phone_with_360_pixels"]
    long = [sample("x" * 400, "before the game"), with_values("y" * 300, [0.5, 0.1])]
    others = [write_run(tmp_path / name, samples=long) for name in names]
    target = write_page([full_run, *others][:num_runs], tmp_path / "page.html")
    script = (
        "<script>window.onload = () => { for (const d of document.querySelectorAll('details'))"
        " d.open = true; document.title ="
        " `${document.scrollingElement.scrollWidth} of ${window.innerWidth}`; }</script></body>"
    )
    text = target.read_text(encoding="utf-8").replace("</body>", script)
    target.write_text(text, encoding="utf-8")
    command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", "--window-size=360,800"]
    shown = subprocess.run(
        [*command, target.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    (title,) = re.findall("<title>(.*?)</title>", shown.stdout)[:1]
    width, window = map(int, title.split(" of "))
    assert width <= window <= 500
