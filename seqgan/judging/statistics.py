"""The mathematics of win rates: intervals, tests, strengths. Pure functions of arrays."""

import math
from collections.abc import Iterator, Sequence
from statistics import NormalDist

import numpy as np
from jaxtyping import Float, Int

CONFIDENCE = 0.95
REPLICATES = 2000


def wilson_interval(wins: float, n: int) -> tuple[float, float]:
    """Wilson's score interval (1927) of a rate, at 95%.

    With p = wins / n and z the normal quantile: (p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) /
    (1 + z^2/n). Stays inside 0 to 1 and is of use at small n and at rates of 0 and 1. Wins may be
    halves, from ties; such answers vary less than wins and losses do, so the interval then errs
    on the wide side. It takes the n answers for independent.
    """
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    rate = wins / n
    centre = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    return max(centre - half, 0.0), min(centre + half, 1.0)


def sign_test(plus: int, minus: int) -> float:
    """Two-sided p of `plus` against `minus` under fair coins, exact; 1 where there are none."""
    n = plus + minus
    tail = sum(math.comb(n, k) for k in range(min(plus, minus) + 1))
    return min(1.0, 2 * tail / 2**n)


def holm(p_values: Sequence[float]) -> list[float]:
    """p values adjusted for being one of several (Holm, 1979)."""
    order = np.argsort(p_values, kind="stable")
    adjusted, running = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        running = max(running, (len(p_values) - rank) * p_values[index])
        adjusted[index] = min(running, 1.0)
    return adjusted


def bradley_terry(wins: Float[np.ndarray, "system system"]) -> Float[np.ndarray, " system"]:
    """Strengths s with P(i beats j) = 1 / (1 + exp(s_j - s_i)), by maximum likelihood; mean 0.

    Newton's method on the log likelihood, which is concave, in steps of at most 1. Each two systems
    get one tie more than they have, as Haldane and Anscombe add halves to log odds: otherwise a
    system that wins everything would have no finite strength.

    Args:
        wins: how often the row's system beat the column's, a tie counting one half for each.

    Returns:
        Log odds, natural logarithm: a difference of 1 is 73% wins.
    """
    n = len(wins)
    wins = wins + 0.5 * (1 - np.eye(n))
    games = wins + wins.T
    strengths = np.zeros(n)
    for _ in range(100):
        chance = 1 / (1 + np.exp(strengths[None, :] - strengths[:, None]))
        gradient = (wins - games * chance).sum(axis=1)
        curvature = games * chance * (1 - chance)
        # Only differences matter: the ones keep the mean at 0 and the matrix invertible.
        hessian = np.diag(curvature.sum(axis=1)) - curvature + np.ones((n, n))
        step = np.linalg.solve(hessian, gradient)
        strengths = strengths + step / max(1.0, np.abs(step).max())
        if np.abs(step).max() < 1e-10:
            break
    return strengths - strengths.mean()


def cluster_weights(
    blocks: Int[np.ndarray, " judgement"],
    items: Int[np.ndarray, " judgement"],
    raters: Int[np.ndarray, " judgement"],
    rng: np.random.Generator,
) -> Iterator[Int[np.ndarray, " judgement"]]:
    """How often each judgement is in each of the bootstrap's replicates, items and raters drawn.

    Judgements of one item, and those of one rater, are not independent. Items are drawn anew
    within their block (a pair of systems), raters among all, and a judgement counts as often as
    its item times its rater (Owen, 2007, the pigeonhole bootstrap; it errs on the wide side). A
    single rater stays: what one rater says tells nothing about others.

    Args:
        blocks, items, raters: numbers from 0 without a gap; an item is in one block.
    """
    num_items, num_raters = items.max() + 1, raters.max() + 1
    block_of = np.zeros(num_items, dtype=int)
    block_of[items] = blocks
    members = [np.flatnonzero(block_of == block) for block in range(blocks.max() + 1)]
    for _ in range(REPLICATES):
        drawn = np.zeros(num_items, dtype=int)
        for block in members:
            drawn[block] = rng.multinomial(len(block), np.full(len(block), 1 / len(block)))
        weights = drawn[items]
        if num_raters > 1:
            weights = (
                weights * rng.multinomial(num_raters, np.full(num_raters, 1 / num_raters))[raters]
            )
        yield weights


def percentile_interval(
    values: Float[np.ndarray, "replicate column"],
) -> tuple[Float[np.ndarray, " column"], Float[np.ndarray, " column"]]:
    """The middle 95% of the replicates; NaN stands for one in which there was no judgement."""
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.nanpercentile(values, [tail, 100 - tail], axis=0)
    return low, high
