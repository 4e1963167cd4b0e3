"""Support vector machine with a radial kernel (scikit-learn's libsvm). Not a linear head: for comparing, not for keeping."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from headstart.engine.solvers.calibrate import calibration_scale
from headstart.engine.solvers.folds import Folds, rows_of
from headstart.engine.solvers.linear import ABSENT, check, check_penalty


@dataclass(frozen=True, eq=False)
class KernelSolution:
    """A fitted kernel machine; `logits` and `probabilities` as for a `LinearSolution`.

    machine  scikit-learn's SVC on standardised features; mean and scale `[D]` standardise
    """

    machine: Any
    mean: Tensor
    scale: Tensor
    num_classes: int
    calibration: tuple[float, float] = (1.0, 0.0)

    def logits(self, features: Tensor) -> Tensor:
        """Votes of the pairwise machines with their margins `[N, C]`; `ABSENT` for classes not learned."""
        scores = np.asarray(self.machine.decision_function(((features.double() - self.mean) * self.scale).numpy()))
        if scores.ndim == 1:  # two classes: one machine, positive for the second
            scores = np.stack((-scores, scores), 1) / 2
        logits = torch.full((len(features), self.num_classes), ABSENT, dtype=torch.float64)
        logits[:, torch.from_numpy(self.machine.classes_.astype(np.int64))] = torch.from_numpy(scores)
        return logits.to(features.dtype)

    def probabilities(self, features: Tensor) -> Tensor:
        """Calibrated class probabilities `[N, C]`."""
        return torch.softmax(self.logits(features) * self.calibration[0], 1)


def fit_kernel_svm(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    penalty: float,
    sample_weight: Tensor | None = None,
    *,
    gamma: float | None = None,
    folds: Folds = (),
) -> KernelSolution:
    """Radial-kernel SVM with C = 1 / (N * penalty) on standardised features; at least two classes must have samples.

    gamma  width of the kernel, exp(-gamma * distance^2); None: 1 / D, right for standardised features
    folds  on whose out-of-fold margins probabilities are calibrated; none: uncalibrated
    """
    check(features, labels, num_classes, sample_weight)
    check_penalty(penalty)
    solution = _fitted(features, labels, num_classes, penalty, sample_weight, gamma)
    if not folds:
        return solution
    logits = features.new_full((len(labels), num_classes), torch.nan)
    for train, valid in rows_of(folds, len(labels)):
        weight = None if sample_weight is None else sample_weight[train]
        logits[valid] = _fitted(features[train], labels[train], num_classes, penalty, weight, gamma).logits(features[valid])
    scale = calibration_scale(logits, labels, sample_weight)
    return KernelSolution(solution.machine, solution.mean, solution.scale, num_classes, (scale, 0.0))


def _fitted(
    features: Tensor, labels: Tensor, num_classes: int, penalty: float, weight: Tensor | None, gamma: float | None
) -> KernelSolution:
    from sklearn.svm import SVC  # half a second to import, needed here only

    x = features.double()
    mean, deviation = x.mean(0), x.std(0, unbiased=False)
    scale = torch.where(deviation > 1e-6 * mean.abs().clamp_min(1e-30), 1 / deviation.clamp_min(1e-300), 1.0)
    machine = SVC(C=1 / (len(x) * penalty), gamma=1 / x.shape[1] if gamma is None else gamma)
    machine.fit(((x - mean) * scale).numpy(), labels.numpy(), None if weight is None else weight.double().numpy())
    return KernelSolution(machine, mean, scale, num_classes)
