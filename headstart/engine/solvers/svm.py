"""Linear support vector machine, one class against the rest, with a calibration learned out of fold."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from headstart.engine.solvers.calibrate import calibration_scale
from headstart.engine.solvers.folds import Folds, stratified_folds
from headstart.engine.solvers.linear import LinearSolution, everything, finished
from headstart.engine.solvers.objective import Objective, held_out_logits, solve


def fit_svm(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    penalty: float,
    sample_weight: Tensor | None = None,
    *,
    folds: Folds | None = None,
) -> LinearSolution:
    """Minimise, for every class against the rest, mean squared hinge + penalty / 2 * ||w||^2 on standardised features.

    folds  on which the calibration is learned: out-of-fold margins, since an SVM separates the images it has seen. None:
           five stratified ones; an empty list: no calibration (`info["calibrated"]` says so)

    The rest as for `fit_logistic`. The same problem as scikit-learn's LinearSVC with C = 1 / (N * penalty), except that the
    bias is not penalised. Probabilities are the softmax of scaled margins (temperature scaling, Guo et al. 2017), not
    Platt's one sigmoid per class: a softmax adds up to one.
    """
    samples = everything(features, labels, num_classes, penalty, sample_weight)
    one, strength = torch.zeros(1, dtype=torch.long), torch.tensor([penalty], dtype=torch.float64)
    solution = finished("svm", samples, solve(SquaredHinge(samples, one, strength)), penalty, features.dtype)
    if folds is None:
        folds = stratified_folds(labels, 5)
    if not folds:
        return replace(solution, info={**solution.info, "calibrated": False})
    logits = held_out_logits(SquaredHinge, features, labels, num_classes, [penalty], folds, sample_weight)[0]
    scale = calibration_scale(logits, labels, sample_weight)
    return replace(solution, calibration=(scale, 0.0), info={**solution.info, "calibrated": True})


class SquaredHinge(Objective):
    """Sum over classes of max(0, 1 - y f)^2, y = 1 for images of the class and -1 for the rest."""

    # the hinge's curvature jumps from image to image, which costs L-BFGS ten times the steps of a softmax per digit
    fine = 1e-5
    coarse = 1e-4

    def loss(self, logits: Tensor, labels: Tensor, weights: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        index = labels.expand(len(logits), 1, -1)
        own = (1 - logits.gather(1, index)).clamp_min_(0)
        hinge = logits.add_(1).clamp_min_(0).scatter_(1, index, own)
        value = (hinge.square().sum(1) * weights).sum(1, dtype=torch.float64)
        return value, hinge.scatter_(1, index, -own).mul_(2 * weights.unsqueeze(1))
