"""GradNorm's update against equation 2 in NumPy, and what it promises."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from headstart.balance.gradnorm import GradNorm
from headstart.errors import ConfigError
from tests.balance.helpers import linear, parameter

Wide = NDArray[np.float64]


def naive(w: Wide, norms: Wide, losses: Wide, first: Wide, alpha: float, rate: float) -> Wide:
    """One step of algorithm 1 of Chen et al. 2018, all tasks present; the derivative by hand."""
    g = w * norms
    share = losses / first
    target = g.mean() * (share / share.mean()) ** alpha
    moved: Wide = w - rate * np.sign(g - target) * norms
    moved = np.maximum(moved, 1e-3)
    return moved * w.sum() / moved.sum()


def test_one_step_by_hand() -> None:
    """Gradients of length 5 and 1 from equal starts: mean 3, so w = (1 - .1 * 5, 1 + .1 * 1) = (.5, 1.1), scaled to 2."""
    w = parameter(2)
    balance = GradNorm(("a", "b"), [w], rate=0.1)
    losses = linear(w, {"a": (3.0, 4.0), "b": (0.0, 1.0)}, {"a": 2.0, "b": 7.0})
    assert balance.backward(losses, {"shared": [w]}, 0) == {"a": 1.0, "b": 1.0}
    assert balance.weight.tolist() == pytest.approx([2 * 0.5 / 1.6, 2 * 1.1 / 1.6])
    assert balance.first.tolist() == [2.0, 7.0]
    assert w.grad is not None
    assert w.grad.tolist() == [3, 5]  # the losses' own gradients, at the weights of the step, and nothing else


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.5])
def test_many_steps_equal_the_equation(alpha: float) -> None:
    draw = np.random.default_rng(0)
    w = parameter(4)
    balance = GradNorm(("a", "b", "c"), [w], alpha=alpha, rate=0.03)
    want, first = np.ones(3), np.empty(0)
    for step in range(20):
        rows, values = draw.normal(0, 1, (3, 4)), draw.uniform(0.1, 2, 3)
        first = values if step == 0 else first
        given = dict(zip("abc", rows.tolist(), strict=True)), dict(zip("abc", values.tolist(), strict=True))
        used = balance.backward(linear(w, *given), {"shared": [w]}, step)
        assert list(used.values()) == pytest.approx(list(want), rel=1e-9)
        want = naive(want, np.linalg.norm(rows, axis=1), values, first, alpha, 0.03)
    assert balance.weight.sum().item() == pytest.approx(3)


def test_the_gradient_is_that_of_the_objective_with_constant_targets() -> None:
    norms, losses, first, w = (np.array(x) for x in ([2.0, 0.7, 1.1], [1.0, 0.4, 0.9], [2.0, 0.5, 1.0], [0.8, 1.3, 0.9]))
    share = losses / first
    target = (w * norms).mean() * (share / share.mean()) ** 1.5

    def objective(weights: Wide) -> float:
        return float(np.abs(weights * norms - target).sum())

    eye, h = np.eye(3), 1e-6
    numeric = np.array([(objective(w + h * one) - objective(w - h * one)) / (2 * h) for one in eye])
    moved = np.maximum(w - 0.01 * numeric, 1e-3)
    np.testing.assert_allclose(naive(w, norms, losses, first, 1.5, 0.01), moved * w.sum() / moved.sum(), rtol=1e-6)


def test_equals_the_objective_differentiated_through_a_net() -> None:
    """Norms with a graph, the L1 objective and its gradient by w from autograd, as the paper has them; the net moves too."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    twin = copy.deepcopy(net)
    last, names = list(net[2].parameters()), ("a", "b", "c")
    balance, w, first = GradNorm(names, last, rate=0.01), torch.ones(3, dtype=torch.float64), torch.zeros(0)

    def losses(of: nn.Sequential, step: int) -> torch.Tensor:
        x = torch.randn(7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(step))
        return (of(x) - torch.tensor([0.0, 3.0, -1.0])).square().mean(0) * torch.tensor([1.0, 1.0, 4.0])

    for step in range(6):
        used = balance.backward(dict(zip(names, losses(net, step), strict=True)), {"shared": last}, step)
        assert list(used.values()) == pytest.approx(w.tolist(), rel=1e-9)
        weight, found = w.clone().requires_grad_(), losses(twin, step)
        first = found.detach() if step == 0 else first
        g = torch.stack(
            [
                torch.cat(
                    [p.reshape(-1) for p in torch.autograd.grad(wi * li, list(twin[2].parameters()), create_graph=True)]
                ).norm()
                for wi, li in zip(weight, found, strict=True)
            ]
        )
        share = found.detach() / first
        target = (g.mean() * (share / share.mean()) ** 1.5).detach()
        (slope,) = torch.autograd.grad((g - target).abs().sum(), weight, retain_graph=True)
        moves = torch.autograd.grad((w * found).sum(), list(twin.parameters()))
        w = w - 0.01 * slope
        w = 3 * w / w.sum()
        with torch.no_grad():
            for one, mine, move in zip(twin.parameters(), net.parameters(), moves, strict=True):
                torch.testing.assert_close(mine.grad, move)
                one -= 0.1 * move
                mine -= 0.1 * mine.grad  # type: ignore[operator]
                mine.grad = None
    assert w.max() - w.min() > 0.05


