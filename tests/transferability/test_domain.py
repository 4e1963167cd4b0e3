"""The domain classifier's error against the Bayes error, and what drawn source features look like."""

from __future__ import annotations

import math

import numpy as np
import pytest

from headstart.engine.source_statistics import SourceStatistics, statistics_of
from headstart.errors import DataError
from headstart.transferability.domain import domain_error, drawn_from


def cloud(count: int, width: int = 6, shift: float = 0.0, seed: int = 0) -> np.ndarray:
    f = np.random.default_rng(seed).normal(size=(count, width))
    f[:, 0] += shift
    return f


def known(classes: int = 3, seed: int = 5) -> SourceStatistics:
    rng = np.random.default_rng(seed)
    labels = np.arange(3000) % classes
    return statistics_of(rng.normal(size=(3000, 6)) + 3 * labels[:, None], labels, tuple("abcdef"[:classes]), "top")


@pytest.mark.parametrize("shift", [1.0, 2.0, 4.0])
@pytest.mark.parametrize("images", [300, 1500])
def test_the_error_is_that_of_the_best_line(shift: float, images: int) -> None:
    """Two Gaussians of equal covariance: half their distance through the normal distribution, however unequal in number."""
    statistics = statistics_of(cloud(1500, seed=1), np.full(1500, -1), (), "top")
    expected = 0.5 * math.erfc(shift / 2 / math.sqrt(2))
    for real in (cloud(1500, seed=1), None):
        found = domain_error(cloud(images, shift=shift, seed=2), statistics, seed=0, source_features=real)
        assert found.value == pytest.approx(expected, abs=4 * found.spread + 0.01)
        assert found.drawn is (real is None)
        assert found.proxy_a == pytest.approx(2 - 4 * found.value)


def test_the_same_source_cannot_be_told() -> None:
    statistics = known()
    found = domain_error(drawn_from(statistics, 900, 77), statistics, seed=0)
    assert found.value + 3 * found.spread >= found.null == 0.5
    assert found.value <= 0.5


def test_few_images_wholly_apart() -> None:
    found = domain_error(cloud(8, shift=50), known(), seed=0)
    assert found.value < 0.02
    assert found.proxy_a > 1.9


def test_drawn_features_have_the_sources_moments() -> None:
    statistics = known()
    drawn = drawn_from(statistics, 40_000, 1)
    np.testing.assert_allclose(drawn.mean(0), statistics.mean, atol=0.08)
    np.testing.assert_allclose(np.cov(drawn, rowvar=False), statistics.covariance, atol=0.25)
    # by class, not one cloud: three modes three apart along every axis leave gaps that a single Gaussian fills
    along = drawn.mean(1)
    assert (np.abs(along[:, None] - [1.5, 4.5]) < 0.25).any(1).mean() < 0.01


def test_constant_features_order_and_seed() -> None:
    statistics = statistics_of(np.c_[cloud(400, seed=3), np.zeros(400)], np.arange(400) % 2, ("a", "b"), "top")
    f = np.c_[cloud(60, shift=1, seed=4), np.zeros(60)]
    assert domain_error(f, statistics, seed=2) == domain_error(f, statistics, seed=2)
    assert 0.1 < domain_error(f, statistics, seed=2).value < 0.5


def test_what_cannot_be_used_is_named() -> None:
    statistics = known()
    with pytest.raises(DataError, match="features has shape"):
        domain_error(cloud(1), statistics, seed=0)
    with pytest.raises(DataError, match="source_features has shape"):
        domain_error(cloud(9), statistics, seed=0, source_features=cloud(9, width=5))
