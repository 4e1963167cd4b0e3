"""The ordinary supervised loss of one head, alone or with others in one list of classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from headstart.losses.classification import cross_entropy
from headstart.terms.base import StepLike, Term


class Supervised(Term):
    """Mean cross-entropy of head `task` over the samples whose label is known.

    beside         heads whose classes stand before those of `head` in one list; the softmax is over all of them
    smoothing      label smoothing
    class_weights  one factor per class of `head`, or None
    share          coefficient of this loss in its method's equation, (1 - lambda) in distillation
    """

    weight: Tensor | None

    def __init__(
        self,
        task: str,
        *,
        head: str | None = None,
        beside: Sequence[str] = (),
        smoothing: float = 0.0,
        class_weights: Sequence[float] | None = None,
        share: float = 1.0,
    ) -> None:
        super().__init__()
        self.tasks, self.heads = (task,), (*beside, head or task)
        self.smoothing, self.share = smoothing, share
        weight = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        self.register_buffer("weight", weight)

    def forward(self, step: StepLike) -> Tensor:
        task = self.tasks[0]
        targets = step.labels(task)
        if targets.ndim == 1:
            targets = targets.clamp(min=0)
        logits, weight = step.logits(self.heads[-1]), self.weight
        if len(self.heads) > 1:
            logits, targets, weight = self._listed(step, logits, targets)
        loss = cross_entropy(logits, targets, smoothing=self.smoothing, weight=weight)
        mean = step.mean(loss, task)
        return mean if self.share == 1.0 else self.share * mean

    def absent(self, step: StepLike) -> bool:
        return not step.counted(self.tasks[0])

    def _listed(self, step: StepLike, own: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Logits of all heads side by side, with labels (or probabilities) and weights that count from the first."""
        before = torch.cat([step.logits(name) for name in self.heads[:-1]], 1)
        first = before.shape[1]
        mixed = targets.ndim == 2
        targets = torch.cat([targets.new_zeros(len(targets), first), targets], 1) if mixed else targets + first
        weight = None if self.weight is None else torch.cat([self.weight.new_ones(first), self.weight])
        return torch.cat([before, own], 1), targets, weight
