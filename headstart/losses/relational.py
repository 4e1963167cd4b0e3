"""Relational knowledge distillation (Park et al. 2019): how samples lie to each other, not where.

Pure functions of features `[N, D]` and `[N, E]` of the same N samples; float32 at least inside, also under autocast. The
means over all samples are the paper's losses as means over pairs and triples of distinct samples (its authors' code counts
the pairs of a sample with itself, too, whose loss is zero).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.losses.precision import exact, full


def distance(student: Tensor, teacher: Tensor) -> Tensor:
    """`[N]`: per sample the mean Huber loss over its distances to the others, in units of the mean distance (eqs. 5-7).

    Zero where there are fewer than two samples.
    """
    n = len(student)
    if n < 2:
        return full(student).sum(1) * 0
    ours, theirs = (_in_units_of_the_mean(full(x)) for x in (student, teacher))
    return F.smooth_l1_loss(ours, theirs, reduction="none").sum(1) / (n - 1)


def angle(student: Tensor, teacher: Tensor) -> Tensor:
    """`[N]`: per sample the mean Huber loss over the cosines of the angles at it between two others (eqs. 8-9).

    Zero where there are fewer than three samples. Samples at the same place (within 1e-15 of the largest coordinate) span no
    angle: their cosine is taken as zero, with no gradient. Takes memory for N^3 numbers.
    """
    n = len(student)
    if n < 3:
        return full(student).sum(1) * 0
    ours, theirs = (_cosines(full(x)) for x in (student, teacher))
    apart = F.smooth_l1_loss(ours, theirs, reduction="none")
    same = torch.eye(n, dtype=torch.bool, device=apart.device)  # both ends of an angle are one sample
    return apart.masked_fill(same, 0).sum((1, 2)) / ((n - 1) * (n - 2))


def _lengths(x: Tensor) -> Tensor:
    """`[N, N]` distances, from the differences themselves: of equal samples exactly zero, with no gradient."""
    return torch.cdist(x, x, compute_mode="donot_use_mm_for_euclid_dist")


def _in_units_of_the_mean(x: Tensor) -> Tensor:
    lengths = _lengths(x)
    mean = lengths.sum() / (len(x) * (len(x) - 1))
    return lengths / torch.where(mean > 0, mean, 1)


def _cosines(x: Tensor) -> Tensor:
    """`[N, N, N]`: at `[j, i, k]` the cosine of the angle at j between i and k."""
    top = x.detach().abs().amax()  # angles do not change when all is scaled, but squares may leave float32
    x = x / top.where(top > 0, 1)
    lengths = _lengths(x)
    apart = lengths > 1e-15
    inverse = torch.where(apart, 1 / torch.where(apart, lengths, 1), 0)
    with exact(x):
        if x.shape[1] <= len(x):
            directions = (x[None] - x[:, None]) * inverse[..., None]
            return directions @ directions.mT
        # Of many features their products alone, ten times faster at 512; differences of products need float64.
        centred = (x - x.mean(0)).double()
        products = centred @ centred.mT
    from_j = products[None] - products[:, :, None] - (products - products.diagonal()[:, None])[:, None]
    return from_j.to(x.dtype) * inverse[:, :, None] * inverse[:, None, :]
