"""The design of a comparison, and its numbers, on answers that are made up: no person's."""

import json
import math
import random
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from seqgan.judging.ratings import Rating, read_ratings
from seqgan.judging.scoring import Scores, preferred, score, verdict
from seqgan.judging.statistics import (
    bradley_terry,
    cluster_weights,
    holm,
    percentile_interval,
    sign_test,
    wilson_interval,
)
from seqgan.judging.study import (
    Key,
    Placement,
    Source,
    Study,
    giveaways,
    lowercased_words,
    plan,
    prompts_of,
    read_key,
    repeated_texts,
    shuffled_words,
    texts_needed,
)


def source(name: str, n: int) -> Source:
    return Source(name, [f"{name} text {row}" for row in range(n)])


def key_of(study: Study, folder: Path) -> Key:
    path = folder / "key.json"
    path.write_text(json.dumps(study.key(), ensure_ascii=False), encoding="utf-8")
    return read_key(path)


# The design


@pytest.mark.parametrize("names", ["ab", "abc", "abcde"])
@pytest.mark.parametrize("num_pairs", [8, 11])
def test_pairs_sides_and_texts_are_balanced(names: str, num_pairs: int) -> None:
    sources = [source(name, texts_needed(len(names), num_pairs)) for name in names]
    study = plan(sources, num_pairs, repeats=0.25, seed=5)
    comparisons = [item for item in study.items if item.placement.kind == "comparison"]
    for pair in combinations(names, 2):
        lefts = Counter(i.placement.left for i in comparisons if {*pair} == {*vars_of(i)})
        assert sum(lefts.values()) == num_pairs
        assert abs(lefts[pair[0]] - lefts[pair[1]]) == num_pairs % 2
    shown = [text for item in comparisons for text in (item.left, item.right)]
    assert sorted(shown) == sorted(text for one in sources for text in one.texts)
    for item in study.items:  # each side's text is that of the system which the key names
        assert item.left.startswith(f"{item.placement.left} ")
        assert item.right.startswith(f"{item.placement.right} ")


def vars_of(item) -> tuple[str, str]:
    return item.placement.left, item.placement.right


def test_repeats_are_their_originals_with_swapped_sides() -> None:
    study = plan([source(name, 40) for name in "abc"], 20, repeats=0.15)
    items = {item.id: item for item in study.items}
    repeats = [item for item in study.items if item.placement.kind == "repeat"]
    assert Counter(frozenset(vars_of(item)) for item in repeats) == {
        frozenset(pair): 3 for pair in combinations("abc", 2)
    }
    assert len({item.placement.repeats for item in repeats}) == 9
    for item in repeats:
        original = items[item.placement.repeats]
        assert original.placement.kind == "comparison"
        assert (item.left, item.right) == (original.right, original.left)
        assert vars_of(item) == vars_of(original)[::-1]


def test_the_seed_decides_all_and_neither_order_nor_ids_tell() -> None:
    sources = [source("a", 60), source("b", 60)]
    study = plan(sources, 60, seed=1)
    assert plan(sources, 60, seed=1) == study
    assert plan(sources, 60, seed=2).page()["page"] != study.page()["page"]
    assert len({item.id for item in study.items}) == 66
    by_id = sorted(study.items, key=lambda item: item.id)
    for order in (list(study.items), by_id):
        kinds = "".join(item.placement.kind[0] + item.placement.left for item in order)
        runs = sum(one != other for one, other in zip(kinds[::2], kinds[2::2], strict=False))
        sides = sum(x != y for x, y in zip(kinds[1::2], kinds[3::2], strict=False))
        assert runs >= 6
        assert 20 < sides < 46


def test_the_page_says_nothing_of_the_key() -> None:
    study = plan([source("a", 5), source("b", 5)], 5, repeats=0.4)
    page = study.page()
    assert set(page) == {"page", "question", "bothBad", "items"}
    assert all(set(item) == {"id", "left", "right", "prompt"} for item in page["items"])
    other = plan([source("a", 5), source("b", 5)], 5, "Another question?", repeats=0.4)
    assert other.page()["page"] != page["page"]


