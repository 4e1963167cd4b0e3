"""Losses over several heads: golden values, and independent NumPy on lists of classes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from headstart.errors import ConfigError
from headstart.terms.listed import OldAnswers, SideBySide, held_answer

NEW = torch.tensor([[1.0, -0.5, 2.0, 0.3], [0.2, 0.1, -1.0, 0.7]])
OLD = torch.tensor([[0.8, 0.0, 1.5, 0.1], [0.0, 0.5, -0.7, 0.9]])
GOLDEN = 1.320858


class Kept:
    """Answers that are always the same."""

    def __init__(self, logits: Tensor) -> None:
        self.given = logits

    def logits(self, step: Any, view: str = "main") -> Tensor:
        return self.given


class Answered:
    """A step on which two heads answer the halves of given logits."""

    def __init__(self, logits: Tensor, labels: Tensor | None = None) -> None:
        self.given, self.targets = logits, labels

    def logits(self, head: str, view: str = "main") -> Tensor:
        first = 2 * int(head == "b")
        return self.given[:, first : first + 2]

    def labels(self, task: str) -> Tensor:
        assert self.targets is not None
        return self.targets

    def mean(self, per_sample: Tensor, task: str) -> Tensor:
        known = self.labels(task) >= 0
        return (per_sample * known).sum() / known.sum()

    def mean_all(self, per_sample: Tensor) -> Tensor:
        return per_sample.mean()


def powered(logits: np.ndarray, temperature: float) -> np.ndarray:
    """The paper's own way: y^(1/T) / sum y^(1/T), from probabilities."""
    y = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return y ** (1 / temperature) / (y ** (1 / temperature)).sum(1, keepdims=True)


def naive(new: Tensor, old: Tensor, temperature: float, heads: list[slice]) -> float:
    new_, old_ = new.double().numpy(), old.double().numpy()
    return (
        float(sum(-(powered(old_[:, h], temperature) * np.log(powered(new_[:, h], temperature))).sum() for h in heads)) / 2
    )


def test_golden_value_of_the_paper_s_loss() -> None:
    term = OldAnswers("t", Kept(OLD), ("a", "b"))
    assert float(term(Answered(NEW))) == pytest.approx(GOLDEN, abs=1e-6)  # type: ignore[arg-type]
    assert naive(NEW, OLD, 2, [slice(0, 2), slice(2, 4)]) == pytest.approx(GOLDEN, abs=1e-6)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("one_list", [False, True])
def test_old_answers_are_the_naive_sum(temperature: float, one_list: bool) -> None:
    heads = [slice(0, 4)] if one_list else [slice(0, 2), slice(2, 4)]
    for squared in (False, True):
        term = OldAnswers(
            "t", Kept(OLD), ("a", "b"), one_list=one_list, temperature=temperature, weight=0.7, t_squared=squared
        )
        wanted = 0.7 * naive(NEW, OLD, temperature, heads) * (temperature**2 if squared else 1)
        assert float(term(Answered(NEW))) == pytest.approx(wanted, rel=1e-5)  # type: ignore[arg-type]


def test_the_gradient_vanishes_where_the_answers_are_the_old_ones() -> None:
    now = OLD.clone().requires_grad_()
    loss = OldAnswers("t", Kept(OLD), ("a", "b"))(Answered(now))  # type: ignore[arg-type]
    (gradient,) = torch.autograd.grad(loss, now)
    assert float(gradient.abs().max()) < 1e-7


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 5.0])
def test_absent_heads_have_probability_zero_among_all_classes(temperature: float) -> None:
    """NumPy from the definition: targets over all classes, of which the old answers fill the first."""
    now, before = NEW.double(), OLD.double()[:, :2]
    term = OldAnswers("t", Kept(before), ("a",), one_list=True, absent=("b",), temperature=temperature, weight=0.7)
    target = np.concatenate([powered(before.numpy(), temperature), np.zeros((2, 2))], 1)
    wanted = 0.7 * -(target * np.log(powered(now.numpy(), temperature))).sum(1).mean()
    assert term.heads == ("a", "b")
    assert float(term(Answered(now))) == pytest.approx(wanted, rel=1e-12)  # type: ignore[arg-type]


