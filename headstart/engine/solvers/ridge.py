"""Ridge regression on one-hot targets: every penalty, and every leave-one-out answer, from one eigendecomposition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headstart.engine.solvers.calibrate import calibration_scale
from headstart.engine.solvers.linear import ABSENT, LinearSolution, check, check_penalty
from headstart.engine.solvers.spectrum import spectrum


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
    features: Tensor, labels: Tensor, num_classes: int, penalty: float, sample_weight: Tensor | None = None
) -> LinearSolution:
    """Minimise mean ||W x + b - onehot||^2 / 2 + penalty / 2 * ||W||^2 on standardised features.

    Arguments as for `fit_logistic`. The logits are least-squares estimates of the one-hot target, so they are calibrated:
    the scale is learned on exact leave-one-out answers.
    """
    path = ridge_path(features, labels, num_classes, [penalty], sample_weight)
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
    dtype: torch.dtype = torch.float64,
) -> RidgePath:
    """Fits for all `penalties`, computed in `dtype`; see `fit_ridge`."""
    check(features, labels, num_classes, sample_weight)
    for penalty in penalties:
        check_penalty(penalty)
    samples = spectrum(features, labels, num_classes, None, sample_weight, dtype)
    target = torch.nn.functional.one_hot(samples.labels, num_classes).to(dtype)
    weight_N, along = samples.weights, samples.features
    wanted = along.T @ (weight_N[:, None] * target)
    squares = along.square()
    weights, biases, left_out = [], [], []
    for penalty in penalties:
        shrunk = samples.values + penalty
        shrunk[0] = 1.0  # the bias is not penalised
        x = wanted / shrunk[:, None]
        fitted = along @ x
        share = (weight_N * (squares @ shrunk.reciprocal()))[:, None]
        left = fitted.new_full((len(labels), num_classes), torch.nan)
        left[samples.rows] = fitted - share / (1 - share).clamp_min(1e-12) * (target - fitted)
        weight, bias = samples.folded(x.T)
        weights.append(weight)
        biases.append(bias)
        left_out.append(torch.where(samples.present, left, ABSENT))
    return RidgePath(torch.stack(weights), torch.stack(biases), torch.stack(left_out), samples.absent)
