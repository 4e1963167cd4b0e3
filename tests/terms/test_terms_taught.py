"""What a student learns of each kind of question from its teacher: closed forms, and labels that are not there."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from headstart.errors import ConfigError
from headstart.terms.base import Term
from headstart.terms.taught import Taught, soft_answer

KINDS = (("classes", 3), ("yes_no", 2), ("several", 4), ("number", 1))


class Kept:
    """A teacher that says the same always."""

    def __init__(self, logits: Tensor) -> None:
        self.given = logits

    def logits(self, step: Any, view: str = "main") -> Tensor:
        return self.given


class Step:
    """A step on which one head answers with given logits."""

    def __init__(self, logits: Tensor) -> None:
        self.given = logits

    def logits(self, head: str, view: str = "main") -> Tensor:
        return self.given

    def mean_all(self, per_sample: Tensor) -> Tensor:
        return per_sample.mean()


class Hard(Term):
    """A loss of labels that is always 3, of a task whose labels may all be missing."""

    def __init__(self, *, missing: bool = False) -> None:
        super().__init__()
        self.tasks, self.missing = ("q",), missing

    def forward(self, step: Any) -> Tensor:
        assert not self.missing
        return torch.tensor(3.0)

    def absent(self, step: Any) -> bool:
        return self.missing


def outputs(width: int, seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(5, width))).double()


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_soft_losses_against_numpy(temperature: float) -> None:
    t = temperature
    s, z = outputs(3, 0).numpy(), outputs(3, 1).numpy()
    p, q = (np.exp(x / t) / np.exp(x / t).sum(1, keepdims=True) for x in (z, s))
    np.testing.assert_allclose(
        soft_answer("classes", outputs(3, 0), outputs(3, 1), t), t**2 * (p * np.log(p / q)).sum(1), rtol=1e-5
    )
    p, q = (1 / (1 + np.exp(-x / t)) for x in (z, s))
    kl = p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))
    np.testing.assert_allclose(soft_answer("several", outputs(3, 0), outputs(3, 1), t), t**2 * kl.mean(1), rtol=1e-4)
    one, two = outputs(1, 0), outputs(1, 1)
    np.testing.assert_allclose(soft_answer("number", one, two, t), ((one - two) ** 2)[:, 0], rtol=1e-6)


@pytest.mark.parametrize(("kind", "width"), KINDS)
def test_a_student_that_says_the_same_has_nothing_to_learn(kind: str, width: int) -> None:
    z = outputs(width, 2)
    now = z.clone().requires_grad_()
    loss = soft_answer(kind, now, z, 4.0)  # type: ignore[arg-type]
    (slope,) = torch.autograd.grad(loss.sum(), now)
    assert float(loss.detach().abs().max()) < 1e-5
    assert float(slope.abs().max()) < 1e-5


def test_labels_and_teacher_share_the_loss_and_missing_labels_leave_the_teacher_alone() -> None:
    step, kept = Step(outputs(3, 0)), Kept(outputs(5, 1))
    soft = float(soft_answer("classes", outputs(3, 0), outputs(5, 1)[:, 1:4], 4.0).mean())

    def loss(**how: Any) -> float:
        return float(Taught("q", "classes", kept, (1, 4), **how)(step))

    assert loss(hard=Hard(), share=0.9) == pytest.approx(0.9 * soft + 0.1 * 3)
    assert loss(hard=Hard(missing=True), share=0.9) == pytest.approx(0.9 * soft)
    assert loss(hard=None, share=0.9) == pytest.approx(soft)
    assert Taught("q", "classes", kept, (1, 4), hard=Hard()).tasks == ("q",)
    with pytest.raises(ConfigError, match=r"share=1\.5: at most 1"):
        loss(hard=None, share=1.5)


def test_a_number_is_compared_in_the_student_s_unit() -> None:
    """40 + 5 t and 30 + 10 s are equal numbers where s = t / 2 + 1."""
    theirs = outputs(1, 3)
    term = Taught("q", "number", Kept(theirs), (0, 1), hard=None, unit=(0.5, 1.0))
    assert float(term(Step(theirs / 2 + 1))) == pytest.approx(0)
    assert float(term(Step(theirs / 2 + 3))) == pytest.approx(4)
