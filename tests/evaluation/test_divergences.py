"""Frechet distance and MAUVE: closed forms, plain Python, and other people's programs."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from seqgan.evaluation.metrics.divergences import (
    frechet_distance,
    frechet_floor,
    frontier_area,
    k_means,
    mauve,
    mauve_over_seeds,
    principal_components,
)


def cloud(mean, factor, num_points=40, seed=0):
    """Points whose mean is exactly `mean` and whose covariance is exactly factor^T factor."""
    noise = np.random.default_rng(seed).normal(size=(num_points, len(factor)))
    white, _ = np.linalg.qr(noise - noise.mean(axis=0))
    return np.asarray(mean) + math.sqrt(num_points - 1) * white @ np.asarray(factor)


def rotation(angle):
    return np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def test_frechet_of_diagonal_gaussians():
    """|m1 - m2|^2 plus the squared differences of the standard deviations."""
    real = cloud([1.0, 2.0, -1.0], np.diag([1.0, 3.0, 0.5]), 30)
    generated = cloud([1.5, 0.0, -1.0], np.diag([4.0, 3.5, 0.5]), 50, seed=1)
    expected = 0.5**2 + 2.0**2 + 3.0**2 + 0.5**2
    assert frechet_distance(real, generated) == pytest.approx(expected, rel=1e-12)
    assert frechet_distance(generated, real) == pytest.approx(expected, rel=1e-12)
    # Rotated together they are as far apart.
    turn, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))
    assert frechet_distance(real @ turn, generated @ turn) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("angle", [0.3, 1.0, math.pi / 2])
def test_frechet_where_the_covariances_do_not_commute(angle):
    """In two dimensions the eigenvalues a, b of S1 S2 give (sqrt a + sqrt b)^2 by trace and
    determinant alone."""
    first, second = np.diag([1.0, 5.0]), np.diag([2.0, 0.5]) @ rotation(angle)
    covariances = [factor.T @ factor for factor in (first, second)]
    product = covariances[0] @ covariances[1]
    overlap = math.sqrt(np.trace(product) + 2 * math.sqrt(np.linalg.det(product)))
    expected = 3.0**2 + sum(map(np.trace, covariances)) - 2 * overlap
    found = frechet_distance(cloud([0, 0], first), cloud([3, 0], second, seed=1))
    assert found == pytest.approx(expected, rel=1e-12)


def test_frechet_of_fewer_texts_than_features():
    """Two points each: the covariances u u^T and v v^T overlap by |u v|."""
    rng = np.random.default_rng(0)
    u, v, middle = rng.normal(size=(3, 7))
    real = np.stack([u, -u]) / math.sqrt(2)
    generated = middle + np.stack([-v, v]) / math.sqrt(2)
    expected = middle @ middle + u @ u + v @ v - 2 * abs(u @ v)
    assert frechet_distance(real, generated) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("num_texts", [5, 300])
def test_frechet_of_equal_sets_is_zero(num_texts):
    points = np.random.default_rng(0).normal(size=(num_texts, 60)).astype(np.float32)
    assert frechet_distance(points, points[::-1]) < 1e-12
    assert frechet_distance(points, points + 1) == pytest.approx(60, rel=1e-5)


@pytest.mark.parametrize("num_features", [4, 80])
def test_floor_is_what_new_real_texts_have(num_features):
    """Against texts drawn anew, of another number than the real ones."""
    rng = np.random.default_rng(0)
    scales = np.linspace(0.1, 1, num_features)

    def draw(num_texts):
        return rng.normal(size=(num_texts, num_features)) * scales

    floors, distances = [], []
    for seed in range(100):
        real = draw(600)
        floors.append(frechet_floor(real, 200, seed))
        distances.append(frechet_distance(real, draw(200)))
    assert np.mean(floors) == pytest.approx(np.mean(distances), rel=0.15)


def test_floor_falls_with_both_numbers_of_texts():
    """80 features, so that one draw says as much: 1/600 + 1/100 against 1/600 + 1/300."""
    real = np.random.default_rng(0).normal(size=(600, 80))
    few, many = frechet_floor(real, 100), frechet_floor(real, 300)
    assert few / many == pytest.approx((1 / 600 + 1 / 100) / (1 / 600 + 1 / 300), rel=0.1)
    assert frechet_floor(real, 100, seed=0) == few != frechet_floor(real, 100, seed=1)


def test_area_of_equal_histograms_is_one():
    shares = np.array([0.5, 0.0, 0.3, 0.2])
    assert frontier_area(shares, shares) == pytest.approx(1, abs=1e-9)


def test_area_of_disjoint_histograms():
    """KL(Q|R) = -log(1 - w) and KL(P|R) = -log w: the frontier is ((1-w)^5, w^5), and the area
    under it is 5 B(6, 5) = 1/252. The 25 points with straight lines between them add a little."""
    area = frontier_area(np.array([0.4, 0.6, 0.0]), np.array([0.0, 0.0, 1.0]))
    assert 1 / 252 < area < 1.05 / 252


def test_area_by_hand():
    """Against the frontier in plain Python, summed up along its other axis."""
    real, generated = [0.5, 0.5, 0.0], [0.25, 0.25, 0.5]
    points = [(1.0, 0.0)]
    for step in range(25):
        weight = 1e-6 + step * (1 - 2e-6) / 24
        mixture = [weight * p + (1 - weight) * q for p, q in zip(real, generated, strict=True)]
        nats = [
            sum(p * math.log(p / r) for p, r in zip(side, mixture, strict=True) if p)
            for side in (generated, real)
        ]
        points.append((math.exp(-5 * nats[0]), math.exp(-5 * nats[1])))
    points.append((0.0, 1.0))
    area = sum(
        (up - up_before) * (across + across_before) / 2
        for (across_before, up_before), (across, up) in pairwise(points)
    )
    assert frontier_area(np.array(real), np.array(generated)) == pytest.approx(area, abs=1e-12)
    assert frontier_area(np.array(generated), np.array(real)) == pytest.approx(area, abs=1e-5)
    assert 0.05 < area < 0.9


def test_principal_components_keep_nine_tenths_of_the_variance():
    """Variances 16, 4, 1, 1 of 22: one component holds 73%, two 91%."""
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))
    points = cloud([3.0, 1.0, 0.0, 2.0], np.diag([4.0, 2.0, 1.0, 1.0]))
    kept = principal_components(points @ turn)
    assert kept.shape == (40, 2)
    expected = (points - points.mean(axis=0))[:, :2]
    np.testing.assert_allclose(np.abs(kept), np.abs(expected), atol=1e-9)
    assert principal_components(np.ones((5, 3))).tolist() == [[0]] * 5


def test_k_means_finds_clusters():
    rng = np.random.default_rng(0)
    centres = rng.permutation([[x, y] for x in (0, 10, 20) for y in (0, 10)])
    truth = rng.integers(6, size=300)
    points = torch.tensor(centres[truth] + rng.normal(size=(300, 2)) * 0.1).float()
    found = k_means(points, 6, torch.Generator().manual_seed(3)).tolist()
    pairs = set(zip(truth.tolist(), found, strict=True))
    assert len(pairs) == 6 == len({pair[1] for pair in pairs})


def test_k_means_ends_at_the_nearest_means():
    points = torch.rand(400, 3, generator=torch.Generator().manual_seed(0))
    for seed in range(3):
        found = k_means(points, 12, torch.Generator().manual_seed(seed))
        means = torch.stack([points[found == cluster].mean(dim=0) for cluster in range(12)])
        assert torch.equal(torch.cdist(points, means).argmin(dim=1), found)


def test_k_means_of_few_distinct_points():
    points = torch.tensor([[1.0, 0.0], [2.0, 1.0]]).repeat(10, 1)
    found = k_means(points, 5, torch.Generator().manual_seed(0))
    assert len(set(found[::2].tolist())) == len(set(found[1::2].tolist())) == 1
    assert found[0] != found[1]
    assert set(k_means(points[::2], 5, torch.Generator().manual_seed(0)).tolist()) == {0}


def on_axes(counts, seed=0):
    """`counts[axis]` points near each axis, at lengths from 1 to 5."""
    rng = np.random.default_rng(seed)
    axes = np.repeat(np.eye(len(counts)), counts, axis=0)
    return (axes + rng.normal(size=axes.shape) * 1e-3) * rng.uniform(1, 5, size=(len(axes), 1))


def test_mauve_of_clusters_that_are_known():
    """40 texts of the smaller side, so 4 clusters: the axes, whatever the lengths."""
    real, generated = on_axes([20, 10, 10, 0]), on_axes([10, 10, 0, 40], seed=1)
    shares = np.array([20, 10, 10, 0]) / 40, np.array([10, 10, 0, 40]) / 60
    assert mauve(real, generated) == pytest.approx(frontier_area(*shares), abs=1e-12)


def test_mauve_of_equal_and_of_far_sets():
    rng = np.random.default_rng(0)
    real = rng.normal(size=(300, 8))
    assert mauve(real, real[::-1]) == pytest.approx(1, abs=1e-9)
    values = [mauve(real, rng.normal(size=(300, 8)) + shift) for shift in (0.0, 0.5, 1.0, 4.0)]
    assert values == sorted(values, reverse=True)
    assert values[0] > 0.9
    assert values[-1] < 0.01


def test_mauve_moves_with_the_seed():
    rng = np.random.default_rng(0)
    real, generated = rng.normal(size=(400, 6)), rng.normal(size=(400, 6)) + 0.4
    values = [mauve(real, generated, seed) for seed in range(4)]
    assert len(set(values)) == 4
    assert mauve(real, generated, 3) == values[3]
    mean, deviation = mauve_over_seeds(real, generated, range(4))
    assert mean == pytest.approx(sum(values) / 4)
    assert deviation == pytest.approx(math.sqrt(sum((v - mean) ** 2 for v in values) / 3))
    assert mauve_over_seeds(real, generated, [3]) == (values[3], 0.0)


@pytest.mark.parametrize(
    ("metric", "call"), [("the Frechet distance", frechet_distance), ("MAUVE", mauve)]
)
def test_input_is_checked(metric, call):
    two = np.zeros((2, 3))
    with pytest.raises(ValueError, match=f"^{metric} has 1 generated texts, but needs at least 2$"):
        call(two, two[:1])
    with pytest.raises(ValueError, match=f"^{metric} has 0 real texts, but needs at least 2$"):
        call(two[:0], two)
    with pytest.raises(
        ValueError, match=f"have 3 features and the generated ones 2, but {metric} needs as many"
    ):
        call(two, two[:, :2])
    with pytest.raises(
        ValueError, match=f"^the real texts have features that are not finite, but {metric} "
    ):
        call(two * np.nan, two)


def test_floor_checks_its_input():
    with pytest.raises(
        ValueError,
        match=r"^a Frechet floor of 3 real texts cannot be computed: at least 4 are needed$",
    ):
        frechet_floor(np.zeros((3, 2)), 10)
    with pytest.raises(ValueError, match=r"^num_generated is 1, but must be at least 2$"):
        frechet_floor(np.zeros((4, 2)), 1)


def text_like(num_texts, shift=0.0, seed=0):
    """Features of falling variance, some of them nearly constant, as embeddings have them."""
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(num_texts, 40)) + shift) / np.arange(1, 41) ** 2


@pytest.mark.integration
class TestOtherPrograms:
    @pytest.mark.parametrize("num_texts", [500, 45])
    def test_frechet_equals_the_matrix_square_root(self, num_texts):
        linalg = pytest.importorskip("scipy.linalg")
        real, generated = text_like(num_texts), text_like(num_texts, 0.3, seed=1)
        covariances = [np.cov(side, rowvar=False) for side in (real, generated)]
        root = linalg.sqrtm(covariances[0] @ covariances[1])
        shift = real.mean(axis=0) - generated.mean(axis=0)
        expected = shift @ shift + np.trace(sum(covariances) - 2 * root.real)
        assert frechet_distance(real, generated) == pytest.approx(expected, rel=1e-6)

    def test_area_equals_that_of_the_authors(self):
        program = pytest.importorskip("mauve.compute_mauve")
        rng = np.random.default_rng(0)
        weights = np.linspace(1e-6, 1 - 1e-6, 25)
        for num_clusters in (2, 30, 500):
            real, generated = rng.dirichlet(np.full(num_clusters, 0.3), size=2)
            generated[: num_clusters // 3] = 0
            generated /= generated.sum()
            across, up = program.get_divergence_curve_for_multinomials(
                real, generated, weights, 5
            ).T
            order = np.argsort(across)
            expected = program.compute_area_under_curve(across[order], up[order])
            assert frontier_area(real, generated) == pytest.approx(expected, abs=1e-12)

    def test_mauve_equals_that_of_the_authors_but_for_k_means(self):
        program = pytest.importorskip("mauve.compute_mauve")
        for shift in (0.2, 1.0):
            real, generated = text_like(1000), text_like(1000, shift, seed=1)
            mean, deviation = mauve_over_seeds(real, generated)
            theirs = [
                program.compute_mauve(real, generated, kmeans_num_redo=1, seed=seed).mauve
                for seed in range(5)
            ]
            assert abs(mean - np.mean(theirs)) < 3 * max(deviation, np.std(theirs))
            assert 0.02 < mean < 0.98
