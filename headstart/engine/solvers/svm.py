"""Linear support vector machine, one class against the rest, with a calibration learned out of fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from headstart.engine.solvers.calibrate import calibration_scale
from headstart.engine.solvers.folds import Folds, stratified_folds
from headstart.engine.solvers.lbfgs import minimise
from headstart.engine.solvers.linear import LinearSolution
from headstart.engine.solvers.newton import finish
from headstart.engine.solvers.objective import Objective, finished, held_out_logits
from headstart.engine.solvers.spectrum import Spectrum, everything, learned_by_folds
from headstart.engine.solvers.threads import side_by_side

_GRADIENT = 1e-6
"""largest gradient entry of a fit to keep"""
_CLOSE = 0.002
"""relative distance from the minimum, as estimated (too low), at which a machine that only chooses a penalty may stop"""
_ROUGH = 0.01
"""the same for one that Newton's method will finish"""
_GAP = 2e-3
"""share of the objective gained by a Newton step below which a machine that is not the last is left"""
_PATIENCE = 40
"""lockstep steps before a machine is finished by Newton's method, on its own"""
_LADDER = 0.1
"""strongest penalty a path starts from: there few steps suffice from zero"""


def fit_svm(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    penalty: float,
    sample_weight: Tensor | None = None,
    known: Spectrum | None = None,
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
    samples = everything(features, labels, num_classes, penalty, sample_weight, known)
    # Newton's steps are dear: the path before them, in short floats, goes on until few are needed
    x = _path(samples.to(torch.float32), [penalty], keep=True)[0].double()
    objective = SquaredHinge(samples, penalty)
    steps = max(_finish(objective, samples.present, x))
    value, gradient = objective(x, torch.arange(num_classes))
    largest = float(gradient.abs().max())
    info = {
        "penalty": penalty,
        "iterations": steps,
        "gradient": largest,
        "converged": largest <= _GRADIENT,
        "objective": float(value.sum()),
    }
    solution = finished("svm", samples, x, features.dtype, info)
    if folds is None:
        folds = stratified_folds(labels, 5)
    if not folds:
        return replace(solution, info={**solution.info, "calibrated": False})
    logits = held_out_svm(features, labels, num_classes, [penalty], folds, sample_weight)[0]
    scale = calibration_scale(logits, labels, sample_weight)
    return replace(solution, calibration=(scale, 0.0), info={**solution.info, "calibrated": True})


def held_out_svm(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    penalties: Sequence[float],
    folds: Folds,
    sample_weight: Tensor | None = None,
    known: Spectrum | None = None,
) -> Tensor:
    """Out-of-fold logits `[K, N, C]`: all classes of a fold in lockstep, only as far as choosing needs."""
    parts = learned_by_folds(features, labels, num_classes, folds, sample_weight, known)[1]
    fits = side_by_side(lambda part: torch.stack(_path(part.to(features.dtype), penalties)), parts, features)
    return held_out_logits(features, parts, folds, fits, num_classes)


def _path(samples: Spectrum, penalties: Sequence[float], keep: bool = False) -> list[Tensor]:
    """Weights `[C, 1 + K]` for each of `penalties`, from strong to weak, each from where the one before ended.

    keep  the way to an exact fit: machines with few images inside the margin are brought to their minimum at every penalty
          on the way, from which Newton's method needs a step or two to the next; it may need a hundred from elsewhere
    """
    x = samples.features.new_zeros(len(samples.present), samples.width)
    few = torch.zeros_like(samples.present)
    found = {}
    for penalty in _downward(penalties):
        objective = SquaredHinge(samples, penalty)
        patience = 0 if few[samples.present].all() else _PATIENCE
        close = _ROUGH if keep else _CLOSE
        fits = minimise(objective, x, tolerance=_GRADIENT, metric=objective.metric, close=close, max_iterations=patience)
        x = fits.x
        few = objective.few() & keep
        _finish(objective, samples.present & (few | ~fits.converged), x, _GAP)
        found[penalty] = x
    return [found[penalty] for penalty in penalties]


def _finish(objective: SquaredHinge, which: Tensor, x: Tensor, gap: float = 0.0) -> list[int]:
    """Bring the machines of the classes `which` `[C]` in `x` to their minimum by Newton's method; the steps each took."""
    samples, classes = objective.samples, which.nonzero()[:, 0].tolist()

    def one(c: int) -> int:
        x[c], steps = finish(samples, objective.signs[c], objective.penalty, x[c], gap)
        return steps

    return side_by_side(one, classes, samples.features)


def _downward(penalties: Sequence[float]) -> list[float]:
    """The penalties from strong to weak, after a decade at a time down to the strongest of them."""
    strongest, ladder = max(penalties), list[float]()
    while strongest * 10 ** (len(ladder) + 1) <= _LADDER * 1.001:
        ladder.append(strongest * 10 ** (len(ladder) + 1))
    return ladder[::-1] + sorted(set(penalties), reverse=True)


class SquaredHinge(Objective):
    """max(0, 1 - sign f)^2 of one class against the rest: problem c is class c, alone.

    The classes share nothing, so each takes its own steps.

    signs  `[C, n]`: 1 for images of the class, -1 for the rest
    """

    def __init__(self, samples: Spectrum, penalty: float) -> None:
        classes = len(samples.present)
        super().__init__(samples, torch.full((classes,), penalty, dtype=torch.float64), 1)
        self.penalty = penalty
        own = samples.labels == torch.arange(classes)[:, None]
        self.signs = torch.where(own, 1.0, -1.0).to(samples.features.dtype)

    def few(self) -> Tensor:
        """`[C]` whether fewer images were inside the margin than there are axes, where each problem was last evaluated.

        Then they could all sit on the margin, the curvature is that of a few images, and Newton's steps are cheap.
        """
        return self.bend / 2 * len(self.samples.labels) < self.samples.width

    def loss(self, logits: Tensor, which: Tensor, part: slice) -> tuple[Tensor, Tensor, Tensor]:
        sign, weights = self.signs[which, part], self.samples.weights[part]
        hinge = logits.squeeze(1).mul_(sign).neg_().add_(1).clamp_min_(0)
        bend = 2 * ((hinge > 0).to(hinge.dtype) @ weights)
        value = hinge.square() @ weights
        residual = hinge.mul_(sign).mul_(-2 * weights)
        return value, residual.unsqueeze(1), bend.clamp_min(torch.finfo(bend.dtype).eps)
