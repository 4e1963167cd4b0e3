"""k-means as DeepCluster does it: against plain Lloyd steps, with clusters that are empty, on components that are white."""

from __future__ import annotations

import numpy as np
import pytest

from headstart.strategies.pretrain.clusters import _refill, cluster, components


def clouds(each: int = 20, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    centres = np.array([[0.0, 0, 0], [10, 0, 0], [0, 10, 0], [0, 0, 10]])
    labels = np.repeat(np.arange(4), each)
    return centres[labels] + draw.normal(0, 0.5, (4 * each, 3)), labels


def test_it_ends_where_lloyds_steps_end() -> None:
    x, _ = clouds()
    found = cluster(x, 4, seed=1, iterations=50)
    for k in range(4):
        np.testing.assert_allclose(found.centres[k], x[found.labels == k].mean(0), rtol=1e-9)
    apart = ((x[:, None] - found.centres[None]) ** 2).sum(2)
    np.testing.assert_array_equal(apart.argmin(1), found.labels)
    assert found.iterations < 50


def test_clear_clouds_are_found_by_some_seed() -> None:
    x, truth = clouds()
    best = [cluster(x, 4, seed) for seed in range(60)]
    assert any(len({(a, b) for a, b in zip(truth, one.labels, strict=True)}) == 4 for one in best)


def test_same_seed_same_clusters() -> None:
    x, _ = clouds()
    one, same, other = (cluster(x, 6, seed).labels for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_an_empty_cluster_takes_half_of_another() -> None:
    x, labels = clouds()
    labels, centres = labels.copy(), np.array([[0.0, 0, 0], [10, 0, 0], [0, 10, 0], [0, 0, 10], [99, 99, 99]])
    before = np.bincount(labels, minlength=5)
    assert _refill(x, labels, centres, np.random.default_rng(0)) == 1
    after = np.bincount(labels, minlength=5)
    assert after[4] > 0
    (source,) = np.flatnonzero(before[:4] != after[:4])
    assert after[source] + after[4] == before[source]
    assert after[source] > 0
    np.testing.assert_allclose(centres[4], centres[source], atol=1e-2)


def test_every_cluster_has_samples_even_where_many_are_equal() -> None:
    x = np.zeros((12, 2))
    x[:2] = [[1, 0], [0, 1]]
    found = cluster(x, 5, seed=0)
    assert (np.bincount(found.labels, minlength=5) > 0).all()
    assert found.refilled > 0
    with pytest.raises(ValueError, match="13 clusters of 12"):
        cluster(x, 13, seed=0)


def test_components_are_white_and_on_the_sphere() -> None:
    draw = np.random.default_rng(0)
    mixed = draw.normal(size=(400, 5)) @ draw.normal(size=(5, 8)) + 3  # 8 dimensions, 5 that vary
    found = components(mixed.astype(np.float32), 256)
    assert found.shape == (400, 5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1)
    values, vectors = np.linalg.eigh(np.cov(mixed.T, ddof=0))
    first = (mixed - mixed.mean(0)) @ vectors[:, -1] / np.sqrt(values[-1])
    white = (mixed - mixed.mean(0)) @ vectors[:, -5:] / np.sqrt(values[-5:])
    expected = np.abs(first) / np.linalg.norm(white, axis=1)
    np.testing.assert_allclose(np.abs(found[:, 0]), expected, atol=1e-3)
    assert components(mixed.astype(np.float32), 2).shape == (400, 2)


def test_equal_features_are_one_point() -> None:
    found = components(np.ones((6, 4), np.float32), 8)
    np.testing.assert_array_equal(found, np.zeros((6, 1)))
    assert (np.bincount(cluster(found, 3, seed=0).labels) > 0).all()
