"""Intervals for scores that are no mean over images: how they vary from one half of the images to another."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.errors import ConfigError, DataError
from headstart.metrics.intervals import Interval, t_quantile
from headstart.seeding import generator

HALVES = 50
"""half-samples; their spread is then known to about 10 %"""


def half_samples(labels: ArrayLike, seed: int, *, groups: ArrayLike | None = None, count: int = HALVES) -> NDArray[np.bool_]:
    """`[count, N]`: which images are in each random half, drawn without replacement from every class of `labels` `[N]`.

    groups  `[N]`: images of one group stay together, and a group is drawn with the rarest of its classes

    A class of odd size gives the larger half, so that of three images two are kept; one of a single image gives that one
    always, and its interval does not know how that image could have been another.
    """
    truth = np.asarray(labels)
    if truth.ndim != 1 or len(truth) < 2 or count < 2:
        raise DataError(f"{count} half-samples of labels {truth.shape}: give at least two of each")
    unit, first = _units(truth, groups)
    rng = generator(seed, "half-samples")
    strata = [np.flatnonzero(first == c) for c in np.unique(first)]
    kept = np.zeros((count, len(first)), bool)
    for part in kept:
        for members in strata:
            part[rng.permutation(members)[: (len(members) + 1) // 2]] = True
    return kept[:, unit]


def _units(truth: NDArray[np.generic], groups: ArrayLike | None) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What is drawn: each image's unit `[N]`, and each unit's stratum `[U]`."""
    _, classes, sizes = np.unique(truth, return_inverse=True, return_counts=True)
    if groups is None:
        return np.arange(len(truth)), classes
    _, unit = np.unique(np.asarray(groups), return_inverse=True)
    if unit.shape != truth.shape:
        raise DataError(f"groups have shape {np.shape(groups)}, labels {truth.shape}; give one per image")
    order = np.lexsort((classes, sizes[classes], unit))  # the rarest class of every unit stands first
    _, begin = np.unique(unit[order], return_index=True)
    return unit, classes[order][begin]


def half_interval(
    value: float,
    over_halves: ArrayLike,
    share: float = 0.5,
    *,
    level: float = 0.95,
    limits: tuple[float, float] = (-math.inf, math.inf),
) -> Interval:
    """Interval around `value`, the score of all images, from its spread `over_halves` `[H]`.

    share   of the images that was in a half-sample, see `share_of`
    limits  that the score cannot exceed

    A half drawn without replacement varies around the whole as the whole varies around the truth: for a mean the variances
    are s^2 (1/m - 1/n) with m = n/2, and s^2/n, as for any smooth statistic to first order (half-sampling, McCarthy 1969;
    the delete-half jackknife, Shao & Wu 1989); for another share they differ by m / (n - m). A score of half as many images
    is biased differently, so spread is taken around the halves' own mean and laid around `value`:
    value +- t sqrt(m / (n - m)) s, with H - 1 degrees of freedom. The interval tells how the score would vary with other
    images of the same classes in the same numbers; the bias that N images leave in it is none of its business.
    """
    drawn = np.asarray(over_halves, np.float64)
    if drawn.ndim != 1 or len(drawn) < 2 or not np.isfinite(drawn).all():
        raise DataError(f"over_halves {drawn.shape} must hold at least two finite scores")
    if not (0 < share < 1 and 0 < level < 1):
        raise ConfigError(f"share = {share} and level = {level} must lie between 0 and 1")
    wide = t_quantile(0.5 + level / 2, len(drawn) - 1) * math.sqrt(share / (1 - share)) * float(drawn.std(ddof=1))
    low, high = max(value - wide, limits[0]), min(value + wide, limits[1])
    return Interval(value, min(low, value), max(high, value), level, "half-samples")


def share_of(parts: NDArray[np.bool_]) -> float:
    """Share of the images in half-samples `[H, N]`; at most 1 - 1/N, for classes of one image each."""
    return min(float(parts.mean()), 1.0 - 1 / int(parts.shape[1]))
