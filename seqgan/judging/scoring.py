"""Computes win rates with intervals, and the agreement of raters with others and with themselves.

A tie, and "both bad", counts one half for each system. Repeats and controls count in no win rate:
repeats measure a rater's consistency, controls a rater's attention.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import krippendorff
import numpy as np

from seqgan.judging.ratings import ANSWERS, Rating
from seqgan.judging.statistics import (
    bradley_terry,
    cluster_weights,
    holm,
    percentile_interval,
    sign_test,
    wilson_interval,
)
from seqgan.judging.study import INTACT, Key, Pair, pairs_of
from seqgan.system.errors import ConfigurationError

Interval = tuple[float, float]

FEW_JUDGEMENTS = 50  # of a pair; with so few, the interval of 62% wins still contains one half
FEW_RATERS = 3
TENTATIVE, RELIABLE = 2 / 3, 0.8  # Krippendorff's own bounds for alpha


@dataclass(frozen=True)
class PairScore:
    """One system against another; rates and intervals are `first`'s, 0 to 1.

    Args:
        ties: answers that prefer neither text; `both_bad` of them are "both bad".
        bootstrap: interval of the bootstrap; None if all replicates have one rate, which gives no
            estimate of the error.
        interval: from the lower of the lower ends of `wilson` and `bootstrap` to the higher of
            their upper ends; the verdict uses it.
        sign_test_p: two-sided p value over items; an item votes for the system that more of its
            raters preferred.
        holm_p: `sign_test_p`, adjusted for the number of pairs.
    """

    first: str
    second: str
    judgements: int
    items: int
    raters: int
    wins_first: int
    wins_second: int
    ties: int
    both_bad: int
    win_rate: float
    wilson: Interval
    bootstrap: Interval | None
    interval: Interval
    sign_test_p: float
    holm_p: float
    identical_pairs: int
    verdict: str


@dataclass(frozen=True)
class Strength:
    """A system's Bradley-Terry strength, in log odds; the mean over systems is 0."""

    system: str
    strength: float
    interval: Interval | None  # None if all replicates have one strength


@dataclass(frozen=True)
class RaterScore:
    """Statistics of one rater.

    Args:
        answered, items: number of answered items, and of all items of the page.
        left_rate: share of left among the answers left and right; None without such answers.
        repeats, consistent: number of repeats answered together with their originals, and of those
            with the same answer.
        controls, passed: number of answered controls, and of those won by the intact text.
        median_seconds: median seconds per answer.
    """

    rater: str
    answered: int
    items: int
    left_rate: float | None
    repeats: int
    consistent: int
    controls: int
    passed: int
    median_seconds: float


@dataclass(frozen=True)
class Scores:
    """All results of a study.

    Args:
        alpha: Krippendorff's alpha, nominal, of the answers left, right, tie and both bad; None if
            it is undefined.
        alpha_items: number of comparisons that more than one rater answered.
        agreement: `alpha` in a sentence.
        strengths: strengths of more than two systems, strongest first; else empty.
        inattentive: a sentence about each rater who failed controls, to read before any number.
        notes: warnings about the numbers.
    """

    page: str
    question: str
    pairs: list[PairScore]
    strengths: list[Strength]
    alpha: float | None
    alpha_items: int
    agreement: str
    self_consistency: float | None
    raters: list[RaterScore]
    inattentive: list[str]
    notes: list[str]


@dataclass(frozen=True)
class _Judgement:
    """A rating of a comparison: score 1 if the pair's first system won, 0 if the second did."""

    pair: int
    item: str
    rater: str
    score: float
    answer: str


def score(ratings: Sequence[Rating], key: Key, notes: Sequence[str] = (), seed: int = 0) -> Scores:
    """Computes win rates, agreement and consistency.

    Args:
        ratings: one per rater and item, as `read_ratings` returns them.
        notes: sentences to put in front of the result's own notes.
        seed: seed of the bootstrap.

    Raises:
        ConfigurationError: no rating belongs to a comparison.
    """
    pairs = pairs_of(key.systems)
    judgements = _judgements(ratings, key, pairs)
    if not judgements:
        raise ConfigurationError("there are no answers to comparisons, but a win rate needs some")
    rates, strengths = _bootstrap(judgements, pairs, key.systems, seed)
    scores = _pair_scores(judgements, pairs, rates, key)
    raters = _rater_scores(ratings, key)
    alpha, alpha_items = _alpha(judgements)
    repeats = sum(rater.repeats for rater in raters)
    return Scores(
        key.page,
        key.question,
        scores,
        strengths,
        alpha,
        alpha_items,
        _agreement(alpha, alpha_items, len(raters)),
        sum(rater.consistent for rater in raters) / repeats if repeats else None,
        raters,
        _inattentive(raters),
        [*notes, *_warnings(scores, raters, pairs)],
    )


def preferred(rating: Rating, key: Key) -> str:
    """The name of the system that a rating prefers; "" for neither."""
    placement = key.placements[rating.item]
    return {"left": placement.left, "right": placement.right}.get(rating.answer, "")


