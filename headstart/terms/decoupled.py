"""Decoupled distillation: the right class and the others weighed apart."""

from __future__ import annotations

from torch import Tensor

from headstart.errors import ConfigError, problems
from headstart.losses.decoupled import nckd, tckd
from headstart.terms.base import StepLike, Term
from headstart.terms.distill import setting_faults
from headstart.terms.teacher import Answers, same_classes


class Decoupled(Term):
    """weight * T^2 * mean over samples whose label is known of alpha tckd + beta nckd (Zhao et al. 2022, eq. 7).

    alpha, beta  the paper keeps alpha = 1 and takes beta by the teacher: 8 for most on CIFAR-100, 0.5 on ImageNet, larger
                 the surer the teacher is

    Unlike the authors' code it is not faded in over the first 20 epochs: the stage's own warm-up does that. It needs one
    label per sample: mixed images, and unlabelled ones by themselves, have none. Raises ConfigError for settings out of
    range and mixed labels.
    """

    def __init__(
        self,
        task: str,
        teacher: Answers,
        *,
        head: str | None = None,
        alpha: float = 1.0,
        beta: float = 8.0,
        temperature: float = 4.0,
        weight: float = 1.0,
        t_squared: bool = True,
        view: str = "main",
    ) -> None:
        super().__init__()
        faults = setting_faults(temperature=temperature, weight=weight, alpha=alpha, beta=beta)
        problems(ConfigError, "decoupled distillation cannot be done as asked:", faults)
        self.tasks, self.heads = (task,), (head or task,)
        self.teacher, self.view = teacher, view
        self.alpha, self.beta, self.temperature = alpha, beta, temperature
        self.scale = weight * (temperature**2 if t_squared else 1.0)

    def forward(self, step: StepLike) -> Tensor:
        student, teacher = step.logits(self.heads[0], self.view), self.teacher.logits(step, self.view)
        same_classes(self.heads[0], student, teacher)
        labels = step.labels(self.tasks[0])
        if labels.ndim > 1:
            raise ConfigError("decoupled distillation needs one label per image; train without mixup, or leave it out")
        known = labels.clamp(min=0)
        right, others = (part(student, teacher, known, self.temperature) for part in (tckd, nckd))
        return self.scale * step.mean(self.alpha * right + self.beta * others, self.tasks[0])
