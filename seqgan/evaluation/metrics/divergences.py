"""Distances between generated and real texts as clouds of points: Frechet distance and MAUVE.

Both compare two arrays of features, one row per text (`seqgan.evaluation.metrics.embeddings`).
Always state the embedding and the number of texts. Other features make another metric, and two
samples of one distribution have a distance too, which is larger for fewer texts. Compare numbers of
equal sample sizes only, and compare them with the floor.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from seqgan.system.errors import DataError

MAX_CLUSTERS = 500  # bins of MAUVE's histogram: its authors' number for 5,000 texts of each side
TEXTS_PER_CLUSTER = 10
EXPLAINED_VARIANCE = 0.9  # share that MAUVE's principal components keep
SCALING = 5.0  # c of the frontier exp(-c KL)
NUM_MIXTURES = 25  # points of the frontier between its two ends
MAX_ITERATIONS = 100  # of k-means, which settles after about 20
CHUNK = 2**13  # number of rows whose distances to all centres are in memory at a time


def frechet_distance(
    real: Float[np.ndarray, "real feature"], generated: Float[np.ndarray, "generated _"]
) -> float:
    """Frechet distance of Gaussian fits (Heusel et al., 2017; of texts: Semeniuta et al., 2018).

    |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), in squared units of the features. The covariances
    divide by n - 1. QR decompositions give factors with S = R^T R, and the last trace is the sum of
    the singular values of R1 R2^T. So no covariance is formed or inverted, and the distance is
    exact even for fewer texts than features, whose covariance is singular.

    Two samples of one distribution have a distance of about c (1/n1 + 1/n2): `frechet_floor`.

    Raises:
        DataError: a side has fewer than 2 texts or a feature that is not finite, or the two
            sides differ in their number of features.
    """
    first, second = _checked("the Frechet distance", real, generated)
    factors = [_covariance_factor(side) for side in (first, second)]
    shift = first.mean(axis=0) - second.mean(axis=0)
    overlap = np.linalg.svd(factors[0] @ factors[1].T, compute_uv=False).sum()
    distance = shift @ shift + sum((factor**2).sum() for factor in factors) - 2 * overlap
    return max(float(distance), 0.0)  # equal sides are at 0 up to rounding


def frechet_floor(
    real: Float[np.ndarray, "real feature"], num_generated: int, seed: int = 0
) -> float:
    """Estimates the Frechet distance of `num_generated` new real texts: the best possible value.

    The function compares two halves of the real texts, each of at most `num_generated` texts. Their
    distance is proportional to 1/n1 + 1/n2 (measured on captions, from 100 to 5,000 texts: within
    15%), so it is scaled to the two numbers of texts in question. An embedding that was fitted on
    these same texts makes the floor too low.

    Raises:
        DataError: fewer than 4 real texts, `num_generated` below 2, or a feature that is not
            finite.
    """
    if len(real) < 4:
        raise DataError(
            f"a Frechet floor of {len(real)} real texts cannot be computed: at least 4 are needed"
        )
    if num_generated < 2:
        raise DataError(f"num_generated is {num_generated}, but must be at least 2")
    size = min(len(real) // 2, num_generated)
    order = np.random.default_rng(seed).permutation(len(real))
    distance = frechet_distance(real[order[:size]], real[order[size : 2 * size]])
    return distance * (1 / len(real) + 1 / num_generated) / (2 / size)


def mauve(
    real: Float[np.ndarray, "real feature"],
    generated: Float[np.ndarray, "generated _"],
    seed: int = 0,
) -> float:
    """MAUVE (Pillutla et al., 2021): in (0, 1], 1 for equal histograms over clusters.

    The features of both sides are scaled to length 1 and projected to the principal components with
    90% of the variance. k-means puts them into n/10 clusters (at most 500; n is the number of texts
    of the smaller side), and `frontier_area` compares the two histograms over clusters.

    The value depends on the number of texts, and on the seed of k-means by 0.002 to 0.02 on
    captions: `mauve_over_seeds`. k-means starts once: measured, the best of several starts costs
    more and varies as much.

    Raises:
        DataError: as `frechet_distance`.
    """
    first, second = _checked("MAUVE", real, generated)
    num_clusters = min(
        max(round(min(len(first), len(second)) / TEXTS_PER_CLUSTER), 2), MAX_CLUSTERS
    )
    points = principal_components(_unit_rows(np.concatenate([first, second])))
    rng = torch.Generator().manual_seed(seed)
    clusters = k_means(torch.from_numpy(points).float(), num_clusters, rng).numpy()
    counts = [
        np.bincount(side, minlength=num_clusters)
        for side in (clusters[: len(first)], clusters[len(first) :])
    ]
    return frontier_area(counts[0] / len(first), counts[1] / len(second))


def mauve_over_seeds(
    real: Float[np.ndarray, "real feature"],
    generated: Float[np.ndarray, "generated _"],
    seeds: Sequence[int] = range(5),
) -> tuple[float, float]:
    """Mean and standard deviation of `mauve` over seeds of k-means, 0 for a single seed.

    The deviation is k-means' alone: other texts would add to it.
    """
    values = [mauve(real, generated, seed) for seed in seeds]
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def frontier_area(
    real: Float[np.ndarray, " cluster"], generated: Float[np.ndarray, " cluster"]
) -> float:
    """Area under the divergence frontier of two distributions P and Q (Pillutla et al., 2021).

    The frontier is (exp(-c KL(Q|R)), exp(-c KL(P|R))) over the mixtures R = w P + (1 - w) Q,
    with c = 5 and the ends (1, 0) and (0, 1). Straight lines join 25 mixtures, as in the authors'
    program, so that equal histograms have equal areas.
    """
    weights = np.linspace(1e-6, 1 - 1e-6, NUM_MIXTURES)[:, None]
    mixtures = weights * real + (1 - weights) * generated
    across = np.exp(-SCALING * np.array([0.0, *_divergences(generated, mixtures), np.inf]))
    up = np.exp(-SCALING * np.array([np.inf, *_divergences(real, mixtures), 0.0]))
    return float(np.trapezoid(up[::-1], across[::-1]))  # `across` falls as w grows


def principal_components(points: Float[np.ndarray, "n feature"]) -> Float[np.ndarray, "n kept"]:
    """Coordinates on the fewest principal components that hold 90% of the variance."""
    centred = points - points.mean(axis=0)
    variances, directions = np.linalg.eigh(centred.T @ centred)  # smallest first
    cumulative = np.cumsum(variances[::-1])
    num_components = int(np.searchsorted(cumulative, EXPLAINED_VARIANCE * cumulative[-1])) + 1
    return centred @ directions[:, ::-1][:, :num_components]


def k_means(
    points: Float[Tensor, "n feature"], num_clusters: int, rng: torch.Generator
) -> Int[Tensor, " n"]:
    """Assigns each point to a cluster: Lloyd's algorithm from the centres of k-means++.

    Fewer distinct points give fewer clusters, and a cluster may end up empty.
    """
    centres = _spread_out(points, num_clusters, rng)
    clusters = _nearest(points, centres)
    for _ in range(MAX_ITERATIONS):
        sizes = torch.bincount(clusters, minlength=len(centres))[:, None]
        sums = torch.zeros_like(centres).index_add_(0, clusters, points)
        centres = torch.where(sizes > 0, sums / sizes.clamp(min=1), centres)
        before, clusters = clusters, _nearest(points, centres)
        if torch.equal(before, clusters):
            break
    return clusters


def _spread_out(
    points: Float[Tensor, "n feature"], num_centres: int, rng: torch.Generator
) -> Float[Tensor, "centre feature"]:
    """k-means++ (Arthur and Vassilvitskii, 2007): each next centre is a point, drawn in proportion
    to the squared distance to the nearest centre so far."""
    indices = [int(torch.randint(len(points), (), generator=rng))]
    squares = ((points - points[indices[0]]) ** 2).sum(dim=1)
    while len(indices) < num_centres and squares.any():
        indices.append(int(torch.multinomial(squares, 1, generator=rng)))
        squares = squares.minimum(((points - points[indices[-1]]) ** 2).sum(dim=1))
    return points[indices]


def _nearest(
    points: Float[Tensor, "n feature"], centres: Float[Tensor, "cluster feature"]
) -> Int[Tensor, " n"]:
    # The point's own square is the same for all centres.
    squares = (centres**2).sum(dim=1)
    return torch.cat(
        [(squares - 2 * chunk @ centres.T).argmin(dim=1) for chunk in points.split(CHUNK)]
    )


def _covariance_factor(points: Float[np.ndarray, "n feature"]) -> Float[np.ndarray, "m feature"]:
    """R with R^T R = the covariance; m is the smaller of n and the number of features."""
    centred = points - points.mean(axis=0)
    return np.linalg.qr(centred, mode="r") / np.sqrt(len(points) - 1)


def _divergences(
    distribution: Float[np.ndarray, " cluster"], mixtures: Float[np.ndarray, "mixture cluster"]
) -> Float[np.ndarray, " mixture"]:
    """KL(distribution | mixture), nats; finite, because each mixture contains the distribution."""
    present = distribution > 0
    ratios = distribution[present] / mixtures[:, present]
    return (distribution[present] * np.log(ratios)).sum(axis=1)


def _unit_rows(points: Float[np.ndarray, "n feature"]) -> Float[np.ndarray, "n feature"]:
    """Scales rows to length 1; a row of zeros stays unchanged."""
    lengths = np.linalg.norm(points, axis=1, keepdims=True)
    return points / np.where(lengths > 0, lengths, 1)


def _checked(
    metric: str,
    real: Float[np.ndarray, "real feature"],
    generated: Float[np.ndarray, "generated _"],
) -> list[Float[np.ndarray, "text feature"]]:
    """Checks both sides and returns them in double precision."""
    if real.shape[1] != generated.shape[1]:
        raise DataError(
            f"the real texts have {real.shape[1]} features and the generated ones"
            f" {generated.shape[1]}, but {metric} needs as many of both"
        )
    for kind, side in (("real", real), ("generated", generated)):
        if len(side) < 2:
            raise DataError(f"{metric} has {len(side)} {kind} texts, but needs at least 2")
        if not np.isfinite(side).all():
            raise DataError(
                f"the {kind} texts have features that are not finite, but {metric} needs"
                " finite ones"
            )
    return [np.asarray(side, dtype=np.float64) for side in (real, generated)]
