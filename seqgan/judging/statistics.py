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
    (1 + z^2/n). The interval stays inside 0 to 1 and works at small n and at rates of 0 and 1. Ties
    count as half wins; they vary less than wins and losses, so the interval is then too wide. It
    assumes that the n answers are independent.
    """
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    rate = wins / n
    centre = (rate + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(rate * (1 - rate) / n + z**2 / (4 * n**2))
    return max(centre - half, 0.0), min(centre + half, 1.0)


def sign_test(plus: int, minus: int) -> float:
    """Exact two-sided p value of `plus` against `minus` under fair coins; 1 for no coins."""
    n = plus + minus
    tail = sum(math.comb(n, k) for k in range(min(plus, minus) + 1))
    return min(1.0, 2 * tail / 2**n)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusts p values for the number of tests (Holm, 1979)."""
    order = np.argsort(p_values, kind="stable")
    adjusted, running = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        running = max(running, (len(p_values) - rank) * p_values[index])
        adjusted[index] = min(running, 1.0)
    return adjusted


def bradley_terry(wins: Float[np.ndarray, "system system"]) -> Float[np.ndarray, " system"]:
    """Strengths s with P(i beats j) = 1 / (1 + exp(s_j - s_i)), by maximum likelihood; mean 0.

    Newton's method on the concave log likelihood, in steps of at most 1. Each pair of systems gets
    one additional tie, as Haldane and Anscombe add halves to log odds. Otherwise a system that wins
    everything would have no finite strength.

    Args:
        wins: number of wins of the row's system over the column's; a tie counts one half for each.

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
        # Only differences of strengths matter, so the Hessian is singular. Adding ones makes it
        # invertible and keeps the mean at 0.
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
    """Yields the weight of each judgement in each replicate of a bootstrap over items and raters.

    Judgements of one item, or of one rater, are not independent. So each replicate draws items
    within their block (a pair of systems) and raters among all. A judgement's weight is the number
    of draws of its item times that of its rater (Owen, 2007, the pigeonhole bootstrap; its
    intervals are rather too wide). A single rater is not drawn, because one rater tells nothing
    about others.

    Args:
        blocks, items, raters: numbers from 0 without a gap; an item belongs to one block.
    """
    num_items, num_raters = items.max() + 1, raters.max() + 1
    block_of = np.zeros(num_items, dtype=int)
    block_of[items] = blocks
    members = [np.flatnonzero(block_of == block) for block in range(blocks.max() + 1)]
    for _ in range(REPLICATES):
        draws = np.zeros(num_items, dtype=int)
        for block in members:
            draws[block] = rng.multinomial(len(block), np.full(len(block), 1 / len(block)))
        weights = draws[items]
        if num_raters > 1:
            weights = (
                weights * rng.multinomial(num_raters, np.full(num_raters, 1 / num_raters))[raters]
            )
        yield weights


def percentile_interval(
    values: Float[np.ndarray, "replicate column"],
) -> tuple[Float[np.ndarray, " column"], Float[np.ndarray, " column"]]:
    """The middle 95% of the replicates. NaN marks a replicate without judgements; it is ignored."""
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.nanpercentile(values, [tail, 100 - tail], axis=0)
    return low, high
