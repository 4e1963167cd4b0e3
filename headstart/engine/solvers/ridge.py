"""Ridge regression on one-hot targets: every penalty, and every leave-one-out answer, from one eigendecomposition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from headstart.engine.solvers.calibrate import calibration_scale
from headstart.engine.solvers.linear import ABSENT, LinearSolution, check, check_penalty, standardised


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
    features: Tensor, labels: Tensor, num_classes: int, penalties: Sequence[float], sample_weight: Tensor | None = None
) -> RidgePath:
    """Fits for all `penalties` in float64; see `fit_ridge`."""
    check(features, labels, num_classes, sample_weight)
    for penalty in penalties:
        check_penalty(penalty)
    mask = torch.ones(1, len(labels), dtype=torch.bool)
    samples = standardised(features, labels, num_classes, mask, sample_weight, torch.float64)
    weight_N, scale, known = samples.weights[0], samples.scale[0], samples.present[0]
    target = torch.nn.functional.one_hot(labels.long(), num_classes).double()
    # with an unpenalised bias the best fit passes through the weighted means: take them off and solve without one
    mean_x, mean_y = weight_N @ samples.features, weight_N @ target
    root = weight_N.sqrt()[:, None]
    a, b = root * (samples.features - mean_x) * scale, root * (target - mean_y)
    weights, biases, left_out = [], [], []
    for coefficients, leverage in _solutions(a, b, penalties):
        fitted = mean_y + (samples.features - mean_x) * scale @ coefficients
        share = (weight_N + leverage)[:, None]
        left = fitted - share / (1 - share).clamp_min(1e-12) * (target - fitted)
        weight = coefficients.T * scale
        bias = mean_y - weight @ (mean_x + samples.centre)
        weights.append(torch.where(known[:, None], weight, 0.0))
        biases.append(torch.where(known, bias, ABSENT))
        left_out.append(torch.where(known, left, ABSENT))
    absent = [int(c) for c in (~known).nonzero()[:, 0]]
    return RidgePath(torch.stack(weights), torch.stack(biases), torch.stack(left_out), absent)


def _solutions(a: Tensor, b: Tensor, penalties: Sequence[float]) -> list[tuple[Tensor, Tensor]]:
    """(A'A + penalty)^-1 A'B `[D, C]` and the diagonal of A (A'A + penalty)^-1 A' `[N]`, per penalty."""
    found = []
    if a.shape[0] >= a.shape[1]:
        values, vectors = torch.linalg.eigh(a.T @ a)
        rotated, projected = a @ vectors, vectors.T @ (a.T @ b)
        for penalty in penalties:
            shrunk = 1 / (values.clamp_min(0) + penalty)
            found.append((vectors @ (shrunk[:, None] * projected), rotated.square() @ shrunk))
        return found
    values, vectors = torch.linalg.eigh(a @ a.T)
    projected = vectors.T @ b
    for penalty in penalties:
        shrunk = 1 / (values.clamp_min(0) + penalty)
        found.append((a.T @ (vectors @ (shrunk[:, None] * projected)), vectors.square() @ (shrunk * values.clamp_min(0))))
    return found
