"""TransRate: how many fewer bits the features need once the class is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from headstart.errors import ConfigError
from headstart.transferability.moments import Floats, Moments, log_det, moments

PRECISION = 1e-4
"""squared error allowed per feature: epsilon of the paper's listing"""


def transrate(features: ArrayLike, labels: ArrayLike, num_classes: int, *, precision: float = PRECISION) -> float:
    """Coding rate of `features` `[N, D]` less their mean coding rate within classes, in nats, at least 0; higher is better.

    R(Z) - sum over classes of N_c / N R(Z_c), with R(Z) = 1/2 log det(I + Z'Z / (N precision)) (Huang et al. 2022,
    "Frustratingly easy transferability estimation"). Features are centred once, by the mean of all images, as in the
    paper's listing; so a class's rate holds the distance of its mean from there. Hence two classes of one size score about
    0 however far apart they are: both lie as far from the common mean as all images do.

    Deviation: the listing weighs every class by 1 / classes, which is the same for classes of one size; here a class weighs
    as many images as it has, which makes the difference a bound on the mutual information for others too. The value depends
    on the scale of the features (as there), on N and on D: compare networks on the same images.
    """
    return transrate_of(moments(features, labels, num_classes), precision=precision)


def transrate_of(m: Moments, *, precision: float = PRECISION) -> float:
    """The same from moments."""
    if not (precision > 0 and np.isfinite(precision)):
        raise ConfigError(f"precision = {precision} must be positive, e.g. {PRECISION}")
    known = sum(int(m.counts[c]) / m.images * _rate(_square(m.of_class(c)), int(m.counts[c]), precision) for c in m.present)
    return _rate(m.scatter, m.images, precision) - known


def _rate(square: Floats, images: int, precision: float) -> float:
    grown = square / (images * precision)
    grown[np.diag_indices_from(grown)] += 1
    return log_det(grown) / 2


def _square(rows: Floats) -> Floats:
    """Z'Z or ZZ', whichever is smaller: their determinants with I are the same."""
    return rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows
