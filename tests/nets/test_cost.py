"""Costs counted by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from headstart.nets import cost
from headstart.nets.build import build
from headstart.nets.cost import (
    activation_bytes,
    activation_elements,
    block_flops,
    head_macs,
    parameters,
    tensors_apart,
)
from headstart.nets.small import cifar_resnet, mlp


def test_cifar_resnet_by_hand() -> None:
    """He et al. 2016: ResNet-20 takes 40.55 million multiply-adds at 32 px (without the classifier)."""
    net = cifar_resnet(20)
    found = block_flops(net)
    conv = 32 * 32 * 16 * 16 * 9
    assert found["stem"] == 32 * 32 * 3 * 16 * 9
    assert found["layer1_0"] == found["layer1_2"] == 2 * conv
    assert found["layer2_0"] == conv // 2 + conv
    assert found["layer3_1"] == 2 * conv
    assert found["pool"] == 0
    assert sum(found.values()) == 32 * 32 * 3 * 16 * 9 + 18 * conv - 2 * conv // 2


def test_a_larger_input_and_batch() -> None:
    net = cifar_resnet(8, 4)
    one, many = block_flops(net), block_flops(net, (3, 3, 64, 64))
    assert all(many[name] == 12 * one[name] for name in one)


def test_attention_is_counted() -> None:
    net = build("timm:vit_tiny_patch16_224", args={"depth": 1}, size=32, pretrained=False)
    tokens, width = 5, 192
    linear = tokens * width * (3 * width + width + 8 * width)
    assert block_flops(net)["blocks_0"] == linear + 2 * tokens * tokens * width
    assert block_flops(net)["stem"] == 4 * 16 * 16 * 3 * width


def test_vectors() -> None:
    assert block_flops(mlp(5, (4, 3))) == {"layer0": 20, "layer1": 12}


def test_activations_and_parameters() -> None:
    net = cifar_resnet(8, 4)
    assert activation_elements(net, "stem") == 4 * 32 * 32
    assert activation_bytes(net, "layer3_0") == 4 * 16 * 8 * 8
    assert activation_bytes(net, "pool") == 4 * 16
    assert parameters(net, "stem") == 3 * 4 * 9 + 8
    assert parameters(net) == sum(weight.numel() for weight in net.parameters())
    with pytest.raises(KeyError, match="nonsense"):
        activation_elements(net, "nonsense")


def test_a_shortened_network_is_counted_for_itself() -> None:
    """As greedy pretraining shortens it: what is left out has no parameters, so that all tensors are as they were."""
    whole = build("headstart:resnet8", pretrained=False)
    short = build("headstart:resnet8", pretrained=False)
    del short.blocks["pool"]
    assert short.source == whole.source
    for first, second in ((short, whole), (whole, short)):
        cost._KNOWN.clear()
        assert list(block_flops(first)) == first.block_names
        assert list(block_flops(second)) == second.block_names


def test_layers_of_the_same_weights_are_counted_for_themselves() -> None:
    net = build("headstart:resnet8", pretrained=False)
    before, first = block_flops(net)["stem"], next(m for m in net.blocks["stem"].modules() if isinstance(m, nn.Conv2d))
    first.stride = (2, 2)
    assert block_flops(net)["stem"] == before // 4


def test_counting_changes_nothing() -> None:
    net = cifar_resnet(8, 4).train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    block_flops(net)
    assert net.training
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())


def test_a_head_by_hand() -> None:
    net = mlp(5, (4, 3))
    net.add_head("main", 7)
    net.add_head("both", 7, ("layer0", "layer1"))
    assert (head_macs(net, "main"), head_macs(net, "both")) == (3 * 7, (4 + 3) * 7)


def test_tensors_that_differ() -> None:
    """One weight moved, one statistic too; counters are not told, and a block that the other lacks is told whole."""
    before, after = cifar_resnet(8, 4), cifar_resnet(8, 4)
    after.load_state_dict(before.state_dict())
    assert tensors_apart(before.blocks, after.blocks).parameters == []
    stem = dict(after.blocks["stem"].named_parameters())
    first, weight = next(iter(stem.items()))
    with torch.no_grad():
        weight[0] += 1
    statistics = next(buffer for buffer in after.blocks["stem"].buffers() if buffer.is_floating_point())
    statistics += 1
    for buffer in after.blocks.buffers():
        buffer += not buffer.is_floating_point()
    found = tensors_apart(before.blocks, after.blocks)
    assert [tensor is weight for tensor in found.parameters] == [True], first
    assert [tensor is statistics for tensor in found.buffers] == [True]
    other = torch.nn.Sequential(torch.nn.Linear(2, 2))
    assert len(tensors_apart(torch.nn.Sequential(), other).parameters) == 2
