"""Clusters of a network's features as DeepCluster makes them: whitened components on the sphere, then k-means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.seeding import generator

Array = NDArray[np.float64]
_CHUNK = 1 << 22
"""Distances held at once."""
_APART = 1e-4
"""Share by which both halves of a divided centre move apart, as a share of its size."""


@dataclass(frozen=True)
class Clustering:
    """labels `[N]` the cluster of every sample; centres `[K, D]`; iterations done; how often a cluster was refilled."""

    labels: NDArray[np.int64]
    centres: Array
    iterations: int
    refilled: int


def components(features: NDArray[np.float32], count: int) -> Array:
    """`[N, d]` the first `count` principal components at most, each of variance 1, samples scaled to length 1.

    (Caron et al. 2018, section 4.1: PCA to 256 dimensions, whitened and l2-normalised.) Directions that carry no variance
    beyond rounding are left out; where none does, all samples are one point.
    """
    x = features.astype(np.float64)
    x -= x.mean(0)
    values, vectors = np.linalg.eigh(x.T @ x / len(x))
    order = np.argsort(values)[::-1][:count]
    there = values[order] > 1e-7 * max(float(values[-1]), 1e-30)
    order = order[: max(1, int(there.sum()))]
    whitened = x @ vectors[:, order] / np.sqrt(np.maximum(values[order], 1e-30))
    length = np.linalg.norm(whitened, axis=1, keepdims=True)
    found: Array = whitened / np.where(length > 0, length, 1)
    return found


def cluster(x: Array, count: int, seed: int, iterations: int = 20) -> Clustering:
    """k-means from `count` different samples drawn by `seed`, at most so many of Lloyd's steps.

    An empty cluster takes half of another, drawn among the non-empty with the chance of its size: both centres start at
    that one's, moved a little apart, and its samples go to the nearer (Caron et al. 2018, section 3.3).
    """
    if not 1 <= count <= len(x):
        raise ValueError(f"{count} clusters of {len(x)} samples")
    draw = generator(seed, "clusters")
    centres = x[draw.choice(len(x), count, replace=False)].copy()
    labels, refilled, done = np.full(len(x), -1, np.int64), 0, 0
    for done in range(1, iterations + 1):  # noqa: B007 - read after the loop
        before, labels = labels, _nearest(x, centres)
        refilled += _refill(x, labels, centres, draw)
        if np.array_equal(before, labels):
            break
        centres = _means(x, labels, centres)
    return Clustering(labels, centres, done, refilled)


def _nearest(x: Array, centres: Array) -> NDArray[np.int64]:
    half = 0.5 * (centres**2).sum(1)
    step = max(1, _CHUNK // len(centres))
    return np.concatenate([(half - x[k : k + step] @ centres.T).argmin(1) for k in range(0, len(x), step)]).astype(np.int64)


def _means(x: Array, labels: NDArray[np.int64], centres: Array) -> Array:
    """Means of the clusters; of one without samples the centre it had."""
    counts = np.bincount(labels, minlength=len(centres))
    sums = np.zeros_like(centres)
    np.add.at(sums, labels, x)
    found: Array = np.where(counts[:, None] > 0, sums / np.maximum(counts, 1)[:, None], centres)
    return found


def _refill(x: Array, labels: NDArray[np.int64], centres: Array, draw: np.random.Generator) -> int:
    """Divide a cluster for each empty one, in place; how many were empty."""
    counts = np.bincount(labels, minlength=len(centres)).astype(np.float64)
    empty = np.flatnonzero(counts == 0)
    for place in empty:
        chance = np.maximum(counts - 1, 0)  # a cluster of one cannot be divided
        source = int(draw.choice(len(centres), p=chance / chance.sum()))
        away = _APART * max(float(np.abs(centres[source]).max()), 1e-12) * draw.standard_normal(centres.shape[1])
        centres[place], centres[source] = centres[source] + away, centres[source] - away
        members = np.flatnonzero(labels == source)
        side = (x[members] - 0.5 * (centres[place] + centres[source])) @ away > 0
        moved = members[side] if 0 < side.sum() < len(members) else members[: len(members) // 2]
        labels[moved] = place
        counts[place], counts[source] = len(moved), counts[source] - len(moved)
    return len(empty)
