"""Weights drawn anew, and transplanted."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from headstart.errors import BackboneError, ConfigError
from headstart.nets.build import build, from_source
from headstart.nets.initialise import copy_weights, reinitialise
from headstart.nets.net import BlockInfo, InputSpec, Net
from headstart.nets.small import cifar_resnet
from tests.nets.toys import Plain, scramble

INPUT = {"size": 16, "mean": (0.5,) * 3, "std": (0.5,) * 3}


def _kept(net: Net) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in net.state_dict().items()}


def _moved(net: Net, before: Mapping[str, Tensor]) -> set[str]:
    return {key.split(".")[1] for key, value in net.state_dict().items() if not torch.equal(value, before[key])}


@pytest.mark.parametrize("kind", ["own", "timm", "module"])
def test_only_the_named_blocks_change(kind: str) -> None:
    net = {
        "own": lambda: cifar_resnet(8, 4),
        "timm": lambda: build("timm:vit_tiny_patch16_224", args={"depth": 2}, size=32, pretrained=False),
        "module": lambda: build(Plain(), **INPUT),
    }[kind]()
    scramble(net)
    names = net.block_names[1:2]
    before, state = _kept(net), torch.get_rng_state()
    objects = [id(weight) for weight in net.parameters()]
    reinitialise(net, names, 5)
    assert torch.equal(torch.get_rng_state(), state)
    assert _moved(net, before) == set(names)
    assert [id(weight) for weight in net.parameters()] == objects
    once = _kept(net)
    reinitialise(net, names, 5)
    assert not _moved(net, once)
    reinitialise(net, names, 6)
    assert _moved(net, once) == set(names)


def test_statistics_are_reset_too() -> None:
    net = cifar_resnet(8, 4)
    scramble(net)
    reinitialise(net, ["layer2_0"], 0)
    bn = net.blocks["layer2_0"].bn1
    assert torch.equal(bn.running_mean, torch.zeros(8))
    assert torch.equal(bn.running_var, torch.ones(8))
    assert torch.equal(bn.weight, torch.ones(8))


def test_values_are_those_the_library_draws() -> None:
    net = cifar_resnet(8, 16)
    with torch.no_grad():
        for weight in net.parameters():
            weight.fill_(9)
    reinitialise(net, net.block_names, 3)
    assert net.source is not None
    fresh = from_source(net.source, 3)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), fresh.parameters(), strict=True))
    weight = net.blocks["layer3_0"].conv2.weight  # kaiming normal, fan out, ReLU: variance 2 / (64 * 9)
    assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.03)


class _Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.scale = nn.Conv2d(3, 4, 3), nn.Parameter(torch.ones(4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) * self.scale


def test_parameters_that_nothing_resets_are_named() -> None:
    net = Net(
        {"first": _Scaled(), "second": nn.Conv2d(4, 2, 1)},
        InputSpec(8),
        dict.fromkeys(("first", "second"), BlockInfo("nchw", 4)),
        None,
    )
    before = _kept(net)
    with pytest.raises(BackboneError, match=r"first\.scale"):
        reinitialise(net, ["second", "first"], 0)
    assert not _moved(net, before)
    reinitialise(net, ["second"], 0)
    assert _moved(net, before) == {"second"}


def test_unknown_blocks() -> None:
    with pytest.raises(ConfigError, match="nonsense"):
        reinitialise(cifar_resnet(8, 4), ["nonsense"], 0)


def test_transplant() -> None:
    one, two = cifar_resnet(8, 4), cifar_resnet(8, 4)
    scramble(one)
    names = ["stem", "layer1_0"]
    before = _kept(two)
    copy_weights(one, two, names)
    assert _moved(two, before) == set(names)
    for name in names:
        assert all(
            torch.equal(a, b)
            for a, b in zip(one.blocks[name].state_dict().values(), two.blocks[name].state_dict().values(), strict=True)
        )
        assert not {weight.data_ptr() for weight in one.blocks[name].parameters()} & {
            weight.data_ptr() for weight in two.parameters()
        }


def test_transplants_that_do_not_fit_change_nothing() -> None:
    one, two = cifar_resnet(8, 8), cifar_resnet(14, 4)
    before = _kept(two)
    with pytest.raises(BackboneError) as caught:
        copy_weights(one, two, ["stem", "layer1_1"])
    assert "stem.conv1.weight: [8, 3, 3, 3] does not fit [4, 3, 3, 3]" in str(caught.value)
    assert "layer1_1: the source network has none" in str(caught.value)
    assert not _moved(two, before)
