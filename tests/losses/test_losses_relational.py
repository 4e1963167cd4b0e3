"""Relational distillation against loops over pairs and triples, and what leaves it unchanged."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.losses.relational import angle, distance
from tests.losses import naive

LOSSES = [distance, angle]


@pytest.mark.parametrize(("loss", "reference"), [(distance, naive.relational_distance), (angle, naive.relational_angle)])
@pytest.mark.parametrize("n", [3, 4, 9])
def test_equals_its_definition(loss: object, reference: object, n: int) -> None:
    """With more features than samples and with fewer, which are computed in two ways."""
    draw = np.random.default_rng(n)
    s, t = draw.normal(size=(n, 3)), draw.normal(2, 5, size=(n, 8))
    assert callable(loss)
    assert callable(reference)
    found = loss(torch.from_numpy(s), torch.from_numpy(t))
    assert found.shape == (n,)
    np.testing.assert_allclose(float(found.mean()), reference(s, t), rtol=1e-10)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.integers(3, 6), st.floats(0.01, 100), st.floats(-100, 100))
def test_moving_turning_and_scaling_everything_changes_nothing(seed: int, n: int, scale: float, shift: float) -> None:
    draw = np.random.default_rng(seed)
    s, t = draw.normal(size=(n, 4)), draw.normal(size=(n, 5))
    turn = np.linalg.qr(draw.normal(size=(4, 4)))[0]
    x, y = torch.from_numpy(s), torch.from_numpy(t)
    moved, order = torch.from_numpy(scale * s @ turn + shift), torch.from_numpy(draw.permutation(n))
    for loss in LOSSES:
        close = {"rtol": 1e-6, "atol": 1e-9}
        torch.testing.assert_close(loss(moved, y), loss(x, y), **close)
        torch.testing.assert_close(loss(x[order], y[order]), loss(x, y)[order], **close)
        assert loss(x, moved).abs().max() < 1e-9, "alike in shape, hence no loss"


@pytest.mark.parametrize("loss", LOSSES)
def test_gradcheck(loss: object) -> None:
    draw = np.random.default_rng(0)
    leaves = naive.tensors(draw.normal(size=(4, 3)), draw.normal(size=(4, 6)))
    assert callable(loss)
    assert torch.autograd.gradcheck(loss, leaves)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_samples_have_no_relations(loss: object, n: int) -> None:
    x = torch.ones(n, 3, requires_grad=True)
    assert callable(loss)
    found = loss(x, torch.ones(n, 2))
    assert found.shape == (n,)
    assert (found == 0).all()
    assert torch.autograd.grad(found.sum(), x)[0].shape == x.shape


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("more", [0, 6])
def test_samples_at_one_place_give_finite_gradients(loss: object, more: int) -> None:
    """Dead units make equal features, and the derivative of a length at zero is none."""
    x = torch.tensor(
        [[1.0, 2] + [0] * more, [1, 2] + [0] * more, [0, 0] + [0] * more, [3, 1] + [0] * more], requires_grad=True
    )
    y = torch.tensor([[0.0, 1], [2, 2], [5, 0], [3, 1]])
    assert callable(loss)
    for ours in (x, x * 0):
        found = loss(ours, y)
        assert torch.isfinite(found).all()
        assert torch.autograd.grad(found.sum(), x)[0].abs().max() < 1e3


@pytest.mark.parametrize("loss", LOSSES)
def test_autocast_does_not_round(loss: object) -> None:
    draw = np.random.default_rng(0)
    x, y = (torch.from_numpy(draw.normal(size=(6, 8))).float() for _ in range(2))
    assert callable(loss)
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(x, y)
    assert found.dtype == torch.float32
    assert torch.equal(found, loss(x, y))


def test_angles_between_samples_close_to_each_other_are_not_lost_in_rounding() -> None:
    draw = np.random.default_rng(0)
    s, t = draw.normal(5, 1, size=(8, 32)), draw.normal(size=(8, 32))
    s[1] = s[0] + 1e-3 * draw.normal(size=32)
    x, y = torch.from_numpy(s).float(), torch.from_numpy(t).float()
    torch.testing.assert_close(angle(x, y), angle(x.double(), y.double()).float(), rtol=1e-4, atol=1e-6)
