"""The soft (or hard) half of distillation: what the student learns from its teacher's answers."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from headstart.errors import ConfigError, problems
from headstart.losses.distillation import hard_distillation, soft_cross_entropy, soft_kl, standardise
from headstart.terms.base import StepLike, Term
from headstart.terms.teacher import Answers, same_classes


class Distill(Term):
    """weight * T^2 * mean over all samples, labelled or not, of CE(softmax(teacher / T), softmax(student / T)).

    Hinton, Vinyals & Dean 2015; with `Supervised(share=1 - lambda)` beside it and weight=lambda, their whole loss.

    head         the student's head, default the task's own
    temperature  T, the same on both sides
    weight       lambda, the coefficient of this term (other tools call 1 - lambda so)
    t_squared    False leaves T^2 out, as Learning without Forgetting does
    kind         `hard` takes the teacher's most likely class for the label instead (Touvron et al. 2021), at T = 1
    standardise  both logits to mean 0 and standard deviation 1 first (Sun et al. 2024); only their order and spacing count
    view         the rendering that both are shown

    Raises ConfigError for a temperature that is not positive, a negative weight, or standardised hard labels.
    """

    def __init__(
        self,
        task: str,
        teacher: Answers,
        *,
        head: str | None = None,
        temperature: float = 4.0,
        weight: float = 1.0,
        t_squared: bool = True,
        kind: str = "soft",
        standardise: bool = False,
        view: str = "main",
    ) -> None:
        super().__init__()
        faults = [*setting_faults(temperature=temperature, weight=weight)]
        if kind not in ("soft", "hard"):
            faults.append(f"kind={kind!r} is not one of 'soft', 'hard'")
        if kind == "hard" and standardise:
            faults.append("standardise=True changes no teacher's most likely class; use it with kind='soft'")
        problems(ConfigError, "distillation cannot be done as asked:", faults)
        self.tasks, self.heads = (task,), (head or task,)
        self.teacher, self.view = teacher, view
        self.temperature, self.weight, self.t_squared = temperature, weight, t_squared
        self.kind, self.standardise = kind, standardise

    def forward(self, step: StepLike) -> Tensor:
        student, teacher = self._pair(step)
        if self.kind == "hard":
            return self.weight * step.mean_all(hard_distillation(student, teacher))
        scale = self.weight * (self.temperature**2 if self.t_squared else 1.0)
        return scale * step.mean_all(soft_cross_entropy(student, teacher, self.temperature))

    @torch.no_grad()
    def kl(self, step: StepLike) -> Tensor:
        """Mean divergence of the student's answers from the teacher's at T: what is left to learn, unlike the loss."""
        return step.mean_all(soft_kl(*self._pair(step), temperature=self.temperature))

    def _pair(self, step: StepLike) -> tuple[Tensor, Tensor]:
        student, teacher = step.logits(self.heads[0], self.view), self.teacher.logits(step, self.view)
        same_classes(self.heads[0], student, teacher)
        return (standardise(student), standardise(teacher)) if self.standardise else (student, teacher)


def setting_faults(**given: float) -> list[str]:
    """What is wrong with named numbers: a `temperature` must be positive, everything else not negative; all finite."""
    faults = []
    for name, value in given.items():
        lowest = "greater than 0" if name == "temperature" else "0 or greater"
        if not math.isfinite(value) or value < 0 or (name == "temperature" and value == 0):
            faults.append(f"{name}={value} must be a number {lowest}")
    return faults
