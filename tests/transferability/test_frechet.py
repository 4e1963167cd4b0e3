"""The Frechet distance against closed forms, matrix square roots and samples; its null against what it stands for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import sqrtm

from headstart.errors import DataError
from headstart.transferability.frechet import _wishart_root, frechet, frechet_to_source, root


def covariance(width: int, seed: int, rank: int | None = None) -> np.ndarray:
    factor = np.random.default_rng(seed).normal(size=(width, rank or 2 * width))
    return factor @ factor.T / width


def test_equal_covariances_leave_the_distance_of_the_means() -> None:
    c = covariance(6, 0)
    assert frechet(np.zeros(6), c, np.full(6, 2.0), c) == pytest.approx(24, rel=1e-12)
    assert frechet(np.ones(6), c, np.ones(6), c) == pytest.approx(0, abs=1e-6)


def test_commuting_covariances_have_a_closed_form() -> None:
    turned = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))[0]
    a, b = np.array([4.0, 1, 9, 0.5, 2]), np.array([1.0, 1, 16, 3, 0])
    found = frechet(np.zeros(5), turned * a @ turned.T, np.zeros(5), turned * b @ turned.T)
    assert found == pytest.approx(np.square(np.sqrt(a) - np.sqrt(b)).sum(), rel=1e-9)


@pytest.mark.parametrize("rank", [3, 7, 20])
def test_any_covariances_agree_with_matrix_square_roots(rank: int) -> None:
    a, b = covariance(7, 2), covariance(7, 3, rank)
    half = sqrtm(a)
    expected = 1.75 + np.trace(a + b - 2 * np.real(sqrtm(half @ b @ half + 1e-13 * np.eye(7))))
    assert frechet(np.full(7, 0.5), a, np.zeros(7), b) == pytest.approx(expected, rel=1e-5)
    assert frechet(np.zeros(7), b, np.full(7, 0.5), a) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("images", [4, 12, 40])
def test_features_give_what_their_covariance_gives(images: int) -> None:
    """Also with fewer rows than features, where the covariance is never formed."""
    rng, source = np.random.default_rng(4), covariance(12, 5)
    f = rng.normal(size=(images, 12)) + 0.3
    plain = frechet(f.mean(0), np.cov(f, rowvar=False), np.zeros(12), source)
    found = frechet_to_source(f, np.zeros(12), source, 1000, seed=0)
    assert found.value == pytest.approx(plain / np.trace(source), rel=1e-6)


@pytest.mark.parametrize(("images", "others"), [(6, 500), (60, 90), (1000, 5000)])
def test_the_null_is_what_samples_of_the_source_give(images: int, others: int) -> None:
    rng, c = np.random.default_rng(6), covariance(10, 7)
    factor = np.linalg.cholesky(c)
    drawn = []
    for _ in range(200):
        a, b = (rng.normal(size=(n, 10)) @ factor.T for n in (images, others))
        drawn.append(frechet(a.mean(0), np.cov(a, rowvar=False), b.mean(0), np.cov(b, rowvar=False)) / np.trace(c))
    found = frechet_to_source(rng.normal(size=(images, 10)) @ factor.T, np.zeros(10), c, others, seed=0, draws=200)
    error = 4 * np.std(drawn) / np.sqrt(100)
    assert found.null == pytest.approx(np.mean(drawn), abs=error)
    assert found.null < found.highest
    assert abs(found.excess) < 5 * np.std(drawn)


def test_bartletts_triangle_is_a_wishart_root() -> None:
    rng = np.random.default_rng(8)
    roots = [_wishart_root(4, 9, rng) for _ in range(4000)]
    products = np.array([r @ r.T for r in roots])
    np.testing.assert_allclose(products.mean(0), 9 * np.eye(4), atol=0.4)
    np.testing.assert_allclose(products.var(0), 9 * (1 + np.eye(4)), rtol=0.15)


def test_what_does_not_change_it() -> None:
    rng, c = np.random.default_rng(9), covariance(5, 10)
    f, m = rng.normal(size=(30, 5)), rng.normal(size=5)
    found = frechet_to_source(f, m, c, 100, seed=3)
    assert found == frechet_to_source(f, m, c, 100, seed=3)
    assert found.null != frechet_to_source(f, m, c, 100, seed=4).null
    turned = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    again = frechet_to_source(7 * f @ turned.T, 7 * m @ turned.T, 49 * turned @ c @ turned.T, 100, seed=3)
    assert again.value == pytest.approx(found.value, rel=1e-9)
    far = frechet_to_source(f + 3, m, c, 100, seed=3)
    assert far.value > found.value
    assert far.null == found.null


def test_what_cannot_be_used_is_named() -> None:
    f, c = np.zeros((3, 2)), np.eye(2)
    with pytest.raises(DataError, match="at least two rows"):
        frechet_to_source(f[:1], np.zeros(2), c, 10, seed=0)
    with pytest.raises(DataError, match="mean"):
        frechet_to_source(f, np.zeros(3), np.eye(3), 10, seed=0)
    with pytest.raises(DataError, match="images=1"):
        frechet_to_source(f, np.zeros(2), c, 1, seed=0)
    with pytest.raises(DataError, match="do not vary"):
        frechet_to_source(f, np.zeros(2), 0 * c, 10, seed=0)
    with pytest.raises(DataError, match="symmetric"):
        root([[1.0, 1.0], [0.0, 1.0]])
    with pytest.raises(DataError, match="negative eigenvalue"):
        root([[1.0, 0.0], [0.0, -1.0]])
    with pytest.raises(DataError, match="square"):
        root([[1.0, np.nan], [np.nan, 1.0]])
    with pytest.raises(DataError, match="do not go with"):
        frechet(np.zeros(3), c, np.zeros(3), c)
