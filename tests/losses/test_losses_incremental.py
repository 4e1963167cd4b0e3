"""Losses over heads side by side, against plain NumPy, one sample after the other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from headstart.losses.incremental import (
    cross_entropy_within,
    heads_of,
    sigmoid_cross_entropy,
    squared_error_where_known,
    within_head,
)

SIZES = (2, 3, 1)


def naive(
    logits: NDArray[np.float64], labels: NDArray[np.int64], sizes: tuple[int, ...], per_head: bool
) -> NDArray[np.float64]:
    losses = []
    for row, label in zip(logits, labels, strict=True):
        first, size = 0, sum(sizes)
        if per_head:
            for one in sizes:
                size = one
                if label < first + one:
                    break
                first += one
        own = row[first : first + size]
        losses.append(np.log(np.exp(own - own.max()).sum()) + own.max() - row[label])
    return np.array(losses)


def some(count: int = 12, seed: int = 0) -> tuple[Tensor, Tensor]:
    draw = np.random.default_rng(seed)
    logits = torch.from_numpy(draw.normal(0, 3, (count, sum(SIZES))))
    return logits, torch.from_numpy(np.arange(count) % sum(SIZES))


def test_which_head_a_label_belongs_to() -> None:
    labels = torch.arange(6)
    assert heads_of(labels, SIZES).tolist() == [0, 0, 1, 1, 1, 2]
    assert within_head(torch.tensor([3]), SIZES).tolist() == [[False, False, True, True, True, False]]


@pytest.mark.parametrize("per_head", [True, False])
def test_equals_one_sample_after_the_other(per_head: bool) -> None:
    logits, labels = some()
    found = cross_entropy_within(logits, labels, SIZES, per_head=per_head)
    np.testing.assert_allclose(found.numpy(), naive(logits.numpy(), labels.numpy(), SIZES, per_head), rtol=1e-12)


def test_two_classes_by_hand() -> None:
    logits = torch.tensor([[0.0, 1.0, 5.0, 5.0]], dtype=torch.float64)
    alone = cross_entropy_within(logits, torch.tensor([1]), (2, 2), per_head=True)
    together = cross_entropy_within(logits, torch.tensor([1]), (2, 2), per_head=False)
    assert alone.item() == pytest.approx(np.log(1 + np.exp(-1.0)))
    assert together.item() == pytest.approx(np.log(1 + np.exp(1.0) + 2 * np.exp(5.0)) - 1)


@pytest.mark.parametrize("per_head", [True, False])
def test_gradients(per_head: bool) -> None:
    logits, labels = some(6)
    logits.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda z: cross_entropy_within(z, labels, SIZES, per_head=per_head), (logits,))


def test_other_heads_get_no_gradient_and_may_be_anything() -> None:
    logits, labels = some()
    inside = within_head(labels, SIZES)
    broken = torch.where(inside, logits, torch.nan).requires_grad_(True)
    loss = cross_entropy_within(broken, labels, SIZES, per_head=True)
    assert torch.equal(loss.detach(), cross_entropy_within(logits, labels, SIZES, per_head=True))
    (grad,) = torch.autograd.grad(loss.sum(), broken)
    assert not grad[~inside].any()
    assert grad[inside].isfinite().all()


def test_float32_under_autocast_and_for_half_precision() -> None:
    logits, labels = some()
    half = logits.to(torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        found = cross_entropy_within(half, labels, SIZES, per_head=True)
    assert found.dtype == torch.float32
    expected = naive(half.double().numpy(), labels.numpy(), SIZES, True)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-5, atol=1e-6)


def test_sizes_must_add_up() -> None:
    with pytest.raises(ValueError, match="have 5 together, and there are 6"):
        cross_entropy_within(*some(), (2, 3), per_head=True)


def test_no_samples_give_no_losses() -> None:
    logits, labels = some()
    assert cross_entropy_within(logits[:0], labels[:0], SIZES, per_head=True).shape == (0,)


@given(seed=st.integers(0, 10_000), shift=st.floats(-1e4, 1e4), per_head=st.booleans())
@settings(max_examples=40, deadline=None)
def test_invariants(seed: int, shift: float, per_head: bool) -> None:
    """Not negative; a shift of all logits changes nothing; fewer rivals are never a larger loss; order is no matter."""
    logits, labels = some(seed=seed)
    loss = cross_entropy_within(logits, labels, SIZES, per_head=per_head)
    assert (loss >= 0).all()
    assert torch.allclose(loss, cross_entropy_within(logits + shift, labels, SIZES, per_head=per_head), atol=1e-7)
    assert (loss <= cross_entropy_within(logits, labels, SIZES, per_head=False) + 1e-12).all()
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(labels)))
    assert torch.equal(loss[order], cross_entropy_within(logits[order], labels[order], SIZES, per_head=per_head))
    extreme = cross_entropy_within(logits * 1e30, labels, SIZES, per_head=per_head)
    assert not extreme.isnan().any()


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_one_head_is_the_ordinary_cross_entropy(seed: int) -> None:
    logits, labels = some(seed=seed)
    expected = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    for per_head in (True, False):
        assert torch.allclose(cross_entropy_within(logits, labels, (6,), per_head=per_head), expected)


def test_squared_error_is_over_classes_that_existed() -> None:
    logits, _ = some(4)
    stored = torch.zeros_like(logits)
    stored[1, 3:] = torch.nan
    stored[2] = torch.nan
    found = squared_error_where_known(logits, stored)
    z = logits.numpy()
    expected = [np.mean(z[0] ** 2), np.mean(z[1, :3] ** 2), 0.0, np.mean(z[3] ** 2)]
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)
    logits.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x: squared_error_where_known(x, stored), (logits,))
    (grad,) = torch.autograd.grad(squared_error_where_known(logits, stored).sum(), logits)
    assert not grad[stored.isnan()].any()


def test_sigmoid_cross_entropy_is_the_sum_over_classes() -> None:
    logits, _ = some(5)
    targets = torch.from_numpy(np.random.default_rng(1).uniform(0, 1, tuple(logits.shape)))
    p = 1 / (1 + np.exp(-logits.numpy()))
    expected = -(targets.numpy() * np.log(p) + (1 - targets.numpy()) * np.log(1 - p)).sum(1)
    np.testing.assert_allclose(sigmoid_cross_entropy(logits, targets).numpy(), expected, rtol=1e-9)
    logits.requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x: sigmoid_cross_entropy(x, targets), (logits,))
    (grad,) = torch.autograd.grad(sigmoid_cross_entropy(logits, targets).sum(), logits)
    np.testing.assert_allclose(grad.numpy(), p - targets.numpy(), rtol=1e-9)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_sigmoid_cross_entropy_is_least_at_its_targets_and_finite_anywhere(seed: int) -> None:
    logits, _ = some(seed=seed)
    here = sigmoid_cross_entropy(logits, logits.sigmoid())
    moved = sigmoid_cross_entropy(logits + torch.randn_like(logits), logits.sigmoid())
    assert (here <= moved + 1e-9).all()
    assert sigmoid_cross_entropy(logits * 1e20, logits.sigmoid()).isfinite().all()
