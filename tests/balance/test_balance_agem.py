"""The projection of A-GEM against NumPy in float64, and what it promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headstart.balance.agem import AGem

Wide = NDArray[np.float64]


def naive(g: Wide, r: Wide) -> Wide:
    """Equation 11 of Chaudhry et al. 2019."""
    out: Wide = g if g @ r >= 0 else g - (g @ r) / (r @ r) * r
    return out


def linear(parameters: list[nn.Parameter], vector: Wide) -> Tensor:
    """A loss whose gradient is this vector, cut into the parameters."""
    parts = np.split(vector, np.cumsum([p.numel() for p in parameters])[:-1])
    return torch.stack(
        [(p * torch.from_numpy(v).to(p).view_as(p)).sum() for p, v in zip(parameters, parts, strict=True)]
    ).sum()


def parts(dtype: torch.dtype = torch.float64) -> list[nn.Parameter]:
    return [nn.Parameter(torch.ones(*shape, dtype=dtype)) for shape in ((3, 2), (4,), (1, 5))]


def flat(parameters: list[nn.Parameter]) -> Wide:
    return np.concatenate([np.zeros(p.numel()) if p.grad is None else p.grad.double().numpy().ravel() for p in parameters])


@pytest.mark.parametrize("seed", range(20))
def test_equals_the_equation_over_all_parameters_together(seed: int) -> None:
    draw = np.random.default_rng(seed)
    g, r = draw.normal(0, 1, (2, 15))
    parameters = parts()
    groups = {"shared": parameters[:2], "heads": parameters[2:]}
    losses = {"new": linear(parameters, g), "memory": linear(parameters, r)}
    used = AGem().backward(losses, groups, 0)
    np.testing.assert_allclose(flat(parameters), naive(g, r), rtol=1e-12, atol=1e-14)
    assert flat(parameters) @ r >= -1e-12
    assert used["new"] == 1.0
    assert used["memory"] == pytest.approx(max(-(g @ r) / (r @ r), 0.0))


def test_several_new_losses_are_added_up() -> None:
    parameters = parts()
    g, h, r = np.random.default_rng(1).normal(0, 1, (3, 15))
    losses = {"a": linear(parameters, g), "b": linear(parameters, h), "old": linear(parameters, r)}
    AGem("old").backward(losses, {"shared": parameters}, 0)
    np.testing.assert_allclose(flat(parameters), naive(g + h, r), rtol=1e-12)


@pytest.mark.parametrize("r", [np.zeros(15), None])
def test_without_a_reference_the_gradient_is_the_new_one(r: Wide | None) -> None:
    parameters = parts()
    g = np.random.default_rng(2).normal(0, 1, 15)
    losses = {"new": linear(parameters, g)} | ({} if r is None else {"memory": linear(parameters, r)})
    AGem().backward(losses, {"shared": parameters}, 0)
    np.testing.assert_allclose(flat(parameters), g)


def test_parameters_that_only_one_of_the_two_reaches() -> None:
    """A new head takes no part in the reference; an old head has nothing but its share of the projection."""
    shared, old, new = (nn.Parameter(torch.ones(2, dtype=torch.float64)) for _ in range(3))
    losses = {"new": (-shared).sum() + (2 * new).sum(), "memory": shared.sum() + (3 * old).sum()}
    used = AGem().backward(losses, {"shared": [shared], "heads": [old, new]}, 0)
    weight = 2 / (2 + 18)
    assert used["memory"] == pytest.approx(weight)
    assert shared.grad is not None
    assert old.grad is not None
    assert new.grad is not None
    assert shared.grad.tolist() == pytest.approx([-1 + weight] * 2)
    assert old.grad.tolist() == pytest.approx([3 * weight] * 2)
    assert new.grad.tolist() == [2, 2]


def test_losses_may_share_a_graph_and_gradients_add_to_what_is_there() -> None:
    w = nn.Parameter(torch.tensor([1.0, 2.0]))
    w.grad = torch.tensor([10.0, 10.0])
    common = w.exp()
    AGem().backward({"new": common.sum(), "memory": (2 * common).sum()}, {"shared": [w]}, 0)
    torch.testing.assert_close(w.grad, 10 + w.detach().exp())


def test_a_reference_that_reaches_nothing_that_trains_forbids_nothing() -> None:
    w = nn.Parameter(torch.tensor([1.0, 2.0]))
    used = AGem().backward({"new": w.sum(), "memory": torch.tensor(3.0)}, {"heads": [w]}, 0)
    assert used == {"new": 1.0}
    assert w.grad is not None
    assert w.grad.tolist() == [1, 1]
