"""Contrastive losses as their papers write them, one anchor at a time, in plain NumPy."""

from __future__ import annotations

import numpy as np

from tests.losses.naive import Array


def cosine(a: Array, b: Array) -> float:
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def alike(a: Array, b: Array, similarity: str) -> float:
    return cosine(a, b) if similarity == "cosine" else float(a @ b)


def nt_xent(one: Array, two: Array, temperature: float, similarity: str = "cosine") -> float:
    """Chen et al. 2020, eq. 1 and algorithm 1: views 2k - 1 and 2k are of one image."""
    views = [view for pair in zip(one, two, strict=True) for view in pair]

    def loss(i: int, j: int) -> float:
        powers = {k: np.exp(alike(views[i], views[k], similarity) / temperature) for k in range(len(views)) if k != i}
        return float(-np.log(powers[j] / sum(powers.values())))

    n = len(one)
    return sum(loss(2 * k, 2 * k + 1) + loss(2 * k + 1, 2 * k) for k in range(n)) / (2 * n)


def info_nce(scores: Array, positive: int) -> float:
    return float(-np.log(np.exp(scores[positive]) / np.exp(scores).sum()))


def nce(scores: Array, positive: int) -> float:
    """Gutmann & Hyvarinen 2010: the chance that it is an observation, e^f / (e^f + K) with K noise samples."""
    k = len(scores) - 1
    right = [np.exp(f) / (np.exp(f) + k) for f in scores]
    return float(-np.log(right[positive]) - sum(np.log(1 - h) for place, h in enumerate(right) if place != positive))


def triplet(a: Array, p: Array, n: Array, margin: float, similarity: str) -> float:
    if similarity == "cosine":
        a, p, n = (x / np.sqrt(x @ x) for x in (a, p, n))
    return max(0.0, float(((a - p) ** 2).sum() - ((a - n) ** 2).sum()) + margin)
