"""What more labels would bring: a probe learned from a quarter, from half and from all images, and where that leads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headstart.engine.solvers import cross_validate
from headstart.engine.solvers.folds import Folds, rows_of
from headstart.engine.solvers.select import DEFAULT_PENALTIES
from headstart.errors import ConfigError
from headstart.metrics.intervals import Interval, wilson
from headstart.seeding import generator, seed_for

SHARES = (0.25, 0.5, 1.0)
"""parts of the training images that the probe learns from"""
REPEATS = 3
"""draws of each part smaller than the whole, whose accuracies are averaged: which few images they are matters"""
LEVEL = 0.8
"""of the interval of what twice the images would bring"""
DRAWS = 2000


@dataclass(frozen=True, eq=False)
class CurvePoint:
    """Accuracy of the probe learned from so many images.

    images    that it learned from, the mean over folds
    accuracy  on held-out images, the mean over draws; interval over images
    right     `[M]` share of draws in which each held-out image was right
    """

    images: float
    accuracy: Interval
    right: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """Accuracy against the number of images, few to many, and what twice as many as there are should bring.

    points  at least one
    twice   accuracy expected from twice the images of the last point, interval of level 0.8; None from fewer than two points
    """

    points: tuple[CurvePoint, ...]
    twice: Interval | None

    @property
    def gain(self) -> float | None:
        """Accuracy that twice the images should add."""
        return None if self.twice is None else self.twice.mean - self.points[-1].accuracy.mean

    def __str__(self) -> str:
        lines = [f"{point.images:>8.0f} images  {point.accuracy}" for point in self.points]
        if self.twice is not None:
            lines.append(f"{2 * self.points[-1].images:>8.0f} images  {self.twice}, expected")
        return "\n".join(lines)


def learning_curve(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    folds: Folds,
    *,
    seed: int,
    penalties: Sequence[float] = DEFAULT_PENALTIES,
) -> LearningCurve:
    """Cross-validate a ridge probe on `features` `[N, D]`, learned from a quarter, a half and all of each fold's images.

    folds  (train, valid) row numbers; every point is judged on the same images

    Parts are drawn by class; a part in which a typical class would have no image is left out. Each point chooses its own
    penalty. The step beyond the last point assumes that error falls by a constant factor with every doubling (a power law
    without a floor: Cortes et al. 1993, Hestness et al. 2017), so it is hopeful where the curve has reached its floor.
    """
    pairs = rows_of(folds, len(labels))
    if not len(labels):
        raise ConfigError("labels is empty; give at least one image")
    typical = np.median(np.bincount(labels.numpy(), minlength=num_classes)) * len(pairs[0][0]) / len(labels)
    points = []
    for share in SHARES:
        if share < 1 and share * typical < 1:
            continue
        draws = 1 if share == 1 else REPEATS
        right = [
            _right(features, labels, num_classes, _part(pairs, labels, share, seed, d), penalties) for d in range(draws)
        ]
        mean = np.mean(right, 0)
        images = float(np.mean([len(_thin(train, labels, share, 0)) for train, _ in pairs]))
        points.append(CurvePoint(images, wilson(round(float(mean.sum())), len(mean)), mean))
    return LearningCurve(tuple(points), _twice(points, seed))


def _right(
    features: Tensor, labels: Tensor, num_classes: int, folds: Folds, penalties: Sequence[float]
) -> NDArray[np.bool_]:
    """`[M]` whether each held-out image was right, in the order of the labels."""
    logits = cross_validate("ridge", features, labels, num_classes, penalties, folds).out_of_fold_logits
    held = torch.isfinite(logits).all(1)
    right: NDArray[np.bool_] = (logits.argmax(1) == labels)[held].numpy()
    return right


def _part(pairs: Folds, labels: Tensor, share: float, seed: int, draw: int) -> Folds:
    return [
        (_thin(torch.as_tensor(train), labels, share, seed_for(seed, "learning curve", draw, fold)), valid)
        for fold, (train, valid) in enumerate(pairs)
    ]


def _thin(rows: Tensor, labels: Tensor, share: float, seed: int) -> Tensor:
    """So large a part of every class's rows, rounded, at least one of each that is there."""
    if share == 1:
        return rows
    shuffled = rows.numpy()[generator(seed).permutation(len(rows))]
    classes = labels.numpy()[shuffled]
    parts = [shuffled[classes == c] for c in np.unique(classes)]
    return torch.from_numpy(np.sort(np.concatenate([part[: max(round(share * len(part)), 1)] for part in parts])))


def _twice(points: Sequence[CurvePoint], seed: int) -> Interval | None:
    """Error falls from the last point as it fell to it; redrawing the held-out images gives the interval."""
    if len(points) < 2:
        return None
    before, now = (1 - point.right for point in points[-2:])
    picked = generator(seed, "learning curve", "twice").multinomial(len(now), np.full(len(now), 1 / len(now)), DRAWS)
    drawn = 1 - _next(picked @ before / len(now), picked @ now / len(now))
    mean = float(1 - _next(before.mean(), now.mean()))
    low, high = (float(end) for end in np.quantile(drawn, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2]))
    return Interval(mean, min(low, mean), max(high, mean), LEVEL, "percentile")


def _next(before: NDArray[np.float64] | float, now: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """The error after another doubling: by the factor of the last one, which is taken to lie between a half and one."""
    factor = np.clip(np.divide(now, np.maximum(before, 1e-9)), 0.5, 1.0)
    return np.asarray(now * factor)
