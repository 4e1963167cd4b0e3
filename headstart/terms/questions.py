"""Losses of questions that have no single right class: several yes or no, or a number."""

from __future__ import annotations

import torch
from torch import Tensor

from headstart.data.task import UNKNOWN
from headstart.losses.numbers import binary_cross_entropy, huber_error, squared_error
from headstart.nets.net import Net
from headstart.terms.base import StepLike, Term


class MultiLabel(Term):
    """Mean binary cross-entropy over all entries (sample and question) whose answer is known.

    head       None: the one called like the task
    smoothing  moves a label this far towards 1/2: 1 becomes 1 - smoothing / 2
    """

    def __init__(self, task: str, *, head: str | None = None, smoothing: float = 0.0) -> None:
        super().__init__()
        self.tasks, self.heads, self.smoothing = (task,), (head or task,), smoothing

    def forward(self, step: StepLike) -> Tensor:
        task = self.tasks[0]
        logits, labels = step.logits(self.heads[0]), step.labels(task)
        targets = torch.where(labels == UNKNOWN, 0, labels).to(logits.dtype)
        targets = targets + self.smoothing * (0.5 - targets)
        return step.mean(binary_cross_entropy(logits, targets), task)

    def absent(self, step: StepLike) -> bool:
        return not step.counted(self.tasks[0])


class Regression(Term):
    """Mean squared error of a number, in units of the training labels' standard deviation, over samples where it is known.

    net    holds the head, whose `offset` and `spread` say what that unit is (`LinearHead.learn_unit`)
    delta  None: squared error; else Huber's: quadratic up to this many units, linear beyond (`losses.numbers.huber_error`)
    """

    offset: Tensor
    spread: Tensor

    def __init__(self, net: Net, task: str, *, head: str | None = None, delta: float | None = None) -> None:
        super().__init__()
        self.tasks, self.heads, self.delta = (task,), (head or task,), delta
        unit = net.head(self.heads[0])
        self.register_buffer("offset", unit.offset.clone())
        self.register_buffer("spread", unit.spread.clone())

    def forward(self, step: StepLike) -> Tensor:
        task = self.tasks[0]
        found = step.logits(self.heads[0])[:, 0]
        wanted = (torch.nan_to_num(step.labels(task)) - self.offset) / self.spread
        error = squared_error(found, wanted) if self.delta is None else huber_error(found, wanted, self.delta)
        return step.mean(error, task)

    def absent(self, step: StepLike) -> bool:
        return not step.counted(self.tasks[0])
