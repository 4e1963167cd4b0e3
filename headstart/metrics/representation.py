"""What features are worth before anyone asks them a question: whether they still vary, in how many directions, and how
renderings of one image lie to those of others. Arrays in, numbers out; nothing here needs a label."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import pdist

from headstart.errors import DataError

Floats = NDArray[np.float64]


def normalised(features: ArrayLike) -> Floats:
    """Rows of `[N, D]` brought to length one; a row of zeros stays one."""
    rows = _rows(features)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    out: Floats = np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)
    return out


def spread(features: ArrayLike) -> float:
    """Standard deviation of normalised features `[N, D]`, averaged over dimensions, times sqrt(D).

    1 where directions are spread evenly over the sphere, whose standard deviation per dimension is 1/sqrt(D); 0 where all
    images have one and the same features (Chen & He 2021, section 4.1).
    """
    rows = normalised(features)
    return float(rows.std(axis=0).mean() * math.sqrt(rows.shape[1]))


def effective_rank(features: ArrayLike) -> float:
    """In how many directions features `[N, D]` vary: exp of the entropy of their singular values' shares (Roy & Vetterli
    2007, definition 1), of features with their mean taken off, which says where all of them lie and not how they differ.

    Between 1 and min(N - 1, D). Features that do not vary at all count as 1.
    """
    rows = _rows(features)
    values = np.linalg.svd(rows - rows.mean(axis=0), compute_uv=False)
    # What is left of equal rows after their mean was taken off is rounding, and has a high rank.
    values = values[values > np.finfo(np.float64).eps * max(rows.shape) * np.abs(rows).max(initial=0)]
    if not len(values):
        return 1.0
    shares = values / values.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def alignment(one: ArrayLike, two: ArrayLike) -> float:
    """Mean squared distance between the normalised features `[N, D]` of two renderings of the same images (Wang & Isola
    2020, equation 4 with alpha = 2): 0 where a rendering changes nothing, 2 where it makes another image of it."""
    first, second = normalised(one), normalised(two)
    if first.shape != second.shape:
        raise DataError(f"the two renderings have features {first.shape} and {second.shape}; give those of the same images")
    return float(np.square(first - second).sum(axis=1).mean())


def uniformity(features: ArrayLike, t: float = 2.0) -> float:
    """Logarithm of the mean of exp(-t |x - y|^2) over pairs of normalised features `[N, D]` (Wang & Isola 2020, equation 5):
    0 where all are the same, the lower the more evenly they fill the sphere, never below -4 t."""
    rows = normalised(features)
    if len(rows) < 2:
        raise DataError("uniformity is about pairs of images; give two at least")
    return float(np.log(np.mean(np.exp(-t * pdist(rows, "sqeuclidean")))))


def against_chance(loss: float, chance: float | None) -> float | None:
    """The loss as a share of what guessing gives; None where that is not known, or is nothing."""
    return None if chance is None or not chance > 0 else loss / chance


def _rows(features: ArrayLike) -> Floats:
    rows = np.asarray(features, np.float64)
    if rows.ndim != 2 or not rows.size or not np.isfinite(rows).all():
        raise DataError(f"features of shape {rows.shape} must be rows of finite numbers, one row per image")
    return rows
