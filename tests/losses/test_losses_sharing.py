"""The distance between networks' weights against its sum over pairs, its closed-form gradient and finite differences."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from headstart.losses.sharing import apart, distance
from headstart.nets.rng import forked

SHAPES = ((3, 4), (5,), ())


def drawn(count: int, seed: int = 0, shapes: tuple[tuple[int, ...], ...] = SHAPES) -> list[list[Tensor]]:
    with forked(seed):
        return [[torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes] for _ in range(count)]


def flat(networks: list[list[Tensor]]) -> np.ndarray:
    """`[K, P]`: all weights of every network."""
    return np.stack([np.concatenate([np.ravel(one.detach().numpy()) for one in network]) for network in networks])


def naive(networks: list[list[Tensor]]) -> float:
    """The sum over pairs as it is written."""
    pairs = itertools.combinations(flat(networks), 2)
    return float(sum(((one - other) ** 2).sum() for one, other in pairs)) / (2 * len(networks))


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_it_is_the_distance_from_the_mean_and_the_sum_over_pairs(count: int) -> None:
    networks = drawn(count)
    weights = flat(networks)
    assert apart(networks).item() == pytest.approx(naive(networks), rel=1e-12)
    assert apart(networks).item() == pytest.approx(((weights - weights.mean(0)) ** 2).sum() / 2, rel=1e-12)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_its_gradient_is_what_a_network_is_away_from_the_mean(count: int) -> None:
    networks = drawn(count)
    every = [one for network in networks for one in network]
    found = torch.autograd.grad(3.0 * apart(networks), every)
    for k, network in enumerate(networks):
        for place, one in enumerate(network):
            mean = torch.stack([other[place].detach() for other in networks]).mean(0)
            torch.testing.assert_close(found[k * len(SHAPES) + place], 3.0 * (one.detach() - mean), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("count", [2, 3])
def test_finite_differences_agree(count: int) -> None:
    every = [one for network in drawn(count, 1) for one in network]
    size = len(SHAPES)
    assert torch.autograd.gradcheck(lambda *all_: apart([all_[k * size : (k + 1) * size] for k in range(count)]), every)


@pytest.mark.parametrize("count", [2, 3, 7])
def test_equal_networks_are_exact_zeros(count: int) -> None:
    one = drawn(1, 2)[0]
    networks = [[tensor.detach().float().clone().requires_grad_() for tensor in one] for _ in range(count)]
    value = apart(networks)
    value.backward()
    assert value.item() == 0
    assert all(not bool(tensor.grad.any()) for network in networks for tensor in network)
    assert distance(networks) == 0


def test_networks_may_change_places_and_move_together() -> None:
    networks = drawn(3, 4)
    value = apart(networks).item()
    assert apart(networks[::-1]).item() == pytest.approx(value, rel=1e-12)
    moved = [[one.detach() + 100 for one in network] for network in networks]
    assert apart(moved).item() == pytest.approx(value, rel=1e-9)


def test_autocast_leaves_it_in_float32() -> None:
    networks = [[one.detach().float() for one in network] for network in drawn(2)]
    with torch.autocast("cpu", torch.bfloat16):
        found = apart(networks)
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(naive(networks), rel=1e-6)


def test_the_relative_distance_is_the_share_of_the_weights_that_is_a_networks_own() -> None:
    networks = drawn(3, 5)
    weights = flat(networks)
    assert distance(networks) == pytest.approx(np.sqrt(2 * apart(networks).item() / (weights**2).sum()), rel=1e-12)
    away, zero = [torch.tensor([3.0, 0.0])], [torch.tensor([0.0, 3.0])]
    assert distance([away, zero]) == pytest.approx(0.5**0.5)  # at right angles: nothing in common
    assert distance([away, [-away[0]]]) == pytest.approx(1.0)
    assert distance([[torch.zeros(2)], [torch.zeros(2)]]) == 0
