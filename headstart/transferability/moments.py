"""Means and covariances of labelled features, taken once for all scores that are made of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.errors import DataError, problems

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Moments:
    """Of features `[N, D]` with labels, after a rotation that leaves K = min(N, D) columns.

    width    D
    rows     `[N, K]` less their mean, sorted by class
    counts   `[C]` images of each class
    mean     `[K]`
    scatter  `[K, K]` rows' rows
    sums     `[C, K]` sum of each class's rows
    """

    width: int
    rows: Floats
    counts: NDArray[np.int64]
    mean: Floats
    scatter: Floats
    sums: Floats

    @property
    def images(self) -> int:
        """N."""
        return len(self.rows)

    @property
    def present(self) -> NDArray[np.int64]:
        """Classes that have images."""
        return np.flatnonzero(self.counts)

    @property
    def between(self) -> Floats:
        """`[C', K]` whose square B'B is the scatter of the class means, each counted once per image."""
        there = self.present
        return self.sums[there] / np.sqrt(self.counts[there])[:, None]

    def of_class(self, label: int) -> Floats:
        """The rows of one class."""
        begin = int(self.counts[:label].sum())
        return self.rows[begin : begin + int(self.counts[label])]


def moments(features: ArrayLike, labels: ArrayLike, num_classes: int) -> Moments:
    """Moments of `features` `[N, D]` with `labels` `[N]`; at least two classes must have images."""
    f, truth = checked(features, labels, num_classes)
    return moments_of(f, truth, num_classes)


def moments_of(f: NDArray[np.floating], truth: NDArray[np.int64], num_classes: int) -> Moments:
    """The same without checks: any part of something checked, be it of one class."""
    order = np.argsort(truth, kind="stable")
    rows = narrowed(f[order].astype(np.float64))
    counts = np.bincount(truth, minlength=num_classes)
    mean = rows.mean(0)
    rows = rows - mean
    sums = np.zeros((num_classes, rows.shape[1]))
    there = np.flatnonzero(counts)
    sums[there] = np.add.reduceat(rows, (np.cumsum(counts) - counts)[there])
    return Moments(f.shape[1], rows, counts, mean, rows.T @ rows, sums)


def narrowed(rows: Floats) -> Floats:
    """The same points in as few coordinates as there are points: inner products, and all that follows, stay the same."""
    if len(rows) >= rows.shape[1]:
        return rows
    return np.ascontiguousarray(np.asarray(np.linalg.qr(rows.T, mode="r")).T)


def log_det(matrix: Floats) -> float:
    """Log determinant of a positive definite matrix."""
    return 2 * float(np.log(np.diagonal(np.linalg.cholesky(matrix))).sum())


def checked(
    features: ArrayLike, labels: ArrayLike, num_classes: int, what: str = "features"
) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    """Floats `[N, D]` and labels `[N]` as arrays, or a DataError that names everything wrong with them."""
    f, truth = np.asarray(features), np.asarray(labels)
    found = []
    if f.ndim != 2 or not f.size or not np.issubdtype(f.dtype, np.floating):
        found.append(f"{what} have shape {f.shape} and type {f.dtype}; give floats [images, width]")
    elif not np.isfinite(f).all():
        found.append(f"{what} are not all finite")
    found += wrong_labels(truth, f.shape[:1], num_classes)
    problems(DataError, "the score cannot be computed:", found)
    if len(np.unique(truth)) < 2:
        raise DataError(f"all {len(truth)} images are of one class; a score needs images of at least two classes")
    return f, truth.astype(np.int64)


def wrong_labels(truth: NDArray[np.generic], shape: tuple[int, ...], num_classes: int, what: str = "labels") -> list[str]:
    """What is wrong with labels for so many images."""
    if truth.shape != shape:
        return [f"{what} have shape {truth.shape}, not {shape}; give one label per row"]
    if not np.issubdtype(truth.dtype, np.integer):
        return [f"{what} are {truth.dtype}, not integers"]
    if truth.size and not (truth.min() >= 0 and truth.max() < num_classes):
        return [f"{what} go from {truth.min()} to {truth.max()}, not within 0..{num_classes - 1}"]
    return []
