"""Intervals: how far a number could be from what it would be on more images, seeds or folds."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from headstart.errors import DataError
from headstart.metrics.resample import chunks, degrees_of_freedom, resampled_means, spread_seeds
from headstart.seeding import generator

Floats = NDArray[np.float64]
DRAWS = 10_000
"""bootstrap draws; the ends of a 95 % interval then move by about 2 % of its width from seed to seed"""


@dataclass(frozen=True)
class Interval:
    """An estimate and the range that covers the truth in a share `level` of repetitions.

    method: `wilson`, `percentile`, `bca`, `hierarchical` or `folds`.
    """

    mean: float
    low: float
    high: float
    level: float
    method: str

    def __str__(self) -> str:
        return f"{self.mean:.3f} ({100 * self.level:g} %: {self.low:.3f} to {self.high:.3f})"


def wilson(successes: int, trials: int, level: float = 0.95) -> Interval:
    """Interval of a proportion (Wilson 1927), sensible also at 0 and 1 and for few images."""
    if not (trials > 0 and 0 <= successes <= trials):
        raise DataError(f"{successes} successes in {trials} trials is not a proportion; give 0 <= successes <= trials > 0")
    z = normal_quantile(0.5 + _level(level) / 2)
    share, shrink = successes / trials, 1 + z**2 / trials
    centre = (share + z**2 / (2 * trials)) / shrink
    half = z * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2)) / shrink
    # at 0 and 1 the ends are exact; rounding must not put the estimate outside its own interval
    return Interval(share, min(max(centre - half, 0.0), share), max(min(centre + half, 1.0), share), level, "wilson")


def bootstrap_mean(
    values: ArrayLike, seed: int, *, level: float = 0.95, draws: int = DRAWS, method: Literal["bca", "percentile"] = "bca"
) -> Interval:
    """Bootstrap interval of the mean of `values` `[N]`, one per image."""
    sample = _values(values, 1)
    drawn = resampled_means(sample[None], seed, draws)
    deviations = sample.mean() - sample  # the mean without image i, minus the mean, times n - 1
    return _interval(float(sample.mean()), drawn, deviations, _level(level), method)


def bootstrap(
    sample: ArrayLike,
    statistic: Callable[[Floats], Floats],
    seed: int,
    *,
    level: float = 0.95,
    draws: int = 2000,
    method: Literal["bca", "percentile"] = "bca",
) -> Interval:
    """Bootstrap interval of any statistic of images.

    sample     `[N, ...]`, one entry per image
    statistic  maps `[B, N, ...]`, B redrawn samples, to `[B]`
    method     `bca`: bias-corrected and accelerated (Efron 1987), second-order exact; `percentile`
    """
    values = np.asarray(sample, np.float64)
    if values.ndim < 1 or len(values) < 2:
        raise DataError(f"a bootstrap needs at least two images, not a sample of shape {values.shape}")
    rng, images = generator(seed, "bootstrap"), len(values)
    drawn = np.concatenate(
        [statistic(values[rng.integers(0, images, (size, images))]) for size in chunks(draws, values.size)]
    )
    estimate = float(statistic(values[None])[0])
    without = np.empty(0)
    if method == "bca":
        without = np.array([float(statistic(np.delete(values, i, 0)[None])[0]) for i in range(images)])
    return _interval(estimate, drawn, without - without.mean() if len(without) else without, _level(level), method)


def bootstrap_confusion(
    counts: ArrayLike,
    statistic: Callable[[NDArray[np.number]], Floats],
    seed: int,
    *,
    level: float = 0.95,
    draws: int = 4000,
) -> Interval:
    """Percentile interval of a function of the confusion matrix, such as `classification.balanced_accuracy_of`.

    counts     `[C, C]`
    statistic  maps `[B, C, C]` counts to `[B]`

    Drawing images anew draws the cells of the matrix from a multinomial, whatever the statistic.
    """
    matrix = np.asarray(counts)
    images = int(matrix.sum())
    if matrix.ndim != 2 or images < 1:
        raise DataError(f"a confusion matrix [classes, classes] with at least one image is needed, not shape {matrix.shape}")
    cells, rng = np.flatnonzero(matrix), generator(seed, "bootstrap", "confusion")
    drawn = []
    for size in chunks(draws, matrix.size):
        many = np.zeros((size, matrix.size), np.int64)
        many[:, cells] = rng.multinomial(images, matrix.ravel()[cells] / images, size=size)
        drawn.append(statistic(many.reshape(size, *matrix.shape)))
    estimate = float(statistic(matrix[None])[0])
    return _interval(estimate, np.concatenate(drawn), np.empty(0), _level(level), "percentile")


def hierarchical(values: ArrayLike, seed: int, *, level: float = 0.95, draws: int = DRAWS) -> Interval:
    """Interval of the mean of `values` `[S, N]` over training seeds and images, both drawn anew.

    The bootstrap's deviations are widened by the ratio of Student's to the normal quantile with Satterthwaite's degrees of
    freedom: a percentile interval over three seeds would otherwise cover far less than it says (Hesterberg 2015).
    """
    grid = _values(values, 2)
    low, high = stretched(grid, resampled_means(spread_seeds(grid), seed, draws), _level(level))
    return Interval(float(grid.mean()), low, high, level, "hierarchical")


def stretched(grid: Floats, drawn: Floats, level: float) -> tuple[float, float]:
    """Percentile ends of `drawn`, means of `grid` `[S, N]`, widened from normal to Student's t as `hierarchical` says."""
    upper = 0.5 + level / 2
    factor = t_quantile(upper, degrees_of_freedom(grid)) / normal_quantile(upper)
    mean = grid.mean()
    low, high = np.quantile(drawn, [1 - upper, upper])
    return float(mean + factor * (low - mean)), float(mean + factor * (high - mean))


