"""Losses over several heads at once, whose classes stand side by side in one list."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from headstart.catalog.kinds import Kind
from headstart.errors import ConfigError, problems
from headstart.losses.classification import cross_entropy
from headstart.losses.distillation import soft_cross_entropy
from headstart.losses.incremental import cross_entropy_within
from headstart.losses.numbers import binary_cross_entropy, squared_error
from headstart.terms.base import StepLike, Term
from headstart.terms.distill import setting_faults
from headstart.terms.teacher import Answers


class OldAnswers(Term):
    """weight * sum over heads of the mean over samples of CE(softmax(before / T), softmax(now / T)).

    Learning without Forgetting, eq. 2 to 5 (Li & Hoiem 2016): what the old heads said before training is what they are to
    say afterwards. y^(1/T) / sum y^(1/T), as the paper writes it, is softmax(z / T). Over all samples, labelled or not.

    answers      `[B, C]` logits of all `heads` side by side, in their order
    heads        old heads that keep their answers
    one_list     False: a softmax for every head (the task is known when answering); True: one over the classes of all
    absent       heads that the answers kept say nothing of, because they came later. Their classes stand in the one list
                 behind the old ones, and their probability is to be zero, as in the class-incremental use of van de Ven &
                 Tolias 2019 (which the paper does not treat): then the old answers hold new classes down
    temperature  T
    weight       lambda_o
    t_squared    multiply by T^2, which the paper does not
    view         rendering that the net answers on
    kinds        of question that each old head answers; none: all with one class. Several yes/no questions are held by
                 sigmoid targets, the sum over questions of CE(sigmoid(before / T), sigmoid(now / T)), as the paper adds up
                 over the labels of a multi-label task; a number by the squared error of the standardised outputs (the paper
                 has no numbers; T and T^2 do not touch it)

    Raises ConfigError for no heads, a temperature that is not positive, a negative weight, or absent heads without one list;
    and in a step when `answers` are about another number of classes than the heads.
    """

    def __init__(
        self,
        task: str,
        answers: Answers,
        heads: Sequence[str],
        *,
        one_list: bool = False,
        absent: Sequence[str] = (),
        temperature: float = 2.0,
        weight: float = 1.0,
        t_squared: bool = False,
        view: str = "main",
        kinds: Sequence[Kind] = (),
    ) -> None:
        super().__init__()
        faults = setting_faults(temperature=temperature, weight=weight)
        self.kinds: tuple[Kind, ...] = tuple(kinds) or tuple("classes" for _ in heads)
        if len(self.kinds) != len(heads):
            faults.append(f"kinds={self.kinds}: {len(heads)} old heads; give the kind of each")
        if one_list and not set(self.kinds) <= {"classes", "yes_no"}:
            faults.append(f"kinds={self.kinds}: only heads that answer with one class make one list")
        if not heads:
            faults.append("there are no old heads whose answers could be kept")
        if absent and not one_list:
            faults.append(f"absent={tuple(absent)}: only in one list do they stand beside old classes; use one_list=True")
        problems(ConfigError, "old answers cannot be kept as asked:", faults)
        self.tasks, self.heads, self.known = (task,), (*heads, *absent), len(heads)
        self.answers, self.view, self.one_list = answers, view, one_list
        self.temperature, self.factor = temperature, weight * (temperature**2 if t_squared else 1.0)

    def forward(self, step: StepLike) -> Tensor:
        now = [step.logits(name, self.view) for name in self.heads]
        before = self.answers.logits(step, self.view)
        sizes = [logits.shape[1] for logits in now[: self.known]]
        if sum(sizes) != before.shape[1]:
            raise ConfigError(
                f"the answers kept are about {before.shape[1]} classes, heads {list(self.heads[: self.known])} about "
                f"{sizes}; record them again with the heads in this order"
            )
        if self.one_list:
            listed = torch.cat(now, 1)
            # A logit of minus infinity is a probability of zero.
            padded = functional.pad(before, (0, listed.shape[1] - before.shape[1]), value=-torch.inf)
            each = [soft_cross_entropy(listed, padded, self.temperature)]
        else:
            pairs = zip(self.kinds, now, torch.split(before, sizes, 1), strict=True)
            each = [held_answer(kind, new, old, self.temperature) for kind, new, old in pairs]
        return self.factor * step.mean_all(torch.stack(each).sum(0))


def held_answer(kind: Kind, now: Tensor, before: Tensor, temperature: float) -> Tensor:
    """`[B]` how far outputs of a head `[B, C]` are from those it had before, see `OldAnswers`."""
    if kind == "number":
        return squared_error(now[:, 0], before[:, 0])
    if kind == "several":
        return binary_cross_entropy(now / temperature, torch.sigmoid(before.float() / temperature)).sum(1)
    return soft_cross_entropy(now, before, temperature)


class SideBySide(Term):
    """Mean cross-entropy of samples of several tasks, whose labels count in one list over the heads.

    heads          in the order of the list
    sizes          classes of each
    per_head       True: the softmax is over the label's own head; False: over the whole list
    smoothing      label smoothing over the whole list; ConfigError with `per_head`, where it would name other tasks' classes
    class_weights  one factor per class of the list, or None
    """

    weight: Tensor | None

    def __init__(
        self,
        task: str,
        heads: Sequence[str],
        sizes: Sequence[int],
        *,
        per_head: bool,
        smoothing: float = 0.0,
        class_weights: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if per_head and smoothing:
            raise ConfigError(f"smoothing={smoothing} spreads labels over the classes of other tasks; use smoothing=0")
        self.smoothing = smoothing
        self.tasks, self.heads, self.sizes, self.per_head = (task,), tuple(heads), tuple(sizes), per_head
        weight = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float32)
        self.register_buffer("weight", weight)

    def forward(self, step: StepLike) -> Tensor:
        task = self.tasks[0]
        logits = torch.cat([step.logits(name) for name in self.heads], 1)
        labels = step.labels(task)
        labels = labels.clamp(min=0) if labels.ndim == 1 else labels
        if not self.per_head:
            return step.mean(cross_entropy(logits, labels, smoothing=self.smoothing, weight=self.weight), task)
        loss = cross_entropy_within(logits, labels, self.sizes, per_head=True)
        return step.mean(loss if self.weight is None else loss * self.weight[labels], task)
