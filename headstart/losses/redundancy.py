"""Embeddings that agree on an image and whose dimensions say different things: statistics over a batch.

Pure functions, float32 at least inside, also under autocast. A batch is all images of a step: over several processes the
embeddings must be brought together first.
"""

from __future__ import annotations

import torch
from torch import Tensor

from headstart.losses.precision import exact, full


def cross_correlation(one: Tensor, other: Tensor, eps: float = 1e-5) -> Tensor:
    """`[D, D]` correlation over the batch of each dimension of `one` with each of `other`, both `[N, D]`
    (Zbontar et al. 2021, eq. 2), in [-1, 1].

    eps  is added to the variances (the authors' code standardises by batch normalisation): a dimension that never changes
         correlates with nothing
    """
    with exact(one):
        return _standard(full(one), eps).mT @ _standard(full(other), eps) / len(one)


def _standard(z: Tensor, eps: float) -> Tensor:
    centred = z - z.mean(0)
    return centred * (centred.square().mean(0) + eps).rsqrt()


def barlow_twins(correlation: Tensor, weight: float) -> Tensor:
    """Scalar: sum of (1 - C_ii)^2 and weight * sum over i != j of C_ij^2 (Zbontar et al. 2021, eq. 1)."""
    c = full(correlation)
    diagonal = c.diagonal()
    return (1 - diagonal).square().sum() + weight * off_diagonal_squares(c)


def off_diagonal_squares(matrix: Tensor) -> Tensor:
    """Scalar: sum of squares beside the diagonal of `[D, D]`. By a mask and not by a difference, which would cancel."""
    beside = ~torch.eye(len(matrix), dtype=torch.bool, device=matrix.device)
    return (matrix.square() * beside).sum()


def invariance(one: Tensor, other: Tensor) -> Tensor:
    """`[N]` mean over dimensions of the squared difference of `[N, D]` (Bardes et al. 2022, eq. 5).

    The paper's equation sums over dimensions; its authors' code, for which the coefficients were found, takes the mean.
    """
    return (full(one) - full(other)).square().mean(1)


def variance_hinge(z: Tensor, gamma: float = 1.0, eps: float = 1e-4) -> Tensor:
    """Scalar: mean over dimensions of max(0, gamma - sqrt(Var + eps)) of `[N, D]`, N >= 2 (Bardes et al. 2022, eqs. 1-2)."""
    return torch.relu(gamma - (full(z).var(0) + eps).sqrt()).mean()


def covariance_penalty(z: Tensor) -> Tensor:
    """Scalar: 1 / D times the sum of squared covariances between different dimensions of `[N, D]`, N >= 2 (eqs. 3-4)."""
    with exact(z):
        centred = full(z) - full(z).mean(0)
        covariance = centred.mT @ centred / (len(z) - 1)
        return off_diagonal_squares(covariance) / z.shape[1]