def _judgements(ratings: Sequence[Rating], key: Key, pairs: Sequence[Pair]) -> list[_Judgement]:
    number = {frozenset(pair): index for index, pair in enumerate(pairs)}
    comparisons = key.of_kind("comparison")
    judgements = []
    for rating in ratings:
        if rating.item not in comparisons:
            continue
        placement = comparisons[rating.item]
        pair = number[frozenset((placement.left, placement.right))]
        winner = preferred(rating, key)
        value = {pairs[pair][0]: 1.0, pairs[pair][1]: 0.0}.get(winner, 0.5)
        judgements.append(_Judgement(pair, rating.item, rating.rater, value, rating.answer))
    return judgements


def _bootstrap(
    judgements: Sequence[_Judgement], pairs: Sequence[Pair], systems: Sequence[str], seed: int
) -> tuple[dict[int, Interval | None], list[Strength]]:
    """Bootstraps intervals of the win rates, by the pair's number, and the systems' strengths."""
    blocks, pair = _numbered(judgements, lambda judgement: judgement.pair)
    _, items = _numbered(judgements, lambda judgement: judgement.item)
    _, raters = _numbered(judgements, lambda judgement: judgement.rater)
    values = np.array([judgement.score for judgement in judgements])
    rates, strengths = [], []
    several = len(systems) > 2

    def strengths_of(won: np.ndarray, total: np.ndarray) -> np.ndarray:
        wins = np.zeros((len(systems), len(systems)))
        for index, won_by_first, n in zip(blocks, won, total, strict=True):
            i, j = (systems.index(name) for name in pairs[index])
            wins[i, j], wins[j, i] = won_by_first, n - won_by_first
        return bradley_terry(wins)

    for weights in cluster_weights(pair, items, raters, np.random.default_rng(seed)):
        won = np.bincount(pair, weights * values, len(blocks))
        total = np.bincount(pair, weights, len(blocks))
        rates.append(np.where(total > 0, won / np.maximum(total, 1), np.nan))
        if several:
            strengths.append(strengths_of(won, total))
    low, high = percentile_interval(np.array(rates))
    intervals = {index: _spread(low[i], high[i]) for i, index in enumerate(blocks)}
    if not several:
        return intervals, []
    estimates = strengths_of(np.bincount(pair, values), np.bincount(pair).astype(float))
    low, high = percentile_interval(np.array(strengths))
    ranked = [
        Strength(system, float(estimates[i]), _spread(low[i], high[i]))
        for i, system in enumerate(systems)
    ]
    return intervals, sorted(ranked, key=lambda one: -one.strength)


def _spread(low: float, high: float) -> Interval | None:
    """The interval of a bootstrap; None if it has no width."""
    return None if math.isclose(low, high, abs_tol=1e-9) else (float(low), float(high))


def _numbered(
    judgements: Sequence[_Judgement], of: Callable[[_Judgement], int | str]
) -> tuple[list, np.ndarray]:
    """The sorted distinct values of `of`, and the index of each judgement's value among them."""
    values = sorted({of(judgement) for judgement in judgements})
    places = {value: index for index, value in enumerate(values)}
    return values, np.array([places[of(judgement)] for judgement in judgements])


def _pair_scores(
    judgements: Sequence[_Judgement],
    pairs: Sequence[Pair],
    rates: dict[int, Interval | None],
    key: Key,
) -> list[PairScore]:
    grouped: dict[int, list[_Judgement]] = defaultdict(list)
    for judgement in judgements:
        grouped[judgement.pair].append(judgement)
    present = sorted(grouped)
    p_values = [_sign_test(grouped[index]) for index in present]
    scores = []
    for index, p, adjusted in zip(present, p_values, holm(p_values), strict=True):
        group = grouped[index]
        counts = Counter(judgement.score for judgement in group)
        n = len(group)
        rate = sum(judgement.score for judgement in group) / n
        wilson, bootstrap = wilson_interval(rate * n, n), rates[index]
        wider = wilson
        if bootstrap is not None:
            wider = min(wilson[0], bootstrap[0]), max(wilson[1], bootstrap[1])
        first, second = pairs[index]
        scores.append(
            PairScore(
                first,
                second,
                n,
                len({judgement.item for judgement in group}),
                len({judgement.rater for judgement in group}),
                counts[1.0],
                counts[0.0],
                counts[0.5],
                sum(judgement.answer == "bad" for judgement in group),
                rate,
                wilson,
                bootstrap,
                wider,
                p,
                adjusted,
                key.identical.get(pairs[index], 0),
                verdict(first, second, rate, wider, n),
            )
        )
    return scores


def verdict(first: str, second: str, rate: float, interval: Interval, n: int) -> str:
    """Puts a pair's numbers into a sentence."""
    low, high = interval
    if rate < 0.5:
        first, second, rate, low, high = second, first, 1 - rate, 1 - high, 1 - low
    numbers = f"in {rate:.0%} of {_counted(n, 'judgement')} (95% interval {low:.0%} to {high:.0%})"
    if rate == 0.5:
        return f"{first} and {second} are each preferred {numbers}: no preference is shown."
    if low > 0.5:
        return f"{first} is preferred to {second} {numbers}; the interval excludes one half."
    return (
        f"{first} is preferred to {second} {numbers}; the interval includes one half, so that no"
        " preference is shown."
    )


