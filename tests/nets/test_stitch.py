"""Cross-stitch units: the published equation channel by channel, their start, and that every element learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from headstart.errors import ConfigError
from headstart.nets.net import BlockInfo, InputSpec, Net
from headstart.nets.parallel import tower_parameters, units_of
from headstart.nets.rng import forked
from headstart.nets.stitch import CrossStitch
from headstart.nets.towers import towers
from headstart.stage import Train
from headstart.strategies.common import stitched
from tests.engine.engine_toys import resnet

SHAPES = {"nchw": (2, 5, 3, 4), "nhwc": (2, 3, 4, 5), "nlc": (2, 7, 5), "nc": (2, 5)}
"""Activations of five channels, by layout."""


def unit(towers: int, layout: str, keep: float = 0.9, seed: int = 0) -> CrossStitch:
    found = CrossStitch(towers, 5, layout, keep)
    with torch.no_grad(), forked(seed):
        found.alpha.normal_()
    return found.double()


def inputs(towers: int, layout: str) -> tuple[Tensor, ...]:
    with forked(7):
        return tuple(torch.randn(SHAPES[layout], dtype=torch.float64, requires_grad=True) for _ in range(towers))


def naive(alpha: np.ndarray, x: list[np.ndarray], axis: int) -> list[np.ndarray]:
    """Equation 1 written out: one channel after the other."""
    count, _, channels = alpha.shape
    found = [np.zeros_like(one) for one in x]
    for a in range(count):
        for b in range(count):
            for c in range(channels):
                place: list[slice | int] = [slice(None)] * x[0].ndim
                place[axis] = c
                found[a][tuple(place)] += alpha[a, b, c] * x[b][tuple(place)]
    return found


@pytest.mark.parametrize("layout", SHAPES)
@pytest.mark.parametrize("count", [2, 3])
def test_it_is_the_published_equation(count: int, layout: str) -> None:
    one, x = unit(count, layout), inputs(count, layout)
    axis = 1 if layout == "nchw" else len(SHAPES[layout]) - 1
    expected = naive(one.alpha.detach().numpy(), [value.detach().numpy() for value in x], axis)
    found = one(x)
    assert isinstance(found, tuple)
    for value, right in zip(found, expected, strict=True):
        np.testing.assert_allclose(value.detach().numpy(), right, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("layout", SHAPES)
def test_finite_differences_agree(layout: str) -> None:
    one, x = unit(3, layout), inputs(3, layout)
    assert torch.autograd.gradcheck(
        lambda alpha, *given: torch.func.functional_call(one, {"alpha": alpha}, (given,)), (one.alpha, *x), fast_mode=True
    )


@pytest.mark.parametrize(("count", "keep"), [(2, 0.9), (3, 0.9), (4, 0.25), (2, 1.0)])
def test_it_starts_near_the_identity_and_a_mixture_is_a_mean(count: int, keep: float) -> None:
    alpha = CrossStitch(count, 5, "nc", keep).alpha
    assert alpha.shape == (count, count, 5)
    for a in range(count):
        for b in range(count):
            expected = keep if a == b else (1 - keep) / (count - 1)
            torch.testing.assert_close(alpha[a, b], torch.full((5,), expected))
    torch.testing.assert_close(alpha.sum(1), torch.ones(count, 5))
    same = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
    for mixed in CrossStitch(count, 5, "nc", keep)((same,) * count):
        torch.testing.assert_close(mixed, same)


def test_reset_is_the_start_and_draws_nothing() -> None:
    one = CrossStitch(3, 5, "nchw")
    start = one.alpha.detach().clone()
    with torch.no_grad():
        one.alpha.zero_()
    one.reset_parameters()
    assert torch.equal(one.alpha, start)


def test_half_precision_stays_and_channels_last_stays() -> None:
    one = CrossStitch(2, 5, "nchw")
    x = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)
    assert all(value.is_contiguous(memory_format=torch.channels_last) for value in one((x, x)))
    with torch.autocast("cpu", torch.bfloat16):
        assert {value.dtype for value in one((x.bfloat16(), x.bfloat16()))} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((1, 5, "nc"), "towers=1"),
        ((2, 5, "ncl"), "'ncl'"),
        ((2, 5, "nc", 1.5), "keep=1.5"),
        ((2, 5, "nc", float("nan")), "keep=nan"),
    ],
)
def test_what_is_no_unit_is_refused(given: tuple[int, int, str, float], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        CrossStitch(*given)


def test_the_entries_that_train_units_leave_decay_out() -> None:
    net = towers(resnet(), ["a", "b"], shared=1, stitch=["pool", "layer2_0"])
    rule = Train(scale=1000, weight_decay=0.0)
    assert stitched(net, 1000) == {"blocks.layer2_0_stitch": rule, "blocks.pool_stitch": rule}
    assert stitched(resnet()) == {}


# --- every element learns ----------------------------------------------------------------------------------------------


def smooth(count: int, stitch: tuple[str, ...]) -> Net:
    """Towers of layers in which no unit is ever switched off, with a head per task whose weights say something."""
    with forked(1):
        blocks: dict[str, nn.Module] = {f"layer{n}": nn.Sequential(nn.Linear(6, 6), nn.Tanh()) for n in range(3)}
    info = {name: BlockInfo("nc", 6) for name in blocks}
    tasks = [f"task{k}" for k in range(count)]
    net = towers(Net(blocks, InputSpec(6, (0.0,), (1.0,), "vector"), info, None), tasks, shared=1, stitch=stitch)
    for number, task in enumerate(tasks):
        with forked(20 + number):
            nn.init.normal_(net.add_head(task, 3).linear.weight)
    return net


def gradients(net: Net, tasks: list[str]) -> None:
    x = torch.randn(16, 6, generator=torch.Generator().manual_seed(5))
    taken = net.run(x, taps=net.block_names)
    loss = torch.stack([torch.nn.functional.cross_entropy(net.answer(taken, task), torch.arange(16) % 3) for task in tasks])
    loss.sum().backward()


@pytest.mark.parametrize("count", [2, 3])
def test_every_element_of_every_unit_and_every_tower_receives_a_gradient(count: int) -> None:
    net = smooth(count, ("layer1", "layer2"))
    gradients(net, list(net.heads))
    assert units_of(net) == ["layer1_stitch", "layer2_stitch"]
    for name in units_of(net):
        alpha = next(net.blocks[name].parameters())
        assert alpha.grad is not None
        assert bool((alpha.grad != 0).all()), name
    for parameters in tower_parameters(net):
        assert all(one.grad is not None and bool((one.grad != 0).any()) for one in parameters)


@pytest.mark.parametrize("count", [2, 3])
def test_one_task_alone_teaches_its_own_row_of_the_last_unit_and_all_of_the_one_before(count: int) -> None:
    """What a tower becomes in the last unit only its own head reads; before it every tower is on the way to every head."""
    for task in range(count):
        net = smooth(count, ("layer1", "layer2"))
        gradients(net, [f"task{task}"])
        first, last = (next(net.blocks[name].parameters()).grad for name in units_of(net))
        assert first is not None
        assert last is not None
        assert bool((first != 0).all())
        for row in range(count):
            assert bool((last[row] != 0).all()) == (row == task)
            assert bool((last[row] == 0).all()) == (row != task)
        # And so every tower learns from every task.
        for parameters in tower_parameters(net):
            assert all(bool((one.grad != 0).any()) for one in parameters if one.grad is not None)
            assert all(one.grad is not None for one in parameters)


def test_without_units_a_task_teaches_its_own_tower_only() -> None:
    net = smooth(3, ())
    gradients(net, ["task1"])
    for number, parameters in enumerate(tower_parameters(net)):
        assert all((one.grad is not None) == (number == 1) for one in parameters)
