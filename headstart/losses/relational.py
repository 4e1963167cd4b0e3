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

    Zero where there are fewer than three samples. Samples at the same place span no angle: their cosine is taken as zero,
    with no gradient. Takes memory for N^2 (D + E) and N^3 numbers.
    """
    n = len(student)
    if n < 3:
        return full(student).sum(1) * 0
    ours, theirs = (_cosines(full(x)) for x in (student, teacher))
    apart = F.smooth_l1_loss(ours, theirs, reduction="none")
    same = torch.eye(n, dtype=torch.bool, device=apart.device)  # both ends of an angle are one sample
    return apart.masked_fill(same, 0).sum((1, 2)) / ((n - 1) * (n - 2))


def _apart(x: Tensor) -> tuple[Tensor, Tensor]:
    """`[N, N, D]` differences, of sample k from sample j at `[j, k]`, and their lengths `[N, N]`."""
    steps = x[None] - x[:, None]
    return steps, torch.linalg.vector_norm(steps, dim=2)


def _in_units_of_the_mean(x: Tensor) -> Tensor:
    lengths = _apart(x)[1]
    mean = lengths.sum() / (len(x) * (len(x) - 1))
    return lengths / torch.where(mean > 0, mean, 1)


def _cosines(x: Tensor) -> Tensor:
    """`[N, N, N]`: at `[j, i, k]` the cosine of the angle at j between i and k."""
    steps, lengths = _apart(x)
    known = (lengths > 0)[..., None]
    directions = torch.where(known, steps / torch.where(known, lengths[..., None], 1), 0)
    with exact(x):
        return directions @ directions.mT
