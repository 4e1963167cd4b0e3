"""How alike the answers of two networks are: arrays in, numbers out."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.errors import DataError

Floats = NDArray[np.float64]


def log_softmax(logits: ArrayLike, temperature: float = 1.0) -> Floats:
    """Log probabilities `[N, C]` of logits divided by `temperature`, without overflow."""
    scaled = np.asarray(logits, np.float64) / temperature
    if scaled.ndim != 2 or not scaled.size or not np.isfinite(scaled).all():
        raise DataError(f"logits of shape {scaled.shape} must be finite and [images, classes], with at least one of each")
    shifted = scaled - scaled.max(1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(1, keepdims=True)))


def agreement(first: ArrayLike, second: ArrayLike) -> float:
    """Share of images on which two networks' answers `[N, C]` put the same class first."""
    a, b = _alike(first, second)
    return float(np.mean(a.argmax(1) == b.argmax(1)))


def mean_kl(teacher: ArrayLike, student: ArrayLike, temperature: float = 1.0) -> float:
    """Mean Kullback-Leibler divergence KL(p_teacher || p_student) in nats, from logits `[N, C]`.

    0 exactly where the two give the same probabilities. The cross-entropy is larger by the teacher's own entropy, which no
    student changes.
    """
    a, b = _alike(teacher, student)
    p, q = log_softmax(a, temperature), log_softmax(b, temperature)
    return max(float((np.exp(p) * (p - q)).sum(1).mean()), 0.0)


def mean_entropy(logits: ArrayLike, temperature: float = 1.0) -> float:
    """Mean entropy in nats of the softened answers `[N, C]`; at most ln C."""
    p = log_softmax(logits, temperature)
    return float(-(np.exp(p) * p).sum(1).mean())


def _alike(first: ArrayLike, second: ArrayLike) -> tuple[Floats, Floats]:
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if a.shape != b.shape or a.ndim != 2 or not a.size:
        raise DataError(
            f"answers of shapes {a.shape} and {b.shape} cannot be compared; give [images, classes] of the same images"
        )
    return a, b