def test_equal_texts_are_left_out_and_counted(tmp_path: Path) -> None:
    ours = Source("a", ["same  text", "x", "y", "same text"])
    theirs = Source("b", ["same text ", "z", "y", "w"])
    study = plan([ours, theirs], 4, repeats=0.0)
    assert study.identical == {("a", "b"): 2}
    assert sorted((item.left, item.right) for item in study.items) in (
        [("same text", "w"), ("z", "x")],
        [("w", "same text"), ("x", "z")],
    )
    assert key_of(study, tmp_path).identical == {("a", "b"): 2}
    with pytest.raises(ValueError, match="a and b have 1 equal texts and none that differ"):
        plan([Source("a", ["same"]), Source("b", ["same"])], 1)
    assert repeated_texts(["a b", "a  b", "c", "a b "]) == 2


def test_both_texts_continue_one_prompt() -> None:
    n = 3
    prompts = [f"prompt {row}" for row in range(9)]  # three pairs of systems, three rows each
    sources = []
    for index, name in enumerate("abc"):
        rows = prompts_of(index, 3, n)
        assert len(rows) == texts_needed(3, n)
        sources.append(
            Source(name, [f"{name} to {row}" for row in rows], [prompts[row] for row in rows])
        )
    study = plan(sources, n)
    assert {item.prompt for item in study.items} == set(prompts)
    for item in study.items:
        row = item.prompt.removeprefix("prompt ")
        assert {item.left, item.right} == {f"{name} to {row}" for name in vars_of(item)}
    alone = Source("d", sources[2].texts)
    with pytest.raises(
        ValueError,
        match=(
            "the texts of a and d continue 'prompt 3' and '', but both texts of a comparison"
            " must continue one prompt"
        ),
    ):
        plan([sources[0], sources[1], alone], n)


def test_controls_are_a_text_beside_its_shuffled_words() -> None:
    controls = Source(
        "", ["one two three four five", "abcd", "six seven eight nine"], ["p", "", ""]
    )
    study = plan([source("a", 2), source("b", 2)], 2, controls=controls, repeats=0.0)
    found = [item for item in study.items if item.placement.kind == "control"]
    assert len(found) == 3
    for item in found:
        sides = {item.placement.left: item.left, item.placement.right: item.right}
        assert sides["intact"] in controls.texts
        assert sides["shuffled"] != sides["intact"]
        assert sorted(sides["shuffled"]) == sorted(sides["intact"])
        assert item.prompt == ("p" if sides["intact"].startswith("one") else "")
    assert Counter(item.placement.left for item in found)["intact"] in (1, 2)


def test_words_or_characters_are_shuffled() -> None:
    rng = random.Random(0)
    assert sorted(shuffled_words("a bc d ef", rng).split()) == ["a", "bc", "d", "ef"]
    assert sorted(shuffled_words("春眠不覺曉", rng)) == sorted("春眠不覺曉")


def test_spelling_that_tells_systems_apart_is_named() -> None:
    real = Source("real", ["The dog sits."] * 3 + ["It runs."])
    ours = Source("ours", ["the dog sits .", "it runs ."])
    first, second = giveaways([real, ours])
    assert first == "capital letters: in 100% of the texts of real, in 0% of those of ours"
    assert second.startswith("spaces before full stops and commas: in 100% of the texts of ours")
    same = [lowercased_words(one) for one in (real, ours)]
    assert giveaways(same) == []
    assert same[0].texts == ["the dog sits ."] * 3 + ["it runs ."]


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot read the key .*none.json: "):
        read_key(tmp_path / "none.json")
    ours = '{"format": "blinded comparison, key 1"'
    of_page = ours + ', "page": "p", "question": "q", "systems": ["a", "b"], "identical": []'
    changed = (ours + "}", of_page + ', "items": []}', of_page + ', "items": {"1": {"side": 1}}}')
    for content in ("rater,item", "[]", "{}", '{"format": "other"}', *changed):
        (tmp_path / "key.json").write_text(content)
        with pytest.raises(
            ValueError, match="is no key: it is not the JSON file that was written with the"
        ):
            read_key(tmp_path / "key.json")


