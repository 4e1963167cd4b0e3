"""How far the target's classes must be moved to become the source's: optimal transport between class means."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.errors import ConfigError, DataError, problems
from headstart.seeding import generator

Floats = NDArray[np.float64]

GAMMA = 1.0
"""How fast similarity falls with distance. Cui et al. take 0.01 on raw Inception features; here distances have a unit."""
DRAWS = 20
_WORK = 400_000
"""Pairs of classes times draws of the null, at most: a plan between 1000 and 40 classes takes a sixth of a second."""


@dataclass(frozen=True)
class Transport:
    """Earth mover's distance between class means, in units of the root of the source's total variance.

    value    of the target's classes
    null     mean of the same number for as many classes of the source, drawn at random, with as many images each. None
             where the source has one image per class: how its classes spread, and so their means, is then not known
    highest  95 % of such draws lie below it
    """

    value: float
    null: float | None
    highest: float | None

    @property
    def excess(self) -> float | None:
        """The distance that the number of classes and images does not explain."""
        return None if self.null is None else self.value - self.null

    @property
    def closeness(self) -> float:
        """exp(-gamma d), 1 for equal classes (Cui et al. 2018, equation 2)."""
        return math.exp(-GAMMA * self.value)


def earth_movers(weights_a: ArrayLike, weights_b: ArrayLike, cost: ArrayLike) -> float:
    """Least total cost of moving the masses `weights_a` `[A]` to `weights_b` `[B]` at `cost` `[A, B]` per unit of mass.

    Both are scaled to a sum of one. Solved exactly, as a linear program by the dual simplex method.
    """
    a, b, c = (np.asarray(x, np.float64) for x in (weights_a, weights_b, cost))
    found = []
    if c.shape != (*a.shape, *b.shape) or a.ndim != 1 or b.ndim != 1 or not c.size:
        found.append(f"weights {a.shape} and {b.shape} do not go with a cost of shape {c.shape}")
    elif not np.isfinite(c).all():
        found.append("costs are not all finite")
    found += [f"weights_{n} must be at least zero, with a positive sum" for n, w in (("a", a), ("b", b)) if not _masses(w)]
    problems(DataError, "masses cannot be moved:", found)
    a, b = a / a.sum(), b / b.sum()
    rows, columns = np.flatnonzero(a), np.flatnonzero(b)
    return _solved(a[rows], b[columns], c[np.ix_(rows, columns)])


def _masses(weights: Floats) -> bool:
    return bool(np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0)


def _solved(a: Floats, b: Floats, cost: Floats) -> float:
    """The linear program: plan >= 0, its rows sum to `a`, its columns to `b`."""
    from scipy import sparse
    from scipy.optimize import linprog

    if 1 in cost.shape:
        return float(a @ cost @ b)  # there is one plan only
    leave = sparse.kron(sparse.eye(len(a)), np.ones((1, len(b))))
    arrive = sparse.kron(np.ones((1, len(a))), sparse.eye(len(b)))
    sums = sparse.vstack([leave, arrive]).tocsr()[:-1]  # the last sum follows from the others
    unit = max(float(np.abs(cost).max()), np.finfo(np.float64).tiny)
    done = linprog(cost.ravel() / unit, A_eq=sums, b_eq=np.concatenate((a, b))[:-1], method="highs-ds")
    if done.status != 0:
        raise DataError(f"no plan between {len(a)} and {len(b)} classes was found: {done.message}")
    return float(done.fun) * unit


def distances(a_AD: Floats, b_BD: Floats) -> Floats:
    """Euclidean distances `[A, B]` between rows."""
    squares = np.square(a_AD).sum(1)[:, None] + np.square(b_BD).sum(1) - 2 * (a_AD @ b_BD.T)
    return np.asarray(np.sqrt(np.maximum(squares, 0.0)))


def transport_to_source(
    features: ArrayLike,
    labels: ArrayLike,
    num_classes: int,
    class_means: ArrayLike,
    class_counts: ArrayLike,
    covariance: ArrayLike,
    within: ArrayLike | None,
    *,
    seed: int,
    draws: int | None = None,
) -> Transport:
    """Class-mean transport of `features` `[N, D]`, `labels` `[N]`, to a source's class means `[C, D]` (Cui et al. 2018,
    "Large scale fine-grained categorization and domain-specific transfer learning"); a class weighs what it has of images.

    The unit is the root of the trace of the source's `covariance`. The null moves random classes of the source, as many as
    the target has (again from the start when the source has fewer), whose means are off by `within / n` for n images. The
    source's own means are taken to be exact; `within` None leaves the null out.
    """
    f, y = np.asarray(features, np.float64), np.asarray(labels)
    means, masses = np.asarray(class_means, np.float64), np.asarray(class_counts, np.float64)
    found = []
    if f.ndim != 2 or y.shape != f.shape[:1] or not len(f) or not (y.min() >= 0 and y.max() < num_classes):
        found.append(f"features {f.shape} and labels {y.shape}: give a label within 0..{num_classes - 1} for every row")
    if means.shape != (len(masses), f.shape[-1]) or not masses.any():
        found.append(f"class means {means.shape} and counts {masses.shape} do not go with features {f.shape}")
    problems(DataError, "classes cannot be transported:", found)
    if draws is not None and draws < 1:
        raise ConfigError(f"draws={draws} of the null must be at least 1")
    unit = math.sqrt(float(np.trace(np.asarray(covariance, np.float64))))
    if not unit > 0:
        raise DataError("the source's features do not vary at all; its statistics are of too few or of equal images")
    counts = np.bincount(y, minlength=num_classes).astype(np.float64)
    own = np.zeros((num_classes, f.shape[1]))
    np.add.at(own, y, f)
    own, counts = own[counts > 0] / counts[counts > 0][:, None], counts[counts > 0]
    means, masses = means[masses > 0], masses[masses > 0]
    value = earth_movers(counts, masses, distances(own, means))
    if within is None:
        return Transport(value / unit, None, None)
    times = draws if draws is not None else max(3, min(DRAWS, _WORK // (len(own) * len(means))))
    noise = _root(np.asarray(within, np.float64))
    drawn = np.array([_null(means, masses, counts, noise, generator(seed, "transport", p)) for p in range(times)])
    return Transport(value / unit, float(drawn.mean()) / unit, float(np.quantile(drawn, 0.95)) / unit)


def _root(within: Floats) -> Floats:
    values, vectors = np.linalg.eigh(within)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)))


def _null(means: Floats, masses: Floats, counts: Floats, noise: Floats, rng: np.random.Generator) -> float:
    """Transport of random source classes, with the target's numbers of images, to the source."""
    chosen = np.concatenate([rng.permutation(len(means)) for _ in range(-(-len(counts) // len(means)))])[: len(counts)]
    errors = rng.standard_normal((len(counts), means.shape[1])) @ noise.T / np.sqrt(counts)[:, None]
    moved = means[chosen] + errors
    return earth_movers(counts, masses, distances(moved, means))
