"""How far predicted numbers are from true ones: arrays in, numbers out, in the unit of the labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.errors import DataError, problems

Floats = NDArray[np.float64]


def mean_absolute_error(labels: ArrayLike, predictions: ArrayLike) -> float:
    """Mean of |p - y|."""
    truth, said = numbers(labels, predictions)
    return float(np.abs(said - truth).mean())


def root_mean_squared_error(labels: ArrayLike, predictions: ArrayLike) -> float:
    """Square root of the mean of (p - y)^2."""
    truth, said = numbers(labels, predictions)
    return float(np.sqrt(np.square(said - truth).mean()))


def r2(labels: ArrayLike, predictions: ArrayLike) -> float:
    """Share of the labels' variance that is explained, 1 - sum (p - y)^2 / sum (y - mean y)^2.

    0 for always answering the mean, negative for worse. NaN when all labels are the same.
    """
    truth, said = numbers(labels, predictions)
    return float(r2_of(truth, said, np.ones((1, len(truth))))[0])


def r2_of(truth: Floats, said: Floats, weights: Floats) -> Floats:
    """`[B]` R^2 where image i counts `weights[:, i]` times, of `weights` `[B, N]`."""
    total = weights.sum(1)
    centred = truth - truth.mean()  # the variance is a difference of moments, which lose digits far from zero
    mean = weights @ centred / np.maximum(total, 1)
    spread = weights @ centred**2 - total * mean**2
    missed = weights @ np.square(said - truth)
    tiny = 1e-12 * np.maximum(weights @ centred**2, 1e-300)
    found: Floats = 1 - np.divide(missed, spread, out=np.full(len(weights), np.nan), where=spread > tiny)
    return found


def numbers(labels: ArrayLike, predictions: ArrayLike) -> tuple[Floats, Floats]:
    """Both as float64 `[N]`. Raises DataError unless they are finite, flat, equally long and not empty."""
    truth, said = np.asarray(labels, np.float64), np.asarray(predictions, np.float64)
    found = []
    if truth.ndim != 1 or truth.shape != said.shape or not truth.size:
        found.append(f"labels {truth.shape} and predictions {said.shape} must be equally long, flat and not empty")
    for name, values in (("labels", truth), ("predictions", said)):
        if not np.isfinite(values).all():
            found.append(
                f"{int((~np.isfinite(values)).sum())} of {values.size} {name} are not finite; leave unknown ones out"
            )
    problems(DataError, "numbers cannot be compared:", found)
    return truth, said
