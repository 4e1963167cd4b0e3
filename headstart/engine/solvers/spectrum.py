"""Weighted samples in the coordinates in which their second moments are diagonal.

Features of a network are strongly correlated: curvatures along their principal axes differ by factors of millions, and a
solver that treats all directions alike takes hundreds of steps. Seen along those axes the curvature of a linear
classifier's loss is nearly diagonal and known beforehand. The axes are orthonormal, so a quadratic penalty is unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from headstart.engine.solvers.folds import Folds, rows_of
from headstart.engine.solvers.linear import ABSENT, check, check_penalty
from headstart.errors import DataError


@dataclass(frozen=True, eq=False)
class Spectrum:
    """n weighted samples along K principal axes of their standardised features, K = D, or the rank where n < D.

    features  `[n, 1 + K]`: a column of ones (the bias), then coordinates, whose weighted mean is zero
    values    `[1 + K]` their weighted second moments, 1 for the bias
    labels    `[n]`; weights `[n]`, positive, of sum one
    present   `[C]` whether the class has a sample
    axes      `[D, K]` what a weight along an axis is worth on raw features
    centre    `[D]` raw features of the origin
    rows      `[n]` which of the given samples these are
    """

    features: Tensor
    values: Tensor
    labels: Tensor
    weights: Tensor
    present: Tensor
    axes: Tensor
    centre: Tensor
    rows: Tensor

    @property
    def width(self) -> int:
        """1 + K."""
        return len(self.values)

    @property
    def absent(self) -> list[int]:
        """Classes without a sample."""
        return [int(c) for c in (~self.present).nonzero()[:, 0]]

    def short(self) -> Spectrum:
        """The same in float32, in which steps cost half."""
        features, values, weights, axes = (t.float() for t in (self.features, self.values, self.weights, self.axes))
        return replace(self, features=features, values=values, weights=weights, axes=axes)

    def folded(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Weight `[..., C, D]` and bias `[..., C]` on raw features, float64, from weights `[..., C, 1 + K]` on the axes."""
        weight = (x[..., 1:].to(self.axes.dtype) @ self.axes.T).double()
        bias = x[..., 0].double() - weight @ self.centre.double()
        return torch.where(self.present[:, None], weight, 0.0), torch.where(self.present, bias, ABSENT)


def spectrum(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    rows: Tensor | None = None,
    sample_weight: Tensor | None = None,
    dtype: torch.dtype = torch.float64,
) -> Spectrum:
    """The samples `rows` (None: all) with a positive weight, standardised by their own mean and deviation, on their axes.

    Arguments as for `fit_logistic`; weights do not enter the standardisation, but they do the moments.
    """
    rows = torch.arange(len(labels)) if rows is None else rows
    weights = torch.ones(len(rows), dtype=torch.float64) if sample_weight is None else sample_weight[rows].double()
    rows, weights = rows[weights > 0], weights[weights > 0]
    if not len(rows):
        raise DataError("a fold leaves nothing to learn from; use fewer folds or more images")
    weights = (weights / weights.sum()).to(dtype)
    x, scale, centre = _standardised(features[rows].to(dtype), weights)
    values, axes = _axes(x, weights)
    along = x.new_ones(len(rows), 1 + len(values))
    torch.mm(x, axes, out=along[:, 1:])
    present = torch.zeros(num_classes, dtype=torch.bool)
    present[labels[rows].long()] = True
    moments = torch.cat((values.new_ones(1), values))
    return Spectrum(along, moments, labels[rows].long(), weights, present, axes * scale[:, None], centre, rows)


def everything(features: Tensor, labels: Tensor, num_classes: int, penalty: float, sample_weight: Tensor | None) -> Spectrum:
    """Checked input as one set of all samples, in float64."""
    check(features, labels, num_classes, sample_weight)
    check_penalty(penalty)
    return spectrum(features, labels, num_classes, None, sample_weight)


def spectra(
    features: Tensor, labels: Tensor, num_classes: int, folds: Folds, sample_weight: Tensor | None
) -> list[Spectrum]:
    """One per fold, of its training part, in the features' own precision: for choosing, not for keeping."""
    pairs = rows_of(folds, len(labels))
    return [spectrum(features, labels, num_classes, train, sample_weight, features.dtype) for train, _ in pairs]


def _standardised(x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`x` (overwritten) standardised and of weighted mean zero, 1 / deviation `[D]` (1 where constant), and the origin."""
    mean = x.mean(0, dtype=torch.float64).to(x.dtype)
    x.sub_(mean)
    # the mean was rounded: what is left of it must not count as deviation
    left = x.mean(0, dtype=torch.float64)
    variance = (torch.linalg.vector_norm(x, dim=0, dtype=torch.float64).square() / len(x) - left.square()).clamp_min(0)
    # rounding leaves a constant feature a little variance: below this it is nothing but that
    noise = max(1e-6, 8 * torch.finfo(x.dtype).eps) ** 2 * (mean.double().square() + variance)
    constant = variance <= noise + torch.finfo(torch.float64).tiny
    scale = torch.where(constant, 1.0, variance.where(~constant, torch.ones_like(variance)).rsqrt()).to(x.dtype)
    shift = weights @ x
    x.sub_(shift).mul_(scale)
    return x, scale, mean + shift


def _axes(x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Second moments `[K]` and orthonormal axes `[D, K]` of weighted samples `[n, D]`."""
    weighted = x * weights.sqrt()[:, None]
    if x.shape[0] >= x.shape[1]:
        values, axes = torch.linalg.eigh(weighted.T @ weighted)
        return values.clamp_min(0), axes
    # fewer samples than features: the optimum lies in the samples' span, whose axes come from the small matrix of their
    # products. In double precision, as dividing by the root of a small value magnifies what rounding did to it
    weighted = weighted.double()
    values, sides = torch.linalg.eigh(weighted @ weighted.T)
    kept = values > 1e-10 * values[-1].clamp_min(torch.finfo(torch.float64).tiny)
    values, sides = values[kept], sides[:, kept]
    return values.to(x.dtype), (weighted.T @ (sides / values.sqrt())).to(x.dtype)
