"""The ordinary supervised loss of one head."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from headstart.losses.classification import cross_entropy
from headstart.terms.base import StepLike, Term


class Supervised(Term):
    """Mean cross-entropy of head `task` over the samples whose label is known.

    smoothing      label smoothing
    class_weights  one factor per class, or None
    share          coefficient of this loss in its method's equation, (1 - lambda) in distillation
    """

    weight: Tensor | None

    def __init__(
        self,
        task: str,
        *,
        head: str | None = None,
        smoothing: float = 0.0,
        class_weights: Sequence[float] | None = None,
        share: float = 1.0,
    ) -> None:
        super().__init__()
        self.tasks, self.heads = (task,), (head or task,)
        self.smoothing, self.share = smoothing, share
        weight = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        self.register_buffer("weight", weight)

    def forward(self, step: StepLike) -> Tensor:
        task = self.tasks[0]
        targets = step.labels(task)
        if targets.ndim == 1:
            targets = targets.clamp(min=0)
        loss = cross_entropy(step.logits(self.heads[0]), targets, smoothing=self.smoothing, weight=self.weight)
        mean = step.mean(loss, task)
        return mean if self.share == 1.0 else self.share * mean
