"""Decoupled distillation against its definition, and how its two parts make up the whole."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.losses.decoupled import nckd, tckd
from headstart.losses.distillation import soft_kl
from tests.losses import naive


def reference(s: naive.Array, t: naive.Array, labels: list[int], temperature: float) -> naive.Array:
    """Zhao et al. 2022, eqs. 1-5."""
    out = []
    for ours, theirs, y in zip(s, t, labels, strict=True):
        q, p = naive.softmax(ours, temperature), naive.softmax(theirs, temperature)
        rest_q, rest_p = (np.delete(v, y) / (1 - v[y]) for v in (q, p))
        binary = naive.kl(np.array([p[y], 1 - p[y]]), np.array([q[y], 1 - q[y]]))
        out.append([binary, naive.kl(rest_p, rest_q)])
    return np.array(out)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_equals_its_definition(temperature: float) -> None:
    s, t = naive.two(6, 5)
    labels = [0, 1, 2, 3, 4, 2]
    x, y, z = torch.from_numpy(s), torch.from_numpy(t), torch.tensor(labels)
    found = torch.stack([tckd(x, y, z, temperature), nckd(x, y, z, temperature)], 1)
    np.testing.assert_allclose(found.numpy(), reference(s, t, labels, temperature), rtol=1e-8)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 8), st.floats(0.5, 20))
def test_the_two_parts_make_up_the_divergence(seed: int, classes: int, temperature: float) -> None:
    """KL = tckd + (1 - p_y) nckd (eq. 5), for any label; and no class's name matters."""
    s, t = naive.two(4, classes, seed=seed)
    draw = np.random.default_rng(seed)
    labels = torch.from_numpy(draw.integers(0, classes, 4))
    x, y = torch.from_numpy(s), torch.from_numpy(t)
    surely = torch.softmax(y / temperature, 1).gather(1, labels[:, None])[:, 0]
    whole = tckd(x, y, labels, temperature) + (1 - surely) * nckd(x, y, labels, temperature)
    torch.testing.assert_close(whole, soft_kl(x, y, temperature), rtol=1e-7, atol=1e-10)
    order = torch.from_numpy(draw.permutation(classes))
    for loss in (tckd, nckd):
        moved = loss(x[:, order] + 7, y[:, order], torch.argsort(order)[labels], temperature)
        torch.testing.assert_close(moved, loss(x, y, labels, temperature), rtol=1e-7, atol=1e-10)


def test_two_classes_have_no_others() -> None:
    x, y = (torch.from_numpy(z) for z in naive.two(5, 2))
    labels = torch.tensor([0, 1, 0, 1, 1])
    assert (nckd(x, y, labels, 4.0) == 0).all()
    torch.testing.assert_close(tckd(x, y, labels, 4.0), soft_kl(x, y, 4.0))


def test_the_second_part_does_not_fade_when_the_teacher_is_sure() -> None:
    x, y = (torch.from_numpy(z) for z in naive.two(5, 4))
    labels = torch.zeros(5, dtype=torch.long)
    sure = y.clone()
    sure[:, 0] += 60
    torch.testing.assert_close(nckd(x, sure, labels, 2.0), nckd(x, y, labels, 2.0))


@pytest.mark.parametrize("loss", [tckd, nckd])
def test_gradcheck(loss: object) -> None:
    leaves, labels = naive.tensors(*naive.two(3, 4)), torch.tensor([3, 0, 1])
    assert callable(loss)
    assert torch.autograd.gradcheck(lambda s, t: loss(s, t, labels, 4.0), leaves)


@pytest.mark.parametrize("loss", [tckd, nckd])
def test_extreme_logits_and_half_precision(loss: object) -> None:
    assert callable(loss)
    rows = torch.tensor([[1e30, -1e30, 0.0], [0.0, 0.0, 1e30]], requires_grad=True)
    for labels in (torch.tensor([0, 1]), torch.tensor([2, 2])):
        found = loss(rows, rows.detach().flip(0), labels, 4.0)
        assert torch.isfinite(found).all()
        assert torch.isfinite(torch.autograd.grad(found.sum(), rows)[0]).all()
    with torch.autocast("cpu", torch.bfloat16):
        assert loss(rows.bfloat16(), rows.bfloat16(), torch.tensor([0, 1]), 4.0).dtype == torch.float32
