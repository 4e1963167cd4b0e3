"""Attention transfer, hints and averaging to fewer places against their definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from headstart.losses.attention import attention_map, attention_transfer
from headstart.losses.hints import hint, unexplained
from headstart.losses.places import averaged_down
from tests.losses import naive


def maps(n: int = 3, channels: int = 4, side: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(n, channels, side, side)))


@pytest.mark.parametrize("power", [1.0, 2.0, 4.0])
def test_attention_equals_its_definition_whatever_the_channels(power: float) -> None:
    s, t = maps(), maps(channels=7, seed=1)
    found = attention_transfer(attention_map(s, power), attention_map(t, power))
    np.testing.assert_allclose(found.numpy(), naive.attention(s.numpy(), t.numpy(), power), rtol=1e-10)


def test_the_larger_map_is_averaged_down() -> None:
    large, small = maps(side=8), maps(side=4, seed=1)
    shrunk = F.avg_pool2d(attention_map(large), 2)
    expected = attention_transfer(shrunk, attention_map(small))
    torch.testing.assert_close(attention_transfer(attention_map(large), attention_map(small)), expected)
    torch.testing.assert_close(attention_transfer(attention_map(small), attention_map(large)), expected)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(1e-3, 1e3))
def test_attention_forgets_scale_and_the_order_of_channels(seed: int, scale: float) -> None:
    s, t = maps(seed=seed), maps(seed=seed + 1)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(4))
    base = attention_transfer(attention_map(s), attention_map(t))
    torch.testing.assert_close(attention_transfer(attention_map(scale * s[:, order]), attention_map(t)), base)
    torch.testing.assert_close(attention_transfer(attention_map(s), attention_map(-s)), torch.zeros(3).double())
    assert (base >= 0).all()
    assert (base <= 2 / 25 + 1e-12).all(), "unit vectors without negative entries are at most a right angle apart"


def test_attention_gradcheck() -> None:
    s, t = (x.requires_grad_(True) for x in (maps(2, 2, 4), maps(2, 3, 3, seed=1)))
    assert torch.autograd.gradcheck(lambda a, b: attention_transfer(attention_map(a), attention_map(b)), (s, t))


def test_attention_of_dead_and_of_huge_maps_stays_finite() -> None:
    dead, huge = torch.zeros(2, 3, 4, 4, requires_grad=True), (maps(2, 3, 4) * 1e15).float().requires_grad_(True)
    for x in (dead, huge):
        found = attention_transfer(attention_map(x), attention_map(maps(2, 3, 4).float()))
        assert torch.isfinite(found).all()
        assert torch.isfinite(torch.autograd.grad(found.sum(), x)[0]).all()
    with torch.autocast("cpu", torch.bfloat16):
        assert attention_transfer(attention_map(dead.bfloat16()), attention_map(dead)).dtype == torch.float32


@pytest.mark.parametrize(("large", "small"), [((8, 8), (4, 2)), ((7, 5), (3, 5)), ((5, 9), (4, 2)), ((3, 3), (1, 1))])
def test_averaging_down_is_adaptive_average_pooling(large: tuple[int, int], small: tuple[int, int]) -> None:
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(2, 3, *large))).requires_grad_(True)
    found = averaged_down(x, small)
    expected = F.adaptive_avg_pool2d(x, small)
    torch.testing.assert_close(found, expected)
    weights = torch.from_numpy(np.random.default_rng(1).normal(size=found.shape))
    (ours,), (theirs,) = (torch.autograd.grad((y * weights).sum(), x) for y in (found, expected))
    torch.testing.assert_close(ours, theirs)
    assert averaged_down(x, large).data_ptr() == x.data_ptr()


def test_hints_are_the_mean_squared_difference() -> None:
    s, t = maps(), maps(seed=1)
    np.testing.assert_allclose(
        hint(s, t).numpy(), [((a - b) ** 2).mean() for a, b in zip(s.numpy(), t.numpy(), strict=True)]
    )
    torch.testing.assert_close(hint(s, t).mean(), F.mse_loss(s, t))
    assert torch.autograd.gradcheck(hint, (maps(2, 1, 2).requires_grad_(True), maps(2, 1, 2, seed=1).requires_grad_(True)))
    vectors = s.flatten(1)
    torch.testing.assert_close(hint(vectors, t.flatten(1)), hint(s, t))


def test_what_a_hint_leaves_unexplained_is_a_share() -> None:
    s, t = maps(), maps(seed=1)
    expected = ((s - t).numpy() ** 2).sum() / (t.numpy() ** 2).sum()
    assert unexplained(s, t).mean().item() == pytest.approx(expected)
    torch.testing.assert_close(unexplained(1e3 * s, 1e3 * t), unexplained(s, t))
    assert unexplained(0 * s, t).mean().item() == pytest.approx(1)
    torch.testing.assert_close(unexplained(s, 0 * t), hint(s, 0 * t))
    assert unexplained(s[:0], t[:0]).shape == (0,)
    assert torch.autograd.gradcheck(unexplained, (maps(2, 1, 2).requires_grad_(True), maps(2, 1, 2, seed=1)))