def _counted(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _sign_test(group: Sequence[_Judgement]) -> float:
    """The sign test over items. Raters of one item are not independent, so an item has one vote."""
    votes: dict[str, float] = defaultdict(float)
    for judgement in group:
        votes[judgement.item] += judgement.score - 0.5
    return sign_test(sum(v > 0 for v in votes.values()), sum(v < 0 for v in votes.values()))


def _alpha(judgements: Sequence[_Judgement]) -> tuple[float | None, int]:
    """Krippendorff's alpha of the answers, and the number of items it is based on.

    The categories are sides, not systems. Two raters who always answer "left" agree by habit: by
    sides, alpha is then undefined; by systems, they would seem to agree on quality.
    """
    counts: dict[str, list[int]] = defaultdict(lambda: [0] * len(ANSWERS))
    for judgement in judgements:
        counts[judgement.item][ANSWERS.index(judgement.answer)] += 1
    shared = np.array([row for row in counts.values() if sum(row) > 1])
    if not len(shared) or np.count_nonzero(shared.sum(axis=0)) < 2:
        return None, len(shared)
    value = krippendorff.alpha(value_counts=shared, level_of_measurement="nominal")
    return float(value), len(shared)


def _agreement(alpha: float | None, items: int, raters: int) -> str:
    if raters == 1:
        return "Krippendorff's alpha is not defined with one rater."
    if not items:
        return "Krippendorff's alpha is not defined: no item was answered by two raters."
    if alpha is None:
        return "Krippendorff's alpha is not defined: all answers are the same one."
    level = (
        "raters agree reliably (0.8 or more)"
        if alpha >= RELIABLE
        else "enough for tentative conclusions (0.667 to 0.8)"
        if alpha >= TENTATIVE
        else "raters agree too little to rely on single answers (below 0.667)"
    )
    return f"Krippendorff's alpha is {alpha:.3f} over {_counted(items, 'item')}: {level}."


def _rater_scores(ratings: Sequence[Rating], key: Key) -> list[RaterScore]:
    repeats, controls = key.of_kind("repeat"), key.of_kind("control")
    scores = []
    for rater in sorted({rating.rater for rating in ratings}):
        own = {rating.item: rating for rating in ratings if rating.rater == rater}
        sides = Counter(rating.answer for rating in own.values())
        decided = sides["left"] + sides["right"]
        both = [
            (own[name], own[placed.repeats])
            for name, placed in repeats.items()
            if name in own and placed.repeats in own
        ]
        alike = [
            preferred(again, key) == preferred(before, key)
            and (again.answer == "bad") == (before.answer == "bad")
            for again, before in both
        ]
        passes = [preferred(own[name], key) == INTACT for name in controls if name in own]
        scores.append(
            RaterScore(
                rater,
                len(own),
                len(key.placements),
                sides["left"] / decided if decided else None,
                len(both),
                sum(alike),
                len(passes),
                sum(passes),
                median(rating.seconds for rating in own.values()),
            )
        )
    return scores


def _inattentive(raters: Sequence[RaterScore]) -> list[str]:
    return [
        f"{rater.rater} preferred the intact text in {rater.passed} of"
        f" {_counted(rater.controls, 'control')}; the answers count all the same"
        for rater in raters
        if rater.passed < 0.8 * rater.controls
    ]


def _warnings(
    scores: Sequence[PairScore], raters: Sequence[RaterScore], pairs: Sequence[Pair]
) -> list[str]:
    notes = []
    for one in scores:
        names = f"{one.first} and {one.second}"
        if one.judgements < FEW_JUDGEMENTS:
            notes.append(
                f"{names}: {_counted(one.judgements, 'judgement')}, few (below"
                f" {FEW_JUDGEMENTS}); only a large difference could show"
            )
        if one.identical_pairs:
            notes.append(
                f"{names}: {one.identical_pairs} pairs were equal texts, shown to nobody, and are"
                " in no number"
            )
    for first, second in pairs:
        if (first, second) not in {(one.first, one.second) for one in scores}:
            notes.append(f"{first} and {second}: no judgements")
    if len(raters) < FEW_RATERS:
        notes.append(
            f"{_counted(len(raters), 'rater')}: the intervals say little of"
            " what other people would prefer"
        )
    for rater in raters:
        if rater.answered < rater.items:
            notes.append(f"{rater.rater} answered {rater.answered} of {rater.items} items")
        decided = rater.left_rate is not None and not math.isclose(rater.left_rate, 0.5)
        if decided and rater.answered >= 20 and not 0.25 <= (rater.left_rate or 0) <= 0.75:
            notes.append(f"{rater.rater} chose the left text in {rater.left_rate:.0%} of choices")
    return notes
