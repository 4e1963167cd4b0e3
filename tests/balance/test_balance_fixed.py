"""A fixed weighted sum: its gradient is the weighted sum of the gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from headstart.balance.fixed import Fixed


def losses(w: nn.Parameter) -> dict[str, torch.Tensor]:
    return {"a": (w**2).sum(), "b": (3 * w).sum()}


@pytest.mark.parametrize("weights", [None, {"a": 0.5}, {"a": 2.0, "b": -1.0}, {"absent": 9.0}])
def test_gradient_is_the_weighted_sum(weights: dict[str, float] | None) -> None:
    w = nn.Parameter(torch.tensor([1.0, -2.0, 0.5]))
    used = Fixed(weights).backward(losses(w), {}, 0)
    a, b = ((weights or {}).get(name, 1.0) for name in ("a", "b"))
    assert used == {"a": a, "b": b}
    assert w.grad is not None
    torch.testing.assert_close(w.grad, a * 2 * w.detach() + b * 3)


def test_a_missing_loss_is_missing_and_gradients_add_up() -> None:
    w = nn.Parameter(torch.tensor([1.0]))
    assert Fixed({"a": 2.0}).backward({"b": 3 * w.sum()}, {}, 0) == {"b": 1.0}
    Fixed().backward({"a": (w**2).sum()}, {}, 1)
    assert w.grad is not None
    assert float(w.grad) == pytest.approx(3 + 2)


def test_a_weight_of_zero_is_as_good_as_absent() -> None:
    w, v = nn.Parameter(torch.tensor([1.0])), nn.Parameter(torch.tensor([1.0]))
    assert Fixed({"a": 0.0}).backward({"a": w.sum(), "b": v.sum()}, {}, 0) == {"a": 0.0, "b": 1.0}
    assert w.grad is None
    assert v.grad is not None
    assert Fixed({"a": 0.0}).backward({"a": w.sum()}, {}, 1) == {"a": 0.0}
    assert w.grad is None


def test_has_nothing_to_learn_or_save() -> None:
    assert not list(Fixed({"a": 2.0}).parameters())
    assert Fixed({"a": 2.0}).state_dict() == {}
