"""Whether a file of a model for several questions answers each of them as PyTorch does, and what int8 costs each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.task import valid
from headstart.engine.multi_answers import SURE, Question
from headstart.export.parity import SMALLEST, TOLERANCE, Answers
from headstart.metrics.measured import measure

ROUNDED = 1e-5
"""Share of a number that its rounding may make, where it varies by less than that."""
LEAST = 1e-20
"""Probabilities below it are zero for all that is known of them."""
MEASURE = {"classes": "accuracy", "yes_no": "balanced_accuracy", "several": "average_precision"}
"""What a question's answers are measured by; numbers by `mean_absolute_error`."""


@dataclass(frozen=True)
class Gap:
    """How far two programs agree on one question.

    largest    difference of a probability, or of a number
    logarithm  difference of a probability's logarithm, which is of a logit's size also where an answer is sure; of numbers
               `largest` again
    scale      what that is measured by: the largest logarithm, or by how much numbers differ from their mean at most
    agreement  share of the images given the same class (several questions: of all their answers); None for numbers
    """

    task: str
    kind: str
    largest: float
    logarithm: float
    scale: float
    agreement: float | None

    @property
    def holds(self) -> bool:
        """Whether the difference is that of rounding."""
        return self.logarithm <= TOLERANCE * self.scale

    def __str__(self) -> str:
        same = "" if self.agreement is None else f", the same answer on {100 * self.agreement:.2f} %"
        of = f" (of {self.scale:.3g})" if self.agreement is None else ""
        return f"{self.task} by {self.largest:.2g}{of}{same}"


@dataclass(frozen=True)
class TaskParity:
    """How far two programs agree on all questions, on `images` from `where` (None: noise)."""

    images: int
    where: str | None
    tasks: tuple[Gap, ...]

    @property
    def holds(self) -> bool:
        """Whether all differences are those of rounding."""
        return all(one.holds for one in self.tasks)

    def to_json(self) -> dict[str, Any]:
        """As plain numbers."""
        return {**asdict(self), "tasks": [asdict(one) for one in self.tasks]}

    def __str__(self) -> str:
        on = f"{self.images} images of {self.where}" if self.where else f"{self.images} pictures of noise (no --images)"
        return f"parity with PyTorch on {on}, largest differences: " + "; ".join(map(str, self.tasks))


def task_parity(questions: Sequence[Question], before: Answers, after: Answers, where: str | None) -> TaskParity:
    """Compare two programs' answers to the same images, question by question."""
    gaps = [_gap(one, ours, theirs) for one, ours, theirs in zip(questions, before, after, strict=True)]
    return TaskParity(len(before[0]), where, tuple(gaps))


def _gap(question: Question, ours: NDArray[Any], theirs: NDArray[Any]) -> Gap:
    finite = bool(np.isfinite(theirs).all())
    largest = float(np.abs(ours - theirs).max()) if finite else float("inf")
    if question.kind == "number":
        top = float(np.abs(ours).max())
        scale = max(float(np.abs(ours - ours.mean()).max()), ROUNDED / TOLERANCE * top) or 1.0
        return Gap(question.name, question.kind, largest, largest, scale, None)
    one, two = (np.log(np.maximum(values, LEAST)) for values in (ours, theirs))
    apart = float(np.abs(one - two).max()) if finite else float("inf")
    same = float((chosen(question, ours) == chosen(question, theirs)).mean())
    return Gap(question.name, question.kind, largest, apart, max(float(np.abs(one).max()), SMALLEST), same)


def chosen(question: Question, values: NDArray[Any]) -> NDArray[Any]:
    """What is answered: `[N]` classes, `[N, L]` yes or no, or the numbers themselves."""
    if question.kind == "number":
        return values
    return np.asarray(values > SURE if question.kind == "several" else values.argmax(1))


@dataclass(frozen=True)
class TaskCost:
    """What int8 costs one question.

    measure        name in `metrics.measured.MEASURES`; None where no label is known
    before, after  its values
    lost           where labels are known how much of the measure; without them the share of answers that changed, which is
                   at least as much of an accuracy. Of a number always by how much it changed on average, in standard
                   deviations of the numbers answered
    """

    task: str
    measure: str | None
    before: float | None
    after: float | None
    lost: float

    def __str__(self) -> str:
        if self.measure is None or self.before is None or self.after is None:
            return f"{self.task} {100 * self.lost:.2f} %"
        return f"{self.task} {100 * self.lost:.2f} % ({self.measure} {self.before:.3f} before, {self.after:.3f} after)"


@dataclass(frozen=True)
class TaskLoss:
    """What int8 costs a model for several questions, on images it was not calibrated with; `lost` is the largest loss."""

    images: int
    tasks: tuple[TaskCost, ...]

    @property
    def lost(self) -> float:
        return max(one.lost for one in self.tasks)

    def to_json(self) -> dict[str, Any]:
        """As plain numbers."""
        return {"images": self.images, "lost": self.lost, "tasks": [asdict(one) for one in self.tasks]}

    def __str__(self) -> str:
        return f"int8 on {self.images} images loses: " + "; ".join(map(str, self.tasks))


def task_loss(
    questions: Sequence[Question], before: Answers, after: Answers, truths: Mapping[str, NDArray[Any]] | None
) -> TaskLoss:
    """What the second program loses; `truths` by question, unknown where they are not known."""
    costs = [
        _cost(one, ours, theirs, (truths or {}).get(one.name))
        for one, ours, theirs in zip(questions, before, after, strict=True)
    ]
    return TaskLoss(len(before[0]), tuple(costs))


def _cost(question: Question, ours: NDArray[Any], theirs: NDArray[Any], truth: NDArray[Any] | None) -> TaskCost:
    name, first = measured(question, ours, truth)
    _, second = measured(question, theirs, truth)
    if question.kind == "number":
        spread = float(ours.std()) or 1.0
        return TaskCost(question.name, name, first, second, float(np.abs(ours - theirs).mean()) / spread)
    if first is not None and second is not None:
        return TaskCost(question.name, name, first, second, first - second)
    changed = float((chosen(question, ours) != chosen(question, theirs)).mean())
    return TaskCost(question.name, None, None, None, changed)


def measured(question: Question, values: NDArray[Any], truth: NDArray[Any] | None) -> tuple[str | None, float | None]:
    """Name and value of the question's measure on the images with a known label; None where it is not defined on them."""
    if truth is None or not (known := _known(truth)).any():
        return None, None
    name = MEASURE.get(question.kind, "mean_absolute_error")
    said = values if question.kind in ("several", "number") else chosen(question, values)
    value = measure(name, truth[known], said[known])
    return (name, value) if np.isfinite(value) else (None, None)


def _known(truth: NDArray[Any]) -> NDArray[np.bool_]:
    there = valid(truth)
    return np.asarray(there.any(1) if there.ndim == 2 else there, np.bool_)
