"""One question of several that a student learns from a teacher's answers, beside the labels that are known."""

from __future__ import annotations

import torch
from torch import Tensor

from headstart.catalog.kinds import Kind
from headstart.errors import ConfigError, problems
from headstart.losses.distillation import soft_kl
from headstart.losses.numbers import binary_cross_entropy, squared_error
from headstart.terms.base import StepLike, Term
from headstart.terms.distill import setting_faults
from headstart.terms.teacher import Answers


class Taught(Term):
    """share * soft + (1 - share) * hard: soft over all samples, hard over those whose label is known.

    The hard part is left out of batches without any label; then the teacher alone teaches, with the same weight.

    head         the student's, which answers
    answers      the teacher's outputs for all questions side by side, `[B, C]`
    columns      first and end of this question among them
    hard         loss of the labels; None: the data do not ask the question, and all of it is soft
    temperature  T of probabilities, see `soft_answer`
    share        lambda, weight of the soft part
    unit         (spread, offset) that turn the teacher's output of a number into the student's unit
    """

    def __init__(
        self,
        head: str,
        kind: Kind,
        answers: Answers,
        columns: tuple[int, int],
        *,
        hard: Term | None,
        temperature: float = 4.0,
        share: float = 0.9,
        unit: tuple[float, float] = (1.0, 0.0),
    ) -> None:
        super().__init__()
        faults = setting_faults(temperature=temperature, weight=share)
        faults += [f"share={share}: at most 1, the teacher alone"] if share > 1 else []
        problems(ConfigError, f"{head!r} cannot be taught as asked:", faults)
        self.heads, self.kind, self.columns = (head,), kind, columns
        self.tasks = () if hard is None else hard.tasks
        self.answers, self.hard = answers, hard
        self.temperature, self.share, self.unit = temperature, share, unit

    def forward(self, step: StepLike) -> Tensor:
        then = self.answers.logits(step)[:, slice(*self.columns)]
        if self.kind == "number":
            then = then * self.unit[0] + self.unit[1]
        soft = step.mean_all(soft_answer(self.kind, step.logits(self.heads[0]), then, self.temperature))
        if self.hard is None:
            return soft
        if self.hard.absent(step):
            return self.share * soft
        loss: Tensor = self.share * soft + (1 - self.share) * self.hard(step)
        return loss


def soft_answer(kind: Kind, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """`[B]` how far a student's outputs `[B, C]` are from its teacher's.

    One class of several: `T^2 KL(softmax(t / T), softmax(s / T))` (Hinton, Vinyals & Dean 2015). Several yes/no questions:
    `T^2` times the mean over questions of the same divergence between sigmoids. A number: `(s - t)^2`, in the same unit,
    without T.
    """
    if kind == "number":
        return squared_error(student[:, 0], teacher[:, 0])
    if kind == "several":
        theirs = teacher.float() / temperature
        targets = torch.sigmoid(theirs)
        apart = binary_cross_entropy(student / temperature, targets) - binary_cross_entropy(theirs, targets)
        return temperature**2 * apart.mean(1)
    return temperature**2 * soft_kl(student, teacher, temperature)
