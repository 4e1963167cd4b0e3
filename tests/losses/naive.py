"""Equations of distillation papers in plain NumPy loops: slow, and written without looking at the code they check."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]


def softmax(z: Array, temperature: float = 1.0) -> Array:
    powers = np.exp((z - z.max()) / temperature)
    out: Array = powers / powers.sum()
    return out


def kl(p: Array, q: Array) -> float:
    return float(sum(a * np.log(a / b) for a, b in zip(p, q, strict=True) if a > 0))


def cross_entropy(p: Array, q: Array) -> float:
    return float(-sum(a * np.log(b) for a, b in zip(p, q, strict=True)))


def huber(a: float, b: float) -> float:
    x = abs(a - b)
    return 0.5 * x * x if x <= 1 else x - 0.5


def relational_distance(student: Array, teacher: Array) -> float:
    """Park et al. 2019, eqs. 5-7: mean over ordered pairs of distinct samples."""
    pairs = list(permutations(range(len(student)), 2))

    def potentials(x: Array) -> list[float]:
        apart = [float(np.sqrt(((x[i] - x[j]) ** 2).sum())) for i, j in pairs]
        mu = sum(apart) / len(apart)
        return [d / mu for d in apart]

    return float(np.mean([huber(s, t) for s, t in zip(potentials(student), potentials(teacher), strict=True)]))


def relational_angle(student: Array, teacher: Array) -> float:
    """Park et al. 2019, eqs. 8-9: mean over ordered triples of distinct samples, the angle at the second."""

    def cosine(x: Array, i: int, j: int, k: int) -> float:
        a, b = x[i] - x[j], x[k] - x[j]
        return float(a @ b / np.sqrt((a @ a) * (b @ b)))

    triples = permutations(range(len(student)), 3)
    return float(np.mean([huber(cosine(student, *t), cosine(teacher, *t)) for t in triples]))


def attention(student: Array, teacher: Array, power: float) -> Array:
    """Zagoruyko & Komodakis 2017, eq. 2, squared and averaged over places as in their code; maps `[N, C, H, W]`."""

    def unit(maps: Array) -> Array:
        flat = np.array([sum(abs(channel) ** power for channel in maps)]).reshape(-1)
        out: Array = flat / np.sqrt((flat**2).sum())
        return out

    return np.array([((unit(s) - unit(t)) ** 2).mean() for s, t in zip(student, teacher, strict=True)])


def tensors(*arrays: Array) -> tuple[Tensor, ...]:
    """As leaves that want gradients."""
    return tuple(torch.from_numpy(array).requires_grad_(True) for array in arrays)


def gradient(loss: Tensor, leaf: Tensor) -> Array:
    found: Array = torch.autograd.grad(loss, leaf)[0].numpy()
    return found


def two(n: int = 6, c: int = 5, scale: float = 3.0, seed: int = 0) -> tuple[Array, Array]:
    """Logits of a student and a teacher."""
    draw = np.random.default_rng(seed)
    return draw.normal(0, scale, (n, c)), draw.normal(0, scale, (n, c))
