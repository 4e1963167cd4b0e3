"""L2-regularised multinomial logistic regression by batched L-BFGS with the closed-form gradient."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from headstart.engine.solvers.folds import Folds
from headstart.engine.solvers.lbfgs import Minimum, minimise
from headstart.engine.solvers.linear import LinearSolution
from headstart.engine.solvers.objective import Objective, finished, held_out_logits
from headstart.engine.solvers.spectrum import Spectrum, everything, learned_by_folds
from headstart.engine.solvers.threads import side_by_side

_GRADIENT = 1e-6
"""largest gradient entry of a fit to keep: probabilities are then good to about 1e-5"""
_CLOSE = 0.01
"""relative distance from the minimum, as estimated, at which a fit that only chooses a penalty may stop"""


def fit_logistic(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    penalty: float,
    sample_weight: Tensor | None = None,
    known: Spectrum | None = None,
) -> LinearSolution:
    """Minimise mean cross-entropy + penalty / 2 * ||W||^2 over linear maps of standardised features.

    features       `[N, D]` float32 or float64; standardised inside, the returned weights are for raw features
    labels         `[N]` in 0..C-1; a class without a sample is never answered
    penalty        per the mean loss: scikit-learn's C is 1 / (N * penalty). The bias is not penalised
    sample_weight  `[N]`, not negative; weights the mean. Class weights are given this way
    known          `spectrum` of the same features and weights, when it has been computed before
    """
    samples = everything(features, labels, num_classes, penalty, sample_weight, known)
    # nearly all the way in short floats, where a step costs half; what their rounding leaves is done in double
    rough = _from(samples.to(torch.float32), penalty, None)
    found = _from(samples, penalty, rough.x.double())
    info = {
        "penalty": penalty,
        "iterations": int(rough.iterations[0] + found.iterations[0]),
        "gradient": float(found.gradient[0]),
        "converged": bool(found.converged[0]),
        "objective": float(found.value[0]),
    }
    return finished("logistic", samples, found.x.view(num_classes, -1), features.dtype, info)


def _from(samples: Spectrum, penalty: float, start: Tensor | None) -> Minimum:
    objective = CrossEntropy(samples, torch.tensor([penalty], dtype=torch.float64))
    start = objective.start() if start is None else start
    return minimise(objective, start, tolerance=_GRADIENT, metric=objective.metric)


def held_out_logistic(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    penalties: Sequence[float],
    folds: Folds,
    sample_weight: Tensor | None = None,
    known: Spectrum | None = None,
) -> Tensor:
    """Out-of-fold logits `[K, N, C]`: all penalties of a fold in lockstep, only as far as choosing needs."""
    parts = learned_by_folds(features, labels, num_classes, folds, sample_weight, known)[1]
    strengths = torch.tensor(list(penalties), dtype=torch.float64)

    def choosing(part: Spectrum) -> Tensor:
        objective = CrossEntropy(part.to(features.dtype), strengths)
        found = minimise(objective, objective.start(), tolerance=_GRADIENT, metric=objective.metric, close=_CLOSE)
        return found.x.view(len(penalties), num_classes, -1)

    return held_out_logits(features, parts, folds, side_by_side(choosing, parts, features), num_classes)


class CrossEntropy(Objective):
    """Mean cross-entropy of the softmax over the classes that have a sample."""

    def __init__(self, samples: Spectrum, penalties: Tensor) -> None:
        super().__init__(samples, penalties, len(samples.present))

    def loss(self, logits: Tensor, which: Tensor, part: slice) -> tuple[Tensor, Tensor, Tensor]:
        samples = self.samples
        if not samples.present.all():
            logits.masked_fill_(~samples.present[:, None], -torch.inf)
        labels, weights = samples.labels[part], samples.weights[part]
        logs = logits.log_softmax(1)
        index = labels.expand(len(logits), 1, -1)
        value = -(logs.gather(1, index).squeeze(1) @ weights)
        chances = logs.exp_()
        # softmax curvature diag(p) - pp': its trace over the classes, spread over all directions but the common one
        trace = weights.sum() - (chances.square() @ weights).sum(1)
        bend = trace / max(1, int(samples.present.sum()) - 1)
        chances.scatter_add_(1, index, chances.new_full((1, 1, 1), -1.0).expand_as(index))
        return value, chances.mul_(weights), bend.clamp_min(torch.finfo(bend.dtype).eps)
