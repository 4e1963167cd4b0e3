"""Earth mover's distance against brute force and closed forms; class-mean transport against its own null."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from headstart.errors import ConfigError, DataError
from headstart.transferability.transport import distances, earth_movers, transport_to_source


def brute(a: list[int], b: list[int], cost: np.ndarray) -> float:
    """Integer masses as single items, every assignment tried."""
    left = [i for i, n in enumerate(a) for _ in range(n)]
    right = [j for j, n in enumerate(b) for _ in range(n)]
    return min(sum(cost[i, j] for i, j in zip(left, order, strict=True)) for order in permutations(right)) / len(left)


@pytest.mark.parametrize(
    ("a", "b"), [([1, 2, 3], [2, 2, 2]), ([4, 1], [1, 1, 1, 2]), ([1] * 6, [1] * 6), ([0, 6], [3, 0, 3])]
)
def test_every_assignment_tried_is_no_cheaper(a: list[int], b: list[int]) -> None:
    cost = np.random.default_rng(len(a)).uniform(0, 5, (len(a), len(b)))
    assert earth_movers(a, b, cost) == pytest.approx(brute(a, b, cost), rel=1e-9)


def test_on_a_line_it_is_the_area_between_distributions() -> None:
    rng = np.random.default_rng(0)
    x, y, p, q = rng.normal(size=30), rng.normal(1, 2, 17), rng.uniform(size=30), rng.uniform(size=17)
    found = earth_movers(p, q, np.abs(x[:, None] - y))
    assert found == pytest.approx(wasserstein_distance(x, y, p, q), rel=1e-9)


def test_it_is_a_metric_on_examples_and_scales() -> None:
    rng = np.random.default_rng(1)
    points, masses = [rng.normal(size=(5, 3)) for _ in range(3)], [rng.uniform(0.1, 1, 5) for _ in range(3)]
    d = [[earth_movers(masses[i], masses[j], distances(points[i], points[j])) for j in range(3)] for i in range(3)]
    assert d[0][0] == pytest.approx(0, abs=1e-7)
    assert d[0][1] == pytest.approx(d[1][0], rel=1e-9)
    assert d[0][2] <= d[0][1] + d[1][2] + 1e-9
    assert earth_movers(masses[0], 9 * masses[1], 1e6 * distances(points[0], points[1])) == pytest.approx(1e6 * d[0][1])
    assert earth_movers([1], [1, 3], [[2.0, 6.0]]) == pytest.approx(5)


def test_distances_are_euclidean() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(4, 6)), rng.normal(size=(3, 6))
    np.testing.assert_allclose(distances(a, b), [[np.linalg.norm(x - y) for y in b] for x in a], rtol=1e-9)


def source(classes: int = 6, width: int = 8) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    means = np.random.default_rng(3).normal(0, 3, (classes, width))
    counts, within = np.full(classes, 100), np.eye(width)
    apart = means - means.mean(0)
    return means, counts, within + apart.T @ apart / classes, within


def sample(means: np.ndarray, each: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    labels = np.repeat(np.arange(len(means)), each)
    return means[labels] + np.random.default_rng(seed).normal(size=(len(labels), means.shape[1])), labels


def test_classes_of_the_source_lie_where_the_null_says_and_others_beyond() -> None:
    means, counts, covariance, within = source()
    f, labels = sample(means, 10, 4)
    own = transport_to_source(f, labels, 6, means, counts, covariance, within, seed=0)
    assert own.null <= own.highest
    assert own.excess == pytest.approx(0, abs=0.05)
    shifted = transport_to_source(f + 4, labels, 6, means, counts, covariance, within, seed=0)
    assert shifted.value > own.highest
    assert shifted.null == own.null
    assert 0 < shifted.closeness < own.closeness < 1


def test_few_classes_are_far_from_all_and_the_null_knows() -> None:
    means, counts, covariance, within = source()
    f, labels = sample(means[:2], 30, 5)
    found = transport_to_source(f, labels, 2, means, counts, covariance, within, seed=0)
    assert found.null > 0.5
    assert found.value <= 1.5 * found.highest
    twice = sample(np.repeat(means, 2, 0), 5, 6)
    exact = transport_to_source(*twice, 12, means, counts, covariance, 0 * within, seed=0)
    assert exact.null == pytest.approx(0, abs=1e-6)  # every class twice, and means known without error


def test_without_spread_within_classes_there_is_no_null() -> None:
    means, counts, covariance, _ = source()
    found = transport_to_source(means, np.arange(6), 6, means, counts, covariance, None, seed=0)
    assert (found.null, found.highest, found.excess) == (None, None, None)
    assert found.value == pytest.approx(0, abs=1e-6)


def test_the_distance_by_hand() -> None:
    f, labels = np.array([[0.0, 0], [2, 0], [5, 4]]), np.array([0, 0, 2])  # class 1 has no image
    found = transport_to_source(f, labels, 3, [[1.0, 1], [9, 9], [5, 4]], [1, 0, 1], np.eye(2) / 2, None, seed=0)
    # masses 2/3 at (1, 0) and 1/3 at (5, 4), to halves at (1, 1) and (5, 4)
    assert found.value == pytest.approx(0.5 * 1 + (2 / 3 - 0.5) * np.sqrt(32), rel=1e-9)


def test_what_cannot_be_used_is_named() -> None:
    with pytest.raises(DataError, match="weights_b must be"):
        earth_movers([1, 1], [1, -1], np.ones((2, 2)))
    with pytest.raises(DataError, match="cost of shape"):
        earth_movers([1, 1], [1], np.ones((1, 2)))
    with pytest.raises(DataError, match="finite"):
        earth_movers([1], [1], [[np.nan]])
    means, counts, covariance, within = source()
    with pytest.raises(DataError, match=r"within 0\.\.1"):
        transport_to_source(means, np.arange(6), 2, means, counts, covariance, within, seed=0)
    with pytest.raises(DataError, match="class means"):
        transport_to_source(means, np.arange(6), 6, means, counts[:2], covariance, within, seed=0)
    with pytest.raises(DataError, match="do not vary"):
        transport_to_source(means, np.arange(6), 6, means, counts, 0 * covariance, within, seed=0)
    with pytest.raises(ConfigError, match="draws=0"):
        transport_to_source(means, np.arange(6), 6, means, counts, covariance, within, seed=0, draws=0)
