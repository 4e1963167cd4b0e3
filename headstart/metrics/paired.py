"""Comparing two arms on the same images, seeds or folds.

Every comparison says whether it decides, and the smallest difference that this design could have found.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtr, stdtr

from headstart.errors import DataError
from headstart.metrics.intervals import DRAWS, corrected_error, normal_quantile, stretched, t_quantile
from headstart.metrics.resample import chunks, degrees_of_freedom, resampled_means, spread_seeds
from headstart.seeding import generator

Floats = NDArray[np.float64]
POWER = 0.8
"""share of repetitions in which a true difference of size `detectable` would be found"""


@dataclass(frozen=True)
class Difference:
    """How much better arm a is than arm b (a minus b).

    mean        of the differences
    low, high   interval of level `level`
    p_value     two-sided, of no difference
    decided     the interval leaves out zero (after `holm`: the adjusted p-value is below 1 - level)
    detectable  smallest true difference that this design finds with 80 % power
    method      `images`, `hierarchical` (seeds and images) or `folds`
    """

    mean: float
    low: float
    high: float
    p_value: float
    decided: bool
    detectable: float
    level: float
    method: str

    def __str__(self) -> str:
        verdict = "decided" if self.decided else f"undecided, smallest detectable {self.detectable:.3f}"
        interval = f"{100 * self.level:g} %: {self.low:+.3f} to {self.high:+.3f}"
        return f"{self.mean:+.3f} ({interval}, p = {self.p_value:.3g}; {verdict})"


def paired_bootstrap(
    a: ArrayLike,
    b: ArrayLike,
    seed: int,
    *,
    weights: ArrayLike | None = None,
    level: float = 0.95,
    draws: int = DRAWS,
) -> Difference:
    """Compare two arms by drawing their shared images anew.

    a, b     `[N]` one value per image (right or wrong; any score with higher better), or `[S, N]` for S seeds, see
             `paired_hierarchical`.
    weights  `[N]` multiply the values, of mean one: every class is to count the same, say; None: every image counts the same

    Of two right-or-wrong arms only the images on which they differ speak, and these can be few. So half an image is added
    to each of the four cells of the paired table (Agresti & Min 2005), which keeps two equal arms on fifty images from
    being called equal to any precision; with weights, of their root mean square. Training is taken as it is: what another
    seed would give is not in this interval.
    """
    first, second = _pair(a, b)
    right_or_wrong = _right_or_wrong(first) and _right_or_wrong(second)
    each = np.ones(first.shape[-1]) if weights is None else np.asarray(weights, np.float64)
    if each.shape != first.shape[-1:] or not np.isfinite(each).all():
        raise DataError(f"{each.shape} weights of {first.shape[-1]} images; give a finite one for each")
    first, second = first * each, second * each
    if first.ndim == 2 and len(first) > 1:
        return paired_hierarchical(first, second, seed, level=level, draws=draws)
    gaps = (first - second).reshape(1, -1)
    if right_or_wrong:
        drawn, error = _smoothed(gaps[0], float(np.sqrt(np.square(each).mean())), seed, draws)
    else:
        drawn = resampled_means(gaps, seed, draws)
        error = float(gaps.std(ddof=1)) / math.sqrt(gaps.size) if gaps.size > 1 else math.inf
    alpha = 1 - level
    low, high = (float(end) for end in np.quantile(drawn, [alpha / 2, 1 - alpha / 2]))
    tail = 1 + min(int((drawn <= 0).sum()), int((drawn >= 0).sum()))
    p = min(1.0, 2 * tail / (len(drawn) + 1))
    detectable = (normal_quantile(1 - alpha / 2) + normal_quantile(POWER)) * error
    return Difference(float(gaps.mean()), low, high, p, not low <= 0 <= high, detectable, level, "images")


def paired_hierarchical(a: ArrayLike, b: ArrayLike, seed: int, *, level: float = 0.95, draws: int = DRAWS) -> Difference:
    """Compare two arms, each trained with the same S >= 2 seeds (paired by seed) and answering the same images: `[S, N]`.

    Seeds and images are drawn anew; with few seeds Student's t with Satterthwaite's degrees of freedom replaces the normal
    (see `intervals.hierarchical`), so that three lucky seeds decide nothing.
    """
    first, second = _pair(a, b)
    gaps = first - second
    if gaps.ndim != 2 or len(gaps) < 2:
        raise DataError(f"shape {gaps.shape} is not [seeds, images] with at least two seeds; give one row per seed")
    drawn = resampled_means(spread_seeds(gaps), seed, draws)
    dof, mean = degrees_of_freedom(gaps), float(gaps.mean())
    low, high = stretched(gaps, drawn, level)
    error = float(drawn.std())
    p = 1.0 if error == 0 and mean == 0 else 2 * _t_below(-abs(mean) / error if error else -math.inf, dof)
    detectable = (t_quantile(0.5 + level / 2, dof) + t_quantile(POWER, dof)) * error
    return Difference(mean, low, high, float(p), not low <= 0 <= high, detectable, level, "hierarchical")


@dataclass(frozen=True)
class McNemar:
    """Exact McNemar test: of the images on which the arms differ, is either arm right more often than a coin says?"""

    only_a: int
    only_b: int
    p_value: float

    def __str__(self) -> str:
        return f"only the first right on {self.only_a}, only the second on {self.only_b} images (p = {self.p_value:.3g})"


def mcnemar(correct_a: ArrayLike, correct_b: ArrayLike) -> McNemar:
    """Exact (binomial) two-sided McNemar test of two right-or-wrong arms `[N]` on shared images."""
    first, second = _pair(correct_a, correct_b)
    if first.ndim != 1 or not (_right_or_wrong(first) and _right_or_wrong(second)):
        raise DataError("McNemar's test needs one right-or-wrong (0 or 1) value per image for each arm")
    only_a, only_b = int(((first == 1) & (second == 0)).sum()), int(((first == 0) & (second == 1)).sum())
    tail = float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)) if only_a + only_b else 1.0
    return McNemar(only_a, only_b, min(1.0, 2 * tail))


def corrected_t(
    scores_a: ArrayLike, scores_b: ArrayLike, train_size: float, test_size: float, level: float = 0.95
) -> Difference:
    """Corrected resampled t-test over K folds or random splits, `[K]` scores of both arms on the same splits.

    Nadeau & Bengio 2003: the folds' training sets overlap, so the variance of the mean is (1/K + test/train) s^2, with
    K - 1 degrees of freedom. `train_size` and `test_size` are images per split.
    """
    first, second = _pair(scores_a, scores_b)
    gaps = first - second
    if gaps.ndim != 1 or len(gaps) < 2:
        raise DataError(f"shape {gaps.shape}: give one score per fold, for at least two folds")
    dof, mean, error = len(gaps) - 1, float(gaps.mean()), corrected_error(gaps, train_size, test_size)
    half = t_quantile(0.5 + level / 2, dof) * error
    p = 1.0 if error == 0 and mean == 0 else 2 * _t_below(-abs(mean) / error if error else -math.inf, dof)
    detectable = half + t_quantile(POWER, dof) * error
    return Difference(mean, mean - half, mean + half, float(p), abs(mean) > half, detectable, level, "folds")


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values of several comparisons (Holm 1979): reject below alpha, and no more than alpha errs at all."""
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted, largest = [1.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = largest
    return adjusted


def holm_differences(differences: Mapping[str, Difference]) -> dict[str, Difference]:
    """The same comparisons with adjusted p-values, `decided` by them. Intervals stay those of each comparison alone."""
    adjusted = holm([difference.p_value for difference in differences.values()])
    return {
        name: replace(difference, p_value=p, decided=difference.decided and p < 1 - difference.level)
        for (name, difference), p in zip(differences.items(), adjusted, strict=True)
    }


def _smoothed(gaps: Floats, size: float, seed: int, draws: int) -> tuple[Floats, float]:
    """Redrawn mean differences of right-or-wrong arms from the smoothed paired table, and their standard error.

    size  by which the half images that are added differ
    """
    images = gaps.size
    values, which = np.unique(np.append(gaps, [size, -size, 0.0]), return_inverse=True)
    shares = np.bincount(which, np.append(np.ones(images), [0.5, 0.5, 1.0])) / (images + 2)
    rng = generator(seed, "bootstrap", "paired")
    drawn = [rng.multinomial(images, shares, size=some) @ values / images for some in chunks(draws, len(values))]
    mean = shares @ values
    return np.concatenate(drawn), math.sqrt((shares @ np.square(values) - mean**2) / images)


def _right_or_wrong(values: Floats) -> bool:
    return bool(np.isin(values, (0.0, 1.0)).all())


def _t_below(value: float, dof: float) -> float:
    if math.isinf(value):
        return 0.0
    return 0.5 * math.erfc(-value / math.sqrt(2)) if math.isinf(dof) else float(stdtr(dof, value))


def _pair(a: ArrayLike, b: ArrayLike) -> tuple[Floats, Floats]:
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if first.shape != second.shape or not first.size or first.ndim > 2:
        raise DataError(f"the arms have shapes {first.shape} and {second.shape}; compare them on the same images")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise DataError("both arms must have a finite value for every image")
    return first, second
