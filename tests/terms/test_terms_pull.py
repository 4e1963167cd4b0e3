"""Towers pulled together: which weights, how hard, whose they stay, and where two towers go in the end."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from headstart.engine.fit import fit
from headstart.errors import ConfigError
from headstart.losses.sharing import apart
from headstart.nets.net import Net
from headstart.nets.rng import forked
from headstart.nets.towers import towers
from headstart.stage import Budget, Optimizer, Stage
from headstart.terms.pull import Pull, overshoots
from tests.conftest import make_image_task, make_vector_task
from tests.engine.engine_toys import differing, perceptron, resnet, state


class Alone:
    """All that a pull asks of a step."""

    def __init__(self, processes: int = 1) -> None:
        self.processes = processes

    def once(self, value: Tensor) -> Tensor:
        return value / self.processes


STEP: Any = Alone()


def towered(count: int = 2, shared: int = 1, **more: Any) -> Net:
    net = towers(resnet(), [f"task{k}" for k in range(count)], shared=shared, **more)
    for task in net.towers.tasks if net.towers else ():
        net.add_head(task, 3)
    return net


def shaken(net: Net, seed: int = 0) -> Net:
    with torch.no_grad(), forked(seed):
        for one in net.parameters():
            one.add_(torch.randn_like(one))
    return net


def by_hand(net: Net, strength: float) -> tuple[float, dict[str, Tensor]]:
    """Value and gradients from names alone: `blocks.BLOCK.TOWER.rest`."""
    named = {name: one.detach().double() for name, one in net.named_parameters() if name.split(".")[2].isdigit()}
    count = len(net.towers.tasks) if net.towers else 0
    total, gradients = 0.0, {}
    for name, one in named.items():
        words = name.split(".")
        mean = sum(named[".".join([*words[:2], str(k), *words[3:]])] for k in range(count)) / count
        total += float(((one - mean) ** 2).sum())
        gradients[name] = strength * (one - mean)
    return strength / 2 * total, gradients


@pytest.mark.parametrize("count", [2, 3])
def test_value_and_gradient_are_the_closed_form_and_nothing_else_is_pulled(count: int) -> None:
    net = shaken(towered(count, stitch=["layer2_0", "pool"])).double()
    value, expected = by_hand(net, 0.7)
    found = Pull(net, 0.7)(STEP)
    assert found.item() == pytest.approx(value, rel=1e-12)
    named = dict(net.named_parameters())
    gradients = dict(zip(named, torch.autograd.grad(found, list(named.values()), allow_unused=True), strict=True))
    pulled = {name: gradient for name, gradient in gradients.items() if gradient is not None}
    assert set(pulled) == set(expected)
    assert not any("stem" in name or "heads" in name or "stitch" in name for name in pulled)
    for name, gradient in pulled.items():
        torch.testing.assert_close(gradient, expected[name], rtol=1e-12, atol=1e-14)


def test_equal_towers_are_not_pulled_and_statistics_do_not_count() -> None:
    net = towered()
    with torch.no_grad(), forked(0):
        for name, buffer in net.named_buffers():
            if "running" in name:
                buffer.add_(torch.rand_like(buffer))
    assert Pull(net, 5.0)(STEP).item() == 0


def test_it_counts_once_in_any_number_of_processes() -> None:
    net = shaken(towered())
    shares: Any = Alone(4)
    assert 4 * Pull(net, 1.0)(shares).item() == pytest.approx(Pull(net, 1.0)(STEP).item())


def test_the_weights_stay_the_nets() -> None:
    pull = Pull(towered(), 1.0)
    assert not list(pull.parameters())
    assert not pull.state_dict()


@pytest.mark.parametrize("count", [2, 3])
def test_one_step_takes_rate_times_strength_of_the_way_to_the_mean_and_shared_blocks_stay(count: int) -> None:
    """In networks of any size, and of any number of towers."""
    for net in (towered(count), towers(perceptron(), [f"task{k}" for k in range(count)])):
        shaken(net)
        before, pull = copy.deepcopy(net), Pull(net, 2.0)
        plain = Optimizer(lr=0.15, momentum=0.0, weight_decay=0.0, warmup=0.0, schedule="constant")
        task = make_image_task(16, size=12) if net.input.kind == "image" else make_vector_task(16)
        fit(net, Stage("pull", task, {"blocks": 1.0}, {"pull": pull}, Budget(steps=1), plain, batch_size=16))
        was = Pull(before, 1.0).live
        for place, column in enumerate(zip(*was, strict=True)):
            mean = torch.stack(column).mean(0)
            for k in range(count):
                torch.testing.assert_close(pull.live[k][place], mean + 0.7 * (column[k] - mean), rtol=1e-4, atol=1e-5)
        parameters = dict(net.named_parameters())
        assert all(torch.equal(one, parameters[name]) for name, one in before.named_parameters() if "stem" in name)
        assert differing(state(before), state(net))


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_below_the_largest_strength_towers_meet_and_above_it_they_part(momentum: float) -> None:
    """By PyTorch's own optimiser, in float64."""
    rate = 0.1
    most, ends = overshoots(rate, momentum), []
    for share in (0.97, 1.03):
        one = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
        other = torch.tensor([-1.0], dtype=torch.float64, requires_grad=True)
        rule = torch.optim.SGD([one, other], lr=rate, momentum=momentum, nesterov=momentum > 0)
        for _ in range(500):
            one.grad, other.grad = torch.autograd.grad(share * most * apart([[one], [other]]), [one, other])
            rule.step()
        ends.append(abs(float(one.detach())))
    assert ends[0] < 1e-3
    assert ends[1] > 1e3


@pytest.mark.parametrize(
    ("net", "strength", "words"),
    [
        (resnet(), 1.0, "no towers"),
        (towered(), -1.0, "strength=-1.0"),
        (towered(), float("nan"), "strength=nan"),
        (towered(shared=4), 1.0, "no weights"),
    ],
    ids=["plain", "negative", "nan", "weightless"],
)
def test_what_cannot_be_pulled_is_refused(net: Net, strength: float, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Pull(net, strength)
