"""Hints (FitNets, Romero et al. 2015): a student's activations, through a regressor, equal to a teacher's."""

from __future__ import annotations

from torch import Tensor

from headstart.losses.precision import full


def hint(regressed: Tensor, teacher: Tensor) -> Tensor:
    """`[N]` mean squared difference of two activations `[N, ...]` of one shape.

    Equation 3 sums over channels and places and halves; the mean keeps one weight fit for layers of every size.
    """
    return (full(regressed) - full(teacher)).square().flatten(1).mean(1)