# The mathematics


@pytest.mark.parametrize(
    ("wins", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_published_examples(wins: int, n: int, low: float, high: float) -> None:
    """Newcombe (1998), table I."""
    assert wilson_interval(float(wins), n) == pytest.approx((low, high), abs=6e-5)
    mirrored = wilson_interval(float(n - wins), n)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=6e-5)


def test_sign_test_by_hand() -> None:
    assert sign_test(8, 2) == pytest.approx(2 * (1 + 10 + 45) / 1024)
    assert sign_test(2, 8) == sign_test(8, 2)
    assert sign_test(5, 5) == 1.0
    assert sign_test(0, 0) == 1.0
    assert sign_test(6, 0) == pytest.approx(2 / 64)


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([0.02]) == [0.02]


def test_bradley_terry_recovers_strengths() -> None:
    strengths = np.array([-1.0, 0.25, 0.75])
    odds = np.exp(strengths)
    games = np.array([[0, 3e8, 1e8], [3e8, 0, 2e8], [1e8, 2e8, 0]])  # unequal on purpose
    wins = games * odds[:, None] / (odds[:, None] + odds[None, :])
    assert bradley_terry(wins) == pytest.approx(strengths, abs=1e-6)


def test_bradley_terry_with_few_games() -> None:
    two = bradley_terry(np.array([[0.0, 7.0], [2.0, 0.0]]))
    assert two[0] - two[1] == pytest.approx(math.log(7.5 / 2.5))
    perfect = bradley_terry(np.array([[0.0, 5, 5], [0, 0, 3], [0, 2, 0]]))
    assert np.isfinite(perfect).all()
    extreme = bradley_terry(np.array([[0.0, 1e9], [0.0, 0.0]]))
    assert extreme[0] - extreme[1] == pytest.approx(math.log(2e9))
    assert list(np.argsort(-perfect)) == [0, 1, 2]
    # The likelihood's gradient, wins minus expected wins, is 0 with the added ties.
    wins = np.array([[0.5, 5.5, 5.5], [0.5, 0.5, 3.5], [0.5, 2.5, 0.5]])
    np.fill_diagonal(wins, 0)
    chance = 1 / (1 + np.exp(perfect[None, :] - perfect[:, None]))
    gradient = (wins - (wins + wins.T) * chance).sum(axis=1)
    assert gradient == pytest.approx(np.zeros(3), abs=1e-6)


def bootstrap_width(scores: np.ndarray, items: np.ndarray, raters: np.ndarray) -> float:
    weights = cluster_weights(np.zeros_like(items), items, raters, np.random.default_rng(0))
    rates = np.array([np.average(scores, weights=one) for one in weights if one.sum()])
    low, high = percentile_interval(rates[:, None])
    return float(high[0] - low[0])


def test_the_bootstrap_knows_that_raters_of_one_item_are_not_independent() -> None:
    scores = np.array([1.0] * 60 + [0.0] * 40)
    items = np.arange(100)
    alone = bootstrap_width(scores, items, np.zeros(100, dtype=int))
    assert alone == pytest.approx(2 * 1.96 * math.sqrt(0.6 * 0.4 / 100), rel=0.06)
    # Five raters who agree on every item say as much as one of them.
    five = np.arange(500) // 100
    assert bootstrap_width(np.tile(scores, 5), np.tile(items, 5), five) == pytest.approx(
        alone, rel=0.06
    )
    low, high = wilson_interval(300.0, 500)
    assert high - low < 0.5 * alone
    # Raters who each have one opinion on all items: only the number of raters counts.
    opinions = np.repeat([1.0, 1, 1, 0, 0], 100)
    assert bootstrap_width(opinions, np.tile(items, 5), five) > 0.7


def test_items_are_drawn_within_their_block() -> None:
    blocks = np.array([0, 0, 1, 1, 1, 0])
    items = np.array([0, 1, 2, 3, 4, 0])
    for weights in cluster_weights(blocks, items, np.zeros(6, dtype=int), np.random.default_rng(1)):
        assert weights[0] + weights[1] == 2
        assert weights[2:5].sum() == 3
        assert weights[5] == weights[0]


# Scoring


def answers_for(key: Key, rater: str, choose) -> list[Rating]:
    """A rater's answers to all items: `choose` names a system, or gives tie or bad."""
    found = []
    for name, placed in key.placements.items():
        choice = choose(name, placed)
        sides = {placed.left: "left", placed.right: "right"}
        found.append(Rating(rater, name, sides.get(choice, choice), 2.0))
    return found


@pytest.fixture
def key(tmp_path: Path) -> Key:
    sources = [source("a", 100), source("b", 100)]
    controls = Source("", [f"one two three four {row}" for row in range(5)])
    return key_of(plan(sources, 100, repeats=0.2, controls=controls), tmp_path)


def test_swapped_sides_are_scored_right(key: Key) -> None:
    """A rater who always prefers b chooses both sides, and b wins everything."""
    ratings = answers_for(key, "r", lambda _, placed: "b" if placed.kind != "control" else "intact")
    sides = Counter(rating.answer for rating in ratings)
    assert min(sides["left"], sides["right"]) > 45
    scores = score(ratings, key)
    [pair] = scores.pairs
    assert (pair.first, pair.second) == ("a", "b")
    assert (pair.wins_first, pair.wins_second, pair.ties, pair.win_rate) == (0, 100, 0, 0.0)
    assert pair.verdict == (
        "b is preferred to a in 100% of 100 judgements (95% interval 96% to 100%);"
        " the interval excludes one half."
    )
    [rater] = scores.raters
    assert (rater.repeats, rater.consistent, rater.controls, rater.passed) == (20, 20, 5, 5)
    assert scores.self_consistency == 1
    assert pair.bootstrap is None  # every draw gives 0
    assert pair.interval == pair.wilson
    # The same answers read from the other side: always left wins one half, and contradicts itself.
    lefts = [Rating("r", name, "left", 1.0) for name in key.placements]
    scores = score(lefts, key)
    assert scores.pairs[0].win_rate == 0.5
    assert scores.self_consistency == 0
    assert any("r chose the left text in 100% of choices" in note for note in scores.notes)


def test_known_win_rates_are_recovered(key: Key) -> None:
    """Three raters with 60 wins, 30 losses and 10 ties of a each, on different items."""
    rng = random.Random(0)
    comparisons = list(key.of_kind("comparison"))
    ratings = []
    for rater in ("r", "s", "t"):
        outcomes = ["a"] * 60 + ["b"] * 30 + ["tie"] * 6 + ["bad"] * 4
        rng.shuffle(outcomes)
        chosen = dict(zip(comparisons, outcomes, strict=True))
        ratings += answers_for(key, rater, lambda name, placed, of=chosen: of.get(name, "tie"))
    scores = score(ratings, key)
    [pair] = scores.pairs
    assert (pair.wins_first, pair.wins_second, pair.ties, pair.both_bad) == (180, 90, 30, 12)
    assert (pair.judgements, pair.items, pair.raters) == (300, 100, 3)
    assert pair.win_rate == pytest.approx(0.65)
    assert pair.wilson == pytest.approx(wilson_interval(195.0, 300))
    assert pair.bootstrap[0] < 0.65 < pair.bootstrap[1]
    assert pair.interval == (
        min(pair.wilson[0], pair.bootstrap[0]),
        max(pair.wilson[1], pair.bootstrap[1]),
    )
    votes: Counter[str] = Counter()
    for rating in ratings:
        if rating.item in comparisons and preferred(rating, key):
            votes[rating.item] += 1 if preferred(rating, key) == "a" else -1
    plus, minus = sum(v > 0 for v in votes.values()), sum(v < 0 for v in votes.values())
    assert pair.sign_test_p == sign_test(plus, minus) < 0.01
    assert pair.holm_p == pair.sign_test_p
    assert scores.strengths == []


def test_several_systems_are_ranked_by_strength(tmp_path: Path) -> None:
    names = ("low", "high", "middle")
    key = key_of(plan([source(name, 400) for name in names], 200, repeats=0.0), tmp_path)
    worth = {"low": -1.0, "high": 0.9, "middle": 0.1}
    rng = random.Random(1)

    def choose(_: str, placed: Placement) -> str:
        chance = 1 / (1 + math.exp(worth[placed.right] - worth[placed.left]))
        return placed.left if rng.random() < chance else placed.right

    scores = score(answers_for(key, "r", choose), key)
    assert [one.system for one in scores.strengths] == ["high", "middle", "low"]
    for one in scores.strengths:
        assert one.interval[0] < worth[one.system] < one.interval[1]
        assert 0.15 < one.interval[1] - one.interval[0] < 0.6
    assert sum(one.strength for one in scores.strengths) == pytest.approx(0, abs=1e-9)
    assert [(one.first, one.second) for one in scores.pairs] == list(combinations(names, 2))
    assert all(one.holm_p >= one.sign_test_p for one in scores.pairs)
    low_high = scores.pairs[0]
    assert low_high.win_rate == pytest.approx(1 / (1 + math.exp(1.9)), abs=0.06)
    assert low_high.verdict.startswith("high is preferred to low in ")


def made_up(rows: list[str]) -> Scores:
    """Scores of raters (a string each) on as many items; "." is no answer."""
    letters = {"l": "left", "r": "right", "t": "tie", "b": "bad"}
    placements = {f"u{unit}": Placement("comparison", "a", "b") for unit in range(len(rows[0]))}
    ratings = [
        Rating(f"rater {row}", f"u{unit}", letters[letter], 1.0)
        for row, answers in enumerate(rows)
        for unit, letter in enumerate(answers)
        if letter != "."
    ]
    return score(ratings, Key("page", "?", ("a", "b"), placements, {}))


def test_alpha_of_published_examples() -> None:
    """Krippendorff (2011), A: two observers, two values. Wikipedia: three coders, gaps."""
    binary = made_up(["lrllllllrl", "rrrllrllll"])
    assert binary.alpha == pytest.approx(0.095, abs=5e-4)
    assert binary.alpha_items == 10
    assert "below 0.667" in binary.agreement
    #        values 1 2 3 4 as l r t b
    gaps = made_up([".....tblrlltt.t", "l.rlttbt.......", "..rltbb.rlltt.b"])
    assert gaps.alpha == pytest.approx(0.691358, abs=1e-6)
    assert gaps.alpha_items == 12
    assert gaps.agreement.startswith("Krippendorff's alpha is 0.691 over 12 items: enough for")


def test_alpha_by_hand() -> None:
    """Four items, one disagreement: D_o = 2/8, D_e = 2 * 5 * 3 / (8 * 7); alpha = 1 - D_o / D_e."""
    scores = made_up(["lllr", "llrr"])
    assert scores.alpha == pytest.approx(1 - (2 / 8) / (30 / 56))


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (["lrt"], "not defined with one rater"),
        (["lr..", "..rl"], "no item was answered by two raters"),
        (["lll", "lll"], "all answers are the same one"),
    ],
)
def test_alpha_that_is_not_defined_says_so(rows: list[str], reason: str) -> None:
    scores = made_up(rows)
    assert scores.alpha is None
    assert reason in scores.agreement


