"""What weights do not tell: activations, strides, options, code; and what must not count."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from headstart.nets.build import build
from headstart.nets.structure import structure


class Act(nn.Module):
    """An activation by a function, and options that print nothing of themselves."""

    def __init__(self, function: Callable[[Tensor], Tensor], **options: Any) -> None:
        super().__init__()
        self.function = function
        for name, value in options.items():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.function(x)
        return result


def half(x: Tensor) -> Tensor:
    return x / 2


DIFFERENT: list[nn.Module] = [
    nn.ReLU(),
    nn.Tanh(),
    nn.MaxPool2d(2),
    nn.MaxPool2d(3),
    Act(torch.relu),
    Act(torch.tanh),
    Act(half),
    Act(lambda x: x + 1),
    Act(lambda x: x + 2),
    Act(lambda x: x.exp()),
    Act(half, scale=0.5),
    Act(half, scale=0.25),
    Act(half, sizes=(2, 3)),
    Act(half, sizes=(3, 2)),
    Act(half, _heads=4),
    Act(half, table={"a": 1}),
    Act(half, table={"a": 2}),
    nn.Sequential(nn.ReLU(), nn.Tanh()),
    nn.Sequential(nn.Tanh(), nn.ReLU()),
    nn.ModuleDict({"a": nn.ReLU()}),
    nn.ModuleDict({"b": nn.ReLU()}),
]


def test_whatever_computes_something_else_is_told_apart() -> None:
    assert len({structure(one) for one in DIFFERENT}) == len(DIFFERENT)


@pytest.mark.parametrize("module", DIFFERENT)
def test_a_copy_in_another_mode_is_the_same(module: nn.Module) -> None:
    assert structure(copy.deepcopy(module).eval()) == structure(module.train())


@pytest.mark.parametrize("name", ["headstart:resnet8", "timm:resnet18", "torchvision:mobilenet_v3_small"])
def test_networks_built_alike_are_alike(name: str) -> None:
    """Also where layers are code that was traced, and after a pass."""
    one, two = (build(name, pretrained=False, seed=seed) for seed in (0, 1))
    told = structure(one.blocks)
    assert told == structure(two.blocks)
    with torch.no_grad():
        one.run(torch.zeros(1, 3, one.input.size, one.input.size))
    assert structure(one.blocks) == told
    assert structure(copy.deepcopy(one).blocks) == told
