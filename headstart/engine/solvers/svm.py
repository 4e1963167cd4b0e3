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
from headstart.engine.solvers.spectrum import Spectrum, everything, spectra

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
    # Newton's steps are dear: the path before them, in short floats, goes on until few are needed
    x = _path([samples.short()], [penalty], num_classes, keep=True)[0].double()
    objective, steps = SquaredHinge([samples], penalty, num_classes), 0
    for c in samples.present.nonzero()[:, 0].tolist():
        x[c], taken = finish(samples, objective.signs[0][c], penalty, x[c])
        steps = max(steps, taken)
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
) -> Tensor:
    """Out-of-fold logits `[K, N, C]`: all folds and classes in lockstep, only as far as choosing needs."""
    samples = spectra(features, labels, num_classes, folds, sample_weight)
    path = torch.stack(_path(samples, penalties, num_classes)).view(len(penalties), len(samples), num_classes, -1)
    fits = [path[:, number, :, : s.width] for number, s in enumerate(samples)]
    return held_out_logits(features, samples, folds, fits, num_classes)


def _path(samples: Sequence[Spectrum], penalties: Sequence[float], num_classes: int, keep: bool = False) -> list[Tensor]:
    """Weights `[F * C, 1 + K]` for each of `penalties`, from strong to weak, each from where the one before ended.

    keep  the way to an exact fit: machines with few images inside the margin are brought to their minimum at every penalty
          on the way, from which Newton's method needs a step or two to the next; it may need a hundred from elsewhere
    """
    x = samples[0].features.new_zeros(len(samples) * num_classes, max(s.width for s in samples))
    present = torch.cat([s.present for s in samples])
    few = torch.zeros_like(present)
    found = {}
    for penalty in _downward(penalties):
        objective = SquaredHinge(samples, penalty, num_classes)
        patience = 0 if few[present].all() else _PATIENCE
        close = _ROUGH if keep else _CLOSE
        fits = minimise(objective, x, tolerance=_GRADIENT, metric=objective.metric, close=close, max_iterations=patience)
        x = fits.x
        few = objective.few() & keep
        for problem in (present & (few | ~fits.converged)).nonzero()[:, 0].tolist():
            _finished(objective, problem, x[problem])
        found[penalty] = x
    return [found[penalty] for penalty in penalties]


def _finished(objective: SquaredHinge, problem: int, x: Tensor) -> None:
    """Bring `x` `[1 + K]` of one problem near its minimum, in place."""
    number, c = divmod(problem, objective.num_classes)
    width = objective.samples[number].width
    x[:width] = finish(objective.samples[number], objective.signs[number][c], objective.penalty, x[:width], _GAP)[0]


def _downward(penalties: Sequence[float]) -> list[float]:
    """The penalties from strong to weak, after a decade at a time down to the strongest of them."""
    strongest, ladder = max(penalties), list[float]()
    while strongest * 10 ** (len(ladder) + 1) <= _LADDER * 1.001:
        ladder.append(strongest * 10 ** (len(ladder) + 1))
    return ladder[::-1] + sorted(set(penalties), reverse=True)


class SquaredHinge(Objective):
    """max(0, 1 - sign f)^2 of one class against the rest: problem p is class p % C on set p // C, alone.

    The classes share nothing, so each takes its own steps.

    signs  per set `[C, n]`: 1 for images of the class, -1 for the rest
    """

    def __init__(self, samples: Sequence[Spectrum], penalty: float, num_classes: int) -> None:
        sets = torch.arange(len(samples)).repeat_interleave(num_classes)
        super().__init__(samples, sets, torch.full((len(sets),), penalty, dtype=torch.float64), 1)
        classes = torch.arange(num_classes)[:, None]
        self.num_classes, self.penalty = num_classes, penalty
        self.signs = [torch.where(s.labels == classes, 1.0, -1.0).to(s.features.dtype) for s in samples]

    def few(self) -> Tensor:
        """`[P]` whether fewer images were inside the margin than there are axes, where each problem was last evaluated.

        Then they could all sit on the margin, the curvature is that of a few images, and Newton's steps are cheap.
        """
        inside = self.bend / 2 * torch.tensor([float(len(s.labels)) for s in self.samples])[self.sets]
        return inside < torch.tensor([s.width for s in self.samples])[self.sets]

    def loss(self, logits: Tensor, which: Tensor, samples: Spectrum, part: slice) -> tuple[Tensor, Tensor, Tensor]:
        problems = which % self.num_classes
        number = int(which[0]) // self.num_classes
        sign, weights = self.signs[number][problems, part], samples.weights[part]
        hinge = logits.squeeze(1).mul_(sign).neg_().add_(1).clamp_min_(0)
        bend = 2 * ((hinge > 0).to(hinge.dtype) @ weights)
        value = hinge.square() @ weights
        residual = hinge.mul_(sign).mul_(-2 * weights)
        return value, residual.unsqueeze(1), bend.clamp_min(torch.finfo(bend.dtype).eps)
