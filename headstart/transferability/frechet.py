"""Frechet distance between two clouds of features, each summed up by mean and covariance, and what it would be by chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.errors import DataError, problems
from headstart.seeding import generator

Floats = NDArray[np.float64]

DRAWS = 20
_WORK = 20 * 512
"""Draws times features, so that two thousand features take as long as five hundred do; the more features, the less a draw
differs from the next."""


@dataclass(frozen=True)
class Frechet:
    """Squared Frechet distance of target to source in units of the source's total variance (trace of its covariance).

    value    of the images as they are; grows as images get fewer, because their covariance is then estimated badly
    null     mean of the same number for two samples of one Gaussian, that of the source, as large as target and source
    highest  95 % of such samples lie below it
    """

    value: float
    null: float
    highest: float

    @property
    def excess(self) -> float:
        """The distance that the number of images does not explain; about zero for the source itself."""
        return self.value - self.null


def frechet(mean_a: ArrayLike, covariance_a: ArrayLike, mean_b: ArrayLike, covariance_b: ArrayLike) -> float:
    """Squared distance |m_a - m_b|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2) of two Gaussians.

    Dowson & Landau 1982, "The Frechet distance between multivariate normal distributions"; Heusel et al. 2017 (FID).
    Float64 throughout. Raises DataError for covariances that are not symmetric and positive semi-definite.
    """
    apart = np.asarray(mean_a, np.float64) - np.asarray(mean_b, np.float64)
    a, b = root(covariance_a), root(covariance_b)
    if a.shape[0] != len(apart) or b.shape[0] != len(apart):
        raise DataError(f"means of {len(apart)} features do not go with covariances of {a.shape[0]} and {b.shape[0]}")
    return _from_roots(float(apart @ apart), a, b)


def frechet_to_source(
    features: ArrayLike, mean: ArrayLike, covariance: ArrayLike, images: int, *, seed: int, draws: int | None = None
) -> Frechet:
    """Distance of `features` `[N, D]` to a source of which mean and covariance over `images` images are known.

    The null draws both sides from the source's Gaussian: the mean's error is normal, the covariance's Wishart, so that no
    image need be drawn. Real features are not Gaussian; a sample of a ResNet's own source lies a little above its null.

    draws  of the null; None: 20, fewer beyond 512 features
    """
    f, m = np.asarray(features, np.float64), np.asarray(mean, np.float64)
    found = []
    if f.ndim != 2 or len(f) < 2 or not np.isfinite(f).all():
        found.append(f"features have shape {f.shape}; give at least two rows of finite numbers")
    elif f.shape[1:] != m.shape:
        found.append(f"features are {f.shape[1]} wide, the source's mean {m.shape}")
    if images < 2:
        found.append(f"images={images} of the source; a covariance needs at least two")
    problems(DataError, "the Frechet distance cannot be computed:", found)
    source = root(covariance)
    unit = float(np.square(source).sum())
    if not unit > 0:
        raise DataError("the source's features do not vary at all; its statistics are of too few or of equal images")
    centre = f.mean(0)
    value = _from_roots(float(np.square(centre - m).sum()), _sample_root(f - centre), source)
    times = draws if draws is not None else max(3, min(DRAWS, _WORK // len(m)))
    drawn = np.array([_null(source, len(f), images, generator(seed, "frechet", place)) for place in range(times)])
    return Frechet(value / unit, float(drawn.mean()) / unit, float(np.quantile(drawn, 0.95)) / unit)


def root(covariance: ArrayLike) -> Floats:
    """`[D, K]`, K <= D, whose product with its own transpose is the covariance: eigenvectors times roots of eigenvalues."""
    c = np.asarray(covariance, np.float64)
    if c.ndim != 2 or c.shape[0] != c.shape[1] or not np.isfinite(c).all():
        raise DataError(f"a covariance has shape {c.shape}; give a square matrix of finite numbers")
    largest = float(np.abs(c).max(initial=0.0))
    if not np.allclose(c, c.T, rtol=0, atol=1e-5 * largest):
        raise DataError("a covariance is not symmetric")
    values, vectors = np.linalg.eigh((c + c.T) / 2)
    if values[0] < -1e-4 * max(values[-1], 0.0) - 1e-12 * largest:
        raise DataError(f"a covariance has the negative eigenvalue {values[0]:.3g}; it must be positive semi-definite")
    kept = values > max(values[-1], 0.0) * np.finfo(np.float64).eps * len(c)
    return np.asarray(vectors[:, kept] * np.sqrt(values[kept]))


def _sample_root(centred: Floats) -> Floats:
    """The same for the covariance of centred rows `[N, D]`, without forming it when there are fewer rows than features."""
    if len(centred) > centred.shape[1]:
        return root(centred.T @ centred / (len(centred) - 1))
    return np.asarray(centred.T / np.sqrt(len(centred) - 1))


def _from_roots(apart: float, a: Floats, b: Floats) -> float:
    """The distance from the means' squared distance and roots F, G of the covariances FF', GG'.

    tr (A^1/2 B A^1/2)^1/2 is the sum of singular values of F'G: both are the roots of the eigenvalues of AB.
    """
    product = a.T @ b
    small = product @ product.T if product.shape[0] <= product.shape[1] else product.T @ product
    shared = np.sqrt(np.maximum(np.linalg.eigvalsh(small), 0.0)).sum() if small.size else 0.0
    return max(float(apart + np.square(a).sum() + np.square(b).sum() - 2 * shared), 0.0)


def _null(source: Floats, target_images: int, source_images: int, rng: np.random.Generator) -> float:
    """Distance between two samples of one Gaussian with the covariance FF', F = `source`, of these sizes."""
    width = source.shape[1]
    error = source @ rng.standard_normal(width) * np.sqrt(1 / target_images + 1 / source_images)
    a, b = (source @ _wishart_root(width, n - 1, rng) / np.sqrt(n - 1) for n in (target_images, source_images))
    return _from_roots(float(error @ error), a, b)


def _wishart_root(width: int, freedom: int, rng: np.random.Generator) -> Floats:
    """A root of a Wishart matrix of identity scale; Bartlett's triangle where it is smaller than the sample itself."""
    if freedom <= width:
        return rng.standard_normal((width, freedom))
    triangle = np.tril(rng.standard_normal((width, width)), -1)
    triangle[np.diag_indices(width)] = np.sqrt(rng.chisquare(freedom - np.arange(width)))
    return triangle
