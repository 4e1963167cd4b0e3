"""Classification by sigmoid outputs that learns new classes from labels and old ones from the old network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.losses.incremental import sigmoid_cross_entropy
from headstart.terms.base import StepLike, Term
from headstart.terms.teacher import Answers, same_classes


class SigmoidList(Term):
    """Mean over samples of the sum over classes of the binary cross-entropy (Rebuffi et al. 2017, algorithm 3).

    New classes learn from the labels, which for a sample of an old class are all zero; old classes learn the sigmoid
    outputs that the old network gives on the same sample, of an old class or a new one.

    task     the stage's, its classes being all classes, old ones first
    heads    whose logits side by side are about these
    teacher  answers about the old classes, the first so many; None where there are none

    Samples without a label are left out.
    """

    def __init__(self, task: str, heads: Sequence[str], teacher: Answers | None = None, *, old: int = 0) -> None:
        super().__init__()
        self.tasks, self.heads = (task,), tuple(heads)
        self.teacher, self.old = teacher, old

    def forward(self, step: StepLike) -> Tensor:
        logits = torch.cat([step.logits(name).float() for name in self.heads], 1)
        labels = step.labels(self.tasks[0])
        shares = labels if labels.ndim == 2 else F.one_hot(labels.clamp(min=0), logits.shape[1])
        targets = shares.to(logits.dtype)
        if self.teacher is not None:
            before = self.teacher.logits(step)
            same_classes(self.heads[0], logits[:, : self.old], before)
            targets = torch.cat([before.float().sigmoid(), targets[:, self.old :]], 1)
        return step.mean(sigmoid_cross_entropy(logits, targets), self.tasks[0])
