"""Towers pulled together: which weights, how hard, whose they stay, and where two towers go in the end."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from headstart.engine.fit import fit
from headstart.errors import ConfigError
from headstart.nets.net import Net
from headstart.nets.rng import forked
from headstart.nets.towers import towers
from headstart.stage import Budget, Optimizer, Stage
from headstart.terms.pull import Pull
from tests.conftest import make_image_task
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
    size = sum(one.numel() for name, one in named.items() if name.split(".")[2] == "0")
    total, gradients = 0.0, {}
    for name, one in named.items():
        words = name.split(".")
        every = [named[".".join([*words[:2], str(k), *words[3:]])] for k in range(count)]
        total += float(sum(((one - other) ** 2).sum() for other in every)) / 2
        gradients[name] = strength * 2 * (count * one - torch.stack(every).sum(0)) / size
    return strength * total / size, gradients


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


def test_a_strength_means_the_same_for_a_network_of_any_size() -> None:
    """All differences one: K (K - 1) / 2 pairs, each of which counts one."""
    for count, net in ((2, towered(2)), (3, towered(3)), (2, towers(perceptron(), ["a", "b"]))):
        with torch.no_grad():
            for name, one in net.named_parameters():
                place = name.split(".")[2]
                if place.isdigit():
                    one.copy_(torch.full_like(one, float(place != "0")))
        # One tower lies one away from each of the others, which are equal.
        assert Pull(net, 2.0)(STEP).item() == pytest.approx(2.0 * (count - 1))


def test_pulled_alone_the_towers_meet_halfway_and_shared_blocks_stay() -> None:
    net, task = shaken(towered()), make_image_task(16, size=12)
    before = copy.deepcopy(net)
    pull = Pull(net, 1.0)
    size = sum(one.numel() for one in pull.live[0])
    # A gradient step of rate P / 4 goes just to the middle: 2 (2 theta_1 - theta_1 - theta_2) / 4 is half the way.
    fast = Optimizer(lr=size / 4, momentum=0.0, weight_decay=0.0, warmup=0.0, schedule="constant")
    stage = Stage("pull", task, {"blocks": 1.0}, {"pull": pull}, Budget(steps=1), fast, batch_size=16)
    fit(net, stage)
    for one, other, was, had in zip(*pull.live, *Pull(before, 1.0).live, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(one, (was + had) / 2, rtol=1e-4, atol=1e-5)
    parameters = dict(net.named_parameters())
    assert all(torch.equal(one, parameters[name]) for name, one in before.named_parameters() if "stem" in name)
    assert differing(state(before), state(net))


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
