"""Hints (FitNets, Romero et al. 2015): a student's activations, through a regressor, equal to a teacher's."""

from __future__ import annotations

import torch
from torch import Tensor

from headstart.losses.precision import full


def hint(regressed: Tensor, teacher: Tensor) -> Tensor:
    """`[N]` mean squared difference of two activations `[N, ...]` of one shape.

    Equation 3 sums over channels and places and halves; the mean keeps one weight fit for layers of every size.
    """
    return (full(regressed) - full(teacher)).square().flatten(1).mean(1)


def unexplained(regressed: Tensor, teacher: Tensor, size: Tensor | None = None) -> Tensor:
    """`[N]` the same in units of the teacher's mean square: in the mean 1 where the student gives nothing.

    size  that mean square, of more samples than these; None: over these

    Fit for layers of every scale too, and for teachers that normalise differently. Of a teacher that gives nothing but zeros
    it is the plain difference.
    """
    size = full(teacher).square().mean() if size is None else size
    least = torch.finfo(size.dtype).tiny  # one over a smaller number is infinite
    return hint(regressed, teacher) / torch.where(size > 0, size.clamp(min=least), 1)
