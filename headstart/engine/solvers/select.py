"""Choosing a penalty by cross-validation, and the solver by name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from torch import Tensor

from headstart.engine.solvers.calibrate import calibration_scale
from headstart.engine.solvers.folds import Folds, rows_of, stratified_folds
from headstart.engine.solvers.linear import LinearSolution, check, check_penalty
from headstart.engine.solvers.logistic import fit_logistic, held_out_logistic
from headstart.engine.solvers.prototypes import fit_nearest_mean
from headstart.engine.solvers.ridge import fit_ridge, held_out_ridge
from headstart.engine.solvers.spectrum import Spectrum, spectrum
from headstart.engine.solvers.svm import fit_svm, held_out_svm
from headstart.engine.solvers.threads import fitting
from headstart.errors import ConfigError

Solver = Literal["logistic", "svm", "ridge", "nearest_mean"]
DEFAULT_PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)


@dataclass(frozen=True, eq=False)
class Selection:
    """What cross-validation chose.

    penalty              with the best accuracy; of equals the largest, which gives the smallest weights
    penalties            that were tried
    accuracy_by_penalty  out-of-fold, over all held-out images together (weighted when samples are)
    out_of_fold_logits   `[N, C]` at the chosen penalty; NaN rows were never held out
    fold_accuracies      of the chosen penalty, per fold
    calibration          (scale, 0): see `calibration_scale`; (1, 0) for logistic regression, calibrated by its own objective
    info                 `edge`: `low` or `high` when the chosen penalty is the first or last of several, else None
    """

    penalty: float
    penalties: tuple[float, ...]
    accuracy_by_penalty: tuple[float, ...]
    out_of_fold_logits: Tensor
    fold_accuracies: tuple[float, ...]
    calibration: tuple[float, float]
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def accuracy(self) -> float:
        """Out-of-fold accuracy at the chosen penalty (slightly hopeful: it is the best of several)."""
        return max(self.accuracy_by_penalty)

    def __str__(self) -> str:
        edge = f", at the {self.info['edge']} end of the grid" if self.info.get("edge") else ""
        return f"penalty {self.penalty:g}{edge}: out-of-fold accuracy {self.accuracy:.3f}"


def cross_validate(
    solver: Solver,
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    penalties: Sequence[float],
    folds: Folds,
    sample_weight: Tensor | None = None,
    known: Spectrum | None = None,
) -> Selection:
    """Choose a penalty by out-of-fold accuracy.

    solver  `logistic`, `svm`, `ridge` or `nearest_mean` (which has no penalty: the first is reported)
    folds   (train, valid) pairs of row numbers. With `sample_weight` accuracy is weighted too: with class weights it is the
            balanced one
    known   see `prepared`; only for folds that together learn from every image

    Folds are solved side by side. Features are standardised once, by all images that any
    fold learns from (`nearest_mean`: by each fold anew).
    """
    check(features, labels, num_classes, sample_weight)
    strengths = tuple(sorted(float(penalty) for penalty in penalties))
    if not strengths:
        raise ConfigError("penalties is empty; give at least one, e.g. 1e-3")
    for penalty in strengths if solver != "nearest_mean" else ():
        check_penalty(penalty)
    pairs = rows_of(folds, len(labels))
    logits = _held_out(solver, features, labels, num_classes, strengths, pairs, sample_weight, known)
    weight = torch.ones(len(labels), dtype=torch.float64) if sample_weight is None else sample_weight.double()
    weight = torch.where(torch.isfinite(logits[0]).all(1), weight, 0.0)
    right = (logits.argmax(2) == labels).double()
    by_penalty = right @ weight / weight.sum()
    best = int((by_penalty >= by_penalty.max() - 1e-12).nonzero()[-1])
    by_fold = [float(right[best, rows] @ weight[rows] / weight[rows].sum()) for _, rows in pairs if weight[rows].any()]
    scale = 1.0 if solver == "logistic" else calibration_scale(logits[best], labels, sample_weight)
    accuracies = tuple(float(a) for a in by_penalty)
    edge = _edge(best, accuracies) if solver != "nearest_mean" else None
    info = {"solver": solver, "edge": edge, "folds": len(pairs)}
    return Selection(strengths[best], strengths, accuracies, logits[best], tuple(by_fold), (scale, 0.0), info)


def prepared(
    solver: Solver, features: Tensor, labels: Tensor, num_classes: int, sample_weight: Tensor | None = None
) -> Spectrum | None:
    """What choosing a penalty and the fit that keeps it both need, and need not compute twice; None for `nearest_mean`."""
    if solver == "nearest_mean":
        return None
    check(features, labels, num_classes, sample_weight)
    with fitting(features):
        return spectrum(features, labels, num_classes, None, sample_weight)


def fit(
    solver: Solver,
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    penalty: float,
    sample_weight: Tensor | None = None,
    known: Spectrum | None = None,
) -> LinearSolution:
    """Fit the solver of that name; an SVM is left uncalibrated (`solve` and `fit_svm` calibrate it). `known`: `prepared`."""
    with fitting(features):
        if solver == "logistic":
            return fit_logistic(features, labels, num_classes, penalty, sample_weight, known)
        if solver == "svm":
            return fit_svm(features, labels, num_classes, penalty, sample_weight, known, folds=())
        if solver == "ridge":
            return fit_ridge(features, labels, num_classes, penalty, sample_weight, known)
        if solver == "nearest_mean":
            return fit_nearest_mean(features, labels, num_classes, penalty, sample_weight)
    raise ConfigError(f"solver {solver!r} is not known; there are logistic, svm, ridge and nearest_mean")


def solve(
    solver: Solver,
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    penalties: Sequence[float],
    folds: Folds | None = None,
    sample_weight: Tensor | None = None,
) -> tuple[LinearSolution, Selection | None]:
    """Choose the penalty (when there are several), fit on everything, calibrate on the same out-of-fold answers.

    folds  None: five stratified ones. Nothing is cross-validated when there is nothing to choose or to calibrate.
    """
    if len(penalties) == 1 and solver in ("logistic", "ridge"):
        return fit(solver, features, labels, num_classes, penalties[0], sample_weight), None
    folds = stratified_folds(labels, 5) if folds is None else folds
    selection = cross_validate(solver, features, labels, num_classes, penalties, folds, sample_weight)
    solution = fit(solver, features, labels, num_classes, selection.penalty, sample_weight)
    info = {**solution.info, "calibrated": True, "edge": selection.info["edge"], "accuracy": selection.accuracy}
    return replace(solution, calibration=selection.calibration, info=info), selection


def _held_out(
    solver: Solver,
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    penalties: Sequence[float],
    pairs: list[tuple[Tensor, Tensor]],
    sample_weight: Tensor | None,
    known: Spectrum | None,
) -> Tensor:
    """Out-of-fold logits `[K, N, C]`, NaN where no fold held the image out."""
    if solver == "logistic":
        return held_out_logistic(features, labels, num_classes, penalties, pairs, sample_weight, known)
    if solver == "svm":
        return held_out_svm(features, labels, num_classes, penalties, pairs, sample_weight, known)
    if solver == "ridge":
        return held_out_ridge(features, labels, num_classes, penalties, pairs, sample_weight, known)
    logits = features.new_full((len(penalties), len(labels), num_classes), torch.nan)
    for train, valid in pairs:
        weight = None if sample_weight is None else sample_weight[train]
        logits[:, valid] = fit(solver, features[train], labels[train], num_classes, 0.0, weight).logits(features[valid])
    return logits


def _edge(best: int, accuracies: tuple[float, ...]) -> str | None:
    """Whether a better penalty may lie outside: not when the next one inside does as well."""
    if len(accuracies) < 2:
        return None
    if best == 0:
        return "low"
    if best == len(accuracies) - 1:
        return "high" if accuracies[best - 1] < accuracies[best] else None
    return None
