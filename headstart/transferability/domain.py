"""Can target and source be told apart? The cross-validated error of a linear classifier between their features."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.errors import DataError, problems
from headstart.seeding import generator

if TYPE_CHECKING:
    from headstart.engine.source_statistics import SourceStatistics

Floats = NDArray[np.float64]

FOLDS, LARGEST = 5, 1_000
"""folds, and images of either side that are looked at, at most"""
LEAST_SOURCE = 500
"""Source features that are drawn even for fewer target images: they cost nothing."""
_PENALTIES = tuple(10.0**n for n in range(-3, 5))


@dataclass(frozen=True)
class Domain:
    """Balanced error of telling target from source: 0.5 cannot be told apart, 0 are wholly apart.

    spread  standard error over images
    drawn   the source's features were drawn from its statistics; False: they are of real images
    """

    value: float
    spread: float
    drawn: bool
    null: float = 0.5

    @property
    def proxy_a(self) -> float:
        """2 (1 - 2 error), 0 to 2 (Ben-David et al. 2007, "Analysis of representations for domain adaptation")."""
        return 2 * (1 - 2 * self.value)


def domain_error(
    features: ArrayLike, statistics: SourceStatistics, *, seed: int, source_features: ArrayLike | None = None
) -> Domain:
    """Error of a linear classifier between `features` `[N, D]` and features of the source.

    source_features  `[M, D]` of real images of the source. None: drawn from `statistics`, a Gaussian for every class with
                     the covariance within classes, or one Gaussian where classes are not known. The classifier then sees
                     Gaussian features where real ones are skewed and never negative; a linear one hardly can tell.

    At most 1 000 of either side, evenly spread. Raises DataError for fewer than two images of either.
    """
    target = _some(np.asarray(features, np.float64))
    wanted = min(max(len(target), LEAST_SOURCE), LARGEST)
    if source_features is None:
        source = drawn_from(statistics, wanted, seed)
    else:
        source = _some(np.asarray(source_features, np.float64))
    width = len(statistics.mean)
    found = [
        f"{name} has shape {x.shape}; give at least two rows of {width} finite numbers"
        for name, x in (("features", target), ("source_features", source))
        if x.ndim != 2 or len(x) < 2 or x.shape[1] != width or not np.isfinite(x).all()
    ]
    problems(DataError, "target and source cannot be told apart or together:", found)
    wrong_target, wrong_source = _wrong(target, source, seed)
    shares = wrong_target.mean(), wrong_source.mean()
    parts = [p * (1 - p) / len(w) for p, w in zip(shares, (wrong_target, wrong_source), strict=True)]
    error = min(float(np.mean(shares)), 0.5)  # worse than guessing is no knowledge either
    return Domain(error, float(np.sqrt(sum(parts)) / 2), source_features is None)


def _some(x: Floats) -> Floats:
    """At most `LARGEST` rows, evenly spread."""
    return x if len(x) <= LARGEST else x[np.linspace(0, len(x) - 1, LARGEST).round().astype(np.int64)]


def drawn_from(statistics: SourceStatistics, count: int, seed: int) -> Floats:
    """`[count, D]` features from the class-conditional Gaussians of `statistics`, classes by their number of images."""
    rng = generator(seed, "domain", "source")
    within = statistics.within()
    if within is None:
        centres = np.broadcast_to(statistics.mean.astype(np.float64), (count, len(statistics.mean)))
        spread = statistics.covariance.astype(np.float64)
    else:
        share = statistics.class_counts / statistics.class_counts.sum()
        centres = statistics.class_means.astype(np.float64)[rng.choice(len(share), count, p=share)]
        spread = within
    values, vectors = np.linalg.eigh(spread)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    return np.asarray(centres + rng.standard_normal(centres.shape) @ root.T)


def _wrong(target: Floats, source: Floats, seed: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which rows a ridge classifier of the other folds takes for the other side. Both sides weigh the same; its penalty is
    chosen by leave-one-out within the other folds."""
    from sklearn.linear_model import RidgeClassifierCV

    x = np.concatenate((target, source))
    y = np.concatenate((np.ones(len(target), np.int64), np.zeros(len(source), np.int64)))
    rng = generator(seed, "domain", "folds")
    sides = [rng.permutation(n) % min(FOLDS, len(target), len(source)) for n in (len(target), len(source))]
    fold, wrong = np.concatenate(sides), np.zeros(len(x), bool)
    for number in np.unique(fold):
        held = fold == number
        mean, deviation = x[~held].mean(0), x[~held].std(0)
        deviation[deviation <= 1e-9 * max(float(deviation.max()), 1e-300)] = np.inf  # constant features say nothing
        judge = RidgeClassifierCV(alphas=_PENALTIES, class_weight="balanced")
        judge.fit((x[~held] - mean) / deviation, y[~held])
        wrong[held] = judge.predict((x[held] - mean) / deviation) != y[held]
    return wrong[: len(target)], wrong[len(target) :]