def test_consistency_of_ties_and_of_both_bad() -> None:
    placements = {
        "x": Placement("comparison", "a", "b"),
        "x2": Placement("repeat", "b", "a", "x"),
        "y": Placement("comparison", "a", "b"),
        "y2": Placement("repeat", "b", "a", "y"),
        "z": Placement("comparison", "b", "a"),
        "z2": Placement("repeat", "a", "b", "z"),
    }
    key = Key("page", "?", ("a", "b"), placements, {("a", "b"): 4})

    def consistent(**answers: str) -> tuple[int, int]:
        ratings = [Rating("r", item, answer, 1.0) for item, answer in answers.items()]
        [rater] = score(ratings, key).raters
        return rater.consistent, rater.repeats

    assert consistent(x="left", x2="right", y="tie", y2="tie", z="bad", z2="bad") == (3, 3)
    assert consistent(x="left", x2="left", y="tie", y2="bad", z="tie", z2="left") == (0, 3)
    assert consistent(x="left", y="right", y2="left", z2="left") == (1, 1)
    notes = score([Rating("r", "x", "left", 1.0)], key).notes
    assert any("a and b: 4 pairs were equal texts" in note for note in notes)
    assert any("a and b: 1 judgement, few (below 50)" in note for note in notes)
    assert any(note.startswith("1 rater: the intervals say little") for note in notes)
    assert any("r answered 1 of 6 items" in note for note in notes)


