"""Nearest neighbours in feature space: what the features know before anything is learned."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.errors import ConfigError, DataError
from headstart.metrics.intervals import Interval, wilson

TEMPERATURE = 0.1
LARGEST_K = 200
"""neighbours and temperature of Wu et al. 2018 and DINO, for data sets of a million images"""

_HELD = 1 << 23
"""similarities held at a time: 32 MB"""


@dataclass(frozen=True, eq=False)
class Knn:
    """Accuracy of a nearest-neighbour vote with its interval, the answers `[N]`, and the number of neighbours."""

    accuracy: Interval
    predictions: NDArray[np.int64]
    k: int

    def __str__(self) -> str:
        return f"{self.k} nearest neighbours: {self.accuracy}"


def neighbours_for(images: int, classes: int) -> int:
    """A sensible k: the square root of the number of images, at most a mean class's images, at most 200, at least 1.

    Beyond its own class an image can only collect wrong votes, and on small sets 200 neighbours would be everybody.
    """
    return max(1, min(LARGEST_K, round(math.sqrt(images)), images // classes, images - 1))


def knn(
    features: ArrayLike,
    labels: ArrayLike,
    num_classes: int,
    *,
    k: int | None = None,
    groups: ArrayLike | None = None,
    temperature: float = TEMPERATURE,
) -> Knn:
    """Vote of the k nearest images by cosine, weighted with exp(similarity / temperature); each image judged by the others.

    features  `[N, D]`; labels `[N]`; k None: `neighbours_for`
    groups    `[N]`: images of one group never vote for each other. None: leave one out. Give fold numbers for
              cross-validation, or patient or video numbers so that near duplicates do not answer for each other
    """
    f, truth = np.asarray(features, np.float32), np.asarray(labels)
    if f.ndim != 2 or truth.shape != f.shape[:1] or len(f) < 2 or not np.isfinite(f).all():
        raise DataError(f"features {f.shape} and labels {truth.shape}: give at least two rows of finite numbers, labelled")
    if not (truth.min() >= 0 and truth.max() < num_classes):
        raise DataError(f"labels go from {truth.min()} to {truth.max()}, not within 0..{num_classes - 1}")
    own = np.arange(len(f)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1].ravel()
    if own.shape != truth.shape or own.max() == 0:
        raise DataError(f"groups {own.shape} must number each of {len(f)} images and hold at least two groups")
    neighbours = neighbours_for(len(f), num_classes) if k is None else k
    if not (1 <= neighbours < len(f)) or temperature <= 0:
        raise ConfigError(f"k = {neighbours} must be between 1 and {len(f) - 1}, temperature = {temperature} positive")
    unit = _unit(f)
    said = np.empty(len(f), np.int64)
    step = max(1, _HELD // len(f))
    for begin in range(0, len(f), step):
        rows = slice(begin, begin + step)
        similarity = unit[rows] @ unit.T
        similarity[own[rows, None] == own[None]] = -np.inf
        said[rows] = _vote(similarity, truth, num_classes, neighbours, temperature)
    return Knn(wilson(int((said == truth).sum()), len(f)), said, neighbours)


def nearest_answers(
    bank: ArrayLike,
    labels: ArrayLike,
    queries: ArrayLike,
    num_classes: int,
    *,
    k: int | None = None,
    temperature: float = TEMPERATURE,
) -> NDArray[np.int64]:
    """The same vote for other images: answers `[M]` to `queries` `[M, D]` by labelled features `bank` `[N, D]`.

    labels  `[N]`; k None: `neighbours_for` the bank, at most all of it
    """
    known, asked, truth = np.asarray(bank, np.float32), np.asarray(queries, np.float32), np.asarray(labels)
    if known.ndim != 2 or asked.ndim != 2 or known.shape[1] != asked.shape[1] or truth.shape != known.shape[:1]:
        raise DataError(f"features {known.shape}, labels {truth.shape} and queries {asked.shape} do not belong together")
    neighbours = min(neighbours_for(len(known), num_classes) if k is None else k, len(known))
    if neighbours < 1 or temperature <= 0:
        raise ConfigError(f"k = {neighbours} must be at least 1, temperature = {temperature} positive")
    first, second = _unit(known), _unit(asked)
    step = max(1, _HELD // len(known))
    parts = [
        _vote(second[begin : begin + step] @ first.T, truth, num_classes, neighbours, temperature)
        for begin in range(0, len(asked), step)
    ]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def _unit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(length, np.finfo(np.float32).tiny), np.float32)


def _vote(
    similarity: NDArray[np.float32], labels: NDArray[np.integer], num_classes: int, k: int, temperature: float
) -> NDArray[np.int64]:
    """The class with the most weight among the k most similar columns, per row; -inf marks columns without a vote."""
    nearest = np.argpartition(similarity, -k, axis=1)[:, -k:]
    closeness = np.take_along_axis(similarity, nearest, 1).astype(np.float64)
    # relative to the closest: the common factor does not change the vote, and the exponential cannot overflow
    weight = np.exp((closeness - closeness.max(1, keepdims=True)) / temperature)
    where = labels[nearest] + num_classes * np.arange(len(nearest))[:, None]
    votes = np.bincount(where.ravel(), weight.ravel(), minlength=num_classes * len(nearest))
    said: NDArray[np.int64] = votes.reshape(len(nearest), num_classes).argmax(1).astype(np.int64)
    return said