def test_absent_heads_are_pushed_down_and_nothing_else_is_said_of_them() -> None:
    """In closed form: ln C where all logits are equal, and a gradient of (softmax(z / T) - p) / T."""
    flat = torch.zeros(3, 4, dtype=torch.float64, requires_grad=True)
    term = OldAnswers("t", Kept(OLD.double()[:1, :2].expand(3, 2)), ("a",), one_list=True, absent=("b",), temperature=2.0)
    loss = term(Answered(flat))  # type: ignore[arg-type]
    assert float(loss.detach()) == pytest.approx(np.log(4), rel=1e-12)
    (gradient,) = torch.autograd.grad(loss, flat)
    p = torch.softmax(OLD.double()[0, :2] / 2, 0)
    wanted = (torch.full((4,), 0.25, dtype=torch.float64) - torch.cat([p, torch.zeros(2, dtype=torch.float64)])) / 2 / 3
    torch.testing.assert_close(gradient, wanted.expand(3, 4), rtol=1e-12, atol=0)
    assert (gradient[:, 2:] > 0).all()
    old_alone = OldAnswers("t", Kept(OLD.double()[:1, :2].expand(3, 2)), ("a",), one_list=True, temperature=2.0)
    (other,) = torch.autograd.grad(old_alone(Answered(flat)), flat)  # type: ignore[arg-type]
    assert not other[:, 2:].any()


def test_old_answers_with_absent_heads_hold_also_where_these_are_far_away() -> None:
    far = torch.cat([OLD[:, :2], torch.tensor([[1e4, -1e4], [-1e4, 1e4]])], 1).requires_grad_()
    loss = OldAnswers("t", Kept(OLD[:, :2]), ("a",), one_list=True, absent=("b",))(Answered(far))  # type: ignore[arg-type]
    assert torch.isfinite(torch.autograd.grad(loss, far)[0]).all()


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"absent": ("b",)}, "one_list=True"),
        ({"temperature": 0.0}, "temperature"),
        ({"weight": -1.0}, "weight"),
        ({"heads": ()}, "no old heads"),
    ],
)
def test_settings_that_cannot_be(more: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        OldAnswers("t", Kept(OLD), more.pop("heads", ("a", "b")), **more)


def test_answers_about_other_classes_are_refused() -> None:
    with pytest.raises(ConfigError, match="3 classes"):
        OldAnswers("t", Kept(OLD[:, :3]), ("a", "b"))(Answered(NEW))  # type: ignore[arg-type]


@pytest.mark.parametrize("per_head", [True, False])
@pytest.mark.parametrize("weights", [None, (1.0, 2.0, 0.5, 3.0)])
def test_side_by_side_is_the_naive_mean(per_head: bool, weights: tuple[float, ...] | None) -> None:
    logits = torch.cat([NEW, OLD])
    labels = torch.tensor([0, 3, -1, 2])
    rows = logits.double().numpy()
    total = 0.0
    for row, label in zip(rows, labels.tolist(), strict=True):
        if label < 0:
            continue
        first, end = (0, 4) if not per_head else (0, 2) if label < 2 else (2, 4)
        log_p = row[label] - np.log(np.exp(row[first:end]).sum())
        total -= log_p * (1.0 if weights is None else weights[label])
    term = SideBySide("t", ("a", "b"), (2, 2), per_head=per_head, class_weights=weights)
    assert float(term(Answered(logits, labels))) == pytest.approx(total / 3, rel=1e-5)  # type: ignore[arg-type]


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_several_answers_are_held_by_sigmoids_and_numbers_by_squared_error(temperature: float) -> None:
    term = OldAnswers("t", Kept(OLD), ("a", "b"), kinds=("several", "classes"), temperature=temperature, weight=0.7)
    new, old = NEW.double().numpy(), OLD.double().numpy()
    p, q = (1 / (1 + np.exp(-z[:, :2] / temperature)) for z in (old, new))
    several = -(p * np.log(q) + (1 - p) * np.log(1 - q)).sum(1).mean()
    wanted = 0.7 * (several + naive(NEW, OLD, temperature, [slice(2, 4)]))
    assert float(term(Answered(NEW))) == pytest.approx(wanted, rel=1e-5)  # type: ignore[arg-type]
    one, two = torch.tensor([[1.0], [3.0]]), torch.tensor([[0.5], [5.0]])
    assert held_answer("number", one, two, temperature).tolist() == [0.25, 4.0]


def test_old_answers_of_any_kind_have_a_gradient_of_zero_where_nothing_has_changed() -> None:
    for kind, width in (("classes", 3), ("yes_no", 2), ("several", 4), ("number", 1)):
        before = torch.linspace(-2, 3, 5 * width).reshape(5, width).double()
        now = before.clone().requires_grad_()
        held_answer(kind, now, before, 2.0).sum().backward()  # type: ignore[arg-type]
        assert now.grad is not None
        assert float(now.grad.abs().max()) < 1e-6


def test_kinds_that_cannot_be_are_refused() -> None:
    with pytest.raises(ConfigError, match="give the kind of each"):
        OldAnswers("t", Kept(OLD), ("a", "b"), kinds=("several",))
    with pytest.raises(ConfigError, match="only heads that answer with one class make one list"):
        OldAnswers("t", Kept(OLD), ("a", "b"), kinds=("several", "classes"), one_list=True)