def over_folds(scores: ArrayLike, train_size: float, test_size: float, level: float = 0.95) -> Interval:
    """Interval of the mean of `scores` `[K]`, one per fold or random split of the same images.

    Training sets of folds overlap, so scores are correlated: the variance is corrected by test_size / train_size
    (Nadeau & Bengio 2003). `train_size` and `test_size` are images per split.
    """
    values = _values(scores, 1)
    if len(values) < 2:
        raise DataError(f"an interval over folds needs at least two scores, not {len(values)}")
    half = t_quantile(0.5 + _level(level) / 2, len(values) - 1) * corrected_error(values, train_size, test_size)
    return Interval(float(values.mean()), float(values.mean() - half), float(values.mean() + half), level, "folds")


def corrected_error(values: Floats, train_size: float, test_size: float) -> float:
    """Standard error of a mean over folds: sqrt((1/K + test/train) s^2) (Nadeau & Bengio 2003, section 3)."""
    if not (train_size > 0 and test_size > 0):
        raise DataError(f"train_size {train_size} and test_size {test_size} must be positive numbers of images")
    return float(np.sqrt((1 / len(values) + test_size / train_size) * values.var(ddof=1)))


def normal_quantile(share: float) -> float:
    """The point below which a standard normal lies with probability `share`."""
    return NormalDist().inv_cdf(share)


def t_quantile(share: float, dof: float) -> float:
    """The point below which Student's t lies with probability `share`; the normal's for infinite `dof`."""
    return normal_quantile(share) if math.isinf(dof) else float(stdtrit(dof, share))


def _interval(estimate: float, drawn: Floats, influence: Floats, level: float, method: str) -> Interval:
    """Ends of the bootstrap distribution `drawn`; for BCa `influence` holds (negated) jackknife deviations, any scale."""
    shares = np.array([0.5 - level / 2, 0.5 + level / 2])
    if method == "bca":
        shares = _bca_shares(estimate, drawn, influence, shares)
    elif method != "percentile":
        raise DataError(f"method {method!r} is not known; use 'bca' or 'percentile'")
    low, high = np.quantile(drawn, shares)
    return Interval(estimate, float(low), float(high), level, method)


def _bca_shares(estimate: float, drawn: Floats, without: Floats, shares: Floats) -> Floats:
    """Efron 1987: which quantiles to read, from median bias and acceleration."""
    if not without.any():  # a constant sample: every draw equals the estimate
        return shares
    tied = 0.5 * np.mean(drawn == estimate)  # discrete data: half of the ties lie below
    edge = 1 / (2 * len(drawn))
    bias = normal_quantile(float(np.clip(np.mean(drawn < estimate) + tied, edge, 1 - edge)))
    # the jackknife's deviations from their mean, sign turned: a value missing that lowers the statistic pulled it up
    acceleration = float((-(without**3)).sum() / (6 * (without**2).sum() ** 1.5))
    z = bias + np.array([normal_quantile(float(share)) for share in shares])
    return np.array([NormalDist().cdf(float(bias + x / (1 - acceleration * x))) for x in z])


def _level(level: float) -> float:
    if not 0 < level < 1:
        raise DataError(f"level = {level} must lie between 0 and 1, e.g. 0.95")
    return level


def _values(values: ArrayLike, dims: int) -> Floats:
    array = np.asarray(values, np.float64)
    shape = "[images]" if dims == 1 else "[seeds, images]"
    if array.ndim != dims or not array.size:
        raise DataError(f"values have shape {array.shape}, not {shape}, or there are none")
    if not np.isfinite(array).all():
        raise DataError(f"{int((~np.isfinite(array)).sum())} of {array.size} values are not finite; leave them out")
    return array
