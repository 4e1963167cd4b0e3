"""Weighted samples in the coordinates in which their second moments are diagonal.

Features of a network are strongly correlated: curvatures along their principal axes differ by factors of millions, and a
solver that treats all directions alike takes hundreds of steps. Seen along those axes the curvature of a linear
classifier's loss is nearly diagonal and known beforehand. The axes are orthonormal, so a quadratic penalty is unchanged.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from headstart.engine.solvers.folds import Folds, rows_of
from headstart.engine.solvers.linear import ABSENT, check, check_penalty
from headstart.engine.solvers.threads import fitting
from headstart.errors import DataError

_ROUNDING = 1e-6
"""share of a feature's size that rounding (of float32) may make it vary by"""
_RANK = 1e-10
"""share of the largest second moment that rounding may make of none: a network's features often vary in fewer directions"""
_NOTHING = "a fold leaves nothing to learn from; use fewer folds or more images"


@dataclass(frozen=True, eq=False)
class Spectrum:
    """n weighted samples along K principal axes of standardised features: K is the rank, at most D and n - 1.

    features  `[n, 1 + K]`: a column of ones (the bias), then coordinates, whose weighted mean is zero
    values    `[1 + K]` their weighted second moments, 1 for the bias; of a `part`, those of the whole
    labels    `[n]`; weights `[n]`, positive, of sum one
    present   `[C]` whether the class has a sample
    axes      `[D, K]` what a weight along an axis is worth on raw features
    centre    `[D]` raw features of the origin, always float64
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

    def to(self, dtype: torch.dtype) -> Spectrum:
        """The same in float32, in which steps cost half, or float64. The origin stays as it is."""
        features, values, weights, axes = (t.to(dtype) for t in (self.features, self.values, self.weights, self.axes))
        return replace(self, features=features, values=values, weights=weights, axes=axes)

    def part(self, rows: Tensor) -> Spectrum:
        """Those of the given samples `rows` that are here, on the same axes, their weights again of sum one.

        Nothing is standardised or rotated anew: of a part, weighted means are only near zero and moments near diagonal.
        """
        position = rows.new_full((1 + int(torch.cat((self.rows, rows)).max()),), -1)
        position[self.rows] = torch.arange(len(self.rows))
        at = position[rows]
        at = at[at >= 0]
        if not len(at):
            raise DataError(_NOTHING)
        weights, labels = self.weights[at], self.labels[at]
        present = torch.zeros_like(self.present)
        present[labels] = True
        weights = weights / weights.sum()
        return replace(self, features=self.features[at], labels=labels, weights=weights, present=present, rows=self.rows[at])

    def folded(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Weight `[..., C, D]` and bias `[..., C]` on raw features, float64, from weights `[..., C, 1 + K]` on the axes."""
        weight = (x[..., 1:].to(self.axes.dtype) @ self.axes.T).double()
        bias = x[..., 0].double() - weight @ self.centre
        return torch.where(self.present[:, None], weight, 0.0), torch.where(self.present, bias, ABSENT)


def spectrum(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    rows: Tensor | None = None,
    sample_weight: Tensor | None = None,
) -> Spectrum:
    """The samples `rows` (None: all) with a positive weight, standardised by their own mean and deviation, on their axes.

    In float64. One eigendecomposition, of `[D, D]` or `[n, n]`, whichever is smaller: the dearest part of a solve.

    Arguments as for `fit_logistic`; weights do not enter the standardisation, but they do the moments.
    """
    rows = torch.arange(len(labels)) if rows is None else rows
    weights = torch.ones(len(rows), dtype=torch.float64) if sample_weight is None else sample_weight[rows].double()
    rows, weights = rows[weights > 0], weights[weights > 0]
    if not len(rows):
        raise DataError(_NOTHING)
    weights = weights / weights.sum()
    x, scale, centre = _standardised(features[rows].double(), weights)
    values, axes, coordinates = _along_axes(x, weights)
    along = torch.cat((x.new_ones(len(rows), 1), coordinates), 1)
    present = torch.zeros(num_classes, dtype=torch.bool)
    present[labels[rows].long()] = True
    moments = torch.cat((values.new_ones(1), values))
    return Spectrum(along, moments, labels[rows].long(), weights, present, axes * scale[:, None], centre, rows)


def everything(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    penalty: float,
    sample_weight: Tensor | None,
    known: Spectrum | None = None,
) -> Spectrum:
    """Checked input as one set of all samples; `known` when that has been computed before."""
    check(features, labels, num_classes, sample_weight)
    check_penalty(penalty)
    return known or spectrum(features, labels, num_classes, None, sample_weight)


def learned_by_folds(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    folds: Folds,
    sample_weight: Tensor | None,
    known: Spectrum | None = None,
) -> tuple[Spectrum, list[Spectrum]]:
    """All samples that any fold learns from, and those of each fold, on the axes of all.

    They are standardised together, as they are for the fit that keeps the chosen penalty: so folds choose for the features
    it will see, and share one eigendecomposition. Labels do not enter, nor do samples that are only judged on.

    known  spectrum of exactly those samples, when it has been computed before
    """
    pairs = rows_of(folds, len(labels))
    learned = torch.from_numpy(np.unique(torch.cat([train for train, _ in pairs]).numpy()))
    with fitting(features):
        whole = known or spectrum(features, labels, num_classes, learned, sample_weight)
    return whole, [whole.part(train) for train, _ in pairs]


def _standardised(x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`x` (overwritten) standardised and of weighted mean zero, 1 / deviation `[D]` (1 where constant), and the origin."""
    mean = x.mean(0)
    x.sub_(mean)
    # the mean was rounded: what is left of it must not count as deviation
    left = x.mean(0)
    variance = (torch.linalg.vector_norm(x, dim=0).square() / len(x) - left.square()).clamp_min(0)
    # rounding leaves a constant feature a little variance: below this it is nothing but that
    constant = variance <= _ROUNDING**2 * (mean.square() + variance) + torch.finfo(x.dtype).tiny
    scale = torch.where(constant, 1.0, variance.where(~constant, torch.ones_like(variance)).rsqrt())
    shift = weights @ x
    x.sub_(shift).mul_(scale)
    return x, scale, mean + shift


def _along_axes(x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Second moments `[K]`, orthonormal axes `[D, K]` and coordinates `[n, K]` of weighted samples `[n, D]`."""
    root = weights.sqrt()[:, None]
    weighted = x * root
    if x.shape[0] >= x.shape[1]:
        values, axes = torch.linalg.eigh(weighted.T @ weighted)
        kept = _not_nothing(values)
        values, axes = values[kept], axes[:, kept]
        return values, axes, x @ axes
    # fewer samples than features: the optimum lies in the samples' span, whose axes come from the small matrix of their
    # products
    values, sides = torch.linalg.eigh(weighted @ weighted.T)
    kept = _not_nothing(values)
    values, sides = values[kept], sides[:, kept]
    lengths = values.sqrt()
    return values, weighted.T @ (sides / lengths), sides * lengths / root


def _not_nothing(values: Tensor) -> Tensor:
    """Which of ascending second moments are more than what rounding makes of zero."""
    return values > _RANK * values[-1].clamp_min(torch.finfo(values.dtype).tiny)
