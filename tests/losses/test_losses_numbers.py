"""Losses of numbers and of several yes/no questions: closed forms, gradients, and what must hold for any logits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.losses.numbers import binary_cross_entropy, huber_error, squared_error

WIDE = torch.tensor([-3.0, -1.0, -0.25, 0.0, 0.5, 2.0], dtype=torch.float64)


def test_values_by_hand() -> None:
    zero = torch.zeros(6, dtype=torch.float64)
    assert squared_error(WIDE, zero).tolist() == [9, 1, 0.0625, 0, 0.25, 4]
    assert huber_error(WIDE, zero).tolist() == [2.5, 0.5, 0.03125, 0, 0.125, 1.5]
    assert huber_error(WIDE, zero, 0.5).tolist() == [1.375, 0.375, 0.03125, 0, 0.125, 0.875]
    with pytest.raises(ValueError, match="delta=0 must be positive"):
        huber_error(WIDE, zero, 0)


@given(st.floats(-50, 50), st.floats(0, 1), st.floats(0.1, 10))
@settings(max_examples=50, deadline=None)
def test_binary_cross_entropy_is_its_definition(logit: float, target: float, positive: float) -> None:
    given_, weight = torch.tensor([[logit]], dtype=torch.float64), torch.tensor([positive], dtype=torch.float64)
    found = binary_cross_entropy(given_, torch.tensor([[target]], dtype=torch.float64), positive=weight)
    yes, no = np.logaddexp(0, -logit), np.logaddexp(0, logit)  # -log sigma(z), -log (1 - sigma(z))
    assert float(found) == pytest.approx(positive * target * yes + (1 - target) * no, rel=1e-9, abs=1e-12)


def test_a_sure_answer_keeps_its_digits_and_never_overflows() -> None:
    logits = torch.tensor([[200.0, -200.0, 30.0]])
    found = binary_cross_entropy(logits, torch.tensor([[1, 1, 1]]))
    assert found.tolist()[0] == pytest.approx([0.0, 200.0, np.exp(-30.0)], rel=1e-6, abs=1e-45)


@pytest.mark.parametrize("delta", [0.4, 1.0])
def test_gradients(delta: float) -> None:
    draw = torch.Generator().manual_seed(0)
    p, y = torch.randn(2, 7, dtype=torch.float64, generator=draw)
    logits, labels = torch.randn(3, 4, dtype=torch.float64, generator=draw), torch.arange(12).view(3, 4) % 2
    assert torch.autograd.gradcheck(lambda x: squared_error(x, y), p.requires_grad_())
    assert torch.autograd.gradcheck(lambda x: huber_error(x, y, delta), p.requires_grad_())
    assert torch.autograd.gradcheck(lambda x: binary_cross_entropy(x, labels), logits.requires_grad_())


def test_half_precision_is_computed_in_full() -> None:
    p, y = torch.tensor([300.0, -1.5]).bfloat16(), torch.tensor([0.25, 0.5])
    assert squared_error(p, y).dtype == huber_error(p, y).dtype == torch.float32
    assert squared_error(p, y).tolist() == [(300 - 0.25) ** 2, 4.0]
    with torch.autocast("cpu", torch.bfloat16):
        assert binary_cross_entropy(p[None], y[None]).dtype == torch.float32
