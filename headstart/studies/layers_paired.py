"""Numbers of runs paired by target, split and seed, with intervals over trainings and images."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from headstart.metrics.intervals import t_quantile
from headstart.metrics.paired import POWER, Difference

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Unit:
    """One training, or one pair of trainings with the same target, split and seed.

    cell    what shares the test images: target and split
    values  `[N]` per test image: right or wrong of one run (0, 1), or one run's less the other's (-1, 0, 1), or their mean
            over several cuts
    """

    cell: Hashable
    values: Floats

    @property
    def mean(self) -> float:
        return float(self.values.mean())

    @property
    def image_variance(self) -> float:
        """Of the mean, over images. Half an image is added at either end (Agresti & Min 2005), so that two runs that agree
        on every one of fifty images are not called equal to any precision."""
        padded = np.concatenate([self.values, [-1.0, 1.0]]) if self.values.min() < 0 or not self.values.any() else None
        if padded is None:  # right or wrong: two of each (Agresti & Coull 1998)
            padded = np.concatenate([self.values, [0.0, 0.0, 1.0, 1.0]])
        return float(padded.var()) / len(self.values)


@dataclass(frozen=True)
class Spread:
    """How much trainings differ: the variance of units within a cut, pooled over cuts, with its degrees of freedom."""

    variance: float
    dof: int


def pooled(cuts: Sequence[Sequence[Unit]]) -> Spread:
    """The spread of several cuts together: two trainings say little about a variance, three times two say something."""
    several = [units for units in cuts if len(units) > 1]
    dof = sum(len(units) - 1 for units in several)
    total = sum(float(np.var([unit.mean for unit in units], ddof=1)) * (len(units) - 1) for units in several)
    return Spread(total / dof if dof else 0.0, dof)


@dataclass(frozen=True)
class Mean:
    """A mean with the standard error of it and Student's degrees of freedom."""

    value: float
    error: float
    freedom: float

    def less(self, other: Mean) -> Mean:
        """This less another that rests on other runs: variances add up (Welch's degrees of freedom)."""
        own, theirs = self.error**2, other.error**2
        spent = own**2 / self.freedom + theirs**2 / other.freedom
        freedom = (own + theirs) ** 2 / spent if spent > 0 else math.inf
        return Mean(self.value - other.value, math.sqrt(own + theirs), freedom)

    def told(self, level: float = 0.95, most: float = 1.0) -> Difference:
        """With its interval, and the p-value of no difference; `most`: how large its size can be at all."""
        half = t_quantile(0.5 + level / 2, self.freedom) * self.error
        p = 2 * _below(-abs(self.value) / self.error, self.freedom)
        detectable = min(half + t_quantile(POWER, self.freedom) * self.error, most)
        low, high = max(self.value - half, -most), min(self.value + half, most)
        return Difference(self.value, low, high, min(1.0, p), abs(self.value) > half, detectable, level, "runs")


def estimate(units: Sequence[Unit], spread: Spread, level: float = 0.95) -> Difference:
    """The mean over units with its interval; see `mean_of`."""
    return mean_of(units, spread).told(level)


def mean_of(units: Sequence[Unit], spread: Spread) -> Mean:
    """The mean over units, all counting alike, and how sure it is over trainings and images.

    spread  of comparable cuts; the units' own is used where it is larger

    The variance of the mean is that over trainings, or what images alone explain where that is more, plus what is added
    because seeds share their test images. Student's t has Satterthwaite's degrees of freedom. With one unit, training is
    taken as it is: what another seed would give is not in the interval.
    """
    means = np.array([unit.mean for unit in units])
    count = len(units)
    own = float(means.var(ddof=1)) if count > 1 else 0.0
    images = np.array([unit.image_variance for unit in units])
    if_apart = float(images.sum()) / count**2
    shared = _shared(units, images) - if_apart
    train = max(own, spread.variance) / count
    variance = max(train, if_apart) + shared
    dof = max(spread.dof, count - 1)
    freedom = variance**2 / (train**2 / dof) if dof and train > 0 else math.inf
    return Mean(float(means.mean()), math.sqrt(variance), freedom)


def _shared(units: Sequence[Unit], images: Floats) -> float:
    """Variance of the mean over images, when units of one cell see the same ones."""
    cells: dict[Hashable, list[float]] = {}
    for unit, variance in zip(units, images.tolist(), strict=True):
        cells.setdefault(unit.cell, []).append(variance)
    return sum((len(found) / len(units)) ** 2 * float(np.mean(found)) for found in cells.values())


def _below(value: float, dof: float) -> float:
    return 0.5 * math.erfc(-value / math.sqrt(2)) if math.isinf(dof) else float(stdtr(dof, value))


def along(cuts: Mapping[int, Sequence[Unit]], level: float = 0.95) -> dict[int, Difference]:
    """`estimate` for every cut that has units, with the spread of itself and its neighbours: trainings differ more where
    more is lost, so that the first cut must not answer for the last."""
    order = sorted(cuts)
    near = {n: pooled([cuts[other] for other in order[max(place - 1, 0) : place + 2]]) for place, n in enumerate(order)}
    return {n: estimate(units, near[n], level) for n, units in cuts.items() if units}
