"""The quadratic about old weights, against NumPy and its closed-form gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from headstart.losses.quadratic import pull, quadratic

SHAPES = ((3, 4), (5,), (2, 3, 3, 3))


def drawn(seed: int, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    draw = np.random.default_rng(seed)
    return [torch.from_numpy(draw.normal(size=shape)).to(dtype) for shape in SHAPES]


@pytest.mark.parametrize("anchored", [True, False])
@pytest.mark.parametrize("weighed", [True, False])
def test_value_and_gradient_are_those_of_the_formula(anchored: bool, weighed: bool) -> None:
    values, anchors, importances = drawn(1), drawn(2), [one.square() for one in drawn(3)]
    live = [one.clone().requires_grad_() for one in values]
    loss = quadratic(live, anchors if anchored else None, importances if weighed else None)
    expected, slopes = 0.0, []
    for theta, star, weight in zip(values, anchors, importances, strict=True):
        moved = theta.numpy() - (star.numpy() if anchored else 0.0)
        slopes.append(moved * (weight.numpy() if weighed else 1.0))
        expected += 0.5 * float((slopes[-1] * moved).sum())
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    found = torch.autograd.grad(3 * loss, live)
    for one, other, slope in zip(
        found, pull(values, anchors if anchored else None, importances if weighed else None), slopes, strict=True
    ):
        np.testing.assert_allclose(one.numpy(), 3 * slope, rtol=1e-12)
        np.testing.assert_allclose(other.numpy(), slope, rtol=1e-12)


def test_gradients_pass_a_numerical_check() -> None:
    live = [one.requires_grad_() for one in drawn(1)]
    anchors, importances = drawn(2), [one.square() for one in drawn(3)]
    assert torch.autograd.gradcheck(lambda *given: quadratic(given, anchors, importances), live)


def test_no_tensor_is_changed() -> None:
    values, anchors, importances = drawn(1), drawn(2), [one.square() for one in drawn(3)]
    before = [one.clone() for one in (*values, *anchors, *importances)]
    live = [one.requires_grad_() for one in values]
    torch.autograd.grad(quadratic(live, anchors, importances), live)
    pull(values, None, importances)
    for one, other in zip(before, (*values, *anchors, *importances), strict=True):
        assert torch.equal(one, other.detach())


def test_autocast_changes_nothing() -> None:
    live = [one.requires_grad_() for one in drawn(1, torch.float32)]
    plain = quadratic(live)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(quadratic(live), plain)