def test_a_rater_who_fails_controls_is_named(key: Key) -> None:
    ratings = answers_for(key, "r", lambda _, p: "shuffled" if p.kind == "control" else "a")
    scores = score(ratings, key)
    assert scores.raters[0].passed == 0
    assert any(
        "r preferred the intact text in 0 of 5 controls" in note for note in scores.inattentive
    )
    assert not any("controls" in note for note in scores.notes)
    assert scores.pairs[0].judgements == 100
    only_controls = [rating for rating in ratings if rating.item in key.of_kind("control")]
    with pytest.raises(ValueError, match="there are no answers to comparisons"):
        score(only_controls, key)


def test_one_judgement_has_wilsons_interval_alone() -> None:
    key = Key("p", "?", ("a", "b"), {"x": Placement("comparison", "b", "a")}, {})
    [pair] = score([Rating("r", "x", "left", 1.0)], key).pairs
    assert (pair.win_rate, pair.bootstrap) == (0.0, None)
    assert pair.interval == pair.wilson == pytest.approx(wilson_interval(0.0, 1))
    assert pair.verdict.startswith("b is preferred to a in 100% of 1 judgement (95% interval 21%")


def test_verdicts() -> None:
    assert verdict("a", "b", 0.39, (0.31, 0.48), 120) == (
        "b is preferred to a in 61% of 120 judgements (95% interval 52% to 69%);"
        " the interval excludes one half."
    )
    assert verdict("a", "b", 0.55, (0.45, 0.64), 100) == (
        "a is preferred to b in 55% of 100 judgements (95% interval 45% to 64%);"
        " the interval includes one half, so that no preference is shown."
    )
    assert verdict("a", "b", 0.5, (0.4, 0.6), 10).startswith("a and b are each preferred in 50%")


