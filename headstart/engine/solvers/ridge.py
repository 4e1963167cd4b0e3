"""Ridge regression on one-hot targets: all penalties, folds and leave-one-out answers from one eigendecomposition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headstart.engine.solvers.calibrate import calibration_scale
from headstart.engine.solvers.folds import Folds
from headstart.engine.solvers.linear import ABSENT, LinearSolution, check_penalty
from headstart.engine.solvers.objective import held_out_logits
from headstart.engine.solvers.spectrum import Spectrum, everything, learned_by_folds
from headstart.engine.solvers.threads import side_by_side


@dataclass(frozen=True)
class RidgePath:
    """Ridge classifiers for K penalties.

    weights    `[K, C, D]` on raw features; biases `[K, C]`
    left_out   `[K, N, C]` logits of every learned image by the fit without it, the total penalty held
    absent     classes without a sample
    """

    weights: Tensor
    biases: Tensor
    left_out: Tensor
    absent: list[int]


def fit_ridge(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    penalty: float,
    sample_weight: Tensor | None = None,
    known: Spectrum | None = None,
) -> LinearSolution:
    """Minimise mean ||W x + b - onehot||^2 / 2 + penalty / 2 * ||W||^2 on standardised features.

    Arguments as for `fit_logistic`. The logits are least-squares estimates of the one-hot target, so they are calibrated:
    the scale is learned on exact leave-one-out answers.
    """
    path = ridge_path(features, labels, num_classes, [penalty], sample_weight, known)
    scale = calibration_scale(path.left_out[0], labels, sample_weight)
    info = {"solver": "ridge", "penalty": penalty, "absent_classes": path.absent, "calibrated": True}
    return LinearSolution(path.weights[0].to(features.dtype), path.biases[0].to(features.dtype), (scale, 0.0), info)


def leave_one_out(
    features: Tensor, labels: Tensor, num_classes: int, penalties: Sequence[float], sample_weight: Tensor | None = None
) -> Tensor:
    """Logits `[K, N, C]` of every image by the ridge fit without it, for K penalties, exactly and without refitting.

    Features stay standardised by all images, and the total penalty (penalty x sum of weights) is held.
    """
    return ridge_path(features, labels, num_classes, penalties, sample_weight).left_out


def ridge_path(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    penalties: Sequence[float],
    sample_weight: Tensor | None = None,
    known: Spectrum | None = None,
) -> RidgePath:
    """Fits for all `penalties`; see `fit_ridge`."""
    for penalty in penalties:
        check_penalty(penalty)
    samples = everything(features, labels, num_classes, penalties[0], sample_weight, known)
    target, weight_N, along = _one_hot(samples), samples.weights, samples.features
    wanted = along.T @ (weight_N[:, None] * target)
    squares = along.square()
    weights, biases, left_out = [], [], []
    for penalty in penalties:
        curvature = samples.values + _ridge(samples, penalty)
        x = wanted / curvature[:, None]
        fitted = along @ x
        share = (weight_N * (squares @ curvature.reciprocal()))[:, None]
        left = fitted.new_full((len(labels), num_classes), torch.nan)
        left[samples.rows] = fitted - share / (1 - share).clamp_min(1e-12) * (target - fitted)
        weight, bias = samples.folded(x.T)
        weights.append(weight)
        biases.append(bias)
        left_out.append(torch.where(samples.present, left, ABSENT))
    return RidgePath(torch.stack(weights), torch.stack(biases), torch.stack(left_out), samples.absent)


def held_out_ridge(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    penalties: Sequence[float],
    folds: Folds,
    sample_weight: Tensor | None = None,
    known: Spectrum | None = None,
) -> Tensor:
    """Out-of-fold logits `[K, N, C]` of the exact fit of every fold with every penalty."""
    whole, parts = learned_by_folds(features, labels, num_classes, folds, sample_weight, known)
    fits = side_by_side(lambda part: _without(whole, ~torch.isin(whole.rows, part.rows), penalties), parts, features)
    return held_out_logits(features, parts, folds, fits, num_classes)


def _without(whole: Spectrum, lacking: Tensor, penalties: Sequence[float]) -> Tensor:
    """Weights `[K, C, 1 + axes]` of the least-squares fits without the samples where `lacking` `[n]`.

    Two ways to the same answer. With M the curvature of the whole, which is diagonal, and R the weighted samples that leave:
    a system of the size of the axes, M - R'R; or one of the size of those samples, by the matrix inversion lemma: the fit
    moves by M^-1 R' (1 - R M^-1 R')^-1 of their weighted residuals (of one sample: the usual leave-one-out formula).
    """
    root = whole.weights.sqrt()[:, None]
    samples, target = root * whole.features, root * _one_hot(whole)
    wanted, leaving, missed = samples.T @ target, samples[lacking], target[lacking]
    # the penalty belongs to the mean over those that stay
    stay = float(whole.weights[~lacking].sum())
    curvatures = [whole.values + _ridge(whole, penalty * stay) for penalty in penalties]
    if 2 * len(leaving) < whole.width:
        return torch.stack([_moved(wanted, leaving, missed, curvature) for curvature in curvatures])
    less, rest = leaving.T @ leaving, wanted - leaving.T @ missed
    return torch.stack([torch.linalg.solve(curvature.diag() - less, rest).T for curvature in curvatures])


def _moved(wanted: Tensor, leaving: Tensor, missed: Tensor, curvature: Tensor) -> Tensor:
    x = wanted / curvature[:, None]
    shift = leaving / curvature
    inner = torch.eye(len(leaving), dtype=x.dtype) - shift @ leaving.T
    change: Tensor = torch.linalg.solve(inner, leaving @ x - missed)
    return (x + shift.T @ change).T


def _one_hot(samples: Spectrum) -> Tensor:
    """Targets `[n, C]`."""
    return torch.eye(len(samples.present), dtype=samples.features.dtype)[samples.labels]


def _ridge(samples: Spectrum, penalty: float) -> Tensor:
    """`[1 + K]` what the penalty adds to the curvature: the bias is not penalised."""
    ridge = torch.full_like(samples.values, penalty)
    ridge[0] = 0.0
    return ridge
