"""Our own small networks: the eight plain layers of the study of layers."""

from __future__ import annotations

import pytest
import torch

from headstart.nets.cost import block_flops
from headstart.nets.initialise import reinitialise
from headstart.nets.net import count_parameters
from headstart.nets.rng import forked
from headstart.nets.small import convnet8
from headstart.nets.sources import from_source


@pytest.mark.parametrize("size", [8, 12, 28, 32, 64, 96])
def test_seven_blocks_and_a_head_at_any_side(size: int) -> None:
    net = convnet8(size)
    assert net.block_names == ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc7"]
    assert all(count_parameters(block) for block in net.blocks.values())
    found = net.eval().run(torch.zeros(2, 3, size, size), taps=net.block_names)
    for name, tensor in found.items():
        assert tensor.shape[1] == net.info[name].channels
        assert tensor.ndim == (2 if net.info[name].layout == "nc" else 4)
    assert found["fc7"].shape == (2, 96)


def test_it_costs_less_than_five_million_operations_at_32_pixels() -> None:
    by_hand = {
        "conv1": 75 * 16 * 16**2,
        "conv2": 144 * 16 * 16**2,
        "conv3": 144 * 32 * 8**2,
        "conv4": 288 * 32 * 8**2,
        "conv5": 288 * 32 * 8**2,
        "fc6": 512 * 96,
        "fc7": 96 * 96,
    }
    assert block_flops(convnet8(32)) == by_hand
    assert 2 * sum(by_hand.values()) < 5e6  # a multiply-add counts two


def test_it_is_built_again_from_its_source() -> None:
    with forked(1):
        net = convnet8(12, 4)
    assert net.source is not None
    again = from_source(net.source, 3)
    assert {name: value.shape for name, value in again.state_dict().items()} == {
        name: value.shape for name, value in net.state_dict().items()
    }
    reinitialise(net, ["conv1", "fc7"], 3)
    same = [torch.equal(net.state_dict()[name], again.state_dict()[name]) for name in ("blocks.conv1.conv.weight",)]
    assert same == [True]
    assert not torch.equal(net.state_dict()["blocks.conv2.conv.weight"], again.state_dict()["blocks.conv2.conv.weight"])


@pytest.mark.parametrize("size", [4, 9, 30])
def test_a_side_it_cannot_have(size: int) -> None:
    with pytest.raises(ValueError, match="multiple of 4"):
        convnet8(size)