def test_with_alpha_zero_gradients_become_equally_long() -> None:
    w = parameter(2)
    balance = GradNorm(("a", "b"), [w], alpha=0.0, rate=0.005)
    rows: Mapping[str, tuple[float, float]] = {"a": (4.0, 0.0), "b": (0.0, 1.0)}
    for step in range(400):
        used = balance.backward(linear(w, rows, {"a": 1.0, "b": 1.0}), {"shared": [w]}, step)
    assert 4 * used["a"] == pytest.approx(used["b"], rel=0.05)


def test_an_absent_task_keeps_its_weight_and_takes_no_part() -> None:
    w = parameter(2)
    balance = GradNorm(("a", "b", "c"), [w], rate=0.1)
    balance.weight.copy_(torch.tensor([0.5, 1.5, 1.0]))
    both = linear(w, {"a": (3.0, 4.0), "b": (0.0, 1.0)}, {"a": 2.0, "b": 7.0})
    assert balance.backward(both, {"shared": [w]}, 0) == {"a": 0.5, "b": 1.5}
    # lengths 2.5 and 1.5 around 2: (.5 - .5, 1.5 + .1), floor .001, and the two keep their sum of 2
    assert balance.weight.tolist() == pytest.approx([2 * 0.001 / 1.601, 2 * 1.6 / 1.601, 1.0])
    assert balance.first.tolist() == [2.0, 7.0, 0.0]
    balance.backward(linear(w, {"c": (1.0, 0.0)}, {"c": 9.0}), {"shared": [w]}, 1)
    assert balance.weight[2].item() == 1.0
    assert balance.first.tolist() == [2.0, 7.0, 9.0]


def test_a_first_loss_of_zero_is_not_compared_with() -> None:
    w = parameter(2)
    balance = GradNorm(("a", "b"), [w])
    rows = {"a": (1.0, 0.0), "b": (0.0, 1.0)}
    balance.backward(linear(w, rows, {"a": 0.0, "b": 1.0}), {"shared": [w]}, 0)
    balance.backward(linear(w, rows, {"a": 3.0, "b": 1.0}), {"shared": [w]}, 1)
    assert balance.first.tolist() == [3.0, 1.0]
    assert torch.isfinite(balance.weight).all()


def test_weights_stay_positive() -> None:
    w = parameter(2)
    balance = GradNorm(("a", "b"), [w], rate=50.0)
    for step in range(5):
        balance.backward(linear(w, {"a": (9.0, 0.0), "b": (0.0, 1.0)}, {"a": 1.0, "b": 1.0}), {"shared": [w]}, step)
        assert balance.weight.min().item() > 0
        assert balance.weight.sum().item() == pytest.approx(2)


def test_the_shared_weights_are_the_networks_alone() -> None:
    layer = nn.Linear(2, 2)
    balance = GradNorm(("a", "b"), layer.parameters())
    assert not list(balance.parameters())
    assert set(balance.state_dict()) == {"weight", "first"}
    layer.requires_grad_(False)
    with pytest.raises(ConfigError, match="none of its weights train"):
        balance.begin(1, 1)
    layer.bias.requires_grad_(True)
    balance.begin(1, 1)
    x = torch.ones(1, 2)
    losses = {"a": layer(x).sum(), "b": (2 * layer(x)).sum(), "pull": layer.bias.sum()}
    assert balance.backward(losses, {"shared": [layer.bias]}, 0) == {"a": 1.0, "b": 1.0, "pull": 1.0}
    assert layer.weight.grad is None
    assert layer.bias.grad is not None
    assert layer.bias.grad.tolist() == [4, 4]


def test_a_task_that_does_not_reach_the_shared_block_has_a_gradient_of_zero() -> None:
    w, head = parameter(2), parameter(1, 1.0)
    balance = GradNorm(("a", "b"), [w], rate=0.1)
    losses = {**linear(w, {"a": (1.0, 0.0)}, {"a": 1.0}), "b": head.sum()}
    balance.backward(losses, {"shared": [w], "heads": [head]}, 0)
    assert balance.weight.tolist() == pytest.approx([2 * 0.9 / 1.9, 2 / 1.9])
