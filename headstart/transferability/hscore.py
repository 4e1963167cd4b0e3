"""H-score: how far apart the class means lie, measured in the spread of all features."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from headstart.transferability.moments import Floats, Moments, moments


def hscore(features: ArrayLike, labels: ArrayLike, num_classes: int, *, regularised: bool = True) -> float:
    """H-score of `features` `[N, D]` for `labels` `[N]`: at least 0, higher is better; the plain one is at most
    classes - 1.

    regularised  tr(cov_a(f)^-1 (1 - a) cov(E[f|y])), cov_a shrunk by a towards a multiple of the identity (Ledoit & Wolf
                 2004; Ibrahim et al. 2021, "Newer is not always better"). False: tr(pinv(cov(f)) cov(E[f|y])) (Bao et al.
                 2019), which for N <= D is classes - 1 whatever the features, and close to it for N not much larger than D

    As in the published values, the shrunk covariance is divided by N and that of the class means by N - 1. With fewer images
    than features everything is done in N dimensions.
    """
    return hscore_of(moments(features, labels, num_classes), regularised=regularised)


def hscore_of(m: Moments, *, regularised: bool = True) -> float:
    """The same from moments."""
    between = m.between
    if not regularised:
        values, vectors = np.linalg.eigh(m.scatter)
        keep = values > values[-1] * np.finfo(np.float64).eps * max(m.images, m.width)
        return float((np.square(between @ vectors[:, keep]) / values[keep]).sum())
    spread = float(np.trace(m.scatter)) / m.images / m.width
    if spread == 0:
        return 0.0  # all features are constant: nothing is known, as the pseudo-inverse says too
    shrinkage = ledoit_wolf(m)
    shrunk = (1 - shrinkage) * m.scatter / m.images
    shrunk[np.diag_indices_from(shrunk)] += shrinkage * spread
    if shrinkage == 0:  # may be singular then, e.g. with constant columns
        return hscore_of(m, regularised=False)
    return (1 - shrinkage) * float(np.sum(between.T * np.linalg.solve(shrunk, between.T))) / (m.images - 1)


def ledoit_wolf(m: Moments) -> float:
    """The shrinkage, 0 to 1, with the least expected squared error of the covariance (Ledoit & Wolf 2004, section 3.3)."""
    images, width = m.images, m.width
    lengths: Floats = np.square(m.rows).sum(1)
    squares = float(np.square(m.scatter).sum()) / images**2
    distance = squares - (float(lengths.sum()) / images) ** 2 / width
    if width == 1 or distance <= 0:
        return 0.0  # a multiple of the identity already
    noise = (float(np.square(lengths).sum()) / images - squares) / images
    return max(0.0, min(noise, distance) / distance)