# Reading answers


def csv_file(folder: Path, name: str, *rows: str) -> Path:
    path = folder / name
    path.write_text("rater,item,answer,seconds,time,page\n" + "".join(f"{row}\n" for row in rows))
    return path


@pytest.fixture
def small() -> Key:
    placements = {name: Placement("comparison", "a", "b") for name in ("x", "y")}
    return Key("p1", "?", ("a", "b"), placements, {})


def test_the_latest_answer_counts_and_is_said(small: Key, tmp_path: Path) -> None:
    first = csv_file(
        tmp_path,
        "first.csv",
        "r,x,left,1.5,2026-01-01T10:00:00.000Z,p1",
        "r,y,tie,2,2026-01-01T10:00:02.000Z,p1",
        "r,x,right,3,2026-01-01T10:00:05.000Z,p1",
        "s,x,tie,3,2026-01-01T10:00:05.000Z,p1",
    )
    ratings, notes = read_ratings([first], small)
    assert ratings == [
        Rating("r", "x", "right", 3.0),
        Rating("r", "y", "tie", 2.0),
        Rating("s", "x", "tie", 3.0),
    ]
    assert notes == [
        f"{first}: rows that answer an item again: 1; of a rater's answers to an item the latest"
        " counts"
    ]
    second = csv_file(tmp_path, "second.csv", "r,x,left,1,2026-01-01T11:00:00+02:00,p1")  # earlier
    for order in ([first, second], [second, first]):
        ratings, _ = read_ratings(order, small)
        assert {(one.rater, one.item): one.answer for one in ratings}["r", "x"] == "right"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            "r,x,left,1,2026-01-01T10:00:00Z,p2",
            "line 3: the answer is for page 'p2', but the key is for page p1",
        ),
        ("r,w,left,1,2026-01-01T10:00:00Z,p1", "line 3: the item 'w' is not on the page"),
        (
            "r,x,both,1,2026-01-01T10:00:00Z,p1",
            "line 3: the answer is 'both', but must be one of left, right, tie, bad",
        ),
        ("r,x,left,1,p1", "line 3 has 5 fields, but the header has 6"),
        (",x,left,1,2026-01-01T10:00:00Z,p1", "line 3: the name of the rater is blank"),
        ("r,x,left,-1,2026-01-01T10:00:00Z,p1", "line 3: seconds is '-1', but must be 0 or more"),
        ("r,x,left,nan,2026-01-01T10:00:00Z,p1", "line 3: seconds is 'nan', but must be 0 or more"),
        (
            "r,x,left,soon,2026-01-01T10:00:00Z,p1",
            "line 3: seconds is 'soon', but must be 0 or more",
        ),
        ("r,x,left,1,yesterday,p1", "line 3: the time is 'yesterday', but must be of ISO 8601"),
        (
            "r,x,left,1,2026-01-01T10:00:00,p1",
            "line 3: the time '2026-01-01T10:00:00' has no time zone",
        ),
        ('r,x,"left"x,1,2026-01-01T10:00:00Z,p1', "line 3 is not well-formed CSV"),
    ],
)
def test_a_wrong_row_is_named(row: str, message: str, small: Key, tmp_path: Path) -> None:
    path = csv_file(tmp_path, "a.csv", "r,y,left,1,2026-01-01T10:00:00Z,p1", row)
    with pytest.raises(ValueError, match="a.csv, " + message):
        read_ratings([path], small)


