"""Contrastive representation distillation (Tian, Krishnan & Isola 2020): which of many is the other network's view of this?

Noise-contrastive estimation with the critic h(s, t) = e^(s.t / tau) / (e^(s.t / tau) + K Z), K negatives for every
positive and Z what e^(s.t / tau) is on average for unrelated samples. Pure functions, float32 at least inside.
"""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F

from headstart.losses.precision import exact, full


def contrast(positive: Tensor, negatives: Tensor, usable: Tensor, count: float, log_noise: float) -> Tensor:
    """`[N]`: -log h(positive) - count * mean over usable negatives of log(1 - h) (eqs. 9-10).

    positive   `[N]` s.t / tau of the two networks' views of a sample
    negatives  `[N, K]` s.t / tau of a sample with others
    usable     `[N, K]` bool: False where the other is the sample itself, or of its class; rows may have none
    count      number of negatives per positive that the critic reckons with
    log_noise  log(K Z)
    """
    away = F.logsigmoid(log_noise - full(negatives)).masked_fill(~usable, 0).sum(1) / usable.sum(1).clamp(min=1)
    return -F.logsigmoid(full(positive) - log_noise) - count * away


def log_mean_exp_cosine(dimensions: int, temperature: float) -> float:
    """log Z: the logarithm of the mean of e^(u.v / tau) for independent u, v, even on the unit sphere in so many dimensions.

    The hypergeometric series 0F1(D / 2, 1 / (4 tau^2)), all of whose terms are positive; tau from 0.002 on. The authors'
    code measures this constant on the first batch, against a memory drawn at random; it is the same but for chance.
    """
    x, half = 1 / (4 * temperature**2), dimensions / 2
    total, term, m = 1.0, 1.0, 0
    while term > 1e-17 * total:
        term *= x / ((m + 1) * (half + m))
        total += term
        m += 1
    return math.log(total)


def spread(x: Tensor) -> Tensor:
    """`[N, D]` on the unit sphere."""
    return F.normalize(full(x), dim=1)


def scores(anchors: Tensor, others: Tensor, temperature: float) -> Tensor:
    """`[N, K]` s.t / tau between unit vectors `[N, D]` and `[K, D]`."""
    with exact(anchors):
        return full(anchors) @ full(others).mT / temperature
