"""L2-regularised multinomial logistic regression by batched L-BFGS with the closed-form gradient."""

from __future__ import annotations

import torch
from torch import Tensor

from headstart.engine.solvers.linear import LinearSolution, everything, finished
from headstart.engine.solvers.objective import Objective, solve


def fit_logistic(
    features: Tensor,
    labels: Tensor,
    num_classes: int,
    penalty: float,
    sample_weight: Tensor | None = None,
) -> LinearSolution:
    """Minimise mean cross-entropy + penalty / 2 * ||W||^2 over linear maps of standardised features.

    features       `[N, D]` float32 or float64; standardised inside, the returned weights are for raw features
    labels         `[N]` in 0..C-1; a class without a sample is never answered
    penalty        per the mean loss: scikit-learn's C is 1 / (N * penalty). The bias is not penalised
    sample_weight  `[N]`, not negative; weights the mean. Class weights are given this way
    """
    samples = everything(features, labels, num_classes, penalty, sample_weight)
    one, strength = torch.zeros(1, dtype=torch.long), torch.tensor([penalty], dtype=torch.float64)
    objective = CrossEntropy(samples, one, strength)
    return finished("logistic", samples, solve(objective), penalty, features.dtype)


class CrossEntropy(Objective):
    """Mean cross-entropy of the softmax over the classes that have a sample."""

    fine = 1e-6  # probabilities are then good to about 1e-5
    coarse = 1e-5

    def loss(self, logits: Tensor, labels: Tensor, weights: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        if not present.all():
            logits = logits.masked_fill(~present.unsqueeze(2), -torch.inf)
        logs = logits.log_softmax(1)
        index = labels.expand(len(logits), 1, -1)
        own = logs.gather(1, index).squeeze(1)
        # a left-out sample may belong to a class its problem does not know: weight 0 times infinity is no number
        value = -torch.where(weights > 0, own * weights, 0.0).sum(1, dtype=torch.float64)
        residual = logs.exp_()
        residual.scatter_add_(1, index, residual.new_full((1, 1, 1), -1.0).expand_as(index))
        return value, residual.mul_(weights.unsqueeze(1))