def test_an_answer_is_one_that_the_page_offers(tmp_path: Path) -> None:
    path = csv_file(tmp_path, "a.csv", "r,{item},bad,1,2026-01-01T10:00:00Z,{page}")
    template = path.read_text()
    for both_bad in (False, True):
        key = key_of(plan([source("a", 2), source("b", 2)], 2, both_bad=both_bad), tmp_path)
        assert key.both_bad == both_bad
        path.write_text(template.format(item=next(iter(key.placements)), page=key.page))
        if both_bad:
            assert [rating.answer for rating in read_ratings([path], key)[0]] == ["bad"]
        else:
            with pytest.raises(ValueError, match=" is 'bad', but must be one of left, right, tie"):
                read_ratings([path], key)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "line 1 has no column 'rater'"),
        (b"rater,item,seconds,time,page\n", "line 1 has no column 'answer'"),
        (b"rater,item,answer,seconds,time,page\n\n", "a.csv is empty, but must hold answers"),
        (b"rater,item,answer,seconds,time,page\n\xff", "line 2: the byte 0xff is not UTF-8"),
    ],
)
def test_a_wrong_file_is_named(content: bytes, message: str, small: Key, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_ratings([tmp_path / "a.csv"], small)
    with pytest.raises(ValueError, match=r"cannot read .*b.csv: "):
        read_ratings([tmp_path / "b.csv"], small)


def test_columns_in_another_order_and_a_byte_order_mark(small: Key, tmp_path: Path) -> None:
    rows = "page,extra,answer,rater,time,item,seconds\np1,?,tie, r ,2026-01-01T10:00:00Z,y,7\n"
    (tmp_path / "a.csv").write_text("\ufeff" + rows.replace("\n", "\r\n"), encoding="utf-8")
    assert read_ratings([tmp_path / "a.csv"], small) == ([Rating("r", "y", "tie", 7.0)], [])
