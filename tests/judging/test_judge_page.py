"""The page in a real browser: keys, order, storage, export. Skipped where there is no Chromium."""

import csv
import html
import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from seqgan.judging.page import render
from seqgan.judging.ratings import read_ratings
from seqgan.judging.study import Source, Study, plan, read_key

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on the path")
HOSTILE = '</script><script>document.title = "broken"</script> & "<b>bold</b>" \u2028 '

PRESS = """
const press = (key, target = document.body, options = {}) =>
  target.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true, ...options}));
const begin = (name) => { $("rater").value = name; $("start").requestSubmit(); };
const report = (value) => {
  const result = document.createElement("pre");
  result.id = "result";
  result.textContent = JSON.stringify(value);
  document.body.append(result);
};
"""


@pytest.fixture(scope="module")
def study() -> Study:
    ours = Source("seqgan-tuned", [f"ours {row}" for row in range(20)])
    theirs = Source("mle-control", [f"theirs {row}" for row in range(20)])
    return plan([ours, theirs], 20, "Which one?", both_bad=True, repeats=0.2, seed=3)


def browse(folder: Path, page: str, script: str) -> object:
    """What the script reports after it was run at the end of the page.

    The page and the browser's profile lie in the folder: the same one continues.
    """
    path = folder / "page.html"
    path.write_text(
        page.replace("</body>", f"<script>{{{PRESS}{script}}}</script></body>"), "utf-8"
    )
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000"]
    ended = subprocess.run(
        [CHROMIUM, *flags, f"--user-data-dir={folder / 'profile'}", "--dump-dom", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
    )
    found = re.search(r'<pre id="result">(.*?)</pre>', ended.stdout, re.DOTALL)
    assert found, ended.stderr[-2000:]
    return json.loads(html.unescape(found[1]))


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_page_names_no_system_and_fetches_nothing(study: Study) -> None:
    page = render(study)
    key = json.dumps(study.key())
    for name in study.systems:
        assert name in key
        assert name not in page
    for hidden in ("seqgan", "mle", "comparison", "control", "intact", "repeats"):
        assert hidden not in page.lower()
    assert not re.search(r"""https?:|src=|href=["']|@import|url\(""", page)
    assert "default-src 'none'" in page


def test_the_page_holds_the_texts_escaped() -> None:
    sources = [Source("a", [HOSTILE + "one"]), Source("b", [HOSTILE + "two"])]
    page = render(plan(sources, 1, question="<i>Which</i>?", repeats=0.0))
    assert page.count("</script>") == 2
    assert "<i>" not in page
    stored = re.search(r'id="study">(.*?)</script>', page, re.DOTALL)
    assert stored
    item = json.loads(stored[1])["items"][0]
    assert {item["left"], item["right"]} == {HOSTILE + "one", HOSTILE + "two"}


@needs_browser
def test_keys_answer_and_undo(study: Study, tmp_path: Path) -> None:
    text = browse(
        tmp_path,
        render(study),
        """
        press("1");                                     // before the start: nothing
        begin("  Anna, the 1st ");
        const first = [$("left").textContent, $("right").textContent, $("count").textContent];
        const keys = ["1", "ArrowLeft", "2", "ArrowRight", "3", "t", "T", "4", "b"];
        for (const key of keys) press(key);
        press("1"); press("u"); press("2"); press("2"); press("Backspace");  // 10 answers: ... 2
        press("x"); press("1", document.body, {ctrlKey: true}); press("1", $("csv"));
        press("1", document.body, {repeat: true});
        document.querySelector('[data-answer="tie"]').click();
        document.querySelector("#right").click();
        document.querySelector("#rating .undo").click();
        report({csv: csv(), first, count: $("count").textContent, bar: $("bar").value,
                ids: order.map((item) => item.id), shown: $("csv").value === csv()});
        """,
    )
    assert isinstance(text, dict)
    found = rows(text["csv"])
    answers = "left left right right tie tie tie bad bad right tie".split()
    assert [row["answer"] for row in found] == answers
    assert {row["rater"] for row in found} == {"Anna, the 1st"}
    assert {row["page"] for row in found} == {study.page()["page"]}
    assert [row["item"] for row in found] == text["ids"][:11]
    items = {item.id: item for item in study.items}
    first = items[text["ids"][0]]
    assert text["first"] == [first.left, first.right, "1 of 24"]
    assert (text["count"], text["bar"], text["shown"]) == ("12 of 24", 11, True)


@needs_browser
def test_each_rater_has_an_order_and_twins_are_apart(study: Study, tmp_path: Path) -> None:
    orders = browse(
        tmp_path,
        render(study),
        """
        const ids = (name) => orderOf(name).map((item) => item.id);
        report([ids("anna"), ids("anna"), ids("bert"), ...[...Array(40).keys()].map(ids)]);
        """,
    )
    assert isinstance(orders, list)
    anna, again, bert = orders[:3]
    everything = sorted(item.id for item in study.items)
    assert anna == again != bert
    twins = {item.id: item.placement.repeats for item in study.items if item.placement.repeats}
    assert len(twins) == 4
    earlier = 0
    for order in orders:
        assert sorted(order) == everything
        for repeat, original in twins.items():
            distance = order.index(repeat) - order.index(original)
            assert abs(distance) > 8
            earlier += distance < 0
    assert 50 < earlier < 122  # of 172: either of the two comes first half of the time
    assert len({order[0] for order in orders[3:]}) > 8


@needs_browser
def test_a_rater_goes_on_where_he_stopped(study: Study, tmp_path: Path) -> None:
    page = render(study)
    before = browse(tmp_path, page, 'begin("Anna"); press("1"); press("2"); report(csv());')
    after = browse(
        tmp_path,
        page,
        """
        const known = $("rater").value;
        begin("Bert");
        const other = answers.length;
        begin("Anna");
        const kept = csv();
        while (!$("rating").hidden) press("3");
        press("1");                                     // after the end: nothing
        const end = [$("done").hidden, $("saving").open, answers.length];
        press("u");
        report({known, other, kept, end, open: !$("rating").hidden});
        """,
    )
    assert after == {
        "known": "Anna",
        "other": 0,
        "kept": before,
        "end": [False, True, 24],
        "open": True,
    }


@needs_browser
def test_the_download_is_what_scoring_reads(study: Study, tmp_path: Path) -> None:
    got = browse(
        tmp_path,
        render(study),
        """
        begin('Zoë "Z", x');
        while (!$("rating").hidden) press("1");
        let blob, name;
        URL.createObjectURL = (given) => { blob = given; return "blob:null/x"; };
        HTMLAnchorElement.prototype.click = function () { name = this.download; };
        $("download").click();
        Object.defineProperty(navigator, "clipboard", {value: {writeText: () => Promise.reject()}});
        document.execCommand = (command) => command === "copy";
        copy().then(async () => report({name, text: await blob.text(), type: blob.type,
          copied: $("csv").selectionEnd === csv().length, said: $("copied").textContent}));
        """,
    )
    assert isinstance(got, dict)
    assert got["name"] == f"answers-{study.page()['page']}-Zoë-Z-x.csv"
    assert got["type"] == "text/csv;charset=utf-8"
    assert (got["copied"], got["said"]) == (True, "Copied.")
    (tmp_path / "a.csv").write_text(got["text"], encoding="utf-8")
    (tmp_path / "key.json").write_text(json.dumps(study.key()), encoding="utf-8")
    ratings, notes = read_ratings([tmp_path / "a.csv"], read_key(tmp_path / "key.json"))
    assert notes == []
    assert {rating.item for rating in ratings} == {item.id for item in study.items}
    assert {(rating.rater, rating.answer) for rating in ratings} == {('Zoë "Z", x', "left")}


@needs_browser
def test_prompts_are_shown_and_hostile_texts_are_text(tmp_path: Path) -> None:
    sources = [
        Source("a", [HOSTILE + "one"], ["<u>Once</u>"]),
        Source("b", ["two"], ["<u>Once</u>"]),
    ]
    got = browse(
        tmp_path,
        render(plan(sources, 1, repeats=0.0)),
        """
        begin("Anna"); press("4"); press("b");          // not offered here
        report([$("prompt").hidden, $("prompt").lastElementChild.textContent,
                [$("left").textContent, $("right").textContent].sort(), answers.length,
                document.title, document.querySelector('[data-answer="bad"]')]);
        """,
    )
    assert got == [False, "<u>Once</u>", sorted([HOSTILE + "one", "two"]), 0, "Which text?", None]


@needs_browser
def test_without_storage_the_page_warns_and_works(study: Study, tmp_path: Path) -> None:
    got = browse(
        tmp_path,
        render(study),
        """
        Storage.prototype.setItem = () => { throw new Error("full"); };
        const before = $("unstored").hidden;
        begin("Anna"); press("1");
        report([before, $("unstored").hidden, answers.length]);
        """,
    )
    assert got == [True, False, 1]
